// How time grows with the blocks that are not masked: what a block costs, and what a call costs besides.
#pragma once

#include <optional>
#include <span>

#include "report.h"

namespace vkattn::bench {

// Blocks of 128 x 128 that the case's lists keep, each head's own.
double unmasked_blocks(const CaseResult& result);

// call + row * query rows + block * blocks through all cases of group "blocks" that were measured, least squares of relative errors,
// so that short calls count as much as long ones; of least times, which what else the machine does changes less than medians. None: fewer than two lengths or three numbers of blocks.
std::optional<BlockGrowth> fit_block_growth(std::span<const CaseResult> cases);

}  // namespace vkattn::bench
