// penzai's masks over positions.
#include "vkattn/sources/penzai.h"

namespace vkattn::penzai {

namespace {

Expr causal(const Expr& q_position, const Expr& kv_position) { return q_position >= kv_position && kv_position >= 0; }
Expr causal_window(const Expr& q_position, const Expr& kv_position, const Expr& size) {
    return causal(q_position, kv_position) && q_position - kv_position < size;
}

}  // namespace

Mask apply_causal_attention_mask(TableExpr query_positions, TableExpr kv_positions) {
    return trace_mask([&](Index, Index, Index q, Index kv) { return causal(query_positions(q), kv_positions(kv)); });
}

Mask apply_causal_sliding_window_attention_mask(TableExpr query_positions, TableExpr kv_positions,
                                                Expr sliding_window_size) {
    return trace_mask([&](Index, Index, Index q, Index kv) {
        return causal_window(query_positions(q), kv_positions(kv), sliding_window_size);
    });
}

Mask apply_causal_attention_mask_batched(TableExpr query_positions, TableExpr kv_positions) {
    return trace_mask(
        [&](Index b, Index, Index q, Index kv) { return causal(query_positions(b, q), kv_positions(b, kv)); });
}

Mask apply_causal_sliding_window_attention_mask_batched(TableExpr query_positions, TableExpr kv_positions,
                                                        Expr sliding_window_size) {
    return trace_mask([&](Index b, Index, Index q, Index kv) {
        return causal_window(query_positions(b, q), kv_positions(b, kv), sliding_window_size);
    });
}

}  // namespace vkattn::penzai
