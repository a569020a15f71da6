// Whole files in and out.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "vkattn/result.h"

namespace vkattn::support {

// Errors name the path and the reason. A file larger than max_bytes is an error before memory is spent.
Result<std::vector<uint8_t>> read_file(const std::filesystem::path& path, uint64_t max_bytes = UINT64_MAX);

// The chunks one after the other, written beside `path` and renamed over it. What is not a regular file (a pipe, /dev/null) is
// written directly.
Status write_file(const std::filesystem::path& path, std::span<const std::span<const uint8_t>> chunks);
Status write_file(const std::filesystem::path& path, std::string_view text);

}  // namespace vkattn::support
