// The device's arithmetic limit: multiply-adds that never leave the registers.
//
// Each invocation keeps 12 independent chains (two pipes, and drivers that make a multiplication and an addition of three cycles each
// of it; few enough for 16 registers) and runs x = x * a + b over them. a and b come from the host, so that nothing folds; the sums are stored, so that nothing is dropped.
// Tensors: sums [invocations] f32. Grid: 1-D. Operations: 2 * 12 * 32 * lanes * rounds for each invocation, lanes 2 for f16.
#version 450
#extension GL_EXT_control_flow_attributes : require
#ifdef HALF
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#define VALUE f16vec2 // packed: GPUs are twice as fast only in pairs
#else
#define VALUE float
#endif

layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) writeonly buffer Sums { float sums[]; };
layout(push_constant) uniform Push {
    float a, b;
    uint rounds;
};

const uint chains = 12;
const uint steps = 32; // of a round: software devices pay for every turn of a loop with a masked copy of what it changes

void main() {
    const VALUE factor = VALUE(a), addend = VALUE(b);
    VALUE x[chains];
    [[unroll]] for (uint i = 0; i < chains; i++) x[i] = VALUE(float(gl_LocalInvocationIndex + i));
    for (uint round = 0; round < rounds; round++) {
        [[unroll]] for (uint step = 0; step < steps; step++) {
            [[unroll]] for (uint i = 0; i < chains; i++) x[i] = fma(x[i], factor, addend);
        }
    }
    VALUE sum = VALUE(0.0);
    [[unroll]] for (uint i = 0; i < chains; i++) sum += x[i];
#ifdef HALF
    sums[gl_GlobalInvocationID.x] = float(sum.x + sum.y);
#else
    sums[gl_GlobalInvocationID.x] = sum;
#endif
}
