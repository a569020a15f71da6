// SPIR-V of a module: shipped ahead of time, cached on disk, or compiled now.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "file_cache.h"
#include "variant.h"
#include "vkattn/emit.h"
#include "vkattn/engine.h"

namespace vkattn {

// Ascending by the work that it took.
enum class ModuleOrigin : uint8_t { ahead_of_time, disk_cache, compiled };

struct Module {
    std::vector<uint32_t> spirv;
    ModuleOrigin origin = ModuleOrigin::compiled;
};

// Errors: Code::unsupported when there is no compiler for a mask that was not shipped, Code::compile_failed.
Result<Module> make_module(const ModuleKey& key, const EmittedHook& hook, const EngineOptions& options);

// Whether a module was built ahead of time.
bool is_ahead_of_time(const ModuleKey& key);

// What engine/ahead_of_time built, ascending by name.
struct AheadOfTimeModule {
    std::string_view name;
    std::span<const uint32_t> spirv;
};
std::span<const AheadOfTimeModule> ahead_of_time_modules();

}  // namespace vkattn
