#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace vkattn {

// The order in which tiles of query rows begin under a block list: those with the most key blocks first, by powers of two, neighbours
// within each, so that they still share keys. `blocks`: key blocks of each block row, `tiles_per_row` tiles of it, the last with
// what is left of `tiles`. Empty where no order is better than the rows' own: all rows weigh about the same, or there are too few.
std::vector<uint32_t> order_tiles(std::span<const uint64_t> blocks, uint32_t tiles_per_row, uint32_t tiles);

}  // namespace vkattn
