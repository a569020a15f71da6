// The integer domain of classification, operator by operator: whatever the operands are over a box, the result holds
// every element.
#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "masks/random_tree.h"
#include "masks/src/affine.h"
#include "masks/src/interval_f32.h"
#include "masks/src/table_pyramid.h"
#include "vkattn/evaluate.h"

using namespace vkattn;
using namespace vkattn::analysis;
using test::Rng;

namespace {

// A value with its elements: of residual 0, so that the abstract value is exact and elements can be computed from it.
struct Operand {
    Affine value;
    int64_t a = 0, c = 0, base = 0;

    int32_t at(int64_t q, int64_t kv) const {
        return static_cast<int32_t>(static_cast<uint32_t>(a * q + c * kv + base));
    }
};

int64_t any_constant(Rng& rng) {
    const int64_t extremes[] = {INT32_MIN, INT32_MIN + 1, INT32_MAX, INT32_MAX - 1, -1, 0, 1, 7, 16, 31,
                                32,        -16,           1 << 30,   -65536};
    return rng.chance(40) ? extremes[rng.below(14)] : rng.between(-40, 40);
}

Operand any_operand(Rng& rng, const Box& box) {
    const int64_t coefficients[] = {0, 0, 1, -1, 2, -3, 16, 1 << 20, -(1 << 26)};
    Operand operand;
    operand.a = coefficients[rng.below(9)];
    operand.c = coefficients[rng.below(9)];
    operand.base = any_constant(rng);
    operand.value = affine(operand.a, operand.c, operand.base, operand.base, box);
    return operand;
}

Affine apply_to(Op op, const Affine& x, const Affine& y, bool same, const Box& box) {
    if (op == Op::add) return add(x, y, box);
    if (op == Op::sub) return sub(x, y, box);
    if (op == Op::mul) return multiply(x, y, same, box);
    if (op == Op::div) return divide(x, y, box);
    if (op == Op::mod) return modulo(x, y, box);
    if (op == Op::neg) return negate(x, box);
    if (op == Op::abs) return absolute(x, box);
    if (op == Op::min) return minimum(x, y, box);
    if (op == Op::max) return maximum(x, y, box);
    if (op == Op::bit_and) return bit_and(x, y, box);
    if (op == Op::bit_or) return bit_or(x, y);
    if (op == Op::bit_xor) return bit_xor(x, y);
    if (op == Op::bit_not) return bit_not(x, box);
    if (op == Op::shl) return shift_left(x, y, box);
    if (op == Op::shr) return shift_right(x, y, box);
    if (op == Op::lt) return at_most(x, y, 1, box);
    if (op == Op::le) return at_most(x, y, 0, box);
    return equal(x, y, box);
}
const Op kOps[] = {Op::add,     Op::sub,    Op::mul,     Op::div,     Op::mod, Op::neg, Op::abs, Op::min, Op::max,
                   Op::bit_and, Op::bit_or, Op::bit_xor, Op::bit_not, Op::shl, Op::shr, Op::lt,  Op::le,  Op::eq};

}  // namespace

TEST_CASE("integers: the result holds every element's value, exactly that of a single element") {
    int informative = 0;
    for (uint64_t seed = 1; seed <= 60000; ++seed) {
        Rng rng(seed);
        Box box;
        box.q0 = rng.chance(20) ? INT32_MAX - 8 : rng.between(0, 40);
        box.q1 = box.q0 + rng.between(0, 6);
        box.kv0 = rng.between(0, 40);
        box.kv1 = box.kv0 + rng.between(0, 6);
        const Operand x = any_operand(rng, box), y = rng.chance(10) ? x : any_operand(rng, box);
        const bool same = x.a == y.a && x.c == y.c && x.base == y.base;
        const Op op = kOps[rng.below(18)];
        const bool compares = op == Op::lt || op == Op::le || op == Op::eq;
        const Affine result = apply_to(op, x.value, y.value, same, box);
        CHECK_MESSAGE((std::abs(result.a) <= kMaxCoefficient * 2 && result.min >= kI32Min && result.max <= kI32Max),
                      "seed ", seed);
        informative += result.min > kI32Min || result.max < kI32Max ? 1 : 0;
        bool any_true = false, any_false = false;
        for (int64_t q = box.q0; q <= box.q1; ++q) {
            for (int64_t kv = box.kv0; kv <= box.kv1; ++kv) {
                const uint32_t args[2] = {static_cast<uint32_t>(x.at(q, kv)), static_cast<uint32_t>(y.at(q, kv))};
                const int64_t expected = static_cast<int32_t>(apply_op(op, Type::i32, args));
                const bool in_range = result.min <= expected && expected <= result.max;
                const int64_t residual = expected - result.a * q - result.c * kv;
                const bool in_form = compares ? !result.half_plane() ||
                                                    (result.a * q + result.c * kv + result.lo <= 0) == (expected != 0)
                                              : result.lo <= residual && residual <= result.hi;
                CHECK_MESSAGE((in_range && in_form), "seed ", seed, ", op ", static_cast<int>(op), ", q ", q, ", kv ",
                              kv, ", value ", expected);
                (expected != 0 ? any_true : any_false) = true;
            }
        }
        if (box.area() == 1) CHECK_MESSAGE(result.point(), "seed ", seed, ", op ", static_cast<int>(op));
        if (compares && result.half_plane()) {
            CHECK_MESSAGE((any_true && any_false), "seed ", seed);
            CHECK_MESSAGE(logical_not(logical_not(result)).lo == result.lo, "seed ", seed);
        }
    }
    CHECK(informative > 40000);
}

