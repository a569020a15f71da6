// attention-gym's masks and score mods against loops written from the papers and definitions: orders of pixels are
// walked, windows moved inward a step at a time, trees climbed.
#include <cstdlib>
#include <map>
#include <set>

#include "masks/brute_force.h"
#include "masks/random_tree.h"
#include "vkattn/named.h"
#include "vkattn/reference.h"
#include "vkattn/sources/attention_gym.h"

using namespace vkattn;
using namespace vkattn::test;
namespace gym = vkattn::attention_gym;

namespace {

std::string number(int value) { return std::to_string(value); }

std::shared_ptr<const TableData> bools(std::vector<int64_t> dims, Rng& rng, int percent) {
    TableData data;
    data.type = Type::boolean;
    data.dims = std::move(dims);
    for (int64_t i = 0; i < data.count(); ++i) data.boolean.push_back(rng.chance(percent) ? 1 : 0);
    return std::make_shared<const TableData>(data);
}

std::shared_ptr<const TableData> ints(std::vector<int64_t> dims, Rng& rng, int low, int high) {
    TableData data;
    data.dims = std::move(dims);
    for (int64_t i = 0; i < data.count(); ++i) data.i32.push_back(rng.between(low, high));
    return std::make_shared<const TableData>(data);
}

std::shared_ptr<const TableData> floats(std::vector<int64_t> dims, Rng& rng) {
    TableData data;
    data.type = Type::f32;
    data.dims = std::move(dims);
    for (int64_t i = 0; i < data.count(); ++i) data.f32.push_back(rng.unit() - 0.5f);
    return std::make_shared<const TableData>(data);
}

// The document of each position of packed documents.
std::vector<int> document_of(const std::vector<int32_t>& sizes) {
    std::vector<int> documents;
    for (size_t i = 0; i < sizes.size(); ++i)
        documents.insert(documents.end(), static_cast<size_t>(sizes[i]), static_cast<int>(i));
    return documents;
}

std::vector<int32_t> offsets_of(const std::vector<int32_t>& sizes) {
    std::vector<int32_t> offsets = {0};
    for (const int32_t size : sizes) offsets.push_back(offsets.back() + size);
    return offsets;
}

// The `k` places around x of `n`, moved inward a step at a time; even k reach further down.
bool in_shifted_window(int x, int key, int n, int k) {
    k = std::min(k, n);
    int start = x - k / 2;
    while (start < 0) ++start;
    while (start + k > n) --start;
    return key >= start && key < start + k;
}

// NATTEN's window on one axis as text.
std::string axis(const std::string& at, const std::string& key, int size, int kernel) {
    const std::string k = "min(" + number(kernel) + ", " + number(size) + ")";
    const std::string start = "clamp(" + at + " - " + k + " / 2, 0, " + number(size) + " - " + k + ")";
    return key + " >= " + start + " && " + key + " < " + start + " + " + k;
}

struct Place {
    int t, y, x;
};

// Tokens in tile order: tiles one after the other, row by row, and row by row inside.
std::vector<Place> tile_order(gym::Size3 canvas, gym::Size3 tile) {
    std::vector<Place> places;
    for (int t = 0; t < canvas.t; t += tile.t)
        for (int y = 0; y < canvas.h; y += tile.h)
            for (int x = 0; x < canvas.w; x += tile.w)
                for (int dt = 0; dt < tile.t; ++dt)
                    for (int dy = 0; dy < tile.h; ++dy)
                        for (int dx = 0; dx < tile.w; ++dx) places.push_back({t + dt, y + dy, x + dx});
    return places;
}

Shape square(int length) { return {1, 1, 1, length, length}; }

}  // namespace

