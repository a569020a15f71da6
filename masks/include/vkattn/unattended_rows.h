// Query rows that attend to nothing. Here such a row gives o = 0 and lse = -inf; systems that add or write a large
// finite number into the scores average over all keys instead. With the table of these rows both can be had.
#pragma once

#include <cstdint>

#include "vkattn/bindings.h"
#include "vkattn/mask.h"
#include "vkattn/result.h"

namespace vkattn {

// The rows in which no pair attends: bool [B or 1, Hq or 1, q_len], 1 where the mask does not depend on b or h (table
// indices are clamped, so it broadcasts). Found by classification, one block a row. Code::invalid_argument for a shape
// without queries: a table has at least one element.
Result<TableData> unattended_rows(const Mask& mask, const Shape& shape, const Bindings& bindings = {});

// Hugging Face's _unmask_unattended: those rows attend to every key, by their scores.
Mask unmask_unattended(const Mask& mask, TableExpr rows);
// With unmask_unattended: those rows average every key with equal weights, which is what softmax makes of a row filled
// with one finite number (Hugging Face's eager attention, penzai).
ScoreMod uniform_unattended(TableExpr rows);

}  // namespace vkattn
