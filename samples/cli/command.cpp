#include "command.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "terminal.h"
#include "vkattn/named.h"

namespace vkattn::cli {
namespace {

std::string list_of(std::span<const NamedEntry> entries) {
    size_t width = 0;
    for (const NamedEntry& entry : entries) width = std::max(width, signature(entry).size());
    std::string text;
    for (const NamedEntry& entry : entries) {
        const std::string call = signature(entry);
        text += "  " + call + std::string(width - call.size() + 2, ' ') + std::string(entry.meaning) + "\n";
    }
    return text;
}

}  // namespace

int fail(const Status& status) {
    std::fprintf(stderr, "vkattn: %s\n", status.message.c_str());
    switch (status.code) {
    case Code::ok:
    case Code::unsupported:
    case Code::compile_failed:
    case Code::device_error:
    case Code::io_error: return exit_failed;
    case Code::invalid_argument:
    case Code::invalid_text:
    case Code::limit_exceeded: return exit_usage;
    }
    return exit_failed;
}

int usage_error(const std::string& message) { return fail(error(Code::invalid_argument, message)); }

Status about(std::string_view what, Status status) {
    if (!status.ok()) status.message = std::string(what) + ": " + status.message;
    return status;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
    std::vector<std::string_view> parts;
    while (true) {
        const size_t at = text.find(separator);
        parts.push_back(text.substr(0, at));
        if (at == std::string_view::npos) return parts;
        text.remove_prefix(at + 1);
    }
}

Result<int64_t> parse_integer(std::string_view text, int64_t low, int64_t high) {
    int64_t value = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
    if (parsed.ec == std::errc() && parsed.ptr == text.data() + text.size() && value >= low && value <= high)
        return value;
    return error(Code::invalid_argument, "'" + std::string(text) + "' is no whole number from " + std::to_string(low) +
                                             " to " + std::to_string(high));
}

Result<BlockSize> parse_block_size(std::string_view text) {
    constexpr int64_t largest = 1 << 20;
    const auto parts = split(text, 'x');
    BlockSize size;
    if (parts.size() > 2)
        return error(Code::invalid_argument,
                     "'" + std::string(text) + "' is no block size; 128x128 is one (queries x keys)");
    const auto q = parse_integer(parts.front(), 1, largest);
    const auto kv = parse_integer(parts.back(), 1, largest);
    if (!q || !kv)
        return about("'" + std::string(text) + "' is no block size like 128x128 (queries x keys)",
                     (q ? kv : q).status());
    size.q = static_cast<int32_t>(*q);
    size.kv = static_cast<int32_t>(*kv);
    return size;
}

std::string cache_directory(const std::string& wish) {
    if (wish == "none") return {};
    if (!wish.empty()) return wish;
#ifdef _WIN32
    const char* root = std::getenv("LOCALAPPDATA");
    return root == nullptr ? std::string() : std::string(root) + "\\vkattn";
#else
    const char* root = std::getenv("XDG_CACHE_HOME");
    if (root != nullptr && *root == '/') return std::string(root) + "/vkattn";
    const char* home = std::getenv("HOME");
    return home == nullptr || *home != '/' ? std::string() : std::string(home) + "/.cache/vkattn";
#endif
}

std::string fixed(double value, int digits) {
    char text[64];
    std::snprintf(text, sizeof text, "%.*f", digits, value);
    return text;
}

std::string scientific(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.2e", value);
    return text;
}

Progress::Progress(std::string_view what) {
    if (!is_terminal(stderr)) return;
    shown_ = true;
    std::fprintf(stderr, "%.*s ...", static_cast<int>(what.size()), what.data());
    std::fflush(stderr);
}

Progress::~Progress() {
    if (shown_) std::fputs("\r\x1b[K", stderr);
}

std::string list_of_named_masks() { return list_of(named_masks()); }
std::string list_of_named_score_mods() { return list_of(named_score_mods()); }

}  // namespace vkattn::cli
