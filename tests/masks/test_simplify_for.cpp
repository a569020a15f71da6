// Simplification for known lengths and values: what is left is the simpler mask itself, and keeps the same pairs.
#include <doctest/doctest.h>

#include <string>

#include "masks/random_tree.h"
#include "vkattn/evaluate.h"
#include "vkattn/named.h"
#include "vkattn/normalise.h"
#include "vkattn/simplify.h"

using namespace vkattn;
using test::Rng;

namespace {

TableData ids(std::vector<int32_t> values) {
    TableData data;
    data.dims = {static_cast<int64_t>(values.size())};
    data.i32 = std::move(values);
    return data;
}
TableData keep_mask(int32_t batch, int32_t kv_len, int32_t padded_keys) {
    TableData data;
    data.type = Type::boolean;
    data.dims = {batch, kv_len};
    for (int32_t i = 0; i < batch * kv_len; ++i) data.boolean.push_back(i % kv_len >= padded_keys ? 1 : 0);
    return data;
}

Simplified simplified(const Mask& mask, const Shape& shape, const Bindings& bindings = {}) {
    REQUIRE_MESSAGE(mask.status().ok(), mask.status().message);
    Result<Simplified> result = simplify_for(mask, shape, bindings);
    REQUIRE_MESSAGE(result.ok(), result.status().message);
    return *result;
}

std::string joined(const std::vector<std::string>& lines) {
    std::string text;
    for (const std::string& line : lines) text += (text.empty() ? "" : "\n") + line;
    return text;
}

std::string hash_of(const Mask& mask) { return structure_hash(*normalise(mask)); }

// That the mask becomes `wanted`, for these reasons.
void becomes(const Mask& mask, const Shape& shape, const Mask& wanted, const std::string& reasons,
             const Bindings& bindings = {}) {
    const Simplified found = simplified(mask, shape, bindings);
    const std::string text = *to_text(found.mask);
    CHECK_MESSAGE(hash_of(found.mask) == hash_of(wanted), text, " is not ", *to_text(wanted));
    CHECK(joined(found.reasons) == reasons);
}
void stays(const Mask& mask, const Shape& shape, const Bindings& bindings = {}) {
    const Simplified found = simplified(mask, shape, bindings);
    CHECK_MESSAGE(found.reasons.empty(), joined(found.reasons));
    CHECK(found.mask.tree().nodes == mask.tree().nodes);
}

Bindings scalars(std::map<std::string, Scalar, std::less<>> values) {
    return {.scalars = std::move(values), .tables = {}};
}
const Mask nothing = trace_mask([](Index, Index, Index, Index) { return Expr(false); });

}  // namespace

TEST_CASE("one query with its past sees everything") {
    const Shape decode{2, 4, 2, 1, 900}, prefill{2, 4, 2, 900, 900};
    becomes(causal_lower_right(), decode, full(),
            "`kv <= q + (kv_len - q_len)` (kv_len = 900, q_len = 1) is true for every pair");
    becomes(causal(param("past")), decode, full(), "`kv <= q + past` (past = 899) is true for every pair",
            scalars({{"past", 899}}));
    stays(causal(param("past")), decode, scalars({{"past", 898}}));
    stays(causal_lower_right(), prefill);
    stays(causal(), prefill);
    becomes(causal(), {1, 1, 1, 900, 1}, full(), "`kv <= q` is true for every pair");
}

TEST_CASE("a window as long as the keys is no window") {
    const Shape shape{1, 2, 1, 512, 512};
    becomes(sliding_window(511), shape, causal(), "`q - kv <= 511` is true for every pair");
    stays(sliding_window(510), shape);
    becomes(last_n_keys(param("w")), shape, causal(), "`q - kv < w` (w = 512) is true for every pair",
            scalars({{"w", 512}}));
    stays(last_n_keys(param("w")), shape, scalars({{"w", 511}}));
    becomes(window(600, 600), shape, full(), "`q - kv <= 600 && kv - q <= 600` is true for every pair");
    becomes(dilated_window(600, 1), shape, full(),
            "`abs(q - kv) <= 600 && abs(q - kv) % 1 == 0` is true for every pair");
}

TEST_CASE("a window that reaches no key is empty") {
    becomes(window(3, -4), {1, 1, 1, 100, 100}, nothing, "`q - kv <= 3 && kv - q <= -4` is false for every pair");
    becomes(sliding_window(-1), {1, 1, 1, 100, 100}, nothing, "`kv <= q && q - kv <= -1` is false for every pair");
    // the cached keys are all too old
    becomes(offset(sliding_window(64), param("past")), {1, 1, 1, 8, 100}, nothing,
            "`kv <= q + past && q + past - kv <= 64` (past = 1000) is false for every pair", scalars({{"past", 1000}}));
}

