#include "tuning_file.h"

#include "support/file.h"

namespace vkattn::cli {

Result<TuningTable> read_tuning_table(const std::filesystem::path& path) {
    constexpr uint64_t max_bytes = 1u << 20;  // the parser's own limit
    auto bytes = support::read_file(path, max_bytes);
    if (!bytes)
        return error(Code::invalid_argument,
                     bytes.status().message + "; a file that 'vkattn tune --table F' wrote is wanted");
    auto table = parse_tuning_table({reinterpret_cast<const char*>(bytes->data()), bytes->size()});
    if (!table) return error(Code::invalid_text, path.string() + ": " + table.status().message);
    return table;
}

Status check_writable(const std::filesystem::path& path, const TuningTable& table) {
    std::error_code none;
    const bool is_new = !std::filesystem::exists(path, none);
    if (Status status = write_tuning_table(path, table); !status.ok())
        return error(Code::invalid_argument,
                     status.message + "; a file in a folder that is there and can be written is wanted");
    if (is_new) std::filesystem::remove(path, none);
    return {};
}

Status write_tuning_table(const std::filesystem::path& path, const TuningTable& table) {
    return support::write_file(path, to_text(table));
}

}  // namespace vkattn::cli
