// xformers' attention biases that are masks (github.com/facebookresearch/xformers, xformers.ops.fmha.attn_bias).
//
// Conventions: LowerTriangular and BlockDiagonalCausal are aligned upper left, everything "FromBottomRight" or
// "WithOffset" lower right, per block. window_size counts keys: a query sees the window_size keys up to its own place
// (q - kv < window_size). window_left and window_right are inclusive distances. Where xformers refuses blocks with
// fewer keys than queries, here the rows without keys give o = 0.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "vkattn/mask.h"

namespace vkattn::xformers {

Mask lower_triangular();                                                            // causal()
Mask lower_triangular_from_bottom_right();                                          // causal_lower_right()
Mask lower_triangular_from_bottom_right_local_attention(int32_t window_size);       // lower_right(last_n_keys(n))
Mask local_attention_from_bottom_right(int32_t window_left, int32_t window_right);  // lower_right(window(l, r))

// Where each block's keys lie.
struct Keys {
    std::vector<int32_t> starts;   // [n]
    std::vector<int32_t> lengths;  // [n]
};
Keys packed_keys(std::span<const int32_t> kv_seqlen);                      // one after the other
Keys padded_keys(std::span<const int32_t> kv_seqlen, int32_t kv_padding);  // block i starts at i * kv_padding
Keys gappy_keys(std::span<const int32_t> kv_seqstart, std::span<const int32_t> kv_seqlen);  // [n + 1] or [n], [n]

// Queries are packed by q_seqlen [n]; queries of block i see keys of block i. Captured tables and text as in
// flash_attention::varlen, under `name`.
//   block_diagonal                                BlockDiagonalMask, ..PaddedKeysMask, ..GappyKeysMask
//   block_diagonal_causal                         BlockDiagonalCausalMask
//   block_diagonal_causal_from_bottom_right       ..CausalFromBottomRightMask, ..CausalWithOffsetPaddedKeysMask,
//                                                 ..CausalWithOffsetGappyKeysMask
//   block_diagonal_causal_local_attention         ..CausalLocalAttentionMask
//   .._local_attention_from_bottom_right (causal) ..CausalLocalAttentionFromBottomRightMask,
//                                                 ..CausalLocalAttentionPaddedKeysMask
//   block_diagonal_local_attention                ..LocalAttentionPaddedKeysMask,
//                                                 ..LocalAttentionFromBottomRightGappyKeysMask
Mask block_diagonal(std::span<const int32_t> q_seqlen, const Keys& keys, std::string_view name = "seq");
Mask block_diagonal_causal(std::span<const int32_t> q_seqlen, const Keys& keys, std::string_view name = "seq");
Mask block_diagonal_causal_from_bottom_right(std::span<const int32_t> q_seqlen, const Keys& keys,
                                             std::string_view name = "seq");
Mask block_diagonal_causal_local_attention(std::span<const int32_t> q_seqlen, const Keys& keys, int32_t window_size,
                                           std::string_view name = "seq");
Mask block_diagonal_causal_local_attention_from_bottom_right(std::span<const int32_t> q_seqlen, const Keys& keys,
                                                             int32_t window_size, std::string_view name = "seq");
Mask block_diagonal_local_attention(std::span<const int32_t> q_seqlen, const Keys& keys, int32_t window_left,
                                    int32_t window_right, std::string_view name = "seq");

// The Paged masks: `mask` is the one without pages, over keys of padded_keys(kv_seqlen, pages * page_size) (or gappy
// ones in that space); the result is over the keys as the pages lie in memory. block_tables [n blocks, pages]: the page
// that holds each block's i-th page_size keys; what stands behind a block's last page is not read. A page may serve
// several blocks; of a page that a block names twice the first place counts. Captured tables: `name`_seq [q + 1], q's
// block, and `name`_of [n blocks + 1, physical pages + 1], the place of a page in a block's order counted over all blocks,
// or -1. As text, with n for page_size:
//   page_of[page_seq[q], kv / n] >= 0 && ..., the mask at kv = page_of[page_seq[q], kv / n] * n + kv % n
// Errors: tables of the wrong size, negative pages, 2^28 places and more.
Mask make_paged(const Mask& mask, std::span<const int32_t> q_seqlen, std::span<const int32_t> block_tables,
                int32_t page_size, std::string_view name = "page");

}  // namespace vkattn::xformers
