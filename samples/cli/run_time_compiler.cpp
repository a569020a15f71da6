#include "run_time_compiler.h"

#ifdef VKATTN_CLI_COMPILER
#include "vkattn/shaderc_compiler.h"
#endif

namespace vkattn::cli {

#ifdef VKATTN_CLI_COMPILER
bool has_run_time_compiler() { return true; }
std::unique_ptr<ShaderCompiler> make_run_time_compiler() { return make_shaderc_compiler(); }
#else
bool has_run_time_compiler() { return false; }
std::unique_ptr<ShaderCompiler> make_run_time_compiler() { return nullptr; }
#endif

}  // namespace vkattn::cli
