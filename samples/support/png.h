// PNG pictures.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>

#include "vkattn/result.h"

namespace vkattn::support {

// `rgb`: 3 bytes a pixel, row-major, width * height * 3 long.
Status write_png(const std::filesystem::path& path, int32_t width, int32_t height, std::span<const uint8_t> rgb);

}  // namespace vkattn::support
