// A device that says other things of itself than it is: vendor, driver, limits, subgroup sizes, features. Engines made on it choose as
// they would there, and what they make runs on the real device: a size that a pipeline requires must be one of its own.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "vkattn/engine.h"
#include "vulkan_context.h"

namespace vkattn_tests {

// Empty: as it is.
struct Pretence {
    std::optional<VkPhysicalDeviceType> type;
    std::optional<uint32_t> vendor_id, device_id, driver_version;
    std::optional<VkDriverId> driver_id;
    std::optional<uint32_t> subgroup_size, min_subgroup_size, max_subgroup_size;
    std::optional<uint32_t> storage_buffers;  // that a stage binds
    // It offers matrices of workgroups of these many invocations, multiples of 8 up to max_workgroup_matrix_dim, and takes 1024 bytes of
    // shared memory for them. What is compiled for it must not ask the real device for them.
    std::vector<uint32_t> workgroup_matrices;
    uint32_t max_workgroup_matrix_dim = 8;
    bool no_features = false;        // nothing that Vulkan does not guarantee, subgroup operations included
    bool guaranteed_limits = false;  // those that size dispatches, memory and ranges are Vulkan's least
};

// What vkCreateComputePipelines was asked for.
struct AskedPipeline {
    uint32_t subgroup_size = 0;  // required; 0: none
    bool full_subgroups = false;
};

// One at a time, and it outlives its engines.
class PretendedDevice {
  public:
    PretendedDevice(VulkanContext& context, const Pretence& pretence);
    ~PretendedDevice();
    PretendedDevice(const PretendedDevice&) = delete;
    PretendedDevice& operator=(const PretendedDevice&) = delete;

    vkattn::Requirements requirements() const;
    vkattn::HostDevice host(const vkattn::Features& enabled) const;
    // Of a host that enabled everything that requirements() asks for, or these. A refusal fails the test, except of create_engine.
    std::unique_ptr<vkattn::Engine> make_engine() const { return make_engine(requirements().features); }
    std::unique_ptr<vkattn::Engine> make_engine(const vkattn::Features& enabled) const;
    vkattn::Result<std::unique_ptr<vkattn::Engine>> create_engine(const vkattn::Features& enabled) const;
    vkattn::Result<std::unique_ptr<vkattn::Engine>> create_engine(const vkattn::Features& enabled,
                                                                  const vkattn::ShaderCompiler* compiler) const;

    // Of all engines here so far.
    const std::vector<AskedPipeline>& pipelines() const;
    const std::set<uint32_t>& spirv_capabilities() const;  // SpvCapability, declared by any module

  private:
    VulkanContext& context_;
};

}  // namespace vkattn_tests
