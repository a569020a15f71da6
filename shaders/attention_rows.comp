#version 450
#extension GL_GOOGLE_include_directive : require
// attention_rows: scaled dot product attention, one query row per invocation. For drivers that run on the CPU.
//
//   walk the runs of keys that the tile's rows visit; per step of STEP_KEYS keys
//     scores = query . keys, score mod, mask              d outer, key inner: a key's element is one broadcast load
//     rescale what was accumulated to the new row maximum
//     acc += weight . value
//   o = acc / row_sum; a row that ended with NaN or infinity is done again, exactly (recompute_row)
//
// q [B, Hq, Lq, D], k [B, Hkv, Lkv, D], v [B, Hkv, Lkv, Dv] -> o [B, Hq, Lq, Dv], lse [B, Hq, Lq].
// Grid: x = flat tile * SPLITS + split (tile_rows.glsl), so that neighbours share keys. TILE_ROWS == WORKGROUP_SIZE, one row each;
// with few rows the heads of a group share a tile. With splits the row's state goes to the workspace, and merge_splits makes o of it.
// Shared memory: none. Barriers: none; invocations share only the addresses of keys.
// Loops over d are unrolled, because they index private arrays: about (STEP_KEYS + TESTED_KEYS + 1) * (D + Dv) multiply-adds.
#include "arguments.glsl"
struct KeyRange { int lo_any, hi_any, lo_all, hi_all; };
#include "mask_hook.glsl"
#include "tensor_access.glsl"
#include "output_store.glsl"
#include "online_softmax.glsl"
#include "block_walk.glsl"
#include "tile_rows.glsl"
#include "tile_order.glsl"
#include "partials.glsl"

// Keys of a tested step. With large dims fewer: every step is unrolled, and drivers' compile time grows faster than its length.
const uint TESTED_KEYS = HEAD_DIM + VALUE_DIM <= 256u ? STEP_KEYS : (STEP_KEYS + 3u) / 4u;

// This invocation's row and its state. Rows past the end compute the last row again and store nothing.
int b, h, q;
MaskRow mask_values;
RowPlace k_first, v_first;                      // key 0 of the head
RowStep k_steps[STEP_KEYS], v_steps[STEP_KEYS]; // key i of a step from its first; stays on the last key where kv_len is short
vec4 query[QK_GROUPS];
vec4 acc[VALUE_GROUPS];
SoftmaxState state;

float dot_step(float sum, vec4 x, vec4 y) { return fma(x.w, y.w, fma(x.z, y.z, fma(x.y, y.y, fma(x.x, y.x, sum)))); }

// Keys [kv, kv + keys). Drivers may run a last time with no lane active and load all the same: the step is moved back to
// end at kv_len. Then, and at the end of a tested run, keys outside [kv, end) are excluded.
void attend(int kv, int end, bool masked, const bool tested, const uint keys) {
    int first = max(min(kv, params.kv_len - int(keys)), 0);
    RowPlace k_tile = row_add(k_first, k_step(uint(first)));
    RowPlace v_tile = row_add(v_first, v_step(uint(first)));

    float scores[STEP_KEYS];
    [[unroll]] for (uint c = 0u; c < keys; c++) scores[c] = 0.0;
    [[unroll]] for (uint d = 0u; d < QK_GROUPS; d++) {
        [[unroll]] for (uint c = 0u; c < keys; c++)
            scores[c] = dot_step(scores[c], query[d], k_group(row_add(k_tile, k_steps[c]), d));
    }

    bool attends[STEP_KEYS];
    float step_max = LOWEST_SCORE;
    [[unroll]] for (uint c = 0u; c < keys; c++) {
        int key = min(first + int(c), params.kv_len - 1);
        MaskCol col = mask_col(b, h, key);
        scores[c] *= params.scale * SCALE_FACTOR;   // not the query: products of 16-bit elements are exact
        if (HAS_SCORE_MOD != 0) scores[c] = score_pair(mask_values, col, scores[c], b, h, q, key);
        attends[c] = true;
        if (tested) attends[c] = first + int(c) >= kv && first + int(c) < end && (!masked || mask_pair(mask_values, col, b, h, q, key));
        if (tested) scores[c] = attends[c] ? scores[c] : LOWEST_SCORE;
        step_max = max(step_max, scores[c]);
    }

    float factor = softmax_rescale(state, step_max);
    [[unroll]] for (uint c = 0u; c < keys; c++) {
        float weight = softmax_weight(state, scores[c]);
        scores[c] = attends[c] ? weight : 0.0;
        state.row_sum += scores[c];
    }
    [[unroll]] for (uint d = 0u; d < VALUE_GROUPS; d++) {
        acc[d] *= factor;
        [[unroll]] for (uint c = 0u; c < keys; c++)
            acc[d] = fma(vec4(scores[c]), v_group(row_add(v_tile, v_steps[c]), d), acc[d]);
    }
}

