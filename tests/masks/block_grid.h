// Random block lists, and the grid of kinds that they came from.
#pragma once

#include <doctest/doctest.h>

#include <utility>
#include <vector>

#include "masks/random_tree.h"
#include "vkattn/block_mask.h"

namespace vkattn::test {

// A grid of kinds, one digit a block: 0 empty, 1 partial, 2 full.
struct Grid {
    Shape shape;
    int32_t batch = 1, heads = 1, block_q = 1, block_kv = 1;
    std::vector<BlockKind> kinds;  // [batch, heads, rows, columns]
};

inline Grid random_grid(Rng& rng) {
    Grid grid;
    grid.shape = {rng.between(1, 2), rng.between(1, 3), 1, rng.between(0, 40), rng.between(0, 60)};
    grid.batch = rng.chance(50) ? 1 : grid.shape.batch;
    grid.heads = rng.chance(50) ? 1 : grid.shape.q_heads;
    grid.block_q = rng.between(1, 9);
    grid.block_kv = rng.between(1, 7);
    BlockMask size;
    size.shape = grid.shape;
    size.block_q = grid.block_q;
    size.block_kv = grid.block_kv;
    const int32_t sticky = rng.between(0, 90);
    BlockKind kind = BlockKind::empty;
    for (int i = 0; i < grid.batch * grid.heads * size.rows() * size.columns(); ++i) {
        if (!rng.chance(sticky)) kind = static_cast<BlockKind>(rng.below(3));
        grid.kinds.push_back(kind);
    }
    return grid;
}

// PyTorch's arrays of the grid, each row shuffled, garbage behind the counts.
inline PaddedBlocks padded_of(const Grid& grid, Rng& rng) {
    PaddedBlocks padded{grid.batch,
                        grid.heads,
                        (grid.shape.q_len + grid.block_q - 1) / grid.block_q,
                        (grid.shape.kv_len + grid.block_kv - 1) / grid.block_kv,
                        {},
                        {},
                        {},
                        {}};
    for (int row = 0; row < grid.batch * grid.heads * padded.rows; ++row) {
        for (const BlockKind kind : {BlockKind::partial, BlockKind::full}) {
            std::vector<int32_t> entries;
            for (int32_t c = 0; c < padded.columns; ++c) {
                if (grid.kinds[static_cast<size_t>(row * padded.columns + c)] == kind) entries.push_back(c);
            }
            for (size_t i = entries.size(); i > 1; --i)
                std::swap(entries[i - 1], entries[static_cast<size_t>(rng.below(static_cast<int32_t>(i)))]);
            auto& counts = kind == BlockKind::full ? padded.full_num_blocks : padded.num_blocks;
            auto& indices = kind == BlockKind::full ? padded.full_indices : padded.indices;
            counts.push_back(static_cast<int32_t>(entries.size()));
            entries.resize(static_cast<size_t>(padded.columns), static_cast<int32_t>(rng.next()));
            indices.insert(indices.end(), entries.begin(), entries.end());
        }
    }
    return padded;
}

inline BlockMask block_mask_of(const Grid& grid, Rng& rng) {
    Result<BlockMask> made = from_kv_blocks(padded_of(grid, rng), grid.shape, grid.block_q, grid.block_kv);
    REQUIRE_MESSAGE(made.ok(), made.status().message);
    REQUIRE(check(*made).ok());
    return *made;
}

inline BlockKind kind_in(const Grid& grid, int b, int h, int row, int column, int rows, int columns) {
    return grid.kinds[static_cast<size_t>(((b * grid.heads + h) * rows + row) * columns + column)];
}

}  // namespace vkattn::test
