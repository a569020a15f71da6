// What a plan chose: plain data without a Vulkan handle. A Variant names one pipeline.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "vkattn/types.h"

namespace vkattn {

#define SPEC(id, name, value) constexpr uint32_t SPEC_##name = id;
#include "spec_constants.h"

struct SpecConstant {
    const char* name;
    uint32_t id, default_value;
};
constexpr SpecConstant spec_constants[] = {
#define SPEC(id, name, value) {#name, id, value},
#include "spec_constants.h"
};

// SCHEDULE's values in the kernels.
constexpr uint32_t SCHEDULE_DENSE = 0, SCHEDULE_INTERVAL = 1, SCHEDULE_LIST = 2, SCHEDULE_INDICES = 3;

// One SPIR-V module: a kernel under its preprocessor axes (shaders/include/axes.glsl) with one hook.
struct ModuleKey {
    std::string kernel;  // "attention_rows"
    Addressing addressing = Addressing::binding;
    bool address_int64 = false;  // with Addressing::address
    ElementType q_type = ElementType::f32, k_type = ElementType::f32, v_type = ElementType::f32,
                o_type = ElementType::f32;
    bool q_vec4 = true, k_vec4 = true, v_vec4 = true, o_vec4 = true;
    bool subgroup_reduce = false;
    bool workgroup_matrices = false;  // attention_nv
    std::string hook_hash;
    // Sizes that are compiled in instead of specialized, as {id, value}; all others have their defaults. Empty: none are.
    std::vector<std::pair<uint32_t, uint32_t>> literals;

    auto operator<=>(const ModuleKey&) const = default;
};

// One pipeline: a module and its specialization constants, ascending by id.
struct Variant {
    ModuleKey module;
    bool full_subgroups = false;  // required of the pipeline: invocations are numbered by subgroup
    uint32_t subgroup_size = 0;   // required of the pipeline; 0: the driver chooses
    std::vector<std::pair<uint32_t, uint32_t>> constants;

    auto operator<=>(const Variant&) const = default;
};

}  // namespace vkattn
