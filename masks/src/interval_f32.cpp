#include "interval_f32.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <limits>

namespace vkattn::analysis {
namespace {

constexpr double kUlp = 0x1p-23;  // of an f32 at 1: one unit in the last place is at most |x| kUlp
constexpr float kInfinity = std::numeric_limits<float>::infinity();

float round_down(double x) {
    if (x > static_cast<double>(FLT_MAX)) return std::isinf(x) ? kInfinity : FLT_MAX;
    if (x < -static_cast<double>(FLT_MAX)) return -kInfinity;
    const auto nearest = static_cast<float>(x);
    return static_cast<double>(nearest) > x ? std::nextafterf(nearest, -kInfinity) : nearest;
}
float round_up(double x) { return -round_down(-x); }

// [lo, hi] in f32, outward, with zero wherever a denormal may be flushed.
IntervalF32 outward(double lo, double hi, bool nan = false) {
    if (std::isnan(lo) || std::isnan(hi)) return any_f32();
    IntervalF32 result{round_down(lo), round_up(hi), nan};
    if (result.lo > 0.0f && result.lo < FLT_MIN) result.lo = 0.0f;
    if (result.hi < 0.0f && result.hi > -FLT_MIN) result.hi = 0.0f;
    return result;
}
// As outward, with a relative error of `ulps` and an absolute error besides. Results below FLT_MIN may be lost
// altogether.
IntervalF32 widened(double lo, double hi, double ulps, double absolute, bool nan) {
    return outward(lo - std::abs(lo) * ulps * kUlp - absolute, hi + std::abs(hi) * ulps * kUlp + absolute, nan);
}

bool infinite(const IntervalF32& x) { return std::isinf(x.lo) || std::isinf(x.hi); }
bool contains_zero(const IntervalF32& x) { return x.lo <= 0.0f && x.hi >= 0.0f; }
double low(const IntervalF32& x) { return static_cast<double>(x.lo); }
double high(const IntervalF32& x) { return static_cast<double>(x.hi); }

IntervalF32 add(const IntervalF32& x, const IntervalF32& y) {
    if (infinite(x) || infinite(y)) return any_f32();
    return outward(low(x) + low(y), high(x) + high(y), x.nan || y.nan);
}

IntervalF32 negate(const IntervalF32& x) { return {-x.hi, -x.lo, x.nan}; }

IntervalF32 multiply(const IntervalF32& x, const IntervalF32& y) {
    if (infinite(x) || infinite(y)) return any_f32();
    const double p[4] = {low(x) * low(y), low(x) * high(y), high(x) * low(y), high(x) * high(y)};  // exact in double
    return outward(*std::min_element(p, p + 4), *std::max_element(p, p + 4), x.nan || y.nan);
}

// Vulkan: 2.5 ULP while the divisor is a normal number up to 2^126 (and says nothing otherwise).
IntervalF32 divide(const IntervalF32& x, const IntervalF32& y) {
    if (infinite(x) || infinite(y) || contains_zero(y)) return any_f32();
    if (std::max(std::abs(y.lo), std::abs(y.hi)) > 0x1p126f) return any_f32();
    const double p[4] = {low(x) / low(y), low(x) / high(y), high(x) / low(y), high(x) / high(y)};
    return widened(*std::min_element(p, p + 4), *std::max_element(p, p + 4), 3.0, 0.0, x.nan || y.nan);
}

// x - y floor(x / y), where an error of the quotient may move the floor by one and more when the quotient is large.
IntervalF32 modulo(const IntervalF32& x, const IntervalF32& y) {
    if (infinite(x) || infinite(y) || contains_zero(y)) return any_f32();
    const double divisor = std::max(std::abs(low(y)), std::abs(high(y)));
    const double dividend = std::max(std::abs(low(x)), std::abs(high(x)));
    const double smallest = std::min(std::abs(low(y)), std::abs(high(y)));
    if (divisor > 0x1p126 || dividend > 0x1p126 || dividend / smallest > 0x1p126)
        return any_f32();  // may pass through infinity
    const double reach = 2.0 * divisor + dividend * 16.0 * kUlp;
    return outward(-reach, reach, x.nan || y.nan);
}

IntervalF32 power(const IntervalF32& x,
                  const IntervalF32& y) {  // exp2(y log2 x); undefined for x < 0 and for 0^y, y <= 0
    if (x.nan || y.nan || infinite(x) || infinite(y) || x.lo <= 0.0f) return any_f32();
    const double log_lo = std::log2(low(x)), log_hi = std::log2(high(x));
    const double p[4] = {low(y) * log_lo, low(y) * log_hi, high(y) * log_lo, high(y) * log_hi};
    double lo = *std::min_element(p, p + 4), hi = *std::max_element(p, p + 4);
    const double reach = std::max(std::abs(low(y)), std::abs(high(y)));
    const double error = reach * (0x1p-20 + 8.0 * kUlp * std::max(std::abs(log_lo), std::abs(log_hi)));
    lo = std::exp2(lo - error);
    hi = std::exp2(hi + error);
    if (lo < 0x1p-120) lo = 0.0;
    return widened(lo, hi, 600.0, 0.0, hi > 0x1p127);
}

// sin, cos: absolute error 2^-11 within [-pi, pi], nothing promised outside.
IntervalF32 wave(const IntervalF32& x, double (*function)(double)) {
    if (x.nan || infinite(x)) return any_f32();
    constexpr double error = 0x1p-10;
    const double middle = 0.5 * (low(x) + high(x)), half = 0.5 * (high(x) - low(x));
    if (half > 2.0 || std::abs(middle) + half > 3.140625) return {-1.01f, 1.01f, false};
    const double value = function(middle);  // slope at most 1
    return outward(std::max(-1.0 - error, value - half - error), std::min(1.0 + error, value + half + error));
}

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }
double sign_of(float x) { return x > 0.0f ? 1.0 : (x < 0.0f ? -1.0 : 0.0); }

}  // namespace

