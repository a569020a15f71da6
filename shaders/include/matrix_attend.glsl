// The rest of the kernels attention_khr and attention_nv, after their softmax of a step:
//   void begin_steps()                        before the first
//   void settle_scores()                      contains a barrier: the stage is free
//   void take_step(kv, run, tested)           `scores` become weights, row maxima and sums are brought up to date
//   void rescale_acc()                        after the barrier that follows
//   MATRIX_A step_weights(key)                weights of keys [key, key + MATRIX_K) of the step
//   STEP_LOOP                                 [[unroll]] where that takes a constant key
//   void end_steps()                          state and weight_sum are those of the lanes' rows
// With splits the rows' state goes to the workspace, and merge_splits makes o of it.
#ifndef VKATTN_MATRIX_ATTEND_GLSL
#define VKATTN_MATRIX_ATTEND_GLSL

#if WORKGROUP_MATRICES
#include "matrix_workgroup.glsl"
#else
#include "matrix_staged.glsl"
#endif

void attend_tile(BlockWalk walk) {
    begin_steps();
    [[unroll]] for (uint j = 0u; j < ACC_MATRICES; j++) acc[j] = MATRIX_ACC(0.0);
    uint passed = 0u;
    [[dont_unroll]] for (uint n = 0u; n < walk.runs; n++) {
        KeyRun run = walk_run(walk, n, passed);
        [[dont_unroll]] for (int kv = run.begin; kv < run.end; kv += int(STEP_KEYS)) {
            multiply_qk(kv, run.end);
            settle_scores();
            if (run.full && kv + int(STEP_KEYS) <= run.end) take_step(kv, run, false); else take_step(kv, run, true);
            multiply_pv(kv, run.end);
        }
    }
    end_steps();
}

// The rows' factors on what was summed up into shared memory, and their lse or the split's state out; `sum` is what acc was summed
// with, state[i].row_sum in units of `unit`. o is acc / sum. A split leaves acc * row_sum / sum, since splits are merged by row_sum:
// the rounding of its weights is settled within it.
void finish_rows(float sum[LANE_ROWS], float unit, bool write_state) {
    [[unroll]] for (uint i = 0u; i < LANE_ROWS; i++) {
        float total = reduce_row(sum[i], true);
        SoftmaxState end = SoftmaxState(state[i].row_max, reduce_row(state[i].row_sum, true) / unit);
        uint row = lane_row(i);
        if (!lane_owns(i) || lane % ROW_LANES != 0u) continue;
        bool poisoned = !is_finite(end.row_sum);
        if (poisoned) atomicOr(shared_not_finite[0], 1u);
        float wanted = SPLITS > 1u ? end.row_sum : 1.0;
        shared_factors[row] = poisoned ? not_a_number() : total > 0.0 ? wanted / total : 0.0;
        int q = first_q + int(row);
        if (!write_state || q >= params.q_len) continue;
        if (SPLITS > 1u) partial_store_state(partial_place(b, h, q, key_split), end.row_max, poisoned ? not_a_number() : end.row_sum);
        else lse_store(uint(b), uint(h), uint(q), poisoned ? not_a_number() : softmax_lse(end));
    }
}

void store_group(uint row, uint group, vec4 value) {
    float factor = shared_factors[row];
    int q = first_q + int(row);
    if (q >= params.q_len || group >= VALUE_GROUPS) return;
    vec4 scaled = is_finite(factor) ? value * factor : vec4(not_a_number());
    if (SPLITS > 1u) partial_store(partial_place(b, h, q, key_split), group, scaled);
    else o_store(row_add(o_head(uint(b), uint(h)), o_step(uint(q))), group, scaled);
}

// acc by way of shared_scores: a lane cannot know which elements of a matrix it holds.
void store_tile() {
    finish_rows(weight_sum, WEIGHT_UNIT, true);
    barrier();      // factors are there, and scores are free
    const uint groups = MATRIX_N / 4u;
    uint first_group = first_row * SCORE_STRIDE + split * groups;
    bool finite = true;
    [[dont_unroll]] for (uint j = 0u; j < ACC_MATRICES; j++) {
        [[unroll]] for (uint n = 0u; n < ACC_MATRICES; n++) {
            if (n == j) coopMatStore(acc[n], shared_scores, first_group, SCORE_STRIDE, gl_CooperativeMatrixLayoutRowMajor);
        }
        scope_barrier();     // the scope's matrix is there
        [[dont_unroll]] for (uint i = lane; i < MATRIX_M * groups; i += SCOPE_SIZE) {
            vec4 value = shared_scores[first_group + i / groups * SCORE_STRIDE + i % groups];
            finite = finite && is_finite(value);
            store_group(first_row + i / groups, (j * VALUE_SPLIT + split) * groups + i % groups, value);
        }
        scope_barrier();     // it is stored
    }
    if (!finite) atomicOr(shared_not_finite[0], 1u);
}

