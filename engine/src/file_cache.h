// A folder of small binary files by key. Contract: a stale, truncated, foreign or corrupt file is a miss, never an error and
// never wrong bytes; writing replaces atomically; two processes may share a folder.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace vkattn {

class FileCache {
  public:
    // An empty directory switches the cache off. The folder is made on the first store.
    explicit FileCache(std::string directory) : directory_(std::move(directory)) {}

    // `kind` is a short file name prefix ("spirv"); `key` any text that names the content completely.
    std::optional<std::vector<uint8_t>> load(std::string_view kind, std::string_view key) const;
    // False when the file could not be written: the cache is then as it was.
    bool store(std::string_view kind, std::string_view key, const std::vector<uint8_t>& bytes) const;

  private:
    std::string path(std::string_view kind, std::string_view key) const;

    std::string directory_;
};

}  // namespace vkattn
