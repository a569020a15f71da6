#include "affine.h"

#include <algorithm>
#include <bit>
#include <cstdlib>

namespace vkattn::analysis {

Affine wrapped(int64_t a, int64_t c, int64_t lo, int64_t hi, Range range) {
    constexpr int64_t half = int64_t{1} << 31;
    const int64_t period = (range.lo + half) >> 32;
    if (((range.hi + half) >> 32) != period) return everything();
    const int64_t shift = period * (int64_t{1} << 32);
    range = {range.lo - shift, range.hi - shift};
    if (std::abs(a) > kMaxCoefficient || std::abs(c) > kMaxCoefficient)
        return {0, 0, range.lo, range.hi, range.lo, range.hi};
    return {a, c, lo - shift, hi - shift, range.lo, range.hi};
}

int64_t count_half_plane(int64_t a, int64_t c, int64_t r, const Box& box) {
    if (box.rows() > box.columns()) return count_half_plane(c, a, r, {box.kv0, box.kv1, box.q0, box.q1});
    int64_t count = 0;
    for (int64_t q = box.q0; q <= box.q1; ++q) {
        const int64_t s = a * q + r;  // c kv <= -s
        if (c == 0) {
            count += s <= 0 ? box.columns() : 0;
        } else if (c > 0) {
            const int64_t last = std::min(box.kv1, floor_div(-s, c));
            count += std::max<int64_t>(0, last - box.kv0 + 1);
        } else {
            const int64_t first = std::max(box.kv0, -floor_div(-s, -c));  // kv >= s / -c, rounded up
            count += std::max<int64_t>(0, box.kv1 - first + 1);
        }
    }
    return count;
}

// With |a factor| <= 2^26 the residual stays in int64: |lo factor| <= |a factor| q + |c factor| kv + 2^31 |factor| <=
// 2^62 + 2^58.
Affine scale(const Affine& x, int64_t factor, const Box& box) {
    const int64_t a = x.a * factor, c = x.c * factor;
    if (std::abs(a) > kMaxCoefficient || std::abs(c) > kMaxCoefficient) {
        const int64_t first = x.min * factor, second = x.max * factor;
        return plain(std::min(first, second), std::max(first, second));
    }
    if (factor >= 0) return affine(a, c, x.lo * factor, x.hi * factor, box);
    return affine(a, c, x.hi * factor, x.lo * factor, box);
}

Affine multiply(const Affine& x, const Affine& y, bool same, const Box& box) {
    if (y.point()) return scale(x, y.min, box);
    if (x.point()) return scale(y, x.min, box);
    const int64_t products[4] = {x.min * y.min, x.min * y.max, x.max * y.min, x.max * y.max};
    const auto [lo, hi] = std::minmax_element(products, products + 4);
    if (same) return plain(x.min <= 0 && x.max >= 0 ? 0 : std::min(products[0], products[3]), *hi);
    return plain(*lo, *hi);
}

Affine divide(const Affine& x, const Affine& y, const Box& box) {
    if (y.point()) {
        const int64_t d = y.min;
        if (d == 0) return plain(0, 0);
        if (x.a % d == 0 && x.c % d == 0) {  // floor((d m + r) / d) = m + floor(r / d)
            const int64_t first = floor_div(x.lo, d), second = floor_div(x.hi, d);
            return affine(x.a / d, x.c / d, std::min(first, second), std::max(first, second), box);
        }
        const int64_t first = floor_div(x.min, d), second = floor_div(x.max, d);
        return plain(std::min(first, second), std::max(first, second));
    }
    if (y.min > 0 || y.max < 0) {  // monotone in x and, for either sign of x, in y
        const int64_t quotients[4] = {floor_div(x.min, y.min), floor_div(x.min, y.max), floor_div(x.max, y.min),
                                      floor_div(x.max, y.max)};
        const auto [lo, hi] = std::minmax_element(quotients, quotients + 4);
        return plain(*lo, *hi);
    }
    const int64_t largest = std::max(std::abs(x.min), std::abs(x.max));
    return plain(-largest, largest);
}

Affine modulo(const Affine& x, const Affine& y, const Box& box) {
    if (y.point()) {
        const int64_t d = y.min;
        if (d == 0) return plain(0, 0);
        const int64_t quotient = floor_div(x.min, d);
        if (quotient == floor_div(x.max, d)) return affine(x.a, x.c, x.lo - quotient * d, x.hi - quotient * d, box);
        if (x.a % d == 0 && x.c % d == 0) {  // only the residual matters
            const int64_t residual = floor_div(x.lo, d);
            if (residual == floor_div(x.hi, d)) return plain(x.lo - residual * d, x.hi - residual * d);
        }
        return d > 0 ? plain(0, d - 1) : plain(d + 1, 0);
    }
    if (x.min >= 0 && x.max < y.min) return x;
    return plain(y.min < 0 ? y.min + 1 : 0, y.max > 0 ? y.max - 1 : 0);
}

Affine negate(const Affine& x, const Box& box) { return affine(-x.a, -x.c, -x.hi, -x.lo, box); }

Affine absolute(const Affine& x, const Box& box) {
    if (x.min >= 0) return x;
    if (x.max <= 0) return negate(x, box);
    return plain(0, std::max(-x.min, x.max));
}

Affine minimum(const Affine& x, const Affine& y, const Box& box) {
    const Range d = difference(x, y, box);
    if (d.hi <= 0) return x;
    if (d.lo >= 0) return y;
    return plain(std::min(x.min, y.min), std::min(x.max, y.max));
}

Affine maximum(const Affine& x, const Affine& y, const Box& box) {
    const Range d = difference(x, y, box);
    if (d.lo >= 0) return x;
    if (d.hi <= 0) return y;
    return plain(std::max(x.min, y.min), std::max(x.max, y.max));
}

namespace {

// What is known of a value's 32 bits: above the highest bit in which min and max differ, all are as in both.
struct KnownBits {
    uint32_t zeros = 0, ones = 0;
};
KnownBits known_bits(const Affine& x) {
    const auto lo = static_cast<uint32_t>(x.min), hi = static_cast<uint32_t>(x.max);
    const int width = std::bit_width(lo ^ hi);  // bits 0 .. width - 1 are open
    const uint32_t fixed = width >= 32 ? 0u : ~0u << width;
    return {fixed & ~lo, fixed & lo};
}
Affine from_known_bits(KnownBits bits) {
    constexpr uint32_t sign = 1u << 31;
    const uint32_t open = ~(bits.zeros | bits.ones);
    const uint32_t lo = bits.ones | (open & sign), hi = bits.ones | (open & ~sign);
    return plain(static_cast<int32_t>(lo), static_cast<int32_t>(hi));
}
// 2^k when the point `mask` is 2^k - 1 or -2^k (k in 1 .. 30), else 0.
int64_t power_of_low_mask(int64_t mask) {
    return mask > 0 && mask < kI32Max && std::has_single_bit(static_cast<uint64_t>(mask) + 1) ? mask + 1 : 0;
}

}  // namespace

Affine bit_and(const Affine& x, const Affine& y, const Box& box) {
    if (x.point() && !y.point()) return bit_and(y, x, box);
    if (y.point()) {  // x & (2^k - 1) = x mod 2^k, x & -2^k = x - x mod 2^k
        if (y.min == -1) return x;
        if (const int64_t low = power_of_low_mask(y.min)) return modulo(x, plain(low, low), box);
        if (const int64_t high = power_of_low_mask(~y.min)) return scale(divide(x, plain(high, high), box), high, box);
    }
    const KnownBits a = known_bits(x), b = known_bits(y);
    return from_known_bits({a.zeros | b.zeros, a.ones & b.ones});
}

Affine bit_or(const Affine& x, const Affine& y) {
    const KnownBits a = known_bits(x), b = known_bits(y);
    return from_known_bits({a.zeros & b.zeros, a.ones | b.ones});
}

Affine bit_xor(const Affine& x, const Affine& y) {
    const KnownBits a = known_bits(x), b = known_bits(y);
    return from_known_bits({(a.zeros & b.zeros) | (a.ones & b.ones), (a.zeros & b.ones) | (a.ones & b.zeros)});
}

Affine bit_not(const Affine& x, const Box& box) { return affine(-x.a, -x.c, -x.hi - 1, -x.lo - 1, box); }

Affine shift_left(const Affine& x, const Affine& count, const Box& box) {
    if (count.point()) return scale(x, int64_t{1} << (count.min & 31), box);
    return x.min == 0 && x.max == 0 ? plain(0, 0) : everything();
}

Affine shift_right(const Affine& x, const Affine& count, const Box& box) {
    if (count.point()) {
        const int64_t divisor = int64_t{1} << (count.min & 31);
        if (divisor == 1) return x;
        if (x.a % divisor == 0 && x.c % divisor == 0) {
            return affine(x.a / divisor, x.c / divisor, floor_div(x.lo, divisor), floor_div(x.hi, divisor), box);
        }
        return plain(x.min >> (count.min & 31), x.max >> (count.min & 31));
    }
    return plain(std::min<int64_t>(x.min, 0), std::max<int64_t>(x.max, x.min < 0 ? -1 : 0));
}

Affine either(const Affine& x, const Affine& y, const Box& box) {
    if (x.a == y.a && x.c == y.c) return affine(x.a, x.c, std::min(x.lo, y.lo), std::max(x.hi, y.hi), box);
    return plain(std::min(x.min, y.min), std::max(x.max, y.max));
}

}  // namespace vkattn::analysis
