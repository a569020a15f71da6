// A tile of query rows on matrix units, up to its scores: what the kernels attention_khr and attention_nv share before their softmax.
// They define SCORE_SPLIT, the subgroups that share the score matrices of a row group: VALUE_SPLIT or 1u, and include the hook (a file
// beside this one would be taken for it). matrix_attend.glsl has the rest. q, k and v are of one 16-bit type.
//
// Grid: x = flat tile * SPLITS + key split (tile_rows.glsl), so that neighbours share keys.
// A row group is MATRIX_M rows; VALUE_SPLIT subgroups share one and take every VALUE_SPLIT-th matrix of its output; with
// WORKGROUP_MATRICES the tile is one row group and the workgroup takes all of its output. Accumulators stay in
// registers over all keys: MATRIX_M * Dv / (VALUE_SPLIT * SCOPE_SIZE) an invocation. Loops that index them are innermost and
// unrolled: drivers do not unroll a loop around one that stays, and keep the array in memory then.
// Queries, keys and values: matrix_staged.glsl, matrix_workgroup.glsl. All
// subgroups multiply equally often: some Intel drivers hang otherwise.
// Shared memory: khr_shared.h, and 32 bytes.
#ifndef VKATTN_MATRIX_TILE_GLSL
#define VKATTN_MATRIX_TILE_GLSL

#include "tensor_access.glsl"
#include "output_store.glsl"
#include "online_softmax.glsl"
#include "block_walk.glsl"
#include "tile_rows.glsl"
#include "tile_order.glsl"
#include "tile_walk.glsl"
#include "partials.glsl"
#include "matrix_types.glsl"

const bool STAGED = WORKGROUP_MATRICES == 0;
#define SIZE(name, value) const uint name = value;
#define SHARED(type, bytes, name, elements) shared type name[elements];
#include "khr_shared.h"
shared uint shared_not_finite[4];                                   // [0]; 16 bytes, as khr_shared.h wants

const uint SCORE_MATRICES = (STEP_KEYS / MATRIX_N + SCORE_SPLIT - 1u) / SCORE_SPLIT;       // a subgroup's, some perhaps twice
const uint CHUNK_MATRICES = VALUE_CHUNK / OUTPUT_COLS;              // of a subgroup in a staged chunk of v
const uint ACC_MATRICES = VALUE_CHUNKS * CHUNK_MATRICES;
const uint REPAIR_PASSES = (TILE_ROWS * VALUE_GROUPS + WORKGROUP_SIZE - 1u) / WORKGROUP_SIZE;   // a group of o an invocation in each

// Rows by lanes, a scope's invocations: it takes SOFTMAX_ROWS rows of its row group, ROW_LANES lanes a row or LANE_ROWS rows a lane; a lane has every
// ROW_LANES-th group of four keys.
const uint SOFTMAX_ROWS = (MATRIX_M + VALUE_SPLIT - 1u) / VALUE_SPLIT;
const uint LANES_AT_MOST = SCOPE_SIZE > SOFTMAX_ROWS ? SCOPE_SIZE / SOFTMAX_ROWS : 1u;
const uint ROW_LANES = LANES_AT_MOST < STEP_KEYS / 4u ? LANES_AT_MOST : STEP_KEYS / 4u;
const uint LANE_ROWS = SOFTMAX_ROWS > SCOPE_SIZE ? SOFTMAX_ROWS / SCOPE_SIZE : 1u;
const uint LANE_GROUPS = STEP_KEYS / 4u / ROW_LANES;

uint tid, lane, first_row, split;               // first_row: of this scope's row group in the tile; split: its share of Dv
uint key_split;                                 // the workgroup's share of the keys
int b, h, first_q;
RowPlace k_first, v_first;
MaskRow mask_values[LANE_ROWS];
SoftmaxState state[LANE_ROWS];                  // row_sum: of this lane's part until the end, in f32
float weight_sum[LANE_ROWS];                    // the same of rounded weights: what acc was summed with
MATRIX_ACC scores[SCORE_MATRICES];             // of a step
MATRIX_ACC acc[ACC_MATRICES];

// The tile's row that a lane softens as its i-th; lanes beyond SOFTMAX_ROWS * ROW_LANES repeat others' and write nothing.
uint lane_row(uint i) {
    uint row = split * SOFTMAX_ROWS + i * SCOPE_SIZE + lane / ROW_LANES;
    return first_row + min(row, MATRIX_M - 1u);
}
bool lane_owns(uint i) {
    uint row = i * SCOPE_SIZE + lane / ROW_LANES;
    return row < SOFTMAX_ROWS && split * SOFTMAX_ROWS + row < MATRIX_M;
}

// Rows past the end compute the last row again and store nothing.
int query_row(uint row) { return min(first_q + int(row), params.q_len - 1); }

// Over a row's lanes, always in the same order; all of them get the result.
float reduce_row(float x, const bool sum) {
    [[unroll]] for (uint step = 1u; step < ROW_LANES; step *= 2u) {
        float other = subgroupShuffleXor(x, step);
        x = sum ? x + other : max(x, other);
    }
    return x;
}

// The first key of this scope's t-th score matrix; from STEP_KEYS on it is a repetition.
uint score_key(uint t) { return (t * SCORE_SPLIT + split % SCORE_SPLIT) * MATRIX_N; }

void store_scores() {
    [[unroll]] for (uint t = 0u; t < SCORE_MATRICES; t++) {
        uint key = score_key(t);
        if (key < STEP_KEYS && (SCORE_SPLIT > 1u || split == 0u))
            coopMatStore(scores[t], shared_scores, first_row * SCORE_STRIDE + key / 4u, SCORE_STRIDE,
                         gl_CooperativeMatrixLayoutRowMajor);
    }
    barrier();      // scores are there, and the stage is free
}

// A lane's scores of its i-th row, scaled and changed by the score mod; excluded pairs become LOWEST_SCORE and lose their bit in
// the result: bit 4 * g + x for element x of its g-th group.
uint take_scores(uint i, int kv, KeyRun run, bool tested, out vec4 scores[LANE_GROUPS]) {
    uint row = lane_row(i), attending = ~0u;
    [[unroll]] for (uint g = 0u; g < LANE_GROUPS; g++) {
        uint group = g * ROW_LANES + lane % ROW_LANES;
        scores[g] = shared_scores[row * SCORE_STRIDE + group] * (params.scale * SCALE_FACTOR);
        if (!tested && HAS_SCORE_MOD == 0) continue;
        int q = query_row(row);
        [[unroll]] for (uint x = 0u; x < 4u; x++) {
            int key = kv + int(4u * group + x);
            bool attends = key < run.end;
            key = min(key, params.kv_len - 1);
            MaskCol col = mask_col(b, h, key);
            if (HAS_SCORE_MOD != 0) scores[g][x] = score_pair(mask_values[i], col, scores[g][x], b, h, q, key);
            if (tested && attends && !run.full) attends = mask_pair(mask_values[i], col, b, h, q, key);
            scores[g][x] = attends ? scores[g][x] : LOWEST_SCORE;
            attending &= attends ? ~0u : ~(1u << (4u * g + x));
        }
    }
    return attending;
}

bool is_attending(uint attending, uint g, uint x) { return (attending >> (4u * g + x) & 1u) != 0u; }

#endif
