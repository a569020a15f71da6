// Hugging Face transformers by its own names: AttentionMaskConverter (modeling_attn_mask_utils) and the mask functions
// of masking_utils. Their windows differ by one: the converter keeps w + 1 keys, masking_utils keeps w.
// docs/sources/hugging_face.md has the whole table.
#pragma once

#include <cstdint>
#include <optional>

#include "vkattn/bindings.h"
#include "vkattn/mask.h"
#include "vkattn/result.h"

namespace vkattn::hugging_face {

// Masks instead of dense 4-D tensors; create_mask.h makes those of them. Lengths are the problem's:
// past_key_values_length is kv_len - q_len, queries are aligned with the last keys.
class AttentionMaskConverter {
  public:
    // sliding_window: causal, and the w + 1 keys q - w .. q (checked by running it). Without causality it is an error,
    // as there.
    explicit AttentionMaskConverter(bool is_causal, std::optional<Expr> sliding_window = std::nullopt);

    Mask to_causal_4d() const;  // an error unless is_causal
    // attention_mask [B, kv_len]: i32 or bool, 0 for padding.
    Mask to_4d(TableExpr attention_mask) const;

  private:
    bool is_causal_;
    std::optional<Expr> sliding_window_;
};

// masking_utils: q and kv are raw positions; add_offsets_to_mask_function places them in a cache.
Mask causal_mask_function();
Mask bidirectional_mask_function();
Mask sliding_window_overlay(Expr sliding_window);                      // kv > q - w, not causal by itself
Mask sliding_window_causal_mask_function(Expr sliding_window);         // w keys
Mask sliding_window_bidirectional_overlay(Expr sliding_window);        // |q - kv| <= w: w on either side
Mask sliding_window_bidirectional_mask_function(Expr sliding_window);  // the same
// Chunks of chunk_size positions, counted after each entry's left_padding [B].
Mask chunked_overlay(Expr chunk_size, TableExpr left_padding);
Mask chunked_causal_mask_function(Expr chunk_size, TableExpr left_padding);
// block_sequence_ids [B, positions]: pairs in one block, ids below 0 are in none. To be joined with ||.
Mask blockwise_overlay(TableExpr block_sequence_ids);
Mask padding_mask_function(TableExpr padding_mask);                  // [B, positions], 0 for padding
Mask packed_sequence_mask_function(TableExpr packed_sequence_mask);  // [B, positions], sequence numbers
Mask add_offsets_to_mask_function(const Mask& mask_function, Expr q_offset, Expr kv_offset);

// From position_ids [B, positions] the sequence numbers: a new one begins where the position is not the last one's
// successor. All 0 where there they give None.
Result<TableData> find_packed_sequence_indices(const TableData& position_ids);
// attention_mask [B, seen] padded with 0 up to kv_length + kv_offset positions.
Result<TableData> prepare_padding_mask(const TableData& attention_mask, int32_t kv_length, int32_t kv_offset);
// The zeros before each entry's first 1 in attention_mask [B, positions]: chunked_overlay's left_padding.
Result<TableData> left_padding_tokens(const TableData& attention_mask);

// The decision to drop a mask because F.scaled_dot_product_attention(is_causal = q_len > 1) attends to the same pairs:
// every pair for one query, causal ones for q_len = kv_len; never for other lengths, where alignments differ. Proven by
// classification, so it also holds where Hugging Face does not look (a window as long as the sequence).
Result<bool> ignore_causal_mask_sdpa(const Mask& mask, const Shape& shape, const Bindings& bindings = {});
// Likewise where every pair attends.
Result<bool> ignore_bidirectional_mask_sdpa(const Mask& mask, const Shape& shape, const Bindings& bindings = {});

}  // namespace vkattn::hugging_face