TEST_CASE("bools: a connective is as decided as its operands allow") {
    const Affine plane{1, -1, 0, 0, 0, 1}, open = boolean(false, true), yes = decided(true), no = decided(false);
    CHECK(logical_and(plane, yes).half_plane());
    CHECK(logical_and(yes, plane).half_plane());
    CHECK(!logical_and(plane, no).undecided());
    CHECK(logical_and(plane, no).max == 0);
    CHECK(!logical_and(plane, open).half_plane());
    CHECK(logical_and(plane, open).undecided());
    CHECK(logical_or(no, plane).half_plane());
    CHECK(logical_or(plane, yes).min == 1);
    CHECK(logical_or(yes, open).min == 1);
    CHECK(logical_xor(yes, plane).lo == 1);  // !(q - kv <= 0) is kv - q + 1 <= 0
    CHECK(logical_xor(yes, plane).a == -1);
    CHECK(logical_xor(open, plane).undecided());
    CHECK(logical_not(yes).max == 0);
}

TEST_CASE("half planes are counted as they are") {
    for (uint64_t seed = 1; seed <= 3000; ++seed) {
        Rng rng(seed);
        const Box box{rng.between(0, 9), rng.between(9, 15), rng.between(0, 9), rng.between(9, 25)};
        const int64_t a = rng.between(-4, 4), c = rng.between(-4, 4), r = rng.between(-60, 60);
        int64_t expected = 0;
        for (int64_t q = box.q0; q <= box.q1; ++q) {
            for (int64_t kv = box.kv0; kv <= box.kv1; ++kv) expected += a * q + c * kv + r <= 0 ? 1 : 0;
        }
        CHECK_MESSAGE(count_half_plane(a, c, r, box) == expected, "seed ", seed);
    }
}

TEST_CASE("floats: the interval holds the value of every pair of operands inside") {
    const Op ops[] = {Op::add, Op::sub, Op::mul,  Op::div,     Op::mod,   Op::neg, Op::abs,  Op::min,
                      Op::max, Op::exp, Op::exp2, Op::log,     Op::log2,  Op::pow, Op::sqrt, Op::rsqrt,
                      Op::sin, Op::cos, Op::tanh, Op::sigmoid, Op::floor, Op::sign};
    const float extremes[] = {0.0f,          -0.0f, 1.0f,   -1.0f, 1e-45f, 1e-39f,
                              3.4028235e38f, 87.5f, -87.5f, 1e20f, 0.5f,   3.14159f};
    int bounded = 0;
    for (uint64_t seed = 1; seed <= 40000; ++seed) {
        Rng rng(seed);
        const auto number = [&] {
            return rng.chance(25) ? extremes[rng.below(12)] : (rng.unit() - 0.5f) * (rng.chance(50) ? 8.0f : 300.0f);
        };
        float low[2], high[2];
        IntervalF32 x[2];
        for (int i = 0; i < 2; ++i) {
            low[i] = number();
            high[i] = rng.chance(30) ? low[i] : low[i] + std::abs(number());
            x[i] = either(exact_f32(low[i]), exact_f32(high[i]));
        }
        const Op op = ops[rng.below(22)];
        const IntervalF32 result = apply(op, x[0], x[1]);
        bounded += std::isinf(result.lo) || std::isinf(result.hi) ? 0 : 1;
        for (int sample = 0; sample < 6; ++sample) {
            uint32_t args[2];
            for (int i = 0; i < 2; ++i) {
                float value = sample == 0 ? low[i] : sample == 1 ? high[i] : low[i] + (high[i] - low[i]) * rng.unit();
                value = std::max(low[i], std::min(high[i], value));
                args[i] = std::bit_cast<uint32_t>(value);
            }
            const float value = std::bit_cast<float>(apply_op(op, Type::f32, args));
            const bool inside = std::isnan(value) ? result.nan : result.lo <= value && value <= result.hi;
            CHECK_MESSAGE(inside, "seed ", seed, ", op ", static_cast<int>(op), " gives ", value, ", not in [",
                          result.lo, ", ", result.hi, "]");
        }
    }
    CHECK(bounded > 20000);
}

