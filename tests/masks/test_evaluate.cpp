// The semantics of every operator (design.md, section 4), bindings, and what Evaluator refuses.
#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <vector>

#include "vkattn/evaluate.h"

using namespace vkattn;

namespace {

constexpr int32_t int_min = std::numeric_limits<int32_t>::min();
constexpr int32_t int_max = std::numeric_limits<int32_t>::max();
constexpr float infinity = std::numeric_limits<float>::infinity();
const float nan_f32 = std::numeric_limits<float>::quiet_NaN();

// The value of an expression over two ints: the mask only compares it with something, its bits are read from the
// tape. The 0 * q keeps it from being settled before a pair is known.
int32_t int_of(const std::function<Expr(Expr, Expr)>& f, int32_t x, int32_t y) {
    const Mask mask =
        trace_mask([&](Index, Index, Index q, Index) { return f(param("x") + 0 * q, param("y")) == param("z"); });
    REQUIRE_MESSAGE(mask.status().ok(), mask.status().message);
    Bindings bindings{{{"x", x}, {"y", y}, {"z", 0}}, {}};
    auto evaluator = Evaluator::make(mask, Shape{1, 1, 1, 1, 1}, bindings);
    REQUIRE(evaluator);
    (void)evaluator->mask(0, 0, 0, 0);
    return static_cast<int32_t>(evaluator->node_bits(mask.tree().nodes.back().args[0]));
}

float float_of(const std::function<Expr(Expr, Expr)>& f, float x, float y) {
    const ScoreMod mod = trace_score_mod([&](Expr score, Index, Index, Index, Index) { return f(score, param("y")); });
    REQUIRE_MESSAGE(mod.status().ok(), mod.status().message);
    auto evaluator = Evaluator::make(mod, Shape{1, 1, 1, 1, 1}, Bindings{{{"y", y}}, {}});
    REQUIRE(evaluator);
    return evaluator->score(x, 0, 0, 0, 0);
}

bool same_float(float a, float b) {
    return (std::isnan(a) && std::isnan(b)) || std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b);
}

std::shared_ptr<const TableData> ints(std::vector<int64_t> dims, std::vector<int32_t> values) {
    TableData data;
    data.dims = std::move(dims);
    data.i32 = std::move(values);
    return std::make_shared<const TableData>(std::move(data));
}

}  // namespace

