// Cooperative matrices of v's 16-bit type (q, k and v are of one type), accumulated in f32, and weights as its elements. A subgroup
// holds them or, with WORKGROUP_MATRICES, the workgroup: their scope.
#ifndef VKATTN_MATRIX_TYPES_GLSL
#define VKATTN_MATRIX_TYPES_GLSL

#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#if V_TYPE == TYPE_BF16
#extension GL_EXT_bfloat16 : require
#define MATRIX_ELEMENT bfloat16_t
#else
#define MATRIX_ELEMENT float16_t
#endif

#if !WORKGROUP_MATRICES
#define MATRIX_SCOPE gl_ScopeSubgroup
#elif !defined(MATRIX_SCOPE)
#define MATRIX_SCOPE gl_ScopeWorkgroup
#endif
#define MATRIX_A coopmat<MATRIX_ELEMENT, MATRIX_SCOPE, MATRIX_M, MATRIX_K, gl_MatrixUseA>
#define MATRIX_B coopmat<MATRIX_ELEMENT, MATRIX_SCOPE, MATRIX_K, MATRIX_N, gl_MatrixUseB>
#define MATRIX_ACC coopmat<float, MATRIX_SCOPE, MATRIX_M, MATRIX_N, gl_MatrixUseAccumulator>

// What a weight of 1 is as a matrix element. f16 has normal numbers from 2^-14 to 2^16: with 2^15 for 1, weights keep their
// precision down to 2^-29, also where the device flushes smaller numbers to 0. bf16 has f32's range.
#if V_TYPE == TYPE_BF16
const float WEIGHT_UNIT = 1.0;
uvec2 matrix_words(vec4 x) {
    return uvec2(encode_bf16(x.x) | encode_bf16(x.y) << 16, encode_bf16(x.z) | encode_bf16(x.w) << 16);
}
vec4 matrix_values(uvec2 words) { return decode_bf16(words); }
float matrix_rounded(float x) { return decode_bf16(encode_bf16(x)); }
MATRIX_ELEMENT matrix_element(uint half_bits) { return MATRIX_ELEMENT(decode_bf16(half_bits)); }
#else
const float WEIGHT_UNIT = 32768.0;
uvec2 matrix_words(vec4 x) {
    f16vec4 halves = f16vec4(x);
    return uvec2(packFloat2x16(halves.xy), packFloat2x16(halves.zw));
}
// As the matrix has them; for weights, which are not negative. By integers: compilers take a conversion there and back for nothing.
float matrix_value(uint half_bits) { return uintBitsToFloat(half_bits << 13) * 5.192296858534828e33; }      // 2^112
vec4 matrix_values(uvec2 words) {
    return vec4(matrix_value(words.x & 0xffffu), matrix_value(words.x >> 16), matrix_value(words.y & 0xffffu), matrix_value(words.y >> 16));
}
float matrix_rounded(float x) { return matrix_value(packFloat2x16(f16vec2(x, 0.0))); }
MATRIX_ELEMENT matrix_element(uint half_bits) { return unpackFloat2x16(half_bits).x; }
#endif

// Which of the workgroup's scopes this is, and which of its invocations. scope_barrier orders their accesses to shared memory.
#if WORKGROUP_MATRICES
uint scope_id() { return 0u; }
uint scope_invocation() { return gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID; }
void scope_barrier() { barrier(); }
#else
uint scope_id() { return gl_SubgroupID; }
uint scope_invocation() { return gl_SubgroupInvocationID; }
void scope_barrier() { controlBarrier(gl_ScopeSubgroup, gl_ScopeSubgroup, gl_StorageSemanticsShared, gl_SemanticsAcquireRelease); }
#endif

#endif
