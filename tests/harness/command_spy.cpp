#include "command_spy.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>

// Two counters, one switch: operator new is replaced for the whole test binary (the driver and the layer resolve to it as well),
// so the spy pauses counting while it is inside a vkCmd* call.
namespace vkattn_tests {
namespace {

thread_local bool counting = false;
thread_local CommandLog log_now;
thread_local int32_t dropped_barrier = -1;
std::atomic<int64_t> live{0};

PFN_vkGetDeviceProcAddr real_get_device_proc_addr = nullptr;
PFN_vkCmdBindPipeline real_bind_pipeline = nullptr;
PFN_vkCmdBindDescriptorSets real_bind_descriptor_sets = nullptr;
PFN_vkCmdPushConstants real_push_constants = nullptr;
PFN_vkCmdUpdateBuffer real_update_buffer = nullptr;
PFN_vkCmdPipelineBarrier real_pipeline_barrier = nullptr;
PFN_vkCmdDispatch real_dispatch = nullptr;
PFN_vkCmdBeginDebugUtilsLabelEXT real_begin_label = nullptr;
PFN_vkCmdEndDebugUtilsLabelEXT real_end_label = nullptr;

class Pause {
  public:
    Pause() : was_(counting) { counting = false; }
    ~Pause() { counting = was_; }
    bool logging() const { return was_; }

