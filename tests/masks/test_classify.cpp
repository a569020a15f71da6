// Classification: every verdict against every element on small planes, closed forms on large ones.
#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <string>

#include "masks/random_tree.h"
#include "vkattn/classify.h"
#include "vkattn/evaluate.h"
#include "vkattn/named.h"

using namespace vkattn;
using test::Rng;

namespace {

using Truth = std::function<bool(int b, int h, int q, int kv)>;

Shape shape_of(int batch, int q_heads, int kv_heads, int q_len, int kv_len) {
    return {batch, q_heads, kv_heads, q_len, kv_len};
}

TableData ids_table(std::vector<int32_t> values) {
    TableData data;
    data.dims = {static_cast<int64_t>(values.size())};
    data.i32 = std::move(values);
    return data;
}

// What the block is, by asking each of its elements.
BlockKind kind_of_block(const Truth& truth, const Shape& shape, int b, int h, int row, int column, int block_q,
                        int block_kv) {
    bool any_true = false, any_false = false;
    for (int q = row * block_q; q < std::min(shape.q_len, (row + 1) * block_q); ++q) {
        for (int kv = column * block_kv; kv < std::min(shape.kv_len, (column + 1) * block_kv); ++kv) {
            (truth(b, h, q, kv) ? any_true : any_false) = true;
        }
    }
    return !any_true ? BlockKind::empty : any_false ? BlockKind::partial : BlockKind::full;
}

struct Tally {
    int unsound = 0;    // empty or full where the elements say otherwise
    int inexact = 0;    // partial where the elements agree
    std::string first;  // where
};
Tally compare(const BlockMask& found, const Truth& truth, const Shape& shape) {
    Tally tally;
    for (int b = 0; b < shape.batch; ++b) {
        for (int h = 0; h < shape.q_heads; ++h) {
            for (int row = 0; row < found.rows(); ++row) {
                for (int column = 0; column < found.columns(); ++column) {
                    const BlockKind expected =
                        kind_of_block(truth, shape, b, h, row, column, found.block_q, found.block_kv);
                    const BlockKind got = found.kind(b, h, row, column);
                    if (got == expected) continue;
                    (got == BlockKind::partial ? tally.inexact : tally.unsound) += 1;
                    if (tally.first.empty()) {
                        tally.first = "b " + std::to_string(b) + " h " + std::to_string(h) + " row " +
                                      std::to_string(row) + " column " + std::to_string(column) + ": got " +
                                      std::to_string(static_cast<int>(got)) + ", elements say " +
                                      std::to_string(static_cast<int>(expected)) + " (0 empty, 1 partial, 2 full)";
                    }
                }
            }
        }
    }
    return tally;
}

int64_t brute_count(const Truth& truth, const Shape& shape) {
    int64_t count = 0;
    for (int b = 0; b < shape.batch; ++b) {
        for (int h = 0; h < shape.q_heads; ++h) {
            for (int q = 0; q < shape.q_len; ++q) {
                for (int kv = 0; kv < shape.kv_len; ++kv) count += truth(b, h, q, kv) ? 1 : 0;
            }
        }
    }
    return count;
}

struct Case {
    std::string name;
    Mask mask;
    Truth truth;
    bool exact_unrefined = false;  // promised without refinement
};

struct Tables {
    std::vector<int32_t> sorted, shuffled, interleaved, gaps_q, gaps_kv, lengths, begin, end;
};

// Tables for lengths q_len and kv_len with a common ids table of the longer one.
Tables make_tables(const Shape& shape, Rng& rng) {
    Tables t;
    const int longer = std::max(shape.q_len, shape.kv_len);
    for (int i = 0, id = 0; i < longer; ++i) {
        if (rng.chance(12)) id += rng.between(1, 3);
        t.sorted.push_back(id);
        t.shuffled.push_back(
            static_cast<int32_t>((static_cast<uint32_t>(id) * 2654435761u) >> 3));  // contiguous, in no order
        t.interleaved.push_back(rng.between(0, 40));
    }
    for (int i = 0; i < shape.q_len; ++i) {
        t.gaps_q.push_back(4 * (i / 5));
        t.begin.push_back(rng.between(-3, shape.kv_len));
        t.end.push_back(t.begin.back() + rng.between(-2, 9));
    }
    for (int i = 0; i < shape.kv_len; ++i) t.gaps_kv.push_back(i % 11 == 0 ? 4 * (i / 6) : 4 * (i / 6) + 1);
    for (int i = 0; i < shape.batch; ++i) t.lengths.push_back(rng.between(0, shape.kv_len));
    return t;
}

std::vector<Case> named_cases(const Shape& s, Rng& rng) {
    const Tables t = make_tables(s, rng);
    const auto captured = [](const char* name, const std::vector<int32_t>& values) {
        return table(name, ids_table(values));
    };
    const auto at = [](const std::vector<int32_t>& values, int i) { return values[static_cast<size_t>(i)]; };
    const int delta = s.kv_len - s.q_len;
    std::vector<Case> cases;
    cases.push_back({"full", full(), [](int, int, int, int) { return true; }, true});
    cases.push_back({"causal", causal(), [](int, int, int q, int kv) { return kv <= q; }, true});
    for (const int off : {-200, -9, 1, 17, 64, 300}) {
        cases.push_back({"causal(" + std::to_string(off) + ")", causal(off),
                         [off](int, int, int q, int kv) { return kv <= q + off; }, true});
    }
    cases.push_back({"causal_lower_right", causal_lower_right(),
                     [delta](int, int, int q, int kv) { return kv <= q + delta; }, true});
    for (const auto& [left, right] :
         {std::pair{5, 3}, {0, 0}, {20, -4}, {-4, 20}, {3, -4}, {2, -9}, {1000, 1}, {-70, -70}}) {
        cases.push_back({"window(" + std::to_string(left) + ", " + std::to_string(right) + ")", window(left, right),
                         [l = left, r = right](int, int, int q, int kv) { return q - kv <= l && kv - q <= r; }, true});
    }
    cases.push_back({"sliding_window(11)", sliding_window(11),
                     [](int, int, int q, int kv) { return kv <= q && q - kv <= 11; }, true});
    cases.push_back(
        {"last_n_keys(11)", last_n_keys(11), [](int, int, int q, int kv) { return kv <= q && q - kv < 11; }, true});
    cases.push_back({"last_n_keys(0)", last_n_keys(0), [](int, int, int, int) { return false; }, true});
    cases.push_back({"prefix(13)", prefix(13), [](int, int, int q, int kv) { return kv < 13 || kv <= q; }, true});
    cases.push_back({"prefix(lengths)", prefix(captured("prefixes", t.lengths)),
                     [=](int b, int, int q, int kv) { return kv < at(t.lengths, b) || kv <= q; }, true});
    cases.push_back({"padding", padding(captured("lengths", t.lengths)),
                     [=](int b, int, int, int kv) { return kv < at(t.lengths, b); }, true});
    TableData keep;
    keep.type = Type::boolean;
    keep.dims = {s.batch, s.kv_len};
    for (int64_t i = 0; i < keep.count(); ++i) keep.boolean.push_back(rng.chance(90) ? 1 : 0);
    cases.push_back({"padding_mask", padding_mask(table("keep", keep)),
                     [=](int b, int, int, int kv) { return keep.boolean[static_cast<size_t>(b * s.kv_len + kv)] != 0; },
                     true});
    for (const bool is_causal : {false, true}) {
        const std::string prefix_name = is_causal ? "causal && " : "";
        const auto add = [&](const char* name, const Mask& mask, const std::vector<int32_t>& q_ids,
                             const std::vector<int32_t>& kv_ids, bool exact) {
            cases.push_back(
                {prefix_name + name, is_causal ? causal() && mask : mask,
                 [=](int, int, int q, int kv) { return (!is_causal || kv <= q) && at(q_ids, q) == at(kv_ids, kv); },
                 exact});
        };
        add("document(sorted)", document(captured("ids", t.sorted)), t.sorted, t.sorted, true);
        add("document(contiguous)", document(captured("ids", t.shuffled)), t.shuffled, t.shuffled, true);
        add("document(interleaved)", document(captured("ids", t.interleaved)), t.interleaved, t.interleaved, false);
        add("document(gaps)", document(captured("q_ids", t.gaps_q), captured("kv_ids", t.gaps_kv)), t.gaps_q, t.gaps_kv,
            false);
    }
    TableData batched;
    batched.dims = {s.batch, static_cast<int64_t>(t.sorted.size())};
    for (int b = 0; b < s.batch; ++b) {
        for (const int32_t id : t.sorted) batched.i32.push_back((id + b) / (b + 1));
    }
    const auto width = static_cast<int>(t.sorted.size());
    cases.push_back(
        {"document_batched", document_batched(table("ids", batched)),
         [=](int b, int, int q, int kv) { return at(batched.i32, b * width + q) == at(batched.i32, b * width + kv); },
         true});
    const int shorter = std::min(s.q_len, s.kv_len);
    const std::vector<int32_t> offsets{0, shorter / 5, shorter / 5, shorter / 2, shorter - shorter / 8};
    const auto document_of = [offsets](int i) {
        return static_cast<int>(std::upper_bound(offsets.begin(), offsets.end(), i) - offsets.begin());
    };
    cases.push_back({"document_from_offsets", document_from_offsets("packed", offsets, std::max(s.q_len, s.kv_len)),
                     [=](int, int, int q, int kv) {
                         return q < offsets.back() && kv < offsets.back() && document_of(q) == document_of(kv);
                     },
                     true});
    const int w = 9;
    cases.push_back(
        {"stand_alone_self_attention", stand_alone_self_attention(w, 2),
         [=](int, int, int q, int kv) { return std::abs(q % w - kv % w) <= 2 && std::abs(q / w - kv / w) <= 2; },
         false});
    const int canvas_h = (std::max(s.q_len, s.kv_len) + w - 1) / w;
    for (const auto& [kw, kh] : {std::pair{3, 5}, {4, 2}, {20, 3}}) {
        const auto near = [](int x, int key, int size, int kernel) {
            const int n = std::min(kernel, size), start = std::clamp(x - n / 2, 0, size - n);
            return key >= start && key < start + n;
        };
        cases.push_back({"natten", natten(w, canvas_h, kw, kh),
                         [=, kw = kw, kh = kh](int, int, int q, int kv) {
                             return near(q % w, kv % w, w, kw) && near(q / w, kv / w, canvas_h, kh);
                         },
                         false});
    }
    cases.push_back({"dilated_window", dilated_window(20, 7),
                     [](int, int, int q, int kv) { return std::abs(q - kv) <= 20 && std::abs(q - kv) % 7 == 0; },
                     false});
    cases.push_back(
        {"global_tokens", global_tokens(5), [](int, int, int q, int kv) { return q < 5 || kv < 5; }, false});
    TableData ancestor;
    ancestor.type = Type::boolean;
    ancestor.dims = {s.q_len, s.q_len};
    for (int64_t i = 0; i < ancestor.count(); ++i) ancestor.boolean.push_back(rng.chance(30) ? 1 : 0);
    cases.push_back({"tree_ancestors", tree_ancestors(table("ancestor", ancestor), 11),
                     [=](int, int, int q, int kv) {
                         return kv < 11 || (kv - 11 < s.q_len &&
                                            ancestor.boolean[static_cast<size_t>(q * s.q_len + kv - 11)] != 0);
                     },
                     false});
    cases.push_back({"cross_attention_intervals",
                     cross_attention_intervals(captured("begin", t.begin), captured("end", t.end)),
                     [=](int, int, int q, int kv) { return at(t.begin, q) <= kv && kv < at(t.end, q); }, false});
    cases.push_back({"by batch and head", trace_mask([](Index b, Index h, Index q, Index kv) {
                         return (3 * h + 5 * b + 7 * q + 11 * kv) % 13 < 6;
                     }),
                     [](int b, int h, int q, int kv) { return (3 * h + 5 * b + 7 * q + 11 * kv) % 13 < 6; }, false});
    cases.push_back({"window per head",
                     trace_mask([](Index, Index h, Index q, Index kv) { return q - kv <= 4 << h && kv <= q; }),
                     [](int, int h, int q, int kv) { return q - kv <= 4 << h && kv <= q; }, true});
    return cases;
}

const std::pair<int, int> kBlockSizes[] = {{1, 1}, {7, 5}, {16, 16}, {3, 64}, {50, 13}, {128, 128}};

}  // namespace

