// PNG through stb_image_write, which this file compiles.
#include "support/png.h"

#include <string>
#include <vector>

#include "support/file.h"

#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STBI_WRITE_NO_STDIO
#define STB_IMAGE_WRITE_STATIC
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#endif
#include <stb/stb_image_write.h>
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

namespace vkattn::support {

Status write_png(const std::filesystem::path& path, int32_t width, int32_t height, std::span<const uint8_t> rgb) {
    if (width < 1 || height < 1 || rgb.size() != static_cast<size_t>(width) * static_cast<size_t>(height) * 3)
        return error(Code::invalid_argument, "a picture of " + std::to_string(width) + " x " + std::to_string(height) +
                                                 " pixels cannot be made of " + std::to_string(rgb.size()) + " bytes");
    std::vector<uint8_t> encoded;
    const auto append = [](void* context, void* data, int size) {
        const auto* bytes = static_cast<const uint8_t*>(data);
        static_cast<std::vector<uint8_t>*>(context)->insert(static_cast<std::vector<uint8_t>*>(context)->end(), bytes,
                                                            bytes + size);
    };
    if (stbi_write_png_to_func(append, &encoded, width, height, 3, rgb.data(), width * 3) == 0)
        return error(Code::io_error, path.string() + ": the picture could not be encoded");
    const std::span<const uint8_t> chunk(encoded);
    return write_file(path, {&chunk, 1});
}

}  // namespace vkattn::support
