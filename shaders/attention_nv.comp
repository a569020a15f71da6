#version 450
#extension GL_GOOGLE_include_directive : require
// attention_nv: scaled dot product attention on matrix units with softmax in registers (VK_NV_cooperative_matrix2), for f16 or bf16
// q, k and v. A subgroup holds a matrix or, with WORKGROUP_MATRICES, the workgroup, which then has one matrix of TILE_ROWS rows for
// each group of dims, and of STEP_KEYS keys.
//
//   as attention_khr, but a step's scores stay in matrices: score mod and mask are applied element by element, maxima and sums are
//   row reductions, weights are converted to matrices that multiply. Neither scores nor weights go through shared memory, except
//   in a repair.
//
// q [B, Hq, Lq, D], k [B, Hkv, Lkv, D], v [B, Hkv, Lkv, Dv] -> o [B, Hq, Lq, Dv], lse [B, Hq, Lq].
// Grid, shared memory: matrix_tile.glsl. Every subgroup of a row group has all of its scores. MATRIX_N == MATRIX_K, as a converted matrix
// keeps its shape. WORKGROUP_MATRICES: the head of matrix_workgroup.glsl, local size and MATRIX_M are of the device's list. target-env: vulkan1.3
// also: -DWORKGROUP_MATRICES=1
// also: -DWORKGROUP_MATRICES=1 -DADDRESSING=1
// also: -DWORKGROUP_MATRICES=1 -DQ_TYPE=2 -DK_TYPE=2 -DV_TYPE=2 -DO_TYPE=2 -DQ_VEC4=0 -DK_VEC4=0 -DV_VEC4=0 -DO_VEC4=0
// also: -DWORKGROUP_MATRICES=1 -DQ_TYPE=2 -DK_TYPE=2 -DV_TYPE=2 -DO_TYPE=0 -DADDRESSING=1 -DADDRESS_INT64=1
#extension GL_KHR_cooperative_matrix : require
#extension GL_NV_cooperative_matrix2 : require
#ifndef Q_TYPE
#define Q_TYPE TYPE_F16
#define K_TYPE TYPE_F16
#define V_TYPE TYPE_F16
#define O_TYPE TYPE_F16
#endif
#ifndef SUBGROUP_REDUCE
#define SUBGROUP_REDUCE 1
#endif
#define SCORE_SPLIT 1u
#include "arguments.glsl"
struct KeyRange { int lo_any, hi_any, lo_all, hi_all; };
#include "mask_hook.glsl"
#include "matrix_tile.glsl"

MATRIX_ACC row_max, row_sums, rounded_sums;      // a row's value stands in all of its columns

// What the matrices' operations call, with the element's place in its matrix.
float larger(const in float x, const in float y) { return max(x, y); }
float sum_of(const in float x, const in float y) { return x + y; }
float larger_element(const in uint row, const in uint col, const in float x, const in float y) { return max(x, y); }
float factor_element(const in uint row, const in uint col, const in float old_max, const in float new_max) {
    return exp2((old_max - new_max) * EXP2_FACTOR);
}
float scale_element(const in uint row, const in uint col, const in float x) { return x * (params.scale * SCALE_FACTOR); }
float round_element(const in uint row, const in uint col, const in float x) { return matrix_rounded(x); }

// Score mod and mask. LOWEST_SCORE is what does not attend: an excluded pair, a score of -inf; the lowest score that does is one above.
// NaN stays, as it is not below.
float score_element(const in uint row, const in uint col, const in float x, const in int first_key, const in int end, const in uint full) {
    int q = query_row(first_row + row);
    int key = min(first_key + int(col), params.kv_len - 1);
    MaskRow row_values = mask_row(b, h, q);
    MaskCol col_values = mask_col(b, h, key);
    float score = x * (params.scale * SCALE_FACTOR);
    if (HAS_SCORE_MOD != 0) score = score_pair(row_values, col_values, score, b, h, q, key);
    bool attends = first_key + int(col) < end && floatBitsToUint(score) != 0xff800000u;
    if (attends && full == 0u) attends = mask_pair(row_values, col_values, b, h, q, key);
    float lowest = uintBitsToFloat(floatBitsToUint(LOWEST_SCORE) - 1u);
    score = score < lowest ? lowest : score;
    return attends ? score : LOWEST_SCORE;
}
float weight_element(const in uint row, const in uint col, const in float score, const in float maximum) {
    float weight = exp2((score - maximum) * EXP2_FACTOR) * WEIGHT_UNIT;
    return score == LOWEST_SCORE ? 0.0 : weight;
}

void begin_steps() {
    row_max = MATRIX_ACC(LOWEST_SCORE);
    row_sums = MATRIX_ACC(0.0);
    rounded_sums = MATRIX_ACC(0.0);
}

void settle_scores() {
    if (STAGED) barrier();
}

void take_step(int kv, KeyRun run, bool tested) {
    MATRIX_ACC new_max = row_max, reduced;
    [[unroll]] for (uint t = 0u; t < SCORE_MATRICES; t++) {
        if (tested || HAS_SCORE_MOD != 0)
            coopMatPerElementNV(scores[t], scores[t], score_element, kv + int(t * MATRIX_N), run.end, uint(run.full));
        else
            coopMatPerElementNV(scores[t], scores[t], scale_element);
        coopMatReduceNV(reduced, scores[t], gl_CooperativeMatrixReduceRowNV, larger);
        coopMatPerElementNV(new_max, new_max, larger_element, reduced);
    }
    MATRIX_ACC factors;
    coopMatPerElementNV(factors, row_max, factor_element, new_max);
    row_max = new_max;
    row_sums *= factors;
    rounded_sums *= factors;
    [[unroll]] for (uint j = 0u; j < ACC_MATRICES; j++) acc[j] *= factors;
    [[unroll]] for (uint t = 0u; t < SCORE_MATRICES; t++) {
        coopMatPerElementNV(scores[t], scores[t], weight_element, row_max);
        coopMatReduceNV(reduced, scores[t], gl_CooperativeMatrixReduceRowNV, sum_of);
        row_sums += reduced;
        coopMatPerElementNV(scores[t], scores[t], round_element);
        coopMatReduceNV(reduced, scores[t], gl_CooperativeMatrixReduceRowNV, sum_of);
        rounded_sums += reduced;
    }
}

void rescale_acc() {}

MATRIX_A step_weights(uint key) { return MATRIX_A(scores[key / MATRIX_K]); }
#define STEP_LOOP [[unroll]]

// The rows' values to the lanes that have the rows, by way of shared_scores. Sums are whole: one lane of a row has them, the others 0.
void end_steps() {
    [[unroll]] for (uint n = 0u; n < 3u; n++) {
        barrier();      // the last values are read
        if (split == 0u) {
            MATRIX_ACC values = row_sums;
            if (n == 0u) values = row_max;
            if (n == 2u) values = rounded_sums;
            coopMatStore(values, shared_scores, first_row * SCORE_STRIDE, SCORE_STRIDE, gl_CooperativeMatrixLayoutRowMajor);
        }
        barrier();      // they are there
        [[unroll]] for (uint i = 0u; i < LANE_ROWS; i++) {
            float value = shared_scores[lane_row(i) * SCORE_STRIDE].x;
            float part = lane % ROW_LANES == 0u ? value : 0.0;
            if (n == 0u) state[i].row_max = value;
            if (n == 1u) state[i].row_sum = part;
            if (n == 2u) weight_sum[i] = part;
        }
    }
    barrier();      // and read
}

#include "matrix_attend.glsl"