TEST_CASE("int operators wrap, floor and saturate") {
    struct Case {
        const char* name;
        std::function<Expr(Expr, Expr)> f;
        int32_t x, y, expected;
    };
    const std::vector<Case> cases = {
        {"add", [](Expr x, Expr y) { return x + y; }, int_max, 1, int_min},
        {"sub", [](Expr x, Expr y) { return x - y; }, int_min, 1, int_max},
        {"mul", [](Expr x, Expr y) { return x * y; }, 65536, 65537, 65536},
        {"div", [](Expr x, Expr y) { return x / y; }, 7, 2, 3},
        {"div", [](Expr x, Expr y) { return x / y; }, -7, 2, -4},
        {"div", [](Expr x, Expr y) { return x / y; }, 7, -2, -4},
        {"div", [](Expr x, Expr y) { return x / y; }, -7, -2, 3},
        {"div", [](Expr x, Expr y) { return x / y; }, -8, 2, -4},
        {"div", [](Expr x, Expr y) { return x / y; }, 5, 0, 0},
        {"div", [](Expr x, Expr y) { return x / y; }, int_min, -1, int_min},
        {"mod", [](Expr x, Expr y) { return x % y; }, 7, 3, 1},
        {"mod", [](Expr x, Expr y) { return x % y; }, -7, 3, 2},
        {"mod", [](Expr x, Expr y) { return x % y; }, 7, -3, -2},
        {"mod", [](Expr x, Expr y) { return x % y; }, -7, -3, -1},
        {"mod", [](Expr x, Expr y) { return x % y; }, -6, 3, 0},
        {"mod", [](Expr x, Expr y) { return x % y; }, 5, 0, 0},
        {"mod", [](Expr x, Expr y) { return x % y; }, int_min, -1, 0},
        {"neg", [](Expr x, Expr) { return -x; }, int_min, 0, int_min},
        {"abs", [](Expr x, Expr) { return abs(x); }, -5, 0, 5},
        {"abs", [](Expr x, Expr) { return abs(x); }, int_min, 0, int_min},
        {"min", [](Expr x, Expr y) { return min(x, y); }, -3, 2, -3},
        {"max", [](Expr x, Expr y) { return max(x, y); }, -3, 2, 2},
        {"clamp", [](Expr x, Expr y) { return clamp(x, 0, y); }, -3, 2, 0},
        {"clamp", [](Expr x, Expr y) { return clamp(x, 0, y); }, 9, 2, 2},
        {"and", [](Expr x, Expr y) { return x & y; }, 12, 10, 8},
        {"or", [](Expr x, Expr y) { return x | y; }, 12, 10, 14},
        {"xor", [](Expr x, Expr y) { return x ^ y; }, 12, 10, 6},
        {"not", [](Expr x, Expr) { return ~x; }, 5, 0, -6},
        {"shl", [](Expr x, Expr y) { return x << y; }, 3, 30, -1073741824},
        {"shl", [](Expr x, Expr y) { return x << y; }, 3, 33, 6},
        {"shl", [](Expr x, Expr y) { return x << y; }, 1, -1, int_min},
        {"shr", [](Expr x, Expr y) { return x >> y; }, -8, 1, -4},
        {"shr", [](Expr x, Expr y) { return x >> y; }, -8, 33, -4},
        {"select", [](Expr x, Expr y) { return select(x < y, x, y); }, 4, 9, 4},
        {"select", [](Expr x, Expr y) { return select(x < y, x, y); }, 9, 4, 4},
        {"int of a bool", [](Expr x, Expr y) { return to_int(x < y); }, 1, 2, 1},
        {"int of a bool", [](Expr x, Expr y) { return to_int(x < y); }, 2, 2, 0},
        {"int of 2^31", [](Expr x, Expr) { return to_int(to_float(x)); }, int_max, 0, int_max},
        {"int of -2^31", [](Expr x, Expr) { return to_int(to_float(x)); }, int_min, 0, int_min},
        {"toward zero", [](Expr x, Expr y) { return to_int(to_float(x) / to_float(y)); }, -7, 2, -3},
        {"int of inf", [](Expr x, Expr y) { return to_int(to_float(x) / to_float(y)); }, 1, 0, int_max},
        {"int of -inf", [](Expr x, Expr y) { return to_int(to_float(x) / to_float(y)); }, -1, 0, int_min},
        {"int of NaN", [](Expr x, Expr y) { return to_int(to_float(x) / to_float(y)); }, 0, 0, 0},
        {"nearest even", [](Expr x, Expr) { return to_int(to_float(x)); }, 16777217, 0, 16777216},
    };
    for (const Case& c : cases) {
        CAPTURE(c.name);
        CAPTURE(c.x);
        CAPTURE(c.y);
        CHECK(int_of(c.f, c.x, c.y) == c.expected);
    }
}

