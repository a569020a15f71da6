// What a SPIR-V module says of itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <span>

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

// Results of subgroup shuffles: scalars of 32 bits, and whatever else.
struct ShuffledTypes {
    size_t scalars_32 = 0, others = 0;
};
inline ShuffledTypes shuffled_types(std::span<const uint32_t> words) {
    constexpr uint32_t header_words = 5, op_type_int = 21, op_type_float = 22, op_first_shuffle = 345,
                       op_last_shuffle = 348;
    std::set<uint32_t> scalars_32;
    ShuffledTypes shuffled;
    for (size_t at = header_words; at < words.size();) {
        const uint32_t op = words[at] & 0xffffu, length = words[at] >> 16;
        if (length == 0 || length > words.size() - at) break;
        if ((op == op_type_int || op == op_type_float) && words[at + 2] == 32) scalars_32.insert(words[at + 1]);
        if (op >= op_first_shuffle && op <= op_last_shuffle)
            (scalars_32.contains(words[at + 1]) ? shuffled.scalars_32 : shuffled.others)++;
        at += length;
    }
    return shuffled;
}

}  // namespace vkattn_tests