TEST_CASE("attention-gym: dilated and global windows, groups") {
    Rng rng(1);
    const auto global = bools({17}, rng, 15);
    for (const Shape& shape : {Shape{1, 1, 1, 11, 17}, Shape{1, 1, 1, 17, 13}, Shape{1, 1, 1, 1, 1}}) {
        for (const int w : {0, 1, 4}) {
            check_mask("dilated_window(" + number(w) + ", 2)", gym::dilated_sliding_window(w, 2), shape,
                       [=](int, int, int q, int kv) { return std::abs(q - kv) <= w && (q + kv) % 2 == 0; });
            check_mask(
                "window(" + number(w) + ", " + number(w) + ") || is_global[q] || is_global[kv]",
                gym::global_sliding_window(w, table("is_global")), shape,
                [&](int, int, int q, int kv) {
                    return std::abs(q - kv) <= w || global->boolean[static_cast<size_t>(q)] == 1 ||
                           global->boolean[static_cast<size_t>(kv)] == 1;
                },
                Bindings{{}, {{"is_global", global}}});
        }
        for (const int size : {1, 3, 5}) {
            const std::string n = number(size);
            std::vector<int> group, place;
            for (int i = 0; i < 17; ++i) {
                group.push_back(i == 0 ? 0 : group.back() + (place.back() == size - 1 ? 1 : 0));
                place.push_back(i == 0 || place.back() == size - 1 ? 0 : place.back() + 1);
            }
            const auto same_group = [&](int q, int kv) {
                return group[static_cast<size_t>(q)] == group[static_cast<size_t>(kv)];
            };
            check_mask("q / " + n + " == kv / " + n + " && kv % " + n + " <= q % " + n, gym::batchify(causal(), size),
                       shape, [&](int, int, int q, int kv) { return same_group(q, kv) && kv <= q; });
            check_mask("q / " + n + " == kv / " + n + " && (kv % " + n + " < 2 || kv % " + n + " <= q % " + n + ")",
                       gym::batchify(prefix(2), size), shape, [&](int, int, int q, int kv) {
                           return same_group(q, kv) && (place[static_cast<size_t>(kv)] < 2 || kv <= q);
                       });
        }
    }
}

TEST_CASE("attention-gym: documents, packed causal documents, shared prefixes") {
    for (const std::vector<int32_t>& sizes :
         std::vector<std::vector<int32_t>>{{3, 2, 2, 2, 3, 2, 2, 2}, {5, 0, 7, 1}, {9}, {0}, {}}) {
        const auto offsets = offsets_of(sizes);
        const auto documents = document_of(sizes);
        const int n = offsets.back();
        const auto same = [&](int q, int kv) {
            return documents[static_cast<size_t>(q)] == documents[static_cast<size_t>(kv)];
        };
        const auto inside = [n](int q, int kv) { return q < n && kv < n; };
        for (const int extra : {0, 3}) {
            const Shape shape{1, 1, 1, n + extra, n + 2 * extra};
            check_mask("doc_begin[q] <= kv && kv < doc_end[q] && kv - doc_begin[q] <= q - doc_begin[q]",
                       gym::documents(causal(), offsets), shape,
                       [&](int, int, int q, int kv) { return inside(q, kv) && same(q, kv) && kv <= q; });
            check_mask("doc_begin[q] <= kv && kv < doc_end[q] && (kv - doc_begin[q] < 2 || kv - doc_begin[q] <= q - "
                       "doc_begin[q])",
                       gym::documents(prefix(2), offsets), shape, [&](int, int, int q, int kv) {
                           if (!inside(q, kv) || !same(q, kv)) return false;
                           return kv <= q || kv - offsets[static_cast<size_t>(documents[static_cast<size_t>(q)])] < 2;
                       });
            check_mask("doc_begin[q] <= kv && kv <= q", gym::packed_causal_documents(offsets), shape,
                       [&](int, int, int q, int kv) { return inside(q, kv) && same(q, kv) && kv <= q; });
            std::vector<int32_t> prefixes;
            for (size_t i = 0; i < sizes.size(); ++i) prefixes.push_back(static_cast<int32_t>(i / 4 * 4));
            check_mask("doc_begin[q] <= kv && kv <= q || cross_attention_intervals(doc_prefix_begin, doc_prefix_end)",
                       gym::shared_prefix(offsets, prefixes), shape, [&](int, int, int q, int kv) {
                           if (!inside(q, kv)) return false;
                           if (same(q, kv)) return kv <= q;
                           return documents[static_cast<size_t>(kv)] == documents[static_cast<size_t>(q)] / 4 * 4;
                       });
        }
    }
    const std::vector<int32_t> offsets = {0, 3, 5}, falling = {0, 3, 1}, one = {0}, outside = {0, 2};
    CHECK(refused(gym::documents(causal(), falling), "offset 2 is 1"));
    CHECK(refused(gym::packed_causal_documents({}), "start with 0"));
    CHECK(refused(gym::shared_prefix(offsets, one), "1 entries of prefix_document for 2"));
    CHECK(refused(gym::shared_prefix(offsets, outside), "names 2 of 2 documents"));
}