TEST_CASE("float operators are single IEEE steps") {
    const std::function<Expr(Expr, Expr)> mod = [](Expr x, Expr y) { return x % y; };
    CHECK(float_of([](Expr x, Expr y) { return x / y; }, 1.0f, 0.0f) == infinity);
    CHECK(std::isnan(float_of([](Expr x, Expr y) { return x / y; }, 0.0f, 0.0f)));
    CHECK(float_of(mod, -7.5f, 2.0f) == 0.5f);
    CHECK(float_of(mod, 7.5f, -2.0f) == -0.5f);
    CHECK(same_float(float_of([](Expr x, Expr) { return -x; }, 0.0f, 0.0f), -0.0f));
    CHECK(same_float(float_of([](Expr x, Expr) { return abs(x); }, -0.0f, 0.0f), 0.0f));
    CHECK(float_of([](Expr x, Expr) { return to_float(x == x); }, nan_f32, 0.0f) == 0.0f);
    CHECK(float_of([](Expr x, Expr) { return to_float(x != x); }, nan_f32, 0.0f) == 1.0f);
    CHECK(float_of([](Expr x, Expr) { return sign(x); }, -3.0f, 0.0f) == -1.0f);
    CHECK(float_of([](Expr x, Expr) { return sign(x); }, 0.0f, 0.0f) == 0.0f);
    CHECK(float_of([](Expr x, Expr) { return floor(x); }, -1.5f, 0.0f) == -2.0f);
    CHECK(float_of([](Expr x, Expr) { return tanh(x); }, 1e30f, 0.0f) == 1.0f);
    CHECK(float_of([](Expr x, Expr) { return sigmoid(x); }, 0.0f, 0.0f) == 0.5f);
    CHECK(float_of([](Expr x, Expr) { return rsqrt(x); }, 4.0f, 0.0f) == 0.5f);
    CHECK(float_of([](Expr x, Expr y) { return pow(x, y); }, 3.0f, 4.0f) == 81.0f);
    CHECK(float_of([](Expr x, Expr) { return exp2(x); }, 10.0f, 0.0f) == 1024.0f);
    CHECK(float_of([](Expr x, Expr) { return log2(x); }, 1024.0f, 0.0f) == 10.0f);
    CHECK(float_of([](Expr x, Expr) { return sqrt(x); }, 9.0f, 0.0f) == 3.0f);
    // A fused multiply-add would give 2^-46 here: (1 + 2^-23)^2 - (1 + 2^-22).
    const float x = 1.0f + 0x1p-23f, y = 1.0f + 0x1p-22f;
    CHECK(float_of([](Expr a, Expr b) { return a * a - b; }, x, y) == 0.0f);
    struct Unary {
        const char* name;
        std::function<Expr(Expr)> traced;
        std::function<double(double)> exact;
    };
    const std::vector<Unary> unary = {
        {"exp", [](Expr a) { return exp(a); }, [](double a) { return std::exp(a); }},
        {"log", [](Expr a) { return log(a); }, [](double a) { return std::log(a); }},
        {"sin", [](Expr a) { return sin(a); }, [](double a) { return std::sin(a); }},
        {"cos", [](Expr a) { return cos(a); }, [](double a) { return std::cos(a); }},
        {"tanh", [](Expr a) { return tanh(a); }, [](double a) { return std::tanh(a); }},
        {"sigmoid", [](Expr a) { return sigmoid(a); }, [](double a) { return 1.0 / (1.0 + std::exp(-a)); }},
    };
    for (const Unary& function : unary) {
        for (const float at : {0.125f, 0.7f, 1.0f, 2.5f, 9.0f}) {
            CAPTURE(function.name);
            CAPTURE(at);
            const float got = float_of([&](Expr a, Expr) { return function.traced(a); }, at, 0.0f);
            CHECK(static_cast<double>(got) == doctest::Approx(function.exact(static_cast<double>(at))).epsilon(1e-6));
        }
    }
}

TEST_CASE("table indices are clamped in each dimension") {
    const Mask mask = trace_mask([](Index, Index, Index q, Index kv) { return table("t")(q - 2, kv - 3) == 5; });
    auto evaluator =
        Evaluator::make(mask, Shape{1, 1, 1, 8, 8}, Bindings{{}, {{"t", ints({2, 3}, {0, 1, 2, 3, 4, 5})}}});
    REQUIRE(evaluator);
    for (int32_t q = 0; q < 8; ++q) {
        for (int32_t kv = 0; kv < 8; ++kv) CHECK(evaluator->mask(0, 0, q, kv) == (q >= 3 && kv >= 5));
    }
    CHECK(evaluator->mask(0, 0, int_min, 0) == false);  // q - 2 wraps to a large index: the last row
    CHECK(evaluator->mask(0, 0, int_min, int_max) == true);
}

TEST_CASE("lengths, heads, defaults and overrides") {
    const ScoreMod mod = trace_score_mod([](Expr score, Index b, Index h, Index, Index) {
        return score + q_len() + 10 * kv_len() + 100 * q_heads() + 1000 * kv_heads() + param("a", 0.5f) +
               param("n", 3) + b * h;
    });
    const Shape shape{2, 6, 3, 4, 5};
    CHECK(Evaluator::make(mod, shape)->score(0.25f, 1, 2, 0, 0) == 0.25f + 4 + 50 + 600 + 3000 + 0.5f + 3 + 2);
    const Bindings given{{{"a", 2}, {"n", -1}}, {}};  // an int serves an f32 param
    CHECK(Evaluator::make(mod, shape, given)->score(0.0f, 0, 0, 0, 0) == 4 + 50 + 600 + 3000 + 2 - 1);
}

