// A BlockMask in a safetensors file: U32 `row_offsets` [rows + 1], `runs` [n, 2] (first block and kind, number of blocks) and
// `slot_values` [m], and metadata_of's words in the header.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "support/safetensors.h"
#include "vkattn/block_mask.h"

namespace vkattn::support {

// The tensors point into `block_mask`.
std::vector<TensorSource> block_mask_tensors(const BlockMask& block_mask);

// A file is untrusted: what is missing, of another type or shape, or no valid list is an error that names it. The hashes are the
// file's word: they protect from stale lists, not from forged ones. A forged list reads and writes nothing outside of its buffers;
// its result is that of other blocks.
Result<BlockMask> read_block_mask(const Safetensors& file);

}  // namespace vkattn::support
