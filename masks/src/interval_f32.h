// The float domain of classification: every value that an f32 expression can have over a box, on any Vulkan device.
//
// Intervals contain the IEEE result, what a device may give within Vulkan's precision rules (section "Precision and
// Operation of SPIR-V Instructions"; a multiply and an add may be fused, denormals may be flushed to zero) and what
// std:: functions give on the host. A comparison that both outcomes are possible for stays undecided, and its block
// partial.
#pragma once

#include "affine.h"
#include "vkattn/tree.h"

namespace vkattn::analysis {

struct IntervalF32 {
    float lo = 0.0f, hi = 0.0f;  // lo <= hi, infinities allowed
    bool nan = false;            // may also be NaN
};

IntervalF32 any_f32();
IntervalF32 exact_f32(float value);                  // a literal, param or table element
IntervalF32 hull_f32(float lo, float hi, bool nan);  // of table elements
IntervalF32 either(const IntervalF32& x, const IntervalF32& y);
IntervalF32 from_i32(const Affine& x);
Affine to_i32(const IntervalF32& x);  // toward zero, saturating; NaN is 0

// Ops with result type f32 and f32 operands. Others (leaves, selects, conversions) are the caller's and give any_f32().
IntervalF32 apply(Op op, const IntervalF32& x, const IntervalF32& y);
Affine less(const IntervalF32& x, const IntervalF32& y);
Affine less_equal(const IntervalF32& x, const IntervalF32& y);
Affine equal(const IntervalF32& x, const IntervalF32& y);

}  // namespace vkattn::analysis