TEST_CASE("attention-gym: block diffusion over noised and clean tokens") {
    for (const auto& [n, size] : {std::pair{12, 4}, {10, 3}, {5, 1}, {4, 7}}) {
        const std::string l = number(n), s = number(size);
        const std::string q_block = "q % " + l + " / " + s, kv_block = "kv % " + l + " / " + s;
        struct Token {
            bool noised;
            int block;
        };
        std::vector<Token> tokens;
        for (const bool noised : {true, false})
            for (int i = 0; i < n; ++i) tokens.push_back({noised, i / size});
        check_mask(q_block + " == " + kv_block + " && (q < " + l + ") == (kv < " + l + ") || kv >= " + l + " && (q < " +
                       l + " ? " + q_block + " > " + kv_block + " : " + q_block + " >= " + kv_block + ")",
                   gym::block_diffusion(n, size), square(2 * n), [&](int, int, int q, int kv) {
                       const Token &from = tokens[static_cast<size_t>(q)], &to = tokens[static_cast<size_t>(kv)];
                       if (from.noised && to.noised) return from.block == to.block;
                       if (from.noised) return to.block < from.block;
                       return !to.noised && to.block <= from.block;
                   });
    }
}

TEST_CASE("attention-gym: JetSpec trees and training blocks") {
    for (uint64_t seed = 1; seed <= 10; ++seed) {
        Rng rng(seed);
        std::vector<int32_t> parents = {-1};
        const int n = rng.between(1, 14), prefix_length = rng.between(0, 6);
        for (int i = 1; i < n; ++i) parents.push_back(rng.below(i));
        const Result<TableData> ancestor = gym::tree_ancestors_of(parents);
        REQUIRE(ancestor.ok());
        check_mask("tree_ancestors(ancestor, " + number(prefix_length) + ")",
                   gym::jetspec_tree(table("ancestor", *ancestor), prefix_length), {1, 1, 1, n, prefix_length + n + 2},
                   [&](int, int, int q, int kv) {
                       if (kv < prefix_length) return true;
                       int node = q;
                       while (node != kv - prefix_length && node > 0) node = parents[static_cast<size_t>(node)];
                       return node == kv - prefix_length;
                   });
        const int size = rng.between(1, 5), n_blocks = rng.between(1, 4);
        const std::string p = number(prefix_length), s = number(size);
        check_mask("kv < " + p + " || q / " + s + " == (kv - " + p + ") / " + s + " && (kv - " + p + ") % " + s +
                       " <= q % " + s,
                   gym::jetspec_training(prefix_length, size),
                   {1, 1, 1, n_blocks * size, prefix_length + n_blocks * size}, [&](int, int, int q, int kv) {
                       if (kv < prefix_length) return true;
                       int block_begin = 0;
                       while (block_begin + size <= q) block_begin += size;
                       return kv - prefix_length >= block_begin && kv - prefix_length <= q;
                   });
    }
    const std::vector<int32_t> forward = {-1, 1}, negative = {-1, -1};
    CHECK(gym::tree_ancestors_of(forward).status().message.find("node 1 has parent 1") != std::string::npos);
    CHECK(!gym::tree_ancestors_of(negative).ok());
    CHECK(gym::tree_ancestors_of({})->count() == 0);
}

