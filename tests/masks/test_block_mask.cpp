// BlockMask by itself: PyTorch's arrays both ways, transposes, slices, hostile lists.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "masks/block_grid.h"
#include "masks/random_tree.h"
#include "vkattn/block_mask.h"
#include "vkattn/classify.h"
#include "vkattn/named.h"

using namespace vkattn;
using namespace vkattn::test;

namespace {

PaddedBlocks small_lists() {  // 2 rows of 3 columns: partial 0 | full 2, partial 1
    return {1, 1, 2, 3, {1, 1}, {0, 9, 9, 1, 9, 9}, {0, 1}, {9, 9, 9, 2, 9, 9}};
}
const Shape kSmallShape{1, 1, 1, 20, 25};  // blocks of 10: the last column is ragged

}  // namespace

TEST_CASE("from_kv_blocks, to_padded, to_dense, kind and the counts agree with the grid they came from") {
    for (uint64_t seed = 1; seed <= 500; ++seed) {
        Rng rng(seed);
        const Grid grid = random_grid(rng);
        const BlockMask made = block_mask_of(grid, rng);
        const int rows = made.rows(), columns = made.columns();
        int64_t full_blocks = 0, partial_blocks = 0;
        const Result<std::vector<uint8_t>> dense = to_dense(made);
        REQUIRE(dense.ok());
        REQUIRE(dense->size() == grid.kinds.size());
        for (size_t i = 0; i < grid.kinds.size(); ++i) {
            full_blocks += grid.kinds[i] == BlockKind::full ? 1 : 0;
            partial_blocks += grid.kinds[i] == BlockKind::partial ? 1 : 0;
            CHECK_MESSAGE((*dense)[i] == (grid.kinds[i] != BlockKind::empty ? 1 : 0), "seed ", seed);
        }
        CHECK_MESSAGE(made.full_blocks() == full_blocks, "seed ", seed);
        CHECK_MESSAGE(made.partial_blocks() == partial_blocks, "seed ", seed);
        const auto total = static_cast<double>(grid.kinds.size());
        CHECK(made.sparsity() ==
              doctest::Approx(total > 0 ? 100.0 - 100.0 * static_cast<double>(full_blocks + partial_blocks) / total
                                        : 0.0));
        for (int b = 0; b < grid.shape.batch; ++b) {
            for (int h = 0; h < grid.shape.q_heads; ++h) {
                for (int row = 0; row < rows; ++row) {
                    for (int column = 0; column < columns; ++column) {
                        const BlockKind expected =
                            kind_in(grid, grid.batch == 1 ? 0 : b, grid.heads == 1 ? 0 : h, row, column, rows, columns);
                        CHECK_MESSAGE(made.kind(b, h, row, column) == expected, "seed ", seed);
                    }
                }
            }
        }
        for (const bool newest_first : {false, true}) {
            const Result<PaddedBlocks> padded = to_padded(made, 1 << 20, newest_first);
            REQUIRE(padded.ok());
            for (size_t row = 0; row < padded->num_blocks.size(); ++row) {
                for (const auto& [counts, indices] : {std::pair{&padded->num_blocks, &padded->indices},
                                                      {&padded->full_num_blocks, &padded->full_indices}}) {
                    const auto begin = indices->begin() + static_cast<int64_t>(row) * columns,
                               counted = begin + (*counts)[row];
                    CHECK_MESSAGE((newest_first ? std::is_sorted(begin, counted, std::greater<>())
                                                : std::is_sorted(begin, counted)),
                                  "seed ", seed);
                    CHECK(std::is_sorted(counted, begin + columns));  // the others follow, so the row is a permutation
                    std::vector<int32_t> all(begin, begin + columns);
                    std::sort(all.begin(), all.end());
                    for (int c = 0; c < columns; ++c) CHECK(all[static_cast<size_t>(c)] == c);
                }
            }
            const Result<BlockMask> again = from_kv_blocks(*padded, grid.shape, grid.block_q, grid.block_kv);
            REQUIRE(again.ok());
            CHECK_MESSAGE(again->runs == made.runs, "seed ", seed);
            CHECK_MESSAGE(again->row_offsets == made.row_offsets, "seed ", seed);
        }
    }
}

