// GLSL of a RangeProgram: statements over the functions of shaders/include/row_ranges.glsl.
#pragma once

#include <functional>
#include <string>

#include "intervals.h"

namespace vkattn::detail {

// `node_name` gives the text of a row-level node of the tape. The statements declare v<i> and r<i>, need `int n` (kv_len) in scope,
// and end in a return.
std::string range_statements(const RangeProgram& program, const std::function<std::string(int32_t)>& node_name);
// The tape positions that those statements name.
std::vector<int32_t> range_nodes(const RangeProgram& program);

}  // namespace vkattn::detail
