// The ShaderCompiler on shaderc. Present when the library is built with VKATTN_RUNTIME_COMPILER=ON.
#pragma once

#include <memory>

#include "vkattn/compiler.h"

namespace vkattn {

// Null only when shaderc cannot start (out of memory).
std::unique_ptr<ShaderCompiler> make_shaderc_compiler();

}  // namespace vkattn
