// The input tensors q [B, Hq, Lq, D], k [B, Hkv, Lkv, D], v [B, Hkv, Lkv, Dv]: for each of them (prefix q_, k_, v_)
//   RowPlace k_head(b, h)              row 0 of a head
//   RowStep  k_step(rows)              how far `rows` rows are; row l is row_add(k_head(b, h), k_step(l))
//   vec4     k_group(row, group)       elements 4 * group .. + 3 as f32, 0 past the end of the row
//   uvec2    k_words(row, group)       the same as they lie in memory; 16-bit types only
//   uint     k_half(row, e)            element e, which the row has, in the lower half; 16-bit types only
#ifndef VKATTN_TENSOR_ACCESS_GLSL
#define VKATTN_TENSOR_ACCESS_GLSL

#include "arguments.glsl"
#include "element_types.glsl"

const uint QK_GROUPS = (HEAD_DIM + 3u) / 4u;
const uint VALUE_GROUPS = (VALUE_DIM + 3u) / 4u;

#define READ(name) q_##name
#define READ_LAYOUT params.q
#define READ_SHIFT push.shift_q
#define READ_TYPE Q_TYPE
#define READ_VEC4 Q_VEC4
#define READ_DIM HEAD_DIM
#define READ_BINDING 0
#include "tensor_reader.glsl"

#define READ(name) k_##name
#define READ_LAYOUT params.k
#define READ_SHIFT push.shift_k
#define READ_TYPE K_TYPE
#define READ_VEC4 K_VEC4
#define READ_DIM HEAD_DIM
#define READ_BINDING 1
#include "tensor_reader.glsl"

#define READ(name) v_##name
#define READ_LAYOUT params.v
#define READ_SHIFT push.shift_v
#define READ_TYPE V_TYPE
#define READ_VEC4 V_VEC4
#define READ_DIM VALUE_DIM
#define READ_BINDING 2
#include "tensor_reader.glsl"

#endif
