// Options that more than one program or sub-command has: the same name, values and default everywhere. `meaning`, where it is an
// argument, says for --help what the option is there. The fields' own values are the defaults.
#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "vkattn/types.h"

namespace vkattn::cli {

CLI::Option* add_type_option(CLI::App& app, ElementType& type, const std::string& meaning);
CLI::Option* add_path_option(CLI::App& app, Path& path, const std::string& meaning);
CLI::Option* add_schedule_option(CLI::App& app, Schedule& schedule, const std::string& meaning);
CLI::Option* add_param_option(CLI::App& app, std::vector<std::string>& params, const std::string& meaning);
CLI::Option* add_block_option(CLI::App& app, std::string& block, const std::string& meaning);
CLI::Option* add_device_option(CLI::App& app, std::string& device);
CLI::Option* add_tuning_option(CLI::App& app, std::string& tuning);
CLI::Option* add_cache_option(CLI::App& app, std::string& cache);

}  // namespace vkattn::cli
