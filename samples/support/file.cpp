// Whole files, through the C library: no exceptions on the way.
#include "support/file.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <system_error>

namespace vkattn::support {
namespace {

struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, Close>;

File open(const std::filesystem::path& path, const char* mode) {
#ifdef _WIN32
    const std::wstring wide(mode, mode + std::strlen(mode));
    return File(_wfopen(path.c_str(), wide.c_str()));
#else
    return File(std::fopen(path.c_str(), mode));
#endif
}

Status failed(const std::filesystem::path& path, const std::string& what) {
    return error(Code::io_error, path.string() + ": " + what);
}
Status failed(const std::filesystem::path& path) { return failed(path, std::strerror(errno)); }

// `path` is for messages: the name that the user gave, not that of the temporary file.
Status write_to(const std::filesystem::path& target, std::span<const std::span<const uint8_t>> chunks,
                const std::filesystem::path& path) {
    File file = open(target, "wb");
    if (!file) return failed(path);
    for (const std::span<const uint8_t>& chunk : chunks)
        if (!chunk.empty() && std::fwrite(chunk.data(), 1, chunk.size(), file.get()) != chunk.size())
            return failed(path);
    if (std::fclose(file.release()) != 0) return failed(path);  // a full disk is told about here at the latest
    return {};
}

}  // namespace

Result<std::vector<uint8_t>> read_file(const std::filesystem::path& path, uint64_t max_bytes) {
    std::error_code status;
    if (std::filesystem::is_directory(path, status)) return failed(path, "is a directory");
    File file = open(path, "rb");
    if (!file) return failed(path);
    // The size is a hint for one allocation; what is read decides (pipes have none, files may grow).
    const uint64_t size_hint = std::filesystem::file_size(path, status);
    std::vector<uint8_t> bytes;
    if (!status) {
        if (size_hint > max_bytes) return failed(path, "is larger than " + std::to_string(max_bytes) + " bytes");
        bytes.reserve(static_cast<size_t>(size_hint) + 1);  // one more shows the end
    }
    constexpr size_t step = 1u << 20;
    size_t filled = 0;
    while (true) {
        bytes.resize(std::min<uint64_t>(filled + step, std::max<uint64_t>(bytes.capacity(), filled + 1)));
        const size_t got = std::fread(bytes.data() + filled, 1, bytes.size() - filled, file.get());
        filled += got;
        if (filled > max_bytes) return failed(path, "is larger than " + std::to_string(max_bytes) + " bytes");
        if (got == 0) break;
    }
    if (std::ferror(file.get()) != 0) return failed(path);
    bytes.resize(filled);
    return bytes;
}

Status write_file(const std::filesystem::path& path, std::span<const std::span<const uint8_t>> chunks) {
    std::error_code status;
    std::filesystem::path target = path;
    if (std::filesystem::is_symlink(path, status)) {
        target = std::filesystem::canonical(path, status);  // the file that the link names is replaced, not the link
        if (status) return write_to(path, chunks, path);
    }
    const auto kind = std::filesystem::status(target, status).type();
    if (kind == std::filesystem::file_type::directory) return failed(path, "is a directory");
    if (kind != std::filesystem::file_type::regular && kind != std::filesystem::file_type::not_found)
        return write_to(target, chunks, path);

    std::filesystem::path temporary = target;
    static std::atomic<uint32_t> serial{0};
    const auto now = std::chrono::system_clock::now().time_since_epoch().count();
    temporary += ".tmp" + std::to_string(now) + "_" + std::to_string(serial++);
    if (Status written = write_to(temporary, chunks, path); !written.ok()) {
        std::filesystem::remove(temporary, status);
        return written;
    }
    std::filesystem::rename(temporary, target, status);
    if (status) {
        std::error_code ignored;
        std::filesystem::remove(temporary, ignored);
        return failed(path, status.message());
    }
    return {};
}

Status write_file(const std::filesystem::path& path, std::string_view text) {
    const std::span<const uint8_t> chunk(reinterpret_cast<const uint8_t*>(text.data()), text.size());
    return write_file(path, {&chunk, 1});
}

}  // namespace vkattn::support