TEST_CASE("bindings that do not fit are refused by name") {
    const Mask mask = trace_mask([](Index, Index, Index q, Index kv) { return table("doc")(q) <= kv + param("w"); });
    const auto message = [&](const Bindings& bindings, const Shape& shape = Shape{1, 1, 1, 4, 4}) {
        const auto evaluator = Evaluator::make(mask, shape, bindings);
        return evaluator.ok() ? std::string("accepted") : evaluator.status().message;
    };
    const auto doc = ints({4}, {0, 1, 2, 3});
    const auto contains = [](const std::string& text, const char* part) {
        return text.find(part) != std::string::npos;
    };
    CHECK(message({{{"w", 1}}, {{"doc", doc}}}) == "accepted");
    CHECK(contains(message({{}, {{"doc", doc}}}), "'w'"));
    CHECK(contains(message({{{"w", 1.0f}}, {{"doc", doc}}}), "'w' is an int"));
    CHECK(contains(message({{{"w", 1}}, {}}), "'doc'"));
    CHECK(contains(message({{{"w", 1}}, {{"doc", nullptr}}}), "'doc'"));
    CHECK(contains(message({{{"w", 1}}, {{"doc", ints({2, 2}, {0, 1, 2, 3})}}}), "with 1 dimension"));
    CHECK(contains(message({{{"w", 1}}, {{"doc", ints({5}, {0, 1, 2, 3})}}}), "holds 4"));
    CHECK(contains(message({{{"w", 1}}, {{"doc", ints({-1}, {})}}}), "-1"));
    CHECK(contains(message({{{"w", 1}}, {{"doc", ints({}, {})}}}), "0 dimensions"));
    CHECK(contains(message({{{"w", 1}}, {{"doc", ints({0}, {})}}}), "no elements"));
    CHECK(message({{{"w", 1}}, {{"doc", ints({0}, {})}}}, Shape{1, 1, 1, 0, 4}) == "accepted");
    TableData floats;
    floats.type = Type::f32;
    floats.dims = {4};
    floats.f32 = {0, 1, 2, 3};
    CHECK(contains(message({{{"w", 1}}, {{"doc", std::make_shared<const TableData>(floats)}}}), "must be i32"));

    TableData huge;
    huge.dims = {int64_t{1} << 40, int64_t{1} << 40, int64_t{1} << 40, int64_t{1} << 40};
    CHECK(check(huge, "huge").code == Code::limit_exceeded);
    huge.dims = {65536, 32768};
    CHECK(check(huge, "huge").code == Code::limit_exceeded);  // 2^31 elements: one too many
    huge.dims = {int64_t{1} << 62, 0};
    CHECK(check(huge, "huge").code == Code::limit_exceeded);
    huge.dims = {1, 1, 1, 1, 1};
    CHECK(check(huge, "huge").code == Code::invalid_argument);
}

TEST_CASE("shapes are checked") {
    const auto refused = [](const Shape& shape, const char* name) {
        const Status status = check(shape);
        return !status.ok() && status.message.find(name) != std::string::npos && !Evaluator::make(Mask(), shape).ok();
    };
    CHECK(check(Shape{2, 6, 3, 0, 0}).ok());
    CHECK(refused(Shape{0, 1, 1, 1, 1}, "batch"));
    CHECK(refused(Shape{1, 0, 1, 1, 1}, "q_heads"));
    CHECK(refused(Shape{1, 1, 0, 1, 1}, "kv_heads"));
    CHECK(refused(Shape{1, 3, 2, 1, 1}, "multiple"));
    CHECK(refused(Shape{1, 1, 1, -1, 1}, "q_len"));
    CHECK(refused(Shape{1, 1, 1, 1, -1}, "kv_len"));
}

TEST_CASE("copies of an evaluator are independent and share tables") {
    const Mask mask = trace_mask([](Index, Index, Index q, Index kv) { return table("t")(q) == kv; });
    std::vector<Evaluator> copies;
    {
        auto evaluator = Evaluator::make(mask, Shape{1, 1, 1, 4, 4}, Bindings{{}, {{"t", ints({4}, {3, 2, 1, 0})}}});
        REQUIRE(evaluator);
        copies.assign(3, *evaluator);
    }
    for (Evaluator& copy : copies) {
        for (int32_t q = 0; q < 4; ++q) CHECK(copy.mask(0, 0, q, 3 - q));
    }
}

TEST_CASE("apply_op reads only as many arguments as the operator has") {
    const auto one = std::make_unique<uint32_t[]>(1);
    one[0] = 5;
    CHECK(apply_op(Op::neg, Type::i32, one.get()) == static_cast<uint32_t>(-5));
    CHECK(apply_op(Op::to_f32, Type::i32, one.get()) == std::bit_cast<uint32_t>(5.0f));
    const auto two = std::make_unique<uint32_t[]>(2);
    two[0] = std::bit_cast<uint32_t>(2.0f);
    two[1] = std::bit_cast<uint32_t>(0.5f);
    CHECK(apply_op(Op::pow, Type::f32, two.get()) == std::bit_cast<uint32_t>(std::sqrt(2.0f)));
}
