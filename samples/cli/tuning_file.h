// Tuning tables in files.
#pragma once

#include <filesystem>

#include "vkattn/engine.h"
#include "vkattn/tuning_table.h"

namespace vkattn::cli {

// Errors are the user's: the file is not there, or is no whole table.
Result<TuningTable> read_tuning_table(const std::filesystem::path& path);
// Beside the old one and renamed over it.
Status write_tuning_table(const std::filesystem::path& path, const TuningTable& table);

}  // namespace vkattn::cli
