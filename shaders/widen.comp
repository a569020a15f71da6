#version 450
#extension GL_GOOGLE_include_directive : require
// widen: k and v once as aligned rows of f32, so that an attention kernel that follows decodes nothing in its inner loops.
//
//   an invocation copies one row of k and the same row of v, group by group; past the end of a row a group holds zeros
//
// k [B, Hkv, Lkv, D], v [B, Hkv, Lkv, Dv], any type and strides (params.k_source, v_source)
//   -> k [B, Hkv, Lkv, 4 * QK_GROUPS], v [B, Hkv, Lkv, 4 * VALUE_GROUPS] f32, contiguous (params.k, v), in the workspace.
// Grid: x = (b * Hkv + h) * Lkv + l, from push.tile_base on. Shared memory: none.
#include "arguments.glsl"
#include "element_types.glsl"

const uint QK_GROUPS = (HEAD_DIM + 3u) / 4u;
const uint VALUE_GROUPS = (VALUE_DIM + 3u) / 4u;

#define READ(name) k_##name
#define READ_LAYOUT params.k_source
#define READ_SHIFT 0u
#define READ_TYPE K_TYPE
#define READ_VEC4 K_VEC4
#define READ_DIM HEAD_DIM
#define READ_BINDING 1
#include "tensor_reader.glsl"

#define READ(name) v_##name
#define READ_LAYOUT params.v_source
#define READ_SHIFT 0u
#define READ_TYPE V_TYPE
#define READ_VEC4 V_VEC4
#define READ_DIM VALUE_DIM
#define READ_BINDING 2
#include "tensor_reader.glsl"

#if ADDRESSING == ADDRESSING_ADDRESS
RowPlace wide_row(TensorLayout wide, uint row) {
    return row_add(head_place(wide, 0u, 0u, 0u, 2u), row_step(row, wide.stride_l, 2u));
}
#define WIDE_K(row, group) Vec4Ref(ROW_ADDRESS(row)).data[group]
#define WIDE_V(row, group) Vec4Ref(ROW_ADDRESS(row)).data[group]
#else
// Where the attention kernels have q and o.
layout(std430, set = 0, binding = 0) writeonly buffer WideK { vec4 wide_k[]; };
layout(std430, set = 0, binding = 3) writeonly buffer WideV { vec4 wide_v[]; };
RowPlace wide_row(TensorLayout wide, uint row) { return row_add(head_place(wide, 0u, 0u, 0u, 0u), row_step(row, wide.stride_l, 0u)); }
#define WIDE_K(row, group) wide_k[((row).element >> 2) + (group)]
#define WIDE_V(row, group) wide_v[((row).element >> 2) + (group)]
#endif

void main() {
    uint row = push.tile_base + gl_GlobalInvocationID.x;
    uint head = row / uint(params.kv_len);
    uint b = head / uint(params.kv_heads);
    if (b >= uint(params.batch)) return;
    uint h = head - b * uint(params.kv_heads);
    uint l = row - head * uint(params.kv_len);

    RowPlace k_from = row_add(k_head(b, h), k_step(l));
    RowPlace k_to = wide_row(params.k, row);
    for (uint group = 0u; group < QK_GROUPS; group++) WIDE_K(k_to, group) = k_group(k_from, group);
    RowPlace v_from = row_add(v_head(b, h), v_step(l));
    RowPlace v_to = wide_row(params.v, row);
    for (uint group = 0u; group < VALUE_GROUPS; group++) WIDE_V(v_to, group) = v_group(v_from, group);
}
