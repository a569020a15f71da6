// ShaderCompiler: GLSL to SPIR-V while the program runs. The engine takes one or none; without it only shaders that were built
// ahead of time can be used. The implementation on shaderc is a target of its own: vkattn/shaderc_compiler.h.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vkattn/result.h"

namespace vkattn {

// Include name, as written between the quotes, to text. Everything a shader may include: the disk is never looked at.
using SourceSet = std::map<std::string, std::string, std::less<>>;

// `none` for modules with cooperative matrices or bf16: spirv-opt miscompiles or refuses some of them.
enum class Optimise : uint8_t { none, performance };

// One module. Equal jobs give equal words for one version() of a compiler.
struct CompileJob {
    std::string name;    // for messages: "attention_rows.comp"
    std::string source;  // GLSL of a compute shader
    std::vector<std::pair<std::string, std::string>> defines;
    const SourceSet* includes = nullptr;  // must outlive the call; null: nothing may be included
    std::string hook;                     // text for the include "mask_hook.glsl"; empty: the one in `includes`
    int32_t vulkan_minor = 1;             // 1 to 3: the Vulkan version that the module is for
    Optimise optimise = Optimise::performance;
};

// Thread class: const calls may run at the same time.
class ShaderCompiler {
  public:
    virtual ~ShaderCompiler() = default;
    // Errors: Code::compile_failed with the compiler's messages.
    virtual Result<std::vector<uint32_t>> compile(const CompileJob& job) const = 0;
    // Part of the key of everything that is cached: another version may give other words.
    virtual std::string version() const = 0;
};

}  // namespace vkattn
