// The record's two masks for sequences of any length: one mask with the window as a scalar, and lists that are classified once
// a sequence. A window's lists are the same with smaller counts.
#pragma once

#include <memory>

#include "vkattn/bindings.h"
#include "vkattn/block_mask.h"
#include "vkattn/mask.h"
#include "vkattn/result.h"
#include "vkattn/sources/nanogpt.h"

namespace long_short_windows {

using vkattn::modded_nanogpt::block_size;

// Windows in blocks, at least 1: a block sees itself.
struct Windows {
    int32_t long_blocks = 1;
    int32_t short_blocks = 1;
};
// The record's: the long one grows from one block to `last_tokens`, rounded up to blocks; the short one is half of it.
Windows windows_at(int32_t step, int32_t steps, int32_t last_tokens);

// The document of each token, [tokens].
using Documents = std::shared_ptr<const vkattn::TableData>;

// table docs, scalar window_size_blocks
vkattn::Mask windowed_documents();
vkattn::Bindings bindings_of(const Documents& documents, int32_t window_blocks);
vkattn::Shape shape_of(int32_t heads, const Documents& documents);

// The lists of windowed_documents() without a window, newest key block first: what clamp_to_window takes. Ragged blocks at the
// end of a sequence are partial, so that every row's own block is.
vkattn::Result<vkattn::PaddedBlocks> newest_first_lists(const Documents& documents);

// [0] the long mask's lists, [1] the short one's, made of the long one's.
struct ListPair {
    vkattn::BlockMask masks[2];
};
vkattn::Result<ListPair> lists_for(const vkattn::PaddedBlocks& newest_first, const vkattn::Shape& shape,
                                   const Windows& windows);

}  // namespace long_short_windows
