// Pictures of a mask: blocks told apart as full, partial and empty.
#pragma once

#include <string>

#include "vkattn/block_mask.h"

namespace vkattn {

struct PictureOptions {
    int32_t max_width = 80;                 // terminal columns; the picture is scaled down to fit, never up
    int32_t max_height = 40;
    int32_t b = 0;
    int32_t h = 0;
    bool colour = false;                    // ANSI colours besides the glyphs
};

// Text: a header line (shape, block size, sparsity, counts), the grid (full, partial and empty glyphs), a legend.
std::string terminal_picture(const BlockMask& block_mask, const PictureOptions& options = {});
// A self-contained SVG document of one (b, h); runs are drawn as rectangles, so its size follows the runs.
std::string svg_picture(const BlockMask& block_mask, const PictureOptions& options = {});
// RGB, 3 bytes a pixel, row-major; at most max_width x max_height pixels, at least one block a pixel scaled by averaging.
struct Raster { int32_t width = 0, height = 0; std::vector<uint8_t> rgb; };
Raster raster_picture(const BlockMask& block_mask, int32_t max_side = 1024, int32_t b = 0, int32_t h = 0);

}  // namespace vkattn
