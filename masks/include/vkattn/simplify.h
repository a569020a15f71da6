// Simplification for one call: which terms of a mask still matter once lengths, scalars and tables are known.
#pragma once

#include <string>
#include <vector>

#include "vkattn/bindings.h"
#include "vkattn/mask.h"
#include "vkattn/result.h"

namespace vkattn {

struct Simplified {
    Mask mask;                         // keeps the same pairs as the original, for this shape and these values
    std::vector<std::string> reasons;  // one line a term that went, in the mask's order; none: `mask` is the original
    // The mask reads no lengths and no head counts: then the result also holds for any smaller shape, and a plan can
    // use it for all calls within its bounds.
    bool holds_for_smaller_shapes = false;
};

// What interval analysis proves about every pair of the shape, over all batch entries and query heads, is used: a
// condition that is always true or always false becomes that literal, a conjunct that another one implies goes, and so
// does a disjunct that implies another one. So a window no shorter than kv_len leaves causal(), causal_lower_right() is
// full for a single query, prefix(0) is causal(), padding without padded keys and documents with one id are full, and
// a window that reaches no key is empty; is_literal_true(result.mask.tree()) and is_literal_false say so. Hugging
// Face's _prepare_4d_causal_attention_mask_for_sdpa, which leaves out a mask that is not needed, decides a part of
// these. Terms whose scalars or tables have no value (in `bindings`, or a default or captured one) stay.
// Time: of the order of the mask's nodes times batch entries and heads that it tells apart (beyond 65,536 of them
// nothing is concluded from terms that do), and of the tables.
// Errors: a broken mask, a bad shape, a value of the wrong type.
Result<Simplified> simplify_for(const Mask& mask, const Shape& shape, const Bindings& bindings = {});

}  // namespace vkattn
