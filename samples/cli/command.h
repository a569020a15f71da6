// What the sub-commands share: exit codes, errors in one form, small parsers and printers.
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "vkattn/result.h"

namespace CLI {
class App;
}

namespace vkattn::cli {

inline constexpr int exit_ok = 0;
inline constexpr int exit_failed = 1;  // a wrong result, or something failed
inline constexpr int exit_usage = 2;   // bad usage, or bad input text or files

// A sub-command adds itself and sets `action` when it is the one that was called.
using Action = std::function<int()>;
void add_devices(CLI::App& app, Action& action);
void add_run(CLI::App& app, Action& action);
void add_mask(CLI::App& app, Action& action);
void add_tune(CLI::App& app, Action& action);

// "vkattn: --mask: column 3: ..." on stderr. Returns the exit code that belongs to the error.
int fail(const Status& status);
int usage_error(const std::string& message);
// The same Status with "what: " before its message.
Status about(std::string_view what, Status status);

// "a, b, c" with the given separator; number of parts is not limited. "" gives one empty part.
std::vector<std::string_view> split(std::string_view text, char separator);
// Decimal integers, the whole text.
Result<int64_t> parse_integer(std::string_view text, int64_t low, int64_t high);

struct BlockSize {
    int32_t q = 128, kv = 128;
};
Result<BlockSize> parse_block_size(std::string_view text);  // "128x64", "128"

// Of compiled shaders: the wish, where the system keeps such things, or none.
std::string cache_directory(const std::string& wish);

std::string fixed(double value, int digits);  // "%.*f"
std::string scientific(double value);         // "%.2e"

// A line on stderr that says what takes long, taken back when it is done. Nothing where stderr is not a terminal.
class Progress {
  public:
    explicit Progress(std::string_view what);
    ~Progress();
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

  private:
    bool shown_ = false;
};

// The named masks or score mods with their arguments and meanings, for --help.
std::string list_of_named_masks();
std::string list_of_named_score_mods();

}  // namespace vkattn::cli
