#include "tile_order.h"

#include <algorithm>
#include <bit>
#include <numeric>

namespace vkattn {

std::vector<uint32_t> order_tiles(std::span<const uint64_t> blocks, uint32_t tiles_per_row, uint32_t tiles) {
    const size_t rows = (size_t{tiles} + tiles_per_row - 1) / tiles_per_row;
    if (rows < 2 || blocks.size() < rows) return {};
    const auto weight = [&](uint32_t tile) { return std::bit_width(blocks[tile / tiles_per_row]); };
    std::vector<uint32_t> order(tiles);
    std::iota(order.begin(), order.end(), 0u);
    const auto heavier = [&](uint32_t a, uint32_t b) { return weight(a) > weight(b); };
    if (std::is_sorted(order.begin(), order.end(), heavier)) return {};
    std::stable_sort(order.begin(), order.end(), heavier);
    return order;
}

}  // namespace vkattn
