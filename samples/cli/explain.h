// Which term of a mask lets a pair through or stops it.
#pragma once

#include <string>

#include "vkattn/bindings.h"
#include "vkattn/mask.h"

namespace vkattn::cli {

struct Pair {
    int32_t b = 0, h = 0, q = 0, kv = 0;
};
Result<Pair> parse_pair(std::string_view text, const Shape& shape);  // "b,h,q,kv", inside the shape

// Lines for a person: whether the pair attends, then the terms of the mask's && and || with their values; those that decide are marked.
Result<std::string> explain(const Mask& mask, const Shape& shape, const Bindings& bindings, const Pair& pair);

}  // namespace vkattn::cli
