// The run-time compiler of the programs here, where the library was built with one.
#pragma once

#include <memory>

#include "vkattn/compiler.h"

namespace vkattn::cli {

bool has_run_time_compiler();
// Null: this build has none, or it does not start.
std::unique_ptr<ShaderCompiler> make_run_time_compiler();

}  // namespace vkattn::cli