TEST_CASE("named masks: every verdict is right, for block sizes that do not divide") {
    for (const Shape& shape :
         {shape_of(1, 1, 1, 37, 61), shape_of(2, 3, 1, 53, 40), shape_of(3, 2, 2, 64, 64), shape_of(1, 1, 1, 1, 1)}) {
        Rng rng(static_cast<uint64_t>(shape.q_len));
        for (const Case& each : named_cases(shape, rng)) {
            REQUIRE_MESSAGE(each.mask.status().ok(), each.name, ": ", each.mask.status().message);
            const Result<int64_t> pairs = count_pairs(each.mask, shape);
            REQUIRE(pairs.ok());
            CHECK_MESSAGE(*pairs == brute_count(each.truth, shape), each.name, " on ", shape.q_len, " x ",
                          shape.kv_len);
            for (const std::pair<int, int>& block : kBlockSizes) {
                const int block_q = block.first, block_kv = block.second;
                for (const Refine refine : {Refine::host, Refine::none}) {
                    ClassifyOptions options;
                    options.block_q = block_q;
                    options.block_kv = block_kv;
                    options.refine = refine;
                    const Result<BlockMask> found = create_block_mask(each.mask, shape, {}, options);
                    REQUIRE_MESSAGE(found.ok(), each.name, ": ", found.status().message);
                    REQUIRE(check(*found).ok());
                    const Tally tally = compare(*found, each.truth, shape);
                    CHECK_MESSAGE(tally.unsound == 0, each.name, " on ", shape.q_len, " x ", shape.kv_len, " in ",
                                  block_q, " x ", block_kv, ": ", tally.first);
                    if (refine == Refine::host || each.exact_unrefined) {
                        CHECK_MESSAGE(tally.inexact == 0, each.name, refine == Refine::host ? " refined" : " unrefined",
                                      " on ", shape.q_len, " x ", shape.kv_len, " in ", block_q, " x ", block_kv, ": ",
                                      tally.first);
                    }
                }
            }
        }
    }
}

