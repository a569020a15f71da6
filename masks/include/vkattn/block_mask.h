// BlockMask: which blocks of the q x kv plane are empty, full or partial; PyTorch's object, kept as runs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "vkattn/bindings.h"
#include "vkattn/result.h"

namespace vkattn {

enum class BlockKind : uint8_t { empty, partial, full };

// A run of neighbouring blocks of one kind in one block row. The same 8 bytes are read by the kernel
// (shaders/include/block_walk.glsl).
struct BlockRun {
    uint32_t first_and_kind = 0;  // first block | (full ? 1u << 31 : 0)
    uint32_t n_blocks = 0;

    uint32_t first() const { return first_and_kind & 0x7fffffffu; }
    bool full() const { return (first_and_kind >> 31) != 0; }
    bool operator==(const BlockRun&) const = default;
};

// PyTorch's padded arrays, int32: counts [B, H, R], indices [B, H, R, C]. The two full_ arrays may be empty: no block
// is full.
struct PaddedBlocks {
    int32_t batch = 1, heads = 1, rows = 0, columns = 0;
    std::vector<int32_t> num_blocks, indices, full_num_blocks, full_indices;
};

// batch and heads are 1 (broadcast) or the shape's. A ragged last block counts as full when all its existing elements
// are true. Rows are [(b * heads + h) * rows + row]; row i's runs are runs[row_offsets[i] .. row_offsets[i + 1]),
// ascending, never touching with equal kinds. Built for `shape`, the values in `slot_values` and the tables of
// `tables_hash`: the plan refuses it with others.
struct BlockMask {
    int32_t batch = 1;
    int32_t heads = 1;
    Shape shape;
    int32_t block_q = 128;
    int32_t block_kv = 128;
    std::vector<uint32_t> row_offsets;
    std::vector<BlockRun> runs;
    std::string structure_hash;         // of the normalised mask; empty: hand-made lists
    std::vector<uint32_t> slot_values;  // that it was classified with
    std::string tables_hash;            // of the tables that it was classified with

    int32_t rows() const { return static_cast<int32_t>((int64_t{shape.q_len} + block_q - 1) / block_q); }
    int32_t columns() const { return static_cast<int32_t>((int64_t{shape.kv_len} + block_kv - 1) / block_kv); }

    int64_t full_blocks() const;  // over batch x heads of the lists
    int64_t partial_blocks() const;
    double sparsity() const;  // percent of blocks that are empty, 0 when there are no blocks (PyTorch's meaning)
    // b and h are the problem's (a broadcast list answers for all). Outside the grid: empty.
    BlockKind kind(int32_t b, int32_t h, int32_t row, int32_t column) const;
};

// Offsets monotone, runs ascending and inside; hostile input is refused here.
Status check(const BlockMask& block_mask);

// from_kv_blocks: PyTorch's constructor. Counts are clamped to 0 .. C; entries are checked: one outside the grid, one
// named twice, or a block in both lists is an error that names the place. Order is free, what stands behind the
// counts is ignored.
Result<BlockMask> from_kv_blocks(const PaddedBlocks& blocks, const Shape& shape, int32_t block_q, int32_t block_kv);
// The padded arrays; above max_bytes an error that says how many bytes it would take. `newest_first` reverses each row.
// Behind the counts stand the row's other blocks in ascending order, as PyTorch leaves them.
Result<PaddedBlocks> to_padded(const BlockMask& block_mask, uint64_t max_bytes = 256u << 20, bool newest_first = false);
// Lists by key block (PyTorch's q_num_blocks, q_indices ...): a BlockMask of the transposed plane, q and kv exchanged
// in `shape` and block sizes. Its structure_hash gains the prefix "transposed ", so that it is never taken for a list
// by query block; transposing again removes it.
BlockMask transpose(const BlockMask& block_mask);
// Rows [row_begin, row_end) of the block grid, as PyTorch's block_mask[:, :, rows]. Row 0 of the slice is row_begin:
// the result is a hand-made list (no structure_hash), to be used with the mask offset by row_begin * block_q.
Result<BlockMask> slice_rows(const BlockMask& block_mask, int32_t row_begin, int32_t row_end);
// One byte a block, [batch, heads, rows, columns]: 1 where the block is not empty (PyTorch's to_dense), above
// max_bytes an error.
Result<std::vector<uint8_t>> to_dense(const BlockMask& block_mask, uint64_t max_bytes = 256u << 20);

}  // namespace vkattn
