// penzai's attention mask layers: positions are data, so keys may lie in any order (a ring buffer), and a key with a
// negative position is padding. docs/sources/penzai.md has the table, and what penzai gives rows without keys.
#pragma once

#include "vkattn/mask.h"

namespace vkattn::penzai {

// query_positions [q_len], kv_positions [kv_len]; one table may serve as both.
Mask apply_causal_attention_mask(TableExpr query_positions, TableExpr kv_positions);
// Distances of sliding_window_size or more are masked: a query sees the last sliding_window_size positions.
Mask apply_causal_sliding_window_attention_mask(TableExpr query_positions, TableExpr kv_positions,
                                                Expr sliding_window_size);
// The same with positions [B, q_len] and [B, kv_len].
Mask apply_causal_attention_mask_batched(TableExpr query_positions, TableExpr kv_positions);
Mask apply_causal_sliding_window_attention_mask_batched(TableExpr query_positions, TableExpr kv_positions,
                                                        Expr sliding_window_size);

}  // namespace vkattn::penzai
