// Evaluation of a RangeProgram on the CPU: the functions of shaders/include/row_ranges.glsl, on int64 clamped to i32.
#include <algorithm>

#include "intervals.h"

namespace vkattn::detail {
namespace {

constexpr int32_t lowest = INT32_MIN;
constexpr int32_t highest = INT32_MAX;

int32_t saturate(int64_t value) { return static_cast<int32_t>(std::clamp<int64_t>(value, lowest, highest)); }
int32_t wrap(int64_t value) { return static_cast<int32_t>(static_cast<uint32_t>(static_cast<uint64_t>(value))); }

struct KeyBounds {  // inclusive; lo > hi: none
    int32_t lo = lowest, hi = highest;
    bool known = true;
};

KeyBounds bounds_of(Relation relation, int32_t e) {
    const int64_t wide = e;
    switch (relation) {
    case Relation::lt: return {lowest, saturate(wide - 1)};
    case Relation::le: return {lowest, e};
    case Relation::gt: return {saturate(wide + 1), highest};
    case Relation::ge: return {e, highest};
    case Relation::eq: return {e, e};
    case Relation::abs_lt: return {saturate(-int64_t{saturate(wide - 1)}), saturate(wide - 1)};
    case Relation::abs_le: return {saturate(-wide), e};
    }
    return {};
}

// Bounds of x from bounds of sign * x + offset.
KeyBounds solve(KeyBounds v, const LinearKey& form, int32_t offset, int32_t limit) {
    const int64_t wide = offset;
    KeyBounds x = form.sign > 0 ? KeyBounds{saturate(v.lo - wide), saturate(v.hi - wide), v.known}
                                : KeyBounds{saturate(wide - v.hi), saturate(wide - v.lo), v.known};
    if (form.checked && (offset > limit || offset < -limit)) x.known = false;
    return x;
}

KeyBounds times(KeyBounds u, int32_t divisor) {
    const int32_t d = std::clamp(divisor, 1, key_range_max_dividend + 1);
    const int32_t most = key_range_max_dividend / d;
    const int32_t lo = std::clamp(u.lo, -most - 2, most + 1);
    const int32_t hi = std::clamp(u.hi, -most - 2, most + 1);
    return {lo * d, hi * d + (d - 1), u.known && divisor > 0};
}

RowRange unknown(int32_t n) { return {0, n, 0, 0}; }
RowRange everything_if(bool c, int32_t n) { return c ? RowRange{0, n, 0, n} : RowRange{0, 0, 0, 0}; }

RowRange both(const RowRange& a, const RowRange& b) {
    return {std::max(a.lo_any, b.lo_any), std::min(a.hi_any, b.hi_any), std::max(a.lo_all, b.lo_all),
            std::min(a.hi_all, b.hi_all)};
}

RowRange either(const RowRange& a, const RowRange& b) {
    const bool a_any = a.lo_any < a.hi_any, b_any = b.lo_any < b.hi_any;
    const bool a_all = a.lo_all < a.hi_all, b_all = b.lo_all < b.hi_all;
    RowRange r = b;
    if (a_any) {
        r.lo_any = b_any ? std::min(a.lo_any, b.lo_any) : a.lo_any;
        r.hi_any = b_any ? std::max(a.hi_any, b.hi_any) : a.hi_any;
    }
    if (a_all && b_all && a.lo_all <= b.hi_all && b.lo_all <= a.hi_all) {
        r.lo_all = std::min(a.lo_all, b.lo_all);
        r.hi_all = std::max(a.hi_all, b.hi_all);
    } else if (a_all && (!b_all || a.hi_all - a.lo_all >= b.hi_all - b.lo_all)) {
        r.lo_all = a.lo_all;
        r.hi_all = a.hi_all;
    }
    return r;
}

RowRange complement(const RowRange& a, int32_t n) {
    RowRange r{0, n, 0, n};
    if (a.lo_all < a.hi_all) {
        if (a.lo_all <= 0) {
            r.lo_any = a.hi_all;
        } else if (a.hi_all >= n) {
            r.hi_any = a.lo_all;
        }
    }
    if (a.lo_any < a.hi_any) {
        if (a.lo_any >= n - a.hi_any) {
            r.hi_all = a.lo_any;
        } else {
            r.lo_all = a.hi_any;
        }
    }
    return r;
}

}  // namespace

RowRange row_range(const RangeProgram& program, const Evaluator& evaluator, const Shape& shape) {
    const int32_t n = shape.kv_len;
    if (n > key_range_max_length || shape.q_len > key_range_max_length) return unknown(n);
    const auto i32 = [&evaluator](int32_t node) { return static_cast<int32_t>(evaluator.node_bits(node)); };
    std::vector<int32_t> values;
    for (const RowValue& value : program.values) {
        const auto at = [&values](int32_t i) { return int64_t{values[static_cast<size_t>(i)]}; };
        switch (value.kind) {
        case RowValue::Kind::zero: values.push_back(0); break;
        case RowValue::Kind::node: values.push_back(i32(value.a)); break;
        case RowValue::Kind::add: values.push_back(wrap(at(value.a) + at(value.b))); break;
        case RowValue::Kind::sub: values.push_back(wrap(at(value.a) - at(value.b))); break;
        case RowValue::Kind::neg: values.push_back(wrap(-at(value.a))); break;
        }
    }
    const auto value = [&values](int32_t i) { return values[static_cast<size_t>(i)]; };
    std::vector<RowRange> ranges;
    for (const RangeStep& step : program.steps) {
        const auto range = [&ranges](int32_t i) -> const RowRange& { return ranges[static_cast<size_t>(i)]; };
        switch (step.kind) {
        case RangeStep::Kind::unknown: ranges.push_back(unknown(n)); break;
        case RangeStep::Kind::condition: ranges.push_back(everything_if(evaluator.node_bits(step.node) != 0, n)); break;
        case RangeStep::Kind::both: ranges.push_back(both(range(step.a), range(step.b))); break;
        case RangeStep::Kind::either: ranges.push_back(either(range(step.a), range(step.b))); break;
        case RangeStep::Kind::complement: ranges.push_back(complement(range(step.a), n)); break;
        case RangeStep::Kind::choose:
            ranges.push_back(evaluator.node_bits(step.node) != 0 ? range(step.a) : range(step.b));
            break;
        case RangeStep::Kind::compare: {
            KeyBounds kv = bounds_of(step.relation, value(step.bound));
            kv = solve(kv, step.outer, value(step.outer.offset), key_range_max_offset);
            if (step.divisor >= 0) {
                int32_t divisor = i32(step.divisor);
                if (step.divisor_is_shift) divisor = 1 << std::min(divisor & 31, 30);
                kv = times(kv, divisor);
                kv = solve(kv, step.inner, value(step.inner.offset), key_range_max_length);
            }
            const int32_t lo = std::clamp(kv.lo, 0, n);
            const int32_t hi = std::clamp(kv.hi, -1, n - 1) + 1;
            ranges.push_back(kv.known ? RowRange{lo, hi, lo, hi} : unknown(n));
            break;
        }
        }
    }
    return ranges.back();
}

}  // namespace vkattn::detail
