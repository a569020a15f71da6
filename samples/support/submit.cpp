// One-shot command buffers, with the device's clock where it has one.
#include "support/submit.h"

#include <chrono>

namespace vkattn::support {
namespace {

Status failed(const char* call, VkResult result) {
    std::string message = std::string(call) + " failed (VkResult " + std::to_string(result) + ")";
    if (result == VK_ERROR_DEVICE_LOST)
        message += ": the device was lost, often because a dispatch ran too long for the system's watchdog";
    return error(Code::device_error, std::move(message), result);
}

// What one submit needs; released in any case.
struct Shot {
    explicit Shot(const Device& device_) : device(device_) {}
    ~Shot() {
        const VolkDeviceTable& vk = device.vk();
        if (commands != VK_NULL_HANDLE) vk.vkFreeCommandBuffers(device.handle(), device.command_pool(), 1, &commands);
        vk.vkDestroyFence(device.handle(), fence, nullptr);
        vk.vkDestroyQueryPool(device.handle(), queries, nullptr);
    }
    Shot(const Shot&) = delete;
    Shot& operator=(const Shot&) = delete;

    const Device& device;
    VkCommandBuffer commands = VK_NULL_HANDLE;
    VkFence fence = VK_NULL_HANDLE;
    VkQueryPool queries = VK_NULL_HANDLE;  // begin and end; null: not asked for, or no timestamps
};

Status make(Shot& shot, bool timestamps) {
    const VolkDeviceTable& vk = shot.device.vk();
    VkCommandBufferAllocateInfo allocate{};
    allocate.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO;
    allocate.commandPool = shot.device.command_pool();
    allocate.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
    allocate.commandBufferCount = 1;
    if (VkResult result = vk.vkAllocateCommandBuffers(shot.device.handle(), &allocate, &shot.commands);
        result != VK_SUCCESS) {
        shot.commands = VK_NULL_HANDLE;
        return failed("vkAllocateCommandBuffers", result);
    }
    VkFenceCreateInfo fence{};
    fence.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO;
    if (VkResult result = vk.vkCreateFence(shot.device.handle(), &fence, nullptr, &shot.fence); result != VK_SUCCESS)
        return failed("vkCreateFence", result);
    if (!timestamps || shot.device.timestamp_period_ns() == 0.0) return {};
    VkQueryPoolCreateInfo queries{};
    queries.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO;
    queries.queryType = VK_QUERY_TYPE_TIMESTAMP;
    queries.queryCount = 2;
    if (VkResult result = vk.vkCreateQueryPool(shot.device.handle(), &queries, nullptr, &shot.queries);
        result != VK_SUCCESS)
        return failed("vkCreateQueryPool", result);
    return {};
}

void barrier(const Shot& shot, VkAccessFlags host_access_after) {
    VkMemoryBarrier memory{};
    memory.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER;
    memory.srcAccessMask = VK_ACCESS_MEMORY_WRITE_BIT;
    memory.dstAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT | host_access_after;
    VkPipelineStageFlags after = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
    if (host_access_after != 0) after |= VK_PIPELINE_STAGE_HOST_BIT;
    shot.device.vk().vkCmdPipelineBarrier(shot.commands, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, after, 0, 1, &memory, 0,
                                          nullptr, 0, nullptr);
}

Status record_and_wait(Shot& shot, const std::function<void(VkCommandBuffer)>& record) {
    const VolkDeviceTable& vk = shot.device.vk();
    VkCommandBufferBeginInfo begin{};
    begin.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
    begin.flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT;
    if (VkResult result = vk.vkBeginCommandBuffer(shot.commands, &begin); result != VK_SUCCESS)
        return failed("vkBeginCommandBuffer", result);
    barrier(shot, 0);
    if (shot.queries != VK_NULL_HANDLE) {
        vk.vkCmdResetQueryPool(shot.commands, shot.queries, 0, 2);
        // After the barrier: the first stamp waits for what came before.
        vk.vkCmdWriteTimestamp(shot.commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, shot.queries, 0);
    }
    record(shot.commands);
    if (shot.queries != VK_NULL_HANDLE)
        vk.vkCmdWriteTimestamp(shot.commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, shot.queries, 1);
    barrier(shot, VK_ACCESS_HOST_READ_BIT | VK_ACCESS_HOST_WRITE_BIT);
    if (VkResult result = vk.vkEndCommandBuffer(shot.commands); result != VK_SUCCESS)
        return failed("vkEndCommandBuffer", result);

    VkSubmitInfo info{};
    info.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
    info.commandBufferCount = 1;
    info.pCommandBuffers = &shot.commands;
    if (VkResult result = vk.vkQueueSubmit(shot.device.queue(), 1, &info, shot.fence); result != VK_SUCCESS)
        return failed("vkQueueSubmit", result);
    if (VkResult result = vk.vkWaitForFences(shot.device.handle(), 1, &shot.fence, VK_TRUE, UINT64_MAX);
        result != VK_SUCCESS)
        return failed("vkWaitForFences", result);
    return {};
}

}  // namespace

Status submit(const Device& device, const std::function<void(VkCommandBuffer)>& record) {
    Shot shot(device);
    if (Status status = make(shot, false); !status.ok()) return status;
    return record_and_wait(shot, record);
}

Result<Timing> submit_timed(const Device& device, const std::function<void(VkCommandBuffer)>& record) {
    Shot shot(device);
    if (Status status = make(shot, true); !status.ok()) return status;
    const auto start = std::chrono::steady_clock::now();
    if (Status status = record_and_wait(shot, record); !status.ok()) return status;
    const std::chrono::duration<double, std::milli> host_ms = std::chrono::steady_clock::now() - start;
    if (shot.queries == VK_NULL_HANDLE) return Timing{host_ms.count(), false};

    uint64_t ticks[2] = {};
    if (VkResult result =
            device.vk().vkGetQueryPoolResults(device.handle(), shot.queries, 0, 2, sizeof ticks, ticks, sizeof ticks[0],
                                              VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT);
        result != VK_SUCCESS)
        return failed("vkGetQueryPoolResults", result);
    const uint64_t elapsed = (ticks[1] - ticks[0]) & device.timestamp_mask();
    return Timing{static_cast<double>(elapsed) * device.timestamp_period_ns() * 1e-6, true};
}

}  // namespace vkattn::support
