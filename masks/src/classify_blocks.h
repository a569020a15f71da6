// Classification of a part of the block grid.
#pragma once

#include "vkattn/classify.h"

namespace vkattn {

// The blocks [0, rows) x [0, columns) of every plane are known: they are not classified and stay empty in the result.
struct KnownBlocks {
    int64_t rows = 0;
    int64_t columns = 0;
};

Result<BlockMask> classify_blocks(const Mask& mask, const Shape& shape, const Bindings& bindings,
                                  const ClassifyOptions& options, const KnownBlocks& known);

}  // namespace vkattn
