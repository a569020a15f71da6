#include "two_dispatches.h"

#include <cstring>

#include <doctest/doctest.h>

#include "vkattn/shaderc_compiler.h"

namespace vkattn_tests {
namespace {

constexpr const char* source = R"(#version 450
layout(local_size_x = 1) in;
layout(set = 0, binding = 0, std430) readonly buffer In { uint from[]; };
layout(set = 0, binding = 1, std430) writeonly buffer Out { uint to[]; };
void main() { to[gl_GlobalInvocationID.x] = from[gl_GlobalInvocationID.x] + 1u; }
)";

}  // namespace

TwoDispatches::TwoDispatches(VulkanContext& context) : context_(context), a_(context, 256), b_(context, 256) {
    const VolkDeviceTable& vk = context.vk;
    const auto compiler = vkattn::make_shaderc_compiler();
    REQUIRE(compiler != nullptr);
    vkattn::CompileJob job;
    job.name = "two_dispatches.comp";
    job.source = source;
    auto words = compiler->compile(job);
    REQUIRE_MESSAGE(words.ok(), words.status().message);
    VkShaderModuleCreateInfo module{};
    module.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO;
    module.codeSize = words->size() * 4;
    module.pCode = words->data();
    REQUIRE(vk.vkCreateShaderModule(context.device, &module, nullptr, &module_) == VK_SUCCESS);

    VkDescriptorSetLayoutBinding bindings[2]{};
    for (uint32_t i = 0; i < 2; i++)
        bindings[i] = {i, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr};
    VkDescriptorSetLayoutCreateInfo set_layout{};
    set_layout.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO;
    set_layout.bindingCount = 2;
    set_layout.pBindings = bindings;
    REQUIRE(vk.vkCreateDescriptorSetLayout(context.device, &set_layout, nullptr, &set_layout_) == VK_SUCCESS);
    VkPipelineLayoutCreateInfo layout{};
    layout.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO;
    layout.setLayoutCount = 1;
    layout.pSetLayouts = &set_layout_;
    REQUIRE(vk.vkCreatePipelineLayout(context.device, &layout, nullptr, &layout_) == VK_SUCCESS);
    VkComputePipelineCreateInfo pipeline{};
    pipeline.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO;
    pipeline.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
    pipeline.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
    pipeline.stage.module = module_;
    pipeline.stage.pName = "main";
    pipeline.layout = layout_;
    REQUIRE(vk.vkCreateComputePipelines(context.device, VK_NULL_HANDLE, 1, &pipeline, nullptr, &pipeline_) ==
            VK_SUCCESS);

    const VkDescriptorPoolSize size = {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 4};
    VkDescriptorPoolCreateInfo pool{};
    pool.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO;
    pool.maxSets = 2;
    pool.poolSizeCount = 1;
    pool.pPoolSizes = &size;
    REQUIRE(vk.vkCreateDescriptorPool(context.device, &pool, nullptr, &pool_) == VK_SUCCESS);
    const VkDescriptorSetLayout layouts[2] = {set_layout_, set_layout_};
    VkDescriptorSetAllocateInfo sets{};
    sets.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO;
    sets.descriptorPool = pool_;
    sets.descriptorSetCount = 2;
    sets.pSetLayouts = layouts;
    REQUIRE(vk.vkAllocateDescriptorSets(context.device, &sets, sets_) == VK_SUCCESS);
    const VkDescriptorBufferInfo buffers[2] = {{a_.handle, 0, VK_WHOLE_SIZE}, {b_.handle, 0, VK_WHOLE_SIZE}};
    for (uint32_t set = 0; set < 2; set++)
        for (uint32_t i = 0; i < 2; i++) {
            VkWriteDescriptorSet write{};
            write.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET;
            write.dstSet = sets_[set];
            write.dstBinding = i;
            write.descriptorCount = 1;
            write.descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
            write.pBufferInfo = &buffers[(i + set) % 2];
            vk.vkUpdateDescriptorSets(context.device, 1, &write, 0, nullptr);
        }
}

TwoDispatches::~TwoDispatches() {
    const VolkDeviceTable& vk = context_.vk;
    vk.vkDestroyDescriptorPool(context_.device, pool_, nullptr);
    vk.vkDestroyPipeline(context_.device, pipeline_, nullptr);
    vk.vkDestroyPipelineLayout(context_.device, layout_, nullptr);
    vk.vkDestroyDescriptorSetLayout(context_.device, set_layout_, nullptr);
    vk.vkDestroyShaderModule(context_.device, module_, nullptr);
}

uint32_t TwoDispatches::run(bool with_barrier) {
    const VolkDeviceTable& vk = context_.vk;
    const uint32_t five = 5;
    std::memcpy(a_.data, &five, 4);
    VkCommandBuffer cmd = context_.begin();
    vk.vkCmdBindPipeline(cmd, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline_);
    for (int i = 0; i < 2; i++) {
        vk.vkCmdBindDescriptorSets(cmd, VK_PIPELINE_BIND_POINT_COMPUTE, layout_, 0, 1, &sets_[i], 0, nullptr);
        vk.vkCmdDispatch(cmd, 1, 1, 1);
        if (!with_barrier || i == 1) continue;
        VkMemoryBarrier barrier{};
        barrier.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER;
        barrier.srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT;
        barrier.dstAccessMask = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT;
        vk.vkCmdPipelineBarrier(cmd, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, 0, 1,
                                &barrier, 0, nullptr, 0, nullptr);
    }
    context_.submit_and_wait(cmd);
    uint32_t value = 0;
    std::memcpy(&value, a_.data, 4);
    return value;
}

}  // namespace vkattn_tests
