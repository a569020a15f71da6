// What a SPIR-V module says of itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>

#include <vulkan/vulkan_core.h>

namespace vkattn_tests {

// SpvCapability
constexpr uint32_t spv_shader = 1, spv_group_non_uniform = 61, spv_group_arithmetic = 63, spv_group_shuffle = 65,
                   spv_addresses = 5347, spv_matrices_khr = 6022;

// They come first in a module.
inline std::set<uint32_t> declared_capabilities(const VkShaderModuleCreateInfo& module) {
    constexpr uint32_t header_words = 5, op_capability = 17;
    std::set<uint32_t> declared;
    const size_t words = module.codeSize / sizeof(uint32_t);
    for (size_t at = header_words; at + 1 < words && (module.pCode[at] & 0xffffu) == op_capability; at += 2)
        declared.insert(module.pCode[at + 1]);
    return declared;
}

}  // namespace vkattn_tests
