// Two dispatches over one buffer, with or without the barrier that they need: whether the validation layer can see.
#pragma once

#include "vulkan_context.h"

namespace vkattn_tests {

class TwoDispatches {
  public:
    explicit TwoDispatches(VulkanContext& context);
    ~TwoDispatches();
    TwoDispatches(const TwoDispatches&) = delete;
    TwoDispatches& operator=(const TwoDispatches&) = delete;

    // out = in + 1 into one buffer, then back with + 1: 5 becomes 7. Returns what the buffer holds.
    uint32_t run(bool with_barrier);

  private:
    VulkanContext& context_;
    DeviceBuffer a_, b_;
    VkShaderModule module_ = VK_NULL_HANDLE;
    VkDescriptorSetLayout set_layout_ = VK_NULL_HANDLE;
    VkPipelineLayout layout_ = VK_NULL_HANDLE;
    VkPipeline pipeline_ = VK_NULL_HANDLE;
    VkDescriptorPool pool_ = VK_NULL_HANDLE;
    VkDescriptorSet sets_[2] = {};
};

}  // namespace vkattn_tests
