// A template: the reads of one input tensor. tensor_access.glsl includes it once per tensor with
//   READ(name)                  name with the tensor's prefix
//   READ_LAYOUT, READ_SHIFT     its TensorLayout in params; elements that its descriptor window starts further on
//   READ_TYPE, READ_VEC4        its axes
//   READ_DIM                    elements of a row
//   READ_BINDING
// and, in kernels that define READ_OWNED, the reads of invocations that share a row.
// A group is four elements of a row, from element 4 * group on; elements past the row's end are 0 and are not read (a word that holds
// the last element of an odd row is).

#if READ_TYPE == TYPE_F32
#define READ_BYTES_SHIFT 2u
#else
#define READ_BYTES_SHIFT 1u
#endif

#if ADDRESSING == ADDRESSING_ADDRESS
#if READ_TYPE == TYPE_F32 && READ_VEC4
#define READ_UNIT(row, i) Vec4Ref(ROW_ADDRESS(row)).data[i]
#elif READ_TYPE == TYPE_F32
#define READ_UNIT(row, i) FloatRef(ROW_ADDRESS(row)).data[i]
#elif READ_VEC4
#define READ_UNIT(row, i) PairRef(ROW_ADDRESS(row)).data[i]
#else
// A row may begin in the upper half of a word.
#define READ_WORD(row, e) WordRef(WIDE_ADDRESS(wide_word((row).bytes))).data[((e) + ((WIDE_LOW((row).bytes) >> 1) & 1u)) >> 1]
#define READ_HALF(row, e) (((e) + (WIDE_LOW((row).bytes) >> 1)) & 1u)
#endif
#else
#if READ_TYPE == TYPE_F32 && READ_VEC4
layout(std430, set = 0, binding = READ_BINDING) readonly buffer READ(Buffer) { vec4 READ(data)[]; };
#define READ_UNIT(row, i) READ(data)[((row).element >> 2) + (i)]
#elif READ_TYPE == TYPE_F32
layout(std430, set = 0, binding = READ_BINDING) readonly buffer READ(Buffer) { float READ(data)[]; };
#define READ_UNIT(row, i) READ(data)[(row).element + (i)]
#elif READ_VEC4
layout(std430, set = 0, binding = READ_BINDING) readonly buffer READ(Buffer) { uvec2 READ(data)[]; };
#define READ_UNIT(row, i) READ(data)[((row).element >> 2) + (i)]
#else
layout(std430, set = 0, binding = READ_BINDING) readonly buffer READ(Buffer) { uint READ(data)[]; };
#define READ_WORD(row, e) READ(data)[((row).element + (e)) >> 1]
#define READ_HALF(row, e) (((row).element + (e)) & 1u)
#endif
#endif

#if READ_TYPE == TYPE_F16
#define READ_DECODE(x) decode_f16(x)
#define READ_DECODE_PAIR(x) decode_f16_pair(x)
#elif READ_TYPE == TYPE_BF16
#define READ_DECODE(x) decode_bf16(x)
#define READ_DECODE_PAIR(x) decode_bf16_pair(x)
#else
#define READ_DECODE(x) (x)
#endif

// Row 0 of a head; row l is row_add(head, step(l)).
RowPlace READ(head)(uint b, uint h) { return head_place(READ_LAYOUT, b, h, READ_SHIFT, READ_BYTES_SHIFT); }
RowStep READ(step)(uint rows) { return row_step(rows, READ_LAYOUT.stride_l, READ_BYTES_SHIFT); }

#if READ_VEC4

#if READ_TYPE == TYPE_F32
vec4 READ(group)(RowPlace row, uint group) {
    uint left = READ_DIM - 4u * group;
    if (READ_DIM % 4u == 0u || left >= 4u) return READ_UNIT(row, group);
    vec4 value = vec4(READ_UNIT(row, group).x, 0.0, 0.0, 0.0);
    if (left > 1u) value.y = READ_UNIT(row, group).y;
    if (left > 2u) value.z = READ_UNIT(row, group).z;
    return value;
}
#else
uvec2 READ(words)(RowPlace row, uint group) {
    uint left = READ_DIM - 4u * group;
    if (READ_DIM % 4u == 0u || left >= 4u) return READ_UNIT(row, group);
    uvec2 words = uvec2(READ_UNIT(row, group).x, 0u);
    if (left == 1u) words.x &= 0xffffu;
    if (left > 2u) words.y = READ_UNIT(row, group).y & 0xffffu;
    return words;
}
vec4 READ(group)(RowPlace row, uint group) { return READ_DECODE(READ(words)(row, group)); }
uint READ(half)(RowPlace row, uint e) { return READ_UNIT(row, e >> 2)[(e >> 1) & 1u] >> (16u * (e & 1u)) & 0xffffu; }
#endif