TEST_CASE("attention-gym: tiled and Morton NATTEN, canvases that are not square, even kernels") {
    struct Case {
        int w, h, kw, kh, tw, th;
    };
    for (const Case& c :
         std::vector<Case>{{6, 4, 3, 3, 2, 2}, {4, 6, 3, 2, 2, 3}, {8, 3, 5, 1, 4, 3}, {4, 4, 9, 2, 4, 1}}) {
        const auto places = tile_order({1, c.h, c.w}, {1, c.th, c.tw});
        const Mask mask = gym::tiled_natten(c.w, c.h, c.kw, c.kh, c.tw, c.th);
        // x, y and the window of one axis as text.
        const auto x = [&](const std::string& i) {
            const std::string area = "(" + number(c.tw) + " * " + number(c.th) + ")";
            return i + " / " + area + " % (" + number(c.w) + " / " + number(c.tw) + ") * " + number(c.tw) + " + " + i +
                   " % " + area + " % " + number(c.tw);
        };
        const auto y = [&](const std::string& i) {
            const std::string area = "(" + number(c.tw) + " * " + number(c.th) + ")";
            return i + " / " + area + " / (" + number(c.w) + " / " + number(c.tw) + ") * " + number(c.th) + " + " + i +
                   " % " + area + " / " + number(c.tw);
        };
        check_mask(axis(x("q"), x("kv"), c.w, c.kw) + " && (" + axis(y("q"), y("kv"), c.h, c.kh) + ")", mask,
                   square(c.w * c.h), [&](int, int, int q, int kv) {
                       const Place &from = places[static_cast<size_t>(q)], &to = places[static_cast<size_t>(kv)];
                       return in_shifted_window(from.x, to.x, c.w, c.kw) && in_shifted_window(from.y, to.y, c.h, c.kh);
                   });
    }
    for (const Case& c :
         std::vector<Case>{{4, 4, 3, 3, 1, 1}, {8, 8, 2, 5, 1, 1}, {5, 3, 3, 2, 1, 1}, {1, 6, 2, 3, 1, 1}}) {
        std::map<int, Place> by_code;
        for (int y = 0; y < c.h; ++y) {
            for (int x = 0; x < c.w; ++x) {
                int code = 0;
                for (int bit = 0; bit < 4; ++bit)
                    code += (x >> bit) % 2 * (1 << 2 * bit) + (y >> bit) % 2 * (2 << 2 * bit);
                by_code[code] = {0, y, x};
            }
        }
        std::vector<Place> places;
        for (const auto& [code, place] : by_code) {
            if (c.w == 4 || c.w == 8) CHECK(code == static_cast<int>(places.size()));  // no gaps
            places.push_back(place);
        }
        check_mask(axis("morton_x[q]", "morton_x[kv]", c.w, c.kw) + " && (" +
                       axis("morton_y[q]", "morton_y[kv]", c.h, c.kh) + ")",
                   gym::morton_natten(c.w, c.h, c.kw, c.kh), square(c.w * c.h), [&](int, int, int q, int kv) {
                       const Place &from = places[static_cast<size_t>(q)], &to = places[static_cast<size_t>(kv)];
                       return in_shifted_window(from.x, to.x, c.w, c.kw) && in_shifted_window(from.y, to.y, c.h, c.kh);
                   });
    }
    CHECK(refused(gym::morton_natten(0, 4, 3, 3), "a canvas of 0 x 4"));
    CHECK(refused(gym::morton_natten(65536, 65536, 3, 3), "at most 2^28"));
}

