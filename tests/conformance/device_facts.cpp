#include "device_facts.h"

#include <algorithm>
#include <cstring>

namespace vkattn_tests {
namespace {

std::string type_text(VkComponentTypeKHR type) {
    switch (static_cast<int>(type)) {
    case VK_COMPONENT_TYPE_FLOAT16_KHR: return "f16";
    case VK_COMPONENT_TYPE_FLOAT32_KHR: return "f32";
    case VK_COMPONENT_TYPE_FLOAT64_KHR: return "f64";
    case VK_COMPONENT_TYPE_SINT8_KHR: return "s8";
    case VK_COMPONENT_TYPE_SINT16_KHR: return "s16";
    case VK_COMPONENT_TYPE_SINT32_KHR: return "s32";
    case VK_COMPONENT_TYPE_SINT64_KHR: return "s64";
    case VK_COMPONENT_TYPE_UINT8_KHR: return "u8";
    case VK_COMPONENT_TYPE_UINT16_KHR: return "u16";
    case VK_COMPONENT_TYPE_UINT32_KHR: return "u32";
    case VK_COMPONENT_TYPE_UINT64_KHR: return "u64";
    case VK_COMPONENT_TYPE_BFLOAT16_KHR: return "bf16";
    default: return "type " + std::to_string(static_cast<int64_t>(type));
    }
}

const char* scope_text(VkScopeKHR scope) {
    switch (static_cast<int>(scope)) {
    case VK_SCOPE_SUBGROUP_KHR: return "subgroup";
    case VK_SCOPE_WORKGROUP_KHR: return "workgroup";
    default: return "other scope";
    }
}

bool offers(VkPhysicalDevice device, const char* name) {
    uint32_t count = 0;
    vkEnumerateDeviceExtensionProperties(device, nullptr, &count, nullptr);
    std::vector<VkExtensionProperties> extensions(count);
    vkEnumerateDeviceExtensionProperties(device, nullptr, &count, extensions.data());
    return std::any_of(extensions.begin(), extensions.end(),
                       [&](const VkExtensionProperties& e) { return std::strcmp(e.extensionName, name) == 0; });
}

// "16x16x16 f16 f16 -> f32 subgroup": M x N x K, types of A, B and the result.
Json matrix_shapes(VkPhysicalDevice device) {
    Json shapes = Json::array();
    if (vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR == nullptr ||
        !offers(device, VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME))
        return shapes;
    uint32_t count = 0;
    vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR(device, &count, nullptr);
    VkCooperativeMatrixPropertiesKHR empty{};
    empty.sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR;
    std::vector<VkCooperativeMatrixPropertiesKHR> found(count, empty);
    vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR(device, &count, found.data());
    found.resize(count);
    for (const VkCooperativeMatrixPropertiesKHR& p : found)
        shapes.push_back(std::to_string(p.MSize) + "x" + std::to_string(p.NSize) + "x" + std::to_string(p.KSize) + " " +
                         type_text(p.AType) + " " + type_text(p.BType) + " -> " + type_text(p.ResultType) + " " +
                         scope_text(p.scope));
    return shapes;
}

}  // namespace

Json facts_of(const vkattn::support::Device& device, const vkattn::Capabilities& capabilities) {
    VkPhysicalDeviceProperties properties{};
    vkGetPhysicalDeviceProperties(device.info().handle, &properties);
    const vkattn::Features& features = capabilities.features;
    return {{"kind", vkattn::support::kind_text(device.info().type)},
            {"vendor_id", properties.vendorID},
            {"device_id", properties.deviceID},
            {"driver_version", properties.driverVersion},
            {"subgroup_size", capabilities.subgroup_size},
            {"limits",
             {{"max_shared_bytes", capabilities.max_shared_bytes},
              {"max_invocations", capabilities.max_invocations},
              {"max_workgroups", capabilities.max_workgroups},
              {"max_storage_buffer_range", capabilities.max_storage_buffer_range},
              {"storage_offset_alignment", capabilities.storage_offset_alignment},
              {"timestamp_period_ns", device.timestamp_period_ns()}}},
            {"features",
             {{"buffer_device_address", features.buffer_device_address},
              {"subgroup_size_control", features.subgroup_size_control},
              {"scalar_subgroup", features.scalar_subgroup},
              {"preserve_nan_f32", features.preserve_nan_f32}}},
            {"matrix_shapes", matrix_shapes(device.info().handle)},
            {"reasons", capabilities.reasons}};
}

}  // namespace vkattn_tests
