// Edited block lists against the kinds of their blocks one by one, and against the masks that they are said to be for.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>

#include "masks/block_grid.h"
#include "vkattn/classify.h"
#include "vkattn/evaluate.h"
#include "vkattn/named.h"

using namespace vkattn;
using namespace vkattn::test;

namespace {

// Another grid for the shape and blocks of `grid`, its lists per batch entry and head or for all.
Grid beside(const Grid& grid, Rng& rng) {
    Grid other = grid;
    other.batch = rng.chance(50) ? 1 : grid.shape.batch;
    other.heads = rng.chance(50) ? 1 : grid.shape.q_heads;
    const int32_t rows = (grid.shape.q_len + grid.block_q - 1) / grid.block_q,
                  columns = (grid.shape.kv_len + grid.block_kv - 1) / grid.block_kv;
    other.kinds.clear();
    for (int32_t i = 0; i < other.batch * other.heads * rows * columns; ++i)
        other.kinds.push_back(static_cast<BlockKind>(rng.below(3)));
    return other;
}

// What the elements of one block say.
BlockKind kind_by_elements(Evaluator& pairs, const BlockMask& list, int32_t b, int32_t h, int32_t row, int32_t column) {
    bool any_true = false, any_false = false;
    for (int32_t q = row * list.block_q; q < std::min((row + 1) * list.block_q, list.shape.q_len); ++q) {
        for (int32_t kv = column * list.block_kv; kv < std::min((column + 1) * list.block_kv, list.shape.kv_len);
             ++kv) {
            (pairs.mask(b, h, q, kv) ? any_true : any_false) = true;
        }
    }
    if (any_true && any_false) return BlockKind::partial;
    return any_true ? BlockKind::full : BlockKind::empty;
}

// Full and empty are proofs, partial may be anything.
void check_sound(const BlockMask& list, const Mask& mask, uint64_t seed, const char* what) {
    REQUIRE(check(list).ok());
    CHECK(list.structure_hash.empty());
    Result<Evaluator> pairs = Evaluator::make(mask, list.shape);
    REQUIRE_MESSAGE(pairs.ok(), pairs.status().message);
    for (int32_t b = 0; b < list.shape.batch; ++b) {
        for (int32_t h = 0; h < list.shape.q_heads; ++h) {
            for (int32_t row = 0; row < list.rows(); ++row) {
                for (int32_t column = 0; column < list.columns(); ++column) {
                    const BlockKind kind = list.kind(b, h, row, column);
                    if (kind == BlockKind::partial || kind == kind_by_elements(*pairs, list, b, h, row, column))
                        continue;
                    FAIL(what << " seed " << seed << " at b " << b << " h " << h << " row " << row << " column "
                              << column << ": " << (kind == BlockKind::full ? "full" : "empty") << " is wrong");
                }
            }
        }
    }
}

bool same_lists(const BlockMask& a, const BlockMask& b) {
    return a.batch == b.batch && a.heads == b.heads && a.shape == b.shape && a.block_q == b.block_q &&
           a.block_kv == b.block_kv && a.row_offsets == b.row_offsets && a.runs == b.runs &&
           a.structure_hash == b.structure_hash && a.slot_values == b.slot_values && a.tables_hash == b.tables_hash;
}

std::string message(const Result<BlockMask>& result) { return result.ok() ? "accepted" : result.status().message; }
bool has(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("union, intersection and difference, block by block") {
    using Kinds = std::array<std::array<BlockKind, 3>, 3>;  // [a][b]
    constexpr BlockKind e = BlockKind::empty, p = BlockKind::partial, f = BlockKind::full;
    constexpr Kinds united = {{{e, p, f}, {p, p, f}, {f, f, f}}};
    constexpr Kinds common = {{{e, e, e}, {e, p, p}, {e, p, f}}};
    constexpr Kinds without = {{{e, e, e}, {p, p, e}, {f, p, e}}};
    for (uint64_t seed = 1; seed <= 300; ++seed) {
        Rng rng(seed);
        const Grid grid = random_grid(rng);
        const BlockMask a = block_mask_of(grid, rng), b = block_mask_of(beside(grid, rng), rng);
        const std::pair<Result<BlockMask>, const Kinds*> results[] = {
            {unite(a, b), &united}, {intersect(a, b), &common}, {subtract(a, b), &without}};
        for (const auto& entry : results) {
            const Result<BlockMask>& result = entry.first;
            const Kinds& kinds = *entry.second;
            REQUIRE_MESSAGE(result.ok(), result.status().message);
            REQUIRE(check(*result).ok());
            CHECK(result->batch == std::max(a.batch, b.batch));
            CHECK(result->heads == std::max(a.heads, b.heads));
            for (int32_t i = 0; i < grid.shape.batch; ++i) {
                for (int32_t h = 0; h < grid.shape.q_heads; ++h) {
                    for (int32_t row = 0; row < a.rows(); ++row) {
                        for (int32_t column = 0; column < a.columns(); ++column) {
                            const auto x = static_cast<size_t>(a.kind(i, h, row, column)),
                                       y = static_cast<size_t>(b.kind(i, h, row, column));
                            CHECK_MESSAGE(result->kind(i, h, row, column) == kinds[x][y], "seed ", seed);
                        }
                    }
                }
            }
        }
    }
}

TEST_CASE("edited lists of random masks are sound for the masks that they are said to be for") {
    for (uint64_t seed = 1; seed <= 200; ++seed) {
        Rng rng(seed);
        RandomTreeOptions tree;
        tree.floats = tree.names = false;
        RandomTrees trees(rng, tree);
        const Mask a = trees.mask(rng.between(1, 12)), b = rng.chance(50) ? trees.mask(6) : sliding_window(5);
        const Shape shape{rng.between(1, 2), rng.between(1, 2), 1, rng.between(1, 23), rng.between(1, 19)};
        ClassifyOptions options;
        options.block_q = rng.between(1, 6);
        options.block_kv = rng.between(1, 5);
        const Result<BlockMask> of_a = create_block_mask(a, shape, {}, options),
                                of_b = create_block_mask(b, shape, {}, options);
        REQUIRE(of_a.ok());
        REQUIRE(of_b.ok());
        check_sound(*unite(*of_a, *of_b), a || b, seed, "union");
        check_sound(*intersect(*of_a, *of_b), a && b, seed, "intersection");
        check_sound(*subtract(*of_a, *of_b), a && !b, seed, "difference");

        const int32_t rows = rng.between(-3, 3), columns = rng.between(-3, 3);
        const int32_t by_q = rows * options.block_q, by_kv = columns * options.block_kv;
        // The lengths that `a` reads stay the problem's: the shape is the same.
        const Mask moved = trace_mask([&](Index i, Index h, Index q, Index kv) {
            const Expr from_q = q - by_q, from_kv = kv - by_kv;
            const Expr inside = from_q >= 0 && from_q < q_len() && from_kv >= 0 && from_kv < kv_len();
            return inside && embed(a, i, h, from_q, from_kv);
        });
        check_sound(*shift(*of_a, rows, columns), moved, seed, "shift");
    }
}

TEST_CASE("a shifted ragged block is partial where its missing elements exist") {
    ClassifyOptions options;
    options.block_q = options.block_kv = 4;
    const Result<BlockMask> made = create_block_mask(full(), {1, 1, 1, 10, 14}, {}, options);
    REQUIRE(made.ok());
    const BlockMask moved = *shift(*made, -1, -1);
    CHECK(moved.kind(0, 0, 0, 0) == BlockKind::full);
    CHECK(moved.kind(0, 0, 0, 2) == BlockKind::partial);
    CHECK(moved.kind(0, 0, 1, 0) == BlockKind::partial);
    CHECK(moved.kind(0, 0, 0, 3) == BlockKind::empty);
    CHECK(moved.kind(0, 0, 2, 0) == BlockKind::empty);
    CHECK(shift(*made, 1, 1)->kind(0, 0, 2, 3) == BlockKind::full);
    CHECK(same_lists(*shift(*made, 0, 0), *slice_rows(*made, 0, 3)));
    CHECK(shift(*made, INT32_MIN, INT32_MAX)->runs.empty());
}

TEST_CASE("slices of columns") {
    for (uint64_t seed = 1; seed <= 200; ++seed) {
        Rng rng(seed);
        const Grid grid = random_grid(rng);
        const BlockMask made = block_mask_of(grid, rng);
        const int32_t begin = rng.between(0, made.columns()), end = rng.between(begin, made.columns());
        const Result<BlockMask> slice = slice_columns(made, begin, end);
        REQUIRE(slice.ok());
        REQUIRE(check(*slice).ok());
        REQUIRE(slice->columns() == end - begin);
        CHECK(slice->structure_hash.empty());
        CHECK(same_lists(*slice, transpose(*slice_rows(transpose(made), begin, end))));
        for (int32_t row = 0; row < made.rows(); ++row) {
            for (int32_t column = begin; column < end; ++column)
                CHECK(slice->kind(0, 0, row, column - begin) == made.kind(0, 0, row, column));
        }
        CHECK(has(message(slice_columns(made, -1, 0)), "columns [-1, 0) of a grid with"));
        CHECK(!slice_columns(made, begin, made.columns() + 1).ok());
    }
}

TEST_CASE("slices of batch entries and heads") {
    for (uint64_t seed = 1; seed <= 200; ++seed) {
        Rng rng(seed);
        Grid grid = random_grid(rng);
        grid.shape = {rng.between(1, 3), 6, rng.chance(50) ? 3 : 1, grid.shape.q_len, grid.shape.kv_len};
        const BlockMask made = block_mask_of(beside(grid, rng), rng);
        const int32_t group = 6 / grid.shape.kv_heads;
        const int32_t b = rng.below(grid.shape.batch), b_end = rng.between(b + 1, grid.shape.batch);
        const int32_t h = rng.below(6), in_group = (h / group + 1) * group;
        const int32_t h_end = rng.chance(50) ? rng.between(h + 1, in_group) : h % group == 0 ? 6 : h + 1;
        const Result<BlockMask> entries = slice_batch(made, b, b_end);
        REQUIRE_MESSAGE(entries.ok(), entries.status().message);
        const Result<BlockMask> slice = slice_heads(*entries, h, h_end);
        REQUIRE_MESSAGE(slice.ok(), slice.status().message);
        REQUIRE(check(*slice).ok());
        CHECK(slice->shape.batch == b_end - b);
        CHECK(slice->shape.q_heads == h_end - h);
        CHECK(slice->shape.kv_heads == (h % group == 0 && h_end % group == 0 ? (h_end - h) / group : 1));
        CHECK(slice->structure_hash.empty());
        int wrong = 0;
        for (int32_t i = b; i < b_end; ++i)
            for (int32_t j = h; j < h_end; ++j)
                for (int32_t row = 0; row < made.rows(); ++row)
                    for (int32_t column = 0; column < made.columns(); ++column)
                        wrong += slice->kind(i - b, j - h, row, column) != made.kind(i, j, row, column);
        CHECK(wrong == 0);
    }
    const Result<BlockMask> made = create_block_mask(full(), {2, 6, 3, 10, 14});
    REQUIRE(made.ok());
    CHECK(has(message(slice_batch(*made, 1, 3)), "batch entries [1, 3) of 2"));
    CHECK(has(message(slice_batch(*made, 1, 1)), "at least one must be left"));
    CHECK(has(message(slice_heads(*made, -1, 2)), "heads [-1, 2) of 6"));
    CHECK(has(message(slice_heads(*made, 1, 3)), "heads [1, 3) cut through groups of 2"));
}

TEST_CASE("lists one after the other along the batch") {
    for (uint64_t seed = 1; seed <= 200; ++seed) {
        Rng rng(seed);
        Grid grid = random_grid(rng);
        std::vector<BlockMask> parts;
        for (int i = rng.between(1, 3); i > 0; --i) {
            grid.shape.batch = rng.between(1, 3);
            parts.push_back(block_mask_of(beside(grid, rng), rng));
        }
        const Result<BlockMask> all = concatenate(parts);
        REQUIRE_MESSAGE(all.ok(), all.status().message);
        REQUIRE(check(*all).ok());
        int32_t b = 0;
        for (const BlockMask& part : parts) {
            for (int32_t i = 0; i < part.shape.batch; ++i, ++b) {
                for (int32_t h = 0; h < grid.shape.q_heads; ++h) {
                    for (int32_t row = 0; row < part.rows(); ++row) {
                        for (int32_t column = 0; column < part.columns(); ++column)
                            CHECK_MESSAGE(all->kind(b, h, row, column) == part.kind(i, h, row, column), "seed ", seed);
                    }
                }
            }
        }
        CHECK(b == all->shape.batch);
    }
    CHECK(has(message(concatenate({})), "nothing to concatenate"));
}

TEST_CASE("lists that do not fit each other are refused with the reason") {
    ClassifyOptions options;
    options.block_q = 16;
    const BlockMask made = *create_block_mask(causal(), {1, 2, 1, 64, 64}, {}, options);
    const BlockMask longer = *create_block_mask(causal(), {1, 2, 1, 64, 65}, {}, options);
    const BlockMask coarse = *create_block_mask(causal(), {1, 2, 1, 64, 64});
    BlockMask broken = made;
    broken.row_offsets.pop_back();
    CHECK(has(message(unite(made, longer)), "unequal shapes, 1 x 2 heads (1 key heads) x 64 x 64 and"));
    CHECK(has(message(intersect(made, coarse)), "unequal block sizes, 16 x 128 and 128 x 128"));
    const BlockMask mixed[] = {made, longer}, sizes[] = {made, coarse}, bad[] = {made, broken};
    CHECK(has(message(concatenate(mixed)), "differ in more than the batch"));
    CHECK(has(message(concatenate(sizes)), "unequal block sizes"));
    CHECK(!concatenate(bad).ok());
    for (const auto& status :
         {unite(made, broken).status(), intersect(broken, made).status(), subtract(made, broken).status(),
          shift(broken, 1, 1).status(), slice_columns(broken, 0, 0).status()}) {
        CHECK(status.code == Code::invalid_argument);
        CHECK(has(status.message, "row_offsets"));
    }
}

TEST_CASE("strict edges: PyTorch's lists have no full block that is ragged") {
    for (uint64_t seed = 1; seed <= 200; ++seed) {
        Rng rng(seed);
        const Grid grid = random_grid(rng);
        const BlockMask made = block_mask_of(grid, rng);
        const Result<PaddedBlocks> padded = to_padded(made, 1 << 20, false, true);
        REQUIRE(padded.ok());
        const Result<BlockMask> strict = from_kv_blocks(*padded, grid.shape, grid.block_q, grid.block_kv);
        REQUIRE(strict.ok());
        for (int32_t b = 0; b < grid.shape.batch; ++b) {
            for (int32_t h = 0; h < grid.shape.q_heads; ++h) {
                for (int32_t row = 0; row < made.rows(); ++row) {
                    for (int32_t column = 0; column < made.columns(); ++column) {
                        const bool ragged = (row + 1) * grid.block_q > grid.shape.q_len ||
                                            (column + 1) * grid.block_kv > grid.shape.kv_len;
                        const BlockKind kind = made.kind(b, h, row, column);
                        const BlockKind wanted = ragged && kind == BlockKind::full ? BlockKind::partial : kind;
                        CHECK_MESSAGE(strict->kind(b, h, row, column) == wanted, "seed ", seed);
                    }
                }
            }
        }
    }
}

TEST_CASE("metadata and arrays give the list back; what does not fit together is refused") {
    for (uint64_t seed = 1; seed <= 100; ++seed) {
        Rng rng(seed);
        BlockMask made = block_mask_of(random_grid(rng), rng);
        if (rng.chance(50)) {
            made.structure_hash = "0123456789abcdef";
            made.tables_hash = "ff";
            made.slot_values = {7u, ~0u};
        }
        BlockMask arrays;
        arrays.row_offsets = made.row_offsets;
        arrays.runs = made.runs;
        arrays.slot_values = made.slot_values;
        const Result<BlockMask> again = from_metadata(arrays, metadata_of(made));
        REQUIRE_MESSAGE(again.ok(), again.status().message);
        CHECK(same_lists(*again, made));
    }
    const BlockMask made = *create_block_mask(causal(), {1, 1, 1, 300, 300});
    const auto refused = [&](const char* name, const char* value) {
        std::map<std::string, std::string> metadata = metadata_of(made);
        if (value == nullptr) metadata.erase(name);
        else metadata[name] = value;
        return message(from_metadata(made, metadata));
    };
    CHECK(refused("mask", "anything") == "accepted");
    CHECK(has(refused("lists", nullptr), "no 'lists' in the metadata; batch x heads"));
    CHECK(has(refused("structure_hash", nullptr), "no 'structure_hash'"));
    for (const char* text : {"", "x", "1", "1x", "x1", "1x1x", "1x1x1", "1 x 1", "-1x1", "1x99999999999", "1xone"})
        CHECK_MESSAGE(has(refused("lists", text), "'lists' in the metadata is not batch x heads"), text);
    CHECK(has(refused("lists", "1x2"), "heads 2"));
    CHECK(has(refused("block_size", "0x128"), "at least 1"));
    CHECK(has(refused("block_size", "64x128"), "row_offsets has 4 entries, needs 6"));
    CHECK(has(refused("shape", "1x1x1x300x128"), "passes the last of 1 columns"));
    CHECK(has(refused("shape", "0x1x1x300x300"), "batch"));
    CHECK(has(refused("shape", "2147483647x2147483647x1x2147483647x300"), "row_offsets"));
}

TEST_CASE("a list that grows is the list made at once") {
    for (uint64_t seed = 1; seed <= 600; ++seed) {
        Rng rng(seed);
        RandomTreeOptions tree;
        tree.names = false;
        tree.floats = rng.chance(30);
        RandomTrees trees(rng, tree);
        const Mask masks[] = {trees.mask(rng.between(1, 14)), sliding_window(rng.between(0, 9)),
                              causal() && dilated_window(8, 3), natten(5, 4, 3, 2), prefix(7) || global_tokens(2)};
        const Mask& mask = masks[rng.chance(60) ? 0 : rng.below(5)];
        ClassifyOptions options;
        options.block_q = rng.between(1, 6);
        options.block_kv = rng.between(1, 5);
        options.refine = rng.chance(80) ? Refine::host : Refine::none;
        options.threads = rng.between(1, 2);
        Shape shape{rng.between(1, 2), rng.between(1, 2), 1, rng.between(0, 12), rng.between(0, 12)};
        BlockMask list = *create_block_mask(mask, shape, {}, options);
        for (int step = 0; step < 4; ++step) {
            Shape grown = shape;
            grown.q_len += rng.chance(80) ? rng.between(0, 9) : 0;
            grown.kv_len += rng.chance(50) ? rng.between(0, 9) : 0;
            Result<BlockMask> longer = grow_block_mask(list, mask, grown, {}, options);
            if (!longer.ok()) {
                CHECK_MESSAGE(has(longer.status().message, "the mask depends on"), longer.status().message);
                break;
            }
            const Result<BlockMask> whole = create_block_mask(mask, grown, {}, options);
            REQUIRE(whole.ok());
            CHECK_MESSAGE(same_lists(*longer, *whole), "seed ", seed, " step ", step);
            list = *std::move(longer);
            shape = grown;
        }
    }
}

TEST_CASE("a list grows only into what it can be") {
    ClassifyOptions options;
    const Shape shape{1, 1, 1, 300, 300}, grown{1, 1, 1, 400, 400};
    const BlockMask list = *create_block_mask(sliding_window(param("w")), shape, {{{"w", 50}}, {}});
    const Bindings same{{{"w", 50}}, {}};
    CHECK(message(grow_block_mask(list, sliding_window(param("w")), grown, same)) == "accepted");
    CHECK(has(message(grow_block_mask(list, sliding_window(param("w")), grown, {{{"w", 51}}, {}})), "other values"));
    CHECK(has(message(grow_block_mask(list, causal(), grown, same)), "another mask"));
    CHECK(has(message(grow_block_mask(list, sliding_window(param("w")), {1, 1, 1, 200, 400}, same)), "cannot grow to"));
    CHECK(
        has(message(grow_block_mask(list, sliding_window(param("w")), {2, 1, 1, 400, 400}, same)), "batch and heads"));
    options.block_q = 64;
    CHECK(has(message(grow_block_mask(list, sliding_window(param("w")), grown, same, options)), "64 x 128"));
    const BlockMask aligned = *create_block_mask(causal_lower_right(), shape);
    CHECK(has(message(grow_block_mask(aligned, causal_lower_right(), grown)), "depends on q_len"));
    BlockMask broken = list;
    broken.runs.pop_back();
    CHECK(!grow_block_mask(broken, sliding_window(param("w")), grown, same).ok());

    const auto ids = [](int32_t n) {
        TableData table;
        table.dims = {n};
        for (int32_t i = 0; i < n; ++i) table.i32.push_back(i / 90);
        return Bindings{{}, {{"ids", std::make_shared<const TableData>(table)}}};
    };
    const Mask documents = causal() && document(table("ids"));
    const BlockMask packed = *create_block_mask(documents, shape, ids(300));
    CHECK(has(message(grow_block_mask(packed, documents, grown, ids(400))), "OldTables::same_where_read"));
    const Result<BlockMask> longer =
        grow_block_mask(packed, documents, grown, ids(400), {}, OldTables::same_where_read);
    REQUIRE(longer.ok());
    CHECK(same_lists(*longer, *create_block_mask(documents, grown, ids(400))));
}
