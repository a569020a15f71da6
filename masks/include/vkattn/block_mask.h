// BlockMask: which blocks of the q x kv plane are empty, full or partial; PyTorch's object, kept as runs.
#pragma once

#include <cstdint>
#include <map>
#include <span>
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
// Behind the counts stand the row's other blocks in ascending order, as PyTorch leaves them. `strict_edges`: the
// ragged blocks of the last row and column are partial where they would be full, as PyTorch's create_block_mask has
// them (it pads the mask with false up to whole blocks).
Result<PaddedBlocks> to_padded(const BlockMask& block_mask, uint64_t max_bytes = 256u << 20, bool newest_first = false,
                               bool strict_edges = false);
// Lists by key block (PyTorch's q_num_blocks, q_indices ...): a BlockMask of the transposed plane, q and kv exchanged
// in `shape` and block sizes. Its structure_hash gains the prefix "transposed ", so that it is never taken for a list
// by query block; transposing again removes it.
BlockMask transpose(const BlockMask& block_mask);
// One byte a block, [batch, heads, rows, columns]: 1 where the block is not empty (PyTorch's to_dense), above
// max_bytes an error.
Result<std::vector<uint8_t>> to_dense(const BlockMask& block_mask, uint64_t max_bytes = 256u << 20);

// Editing. Each of these gives a hand-made list (no structure_hash): it says which blocks to visit, and the caller
// says with which mask. Kinds stay sound for the mask named here: empty and full are never claimed without proof. All
// take one pass over the runs. Lists that are put together have one block size and one shape; a list with batch or
// heads 1 answers for all of the other's.

// For a || b: full where either is, partial where either is partial.
Result<BlockMask> unite(const BlockMask& a, const BlockMask& b);
// For a && b: full where both are, empty where either is.
Result<BlockMask> intersect(const BlockMask& a, const BlockMask& b);
// For a && !b: a's where b is empty, empty where b is full, else partial.
Result<BlockMask> subtract(const BlockMask& a, const BlockMask& b);
// Batch entries [begin, end), as PyTorch's block_mask[begin:end]. To be used with the mask at b + begin.
Result<BlockMask> slice_batch(const BlockMask& block_mask, int32_t begin, int32_t end);
// Query heads [begin, end), as PyTorch's block_mask[:, begin:end], with the key heads that they read: whole groups, or
// heads of one group. To be used with the mask at h + begin.
Result<BlockMask> slice_heads(const BlockMask& block_mask, int32_t begin, int32_t end);
// Rows [row_begin, row_end) of the block grid, as PyTorch's block_mask[:, :, rows]. Row 0 of the slice is row_begin:
// to be used with the mask offset by row_begin * block_q.
Result<BlockMask> slice_rows(const BlockMask& block_mask, int32_t row_begin, int32_t row_end);
// Columns [column_begin, column_end): for the mask at kv + column_begin * block_kv.
Result<BlockMask> slice_columns(const BlockMask& block_mask, int32_t column_begin, int32_t column_end);
// Block (row, column) moves to (row + rows, column + columns) on a grid of the same size; what leaves the grid is
// dropped, what enters is empty. For the mask at (q - rows * block_q, kv - columns * block_kv), false outside. A ragged
// full block that moves inward becomes partial: its missing elements exist there.
Result<BlockMask> shift(const BlockMask& block_mask, int32_t rows, int32_t columns);
// One after the other along the batch; shapes differ in batch only. Where only some have a list per head, all get one.
Result<BlockMask> concatenate(std::span<const BlockMask> parts);

// For file formats that keep arrays and words (safetensors: tensors and metadata): every word of a BlockMask besides
// row_offsets, runs and slot_values, by name. from_metadata puts them back on a BlockMask that has the three arrays;
// what is missing, malformed or does not fit together is an error. Other names in `metadata` are ignored.
std::map<std::string, std::string> metadata_of(const BlockMask& block_mask);
Result<BlockMask> from_metadata(BlockMask arrays, const std::map<std::string, std::string>& metadata);

}  // namespace vkattn
