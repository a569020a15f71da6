// A folder for one test's files, removed with it.
#pragma once

#include <atomic>
#include <chrono>
#include <filesystem>
#include <string>
#include <system_error>

namespace vkattn::test {

class TemporaryFolder {
  public:
    TemporaryFolder() {
        static std::atomic<unsigned> serial{0};
        const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
        path_ = std::filesystem::temp_directory_path() /
                ("vkattn_test_" + std::to_string(now) + "_" + std::to_string(serial++));
        std::filesystem::create_directories(path_);
    }
    ~TemporaryFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;

    std::filesystem::path operator/(const char* name) const { return path_ / name; }
    std::filesystem::path path() const { return path_; }

  private:
    std::filesystem::path path_;
};

}  // namespace vkattn::test