TEST_CASE("attention-gym: sliding tile attention in two and three dimensions, with text") {
    struct Case {
        gym::Size3 canvas, kernel, tile;
        int text;
    };
    for (const Case& c : std::vector<Case>{{{1, 6, 8}, {1, 4, 6}, {1, 2, 2}, 0},
                                           {{1, 4, 6}, {1, 6, 3}, {1, 2, 3}, 5},
                                           {{4, 2, 6}, {2, 2, 6}, {2, 1, 2}, 3},
                                           {{6, 4, 3}, {4, 2, 3}, {2, 2, 1}, 0}}) {
        const auto places = tile_order(c.canvas, c.tile);
        const auto n = static_cast<int>(places.size());
        const Mask mask = gym::sliding_tile_attention(c.canvas, c.kernel, c.tile, c.text);
        const MaskRule rule = [&](int, int, int q, int kv) {
            if (kv >= n + c.text) return false;
            if (q >= n || kv >= n) return true;
            const Place &from = places[static_cast<size_t>(q)], &to = places[static_cast<size_t>(kv)];
            const auto near = [](int a, int b, int size, int kernel, int tile) {
                return in_shifted_window(a / tile, b / tile, size / tile, kernel / tile);
            };
            return near(from.t, to.t, c.canvas.t, c.kernel.t, c.tile.t) &&
                   near(from.y, to.y, c.canvas.h, c.kernel.h, c.tile.h) &&
                   near(from.x, to.x, c.canvas.w, c.kernel.w, c.tile.w);
        };
        check_mask(*to_text(mask), mask, {1, 1, 1, n + c.text, n + c.text + 4}, rule);
        if (c.canvas.t > 1) continue;
        const Mask flat =
            gym::sliding_tile_attention(gym::Size2{c.canvas.h, c.canvas.w}, gym::Size2{c.kernel.h, c.kernel.w},
                                        gym::Size2{c.tile.h, c.tile.w}, c.text);
        CHECK(same_tree(flat.tree(), mask.tree()));
    }
    CHECK(refused(gym::sliding_tile_attention(gym::Size2{6, 8}, {4, 6}, {4, 2}), "height: tile 4, canvas 6"));
    CHECK(refused(gym::sliding_tile_attention(gym::Size2{6, 8}, {4, 6}, {2, 0}), "width: tile 0"));
    CHECK(refused(gym::sliding_tile_attention(gym::Size3{1 << 15, 1 << 15, 2}, {1, 1, 1}, {1, 1, 1}, 1), "2^31 - 1"));
}

TEST_CASE("attention-gym: Sparse VideoGen's spatial and temporal heads") {
    for (const auto& [prompt, frames, n, width, round] :
         {std::tuple{2, 5, 4, 2, 3}, {0, 3, 7, 1, 4}, {3, 4, 5, 1, 8}}) {
        const Shape shape{1, 1, 1, prompt + frames * n, prompt + frames * n};
        const std::string p = number(prompt), t = number(n), w = number(width), r = number(round), f = number(frames);
        const int reach = width * n - width * n % round, near = width * n / frames;
        for (const bool sink : {false, true}) {
            check_mask("kv < " + (sink ? p + " + " + t : p) + " || q < " + p + " || abs(q - kv) < " + w + " * " + t +
                           " / " + r + " * " + r,
                       gym::svg_spatial(prompt, n, width, sink, round), shape,
                       [=, first = prompt, tokens = n](int, int, int q, int kv) {
                           return q < first || kv < first + (sink ? tokens : 0) || std::abs(q - kv) < reach;
                       });
        }
        check_mask("kv < " + p + " || q < " + p + " || abs((q - " + p + ") % " + t + " - (kv - " + p + ") % " + t +
                       ") < " + w + " * " + t + " / " + f,
                   gym::svg_temporal(prompt, frames, n, width), shape,
                   [=, first = prompt, tokens = n](int, int, int q, int kv) {
                       if (q < first || kv < first) return true;
                       return std::abs((q - first) % tokens - (kv - first) % tokens) < near;
                   });
    }
}

