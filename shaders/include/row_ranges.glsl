// Key ranges of one query row: the algebra behind emitted mask_row_range functions. Pure functions of their arguments.
// Needs struct KeyRange { int lo_any, hi_any, lo_all, hi_all; }: half-open, in [0, n] where n is kv_len. masks/src/intervals.cpp
// derives the calls and evaluates the same functions on the CPU: keep both alike.
//
// A comparison  v <= e  becomes inclusive bounds of v, then of what v is made of (v = offset + u or offset - u, u = kv or
// u = floor(a / divisor)), then of kv. Sums saturate, which is exact here: lengths are at most KEY_RANGE_MAX_LENGTH and offsets at
// most KEY_RANGE_MAX_OFFSET, so a bound beyond int is beyond every u. Outside these limits v might have wrapped: `known` is false,
// and the range says nothing.
#ifndef VKATTN_ROW_RANGES_GLSL
#define VKATTN_ROW_RANGES_GLSL

const int KEY_RANGE_MAX_LENGTH = 1 << 28;
const int KEY_RANGE_MAX_OFFSET = 1 << 30;
const int KEY_RANGE_MAX_DIVIDEND = 1 << 29;     // |a| of a quotient: kv and an offset of at most KEY_RANGE_MAX_LENGTH each

// lo > hi: none.
struct KeyBounds {
    int lo;
    int hi;
    bool known;
};

int saturated_add(int a, int b) {
    int sum = a + b;
    bool overflow = ((a ^ sum) & (b ^ sum)) < 0;
    return overflow ? (a < 0 ? int(0x80000000u) : 0x7fffffff) : sum;
}
int saturated_sub(int a, int b) {
    int difference = a - b;
    bool overflow = ((a ^ b) & (a ^ difference)) < 0;
    return overflow ? (a < 0 ? int(0x80000000u) : 0x7fffffff) : difference;
}

KeyBounds bounds_le(int e) { return KeyBounds(int(0x80000000u), e, true); }
KeyBounds bounds_lt(int e) { return bounds_le(saturated_sub(e, 1)); }
KeyBounds bounds_ge(int e) { return KeyBounds(e, 0x7fffffff, true); }
KeyBounds bounds_gt(int e) { return bounds_ge(saturated_add(e, 1)); }
KeyBounds bounds_eq(int e) { return KeyBounds(e, e, true); }
KeyBounds bounds_abs_le(int e) { return KeyBounds(saturated_sub(0, e), e, true); }
KeyBounds bounds_abs_lt(int e) { return bounds_abs_le(saturated_sub(e, 1)); }

// Bounds of u from bounds of offset + u, and of offset - u.
KeyBounds bounds_minus(KeyBounds v, int offset) {
    return KeyBounds(saturated_sub(v.lo, offset), saturated_sub(v.hi, offset), v.known);
}
KeyBounds bounds_reflect(KeyBounds v, int offset) {
    return KeyBounds(saturated_sub(offset, v.hi), saturated_sub(offset, v.lo), v.known);
}
KeyBounds bounds_checked(KeyBounds v, int offset, int limit) {
    return KeyBounds(v.lo, v.hi, v.known && offset <= limit && offset >= -limit);
}
// Bounds of a from bounds of floor(a / divisor), |a| <= KEY_RANGE_MAX_DIVIDEND. A divisor above that acts like the next higher one;
// quotients that no a has are all alike.
KeyBounds bounds_times(KeyBounds u, int divisor) {
    int d = min(max(divisor, 1), KEY_RANGE_MAX_DIVIDEND + 1);
    int most = KEY_RANGE_MAX_DIVIDEND / d;
    int lo = min(max(u.lo, -most - 2), most + 1);
    int hi = min(max(u.hi, -most - 2), most + 1);
    return KeyBounds(lo * d, hi * d + (d - 1), u.known && divisor > 0);
}

KeyRange range_unknown(int n) { return KeyRange(0, n, 0, 0); }
KeyRange range_condition(bool c, int n) {
    int hi = c ? n : 0;
    return KeyRange(0, hi, 0, hi);
}
KeyRange range_of(KeyBounds kv, int n) {
    int lo = min(max(kv.lo, 0), n);
    int hi = min(max(kv.hi, -1), n - 1) + 1;
    return kv.known ? KeyRange(lo, hi, lo, hi) : range_unknown(n);
}

KeyRange range_and(KeyRange a, KeyRange b) {
    return KeyRange(max(a.lo_any, b.lo_any), min(a.hi_any, b.hi_any), max(a.lo_all, b.lo_all), min(a.hi_all, b.hi_all));
}

KeyRange range_or(KeyRange a, KeyRange b) {
    bool a_any = a.lo_any < a.hi_any;
    bool b_any = b.lo_any < b.hi_any;
    bool a_all = a.lo_all < a.hi_all;
    bool b_all = b.lo_all < b.hi_all;
    KeyRange r;
    r.lo_any = a_any && b_any ? min(a.lo_any, b.lo_any) : a_any ? a.lo_any : b.lo_any;
    r.hi_any = a_any && b_any ? max(a.hi_any, b.hi_any) : a_any ? a.hi_any : b.hi_any;
    bool touch = a_all && b_all && a.lo_all <= b.hi_all && b.lo_all <= a.hi_all;
    bool take_a = a_all && (!b_all || a.hi_all - a.lo_all >= b.hi_all - b.lo_all);
    r.lo_all = touch ? min(a.lo_all, b.lo_all) : take_a ? a.lo_all : b.lo_all;
    r.hi_all = touch ? max(a.hi_all, b.hi_all) : take_a ? a.hi_all : b.hi_all;
    return r;
}

// What is left of [0, n) without an interval is one interval only at its ends: else the whole for `any`, the longer part for `all`.
KeyRange range_not(KeyRange a, int n) {
    bool some_all = a.lo_all < a.hi_all;
    bool some_any = a.lo_any < a.hi_any;
    KeyRange r;
    r.lo_any = some_all && a.lo_all <= 0 ? a.hi_all : 0;
    r.hi_any = some_all && a.lo_all > 0 && a.hi_all >= n ? a.lo_all : n;
    bool left = a.lo_any >= n - a.hi_any;
    r.lo_all = some_any && !left ? a.hi_any : 0;
    r.hi_all = some_any && left ? a.lo_any : n;
    return r;
}

KeyRange range_select(bool c, KeyRange a, KeyRange b) {
    return KeyRange(c ? a.lo_any : b.lo_any, c ? a.hi_any : b.hi_any, c ? a.lo_all : b.lo_all, c ? a.hi_all : b.hi_all);
}

#endif