TEST_CASE("lists are kept per batch entry and head only where the mask tells them apart") {
    const Shape shape = shape_of(3, 4, 2, 20, 30);
    const auto lists_of = [&](const Mask& mask) {
        const Result<BlockMask> found = create_block_mask(mask, shape);
        REQUIRE(found.ok());
        return std::pair{found->batch, found->heads};
    };
    CHECK(lists_of(causal()) == std::pair{1, 1});
    CHECK(lists_of(padding(table("n", ids_table({3, 9, 30})))) == std::pair{3, 1});
    CHECK(lists_of(trace_mask([](Index, Index h, Index q, Index kv) { return q - kv <= h; })) == std::pair{1, 4});
    CHECK(lists_of(trace_mask([](Index b, Index h, Index q, Index kv) { return q - kv <= h + b; })) == std::pair{3, 4});
}

struct Visited {
    int64_t masks_that_vary = 0, decided = 0, partial = 0;
};

// Every verdict on a mask against every element. Integer trees: exact after refinement. Float trees: sound, and never
// refuted by evaluate.
void check_every_verdict(uint64_t seed, Rng& rng, const Mask& mask, const Shape& shape, Visited& visited) {
    REQUIRE(mask.status().ok());
    const Bindings bindings = test::random_bindings(rng, {&mask.tree()});
    Result<Evaluator> evaluator = Evaluator::make(mask, shape, bindings);
    REQUIRE(evaluator.ok());
    const Truth truth = [&](int b, int h, int q, int kv) { return evaluator->mask(b, h, q, kv); };
    const bool integers = std::none_of(mask.tree().nodes.begin(), mask.tree().nodes.end(),
                                       [](const Node& n) { return n.type == Type::f32; });
    ClassifyOptions options;
    options.block_q = rng.between(1, 7);
    options.block_kv = rng.chance(50) ? options.block_q : rng.between(1, 9);
    const Result<int64_t> pairs = count_pairs(mask, shape, bindings);
    REQUIRE(pairs.ok());
    const int64_t expected_pairs = brute_count(truth, shape);
    CHECK_MESSAGE(*pairs == expected_pairs, "seed ", seed);
    const int64_t all_pairs = int64_t{shape.batch} * shape.q_heads * shape.q_len * shape.kv_len;
    visited.masks_that_vary += expected_pairs > 0 && expected_pairs < all_pairs ? 1 : 0;
    for (const Refine refine : {Refine::host, Refine::none}) {
        options.refine = refine;
        const Result<BlockMask> found = create_block_mask(mask, shape, bindings, options);
        REQUIRE_MESSAGE(found.ok(), "seed ", seed, ": ", found.status().message);
        const Tally tally = compare(*found, truth, shape);
        CHECK_MESSAGE(tally.unsound == 0, "seed ", seed, " refine ", static_cast<int>(refine), " ", tally.first);
        if (refine == Refine::host && integers) CHECK_MESSAGE(tally.inexact == 0, "seed ", seed, " ", tally.first);
        const int64_t blocks = int64_t{found->batch} * found->heads * found->rows() * found->columns();
        visited.decided += refine == Refine::none ? blocks - found->partial_blocks() : 0;
        visited.partial += refine == Refine::host ? found->partial_blocks() : 0;
    }
}

