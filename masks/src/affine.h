// The integer domain of classification: what an i32 (or bool) value can be over a box of the q x kv plane.
//
// A value is  a q + c kv + [lo, hi]  for every (q, kv) of the box. Keeping the shared part a q + c kv apart is what
// makes `q - kv <= w` exact where plain intervals would forget that both sides move together. Arithmetic is on int64
// and then brought back to i32: a range that lies in one period of 2^32 is shifted (that is what wrapping does), one
// that straddles a border becomes everything.
#pragma once

#include <cstdint>

namespace vkattn::analysis {

// Inclusive on both sides, never empty; 0 <= q0 <= q1 < 2^31, likewise kv.
struct Box {
    int64_t q0 = 0, q1 = 0, kv0 = 0, kv1 = 0;

    int64_t rows() const { return q1 - q0 + 1; }
    int64_t columns() const { return kv1 - kv0 + 1; }
    int64_t area() const { return rows() * columns(); }
};

struct Range {
    int64_t lo = 0, hi = 0;

    bool point() const { return lo == hi; }
};

// Invariants: |a|, |c| <= kMaxCoefficient and [min, max] (the range over the box the value was made for) lies in i32.
// Together they keep every sum and product below within int64. A bool has min = 1 when it must be true, max = 0 when
// it must be false. One that is undecided and known to be true exactly where a q + c kv + lo <= 0 keeps that half
// plane (a or c is not 0); then the box holds both true and false elements.
struct Affine {
    int64_t a = 0, c = 0, lo = 0, hi = 0;
    int64_t min = 0, max = 0;

