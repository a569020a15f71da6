// FlashAttention's windows and packed sequences (github.com/Dao-AILab/flash-attention, flash_attn_func and
// flash_attn_varlen_func).
//
// window_size = (left, right) is inclusive on both sides and -1 is no limit; causal=True is right = 0. Everything is
// aligned lower right: query q stands at key q + (kv_len - q_len), of its own sequence where sequences are packed.
// Rows without keys give o = 0.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "vkattn/mask.h"

namespace vkattn::flash_attention {

// As text: lower_right(window(left, right)); lower_right(causal(right)) without limit to the left,
// lower_right(q - kv <= left) to the right, true on both sides. For windows that change from call to call write that
// text with scalars; here a changed number is a changed literal, which costs nothing either.
Mask window(int32_t left, int32_t right);
Mask causal();  // causal=True: causal_lower_right()

// cu_seqlens_q and cu_seqlens_k [batch + 1], offsets that start with 0. Captured tables, [cu_seqlens_q.back() + 1]:
// `name`_begin and `name`_end, the keys of q's sequence, and `name`_diagonal: q is aligned with key q + diagonal[q].
//   cross_attention_intervals(seq_begin, seq_end) && q + seq_diagonal[q] - kv <= left
//                                                 && kv - (q + seq_diagonal[q]) <= right
// without the comparison of a side that has no limit. Positions past the last offset attend to nothing.
Mask varlen(std::span<const int32_t> cu_seqlens_q, std::span<const int32_t> cu_seqlens_k, int32_t left = -1,
            int32_t right = -1, std::string_view name = "seq");

}  // namespace vkattn::flash_attention
