// FlashMask's startend_row_indices (arXiv 2410.01359; paddle.nn.functional.flashmask_attention).
//
// int32 [B | 1, Hkv | 1, Lkv, n]: for each key column the query rows that do not see it, as half-open ranges. Rows are
// raw positions; the causal part is aligned lower right, as in FlashAttention.
//   causal, n = 1:      masked from row start on
//   causal, n = 2:      masked in [start, end)
//   not causal, n = 2:  masked from row lower_start on, and before row upper_end
//   not causal, n = 4:  masked in [lower_start, lower_end) and in [upper_start, upper_end)
// As text, in that order, with i for  b, h / (q_heads / kv_heads), kv  (or 0 where that dimension is 1):
//   causal_lower_right() && q < rows[i, 0]
//   causal_lower_right() && (q < rows[i, 0] || q >= rows[i, 1])
//   q < rows[i, 0] && q >= rows[i, 1]
//   (q < rows[i, 0] || q >= rows[i, 1]) && (q < rows[i, 2] || q >= rows[i, 3])
#pragma once

#include <string_view>

#include "vkattn/mask.h"

namespace vkattn::flash_mask {

// The table is captured under `name`. Errors through Mask::status(): a type, shape or n that is none of these.
Mask startend_row_indices(TableData indices, bool causal, std::string_view name = "rows");

}  // namespace vkattn::flash_mask