#else

#if READ_TYPE == TYPE_F32
float READ(element)(RowPlace row, uint e) { return READ_UNIT(row, e); }
#else
uint READ(half)(RowPlace row, uint e) { return (READ_WORD(row, e) >> (16u * READ_HALF(row, e))) & 0xffffu; }
float READ(element)(RowPlace row, uint e) { return READ_DECODE(READ(half)(row, e)); }

uvec2 READ(words)(RowPlace row, uint group) {
    uint e = 4u * group;
    uvec2 words = uvec2(READ(half)(row, e), 0u);
    if (e + 1u < READ_DIM) words.x |= READ(half)(row, e + 1u) << 16;
    if (e + 2u < READ_DIM) words.y = READ(half)(row, e + 2u);
    if (e + 3u < READ_DIM) words.y |= READ(half)(row, e + 3u) << 16;
    return words;
}
#endif

vec4 READ(group)(RowPlace row, uint group) {
    uint e = 4u * group;
    vec4 value = vec4(READ(element)(row, e), 0.0, 0.0, 0.0);
    if (e + 1u < READ_DIM) value.y = READ(element)(row, e + 1u);
    if (e + 2u < READ_DIM) value.z = READ(element)(row, e + 2u);
    if (e + 3u < READ_DIM) value.w = READ(element)(row, e + 3u);
    return value;
}

#endif

#ifdef READ_OWNED
// An invocation's own elements of a row that several share: of part 0, 1 .. the ones from element READ(unit) * (part * sharers + own)
// on, READ(unit) of them, 0 past the row's end. `own` differs between the sharers, all else is the same. Where loads are uniform
// everybody loads every word of the part and keeps its own by selects (mix: no branch), which lavapipe makes one vector load.
#if READ_TYPE == TYPE_F32
const uint READ(unit) = UNIFORM_LOADS != 0u ? 1u : 4u;
#else
const uint READ(unit) = UNIFORM_LOADS != 0u ? 2u : 4u;
#endif
const uint READ(parts) = (READ_DIM + READ(unit) * THREADS_X - 1u) / (READ(unit) * THREADS_X);

vec4 READ(owned)(RowPlace row, uint part, uint own) {
    uint first = part * THREADS_X;
    if (UNIFORM_LOADS == 0u) {
        uint group = first + own;
        return 4u * group < READ_DIM ? READ(group)(row, min(group, (READ_DIM - 1u) / 4u)) : vec4(0.0);
    }
#if READ_TYPE == TYPE_F32
    float mine = 0.0;
#if READ_VEC4
    [[unroll]] for (uint i = 0u; i < THREADS_X; i += 4u) {
        if (first + i >= READ_DIM) continue;
        vec4 x = READ(group)(row, (first + i) / 4u);
        [[unroll]] for (uint j = 0u; j < 4u; j++) mine = mix(mine, x[j], own == i + j);
    }
#else
    [[unroll]] for (uint i = 0u; i < THREADS_X; i++) {
        if (first + i < READ_DIM) mine = mix(mine, READ_UNIT(row, first + i), own == i);
    }
#endif
    return vec4(mine, 0.0, 0.0, 0.0);
#elif READ_VEC4
    uint mine = 0u;
    [[unroll]] for (uint i = 0u; i < THREADS_X; i += 2u) {
        uint e = 2u * (first + i);
        if (e >= READ_DIM) continue;
        uvec2 x = uvec2(READ_UNIT(row, e / 4u).x, 0u);
        if (e + 2u < READ_DIM) x = READ_UNIT(row, e / 4u);
        mine = mix(mine, x.x, own == i);
        mine = mix(mine, x.y, own == i + 1u);
    }
    if (READ_DIM % 2u != 0u) mine = 2u * (first + own) + 1u == READ_DIM ? mine & 0xffffu : mine;  // the upper half is not the row's
    return vec4(READ_DECODE_PAIR(mine), 0.0, 0.0);
#else
    vec2 mine = vec2(0.0);
    [[unroll]] for (uint i = 0u; i < THREADS_X; i++) {
        uint e = 2u * (first + i);
        if (e < READ_DIM) mine.x = mix(mine.x, READ(element)(row, e), own == i);
        if (e + 1u < READ_DIM) mine.y = mix(mine.y, READ(element)(row, e + 1u), own == i);
    }
    return vec4(mine, 0.0, 0.0);
#endif
}
#endif

#undef READ
#undef READ_LAYOUT
#undef READ_SHIFT
#undef READ_TYPE
#undef READ_VEC4
#undef READ_DIM
#undef READ_BINDING
#undef READ_BYTES_SHIFT
#undef READ_UNIT
#undef READ_WORD
#undef READ_HALF
#undef READ_DECODE
#undef READ_DECODE_PAIR
