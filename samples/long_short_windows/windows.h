// The record's two masks. One mask in words, documents && causal && window in blocks; long and short differ in a scalar and in
// how many of the newest blocks of each row their lists keep.
#pragma once

#include <span>

#include "vkattn/bindings.h"
#include "vkattn/block_mask.h"
#include "vkattn/mask.h"
#include "vkattn/result.h"

namespace long_short_windows {

constexpr int32_t block_size = 128;  // queries and keys of a block, and the unit of the windows

// Windows in blocks, at least 1: a block sees itself.
struct Windows {
    int32_t long_blocks = 1;
    int32_t short_blocks = 1;
};
// The record's: the long one grows from one block to `last_tokens`, rounded up to blocks; the short one is half of it.
Windows windows_at(int32_t step, int32_t steps, int32_t last_tokens);

// table doc [n], scalar window_blocks
vkattn::Mask windowed_documents();
vkattn::Bindings bindings_of(std::span<const int32_t> documents, int32_t window_blocks);

// The lists of windowed_documents() without an effective window, newest key block first: classified once a sequence.
vkattn::Result<vkattn::PaddedBlocks> newest_first_lists(std::span<const int32_t> documents);

// The same lists, where each row keeps the blocks of the window only: counts become smaller, indices stay as they are.
// Blocks are newest first, so what is kept is the beginning of a row's list.
vkattn::PaddedBlocks clamped(vkattn::PaddedBlocks newest_first, int32_t window_blocks);

vkattn::Shape shape_of(int32_t heads, int32_t length);

}  // namespace long_short_windows
