// The page: every example with its picture, both forms and its table, in one HTML file that refers to nothing outside itself.
#pragma once

#include <string>
#include <vector>

#include "attention_bench.h"

namespace flex_notebook {

struct PageFacts {
    std::string device;  // name and driver
    Sizes sizes;
    uint64_t pipelines = 0;
    bool device_clock = true;
};

// Well-formed XML as well as HTML. Device names come from a driver: everything is escaped.
vkattn::Result<std::string> html_page(const PageFacts& facts, const std::vector<Outcome>& outcomes);

// The mask of one instance over a grid of at most rows x columns blocks of equal size, for pictures.
vkattn::Result<vkattn::BlockMask> picture_blocks(const Example& example, const Instance& instance, int32_t rows,
                                                 int32_t columns);

// "12 full, 8 partial, 44 empty of 64 blocks of 128 x 128: 68.8 % sparse; 23.4 % of the pairs attend"
std::string sparsity_text(const Outcome& outcome);
// "200 x 200: worst row error 1.2e-07, at most 4.1e-07 (causal ..., dense ...)"
std::string check_text(const Outcome& outcome);

}  // namespace flex_notebook