TEST_CASE("100,000 random trees: verdicts are sound, of integer trees exact, and pairs are counted right" *
          doctest::test_suite("random_classification")) {
    Visited visited;
    for (uint64_t seed = 1; seed <= 100000; ++seed) {
        Rng rng(seed);
        test::RandomTreeOptions tree_options;
        tree_options.floats = seed % 2 == 0;
        tree_options.extreme_literals = rng.chance(60);
        const Mask mask = test::random_mask(rng, rng.between(2, 24), tree_options);
        check_every_verdict(seed, rng, mask, test::random_shape(rng), visited);
    }
    // Otherwise the trees say nothing about the domain.
    CHECK(visited.masks_that_vary > 25000);
    CHECK(visited.decided > 1000000);
    CHECK(visited.partial > 200000);
}

TEST_CASE("8,000 masks of usual terms: verdicts are sound and exact, and pairs are counted right" *
          doctest::test_suite("random_classification")) {
    Visited visited;
    for (uint64_t seed = 1; seed <= 8000; ++seed) {
        Rng rng(seed);
        const Mask mask = test::random_mask_of_terms(rng, rng.between(1, 5));
        Shape shape = test::random_shape(rng);
        shape.q_len = rng.between(1, 40);
        shape.kv_len = rng.between(1, 40);
        check_every_verdict(seed, rng, mask, shape, visited);
    }
    CHECK(visited.masks_that_vary > 4000);
    CHECK(visited.decided > 200000);
    CHECK(visited.partial > 80000);
}

