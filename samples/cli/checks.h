// Checks of option values, with messages that say what would be right.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

namespace vkattn::cli {

CLI::Validator one_of(std::vector<std::string> names);
CLI::Validator whole_number(int64_t low, int64_t high);

}  // namespace vkattn::cli