TEST_CASE("prefixes: none is causal, all is full") {
    const Shape shape{2, 1, 1, 300, 200};
    becomes(prefix(0), shape, causal(), "`kv < 0` is false for every pair");
    becomes(prefix(param("n")), shape, full(), "`kv < n || kv <= q` (n = 200) is true for every pair",
            scalars({{"n", 200}}));
    stays(prefix(param("n")), shape, scalars({{"n", 199}}));
    becomes(prefix(table("lengths", ids({0, 0}))), shape, causal(), "`kv < lengths[b]` is false for every pair");
    becomes(prefix(table("lengths", ids({200, 999}))), shape, full(),
            "`kv < lengths[b] || kv <= q` is true for every pair");
    stays(prefix(table("lengths", ids({0, 200}))), shape);
}

TEST_CASE("padding without padded keys, documents of one id") {
    const Shape shape{2, 2, 1, 64, 96};
    becomes(causal() && padding(table("lengths", ids({96, 96}))), shape, causal(),
            "`kv < lengths[b]` is true for every pair");
    stays(causal() && padding(table("lengths", ids({96, 40}))), shape);
    // The keys that are padded are those that no query reaches.
    becomes(causal() && padding(table("lengths", ids({96, 64}))), shape, causal(),
            "`kv < lengths[b]` follows from `kv <= q`");
    becomes(padding(table("lengths", ids({0, -3}))), shape, nothing, "`kv < lengths[b]` is false for every pair");
    becomes(causal() && document(table("doc", ids(std::vector<int32_t>(96, 7)))), shape, causal(),
            "`doc[q] == doc[kv]` is true for every pair");
    std::vector<int32_t> two(96, 7);
    two.back() = 8;
    stays(causal() && document(table("doc", ids(two))), shape);
    // queries of one document, keys of another
    becomes(
        document(table("q_doc", ids(std::vector<int32_t>(64, 1))), table("kv_doc", ids(std::vector<int32_t>(96, 2)))),
        shape, nothing, "`q_doc[q] == kv_doc[kv]` is false for every pair");
}

TEST_CASE("Hugging Face's decision to leave a mask out") {
    // _prepare_4d_causal_attention_mask_for_sdpa: nothing padded, and one query, or as many queries as keys and no
    // shorter window.
    const Mask mask = lower_right(sliding_window(param("w"))) && padding_mask(table("keep", Type::boolean));
    const auto values = [](int32_t w, int32_t kv_len, int32_t padded) {
        Bindings bindings = scalars({{"w", w}});
        bindings.tables["keep"] = std::make_shared<const TableData>(keep_mask(2, kv_len, padded));
        return bindings;
    };
    const auto left = [&](const Shape& shape, const Bindings& bindings) {
        return simplified(mask, shape, bindings).mask;
    };
    const Shape prefill{2, 2, 2, 33, 33}, chunk{2, 2, 2, 8, 33}, decode{2, 2, 2, 1, 33};
    CHECK(is_literal_true(left(decode, values(32, 33, 0)).tree()));
    CHECK(hash_of(left(prefill, values(32, 33, 0))) == hash_of(causal_lower_right()));
    CHECK(hash_of(left(chunk, values(32, 33, 0))) == hash_of(causal_lower_right()));
    CHECK(hash_of(left(prefill, values(31, 33, 0))) == hash_of(lower_right(sliding_window(31))));
    CHECK(hash_of(left(decode, values(32, 33, 1))) == hash_of(padding_mask(table("keep", Type::boolean))));
    stays(mask, prefill, values(31, 33, 1));
}

TEST_CASE("what another term implies goes") {
    const Shape shape{1, 1, 1, 100, 100};
    becomes(causal() && causal(3), shape, causal(), "`kv <= q + 3` follows from `kv <= q`");
    becomes(causal(3) && causal(), shape, causal(), "`kv <= q + 3` follows from `kv <= q`");
    becomes(causal() || causal(3), shape, causal(3), "`kv <= q` is covered by `kv <= q + 3`");
    becomes(causal() && window(20, 5) && sliding_window(10), shape, sliding_window(10),
            "`kv - q <= 5` follows from `kv <= q`\n`q - kv <= 20` follows from `q - kv <= 10`");
    becomes(causal(param("n")) && causal(), shape, causal(), "`kv <= q + n` (n = 4) follows from `kv <= q`",
            scalars({{"n", 4}}));
    stays(causal(param("n")) && causal(), shape);  // n unknown
    // Two of one meaning: one stays.
    becomes(causal(2) && trace_mask([](Index, Index, Index q, Index kv) { return kv - 2 <= q; }), shape, causal(2),
            "`kv - 2 <= q` follows from `kv <= q + 2`");
}