TEST_CASE("float comparisons: decided where every device agrees, partial where precision could matter") {
    const Shape shape = shape_of(1, 1, 1, 64, 64);
    ClassifyOptions options;
    options.block_q = options.block_kv = 8;
    const auto kind_at = [&](const Mask& mask, int row, int column) {
        const Result<BlockMask> found = create_block_mask(mask, shape, {}, options);
        REQUIRE(found.ok());
        return found->kind(0, 0, row, column);
    };
    // small integers are exact in f32
    const Mask exact = trace_mask([](Index, Index, Index q, Index kv) { return to_float(q) - to_float(kv) >= 0.0f; });
    CHECK(kind_at(exact, 1, 0) == BlockKind::full);
    CHECK(kind_at(exact, 0, 1) == BlockKind::empty);
    CHECK(kind_at(exact, 1, 1) == BlockKind::partial);
    // exp(0) may be a few units beside 1
    const Mask near_one = trace_mask([](Index, Index, Index q, Index) { return exp(to_float(q) * 0.0f) <= 1.0f; });
    CHECK(kind_at(near_one, 0, 0) == BlockKind::partial);
    const Mask far_from_one = trace_mask([](Index, Index, Index q, Index) { return exp(to_float(q) * 0.0f) <= 1.01f; });
    CHECK(kind_at(far_from_one, 0, 0) == BlockKind::full);
    // a denormal may be flushed to zero
    const Mask denormal = trace_mask([](Index, Index, Index q, Index) { return to_float(q) * 0.0f < 1e-40f; });
    CHECK(kind_at(denormal, 0, 0) == BlockKind::partial);
    // a NaN decides nothing
    const Mask undefined = trace_mask([](Index, Index, Index q, Index) { return sqrt(-1.0f - to_float(q)) < 0.0f; });
    CHECK(kind_at(undefined, 0, 0) == BlockKind::partial);
}