IntervalF32 any_f32() { return {-kInfinity, kInfinity, true}; }
IntervalF32 exact_f32(float value) {
    if (std::isnan(value)) return any_f32();
    return outward(static_cast<double>(value), static_cast<double>(value));
}
IntervalF32 hull_f32(float lo, float hi, bool nan) {
    return lo > hi ? any_f32() : outward(static_cast<double>(lo), static_cast<double>(hi), nan);
}
IntervalF32 either(const IntervalF32& x, const IntervalF32& y) {
    return {std::min(x.lo, y.lo), std::max(x.hi, y.hi), x.nan || y.nan};
}
IntervalF32 from_i32(const Affine& x) { return outward(static_cast<double>(x.min), static_cast<double>(x.max)); }

Affine to_i32(const IntervalF32& x) {
    const auto saturated = [](float value) {
        return static_cast<int64_t>(std::clamp(std::trunc(static_cast<double>(value)), -0x1p31, 0x1p31 - 1.0));
    };
    const int64_t lo = saturated(x.lo), hi = saturated(x.hi);
    return x.nan ? plain(std::min<int64_t>(lo, 0), std::max<int64_t>(hi, 0)) : plain(lo, hi);
}

IntervalF32 apply(Op op, const IntervalF32& x, const IntervalF32& y) {
    switch (op) {
    case Op::add: return add(x, y);
    case Op::sub: return add(x, negate(y));
    case Op::mul: return multiply(x, y);
    case Op::div: return divide(x, y);
    case Op::mod: return modulo(x, y);
    case Op::neg: return negate(x);
    case Op::abs:
        if (x.lo >= 0.0f) return x;
        if (x.hi <= 0.0f) return negate(x);
        return {0.0f, std::max(-x.lo, x.hi), x.nan};
    case Op::min:  // of a number and a NaN a device may give either
        if (x.nan || y.nan) return either(x, y);
        return {std::min(x.lo, y.lo), std::min(x.hi, y.hi), false};
    case Op::max:
        if (x.nan || y.nan) return either(x, y);
        return {std::max(x.lo, y.lo), std::max(x.hi, y.hi), false};
    case Op::exp:
    case Op::exp2: {
        if (x.nan || infinite(x)) return any_f32();
        const double factor = op == Op::exp ? 1.0 : 0.69314718055994531;
        const double lo = std::exp(factor * low(x)), hi = std::exp(factor * high(x));
        const double ulps = 6.0 + 4.0 * std::max(std::abs(low(x)), std::abs(high(x)));
        return widened(lo < 0x1p-120 ? 0.0 : lo, hi, std::min(ulps, 1000.0), 0x1p-126, false);
    }
    case Op::log:
    case Op::log2: {
        if (x.nan || infinite(x) || x.lo <= 0.0f) return any_f32();
        const double factor = op == Op::log ? 1.0 : 1.4426950408889634;
        return widened(factor * std::log(low(x)), factor * std::log(high(x)), 8.0, 0x1p-20, false);
    }
    case Op::pow: return power(x, y);
    case Op::sqrt:
        if (x.nan || infinite(x) || x.lo < 0.0f) return any_f32();
        return widened(std::sqrt(low(x)), std::sqrt(high(x)), 8.0, x.lo == 0.0f ? 0x1p-62 : 0.0, x.lo == 0.0f);
    case Op::rsqrt:
        if (x.nan || infinite(x) || x.lo <= 0.0f) return any_f32();
        return widened(1.0 / std::sqrt(high(x)), 1.0 / std::sqrt(low(x)), 4.0, 0.0, false);
    case Op::sin: return wave(x, [](double v) { return std::sin(v); });
    case Op::cos: return wave(x, [](double v) { return std::cos(v); });
    case Op::tanh:
        if (x.nan || infinite(x)) return {-1.0001f, 1.0001f, x.nan};
        return widened(std::tanh(low(x)), std::tanh(high(x)), 64.0, 0x1p-17, false);
    case Op::sigmoid:
        if (x.nan || infinite(x)) return {-0.0001f, 1.0001f, x.nan};
        return widened(low(x) < -80.0 ? 0.0 : sigmoid(low(x)), sigmoid(high(x)), 400.0, 0x1p-100, false);
    case Op::floor: return {std::floor(x.lo), std::floor(x.hi), x.nan};
    case Op::sign: {
        IntervalF32 result = outward(sign_of(x.lo), sign_of(x.hi), x.nan);
        return x.nan ? IntervalF32{-1.0f, 1.0f, true} : result;
    }
    case Op::b:
    case Op::h:
    case Op::q:
    case Op::kv:
    case Op::score:
    case Op::q_len:
    case Op::kv_len:
    case Op::q_heads:
    case Op::kv_heads:
    case Op::literal:
    case Op::param:
    case Op::slot:
    case Op::table:
    case Op::bit_and:
    case Op::bit_or:
    case Op::bit_xor:
    case Op::bit_not:
    case Op::shl:
    case Op::shr:
    case Op::logical_and:
    case Op::logical_or:
    case Op::logical_not:
    case Op::lt:
    case Op::le:
    case Op::eq:
    case Op::ne:
    case Op::select:
    case Op::to_f32:
    case Op::to_i32: break;
    }
    return any_f32();
}

Affine less(const IntervalF32& x, const IntervalF32& y) {
    if (x.nan || y.nan) return boolean(false, true);  // a device need not know what a NaN is
    return boolean(x.hi < y.lo, x.lo < y.hi);
}
Affine less_equal(const IntervalF32& x, const IntervalF32& y) {
    if (x.nan || y.nan) return boolean(false, true);
    return boolean(x.hi <= y.lo, x.lo <= y.hi);
}
Affine equal(const IntervalF32& x, const IntervalF32& y) {
    if (x.nan || y.nan) return boolean(false, true);
    return boolean(x.lo == x.hi && x.lo == y.lo && x.hi == y.hi, x.lo <= y.hi && x.hi >= y.lo);
}

}  // namespace vkattn::analysis
