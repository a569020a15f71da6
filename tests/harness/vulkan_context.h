// A Vulkan device for tests, with the validation layer counting. Plain Vulkan calls; the engine only adopts what is made here.
//
// VKATTN_TEST_DEVICE chooses: "lavapipe" (default), "swiftshader", or a part of a device's or driver's name.
// The layer VK_LAYER_KHRONOS_validation runs core and synchronization validation with syncval_shader_accesses_heuristic on:
// without the heuristic the layer does not look into descriptors and misses missing barriers (measured). A missing layer
// fails the test; it never skips it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <volk.h>

#include "vkattn/device.h"

namespace vkattn_tests {

struct ValidationMessage {
    bool error = false;  // else a warning
    std::string text;
};

class VulkanContext;

struct ContextOptions {
    bool device_address = true;        // enable bufferDeviceAddress where offered
    bool pipeline_statistics = false;  // enable VK_KHR_pipeline_executable_properties where offered
    // A second device on this context's instance, sharing its messages. (The layer aborts at exit when there were two instances.)
    VulkanContext* beside = nullptr;
};

class VulkanContext {
  public:
    // Aborts the test (doctest FAIL) when there is no layer or no such device.
    explicit VulkanContext(const ContextOptions& options = {});
    ~VulkanContext();
    VulkanContext(const VulkanContext&) = delete;
    VulkanContext& operator=(const VulkanContext&) = delete;

    // The process's context: one device for all suites.
    static VulkanContext& shared();

    VkInstance instance = VK_NULL_HANDLE;
    VkPhysicalDevice physical_device = VK_NULL_HANDLE;
    VkDevice device = VK_NULL_HANDLE;
    VkQueue queue = VK_NULL_HANDLE;
    uint32_t queue_family = 0;
    VolkInstanceTable vki{};  // functions of this instance and device, no global ones
    VolkDeviceTable vk{};
    vkattn::Features enabled;
    VkPhysicalDeviceProperties properties{};
    bool software = false;  // lavapipe or SwiftShader
    bool swiftshader = false;
    bool pipeline_statistics = false;   // VK_KHR_pipeline_executable_properties is enabled
    bool external_host_memory = false;  // VK_EXT_external_memory_host is enabled: imported, lazily committed memory
    std::string driver;                 // for replay lines

    // What the layer said since the last clear_messages.
    const std::vector<ValidationMessage>& messages() const { return *messages_; }
    void clear_messages() { messages_->clear(); }
    // Every message on a line of its own; empty when there is none.
    std::string message_text() const;
    void add_message(ValidationMessage message) { messages_->push_back(std::move(message)); }

    VkCommandBuffer begin();                               // a primary command buffer, recording, one-time submit
    void submit_and_wait(VkCommandBuffer command_buffer);  // ends, submits, waits, frees
    uint32_t memory_type(uint32_t allowed_bits, VkMemoryPropertyFlags wanted) const;

  private:
    VkDebugUtilsMessengerEXT messenger_ = VK_NULL_HANDLE;
    VkCommandPool pool_ = VK_NULL_HANDLE;
    VkFence fence_ = VK_NULL_HANDLE;
    std::shared_ptr<std::vector<ValidationMessage>> messages_;
    bool owns_instance_ = true;

    void create_instance();
    void create_device(const ContextOptions& options);
};

// Buffer and memory of its own, mapped and coherent: STORAGE, TRANSFER_DST, TRANSFER_SRC and, where enabled, SHADER_DEVICE_ADDRESS.
class DeviceBuffer {
  public:
    DeviceBuffer() = default;
    DeviceBuffer(VulkanContext& context, uint64_t size_bytes);
    ~DeviceBuffer();
    DeviceBuffer(DeviceBuffer&& other) noexcept;
    DeviceBuffer& operator=(DeviceBuffer&& other) noexcept;

    VkBuffer handle = VK_NULL_HANDLE;
    uint64_t size_bytes = 0;
    uint8_t* data = nullptr;  // mapped

  private:
    VulkanContext* context_ = nullptr;
    VkDeviceMemory memory_ = VK_NULL_HANDLE;
};

// A buffer over an imported mapping that costs memory only where it is touched, with a guard page before and after the mapping:
// for strides that reach beyond 2^31 and 2^32 bytes. ok() is false where the device cannot import or not hold that much.
class SparseBuffer {
  public:
    SparseBuffer(VulkanContext& context, uint64_t size_bytes);
    ~SparseBuffer();
    SparseBuffer(const SparseBuffer&) = delete;
    SparseBuffer& operator=(const SparseBuffer&) = delete;
    bool ok() const { return handle != VK_NULL_HANDLE; }

    VkBuffer handle = VK_NULL_HANDLE;
    uint64_t size_bytes = 0;
    uint8_t* data = nullptr;
    std::string why_not;

  private:
    VulkanContext& context_;
    VkDeviceMemory memory_ = VK_NULL_HANDLE;
    void* mapping_ = nullptr;
    uint64_t mapping_bytes_ = 0;
};

}  // namespace vkattn_tests
