// Modules and pipelines: made once a variant, kept until the engine goes.
#include <algorithm>
#include <chrono>

#include "engine_impl.h"

namespace vkattn {

Status EngineImpl::create_layouts() {
    std::array<VkDescriptorSetLayoutBinding, binding_count> bindings{};
    for (uint32_t i = 0; i < binding_count; i++) {
        bindings[i].binding = i;
        bindings[i].descriptorType =
            i <= binding_o ? VK_DESCRIPTOR_TYPE_STORAGE_BUFFER_DYNAMIC : VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
        bindings[i].descriptorCount = 1;
        bindings[i].stageFlags = VK_SHADER_STAGE_COMPUTE_BIT;
    }
    VkDescriptorSetLayoutCreateInfo set_info{};
    set_info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO;
    set_info.bindingCount = binding_count;
    set_info.pBindings = bindings.data();
    VkResult result = functions.vkCreateDescriptorSetLayout(host.device, &set_info, host.allocator, &set_layout);
    if (result != VK_SUCCESS) return error(Code::device_error, "vkCreateDescriptorSetLayout failed", result);

    VkPushConstantRange push{};
    push.stageFlags = VK_SHADER_STAGE_COMPUTE_BIT;
    push.size = sizeof(AttentionPush);
    VkPipelineLayoutCreateInfo layout_info{};
    layout_info.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO;
    layout_info.setLayoutCount = 1;
    layout_info.pSetLayouts = &set_layout;
    layout_info.pushConstantRangeCount = 1;
    layout_info.pPushConstantRanges = &push;
    result = functions.vkCreatePipelineLayout(host.device, &layout_info, host.allocator, &pipeline_layout);
    if (result != VK_SUCCESS) return error(Code::device_error, "vkCreatePipelineLayout failed", result);
    return {};
}

// A host that brings no pipeline cache gets the engine's own, kept in the cache directory under the device's key.
Status EngineImpl::create_pipeline_cache() {
    if (host.pipeline_cache != VK_NULL_HANDLE || options.cache_directory.empty()) return {};
    stored_pipelines_ =
        FileCache(options.cache_directory).load("pipelines", capabilities.cache_key).value_or(std::vector<uint8_t>());
    VkPipelineCacheCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO;
    info.initialDataSize = stored_pipelines_.size();
    info.pInitialData = stored_pipelines_.data();
    const VkResult result = functions.vkCreatePipelineCache(host.device, &info, host.allocator, &own_cache_);
    if (result != VK_SUCCESS) return error(Code::device_error, "vkCreatePipelineCache failed", result);
    return {};
}

void EngineImpl::store_pipeline_cache() {
    size_t size = 0;
    if (functions.vkGetPipelineCacheData(host.device, own_cache_, &size, nullptr) != VK_SUCCESS) return;
    std::vector<uint8_t> bytes(size);
    if (functions.vkGetPipelineCacheData(host.device, own_cache_, &size, bytes.data()) != VK_SUCCESS) return;
    bytes.resize(size);
    if (bytes != stored_pipelines_)
        FileCache(options.cache_directory).store("pipelines", capabilities.cache_key, bytes);
}

EngineImpl::~EngineImpl() {
    if (host.device == VK_NULL_HANDLE) return;
    if (own_cache_ != VK_NULL_HANDLE) {
        store_pipeline_cache();
        functions.vkDestroyPipelineCache(host.device, own_cache_, host.allocator);
    }
    for (const auto& [variant, pipeline] : pipelines_)
        functions.vkDestroyPipeline(host.device, pipeline, host.allocator);
    for (const auto& [key, module] : modules_) functions.vkDestroyShaderModule(host.device, module, host.allocator);
    if (pipeline_layout != VK_NULL_HANDLE)
        functions.vkDestroyPipelineLayout(host.device, pipeline_layout, host.allocator);
    if (set_layout != VK_NULL_HANDLE) functions.vkDestroyDescriptorSetLayout(host.device, set_layout, host.allocator);
}

Result<VkShaderModule> EngineImpl::shader_module(const ModuleKey& key, const EmittedHook& hook, ModuleOrigin* origin) {
    if (const auto found = modules_.find(key); found != modules_.end()) return found->second;
    auto made = make_module(key, hook, options);
    if (!made) return made.status();
    *origin = std::max(*origin, made->origin);

    VkShaderModuleCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO;
    info.codeSize = made->spirv.size() * sizeof(uint32_t);
    info.pCode = made->spirv.data();
    VkShaderModule module = VK_NULL_HANDLE;
    const VkResult result = functions.vkCreateShaderModule(host.device, &info, host.allocator, &module);
    if (result != VK_SUCCESS) return error(Code::device_error, "vkCreateShaderModule failed for " + key.kernel, result);
    modules_.emplace(key, module);
    return module;
}

Result<VkPipeline> EngineImpl::pipeline(const Variant& variant, const EmittedHook& hook, PipelineCost* cost) {
    // One lock over lookup and creation: two threads that want one variant get one pipeline.
    const std::lock_guard lock(mutex_);
    if (const auto found = pipelines_.find(variant); found != pipelines_.end()) return found->second;
    const auto begin = std::chrono::steady_clock::now();

    auto module = shader_module(variant.module, hook, &cost->origin);
    if (!module) return module.status();

    std::vector<VkSpecializationMapEntry> entries;
    std::vector<uint32_t> values;
    for (const auto& [id, value] : variant.constants) {
        entries.push_back({id, static_cast<uint32_t>(values.size() * sizeof(uint32_t)), sizeof(uint32_t)});
        values.push_back(value);
    }
    VkSpecializationInfo specialization{};
    specialization.mapEntryCount = static_cast<uint32_t>(entries.size());
    specialization.pMapEntries = entries.data();
    specialization.dataSize = values.size() * sizeof(uint32_t);
    specialization.pData = values.data();

    VkComputePipelineCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO;
    info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
    info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
    info.stage.module = *module;
    info.stage.pName = "main";
    info.stage.pSpecializationInfo = &specialization;
    VkPipelineShaderStageRequiredSubgroupSizeCreateInfo subgroup{};
    subgroup.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO;
    subgroup.requiredSubgroupSize = variant.subgroup_size;
    if (variant.subgroup_size != 0) info.stage.pNext = &subgroup;
    if (variant.full_subgroups) info.stage.flags = VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT;
    info.layout = pipeline_layout;
    VkPipeline pipeline = VK_NULL_HANDLE;
    const VkResult result =
        functions.vkCreateComputePipelines(host.device, pipeline_cache(), 1, &info, host.allocator, &pipeline);
    if (result != VK_SUCCESS)
        return error(Code::device_error, "vkCreateComputePipelines failed for " + variant.module.kernel, result);
    pipelines_.emplace(variant, pipeline);
    pipelines_created++;
    cost->compile_ms += std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
    return pipeline;
}

}  // namespace vkattn
