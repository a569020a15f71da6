#include "functions.h"

#include <string>
#include <type_traits>

namespace vkattn {

Result<InstanceFunctions> load_instance_functions(VkInstance instance,
                                                  PFN_vkGetInstanceProcAddr get_instance_proc_addr) {
    if (instance == VK_NULL_HANDLE || get_instance_proc_addr == nullptr)
        return error(Code::invalid_argument,
                     "a VkInstance and its vkGetInstanceProcAddr are needed; one of them is null");
    InstanceFunctions f;
    const char* missing = nullptr;
    auto load_optional = [&](auto& pointer, const char* name) {
        pointer = reinterpret_cast<std::decay_t<decltype(pointer)>>(get_instance_proc_addr(instance, name));
    };
    auto load = [&](auto& pointer, const char* name) {
        load_optional(pointer, name);
        if (pointer == nullptr && missing == nullptr) missing = name;
    };
    load(f.vkEnumeratePhysicalDevices, "vkEnumeratePhysicalDevices");
    load(f.vkGetPhysicalDeviceProperties, "vkGetPhysicalDeviceProperties");
    load(f.vkGetPhysicalDeviceProperties2, "vkGetPhysicalDeviceProperties2");
    load(f.vkGetPhysicalDeviceFeatures2, "vkGetPhysicalDeviceFeatures2");
    load(f.vkEnumerateDeviceExtensionProperties, "vkEnumerateDeviceExtensionProperties");
    load(f.vkGetDeviceProcAddr, "vkGetDeviceProcAddr");
    load_optional(f.vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR,
                  "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR");
    load_optional(f.vkGetPhysicalDeviceCooperativeMatrixFlexibleDimensionsPropertiesNV,
                  "vkGetPhysicalDeviceCooperativeMatrixFlexibleDimensionsPropertiesNV");
    if (missing != nullptr)
        return error(Code::unsupported,
                     std::string("the instance has no ") + missing + "; create it with API version 1.1 or later");
    return f;
}

Result<DeviceFunctions> load_device_functions(const InstanceFunctions& instance, VkDevice device) {
    if (device == VK_NULL_HANDLE) return error(Code::invalid_argument, "HostDevice::device is null");
    DeviceFunctions f;
    const char* missing = nullptr;
    auto load_optional = [&](auto& pointer, const char* name) {
        if (pointer == nullptr)
            pointer = reinterpret_cast<std::decay_t<decltype(pointer)>>(instance.vkGetDeviceProcAddr(device, name));
    };
    auto load = [&](auto& pointer, const char* name) {
        load_optional(pointer, name);
        if (pointer == nullptr && missing == nullptr) missing = name;
    };
    load(f.vkCreateShaderModule, "vkCreateShaderModule");
    load(f.vkDestroyShaderModule, "vkDestroyShaderModule");
    load(f.vkCreateDescriptorSetLayout, "vkCreateDescriptorSetLayout");
    load(f.vkDestroyDescriptorSetLayout, "vkDestroyDescriptorSetLayout");
    load(f.vkCreatePipelineLayout, "vkCreatePipelineLayout");
    load(f.vkDestroyPipelineLayout, "vkDestroyPipelineLayout");
    load(f.vkCreateComputePipelines, "vkCreateComputePipelines");
    load(f.vkDestroyPipeline, "vkDestroyPipeline");
    load(f.vkCreatePipelineCache, "vkCreatePipelineCache");
    load(f.vkGetPipelineCacheData, "vkGetPipelineCacheData");
    load(f.vkDestroyPipelineCache, "vkDestroyPipelineCache");
    load(f.vkCreateDescriptorPool, "vkCreateDescriptorPool");
    load(f.vkDestroyDescriptorPool, "vkDestroyDescriptorPool");
    load(f.vkAllocateDescriptorSets, "vkAllocateDescriptorSets");
    load(f.vkUpdateDescriptorSets, "vkUpdateDescriptorSets");
    load(f.vkGetBufferMemoryRequirements, "vkGetBufferMemoryRequirements");
    load_optional(f.vkGetBufferDeviceAddress, "vkGetBufferDeviceAddress");
    load_optional(f.vkGetBufferDeviceAddress, "vkGetBufferDeviceAddressKHR");
    load(f.vkCmdBindPipeline, "vkCmdBindPipeline");
    load(f.vkCmdBindDescriptorSets, "vkCmdBindDescriptorSets");
    load(f.vkCmdPushConstants, "vkCmdPushConstants");
    load(f.vkCmdUpdateBuffer, "vkCmdUpdateBuffer");
    load(f.vkCmdPipelineBarrier, "vkCmdPipelineBarrier");
    load(f.vkCmdDispatch, "vkCmdDispatch");
    load_optional(f.vkCmdBeginDebugUtilsLabelEXT, "vkCmdBeginDebugUtilsLabelEXT");
    load_optional(f.vkCmdEndDebugUtilsLabelEXT, "vkCmdEndDebugUtilsLabelEXT");
    if (missing != nullptr) return error(Code::unsupported, std::string("the device has no ") + missing);
    return f;
}

}  // namespace vkattn
