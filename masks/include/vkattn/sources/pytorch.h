// PyTorch FlexAttention's notebook by its own names. docs/sources/flex_attention.md has the whole table, also of what
// has the same name here anyway (create_block_mask, create_mask, BlockMask and its tensors).
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "vkattn/block_mask.h"
#include "vkattn/mask.h"

namespace vkattn::pytorch {

Mask noop_mask();
Mask causal_mask();
Mask sliding_window_causal_mask(Expr sliding_window);  // causal, q - kv <= sliding_window: one key more than its name
Mask prefix_lm_causal_mask(Expr prefix_length);        // kv <= prefix_length || causal: one key more than prefix()
Mask document_causal_mask(TableExpr document_id);      // document_id[max(q_len, kv_len)]
Mask sasa_mask(Expr canvas_width, Expr window);        // |dx| <= window, |dy| <= window
Mask natten_mask(Expr W, Expr H, Expr K_W, Expr K_H);  // natten(): the notebook's own is that for W = H, odd K_W = K_H

// A mask inside each sequence of a jagged batch: positions are counted from the sequence's start.
// offsets [n + 1] (nested tensor's offsets()), seq_idx [total] as build_seq_idx makes it.
Mask create_njt_wrapper(const Mask& orig_mask_mod, TableExpr offsets, TableExpr seq_idx);
// The sequence of each position below the last offset. Offsets start with 0, do not decrease and end above 0.
Result<TableData> build_seq_idx(const std::vector<int32_t>& offsets);

// Flamingo: image_boundaries [kv_len] is each key's image, intervals [images, 2] the tokens [begin, end) that see it.
Mask vision_x_attention_mask(TableExpr image_boundaries, TableExpr intervals);

Mask and_masks(std::initializer_list<Mask> masks);  // of none: every pair
Mask or_masks(std::initializer_list<Mask> masks);   // of none: no pair

ScoreMod causal_bias();                                   // the score, -inf where kv > q
ScoreMod checkerboard();                                  // half the score where kv - q is odd, twice where even
ScoreMod alibi_and_causal_closure(TableExpr alibi_bias);  // slopes [Hq]; the causal part is a mask of its own
ScoreMod alibi_and_causal_functional();                   // slopes 2^(-8 (h + 1) / Hq), computed
ScoreMod tanh_soft_cap(Expr soft_cap);                    // soft_cap * tanh(score / soft_cap); the notebook's cap is 2

// BlockMask.to_string: a character twice for grid cells of blocks ("█" all computed, " " none, "░" some). grid_size:
// at most so many cells a side, below 1: a cell a block. At most `limit` of the batch entries and heads.
std::string to_string(const BlockMask& block_mask, int32_t grid_size = 20, int32_t limit = 4);

}  // namespace vkattn::pytorch
