// modded-nanogpt's long-short sliding windows: documents, causal, windows counted in blocks, lists in newest-first
// order, the short mask made from the long one by clamping its counts. docs/sources/modded_nanogpt.md.
#pragma once

#include <cstdint>
#include <span>

#include "vkattn/block_mask.h"
#include "vkattn/mask.h"
#include "vkattn/result.h"

namespace vkattn::modded_nanogpt {

constexpr int32_t end_of_text = 50256;  // GPT-2's; it opens the document that it stands in front of
constexpr int32_t block_size = 128;

// docs [tokens]: how many end-of-text markers there are up to and with each token. At least one token.
Result<TableData> documents(std::span<const int32_t> tokens, int32_t end_of_text_id = end_of_text);

Mask document_causal(TableExpr docs);
// document_causal in the newest window_size_blocks blocks of keys, the query's own block counted; below 1 is like 1.
// The same pairs as the lists below, with the window as a scalar: param("window_size_blocks") grows from step to step
// without a new list or pipeline.
Mask document_causal_window(TableExpr docs, Expr window_size_blocks, Expr block = block_size);

// The record's two lists, newest block first. `all` are the lists without a window.
struct BlockMasks {
    PaddedBlocks long_bm;
    PaddedBlocks short_bm;  // half the window, rounded down
};
// Code::invalid_argument unless the tokens fill whole blocks. window_size_blocks >= 1.
Result<BlockMasks> create_blockmasks(std::span<const int32_t> tokens, int32_t window_size_blocks,
                                     int32_t end_of_text_id = end_of_text);
// Any window from the lists without one: only the counts change, so a device can do it too. Where the source lets the
// full counts of a window of 0 become -1 they are 0 here.
PaddedBlocks clamp_to_window(PaddedBlocks all_newest_first, int32_t window_size_blocks);

}  // namespace vkattn::modded_nanogpt
