#include "cores.h"

#include <algorithm>
#include <string_view>
#include <thread>
#include <vector>

namespace vkattn {
namespace {

// A property structure of a device extension.
template <class Properties>
Properties query(const InstanceFunctions& functions, VkPhysicalDevice device, VkStructureType type) {
    Properties wanted{};
    wanted.sType = type;
    VkPhysicalDeviceProperties2 properties{};
    properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
    properties.pNext = &wanted;
    functions.vkGetPhysicalDeviceProperties2(device, &properties);
    return wanted;
}

}  // namespace

uint32_t count_cores(const InstanceFunctions& functions, const DeviceInfo& device) {
    if (device.type == VK_PHYSICAL_DEVICE_TYPE_CPU) return std::max(1u, std::thread::hardware_concurrency());

    uint32_t count = 0;
    functions.vkEnumerateDeviceExtensionProperties(device.handle, nullptr, &count, nullptr);
    std::vector<VkExtensionProperties> extensions(count);
    functions.vkEnumerateDeviceExtensionProperties(device.handle, nullptr, &count, extensions.data());
    extensions.resize(count);
    auto has = [&](std::string_view name) {
        return std::any_of(extensions.begin(), extensions.end(),
                           [&](const VkExtensionProperties& e) { return name == e.extensionName; });
    };
    uint32_t cores = 0;
    if (has(VK_NV_SHADER_SM_BUILTINS_EXTENSION_NAME))
        cores = query<VkPhysicalDeviceShaderSMBuiltinsPropertiesNV>(
                    functions, device.handle, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_SM_BUILTINS_PROPERTIES_NV)
                    .shaderSMCount;
    if (cores == 0 && has(VK_AMD_SHADER_CORE_PROPERTIES_EXTENSION_NAME)) {
        const auto amd = query<VkPhysicalDeviceShaderCorePropertiesAMD>(
            functions, device.handle, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_CORE_PROPERTIES_AMD);
        cores = amd.shaderEngineCount * amd.shaderArraysPerEngineCount * amd.computeUnitsPerShaderArray;
    }
    if (cores == 0 && has(VK_ARM_SHADER_CORE_BUILTINS_EXTENSION_NAME))
        cores = query<VkPhysicalDeviceShaderCoreBuiltinsPropertiesARM>(
                    functions, device.handle, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_CORE_BUILTINS_PROPERTIES_ARM)
                    .shaderCoreCount;
    if (cores != 0) return cores;
    constexpr uint32_t discrete = 64, other = 16;
    return device.type == VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU ? discrete : other;
}

}  // namespace vkattn
