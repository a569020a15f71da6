// How a kernel reaches its arguments in both flavours of ADDRESSING: push constants, `params`, the tables buffer, 64-bit sums.
//
// binding: descriptor set 0, an element is found by a 32-bit index (sums are modulo 2^32 until push.shift_* is taken off, so that
// only the result has to fit). address: 64-bit addresses, as uvec2 {low, high} unless
// ADDRESS_INT64: some drivers have no 64-bit integers.
// A kernel that writes to the tables buffer defines WRITES_TABLES.
#ifndef VKATTN_ARGUMENTS_GLSL
#define VKATTN_ARGUMENTS_GLSL

#include "axes.glsl"
#include "params.h"

#ifdef LITERAL_SIZES    // of the matrix kernel, for drivers that want the sizes of matrices and arrays as literals
#define SPEC(id, name, value) const uint name = LITERAL_##name;
#include "spec_constants.h"
layout(local_size_x = LITERAL_WORKGROUP_SIZE) in;
#else
#define SPEC(id, name, value) layout(constant_id = id) const uint name = value;
#include "spec_constants.h"
layout(local_size_x_id = 0) in;
#endif

layout(push_constant) uniform PushConstants { AttentionPush push; };

#if ADDRESSING == ADDRESSING_ADDRESS

layout(buffer_reference, std430, buffer_reference_align = 8) readonly buffer ParamsRef { AttentionParams data; };
layout(buffer_reference, std430, buffer_reference_align = 4) buffer WordRef { uint data[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) buffer FloatRef { float data[]; };
layout(buffer_reference, std430, buffer_reference_align = 8) buffer PairRef { uvec2 data[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) buffer Vec4Ref { vec4 data[]; };
#define params ParamsRef(push.params_address).data

#if ADDRESS_INT64
// The low word is summed up beside the whole: lavapipe with vectors of 512 bits crashes where 64 bits become 32.
struct Wide { uint64_t whole; uint low; };
#define WIDE_ADDRESS(a) (a).whole
#define WIDE_LOW(a) (a).low
Wide wide(uint a) { return Wide(uint64_t(a), a); }
Wide wide_of(uvec2 words) { return Wide(packUint2x32(words), words.x); }
Wide wide_mul(uint a, uint b) { return Wide(uint64_t(a) * b, a * b); }
Wide wide_add(Wide a, Wide b) { return Wide(a.whole + b.whole, a.low + b.low); }
Wide wide_shift(Wide a, uint shift) { return Wide(a.whole << shift, a.low << shift); }
Wide wide_word(Wide a) { return Wide(a.whole - uint64_t(a.low & 3u), a.low & ~3u); }
#else
#define Wide uvec2
#define WIDE_ADDRESS(a) (a)
#define WIDE_LOW(a) (a).x
Wide wide(uint a) { return uvec2(a, 0u); }
Wide wide_of(uvec2 words) { return words; }
Wide wide_mul(uint a, uint b) {
    uvec2 product;
    umulExtended(a, b, product.y, product.x);
    return product;
}
Wide wide_add(Wide a, Wide b) {
    uint low = a.x + b.x;
    return uvec2(low, a.y + b.y + (low < a.x ? 1u : 0u));
}
// Left by 1 or 2: elements to bytes.
Wide wide_shift(Wide a, uint shift) { return uvec2(a.x << shift, (a.y << shift) | (a.x >> (32u - shift))); }
// Of the word that holds it.
Wide wide_word(Wide a) { return uvec2(a.x & ~3u, a.y); }
#endif

Wide tables_place(uint index) {
    return wide_add(wide_of(params.tables.address), wide_shift(wide_add(wide(index), wide(params.tables.base)), 2u));
}
uint tables_word(uint index) { return WordRef(WIDE_ADDRESS(tables_place(index))).data[0]; }
#ifdef WRITES_TABLES
void tables_store(uint index, uint word) { WordRef(WIDE_ADDRESS(tables_place(index))).data[0] = word; }
#endif

// Where a row of a tensor begins, and how far one row is from another.
struct RowPlace { Wide bytes; };
struct RowStep { Wide bytes; };
#define ROW_ADDRESS(row) WIDE_ADDRESS((row).bytes)
RowPlace row_add(RowPlace row, RowStep by) { return RowPlace(wide_add(row.bytes, by.bytes)); }

// Elements of 1 << shift bytes.
RowStep row_step(uint rows, uint stride, uint shift) { return RowStep(wide_shift(wide_mul(rows, stride), shift)); }
RowPlace head_place(TensorLayout layout_, uint b, uint h, uint unused_shift, uint shift) {
    Wide elements = wide_add(wide_mul(b, layout_.stride_b), wide_mul(h, layout_.stride_h));
    return RowPlace(wide_add(wide_of(layout_.address), wide_shift(wide_add(elements, wide(layout_.base)), shift)));
}

#else

layout(std430, set = 0, binding = 7) readonly buffer ParamsBuffer { AttentionParams params; };
#ifdef WRITES_TABLES
layout(std430, set = 0, binding = 6) buffer TablesBuffer { uint tables_data[]; };
void tables_store(uint index, uint word) { tables_data[params.tables.base + index] = word; }
#else
layout(std430, set = 0, binding = 6) readonly buffer TablesBuffer { uint tables_data[]; };
#endif

uint tables_word(uint index) { return tables_data[params.tables.base + index]; }

struct RowPlace { uint element; };
struct RowStep { uint elements; };
RowPlace row_add(RowPlace row, RowStep by) { return RowPlace(row.element + by.elements); }
RowStep row_step(uint rows, uint stride, uint unused_shift) { return RowStep(rows * stride); }
RowPlace head_place(TensorLayout layout_, uint b, uint h, uint window_shift, uint unused_shift) {
    return RowPlace(b * layout_.stride_b + h * layout_.stride_h + layout_.base - window_shift);
}

#endif
#endif
