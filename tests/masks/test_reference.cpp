// reference_attention against a second float64 attention that shares nothing with it, and the tolerance that is built
// on it.
#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "masks/random_tree.h"
#include "reference/attention_f64.h"
#include "vkattn/classify.h"
#include "vkattn/named.h"
#include "vkattn/reference.h"

using namespace vkattn;
using test::AttentionF64;
using test::Rng;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

AttentionF64 random_problem(Rng& rng, const Shape& shape, int head_dim, int value_dim) {
    AttentionF64 problem;
    problem.batch = shape.batch;
    problem.q_heads = shape.q_heads;
    problem.kv_heads = shape.kv_heads;
    problem.q_len = shape.q_len;
    problem.kv_len = shape.kv_len;
    problem.head_dim = head_dim;
    problem.value_dim = value_dim;
    problem.scale = 1.0 / std::sqrt(static_cast<double>(head_dim));
    const auto fill = [&](std::vector<float>& values, int planes, int length, int width) {
        values.resize(static_cast<size_t>(planes) * static_cast<size_t>(length) * static_cast<size_t>(width));
        for (float& value : values) value = (rng.unit() - 0.5f) * 4.0f;
    };
    fill(problem.q, shape.batch * shape.q_heads, shape.q_len, head_dim);
    fill(problem.k, shape.batch * shape.kv_heads, shape.kv_len, head_dim);
    fill(problem.v, shape.batch * shape.kv_heads, shape.kv_len, value_dim);
    return problem;
}

ReferenceInput input_of(const AttentionF64& problem, const Shape& shape) {
    ReferenceInput input;
    input.shape = shape;
    input.head_dim = problem.head_dim;
    input.value_dim = problem.value_dim;
    input.scale = problem.scale;
    input.q = problem.q.data();
    input.k = problem.k.data();
    input.v = problem.v.data();
    return input;
}

bool same(double x, double y, double tolerance) {
    if (std::isnan(x) || std::isnan(y)) return std::isnan(x) && std::isnan(y);
    if (std::isinf(x) || std::isinf(y)) return x == y;
    return std::abs(x - y) <= tolerance * (1.0 + std::abs(y));
}

void check_same(const ReferenceOutput& found, const AttentionF64& expected, double tolerance, const char* name) {
    REQUIRE(found.o.size() == expected.o.size());
    REQUIRE(found.lse.size() == expected.lse.size());
    for (size_t i = 0; i < found.o.size(); ++i)
        CHECK_MESSAGE(same(found.o[i], expected.o[i], tolerance), name, ": o[", i, "] ", found.o[i], " ",
                      expected.o[i]);
    for (size_t i = 0; i < found.lse.size(); ++i)
        CHECK_MESSAGE(same(found.lse[i], expected.lse[i], tolerance), name, ": lse[", i, "] ", found.lse[i], " ",
                      expected.lse[i]);
}

ReferenceOutput run(const Mask& mask, const ScoreMod& score_mod, const ReferenceInput& input) {
    Result<ReferenceOutput> output = reference_attention(mask, score_mod, {}, input);
    REQUIRE_MESSAGE(output.ok(), output.status().message);
    return *std::move(output);
}

}  // namespace