// A step of a repair: the maximum over finite scores, or weights in the scores' place and their sums, in which +inf and NaN make NaN.
// A weight is never 0 where a pair attends, since an infinite value is infinite at any weight; a score of -inf does not attend.
void weigh_exactly(int kv, KeyRun run, bool maxima) {
    [[unroll]] for (uint i = 0u; i < LANE_ROWS; i++) {
        vec4 scores[LANE_GROUPS];
        uint attending = take_scores(i, kv, run, true, scores);
        float maximum = state[i].row_max;
        [[unroll]] for (uint g = 0u; g < LANE_GROUPS; g++) {
            [[unroll]] for (uint x = 0u; x < 4u; x++) {
                float score = scores[g][x];
                bool attends = is_attending(attending, g, x) && floatBitsToUint(score) != 0xff800000u;
                scores[g][x] = attends ? max(softmax_weight(state[i], score), 1e-37) : 0.0;
                maximum = attends && is_finite(score) ? max(maximum, score) : maximum;
                state[i].row_sum += attends && !is_finite(score) ? not_a_number() : scores[g][x];
            }
            if (!maxima && lane_owns(i)) shared_scores[lane_row(i) * SCORE_STRIDE + g * ROW_LANES + lane % ROW_LANES] = scores[g];
        }
        if (maxima) state[i].row_max = reduce_row(maximum, false);
    }
}

// The tile again: the maxima over what attends, then as many groups of o at a time as there are invocations, in f32, with weights
// that are 0 left out by select instead of multiplied. Slow, and run only for tiles that ended non-finite.
void repair_tile(BlockWalk walk) {
    [[unroll]] for (uint i = 0u; i < LANE_ROWS; i++) state[i] = softmax_init();
    [[dont_unroll]] for (uint pass = 0u; pass <= REPAIR_PASSES; pass++) {
        uint item = (pass - 1u) * WORKGROUP_SIZE + tid;
        uint row = item % TILE_ROWS, group = min(item / TILE_ROWS, VALUE_GROUPS - 1u);
        vec4 exact = vec4(0.0);
        [[unroll]] for (uint i = 0u; i < LANE_ROWS; i++) state[i].row_sum = 0.0;
        uint passed = 0u;
        [[dont_unroll]] for (uint r = 0u; r < walk.runs; r++) {
            KeyRun run = walk_run(walk, r, passed);
            [[dont_unroll]] for (int kv = run.begin; kv < run.end; kv += int(STEP_KEYS)) {
                multiply_qk(kv, run.end);
                if (!STAGED) barrier();     // the last step's weights are used; multiply_qk has one else
                store_scores();
                weigh_exactly(kv, run, pass == 0u);
                if (pass == 0u) continue;
                barrier();      // weights are there
                [[dont_unroll]] for (int key = 0; key < min(int(STEP_KEYS), run.end - kv); key++) {
                    float weight = shared_scores[row * SCORE_STRIDE + uint(key) / 4u][key % 4];
                    vec4 value = v_group(row_add(v_first, v_step(uint(kv + key))), group);
                    exact += mix(vec4(0.0), weight * value, bvec4(weight > 0.0));
                }
            }
        }
        if (pass == 0u) continue;
        float sums[LANE_ROWS];
        [[unroll]] for (uint i = 0u; i < LANE_ROWS; i++) sums[i] = state[i].row_sum;
        barrier();      // the last pass's factors are used
        finish_rows(sums, 1.0, pass == 1u);
        barrier();      // factors are there
        if (item / TILE_ROWS < VALUE_GROUPS) store_group(row, group, exact);
    }
}

void main() {
    lane = scope_invocation();
    tid = scope_id() * SCOPE_SIZE + lane;
    first_row = scope_id() / VALUE_SPLIT * MATRIX_M;
    split = scope_id() % VALUE_SPLIT;
    uint part = gl_WorkGroupID.x + push.tile_base;
    key_split = part % SPLITS;
    TilePlace tile = ordered_tile_place(part / SPLITS);
    b = tile.b;
    h = tile.first_h;
    first_q = tile.first_q;
    k_first = k_head(uint(b), uint(tile.kv_head));
    v_first = v_head(uint(b), uint(tile.kv_head));
    [[unroll]] for (uint i = 0u; i < LANE_ROWS; i++) mask_values[i] = mask_row(b, h, query_row(lane_row(i)));
    if (tid == 0u) shared_not_finite[0] = 0u;
    take_queries();
    barrier();      // the flag is clear

    BlockWalk walk = walk_share(walk_tile(b, h, first_q, TILE_ROWS, int(STEP_KEYS), tid), key_split, STEP_KEYS);
#if WORKGROUP_MATRICES
    // Twice, so that neither has the other's loads in its loops.
    if (by_tensor) {
        by_tensor = true;
        attend_tile(walk);
    } else {
        by_tensor = false;
        attend_tile(walk);
    }
    by_tensor = false;      // in a repair: one way of loading less to compile
#else
    attend_tile(walk);
#endif
    store_tile();
    // Everybody's verdict is in, and o or the split's part is written: a repair writes it again, by other invocations.
    controlBarrier(gl_ScopeWorkgroup, gl_ScopeWorkgroup, gl_StorageSemanticsShared | gl_StorageSemanticsBuffer,
                   gl_SemanticsAcquireRelease | gl_SemanticsMakeAvailable | gl_SemanticsMakeVisible);
    if (shared_not_finite[0] != 0u) repair_tile(walk);
}

#endif