TEST_CASE("transposes and slices") {
    for (uint64_t seed = 1; seed <= 500; ++seed) {
        Rng rng(seed);
        const Grid grid = random_grid(rng);
        const BlockMask made = block_mask_of(grid, rng);
        const BlockMask turned = transpose(made);
        CHECK(check(turned).ok());
        REQUIRE(turned.rows() == made.columns());
        REQUIRE(turned.columns() == made.rows());
        CHECK(turned.shape.q_len == made.shape.kv_len);
        CHECK(turned.block_q == made.block_kv);
        for (int b = 0; b < grid.batch; ++b) {
            for (int h = 0; h < grid.heads; ++h) {
                for (int row = 0; row < made.rows(); ++row) {
                    for (int column = 0; column < made.columns(); ++column) {
                        CHECK_MESSAGE(turned.kind(b, h, column, row) == made.kind(b, h, row, column), "seed ", seed);
                    }
                }
            }
        }
        const BlockMask back = transpose(turned);
        CHECK_MESSAGE((back.runs == made.runs && back.row_offsets == made.row_offsets && back.shape == made.shape),
                      "seed ", seed);

        const int32_t begin = rng.between(0, made.rows()), end = rng.between(begin, made.rows());
        const Result<BlockMask> slice = slice_rows(made, begin, end);
        REQUIRE(slice.ok());
        CHECK(check(*slice).ok());
        REQUIRE(slice->rows() == end - begin);
        CHECK(slice->shape.kv_len == made.shape.kv_len);
        CHECK(slice->shape.q_len ==
              std::min(end * made.block_q, made.shape.q_len) - std::min(begin * made.block_q, made.shape.q_len));
        for (int b = 0; b < grid.batch; ++b) {
            for (int h = 0; h < grid.heads; ++h) {
                for (int row = begin; row < end; ++row) {
                    for (int column = 0; column < made.columns(); ++column) {
                        CHECK_MESSAGE(slice->kind(b, h, row - begin, column) == made.kind(b, h, row, column), "seed ",
                                      seed);
                    }
                }
            }
        }
        CHECK(!slice_rows(made, -1, end).ok());
        CHECK(!slice_rows(made, begin, made.rows() + 1).ok());
        if (begin < end) CHECK(slice_rows(made, end, begin).status().code == Code::invalid_argument);
    }
}

TEST_CASE("a transposed list and a slice do not pass for the mask's own list") {
    const Result<BlockMask> made = create_block_mask(causal(), {1, 1, 1, 512, 512});
    REQUIRE(made.ok());
    const BlockMask turned = transpose(*made);
    CHECK(turned.structure_hash == "transposed " + made->structure_hash);
    CHECK(transpose(turned).structure_hash == made->structure_hash);
    CHECK(slice_rows(*made, 1, 3)->structure_hash.empty());
}

TEST_CASE("large lists are transposed and kept in memory of the order of their runs; arrays are refused by size") {
    const int32_t length = 1 << 20;
    const Result<BlockMask> made = create_block_mask(causal(), {1, 1, 1, length, length});
    REQUIRE(made.ok());
    const BlockMask turned = transpose(*made);
    CHECK(turned.full_blocks() == made->full_blocks());
    CHECK(turned.partial_blocks() == 8192);
    CHECK(turned.runs.size() == made->runs.size());
    CHECK(turned.kind(0, 0, 5, 4) == BlockKind::empty);
    CHECK(turned.kind(0, 0, 5, 8191) == BlockKind::full);
    const Status status = to_padded(*made).status();
    CHECK(status.code == Code::limit_exceeded);
    CHECK(status.message.find("536936448 bytes") != std::string::npos);  // 2 x 4 x 8192 x (8192 + 1)
    CHECK(to_dense(*made, 1000).status().message.find("67108864 bytes") != std::string::npos);
    CHECK(to_padded(*made, 536936448).ok());
}

