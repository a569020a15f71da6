// What attention costs besides attention: block masks, and starting from nothing.
#pragma once

#include <string>
#include <vector>

#include "report.h"

namespace vkattn::bench {

// causal, window, documents, prefix and NATTEN at 32k, 256k and 1M positions, blocks of 128 x 128, all threads.
Result<std::vector<BlockMaskResult>> measure_block_masks();

// Cold and warm, three times each, for a mask that was built ahead of time and, with a compiler, for one that was not. Before this process has threads.
std::vector<StartResult> measure_starts(const std::string& device);

}  // namespace vkattn::bench