TEST_CASE("masks, score mods, grouped heads and unequal sizes: as the second reference, with and without lists") {
    const Shape shapes[] = {{2, 6, 2, 13, 29}, {1, 3, 1, 31, 17}, {2, 2, 2, 1, 1}, {1, 4, 4, 8, 40}};
    for (const Shape& shape : shapes) {
        Rng rng(static_cast<uint64_t>(shape.kv_len));
        AttentionF64 expected = random_problem(rng, shape, 5, 7);
        const int delta = shape.kv_len - shape.q_len;
        struct Case {
            const char* name;
            Mask mask;
            std::function<bool(int, int, int, int)> truth;
        };
        const Case cases[] = {
            {"full", full(), [](int, int, int, int) { return true; }},
            {"causal", causal(), [](int, int, int q, int kv) { return kv <= q; }},
            {"lower right", causal_lower_right(), [=](int, int, int q, int kv) { return kv <= q + delta; }},
            {"window", window(3, 2), [](int, int, int q, int kv) { return q - kv <= 3 && kv - q <= 2; }},
            {"nothing", !full(), [](int, int, int, int) { return false; }},
            {"mixed",
             trace_mask([](Index b, Index h, Index q, Index kv) { return (3 * h + 5 * b + 7 * q + 11 * kv) % 13 < 6; }),
             [](int b, int h, int q, int kv) { return (3 * h + 5 * b + 7 * q + 11 * kv) % 13 < 6; }},
        };
        for (const Case& each : cases) {
            expected.mask = each.truth;
            expected.score = [](double s, int, int, int, int) { return s; };
            expected.run();
            ReferenceInput input = input_of(expected, shape);
            check_same(run(each.mask, {}, input), expected, 1e-12, each.name);
            ClassifyOptions options;
            options.block_q = 4;
            options.block_kv = 6;
            const Result<BlockMask> lists = create_block_mask(each.mask, shape, {}, options);
            REQUIRE(lists.ok());
            input.block_mask = &*lists;
            check_same(run(each.mask, {}, input), expected, 1e-12, each.name);

            // a score mod is f32: agreement to f32's precision
            expected.score = [](double s, int b, int h, int q, int kv) {
                return 1.5 * std::tanh(s / 1.5) + 0.25 * (kv - q) * (h + 1) - 0.5 * b;
            };
            expected.run();
            const ScoreMod score_mod = trace_score_mod([](Expr score, Index b, Index h, Index q, Index kv) {
                return 1.5f * tanh(score / 1.5f) + 0.25f * to_float(kv - q) * to_float(h + 1) - 0.5f * to_float(b);
            });
            check_same(run(each.mask, score_mod, input), expected, 1e-5, each.name);
        }
    }
}

TEST_CASE("full blocks skip the mask, partial ones apply it, others are excluded") {
    const Shape shape{1, 1, 1, 4, 12};
    Rng rng(5);
    AttentionF64 expected = random_problem(rng, shape, 3, 2);
    const Result<BlockMask> lists = from_kv_blocks({1, 1, 1, 3, {1}, {1, 0, 0}, {1}, {0, 0, 0}}, shape, 4, 4);
    REQUIRE(lists.ok());
    ReferenceInput input = input_of(expected, shape);
    input.block_mask = &*lists;
    expected.mask = [](int, int, int q, int kv) { return kv < 4 || (kv < 8 && kv % 2 == q % 2); };
    expected.run();
    check_same(run(trace_mask([](Index, Index, Index q, Index kv) { return kv % 2 == q % 2; }), {}, input), expected,
               1e-12, "lists");
}

