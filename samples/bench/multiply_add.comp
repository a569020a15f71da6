// The device's arithmetic limit: multiply-adds that never leave the registers.
//
// Each invocation keeps 16 independent chains (enough to hide the latency of any pipeline known to us) and runs x = x * a + b over
// them. a and b come from the host, so that nothing folds; the sums are stored, so that nothing is dropped.
// Tensors: sums [invocations] f32. Grid: 1-D. Operations: 2 * 16 * LANES * rounds for each invocation.
#version 450
#ifdef HALF
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#define VALUE f16vec2 // packed, as f16 arithmetic is twice as fast only in pairs
#else
#define VALUE float
#endif

layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) writeonly buffer Sums { float sums[]; };
layout(push_constant) uniform Push {
    float a, b;
    uint rounds;
};

const uint chains = 16;

void main() {
    const VALUE factor = VALUE(a), addend = VALUE(b);
    VALUE x[chains];
    for (uint i = 0; i < chains; i++) x[i] = VALUE(float(gl_LocalInvocationIndex + i));
    for (uint round = 0; round < rounds; round++) {
        for (uint i = 0; i < chains; i++) x[i] = fma(x[i], factor, addend);
    }
    VALUE sum = VALUE(0.0);
    for (uint i = 0; i < chains; i++) sum += x[i];
#ifdef HALF
    sums[gl_GlobalInvocationID.x] = float(sum.x + sum.y);
#else
    sums[gl_GlobalInvocationID.x] = sum;
#endif
}