TEST_CASE("hostile PyTorch lists: counts are clamped, everything else is refused with the place") {
    const auto message = [](const PaddedBlocks& blocks, const Shape& shape = kSmallShape, int32_t block = 10) {
        const Result<BlockMask> made = from_kv_blocks(blocks, shape, block, 10);
        return made.ok() ? std::string("accepted") : made.status().message;
    };
    const auto contains = [](const std::string& text, const char* part) {
        return text.find(part) != std::string::npos;
    };
    REQUIRE(message(small_lists()) == "accepted");
    PaddedBlocks blocks = small_lists();
    blocks.num_blocks = {-5, 1};
    Result<BlockMask> made = from_kv_blocks(blocks, kSmallShape, 10, 10);
    REQUIRE(made.ok());
    CHECK(made->kind(0, 0, 0, 0) == BlockKind::empty);
    blocks.num_blocks = {2000000000, 1};
    blocks.indices = {2, 0, 1, 1, 9, 9};
    made = from_kv_blocks(blocks, kSmallShape, 10, 10);
    REQUIRE(made.ok());
    CHECK(made->partial_blocks() == 4);

    blocks = small_lists();
    blocks.indices[3] = -1;
    CHECK(contains(message(blocks), "indices names block -1 at b 0, h 0, row 1, the grid has columns 0 to 2"));
    blocks.indices[3] = 3;
    CHECK(contains(message(blocks), "names block 3"));
    blocks.indices[3] = INT32_MIN;
    CHECK(contains(message(blocks), "-2147483648"));
    blocks = small_lists();
    blocks.full_indices[3] = 1;
    CHECK(contains(message(blocks), "block 1 at b 0, h 0, row 1 is in both"));
    blocks = small_lists();
    blocks.num_blocks[0] = 2;
    blocks.indices[1] = 0;
    CHECK(contains(message(blocks), "is named twice"));
    blocks = small_lists();
    blocks.indices.pop_back();
    CHECK(contains(message(blocks), "indices has 5 elements; needs [1, 1, 2, 3]"));
    blocks = small_lists();
    blocks.full_num_blocks.clear();
    CHECK(contains(message(blocks), "full_num_blocks has 0 elements"));
    blocks.full_indices.clear();
    CHECK(message(blocks) == "accepted");
    blocks = small_lists();
    blocks.rows = 7;
    CHECK(contains(message(blocks), "needs 2 rows"));
    blocks = small_lists();
    blocks.columns = INT32_MAX;
    CHECK(contains(message(blocks), "elements; needs"));
    blocks.columns = -1;
    CHECK(!contains(message(blocks), "accepted"));
    blocks = small_lists();
    blocks.batch = 2;
    CHECK(contains(message(blocks), "batch 2"));
    CHECK(contains(message(small_lists(), kSmallShape, 0), "block sizes"));
    CHECK(contains(message(small_lists(), {1, 1, 1, -1, 25}), "q_len"));
    // fewer padded columns than the grid has: PyTorch's narrow lists
    CHECK(message({1, 1, 2, 1, {1, 1}, {2, 0}, {}, {}}) == "accepted");
}

TEST_CASE("check refuses what the kernels could not trust") {
    Rng rng(1);
    const auto good = [] { return *from_kv_blocks(small_lists(), kSmallShape, 10, 10); };
    const auto refused = [](const BlockMask& block_mask) {
        CHECK(!to_padded(block_mask).ok());
        CHECK(!to_dense(block_mask).ok());
        CHECK(!slice_rows(block_mask, 0, 0).ok());
        return !check(block_mask).ok();
    };
    CHECK(check(good()).ok());
    BlockMask bad = good();
    bad.runs[0].n_blocks = 0;
    CHECK(refused(bad));
    bad = good();
    bad.runs[0].n_blocks = ~0u;
    CHECK(refused(bad));
    bad = good();
    bad.runs[0].first_and_kind = 0x7fffffffu;
    CHECK(refused(bad));
    bad = good();
    std::swap(bad.runs[1], bad.runs[2]);
    CHECK(refused(bad));
    bad = good();
    bad.runs[2].first_and_kind = 2;  // touches its neighbour and is partial too
    CHECK(refused(bad));
    bad = good();
    bad.row_offsets = {0, 3, 2};
    CHECK(refused(bad));
    bad = good();
    bad.row_offsets = {0, 1, 4};
    CHECK(refused(bad));
    bad = good();
    bad.row_offsets = {1, 1, 3};
    CHECK(refused(bad));
    bad = good();
    bad.row_offsets.pop_back();
    CHECK(refused(bad));
    bad = good();
    bad.heads = 2;
    CHECK(refused(bad));
    bad = good();
    bad.block_q = 0;
    CHECK(!check(bad).ok());
    CHECK(good().kind(0, 0, 2, 0) == BlockKind::empty);
    CHECK(good().kind(0, 0, 0, 3) == BlockKind::empty);
    CHECK(good().kind(-1, 0, 0, 0) == BlockKind::empty);
    CHECK(good().kind(0, 0, -1, 0) == BlockKind::empty);
    CHECK(good().kind(7, 7, 0, 0) == BlockKind::partial);  // a broadcast list answers for all
}
