// The arithmetic limit of matrix units: sum[i] += left[i] . right[step] over matrices that stay in registers.
//
// Each subgroup keeps 4 independent sums (a sum waits for its last product), 4 left and 8 right factors. All products of a round
// differ, and the left factors are loaded again for each round from the one or the other of two places, so that no compiler reuses a
// product; one load serves 8 steps. The sums are stored, so that nothing is dropped.
// Tensors: sums [workgroups, M, N] f32; inputs: any 16-bit numbers, 2 * 4 matrices [M, K] and 8 [K, N].
// Grid: 1-D, a subgroup a workgroup. Operations: 2 * 4 * 8 * M * N * K * rounds a workgroup.
#version 450
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#ifdef BFLOAT
#extension GL_EXT_bfloat16 : require
#define ELEMENT bfloat16_t
#else
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#define ELEMENT float16_t
#endif

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint M = 16;
layout(constant_id = 2) const uint N = 16;
layout(constant_id = 3) const uint K = 16;
layout(set = 0, binding = 0, std430) writeonly buffer Sums { float sums[]; };
layout(set = 0, binding = 1, std430) readonly buffer Inputs { uint inputs[]; }; // two elements each
layout(push_constant) uniform Push {
    float a, b;
    uint rounds;
};

const uint chains = 4;
const uint steps = 8; // of a round

void main() {
    coopmat<ELEMENT, gl_ScopeSubgroup, M, K, gl_MatrixUseA> left[chains];
    coopmat<ELEMENT, gl_ScopeSubgroup, K, N, gl_MatrixUseB> right[steps];
    coopmat<float, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator> sum[chains];
    [[unroll]] for (uint i = 0; i < chains; i++)
        sum[i] = coopmat<float, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator>(a);
    [[unroll]] for (uint step = 0; step < steps; step++)
        coopMatLoad(right[step], inputs, chains * M * K + step * K * N / 2, N / 2, gl_CooperativeMatrixLayoutRowMajor);
    [[dont_unroll]] for (uint round = 0; round < rounds; round++) {
        [[unroll]] for (uint i = 0; i < chains; i++)
            coopMatLoad(left[i], inputs, ((round & 1u) * chains + i) * M * K / 2, K / 2, gl_CooperativeMatrixLayoutRowMajor);
        [[unroll]] for (uint step = 0; step < steps; step++) {
            [[unroll]] for (uint i = 0; i < chains; i++) sum[i] = coopMatMulAdd(left[i], right[step], sum[i]);
        }
    }
    [[unroll]] for (uint i = 1; i < chains; i++) sum[0] += sum[i];
    coopMatStore(sum[0], sums, gl_WorkGroupID.x * M * N, N, gl_CooperativeMatrixLayoutRowMajor);
}
