// Softmax that never sees a whole row: a running maximum and a sum of weights relative to it.
//
// A score is what score_pair returns. Without a score mod log2 e is folded into the scale, so that scores are in units of exp2; with
// one it is applied to differences, because a score may be near -FLT_MAX (a common way to write a mask) and must not overflow.
// Excluded pairs hold LOWEST_SCORE and get weight 0 by the caller's select; a score of -inf gets it by itself, since row_max stays
// finite. +inf and NaN make the sum NaN. For FLT_MAX magnitudes differences overflow to -inf, which is weight 0 as it should be.
#ifndef VKATTN_ONLINE_SOFTMAX_GLSL
#define VKATTN_ONLINE_SOFTMAX_GLSL

const float LOG2_E = 1.44269504088896340736;
const float LN_2 = 0.69314718055994530942;
const float LOWEST_SCORE = -3.4028234663852886e38;

// SCALE_FACTOR is on params.scale, EXP2_FACTOR on differences of scores. A kernel without a hook brings its own.
#ifndef EXP2_FACTOR
#if HAS_SCORE_MOD
#define SCALE_FACTOR 1.0
#define EXP2_FACTOR LOG2_E
#else
#define SCALE_FACTOR LOG2_E
#define EXP2_FACTOR 1.0
#endif
#endif

struct SoftmaxState {
    float row_max;
    float row_sum;
};

SoftmaxState softmax_init() { return SoftmaxState(LOWEST_SCORE, 0.0); }

float softmax_weight(SoftmaxState state, float score) { return exp2((score - state.row_max) * EXP2_FACTOR); }

// Takes a step's maximum in; returns the factor on what was accumulated so far (row_sum is multiplied here).
float softmax_rescale(inout SoftmaxState state, float step_max) {
    float new_max = max(state.row_max, step_max);
    float factor = exp2((state.row_max - new_max) * EXP2_FACTOR);
    state.row_max = new_max;
    state.row_sum *= factor;
    return factor;
}

// NaN and infinity by bit pattern: Vulkan lets compilers assume that neither exists.
bool is_finite(float x) { return (floatBitsToUint(x) & 0x7f800000u) != 0x7f800000u; }
bool is_finite(vec4 x) {
    return all(notEqual(floatBitsToUint(x) & uvec4(0x7f800000u), uvec4(0x7f800000u)));
}
float negative_infinity() { return uintBitsToFloat(0xff800000u); }
float not_a_number() { return uintBitsToFloat(0x7fc00000u); }

// What acc is multiplied with at the end; 0 for a row that attends to nothing.
float softmax_inverse(SoftmaxState state) { return state.row_sum > 0.0 ? 1.0 / state.row_sum : 0.0; }

// The natural logarithm of the sum of exp(score).
float softmax_lse(SoftmaxState state) {
    float row_max = state.row_max * (LN_2 * EXP2_FACTOR);
    return state.row_sum > 0.0 ? row_max + log(state.row_sum) : negative_infinity();
}

#endif
