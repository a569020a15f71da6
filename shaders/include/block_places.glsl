// Block lists while the device makes them: kinds of blocks, and whose lists a plane is.
#ifndef VKATTN_BLOCK_PLACES_GLSL
#define VKATTN_BLOCK_PLACES_GLSL

const uint BLOCK_EMPTY = 0u;
const uint BLOCK_PARTIAL = 1u;
const uint BLOCK_FULL = 2u;

// The first batch entry and head that read the lists of a plane.
uint plane_head(uint plane) { return params.list_stride_h == 0u ? 0u : plane % uint(params.q_heads); }
uint plane_batch(uint plane) {
    uint head_planes = params.list_stride_h == 0u ? 1u : uint(params.q_heads);
    return params.list_stride_b == 0u ? 0u : plane / head_planes;
}

#endif