TEST_CASE("the contract at its edges") {
    const Shape shape{1, 1, 1, 4, 6};
    Rng rng(9);
    AttentionF64 problem = random_problem(rng, shape, 2, 3);
    SUBCASE("NaN and infinity in rows nobody attends to are not looked at") {
        for (size_t i = 0; i < 2; ++i) problem.k[5 * 2 + i] = i == 0 ? kNaN : kInf;
        for (size_t i = 0; i < 3; ++i) problem.v[5 * 3 + i] = kNaN;
        const ReferenceOutput found =
            run(trace_mask([](Index, Index, Index, Index kv) { return kv < 5; }), {}, input_of(problem, shape));
        for (const double value : found.o) CHECK(std::isfinite(value));
        for (const double value : found.plain_f32_o) CHECK(std::isfinite(value));
    }
    SUBCASE("a NaN key reaches exactly the rows that attend to it") {
        problem.k[3 * 2] = kNaN;
        problem.mask = [](int, int, int q, int kv) { return kv <= q; };
        problem.run();
        const ReferenceOutput found = run(causal(), {}, input_of(problem, shape));
        check_same(found, problem, 1e-12, "nan");
        CHECK(std::isfinite(found.o[2 * 3]));
        CHECK(std::isnan(found.o[3 * 3]));
        CHECK(std::isnan(found.lse[3]));
    }
    SUBCASE("a score of -inf has weight 0 whatever v holds; a row of them attends to nothing") {
        for (size_t i = 0; i < 3; ++i) problem.v[1 * 3 + i] = kNaN;
        const ScoreMod drop = trace_score_mod(
            [](Expr score, Index, Index, Index q, Index kv) { return select(kv == 1 || q == 2, Expr(-kInf), score); });
        const ReferenceOutput found = run(full(), drop, input_of(problem, shape));
        problem.score = [](double s, int, int, int q, int kv) {
            return kv == 1 || q == 2 ? -std::numeric_limits<double>::infinity() : s;
        };
        problem.run();
        check_same(found, problem, 1e-6, "dropped");
        CHECK(found.o[2 * 3] == 0.0);
        CHECK(found.lse[2] == -std::numeric_limits<double>::infinity());
        CHECK(std::isfinite(found.o[0]));
    }
    SUBCASE("+inf makes the row NaN, and only it") {
        const ScoreMod blow = trace_score_mod(
            [](Expr score, Index, Index, Index q, Index kv) { return select(kv == 4 && q == 1, Expr(kInf), score); });
        const ReferenceOutput found = run(full(), blow, input_of(problem, shape));
        CHECK(std::isnan(found.o[1 * 3]));
        CHECK(std::isnan(found.lse[1]));
        CHECK(std::isfinite(found.o[0]));
        CHECK(std::isfinite(found.o[2 * 3]));
    }
    SUBCASE("the score mod of an excluded pair is of no consequence") {
        const ScoreMod blow = trace_score_mod(
            [](Expr score, Index, Index, Index, Index kv) { return select(kv == 4, Expr(kNaN), score); });
        const ReferenceOutput found =
            run(trace_mask([](Index, Index, Index, Index kv) { return kv != 4; }), blow, input_of(problem, shape));
        for (const double value : found.o) CHECK(std::isfinite(value));
    }
    SUBCASE("large scores do not overflow") {
        problem.scale = 1e5;
        problem.run();
        check_same(run(full(), {}, input_of(problem, shape)), problem, 1e-12, "large");
    }
    SUBCASE("no keys: zeros and -inf, k and v may be null; no rows: nothing") {
        ReferenceInput input = input_of(problem, {2, 2, 1, 3, 0});
        std::vector<float> q(2 * 2 * 3 * 2, 1.0f);
        input.q = q.data();
        input.k = input.v = nullptr;
        const ReferenceOutput found = run(causal(), {}, input);
        REQUIRE(found.o.size() == 36);
        for (const double value : found.o) CHECK(value == 0.0);
        for (const double value : found.lse) CHECK(value == -std::numeric_limits<double>::infinity());
        input.shape.q_len = 0;
        input.q = nullptr;
        CHECK(run(causal(), {}, input).o.empty());
    }
}

TEST_CASE("wrong input is named") {
    const Shape shape{1, 1, 1, 4, 6};
    Rng rng(9);
    const AttentionF64 problem = random_problem(rng, shape, 2, 3);
    const auto message = [&](const ReferenceInput& input, const Mask& mask = full()) {
        return reference_attention(mask, {}, {}, input).status().message;
    };
    ReferenceInput input = input_of(problem, shape);
    input.v = nullptr;
    CHECK(message(input).find("null") != std::string::npos);
    input = input_of(problem, shape);
    input.head_dim = 0;
    CHECK(message(input).find("head_dim") != std::string::npos);
    input = input_of(problem, shape);
    CHECK(message(input, document(table("ids"))).find("ids") != std::string::npos);
    const Result<BlockMask> other = create_block_mask(full(), {1, 1, 1, 4, 7});
    REQUIRE(other.ok());
    input.block_mask = &*other;
    CHECK(message(input).find("kv_len 7") != std::string::npos);
}

