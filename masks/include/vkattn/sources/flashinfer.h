// FlashInfer's packed custom masks (github.com/flashinfer-ai/flashinfer, packed_custom_mask; sglang's tree masks).
//
// Requests are packed by qo_indptr and kv_indptr. Request i's mask is a bool [qo_len, kv_len], row-major, eight to a
// byte, the first in the lowest bit (bitorder "little"); each request starts at a byte of its own, mask_indptr[i], as
// segment_packbits leaves it: the sum of ceil(qo_len * kv_len / 8) of those before it. 1 keeps the pair. There is no
// alignment: rows are the request's queries, columns its keys, whatever their numbers.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "vkattn/mask.h"

namespace vkattn::flashinfer {

// Captured tables: `name`_begin, `name`_end [q_len + 1], the keys of q's request, `name`_row [q_len + 1], the bit of
// (q, key 0) (negative where only later keys are the request's), and `name`_words [..], 32 bits each. As text:
//   cross_attention_intervals(custom_begin, custom_end)
//     && (custom_words[(custom_row[q] + kv) / 32] >> (custom_row[q] + kv) % 32 & 1) == 1
// Errors: indptrs that are none, bytes missing, 2^31 bits or more.
Mask packed_custom_mask(std::span<const uint8_t> packed, std::span<const int32_t> qo_indptr,
                        std::span<const int32_t> kv_indptr, std::string_view name = "custom");

}  // namespace vkattn::flashinfer
