#include "pretended_device.h"

#include <cstring>

#include <doctest/doctest.h>

#include "command_spy.h"
#include "run_attention.h"
#include "spirv.h"

namespace vkattn_tests {
namespace {

struct Asked {
    Pretence pretence;
    std::vector<AskedPipeline> pipelines;
    std::set<uint32_t> spirv_capabilities;
};
std::unique_ptr<Asked> asked;  // null: no device pretends, calls are passed on

PFN_vkGetDeviceProcAddr next_get_device_proc_addr = nullptr;
PFN_vkGetPhysicalDeviceProperties next_properties = nullptr;
PFN_vkGetPhysicalDeviceProperties2 next_properties2 = nullptr;
PFN_vkGetPhysicalDeviceFeatures2 next_features2 = nullptr;
PFN_vkGetPhysicalDeviceCooperativeMatrixFlexibleDimensionsPropertiesNV next_flexible_dimensions = nullptr;
PFN_vkCreateComputePipelines next_create_compute_pipelines = nullptr;
PFN_vkCreateShaderModule next_create_shader_module = nullptr;

template <class T, class U>
void replace(T& value, const std::optional<U>& other) {
    if (other) value = static_cast<T>(*other);
}

void change(VkPhysicalDeviceProperties& properties) {
    if (asked == nullptr) return;
    const Pretence& p = asked->pretence;
    replace(properties.deviceType, p.type);
    replace(properties.vendorID, p.vendor_id);
    replace(properties.deviceID, p.device_id);
    replace(properties.driverVersion, p.driver_version);
    replace(properties.limits.maxPerStageDescriptorStorageBuffers, p.storage_buffers);
    if (!p.guaranteed_limits) return;
    // "Required Limits" of the specification, for Vulkan 1.1.
    VkPhysicalDeviceLimits& limits = properties.limits;
    limits.maxStorageBufferRange = 1u << 27;
    limits.maxPushConstantsSize = 128;
    limits.maxComputeSharedMemorySize = 16384;
    limits.maxComputeWorkGroupInvocations = 128;
    for (uint32_t& count : limits.maxComputeWorkGroupCount) count = 65535;
    limits.maxComputeWorkGroupSize[0] = limits.maxComputeWorkGroupSize[1] = 128;
    limits.maxComputeWorkGroupSize[2] = 64;
    limits.minStorageBufferOffsetAlignment = 256;
}

// The structures of a chain: VkBaseOutStructure says how it is linked.
template <class Each>
void for_each_in_chain(void* chain, Each each) {
    for (auto* s = static_cast<VkBaseOutStructure*>(chain); s != nullptr; s = s->pNext) each(s);
}

void VKAPI_CALL get_properties(VkPhysicalDevice device, VkPhysicalDeviceProperties* properties) {
    next_properties(device, properties);
    change(*properties);
}

void VKAPI_CALL get_properties2(VkPhysicalDevice device, VkPhysicalDeviceProperties2* properties) {
    next_properties2(device, properties);
    change(properties->properties);
    if (asked == nullptr) return;
    const Pretence& p = asked->pretence;
    for_each_in_chain(properties->pNext, [&](VkBaseOutStructure* s) {
        if (s->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES) {
            replace(reinterpret_cast<VkPhysicalDeviceDriverProperties*>(s)->driverID, p.driver_id);
        } else if (s->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES) {
            auto& subgroup = *reinterpret_cast<VkPhysicalDeviceSubgroupProperties*>(s);
            replace(subgroup.subgroupSize, p.subgroup_size);
            if (p.no_features) subgroup.supportedOperations = VK_SUBGROUP_FEATURE_BASIC_BIT;
        } else if (s->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_PROPERTIES) {
            auto& sizes = *reinterpret_cast<VkPhysicalDeviceSubgroupSizeControlProperties*>(s);
            replace(sizes.minSubgroupSize, p.min_subgroup_size);
            replace(sizes.maxSubgroupSize, p.max_subgroup_size);
        } else if (s->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_2_PROPERTIES_NV &&
                   !p.workgroup_matrices.empty()) {
            auto& matrices = *reinterpret_cast<VkPhysicalDeviceCooperativeMatrix2PropertiesNV*>(s);
            matrices.cooperativeMatrixWorkgroupScopeMaxWorkgroupSize = 1024;
            matrices.cooperativeMatrixFlexibleDimensionsMaxDimension = p.max_workgroup_matrix_dim;
            matrices.cooperativeMatrixWorkgroupScopeReservedSharedMemory = 1024;
        }
    });
}

void VKAPI_CALL get_features2(VkPhysicalDevice device, VkPhysicalDeviceFeatures2* features) {
    next_features2(device, features);
    if (asked == nullptr) return;
    for_each_in_chain(features->pNext, [](VkBaseOutStructure* s) {
        if (s->sType != VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_2_FEATURES_NV ||
            asked->pretence.workgroup_matrices.empty())
            return;
        auto& matrices = *reinterpret_cast<VkPhysicalDeviceCooperativeMatrix2FeaturesNV*>(s);
        matrices.cooperativeMatrixWorkgroupScope = matrices.cooperativeMatrixFlexibleDimensions =
            matrices.cooperativeMatrixTensorAddressing = VK_TRUE;
    });
    if (!asked->pretence.no_features) return;
    features->features = {};
    for_each_in_chain(features->pNext, [](VkBaseOutStructure* s) {
        if (s->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_BUFFER_DEVICE_ADDRESS_FEATURES) {
            reinterpret_cast<VkPhysicalDeviceBufferDeviceAddressFeatures*>(s)->bufferDeviceAddress = VK_FALSE;
        } else if (s->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES) {
            auto& sizes = *reinterpret_cast<VkPhysicalDeviceSubgroupSizeControlFeatures*>(s);
            sizes.computeFullSubgroups = sizes.subgroupSizeControl = VK_FALSE;
        } else if (s->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR) {
            reinterpret_cast<VkPhysicalDeviceCooperativeMatrixFeaturesKHR*>(s)->cooperativeMatrix = VK_FALSE;
        } else if (s->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_MEMORY_MODEL_FEATURES) {
            auto& model = *reinterpret_cast<VkPhysicalDeviceVulkanMemoryModelFeatures*>(s);
            model.vulkanMemoryModel = model.vulkanMemoryModelDeviceScope = VK_FALSE;
        } else if (s->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES) {
            reinterpret_cast<VkPhysicalDeviceShaderFloat16Int8Features*>(s)->shaderFloat16 = VK_FALSE;
        } else if (s->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_2_FEATURES_NV) {
            reinterpret_cast<VkPhysicalDeviceCooperativeMatrix2FeaturesNV*>(s)->cooperativeMatrixReductions = VK_FALSE;
        } else if (s->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_4_FEATURES) {
            reinterpret_cast<VkPhysicalDeviceMaintenance4Features*>(s)->maintenance4 = VK_FALSE;
        } else if (s->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_BFLOAT16_FEATURES_KHR) {
            reinterpret_cast<VkPhysicalDeviceShaderBfloat16FeaturesKHR*>(s)->shaderBFloat16Type = VK_FALSE;
        } else {
            FAIL("get_features2 in pretended_device.cpp does not know structure type " << s->sType);
        }
    });
}

VkResult VKAPI_CALL get_flexible_dimensions(VkPhysicalDevice device, uint32_t* count,
                                            VkCooperativeMatrixFlexibleDimensionsPropertiesNV* properties) {
    if (asked == nullptr || asked->pretence.workgroup_matrices.empty())
        return next_flexible_dimensions(device, count, properties);
    const std::vector<uint32_t>& invocations = asked->pretence.workgroup_matrices;
    if (properties == nullptr) {
        *count = static_cast<uint32_t>(invocations.size());
        return VK_SUCCESS;
    }
    for (uint32_t i = 0; i < *count; i++) {
        VkCooperativeMatrixFlexibleDimensionsPropertiesNV& p = properties[i];
        p.MGranularity = p.NGranularity = p.KGranularity = 8;
        p.AType = p.BType = VK_COMPONENT_TYPE_FLOAT16_KHR;
        p.CType = p.ResultType = VK_COMPONENT_TYPE_FLOAT32_KHR;
        p.saturatingAccumulation = VK_FALSE;
        p.scope = VK_SCOPE_WORKGROUP_KHR;
        p.workgroupInvocations = invocations[i];
    }
    return VK_SUCCESS;
}

VkResult VKAPI_CALL create_compute_pipelines(VkDevice device, VkPipelineCache cache, uint32_t count,
                                             const VkComputePipelineCreateInfo* infos,
                                             const VkAllocationCallbacks* allocator, VkPipeline* pipelines) {
    for (uint32_t i = 0; asked != nullptr && i < count; i++) {
        AskedPipeline pipeline;
        pipeline.full_subgroups =
            (infos[i].stage.flags & VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT) != 0;
        for_each_in_chain(const_cast<void*>(infos[i].stage.pNext), [&](VkBaseOutStructure* s) {
            if (s->sType == VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO)
                pipeline.subgroup_size =
                    reinterpret_cast<VkPipelineShaderStageRequiredSubgroupSizeCreateInfo*>(s)->requiredSubgroupSize;
        });
        asked->pipelines.push_back(pipeline);
    }
    return next_create_compute_pipelines(device, cache, count, infos, allocator, pipelines);
}

VkResult VKAPI_CALL create_shader_module(VkDevice device, const VkShaderModuleCreateInfo* info,
                                         const VkAllocationCallbacks* allocator, VkShaderModule* module) {
    if (asked != nullptr) asked->spirv_capabilities.merge(declared_capabilities(*info));
    return next_create_shader_module(device, info, allocator, module);
}

template <class Function>
PFN_vkVoidFunction wrap(PFN_vkVoidFunction found, Function& next, Function wrapper) {
    next = reinterpret_cast<Function>(found);
    return found == nullptr ? nullptr : reinterpret_cast<PFN_vkVoidFunction>(wrapper);
}

PFN_vkVoidFunction VKAPI_CALL get_device_proc_addr(VkDevice device, const char* name) {
    PFN_vkVoidFunction found = next_get_device_proc_addr(device, name);
    if (std::strcmp(name, "vkCreateComputePipelines") == 0)
        return wrap(found, next_create_compute_pipelines, &create_compute_pipelines);
    if (std::strcmp(name, "vkCreateShaderModule") == 0)
        return wrap(found, next_create_shader_module, &create_shader_module);
    return found;
}

PFN_vkVoidFunction VKAPI_CALL get_instance_proc_addr(VkInstance instance, const char* name) {
    PFN_vkVoidFunction found = spy_get_instance_proc_addr(instance, name);
    const auto is = [name](const char* other) { return std::strcmp(name, other) == 0; };
    if (is("vkGetDeviceProcAddr")) return wrap(found, next_get_device_proc_addr, &get_device_proc_addr);
    if (is("vkGetPhysicalDeviceProperties")) return wrap(found, next_properties, &get_properties);
    if (is("vkGetPhysicalDeviceProperties2")) return wrap(found, next_properties2, &get_properties2);
    if (is("vkGetPhysicalDeviceFeatures2")) return wrap(found, next_features2, &get_features2);
    if (is("vkGetPhysicalDeviceCooperativeMatrixFlexibleDimensionsPropertiesNV"))
        return wrap(found, next_flexible_dimensions, &get_flexible_dimensions);
    return found;
}

}  // namespace

PretendedDevice::PretendedDevice(VulkanContext& context, const Pretence& pretence) : context_(context) {
    REQUIRE(asked == nullptr);
    asked = std::make_unique<Asked>();
    asked->pretence = pretence;
}

PretendedDevice::~PretendedDevice() { asked.reset(); }

vkattn::Requirements PretendedDevice::requirements() const {
    auto requirements = vkattn::requirements(context_.instance, get_instance_proc_addr, context_.physical_device);
    if (!requirements) FAIL("requirements(): " << requirements.status().message);
    return *std::move(requirements);
}

vkattn::HostDevice PretendedDevice::host(const vkattn::Features& enabled) const {
    vkattn::HostDevice host = host_device(context_);
    host.get_instance_proc_addr = get_instance_proc_addr;
    host.enabled = enabled;
    host.enabled.debug_utils = context_.enabled.debug_utils;
    return host;
}

vkattn::Result<std::unique_ptr<vkattn::Engine>> PretendedDevice::create_engine(const vkattn::Features& enabled) const {
    return create_engine(enabled, test_compiler());
}

vkattn::Result<std::unique_ptr<vkattn::Engine>> PretendedDevice::create_engine(
    const vkattn::Features& enabled, const vkattn::ShaderCompiler* compiler) const {
    vkattn::EngineOptions options;
    options.compiler = compiler;
    return vkattn::Engine::create(host(enabled), options);
}

std::unique_ptr<vkattn::Engine> PretendedDevice::make_engine(const vkattn::Features& enabled) const {
    auto engine = create_engine(enabled);
    if (!engine) FAIL("Engine::create: " << engine.status().message);
    return *std::move(engine);
}

const std::vector<AskedPipeline>& PretendedDevice::pipelines() const { return asked->pipelines; }
const std::set<uint32_t>& PretendedDevice::spirv_capabilities() const { return asked->spirv_capabilities; }

}  // namespace vkattn_tests
