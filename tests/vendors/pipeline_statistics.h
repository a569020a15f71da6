// What a driver's compiler says of the pipelines that an engine makes (VK_KHR_pipeline_executable_properties), collected from
// outside: the engine is given a vkGetInstanceProcAddr that adds VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "vulkan_context.h"

namespace vkattn_tests {

// One pipeline's figures under names that all drivers share. Empty: this driver does not say.
struct Statistics {
    std::optional<uint64_t>
        registers;                   // of one invocation, in the driver's unit: 32 bits, 4 x 32 on Adreno, 16 on Apple
    std::optional<uint64_t> spills;  // stores to memory for want of registers
    std::optional<uint64_t> scratch_bytes;  // memory of one invocation beside its registers: spills and indexed arrays
    std::optional<uint64_t> shared_bytes;   // of one workgroup
    std::optional<uint64_t> occupancy;      // at once: waves a SIMD or core, warps an SM, invocations on Apple
    std::optional<uint64_t> instructions;
    std::optional<uint64_t> matrix_instructions;  // in the listing; of modules that declare cooperative matrices
    uint32_t subgroup_size = 0;
};

struct PipelineRecord {
    VkPipeline pipeline = VK_NULL_HANDLE;
    std::array<char, 32> kernel{};                         // the debug label under which it was bound first
    std::vector<std::pair<uint32_t, uint32_t>> constants;  // specialization constants, id and value
    Statistics statistics;
    double create_ms = 0.0;
};

// Other specialization constants than the engine's (id, value; only those that a pipeline has) and, unless 0, a required subgroup
// size: what another choice of tiles would cost. Results would be wrong where the host's choices must agree.
struct Changes {
    std::vector<std::pair<uint32_t, uint32_t>> constants;
    uint32_t subgroup_size = 0;
};

// Collects on this context from now on, for engines that get collecting_get_instance_proc_addr. One context a process.
void collect_pipelines(VulkanContext& context, Changes changes = {});
PFN_vkVoidFunction VKAPI_CALL collecting_get_instance_proc_addr(VkInstance instance, const char* name);
// Every pipeline so far, in order of creation.
const std::vector<PipelineRecord>& collected_pipelines();

}  // namespace vkattn_tests