TEST_CASE("a term inside any condition counts") {
    const Shape shape{1, 2, 1, 50, 40};
    const auto mask = parse_mask("(q < 50 ? kv <= q : h == 1) == (kv < kv_len)");
    REQUIRE(mask.ok());
    becomes(*mask, shape, causal(),
            "`q < 50` is true for every pair\n`kv < kv_len` (kv_len = 40) is true for every pair");
    // By batch and head: only what holds for all of them.
    stays(*parse_mask("kv <= q + 20 * h"), shape);
    becomes(*parse_mask("kv <= q + 50 * (h + b + 1)"), shape, full(),
            "`kv <= q + 50 * (h + b + 1)` is true for every pair");
}

TEST_CASE("terms without a value stay, the others do not wait for them") {
    const Shape shape{1, 1, 1, 128, 128};
    becomes(sliding_window(200) && document(table("doc")), shape, causal() && document(table("doc")),
            "`q - kv <= 200` is true for every pair");
    stays(sliding_window(param("w")) && document(table("doc")), shape);
    stays(*parse_mask("kv <= q + n || keep[kv] != 0 || kv <= q + m"), shape);
    Bindings wrong = scalars({{"w", 1.5f}});
    CHECK(simplify_for(sliding_window(param("w")), shape, wrong).status().message.find("'w'") != std::string::npos);
    CHECK(simplify_for(Mask::broken(error(Code::invalid_argument, "broken on purpose")), shape).status().message ==
          "broken on purpose");
    CHECK(simplify_for(causal(), {1, 3, 2, 4, 4}).status().code == Code::invalid_argument);
}

TEST_CASE("a result that reads no lengths holds for shorter ones") {
    const Shape shape{1, 1, 1, 128, 128};
    CHECK(simplified(sliding_window(200), shape).holds_for_smaller_shapes);
    CHECK_FALSE(simplified(causal_lower_right(), shape).holds_for_smaller_shapes);
    stays(causal(), {1, 1, 1, 0, 128});
    stays(causal(), {1, 1, 1, 128, 0});
}

TEST_CASE("many batch entries and heads are bounded in time") {
    const Mask mask = *parse_mask("kv <= q + h + b && q - kv <= 4000");
    becomes(mask, {1 << 20, 1 << 10, 1 << 10, 64, 32}, *parse_mask("kv <= q + h + b"),
            "`q - kv <= 4000` is true for every pair");
}

TEST_CASE("random masks: the simplified one keeps the same pairs, also for shorter lengths") {
    int64_t changed = 0, literal = 0;
    for (uint64_t seed = 1; seed <= 24000; ++seed) {
        Rng rng(seed);
        const Mask mask = seed % 2 == 0 ? test::random_mask(rng, rng.between(2, 16))
                                        : test::random_mask_of_terms(rng, rng.between(1, 6));
        REQUIRE(mask.status().ok());
        const Bindings bindings = test::random_bindings(rng, {&mask.tree()});
        Bindings known = bindings;  // or less
        std::erase_if(known.tables, [&](const auto&) { return rng.chance(20); });
        Shape shape = test::random_shape(rng);
        const Result<Simplified> found = simplify_for(mask, shape, known);
        REQUIRE_MESSAGE(found.ok(), "seed ", seed, ": ", found.status().message);
        changed += found->reasons.empty() ? 0 : 1;
        literal += is_literal_true(found->mask.tree()) || is_literal_false(found->mask.tree()) ? 1 : 0;
        if (found->reasons.empty()) continue;
        if (found->holds_for_smaller_shapes) {
            shape.q_len = rng.between(1, shape.q_len);
            shape.kv_len = rng.between(1, shape.kv_len);
        }
        Result<Evaluator> before = Evaluator::make(mask, shape, bindings);
        Result<Evaluator> after = Evaluator::make(found->mask, shape, bindings);
        REQUIRE(before.ok());
        REQUIRE_MESSAGE(after.ok(), "seed ", seed, ": ", after.status().message);
        int64_t wrong = 0;
        for (int b = 0; b < shape.batch; ++b) {
            for (int h = 0; h < shape.q_heads; ++h) {
                for (int q = 0; q < shape.q_len; ++q) {
                    for (int kv = 0; kv < shape.kv_len; ++kv) {
                        wrong += before->mask(b, h, q, kv) != after->mask(b, h, q, kv) ? 1 : 0;
                    }
                }
            }
        }
        CHECK_MESSAGE(wrong == 0, "seed ", seed, ": ", wrong, " pairs; ", joined(found->reasons));
    }
    CHECK(changed > 8000);
    CHECK(literal > 4000);
    CHECK(changed - literal > 2000);
}