// The row again, key by key, in two passes: the maximum, then the sums. Excluded pairs and scores of -inf are left out by select, so
// that what k and v hold there cannot matter; 0 * infinity does. Slow, and run only for rows that ended non-finite.
void recompute_row(BlockWalk walk) {
    bool poisoned = false;
    state = softmax_init();
    [[unroll]] for (uint d = 0u; d < VALUE_GROUPS; d++) acc[d] = vec4(0.0);
    [[dont_unroll]] for (uint pass = 0u; pass < 2u; pass++) {
        uint passed = 0u;
        [[dont_unroll]] for (uint i = 0u; i < walk.runs; i++) {
            KeyRun run = walk_run(walk, i, passed);
            [[dont_unroll]] for (int kv = run.begin; kv < run.end; kv++) {
                int key = min(kv, params.kv_len - 1);
                RowPlace k_row = row_add(k_first, k_step(uint(key)));
                RowPlace v_row = row_add(v_first, v_step(uint(key)));
                float score = 0.0;
                [[unroll]] for (uint d = 0u; d < QK_GROUPS; d++) score = dot_step(score, query[d], k_group(k_row, d));
                MaskCol col = mask_col(b, h, key);
                score *= params.scale * SCALE_FACTOR;
                if (HAS_SCORE_MOD != 0) score = score_pair(mask_values, col, score, b, h, q, key);
                bool attends = run.full || mask_pair(mask_values, col, b, h, q, key);
                uint bits = floatBitsToUint(score);
                attends = attends && bits != 0xff800000u;
                if (pass == 0u) {
                    poisoned = poisoned || (attends && !is_finite(score));
                    state.row_max = attends ? max(state.row_max, score) : state.row_max;
                } else {
                    // Never 0 where a pair attends: an infinite value is infinite at any weight.
                    float weight = attends ? max(softmax_weight(state, score), 1e-37) : 0.0;
                    state.row_sum += weight;
                    [[unroll]] for (uint d = 0u; d < VALUE_GROUPS; d++)
                        acc[d] += mix(vec4(0.0), weight * v_group(v_row, d), bvec4(attends));
                }
            }
        }
    }
    if (poisoned) state.row_sum = not_a_number();
}

BlockWalk start_walk(TilePlace tile) {
    if (SCHEDULE == SCHEDULE_LIST || SCHEDULE == SCHEDULE_INDICES) return walk_list(uint(b), uint(h), uint(tile.first_q));
    if (SCHEDULE == SCHEDULE_DENSE) return walk_dense();
#if SUBGROUP_REDUCE
    // A subgroup's rows are enough: keys are addressed alike within a subgroup.
    KeyRange row = key_range_of_row(mask_row_range(mask_values, b, h, q));
    return walk_interval(KeyRange(subgroupMin(row.lo_any), subgroupMax(row.hi_any), subgroupMax(row.lo_all), subgroupMin(row.hi_all)), int(STEP_KEYS));
#else
    // The same for all invocations, and compilers must see it: keys are found by it.
    KeyRange joined = key_range_none();
    int end_q = min(tile.first_q + int(HEAD_ROWS), params.q_len);
    int end_h = min(tile.first_h + int(HEADS_PER_TILE), (tile.kv_head + 1) * params.group);
    [[dont_unroll]] for (int row_h = tile.first_h; row_h < end_h; row_h++) {
        [[dont_unroll]] for (int row_q = tile.first_q; row_q < end_q; row_q++)
            joined = key_range_join(joined, key_range_of_row(mask_row_range(mask_row(b, row_h, row_q), b, row_h, row_q)));
    }
    return walk_interval(joined, int(STEP_KEYS));
#endif
}