TEST_CASE("the tolerance: what rounding weights may change is allowed, to the last bit, and no more") {
    const Shape shape{1, 1, 1, 3, 40};
    Rng rng(12);
    AttentionF64 problem = random_problem(rng, shape, 8, 2);
    ReferenceInput input = input_of(problem, shape);
    input.weight_unit = 0x1p-11;
    const ReferenceOutput reference = run(full(), {}, input);
    REQUIRE(reference.rounding.size() == reference.o.size());
    std::vector<float> o(reference.o.begin(), reference.o.end());
    for (size_t i = 0; i < o.size(); i++) {
        CHECK(reference.rounding[i] > 0.0);
        CHECK(reference.rounding[i] < 2e-3);  // of values up to 2: 2^-11 of a mean distance
        o[i] += static_cast<float>(reference.rounding[i]);
    }
    CHECK(compare_rows(reference, o.data(), 3, 2, 0x1p-23).ok());
    o[3] += 1e-4f;
    CHECK(compare_rows(reference, o.data(), 3, 2, 0x1p-23).worst_row == 1);
    CHECK(!compare_rows(reference, o.data(), 3, 2, 0x1p-23).ok());
    // one key, and equal values: nothing can change
    input.shape.kv_len = 1;
    for (double change : run(full(), {}, input).rounding) CHECK(change == 0.0);
}

TEST_CASE("the tolerance: the plain f32 loop passes, a wrong element does not") {
    const Shape shape{1, 2, 1, 9, 50};
    Rng rng(11);
    const AttentionF64 problem = random_problem(rng, shape, 16, 4);
    ReferenceOutput reference = run(causal(), {}, input_of(problem, shape));
    std::vector<float> o(reference.plain_f32_o.begin(), reference.plain_f32_o.end());
    const RowErrors plain = compare_rows(reference, o.data(), 18, 4, 0x1p-23);
    CHECK(plain.ok());
    CHECK(plain.worst > 0.0);
    CHECK(plain.worst < 1e-5);
    CHECK(plain.bound == doctest::Approx(2.0 * plain.worst + 0x1p-23));

    o[7 * 4 + 2] += 1e-3f;
    const RowErrors wrong = compare_rows(reference, o.data(), 18, 4, 0x1p-23);
    CHECK(!wrong.ok());
    CHECK(wrong.worst_row == 7);
    o[7 * 4 + 2] = kNaN;
    CHECK(std::isinf(compare_rows(reference, o.data(), 18, 4, 0x1p-23).worst));
    reference.o[7 * 4 + 2] = std::numeric_limits<double>::quiet_NaN();
    reference.plain_f32_o[7 * 4 + 2] = std::numeric_limits<double>::quiet_NaN();
    CHECK(compare_rows(reference, o.data(), 18, 4, 0x1p-23).ok());
    o[7 * 4 + 2] = 0.0f;  // a number where NaN is due
    CHECK(!compare_rows(reference, o.data(), 18, 4, 0x1p-23).ok());
    CHECK(!compare_rows(reference, o.data(), 17, 4, 0x1p-23).ok());
    // the plain loop failing does not excuse others
    reference.plain_f32_o[0] = kInf;
    o.assign(reference.o.begin(), reference.o.end());
    o[0] += 1.0f;
    CHECK(!compare_rows(reference, o.data(), 18, 4, 0x1p-23).ok());
    ReferenceOutput zeros;
    zeros.o = zeros.plain_f32_o = std::vector<double>(8, 0.0);
    o.assign(8, 0.0f);
    CHECK(compare_rows(zeros, o.data(), 2, 4, 0x1p-23).ok());
    o[5] = 1e-30f;
    CHECK(!compare_rows(zeros, o.data(), 2, 4, 0x1p-23).ok());
}