TEST_CASE("attention-gym: video sparse attention by top-k tiles, as a mask and as lists") {
    for (uint64_t seed = 1; seed <= 10; ++seed) {
        Rng rng(seed);
        const int tile = rng.between(2, 5), rows = rng.between(1, 4), columns = rng.between(1, 5),
                  k = rng.between(1, columns);
        const Shape shape{2, 4, 2, rows * tile, columns * tile};
        TableData top_k;
        top_k.dims = {2, 4, rows, k};
        std::vector<std::set<int>> chosen;
        for (int i = 0; i < 8 * rows; ++i) {
            std::set<int> tiles;
            while (static_cast<int>(tiles.size()) < k) tiles.insert(rng.below(columns));
            top_k.i32.insert(top_k.i32.end(), tiles.rbegin(), tiles.rend());  // any order
            chosen.push_back(tiles);
        }
        std::vector<int32_t> sizes;
        for (int i = 0; i < columns; ++i) sizes.push_back(rng.chance(50) ? tile : rng.between(1, tile));
        TableData size_table;
        size_table.dims = {columns};
        size_table.i32 = sizes;
        const TableExpr size_of = table("sizes", size_table);
        const MaskRule rule = [&](int b, int h, int q, int kv) {
            return chosen[static_cast<size_t>((b * 4 + h) * rows + q / tile)].count(kv / tile) > 0 &&
                   kv % tile < sizes[static_cast<size_t>(kv / tile)];
        };
        const std::string t = number(tile);
        const Result<TableData> keep = gym::vsa_keep(top_k, columns);
        REQUIRE(keep.ok());
        check_mask("keep[b, h, q / " + t + ", kv / " + t + "] && kv % " + t + " < sizes[kv / " + t + "]",
                   gym::vsa(table("keep", *keep), size_of, tile), shape, rule);
        // The lists with the padding's mask are the same attention.
        const Result<BlockMask> lists = gym::vsa_block_mask(top_k, sizes, shape, tile);
        REQUIRE_MESSAGE(lists.ok(), lists.status().message);
        auto padding = Evaluator::make(gym::vsa_padding(size_of, tile), shape);
        REQUIRE(padding.ok());
        for (int b = 0; b < 2; ++b) {
            for (int h = 0; h < 4; ++h) {
                for (int q = 0; q < shape.q_len; ++q) {
                    for (int kv = 0; kv < shape.kv_len; ++kv) {
                        const BlockKind kind = lists->kind(b, h, q / tile, kv / tile);
                        CHECK((kind == BlockKind::full || (kind == BlockKind::partial && padding->mask(b, h, q, kv))) ==
                              rule(b, h, q, kv));
                    }
                }
            }
        }
        top_k.i32.back() = columns;
        CHECK(!gym::vsa_keep(top_k, columns).ok());
        sizes[0] = tile + 1;
        CHECK(!gym::vsa_block_mask(top_k, sizes, shape, tile).ok());
    }
}

TEST_CASE("attention-gym: score mods") {
    Rng rng(7);
    const Shape shape{2, 4, 2, 9, 11};
    check_score_mod("score + sandwich[abs(q - kv)] * sandwich_scale[h]", gym::sandwich(4, 11, 16), shape,
                    [](double score, int, int h, int q, int kv) {
                        double sum = 0.0;
                        for (int i = 0; i < 8; ++i) sum += std::cos((q - kv) / std::pow(10000.0, i / 8.0));
                        return score + sum * 4.0 / (8.0 * (h + 1));
                    });
    const auto bias = floats({4, 5}, rng), edge_bias = floats({4, 3, 6}, rng);
    const auto distances = ints({2, 11, 11}, rng, 0, 4), types = ints({2, 11, 11, 3}, rng, 0, 5),
               path_lengths = ints({2, 11, 11}, rng, 0, 3);
    check_score_mod(
        "score + bias[h, distance[b, q, kv]]", gym::graphormer_spatial(table("bias"), table("distance")), shape,
        [&](double score, int b, int h, int q, int kv) {
            const int distance = distances->i32[static_cast<size_t>((b * 11 + q) * 11 + kv)];
            return score + static_cast<double>(bias->f32[static_cast<size_t>(h * 5 + distance)]);
        },
        Bindings{{}, {{"bias", bias}, {"distance", distances}}});
    const auto edge = [](const std::string& n) {
        return "(" + n + " < lengths[b, q, kv] ? bias[h, " + n + ", types[b, q, kv, " + n + "]] : 0.0)";
    };
    check_score_mod(
        "score + (" + edge("0") + " + " + edge("1") + " + " + edge("2") + ") / float(max(lengths[b, q, kv], 1))",
        gym::graphormer_edges(table("bias"), table("types"), table("lengths"), 3), shape,
        [&](double score, int b, int h, int q, int kv) {
            const size_t pair = static_cast<size_t>((b * 11 + q) * 11 + kv);
            const int length = path_lengths->i32[pair];
            double sum = 0.0;
            for (int n = 0; n < length; ++n) {
                const int type = types->i32[pair * 3 + static_cast<size_t>(n)];
                sum += static_cast<double>(edge_bias->f32[static_cast<size_t>((h * 3 + n) * 6 + type)]);
            }
            return length == 0 ? score : score + sum / length;
        },
        Bindings{{}, {{"bias", edge_bias}, {"types", types}, {"lengths", path_lengths}}});
    CHECK(!gym::sandwich(0, 1).status().ok());
    CHECK(!gym::graphormer_edges(table("bias"), table("types"), table("lengths"), 0).status().ok());
}