void store_row(uint split) {
    if (SPLITS > 1u) {
        RowPlace place = partial_place(b, h, q, split);
        [[unroll]] for (uint d = 0u; d < VALUE_GROUPS; d++) partial_store(place, d, acc[d]);
        partial_store_state(place, state.row_max, state.row_sum);
        return;
    }
    bool poisoned = !is_finite(state.row_sum);
    float inverse = softmax_inverse(state);
    RowPlace o_row = row_add(o_head(uint(b), uint(h)), o_step(uint(q)));
    [[unroll]] for (uint d = 0u; d < VALUE_GROUPS; d++)
        o_store(o_row, d, poisoned ? vec4(not_a_number()) : acc[d] * inverse);
    lse_store(uint(b), uint(h), uint(q), poisoned ? not_a_number() : softmax_lse(state));
}

void main() {
    uint part = gl_WorkGroupID.x + push.tile_base;
    uint split = part % SPLITS;
    TilePlace tile = ordered_tile_place(part / SPLITS);
    uint row = gl_LocalInvocationIndex;
    uint kv_head = uint(tile.kv_head);
    b = tile.b;
    h = tile_row_h(tile, row);
    q = tile_row_q(tile, row);
    mask_values = mask_row(b, h, q);

    k_first = k_head(uint(b), kv_head);
    v_first = v_head(uint(b), kv_head);
    [[unroll]] for (uint c = 0u; c < STEP_KEYS; c++) {
        uint key = uint(max(min(int(c), params.kv_len - 1), 0));
        k_steps[c] = k_step(key);
        v_steps[c] = v_step(key);
    }
    RowPlace q_row = row_add(q_head(uint(b), uint(h)), q_step(uint(q)));
    [[unroll]] for (uint d = 0u; d < QK_GROUPS; d++) query[d] = q_group(q_row, d);
    [[unroll]] for (uint d = 0u; d < VALUE_GROUPS; d++) acc[d] = vec4(0.0);
    state = softmax_init();

    BlockWalk walk = walk_share(start_walk(tile), split, STEP_KEYS);
    if (params.kv_len > 0) {
        uint passed = 0u;
        [[dont_unroll]] for (uint i = 0u; i < walk.runs; i++) {
            KeyRun run = walk_run(walk, i, passed);
            int kv = run.begin;
            int whole_end = run.full ? run.end - int(STEP_KEYS) : run.begin - 1;
            // Not `for`: lavapipe jumps over an `if` that nobody takes, but leaves a loop at its end only, after a turn with nobody active.
            if (kv <= whole_end) {
                [[dont_unroll]] do {
                    attend(kv, run.end, false, false, STEP_KEYS);
                    kv += int(STEP_KEYS);
                } while (kv <= whole_end);
            }
            if (kv < run.end) {
                [[dont_unroll]] do {
                    attend(kv, run.end, !run.full, true, TESTED_KEYS);
                    kv += int(TESTED_KEYS);
                } while (kv < run.end);
            }
        }
        bool finite = is_finite(state.row_sum);
        [[unroll]] for (uint d = 0u; d < VALUE_GROUPS; d++) finite = finite && is_finite(acc[d]);
        if (!finite) recompute_row(walk);
    }
    if (tile_row_exists(tile, row)) store_row(split);
}