TEST_CASE("table pyramids answer every range of every dimension soundly, contiguous ones exactly") {
    for (uint64_t seed = 1; seed <= 3000; ++seed) {
        Rng rng(seed);
        auto data = std::make_shared<TableData>();
        const int n_dims = rng.between(1, 4);
        for (int i = 0; i < n_dims; ++i)
            data->dims.push_back(n_dims == 1 ? rng.between(1, 300) : rng.between(1, n_dims == 2 ? 150 : 7));
        for (int64_t i = 0; i < data->count(); ++i) data->i32.push_back(static_cast<int32_t>(rng.next() >> 40));
        TableSummary summary(data);
        summary.build_pyramid();
        Range indices[4], clamped[4];
        for (int i = 0; i < n_dims; ++i) {
            const auto end = static_cast<int32_t>(data->dims[static_cast<size_t>(i)]) - 1;
            indices[i].lo = rng.between(-3, end + 2);
            indices[i].hi = std::max<int64_t>(indices[i].lo, rng.between(-3, end + 3));
            clamped[i] = {std::clamp<int64_t>(indices[i].lo, 0, end), std::clamp<int64_t>(indices[i].hi, 0, end)};
        }
        for (int i = n_dims; i < 4; ++i) clamped[i] = {0, 0};
        int64_t lowest = INT64_MAX, highest = INT64_MIN, pieces = 1;
        for (int i = 0; i + 1 < n_dims; ++i) pieces *= clamped[i].hi - clamped[i].lo + 1;
        int64_t at[4];
        for (at[0] = clamped[0].lo; at[0] <= clamped[0].hi; ++at[0]) {
            for (at[1] = clamped[1].lo; at[1] <= clamped[1].hi; ++at[1]) {
                for (at[2] = clamped[2].lo; at[2] <= clamped[2].hi; ++at[2]) {
                    for (at[3] = clamped[3].lo; at[3] <= clamped[3].hi; ++at[3]) {
                        int64_t flat = 0;
                        for (int i = 0; i < n_dims; ++i) flat = flat * data->dims[static_cast<size_t>(i)] + at[i];
                        lowest = std::min<int64_t>(lowest, data->i32[static_cast<size_t>(flat)]);
                        highest = std::max<int64_t>(highest, data->i32[static_cast<size_t>(flat)]);
                    }
                }
            }
        }
        const Affine found = summary.integers_over(indices);
        CHECK_MESSAGE((found.min <= lowest && found.max >= highest), "seed ", seed);
        if (pieces <= 128) CHECK_MESSAGE((found.min == lowest && found.max == highest), "seed ", seed);
    }
}

TEST_CASE("shared values: exact on every pair of ranges, before and after renaming") {
    for (uint64_t seed = 1; seed <= 400; ++seed) {
        Rng rng(seed);
        auto x = std::make_shared<TableData>(), y = std::make_shared<TableData>();
        for (auto& table : {x, y}) {
            table->dims = {200};
            const int32_t spread = rng.between(5, 400);
            for (int i = 0; i < 200; ++i)
                table->i32.push_back(static_cast<int32_t>(static_cast<uint32_t>(rng.below(spread)) * 2654435761u));
        }
        const Labels labels = relabel(x, y);
        SharedValues values, label_values;
        for (int query = 0; query < 40; ++query) {
            const Range in_x{rng.between(0, 90), rng.between(90, 199)}, in_y{rng.between(0, 90), rng.between(90, 199)};
            bool expected = false;
            for (int64_t i = in_x.lo; i <= in_x.hi && !expected; ++i) {
                const auto from = y->i32.begin() + in_y.lo, to = y->i32.begin() + in_y.hi + 1;
                expected = std::find(from, to, x->i32[static_cast<size_t>(i)]) != to;
            }
            CHECK_MESSAGE(values.may_share(*x, in_x, *y, in_y) == expected, "seed ", seed);
            CHECK_MESSAGE(label_values.may_share(*labels.first, in_x, *labels.second, in_y) == expected, "seed ", seed);
        }
    }
}