TEST_CASE("one million by one million: closed forms") {
    const int length = 1 << 20, block = 128, rows = length / block;
    const Shape shape = shape_of(1, 1, 1, length, length);
    ClassifyOptions options;
    options.threads = 2;
    SUBCASE("causal") {
        const Result<BlockMask> found = create_block_mask(causal(), shape, {}, options);
        REQUIRE(found.ok());
        CHECK(found->full_blocks() == int64_t{rows} * (rows - 1) / 2);
        CHECK(found->partial_blocks() == rows);
        CHECK(found->runs.size() == 2 * size_t{rows} - 1);
        CHECK(*count_pairs(causal(), shape) == int64_t{length} * (length + 1) / 2);
    }
    SUBCASE("window") {
        const Result<BlockMask> found = create_block_mask(window(4096, 0), shape, {}, options);
        REQUIRE(found.ok());
        int64_t full_blocks = 0, partial_blocks = 0;  // u = q - kv over block (r, c) is 128 (r - c) + [-127, 127]
        for (int64_t r = 0; r < rows; ++r) {
            for (int64_t c = std::max<int64_t>(0, r - 40); c <= r; ++c) {
                const int64_t lowest = 128 * (r - c) - 127, highest = 128 * (r - c) + 127;
                if (highest < 0 || lowest > 4096) continue;
                (lowest >= 0 && highest <= 4096 ? full_blocks : partial_blocks) += 1;
            }
        }
        CHECK(found->full_blocks() == full_blocks);
        CHECK(found->partial_blocks() == partial_blocks);
    }
    SUBCASE("causal and documents, ids ascending or not") {
        Rng rng(3);
        std::vector<int32_t> start(static_cast<size_t>(length)), ascending(start.size()), arbitrary(start.size());
        int64_t pairs = 0;
        for (int i = 0, id = 0; i < length; ++id) {
            const int first = i, n = std::min(rng.between(1, 2000), length - i),
                      label = static_cast<int>(rng.next() >> 33);
            pairs += int64_t{n} * (n + 1) / 2;
            for (; i < first + n; ++i) {
                start[static_cast<size_t>(i)] = first;
                ascending[static_cast<size_t>(i)] = id;
                arbitrary[static_cast<size_t>(i)] = label;
            }
        }
        int64_t full_blocks = 0, visited = 0;  // row r sees the blocks from the start of its first query's document on
        for (int64_t r = 0; r < rows; ++r) {
            const int32_t first_start = start[static_cast<size_t>(r * block)],
                          last_start = start[static_cast<size_t>(r * block + block - 1)];
            visited += r - first_start / block + 1;
            if (first_start == last_start)
                full_blocks += r - (first_start + block - 1) / block > 0 ? r - (first_start + block - 1) / block : 0;
        }
        for (const auto* ids : {&ascending, &arbitrary}) {
            const Mask mask = causal() && document(table("ids", ids_table(*ids)));
            const Result<BlockMask> found = create_block_mask(mask, shape, {}, options);
            REQUIRE(found.ok());
            CHECK(found->full_blocks() == full_blocks);
            CHECK(found->partial_blocks() == visited - full_blocks);
            CHECK(found->runs.size() < 4 * size_t{rows});
            CHECK(*count_pairs(mask, shape) == pairs);
        }
    }
    SUBCASE("NATTEN 1024 x 1024, 13 x 13 keys for every pixel") {
        const Result<BlockMask> found = create_block_mask(natten(1024, 1024, 13, 13), shape, {}, options);
        REQUIRE(found.ok());
        // 8 block rows an image row; a row's queries reach 1, or 2 where the window crosses a border between blocks,
        // blocks in each of 13 image rows: the 2 outer of 8 cross one border, the 6 inner both, so 2 x 2 + 6 x 3 =
        // 22.
        CHECK(found->full_blocks() == 0);
        CHECK(found->partial_blocks() == int64_t{1024} * 13 * 22);
    }
    SUBCASE("NATTEN 1000 x 1000: blocks of several image rows repeat after 125") {
        const int pixels = 1000 * 1000;
        const Shape square = shape_of(1, 1, 1, pixels, pixels);
        const Result<BlockMask> found = create_block_mask(natten(1000, 1000, 13, 13), square, {}, options);
        REQUIRE(found.ok());
        CHECK(found->full_blocks() == 0);
        CHECK(*count_pairs(natten(1000, 1000, 13, 13), shape_of(1, 1, 1, 20000, pixels)) == int64_t{20000} * 13 * 13);
        int wrong = 0;  // a block is reached if one of its pixels is near one of the row's
        for (const int row : {0, 3, 124, 4000, 7000, 7811, 7812}) {
            std::vector<bool> reached(static_cast<size_t>(found->columns()), false);
            for (int q = row * block; q < std::min(pixels, (row + 1) * block); ++q) {
                const int x0 = std::clamp(q % 1000 - 6, 0, 1000 - 13), y0 = std::clamp(q / 1000 - 6, 0, 1000 - 13);
                for (int y = y0; y < y0 + 13; ++y) {
                    for (int x = x0; x < x0 + 13; ++x) reached[static_cast<size_t>((y * 1000 + x) / block)] = true;
                }
            }
            for (int column = 0; column < found->columns(); ++column) {
                const bool expected = reached[static_cast<size_t>(column)];
                wrong += (found->kind(0, 0, row, column) == BlockKind::partial) != expected ? 1 : 0;
            }
        }
        CHECK(wrong == 0);
    }
    SUBCASE("a mask without structure, but with a period") {
        const Result<BlockMask> found = create_block_mask(*parse_mask("(q + kv) % 2 == 0"), shape, {}, options);
        REQUIRE(found.ok());
        CHECK(found->partial_blocks() == int64_t{rows} * rows);
        CHECK(found->runs.size() == size_t{rows});
    }
    SUBCASE("dilated window") {
        const Result<BlockMask> found = create_block_mask(dilated_window(4096, 16), shape, {}, options);
        REQUIRE(found.ok());
        CHECK(found->full_blocks() == 0);  // |r - c| <= 32 reach a distance below 4096; 33 reaches 4097 at least
        CHECK(found->partial_blocks() == int64_t{rows} * 65 - 32 * 33);
    }
}

