// The outputs o [B, Hq, Lq, Dv] and lse [B, Hq, Lq]. Only elements of o itself are touched: a word that a row shares with its
// neighbour is changed by atomicAnd and atomicOr on the row's own half, in whatever order with the same result.
#ifndef VKATTN_OUTPUT_STORE_GLSL
#define VKATTN_OUTPUT_STORE_GLSL

#include "arguments.glsl"
#include "element_types.glsl"

#if O_TYPE == TYPE_F32
#define O_BYTES_SHIFT 2u
#else
#define O_BYTES_SHIFT 1u
#endif

// O_UNIT: a group when O_VEC4, else an element (f32). O_WORD: two 16-bit elements; `e` counts from the row's first.
#if ADDRESSING == ADDRESSING_ADDRESS
#if O_TYPE == TYPE_F32 && O_VEC4
#define O_UNIT(row, i) Vec4Ref(ROW_ADDRESS(row)).data[i]
#elif O_TYPE == TYPE_F32
#define O_UNIT(row, i) FloatRef(ROW_ADDRESS(row)).data[i]
#else
#define O_UNIT(row, i) PairRef(ROW_ADDRESS(row)).data[i]
#define O_WORD(row, e) WordRef(WIDE_ADDRESS(wide_word((row).bytes))).data[((e) + ((WIDE_LOW((row).bytes) >> 1) & 1u)) >> 1]
#define O_HALF(row, e) (((e) + (WIDE_LOW((row).bytes) >> 1)) & 1u)
#endif
#else
layout(std430, set = 0, binding = 4) writeonly buffer LseBuffer { float lse_data[]; };
#if O_TYPE == TYPE_F32 && O_VEC4
layout(std430, set = 0, binding = 3) writeonly buffer OBuffer { vec4 o_data[]; };
#define O_UNIT(row, i) o_data[((row).element >> 2) + (i)]
#elif O_TYPE == TYPE_F32
layout(std430, set = 0, binding = 3) writeonly buffer OBuffer { float o_data[]; };
#define O_UNIT(row, i) o_data[(row).element + (i)]
#else
layout(std430, set = 0, binding = 3) buffer OBuffer { uint o_data[]; };
#define O_WORD(row, e) o_data[((row).element + (e)) >> 1]
#define O_HALF(row, e) (((row).element + (e)) & 1u)
#endif
#endif

RowPlace o_head(uint b, uint h) { return head_place(params.o, b, h, push.shift_o, O_BYTES_SHIFT); }
RowStep o_step(uint rows) { return row_step(rows, params.o.stride_l, O_BYTES_SHIFT); }

#if O_TYPE == TYPE_F32

// Elements 4 * group .. + 3 of a row, as far as the row goes.
void o_store(RowPlace row, uint group, vec4 value) {
    uint left = VALUE_DIM - 4u * group;
#if O_VEC4
    if (VALUE_DIM % 4u == 0u || left >= 4u) {
        O_UNIT(row, group) = value;
    } else {
        O_UNIT(row, group).x = value.x;
        if (left > 1u) O_UNIT(row, group).y = value.y;
        if (left > 2u) O_UNIT(row, group).z = value.z;
    }
#else
    uint e = 4u * group;
    O_UNIT(row, e) = value.x;
    if (left > 1u) O_UNIT(row, e + 1u) = value.y;
    if (left > 2u) O_UNIT(row, e + 2u) = value.z;
    if (left > 3u) O_UNIT(row, e + 3u) = value.w;
#endif
}

#else

uint encode_o(float value) {
#if O_TYPE == TYPE_F16
    return encode_f16(value);
#else
    return encode_bf16(value);
#endif
}

void store_half(RowPlace row, uint e, uint half_bits) {
    uint shift = 16u * O_HALF(row, e);
    atomicAnd(O_WORD(row, e), 0xffff0000u >> shift);
    atomicOr(O_WORD(row, e), half_bits << shift);
}

void o_store(RowPlace row, uint group, vec4 value) {
    uint e = 4u * group;
    uint left = VALUE_DIM - e;
    uvec4 halves = uvec4(encode_o(value.x), encode_o(value.y), encode_o(value.z), encode_o(value.w));
#if O_VEC4
    const bool odd = false;
#else
    bool odd = O_HALF(row, e) != 0u;
#endif
    if (!odd && (VALUE_DIM % 4u == 0u || left >= 4u)) {
        uvec2 words = halves.xz | (halves.yw << 16);
#if ADDRESSING == ADDRESSING_ADDRESS && O_VEC4
        O_UNIT(row, group) = words;
#else
        O_WORD(row, e) = words.x;
        O_WORD(row, e + 2u) = words.y;
#endif
    } else {
        store_half(row, e, halves.x);
        if (left > 1u) store_half(row, e + 1u, halves.y);
        if (left > 2u) store_half(row, e + 2u, halves.z);
        if (left > 3u) store_half(row, e + 3u, halves.w);
    }
}

#endif

void lse_store(uint b, uint h, uint q, float value) {
    if ((params.flags & PARAMS_WRITE_LSE) == 0u) return;
#if ADDRESSING == ADDRESSING_ADDRESS
    RowPlace row = row_add(head_place(params.lse, b, h, 0u, 2u), row_step(q, 1u, 2u));
    FloatRef(ROW_ADDRESS(row)).data[0] = value;
#else
    lse_data[head_place(params.lse, b, h, 0u, 0u).element + q] = value;
#endif
}

#endif