TEST_CASE("attention-gym: an activation instead of softmax, undone from o and lse") {
    Rng rng(3);
    const int heads = 2, length = 13, dim = 8, value_dim = 5;
    const Shape shape{1, heads, heads, length, length};
    std::vector<float> q, k, v;
    for (int i = 0; i < heads * length * dim; ++i) {
        q.push_back(rng.unit() - 0.5f);
        k.push_back(rng.unit() - 0.5f);
    }
    for (int i = 0; i < heads * length * value_dim; ++i) v.push_back(rng.unit() - 0.5f);
    const auto gelu = [](Expr x) { return 0.5f * x * (1.0f + tanh(0.7978845608f * (x + 0.044715f * x * x * x))); };
    struct Case {
        std::string text;
        ScoreMod mod;
        std::function<double(double)> f;
    };
    for (const Case& c : std::vector<Case>{
             {"log(max(score, 0.0) + 1.0)", gym::activation([](Expr x) { return max(x, 0.0f); }),
              [](double x) { return std::max(x, 0.0); }},
             {"log(sigmoid(score) + 1.0)", gym::activation([](Expr x) { return sigmoid(x); }),
              [](double x) { return 1.0 / (1.0 + std::exp(-x)); }},
             {"log(0.5 * score * (1.0 + tanh(0.7978845608 * (score + 0.044715 * score * score * score))) + 1.0)",
              gym::activation(gelu),
              [](double x) { return 0.5 * x * (1.0 + std::tanh(0.7978845608 * (x + 0.044715 * x * x * x))); }}}) {
        check_score_mod(c.text, c.mod, shape, [&](double score, int, int, int, int) {
            // Scores of the helper reach far below zero: log of what is left above -1 there.
            return std::log(std::max(c.f(score), -0.9999) + 1.0);
        });
        const auto attention = reference_attention(causal(), c.mod, {},
                                                   {shape, dim, value_dim, 1.0, q.data(), k.data(), v.data(), nullptr});
        REQUIRE(attention.ok());
        std::vector<float> o(attention->o.begin(), attention->o.end()),
            lse(attention->lse.begin(), attention->lse.end()), v_sum(o.size(), 0.0f);
        std::vector<double> wanted(o.size(), 0.0);
        for (int h = 0; h < heads; ++h) {
            for (int i = 0; i < length; ++i) {
                for (int j = 0; j <= i; ++j) {
                    double score = 0.0;
                    for (int d = 0; d < dim; ++d) {
                        score += static_cast<double>(q[static_cast<size_t>((h * length + i) * dim + d)]) *
                                 static_cast<double>(k[static_cast<size_t>((h * length + j) * dim + d)]);
                    }
                    for (int d = 0; d < value_dim; ++d) {
                        const auto out = static_cast<size_t>((h * length + i) * value_dim + d);
                        const float value = v[static_cast<size_t>((h * length + j) * value_dim + d)];
                        v_sum[out] += value;
                        wanted[out] += c.f(score) * static_cast<double>(value);
                    }
                }
            }
        }
        gym::undo_activation(o, lse, v_sum);
        for (size_t i = 0; i < o.size(); ++i)
            CHECK_MESSAGE(std::abs(static_cast<double>(o[i]) - wanted[i]) < 1e-5, c.text << " at " << i);
    }
    // A row without keys: o = 0, lse = -inf, no values to take away.
    std::vector<float> o(5, 0.0f);
    const std::vector<float> lse = {-INFINITY}, none(5, 0.0f);
    gym::undo_activation(o, lse, none);
    CHECK(o == none);
}

