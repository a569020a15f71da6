// Modules and pipelines: made once a variant, kept until the engine goes.
#include <chrono>

#include "engine_impl.h"
#include "vkattn/compiler.h"
#include "vkattn/shader_sources.h"

namespace vkattn {
namespace {

std::string type_define(ElementType type) {
    switch (type) {
        case ElementType::f32: return "TYPE_F32";
        case ElementType::f16: return "TYPE_F16";
        case ElementType::bf16: return "TYPE_BF16";
    }
    return "TYPE_F32";
}

std::vector<std::pair<std::string, std::string>> defines_of(const ModuleKey& key) {
    auto flag = [](bool value) { return std::string(value ? "1" : "0"); };
    return {
        {"ADDRESSING", key.addressing == Addressing::address ? "ADDRESSING_ADDRESS" : "ADDRESSING_BINDING"},
        {"Q_TYPE", type_define(key.q_type)},
        {"K_TYPE", type_define(key.k_type)},
        {"V_TYPE", type_define(key.v_type)},
        {"O_TYPE", type_define(key.o_type)},
        {"Q_VEC4", flag(key.q_vec4)},
        {"K_VEC4", flag(key.k_vec4)},
        {"V_VEC4", flag(key.v_vec4)},
        {"O_VEC4", flag(key.o_vec4)},
        {"SUBGROUP_REDUCE", flag(key.subgroup_reduce)},
    };
}

}  // namespace

Status EngineImpl::create_layouts() {
    std::array<VkDescriptorSetLayoutBinding, binding_count> bindings{};
    for (uint32_t i = 0; i < binding_count; i++) {
        bindings[i].binding = i;
        bindings[i].descriptorType = i <= binding_o ? VK_DESCRIPTOR_TYPE_STORAGE_BUFFER_DYNAMIC : VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
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

EngineImpl::~EngineImpl() {
    if (host.device == VK_NULL_HANDLE) return;
    for (const auto& [variant, pipeline] : pipelines_) functions.vkDestroyPipeline(host.device, pipeline, host.allocator);
    for (const auto& [key, module] : modules_) functions.vkDestroyShaderModule(host.device, module, host.allocator);
    if (pipeline_layout != VK_NULL_HANDLE) functions.vkDestroyPipelineLayout(host.device, pipeline_layout, host.allocator);
    if (set_layout != VK_NULL_HANDLE) functions.vkDestroyDescriptorSetLayout(host.device, set_layout, host.allocator);
}

Result<VkShaderModule> EngineImpl::shader_module(const ModuleKey& key, const EmittedHook& hook) {
    if (const auto found = modules_.find(key); found != modules_.end()) return found->second;
    if (options.compiler == nullptr)
        return error(Code::unsupported, "this mask needs the run-time shader compiler: give EngineOptions::compiler (make_shaderc_compiler())");

    CompileJob job;
    job.name = key.kernel + ".comp";
    SourceSet includes;
    for (const ShaderSource& source : shader_sources()) {
        if (source.name == job.name)
            job.source = std::string(source.text);
        else
            includes.emplace(std::string(source.name), std::string(source.text));
    }
    job.includes = &includes;
    job.defines = defines_of(key);
    job.hook = hook.glsl;
    auto spirv = options.compiler->compile(job);
    if (!spirv) return spirv.status();

    VkShaderModuleCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO;
    info.codeSize = spirv->size() * sizeof(uint32_t);
    info.pCode = spirv->data();
    VkShaderModule module = VK_NULL_HANDLE;
    const VkResult result = functions.vkCreateShaderModule(host.device, &info, host.allocator, &module);
    if (result != VK_SUCCESS) return error(Code::device_error, "vkCreateShaderModule failed for " + job.name, result);
    modules_.emplace(key, module);
    return module;
}

Result<VkPipeline> EngineImpl::pipeline(const Variant& variant, const EmittedHook& hook, double* compile_ms) {
    // One lock over lookup and creation: two threads that want one variant get one pipeline.
    const std::lock_guard lock(mutex_);
    if (const auto found = pipelines_.find(variant); found != pipelines_.end()) return found->second;
    const auto begin = std::chrono::steady_clock::now();

    auto module = shader_module(variant.module, hook);
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
    if (variant.module.subgroup_reduce) info.stage.flags = VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT;
    info.layout = pipeline_layout;
    VkPipeline pipeline = VK_NULL_HANDLE;
    const VkResult result =
        functions.vkCreateComputePipelines(host.device, host.pipeline_cache, 1, &info, host.allocator, &pipeline);
    if (result != VK_SUCCESS) return error(Code::device_error, "vkCreateComputePipelines failed for " + variant.module.kernel, result);
    pipelines_.emplace(variant, pipeline);
    pipelines_created++;
    *compile_ms += std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
    return pipeline;
}

}  // namespace vkattn
