// Pictures of a mask: blocks told apart as full, partial and empty.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "vkattn/block_mask.h"

namespace vkattn {

struct PictureOptions {
    int32_t max_width = 80;  // terminal columns; the picture is scaled down to fit, never up
    int32_t max_height = 40;
    int32_t b = 0;  // clamped to what there is
    int32_t h = 0;
    bool colour = false;  // ANSI colours besides the glyphs
};

// Text (UTF-8, every line ends with \n): a header (shape, block size, sparsity, counts), the grid, a legend. One
// glyph stands for one or more blocks: full or empty when all of them are, partial otherwise.
std::string terminal_picture(const BlockMask& block_mask, const PictureOptions& options = {});
// A self-contained SVG document of one (b, h); equal runs of neighbouring rows are one rectangle, so its size follows
// the runs.
std::string svg_picture(const BlockMask& block_mask, const PictureOptions& options = {});

// RGB, 3 bytes a pixel, row-major, no side longer than max_side. Large masks are averaged down with their proportions
// kept, small ones enlarged by a whole factor of at most 16.
struct Raster {
    int32_t width = 0, height = 0;
    std::vector<uint8_t> rgb;
};
Raster raster_picture(const BlockMask& block_mask, int32_t max_side = 1024, int32_t b = 0, int32_t h = 0);

}  // namespace vkattn
