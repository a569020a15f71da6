// AttentionParams: everything that changes without a new pipeline. One declaration for C++ and GLSL (std430).
//
// Strides and bases are in elements of their tensor; *_words in 32-bit words of the tables buffer. Addresses are used by the
// ADDRESSING == address flavour alone, element bases (the rest of an offset after alignment) by both.
#ifndef VKATTN_PARAMS_H
#define VKATTN_PARAMS_H

#ifdef __cplusplus
#include <cstdint>
namespace vkattn {
using params_uint = uint32_t;
using params_int = int32_t;
using params_float = float;
struct params_uvec2 { uint32_t x, y; };
#define VKATTN_PARAMS_CONST constexpr uint32_t
#else
#define params_uint uint
#define params_int int
#define params_float float
#define params_uvec2 uvec2
#define VKATTN_PARAMS_CONST const uint
#endif

VKATTN_PARAMS_CONST PARAMS_MAX_TABLES = 16u;
VKATTN_PARAMS_CONST PARAMS_MAX_SLOTS = 512u;
// Specialization constants from here on are an emitted hook's: literal divisors, moduli and shift counts.
VKATTN_PARAMS_CONST SPEC_MASK_FIRST = 64u;

// A table in the tables buffer. Unused dimensions are 1; an index is clamped to [0, dim - 1], a table with an empty dimension is
// refused on the host. Elements: i32 and f32 one word, bool one byte.
struct TableInfo {
    params_uint offset_words;
    params_int dim0;
    params_int dim1;
    params_int dim2;
    params_int dim3;
    params_uint reserved0;
    params_uint reserved1;
    params_uint reserved2;
};

// Strides of [batch, heads, length, dim]; the innermost stride is 1. 0 broadcasts. 64-bit offsets are formed from 32-bit strides.
struct TensorLayout {
    params_uvec2 address;       // low, high word; aligned to the element
    params_uint base;           // elements to add
    params_uint stride_b;
    params_uint stride_h;
    params_uint stride_l;
};

struct AttentionParams {
    TensorLayout q;             // [B, Hq, Lq, D]
    TensorLayout k;             // [B, Hkv, Lkv, D], as attention reads it: the caller's or the workspace's
    TensorLayout v;             // [B, Hkv, Lkv, Dv]
    TensorLayout o;             // [B, Hq, Lq, Dv]
    TensorLayout lse;           // [B, Hq, Lq] f32, stride_l 1
    TensorLayout work;          // partials of splits (partials.glsl)
    TensorLayout tables;        // 32-bit words
    TensorLayout k_source;      // the caller's k and v: what widen.comp reads
    TensorLayout v_source;

    params_int batch;
    params_int q_heads;
    params_int kv_heads;
    params_int group;           // q_heads / kv_heads
    params_int q_len;
    params_int kv_len;
    params_float scale;         // multiplies q . k before the score mod
    params_uint flags;          // PARAMS_WRITE_LSE ...

    params_uint q_tiles;        // ceil(q_len / rows of a tile)
    // Block lists, RUNS: row offsets u32 [batch | 1, heads | 1, block rows] + 1; runs {first | full << 31, count}, two words each.
    // INDICES: counts of partial blocks [batch | 1, heads | 1, block rows]; their columns, list_columns a row; the same of full ones.
    params_uint list_offsets_words;       // RUNS: row offsets; INDICES: counts of partial blocks
    params_uint list_runs_words;          // RUNS: runs; INDICES: columns of partial blocks
    params_uint list_full_counts_words;
    params_uint list_full_indices_words;
    params_uint list_columns;             // INDICES: places a row has in each of the two lists
    params_uint list_runs;                // RUNS: runs in the buffer, what a row may point at
    params_uint list_rows;                // block rows per (b, h)
    params_uint list_stride_b;            // rows to step for a batch entry: 0 when shared
    params_uint list_stride_h;
    params_uint list_block_q;             // rows of a block; a multiple of the tile's
    params_uint list_block_kv;
    params_uint list_planes;              // (b, h) that have lists of their own
    params_uint tile_order_words;         // PARAMS_TILE_ORDER: q_tiles numbers of tiles, heavy ones first

    TableInfo tables_info[PARAMS_MAX_TABLES];
    params_uint slots[PARAMS_MAX_SLOTS];      // bits of the mask's, then the score mod's slots
};

// Push constants: what differs between the dispatches of one plan. `shift_*` are elements to subtract, modulo 2^32, from a
// tensor's index when its descriptor window starts further on (binding flavour; 0 otherwise).
struct AttentionPush {
    params_uvec2 params_address;              // address flavour
    params_uint tile_base;                    // first workgroup of this dispatch, or first row or item (widen, merge_splits)
    params_uint item_end;                     // merge_splits: from here on items belong to another slice or window
    params_uint shift_q;
    params_uint shift_k;
    params_uint shift_v;
    params_uint shift_o;
};

VKATTN_PARAMS_CONST PARAMS_WRITE_LSE = 1u;
VKATTN_PARAMS_CONST PARAMS_LIST_ALL_PARTIAL = 2u;   // lists built for other scalar values: full blocks are tested too
VKATTN_PARAMS_CONST PARAMS_TILE_ORDER = 4u;         // tile_order_words holds

#ifdef __cplusplus
static_assert(sizeof(AttentionParams) <= 4096, "AttentionParams is written by vkCmdUpdateBuffer and must stay small");
static_assert(sizeof(AttentionParams) % 8 == 0, "std430 rounds a struct with uvec2 to 8 bytes");
static_assert(sizeof(TensorLayout) == 24 && sizeof(TableInfo) == 32, "std430 layout");
}  // namespace vkattn
#endif
#endif
