// Several sequences packed into one: what FlashAttention's varlen interface, xformers' block-diagonal family and
// FlashInfer's ragged batches have in common.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vkattn/mask.h"

namespace vkattn::packed {

struct Range {  // positions [begin, end)
    int32_t begin = 0;
    int32_t end = 0;
};

enum class Align : uint8_t { upper_left, lower_right };  // first query with first key, or last with last

inline constexpr int32_t unlimited = -1;

// Query ranges ascend without gaps from 0; key ranges may lie anywhere. Queries of sequence i attend to its keys, of
// those with  -right <= q' - kv' <= left  where q' and kv' count from the aligned ends. Captured tables of total query
// length + 1: `name`_begin, `name`_end, and where a side is limited `name`_diagonal, with the key position that is
// aligned with q being q + diagonal[q]. Positions past the last sequence attend to nothing.
Mask mask(std::string_view name, const std::vector<Range>& q, const std::vector<Range>& kv, Align align, int32_t left,
          int32_t right);

Result<std::vector<Range>> from_offsets(std::string_view what, std::span<const int32_t> offsets);
Result<std::vector<Range>> from_lengths(std::string_view what, std::span<const int32_t> lengths);

// A table by name with its data, [data.size()].
TableExpr captured_i32(const std::string& name, std::vector<int32_t> data);

}  // namespace vkattn::packed