    bool point() const { return min == max; }
    bool undecided() const { return min != max; }                    // of a bool
    bool half_plane() const { return (a | c) != 0 && undecided(); }  // of a bool
};

inline constexpr int64_t kMaxCoefficient = int64_t{1} << 26;
inline constexpr int64_t kI32Min = INT32_MIN;
inline constexpr int64_t kI32Max = INT32_MAX;

inline int64_t floor_div(int64_t x, int64_t d) {  // d != 0
    const int64_t quotient = x / d;
    return quotient - ((x % d != 0) && ((x < 0) != (d < 0)) ? 1 : 0);
}
inline int64_t floor_mod(int64_t x, int64_t d) { return x - floor_div(x, d) * d; }

// The number of elements of the box with  a q + c kv + r <= 0, in time of the shorter side.
int64_t count_half_plane(int64_t a, int64_t c, int64_t r, const Box& box);

// The range of  a q + c kv + [lo, hi]  over the box, before any wrapping.
inline Range range_over(int64_t a, int64_t c, int64_t lo, int64_t hi, const Box& box) {
    return {lo + a * (a >= 0 ? box.q0 : box.q1) + c * (c >= 0 ? box.kv0 : box.kv1),
            hi + a * (a >= 0 ? box.q1 : box.q0) + c * (c >= 0 ? box.kv1 : box.kv0)};
}

inline Affine everything() { return {0, 0, kI32Min, kI32Max, kI32Min, kI32Max}; }
inline Affine decided(bool value) { return {0, 0, value, value, value, value}; }
inline Affine boolean(bool must, bool may) { return {0, 0, must, may, must, may}; }

Affine wrapped(int64_t a, int64_t c, int64_t lo, int64_t hi, Range range);  // the rare half of affine()

inline Affine affine(int64_t a, int64_t c, int64_t lo, int64_t hi, const Box& box) {
    const Range range = range_over(a, c, lo, hi, box);
    const bool small = a <= kMaxCoefficient && a >= -kMaxCoefficient && c <= kMaxCoefficient && c >= -kMaxCoefficient;
    if (small && range.lo >= kI32Min && range.hi <= kI32Max) return {a, c, lo, hi, range.lo, range.hi};
    return wrapped(a, c, lo, hi, range);
}
inline Affine plain(int64_t lo, int64_t hi) {  // lo <= hi, any int64: wrapped to i32
    if (lo >= kI32Min && hi <= kI32Max) return {0, 0, lo, hi, lo, hi};
    return wrapped(0, 0, lo, hi, {lo, hi});
}

inline Affine add(const Affine& x, const Affine& y, const Box& box) {
    return affine(x.a + y.a, x.c + y.c, x.lo + y.lo, x.hi + y.hi, box);
}
inline Affine sub(const Affine& x, const Affine& y, const Box& box) {
    return affine(x.a - y.a, x.c - y.c, x.lo - y.hi, x.hi - y.lo, box);
}
// x - y over the integers (not wrapped): what comparisons look at.
inline Range difference(const Affine& x, const Affine& y, const Box& box) {
    return range_over(x.a - y.a, x.c - y.c, x.lo - y.hi, x.hi - y.lo, box);
}
// x + strict <= y, with strict 0 or 1
inline Affine at_most(const Affine& x, const Affine& y, int64_t strict, const Box& box) {
    const int64_t a = x.a - y.a, c = x.c - y.c, lo = x.lo - y.hi + strict, hi = x.hi - y.lo + strict;
    const Range d = range_over(a, c, lo, hi, box);
    if (d.hi <= 0 || d.lo > 0) return decided(d.hi <= 0);
    return lo == hi ? Affine{a, c, lo, hi, 0, 1} : boolean(false, true);
}
inline Affine equal(const Affine& x, const Affine& y, const Box& box) {
    const Range d = difference(x, y, box);
    return boolean(d.lo == 0 && d.hi == 0, d.lo <= 0 && d.hi >= 0);
}

// Of bools. What stays undecided because of one operand alone is that operand, with its half plane.
inline Affine logical_not(const Affine& x) {  // !(s <= 0) is 1 - s <= 0
    if (x.half_plane()) return {-x.a, -x.c, 1 - x.lo, 1 - x.lo, 0, 1};
    return boolean(x.max == 0, x.min == 0);
}
inline Affine logical_and(const Affine& x, const Affine& y) {
    if (x.min != 0 || y.max == 0) return y;
    if (y.min != 0 || x.max == 0) return x;
    return boolean(false, true);
}
inline Affine logical_or(const Affine& x, const Affine& y) {
    if (x.max == 0 || y.min != 0) return y;
    if (y.max == 0 || x.min != 0) return x;
    return boolean(false, true);
}
inline Affine logical_xor(const Affine& x, const Affine& y) {
    if (!x.undecided()) return x.min != 0 ? logical_not(y) : y;
    if (!y.undecided()) return y.min != 0 ? logical_not(x) : x;
    return boolean(false, true);
}

Affine scale(const Affine& x, int64_t factor, const Box& box);  // |factor| <= 2^31
Affine multiply(const Affine& x, const Affine& y, bool same, const Box& box);
Affine divide(const Affine& x, const Affine& y, const Box& box);  // toward minus infinity, x / 0 = 0
Affine modulo(const Affine& x, const Affine& y, const Box& box);  // sign of the divisor, x % 0 = 0
Affine negate(const Affine& x, const Box& box);
Affine absolute(const Affine& x, const Box& box);  // |INT_MIN| wraps to INT_MIN
Affine minimum(const Affine& x, const Affine& y, const Box& box);
Affine maximum(const Affine& x, const Affine& y, const Box& box);
Affine bit_and(const Affine& x, const Affine& y, const Box& box);
Affine bit_or(const Affine& x, const Affine& y);
Affine bit_xor(const Affine& x, const Affine& y);
Affine bit_not(const Affine& x, const Box& box);
Affine shift_left(const Affine& x, const Affine& count, const Box& box);
Affine shift_right(const Affine& x, const Affine& count, const Box& box);
Affine either(const Affine& x, const Affine& y, const Box& box);  // an integer that is x's or y's

}  // namespace vkattn::analysis