TEST_CASE("threads change nothing") {
    const Shape shape = shape_of(2, 2, 1, 3000, 2500);
    const Mask mask = trace_mask([](Index b, Index h, Index q, Index kv) {
        return (q - kv) % (b + 3) == 0 && q - kv <= 100 * (h + 1) && kv <= q;
    });
    ClassifyOptions options;
    options.block_q = 48;
    options.block_kv = 40;
    const Result<BlockMask> alone = create_block_mask(mask, shape, {}, options);
    REQUIRE(alone.ok());
    for (const int threads : {2, 3, 7}) {
        options.threads = threads;
        const Result<BlockMask> together = create_block_mask(mask, shape, {}, options);
        REQUIRE(together.ok());
        CHECK(together->row_offsets == alone->row_offsets);
        CHECK(together->runs == alone->runs);
    }
    // Nor where verdicts depend on which boxes were asked about: unrefined, and of floats. 1000 block rows, in bands.
    const Shape longer = shape_of(1, 1, 1, 8000, 3000);
    for (const char* text :
         {"(q - kv) * (q - kv) % 24 < 5 && q - kv <= 100", "sin(float(q - kv)) < 0.5 && q % 40 != 3"}) {
        const Mask open = *parse_mask(text);
        for (const Refine refine : {Refine::none, Refine::host}) {
            options = {.block_q = 8, .block_kv = 8, .refine = refine, .threads = 1};
            const Result<BlockMask> one = create_block_mask(open, longer, {}, options);
            options.threads = 5;
            const Result<BlockMask> five = create_block_mask(open, longer, {}, options);
            REQUIRE((one.ok() && five.ok()));
            CHECK(one->row_offsets == five->row_offsets);
            CHECK(one->runs == five->runs);
        }
    }
}

TEST_CASE("what the lists were made of is remembered") {
    const Shape shape = shape_of(1, 1, 1, 300, 300);
    const Result<BlockMask> narrow = create_block_mask(sliding_window(64), shape),
                            wide = create_block_mask(sliding_window(512), shape);
    const Result<BlockMask> other = create_block_mask(causal(), shape);
    REQUIRE((narrow.ok() && wide.ok() && other.ok()));
    CHECK(!narrow->structure_hash.empty());
    CHECK(narrow->structure_hash == wide->structure_hash);
    CHECK(narrow->slot_values != wide->slot_values);
    CHECK(narrow->structure_hash != other->structure_hash);
}

