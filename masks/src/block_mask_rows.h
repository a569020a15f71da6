// Rows of runs, for what reads and writes whole lists.
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "vkattn/block_mask.h"

namespace vkattn::block_rows {

inline int64_t list_rows(const BlockMask& block_mask) {
    return int64_t{block_mask.batch} * block_mask.heads * block_mask.rows();
}

// `list_row` is (b * heads + h) * rows + row.
inline std::span<const BlockRun> runs_of(const BlockMask& block_mask, int64_t list_row) {
    const auto at = static_cast<size_t>(list_row);
    return std::span(block_mask.runs)
        .subspan(block_mask.row_offsets[at], block_mask.row_offsets[at + 1] - block_mask.row_offsets[at]);
}

// An empty list of the same planes and block sizes, its rows still to be written.
inline BlockMask like(const BlockMask& block_mask, const Shape& shape) {
    BlockMask result;
    result.batch = block_mask.batch;
    result.heads = block_mask.heads;
    result.shape = shape;
    result.block_q = block_mask.block_q;
    result.block_kv = block_mask.block_kv;
    result.row_offsets.push_back(0);
    return result;
}

// To the row that starts at runs[row_begin], after its last block; grows the last run where the kinds are equal.
inline void append(std::vector<BlockRun>& runs, size_t row_begin, uint32_t first, uint32_t n_blocks, bool full) {
    if (runs.size() > row_begin) {
        BlockRun& last = runs.back();
        if (last.full() == full && last.first() + last.n_blocks == first) {
            last.n_blocks += n_blocks;
            return;
        }
    }
    runs.push_back({first | (full ? 1u << 31 : 0u), n_blocks});
}

inline Status bad(std::string message) { return error(Code::invalid_argument, "block mask: " + std::move(message)); }

}  // namespace vkattn::block_rows