  private:
    bool was_;
};

void VKAPI_CALL bind_pipeline(VkCommandBuffer cmd, VkPipelineBindPoint point, VkPipeline pipeline) {
    const Pause pause;
    log_now.pipeline_binds++;
    real_bind_pipeline(cmd, point, pipeline);
}

void VKAPI_CALL bind_descriptor_sets(VkCommandBuffer cmd, VkPipelineBindPoint point, VkPipelineLayout layout,
                                     uint32_t first, uint32_t count, const VkDescriptorSet* sets, uint32_t n_offsets,
                                     const uint32_t* offsets) {
    const Pause pause;
    real_bind_descriptor_sets(cmd, point, layout, first, count, sets, n_offsets, offsets);
}

void VKAPI_CALL push_constants(VkCommandBuffer cmd, VkPipelineLayout layout, VkShaderStageFlags stages, uint32_t offset,
                               uint32_t size, const void* values) {
    const Pause pause;
    if (offset + size > log_now.push_constant_bytes) log_now.push_constant_bytes = offset + size;
    real_push_constants(cmd, layout, stages, offset, size, values);
}

void VKAPI_CALL update_buffer(VkCommandBuffer cmd, VkBuffer buffer, VkDeviceSize offset, VkDeviceSize size,
                              const void* bytes) {
    const Pause pause;
    log_now.updates++;
    real_update_buffer(cmd, buffer, offset, size, bytes);
}

void VKAPI_CALL pipeline_barrier(VkCommandBuffer cmd, VkPipelineStageFlags from, VkPipelineStageFlags to,
                                 VkDependencyFlags flags, uint32_t n_memory, const VkMemoryBarrier* memory,
                                 uint32_t n_buffer, const VkBufferMemoryBarrier* buffers, uint32_t n_image,
                                 const VkImageMemoryBarrier* images) {
    const Pause pause;
    const bool drop =
        pause.logging() && dropped_barrier >= 0 && log_now.barriers == static_cast<uint32_t>(dropped_barrier);
    log_now.barriers++;
    if (!drop) real_pipeline_barrier(cmd, from, to, flags, n_memory, memory, n_buffer, buffers, n_image, images);
}

void VKAPI_CALL dispatch(VkCommandBuffer cmd, uint32_t x, uint32_t y, uint32_t z) {
    const Pause pause;
    log_now.dispatches++;
    const uint32_t groups[3] = {x, y, z};
    for (int i = 0; i < 3; i++)
        if (groups[i] > log_now.largest_groups[i]) log_now.largest_groups[i] = groups[i];
    real_dispatch(cmd, x, y, z);
}

void VKAPI_CALL begin_label(VkCommandBuffer cmd, const VkDebugUtilsLabelEXT* label) {
    const Pause pause;
    real_begin_label(cmd, label);
}

void VKAPI_CALL end_label(VkCommandBuffer cmd) {
    const Pause pause;
    real_end_label(cmd);
}

// Remembers the real function in `real` and gives the wrapper; a null stays null, so that optional functions stay optional.
template <class Function>
PFN_vkVoidFunction wrap(PFN_vkVoidFunction found, Function& real, Function wrapper) {
    real = reinterpret_cast<Function>(found);
    return found == nullptr ? nullptr : reinterpret_cast<PFN_vkVoidFunction>(wrapper);
}

PFN_vkVoidFunction wrapped(const char* name, PFN_vkVoidFunction found) {
    const auto is = [name](const char* other) { return std::strcmp(name, other) == 0; };
    if (is("vkCmdBindPipeline")) return wrap(found, real_bind_pipeline, &bind_pipeline);
    if (is("vkCmdBindDescriptorSets")) return wrap(found, real_bind_descriptor_sets, &bind_descriptor_sets);
    if (is("vkCmdPushConstants")) return wrap(found, real_push_constants, &push_constants);
    if (is("vkCmdUpdateBuffer")) return wrap(found, real_update_buffer, &update_buffer);
    if (is("vkCmdPipelineBarrier")) return wrap(found, real_pipeline_barrier, &pipeline_barrier);
    if (is("vkCmdDispatch")) return wrap(found, real_dispatch, &dispatch);
    if (is("vkCmdBeginDebugUtilsLabelEXT")) return wrap(found, real_begin_label, &begin_label);
    if (is("vkCmdEndDebugUtilsLabelEXT")) return wrap(found, real_end_label, &end_label);
    return found;
}

PFN_vkVoidFunction VKAPI_CALL get_device_proc_addr(VkDevice device, const char* name) {
    return wrapped(name, real_get_device_proc_addr(device, name));
}

// The size goes before the block, so that realloc knows how much to copy.
struct alignas(64) Header {
    size_t size;
};

void* VKAPI_CALL host_allocate(void*, size_t size, size_t alignment, VkSystemAllocationScope) {
    if (size == 0) return nullptr;
    if (alignment > alignof(Header)) return nullptr;
    if (counting) log_now.host_allocations++;
    live++;
    auto* header = static_cast<Header*>(::operator new(sizeof(Header) + size, std::align_val_t(alignof(Header))));
    header->size = size;
    return header + 1;
}

void VKAPI_CALL host_free(void*, void* memory) {
    if (memory == nullptr) return;
    live--;
    ::operator delete(static_cast<Header*>(memory) - 1, std::align_val_t(alignof(Header)));
}

void* VKAPI_CALL host_reallocate(void* user, void* original, size_t size, size_t alignment,
                                 VkSystemAllocationScope scope) {
    void* fresh = host_allocate(user, size, alignment, scope);
    if (original != nullptr && fresh != nullptr) {
        const size_t had = (static_cast<Header*>(original) - 1)->size;
        std::memcpy(fresh, original, had < size ? had : size);
    }
    if (fresh != nullptr || size == 0) host_free(user, original);
    return fresh;
}

}  // namespace

void start_command_log(int32_t drop_barrier) {
    log_now = {};
    dropped_barrier = drop_barrier;
    counting = true;
}

CommandLog stop_command_log() {
    counting = false;
    dropped_barrier = -1;
    return log_now;
}

void count_new() {
    if (counting) log_now.own_news++;
}

PFN_vkVoidFunction VKAPI_CALL spy_get_instance_proc_addr(VkInstance instance, const char* name) {
    PFN_vkVoidFunction found = vkGetInstanceProcAddr(instance, name);
    if (std::strcmp(name, "vkGetDeviceProcAddr") == 0 && found != nullptr) {
        real_get_device_proc_addr = reinterpret_cast<PFN_vkGetDeviceProcAddr>(found);
        return reinterpret_cast<PFN_vkVoidFunction>(&get_device_proc_addr);
    }
    return wrapped(name, found);
}

const VkAllocationCallbacks* counting_allocator() {
    static const VkAllocationCallbacks callbacks = [] {
        VkAllocationCallbacks c{};
        c.pfnAllocation = host_allocate;
        c.pfnReallocation = host_reallocate;
        c.pfnFree = host_free;
        return c;
    }();
    return &callbacks;
}

int64_t live_host_allocations() { return live.load(); }

}  // namespace vkattn_tests