TEST_CASE("no rows, no columns") {
    for (const Shape& shape : {shape_of(2, 2, 1, 0, 50), shape_of(2, 2, 1, 50, 0), shape_of(1, 1, 1, 0, 0)}) {
        const Mask mask = trace_mask([](Index b, Index, Index q, Index kv) { return kv <= q + b; });
        const Result<BlockMask> found = create_block_mask(mask, shape);
        REQUIRE(found.ok());
        CHECK(check(*found).ok());
        CHECK(found->runs.empty());
        CHECK(found->sparsity() == 0.0);
        CHECK(*count_pairs(mask, shape) == 0);
    }
}

TEST_CASE("the longest lengths there are") {
    const Shape shape = shape_of(1, 1, 1, INT32_MAX, INT32_MAX);
    ClassifyOptions options;
    options.block_q = options.block_kv = 1 << 20;
    const Result<BlockMask> found = create_block_mask(causal(), shape, {}, options);
    REQUIRE(found.ok());
    CHECK(found->rows() == 2048);
    CHECK(found->full_blocks() == 2048 * 2047 / 2);
    CHECK(found->partial_blocks() == 2048);
    options.block_q = options.block_kv = INT32_MAX;
    CHECK(create_block_mask(full(), shape, {}, options)->full_blocks() == 1);
    CHECK(*count_pairs(full(), shape) == int64_t{INT32_MAX} * INT32_MAX);
    CHECK(count_pairs(full(), shape_of(2, 2, 1, INT32_MAX, INT32_MAX)).status().code == Code::limit_exceeded);
    // q + offset wraps for the later queries: they see nothing
    const Result<BlockMask> wrapping =
        create_block_mask(causal(INT32_MAX - 1000), shape_of(1, 1, 1, 2000, 100), {}, {});
    REQUIRE(wrapping.ok());
    CHECK(wrapping->kind(0, 0, 0, 0) == BlockKind::full);
    CHECK(wrapping->kind(0, 0, 7, 0) == BlockKind::partial);
    CHECK(wrapping->kind(0, 0, 8, 0) == BlockKind::empty);
}

TEST_CASE("errors name what is wrong") {
    const Shape shape = shape_of(1, 1, 1, 100, 100);
    const auto status_of = [&](const Mask& mask, const Shape& s, const ClassifyOptions& options) {
        return create_block_mask(mask, s, {}, options).status();
    };
    ClassifyOptions options;
    options.block_kv = 0;
    CHECK(status_of(causal(), shape, options).code == Code::invalid_argument);
    CHECK(status_of(causal(), shape, options).message.find("128 x 0") != std::string::npos);
    options = {};
    options.threads = 0;
    CHECK(status_of(causal(), shape, options).message.find("threads is 0") != std::string::npos);
    CHECK(status_of(document(table("doc")), shape, {}).message.find("doc") != std::string::npos);
    CHECK(count_pairs(document(table("doc")), shape).status().code == Code::invalid_argument);
    CHECK(status_of(causal(), shape_of(1, 3, 2, 4, 4), {}).code == Code::invalid_argument);
    CHECK(status_of(Mask::broken(error(Code::invalid_argument, "broken on purpose")), shape, {}).message ==
          "broken on purpose");

    options = {};
    options.block_q = options.block_kv = 1;
    options.max_runs = 200;  // 100 rows with one run each are within it
    CHECK(create_block_mask(causal(), shape, {}, options).ok());
    const Mask checkered = trace_mask([](Index, Index, Index q, Index kv) { return (q + kv) % 2 == 0; });
    for (const int threads : {1, 3}) {
        options.threads = threads;
        const Status status = status_of(checkered, shape, options);
        CHECK(status.code == Code::limit_exceeded);
        CHECK(status.message.find("max_runs = 200") != std::string::npos);
    }
    options.max_runs = 50;
    CHECK(status_of(causal(), shape, options).message.find("block rows") != std::string::npos);
}
