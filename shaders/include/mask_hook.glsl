// The mask hook: on disk the identity (every pair attends, scores unchanged), so that each .comp compiles alone.
// The engine swaps in text emitted from the user's mask and score mod under this one name.
//
// Contract. Values are taken as early as they can be: mask_row once per query row, mask_col once per key, mask_pair and
// score_pair once per element, and only inside [0, q_len) x [0, kv_len) (padding lanes pass a clamped index and discard).
// The text may use: params.slots (slot_i32, slot_f32), the lookups of mask_tables.glsl, specialization constants from
// SPEC_MASK_FIRST on, and safe_math.glsl (floor division, shifts, saturating conversion, bounded tanh). Nothing else.
#define HAS_MASK_MOD 0
#define HAS_SCORE_MOD 0

struct MaskRow { int unused; };
struct MaskCol { int unused; };

MaskRow mask_row(int b, int h, int q) { return MaskRow(0); }
MaskCol mask_col(int b, int h, int kv) { return MaskCol(0); }
bool mask_pair(MaskRow row, MaskCol col, int b, int h, int q, int kv) { return true; }
float score_pair(MaskRow row, MaskCol col, float score, int b, int h, int q, int kv) { return score; }

// The keys of one query row, as half-open intervals clamped to [0, kv_len]: outside [lo_any, hi_any) nothing is kept, inside
// [lo_all, hi_all) everything is. An empty interval has hi <= lo. [lo_all, hi_all) lies inside [lo_any, hi_any) or is empty.
KeyRange mask_row_range(MaskRow row, int b, int h, int q) {
    return KeyRange(0, params.kv_len, 0, params.kv_len);
}
