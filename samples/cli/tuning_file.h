// Tuning tables in files.
#pragma once

#include <filesystem>

#include "vkattn/engine.h"
#include "vkattn/tuning_table.h"

namespace vkattn::cli {

// Errors are the user's: the file is not there, or is no whole table.
Result<TuningTable> read_tuning_table(const std::filesystem::path& path);
// Whether write_tuning_table will find room for `table`, which is what the file holds already, if there is one: so that a wrong path
// is told before a search and not after it.
Status check_writable(const std::filesystem::path& path, const TuningTable& table);
// Beside the old one and renamed over it.
Status write_tuning_table(const std::filesystem::path& path, const TuningTable& table);

}  // namespace vkattn::cli
