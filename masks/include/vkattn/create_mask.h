// Dense masks, for hosts and tests that want one. The library itself never makes them: their size is that of the plane.
#pragma once

#include <cstdint>
#include <vector>

#include "vkattn/bindings.h"
#include "vkattn/mask.h"
#include "vkattn/result.h"

namespace vkattn {

// PyTorch's create_mask: one byte a pair, [B, Hq, q_len, kv_len], 1 where it attends. A shape with q_heads = 1 gives the
// broadcast head dimension of masks that do not depend on h. Above max_bytes an error that says how many it would take.
Result<std::vector<uint8_t>> create_mask(const Mask& mask, const Shape& shape, const Bindings& bindings = {},
                                         uint64_t max_bytes = 256u << 20);
// Of a score mod: 0 where it makes -inf of a score of 0, as PyTorch does.
Result<std::vector<uint8_t>> create_mask(const ScoreMod& score_mod, const Shape& shape, const Bindings& bindings = {},
                                         uint64_t max_bytes = 256u << 20);

// Additive masks in the same order: 0 where a pair attends, the type's lowest finite number (finfo.min) where it does
// not. A row of nothing but finfo.min averages all its keys uniformly once softmax has been through it
// (unattended_rows.h).
Result<std::vector<float>> additive_mask_f32(const Mask& mask, const Shape& shape, const Bindings& bindings = {},
                                             uint64_t max_bytes = 256u << 20);
// The bits of f16: 0 and -65504.
Result<std::vector<uint16_t>> additive_mask_f16(const Mask& mask, const Shape& shape, const Bindings& bindings = {},
                                                uint64_t max_bytes = 256u << 20);

}  // namespace vkattn
