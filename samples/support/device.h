// A Vulkan device of our own for programs and tests: loader, instance, device with what vkattn asks for, one compute queue and
// a memory allocator. The engine adopts it by host(). Everything here is a value or a Status; nothing is printed.
//
//   auto device = Device::create("");                          // "", "2", "gpu", "lavapipe": as choose_device reads it
//   auto engine = Engine::create((*device)->host(), {...});
//
// Lifetime: the Device outlives every Buffer, Engine and plan made with it. Thread class: one thread at a time.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <volk.h>

#include "vkattn/device.h"
#include "vkattn/engine.h"
#include "vkattn/result.h"

// Of vk_mem_alloc.h, which only two source files include.
struct VmaAllocator_T;

namespace vkattn::support {

// `synchronization` is core validation and synchronization validation with the shader access heuristic (without it a missing
// barrier between dispatches is not seen).
enum class Validation : uint8_t { off, core, synchronization };

const char* kind_text(VkPhysicalDeviceType type);  // "discrete GPU", "software", ...
std::string version_text(uint32_t api_version);    // "1.3.275"

struct DeviceOptions {
    Validation validation = Validation::off;  // an error where VK_LAYER_KHRONOS_validation is not installed
    std::optional<Features> features = {};    // enable only these of what the device offers; default: all
    bool shader_float16 = false;              // also shaderFloat16 where offered, for kernels of the caller's own
};

// What the validation layer and the loader said: warnings and errors, in order. Filled from any thread.
class MessageLog {
  public:
    void add(std::string message);
    std::vector<std::string> messages() const;
    void clear();

  private:
    mutable std::mutex mutex_;
    std::vector<std::string> messages_;
};

// An instance and its devices, best first; the index is what `--device N` means.
class Instance {
  public:
    static Result<std::shared_ptr<Instance>> create(Validation validation = Validation::off);
    ~Instance();
    Instance(const Instance&) = delete;
    Instance& operator=(const Instance&) = delete;

    VkInstance handle() const { return instance_; }
    PFN_vkGetInstanceProcAddr get_instance_proc_addr() const { return vkGetInstanceProcAddr; }
    const std::vector<DeviceInfo>& devices() const { return devices_; }
    bool has_debug_utils() const { return has_debug_utils_; }
    MessageLog& log() { return log_; }

  private:
    Instance() = default;

    VkInstance instance_ = VK_NULL_HANDLE;
    VkDebugUtilsMessengerEXT messenger_ = VK_NULL_HANDLE;
    std::vector<DeviceInfo> devices_;
    bool has_debug_utils_ = false;
    MessageLog log_;
};

class Device {
  public:
    static Result<std::unique_ptr<Device>> create(std::string_view selector = {}, const DeviceOptions& options = {});
    static Result<std::unique_ptr<Device>> create(std::shared_ptr<Instance> instance, size_t index,
                                                  const DeviceOptions& options = {});
    ~Device();
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;

    HostDevice host() const;  // for Engine::create
    const DeviceInfo& info() const { return info_; }
    const Features& enabled() const { return enabled_; }
    bool has_shader_float16() const { return shader_float16_; }  // asked for and enabled
    MessageLog& log() const { return instance_->log(); }

    VkDevice handle() const { return device_; }
    VkQueue queue() const { return queue_; }  // the only one; compute and transfer
    uint32_t queue_family() const { return queue_family_; }
    VkCommandPool command_pool() const { return command_pool_; }
    // Nanoseconds a tick of the queue's timestamps; 0: the queue has none.
    double timestamp_period_ns() const { return timestamp_period_ns_; }
    uint64_t timestamp_mask() const { return timestamp_mask_; }
    const VolkDeviceTable& vk() const { return table_; }
    VmaAllocator_T* allocator() const { return allocator_; }

  private:
    Device() = default;
    Status open(size_t index, const DeviceOptions& options);
    Status choose_queue();
    Status create_device(const Requirements& wanted, bool wants_float16);
    Status create_command_pool();
    Status create_allocator();

    std::shared_ptr<Instance> instance_;
    DeviceInfo info_;
    Features enabled_;
    bool shader_float16_ = false;
    VkDevice device_ = VK_NULL_HANDLE;
    VkQueue queue_ = VK_NULL_HANDLE;
    uint32_t queue_family_ = 0;
    VkCommandPool command_pool_ = VK_NULL_HANDLE;
    double timestamp_period_ns_ = 0.0;
    uint64_t timestamp_mask_ = 0;
    VolkDeviceTable table_{};
    VmaAllocator_T* allocator_ = nullptr;
};

}  // namespace vkattn::support