// The page's way to the rope term of MLA, one dot product of longer vectors, against the two terms written out.
TEST_CASE("attention_gym: MLA's rope term by concatenated vectors with their own value dim") {
    constexpr int q_len = 5, kv_len = 9, q_heads = 4, latent = 12, rope = 4;
    constexpr double scale = 0.25, rope_scale = 0.4;
    Rng rng(11);
    const auto values = [&](int n) {
        std::vector<float> all(static_cast<size_t>(n));
        for (float& x : all) x = static_cast<float>(rng.unit() - 0.5);
        return all;
    };
    const std::vector<float> q = values(q_heads * q_len * latent), q_rope = values(q_heads * q_len * rope);
    const std::vector<float> kv = values(kv_len * latent), k_rope = values(kv_len * rope);

    const auto joined = [](const std::vector<float>& a, const std::vector<float>& b, int rows, float factor) {
        std::vector<float> all;
        for (int row = 0; row < rows; ++row) {
            all.insert(all.end(), a.begin() + row * latent, a.begin() + (row + 1) * latent);
            for (int x = 0; x < rope; ++x) all.push_back(factor * b[static_cast<size_t>(row * rope + x)]);
        }
        return all;
    };
    const std::vector<float> long_q = joined(q, q_rope, q_heads * q_len, static_cast<float>(rope_scale / scale));
    const std::vector<float> long_k = joined(kv, k_rope, kv_len, 1.0f);
    ReferenceInput input;
    input.shape = {1, q_heads, 1, q_len, kv_len};
    input.head_dim = latent + rope;
    input.value_dim = latent;
    input.scale = scale;
    input.q = long_q.data();
    input.k = long_k.data();
    input.v = kv.data();
    const auto output = reference_attention(causal_lower_right(), ScoreMod(), {}, input);
    REQUIRE(output.ok());

    const auto dot = [](const std::vector<float>& a, int row_a, const std::vector<float>& b, int row_b, int n) {
        double sum = 0.0;
        for (int x = 0; x < n; ++x)
            sum += double{a[static_cast<size_t>(row_a * n + x)]} * double{b[static_cast<size_t>(row_b * n + x)]};
        return sum;
    };
    for (int row = 0; row < q_heads * q_len; ++row) {
        double total = 0.0;
        std::vector<double> wanted(latent, 0.0);
        for (int key = 0; key <= row % q_len + kv_len - q_len; ++key) {
            const double score =
                scale * dot(q, row, kv, key, latent) + rope_scale * dot(q_rope, row, k_rope, key, rope);
            total += std::exp(score);
            for (int x = 0; x < latent; ++x)
                wanted[static_cast<size_t>(x)] += std::exp(score) * double{kv[static_cast<size_t>(key * latent + x)]};
        }
        for (int x = 0; x < latent; ++x)
            CHECK(output->o[static_cast<size_t>(row * latent + x)] ==
                  doctest::Approx(wanted[static_cast<size_t>(x)] / total).epsilon(1e-5));
        CHECK(output->lse[static_cast<size_t>(row)] == doctest::Approx(std::log(total)).epsilon(1e-5));
    }
}
