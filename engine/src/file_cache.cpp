#include "file_cache.h"

#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <thread>

#include "vkattn/hash.h"

namespace vkattn {
namespace {

// Before the payload: which format, whose content, how long, and whether the bytes are the ones that were written.
struct Header {
    char magic[8];
    char key_hash[32];
    char payload_hash[32];
    uint64_t payload_bytes;
};
constexpr char magic[8] = {'v', 'k', 'a', 't', 't', 'n', '0', '1'};
constexpr uint64_t max_payload_bytes = 256u << 20;

struct CloseFile {
    void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

std::string_view text_of(const std::vector<uint8_t>& bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Header make_header(std::string_view key, const std::vector<uint8_t>& bytes) {
    Header header{};
    std::memcpy(header.magic, magic, sizeof magic);
    std::memcpy(header.key_hash, hash_hex(key).data(), sizeof header.key_hash);
    std::memcpy(header.payload_hash, hash_hex(text_of(bytes)).data(), sizeof header.payload_hash);
    header.payload_bytes = bytes.size();
    return header;
}

}  // namespace

std::string FileCache::path(std::string_view kind, std::string_view key) const {
    return directory_ + "/" + std::string(kind) + "-" + hash_hex(key) + ".bin";
}

std::optional<std::vector<uint8_t>> FileCache::load(std::string_view kind, std::string_view key) const {
    if (directory_.empty()) return std::nullopt;
    const File file(std::fopen(path(kind, key).c_str(), "rb"));
    if (file == nullptr) return std::nullopt;
    Header header{};
    if (std::fread(&header, sizeof header, 1, file.get()) != 1) return std::nullopt;
    if (std::memcmp(header.magic, magic, sizeof magic) != 0 || header.payload_bytes > max_payload_bytes)
        return std::nullopt;

    // Read in pieces: the header's length is not believed before the bytes are there.
    std::vector<uint8_t> bytes;
    while (bytes.size() <= header.payload_bytes) {
        uint8_t piece[65536];
        const size_t count = std::fread(piece, 1, sizeof piece, file.get());
        bytes.insert(bytes.end(), piece, piece + count);
        if (count < sizeof piece) break;
    }
    const Header expected = make_header(key, bytes);
    if (std::memcmp(&header, &expected, sizeof header) != 0) return std::nullopt;
    return bytes;
}

bool FileCache::store(std::string_view kind, std::string_view key, const std::vector<uint8_t>& bytes) const {
    if (directory_.empty() || bytes.size() > max_payload_bytes) return false;
    std::error_code code;
    std::filesystem::create_directories(directory_, code);
    const std::string target = path(kind, key);
    // A name that no other thread or process writes to at the same time: the time, the thread, and where its stack lies.
    const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
    const size_t thread = std::hash<std::thread::id>()(std::this_thread::get_id());
    const std::string temporary =
        target + "." + std::to_string(now) + "." + std::to_string(thread ^ reinterpret_cast<uintptr_t>(&now)) + ".tmp";
    bool written = false;
    if (const File file(std::fopen(temporary.c_str(), "wb")); file != nullptr) {
        const Header header = make_header(key, bytes);
        written = std::fwrite(&header, sizeof header, 1, file.get()) == 1 &&
                  std::fwrite(bytes.data(), 1, bytes.size(), file.get()) == bytes.size() &&
                  std::fflush(file.get()) == 0;
    }
    if (written) std::filesystem::rename(temporary, target, code);
    if (!written || code) {
        std::filesystem::remove(temporary, code);
        return false;
    }
    return true;
}

}  // namespace vkattn
