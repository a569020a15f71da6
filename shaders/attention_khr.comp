#version 450
#extension GL_GOOGLE_include_directive : require
// attention_khr: scaled dot product attention on matrix units (VK_KHR_cooperative_matrix), for f16 or bf16 q, k and v.
//
//   walk the runs of keys that the tile's rows visit; per step of STEP_KEYS keys
//     scores = queries . keys, QK_CHUNK elements of a key at a time through shared memory
//     lanes take rows: score mod, mask, row maximum; weights rounded to v's type go back through shared memory
//     rescale acc where a maximum rose; acc += weights . values, VALUE_CHUNK elements of a value at a time through shared memory
//   o = acc / row_sum; a tile with NaN or infinity in acc or row_sum is done again, exactly (repair_tile)
//
// q [B, Hq, Lq, D], k [B, Hkv, Lkv, D], v [B, Hkv, Lkv, Dv] -> o [B, Hq, Lq, Dv], lse [B, Hq, Lq].
// Grid, shared memory: matrix_tile.glsl. target-env: vulkan1.1
#ifndef Q_TYPE
#define Q_TYPE TYPE_F16
#define K_TYPE TYPE_F16
#define V_TYPE TYPE_F16
#define O_TYPE TYPE_F16
#endif
#ifndef SUBGROUP_REDUCE
#define SUBGROUP_REDUCE 1
#endif
#define SCORE_SPLIT VALUE_SPLIT
#include "arguments.glsl"
struct KeyRange { int lo_any, hi_any, lo_all, hi_all; };
#include "mask_hook.glsl"
#include "matrix_tile.glsl"

// Scores become rounded weights in shared memory, sums are brought up to date, shared_factors say how acc is to be rescaled.
void take_step(int kv, KeyRun run, bool tested) {
    [[unroll]] for (uint i = 0u; i < LANE_ROWS; i++) {
        vec4 scores[LANE_GROUPS];
        uint attending = take_scores(i, kv, run, tested, scores);
        float maximum = LOWEST_SCORE;
        [[unroll]] for (uint g = 0u; g < LANE_GROUPS; g++)
            maximum = max(max(maximum, max(scores[g].x, scores[g].y)), max(scores[g].z, scores[g].w));
        float factor = softmax_rescale(state[i], reduce_row(maximum, false));
        weight_sum[i] *= factor;
        bool owns = lane_owns(i);
        uint row = lane_row(i);
        if (owns && lane % ROW_LANES == 0u) shared_factors[row] = factor;
        [[unroll]] for (uint g = 0u; g < LANE_GROUPS; g++) {
            vec4 weights;
            [[unroll]] for (uint x = 0u; x < 4u; x++) {
                float weight = softmax_weight(state[i], scores[g][x]) * WEIGHT_UNIT;
                weights[x] = is_attending(attending, g, x) ? weight : 0.0;
            }
            uvec2 words = matrix_words(weights);
            vec4 rounded = matrix_values(words);
            state[i].row_sum += weights.x + weights.y + weights.z + weights.w;
            weight_sum[i] += rounded.x + rounded.y + rounded.z + rounded.w;
            if (owns) shared_weights[row * WEIGHT_STRIDE + g * ROW_LANES + lane % ROW_LANES] = words;
        }
    }
}

void begin_steps() {
    [[unroll]] for (uint i = 0u; i < LANE_ROWS; i++) {
        state[i] = softmax_init();
        weight_sum[i] = 0.0;
    }
}

void settle_scores() { store_scores(); }

void rescale_acc() {
    float factor = shared_factors[first_row + lane % MATRIX_M];
    if (SCOPE_SIZE < MATRIX_M) {
        [[dont_unroll]] for (uint i = SCOPE_SIZE; i < MATRIX_M; i += SCOPE_SIZE)
            factor = min(factor, shared_factors[first_row + (lane + i) % MATRIX_M]);
    }
    if (subgroupMin(factor) == 1.0) return;
    MATRIX_ACC factors;
    coopMatLoad(factors, shared_factors, first_row, 0, gl_CooperativeMatrixLayoutColumnMajor);
    [[unroll]] for (uint j = 0u; j < ACC_MATRICES; j++) acc[j] *= factors;
}

MATRIX_A step_weights(uint key) {
    MATRIX_A weights;
    coopMatLoad(weights, shared_weights, first_row * WEIGHT_STRIDE + key / 4u, WEIGHT_STRIDE, gl_CooperativeMatrixLayoutRowMajor);
    return weights;
}
#define STEP_LOOP [[dont_unroll]]

void end_steps() {}

#include "matrix_attend.glsl"
