#pragma once

#include "vkattn/expr.h"

namespace vkattn::detail {

// NATTEN on one axis: `key` is among the `kernel` places around x, the window shifted inward at the borders; an even
// kernel reaches one further down. A kernel beyond `size` is the whole axis.
inline Expr natten_axis(const Expr& x, const Expr& key, const Expr& size, const Expr& kernel) {
    const Expr n_keys = min(kernel, size);
    const Expr start = clamp(x - n_keys / 2, 0, size - n_keys);
    return key >= start && key < start + n_keys;
}

}  // namespace vkattn::detail
