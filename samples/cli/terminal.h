// The terminal that the output goes to, if it does.
#pragma once

#include <cstdint>
#include <cstdio>

namespace vkattn::cli {

bool is_terminal(std::FILE* stream);
int32_t terminal_width();  // columns of stdout's terminal; 80 where it has none
bool wants_colour();       // stdout is a terminal and NO_COLOR is not set

}  // namespace vkattn::cli
