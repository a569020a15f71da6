#include "pipeline_statistics.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <set>

#include <doctest/doctest.h>

#include "command_spy.h"
#include "spirv.h"

namespace vkattn_tests {
namespace {

VulkanContext* collecting = nullptr;
Changes changes_now;
std::vector<PipelineRecord> records;
const char* label_now = "";
std::set<VkShaderModule> matrix_modules;  // that declare cooperative matrices

PFN_vkGetDeviceProcAddr next_get_device_proc_addr = nullptr;
PFN_vkCreateComputePipelines next_create_compute_pipelines = nullptr;
PFN_vkCreateShaderModule next_create_shader_module = nullptr;
PFN_vkCmdBindPipeline next_bind_pipeline = nullptr;
PFN_vkCmdBeginDebugUtilsLabelEXT next_begin_label = nullptr;

// What each of Mesa's drivers calls a figure; several names in one driver are added up.
struct StatisticName {
    const char* name;
    std::optional<uint64_t> Statistics::*figure;
};
constexpr StatisticName statistic_names[] = {
    // RADV
    {"VGPRs", &Statistics::registers},
    {"Spilled VGPRs", &Statistics::spills},
    {"Spilled SGPRs", &Statistics::spills},
    {"Scratch size", &Statistics::scratch_bytes},
    {"LDS size", &Statistics::shared_bytes},
    {"Subgroups per SIMD", &Statistics::occupancy},
    // NVK; its "Spills to reg" stay in registers of another kind
    {"Number of GPRs", &Statistics::registers},
    {"Spills to memory", &Statistics::spills},
    {"SLM size", &Statistics::scratch_bytes},
    {"Max warps/SM", &Statistics::occupancy},
    {"Instruction count", &Statistics::instructions},
    // Turnip; STP is a store to private memory
    {"Registers used", &Statistics::registers},
    {"STP Count", &Statistics::spills},
    {"Max Waves Per Core", &Statistics::occupancy},
    // Honeykrisp
    {"GPRs", &Statistics::registers},
    {"Spills", &Statistics::spills},
    {"Scratch", &Statistics::scratch_bytes},
    {"Threads", &Statistics::occupancy},
    // ANV
    {"Spill count", &Statistics::spills},
    {"Scratch Memory Size", &Statistics::scratch_bytes},
    {"Workgroup Memory Size", &Statistics::shared_bytes},
    {"GRF registers", &Statistics::registers},
    // several
    {"Instructions", &Statistics::instructions},
    {"Instruction Count", &Statistics::instructions},
};

uint64_t value_of(const VkPipelineExecutableStatisticKHR& statistic) {
    switch (statistic.format) {
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_BOOL32_KHR: return statistic.value.b32;
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_INT64_KHR: return static_cast<uint64_t>(statistic.value.i64);
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_UINT64_KHR: return statistic.value.u64;
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_FLOAT64_KHR: return static_cast<uint64_t>(statistic.value.f64);
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_MAX_ENUM_KHR: break;
    }
    FAIL("an unknown format of statistic " << statistic.name);
    return 0;
}

// AMD's v_wmma and v_swmmac, NVIDIA's hmma and imma, Intel's dpas, in that listing of an executable which has most: drivers give
// several stages of compilation.
uint64_t count_matrix_instructions(const VkPipelineExecutableInfoKHR& executable) {
    const VolkDeviceTable& vk = collecting->vk;
    uint32_t count = 0;
    vk.vkGetPipelineExecutableInternalRepresentationsKHR(collecting->device, &executable, &count, nullptr);
    std::vector<VkPipelineExecutableInternalRepresentationKHR> listings(count);
    for (auto& listing : listings) listing.sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INTERNAL_REPRESENTATION_KHR;
    vk.vkGetPipelineExecutableInternalRepresentationsKHR(collecting->device, &executable, &count, listings.data());
    std::vector<std::string> texts(count);  // sizes are known now
    for (uint32_t i = 0; i < count; i++) {
        texts[i].resize(listings[i].dataSize);
        listings[i].pData = texts[i].data();
    }
    vk.vkGetPipelineExecutableInternalRepresentationsKHR(collecting->device, &executable, &count, listings.data());
    uint64_t most = 0;
    for (const std::string& text : texts) {
        uint64_t found = 0;
        for (const char* name : {"v_wmma", "v_swmmac", "hmma", "imma", "dpas"})
            for (size_t at = text.find(name); at != std::string::npos; at = text.find(name, at + 1)) found++;
        most = std::max(most, found);
    }
    return most;
}

// ANV may compile one pipeline at several subgroup sizes: the figures of the worst count.
Statistics read_statistics(VkPipeline pipeline, bool has_matrices) {
    const VolkDeviceTable& vk = collecting->vk;
    VkPipelineInfoKHR info{};
    info.sType = VK_STRUCTURE_TYPE_PIPELINE_INFO_KHR;
    info.pipeline = pipeline;
    uint32_t executable_count = 0;
    vk.vkGetPipelineExecutablePropertiesKHR(collecting->device, &info, &executable_count, nullptr);
    std::vector<VkPipelineExecutablePropertiesKHR> executables(executable_count);
    for (auto& executable : executables) executable.sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_PROPERTIES_KHR;
    vk.vkGetPipelineExecutablePropertiesKHR(collecting->device, &info, &executable_count, executables.data());
    Statistics worst;
    for (uint32_t i = 0; i < executable_count; i++) {
        VkPipelineExecutableInfoKHR executable{};
        executable.sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR;
        executable.pipeline = pipeline;
        executable.executableIndex = i;
        uint32_t count = 0;
        vk.vkGetPipelineExecutableStatisticsKHR(collecting->device, &executable, &count, nullptr);
        std::vector<VkPipelineExecutableStatisticKHR> statistics(count);
        for (auto& statistic : statistics) statistic.sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR;
        vk.vkGetPipelineExecutableStatisticsKHR(collecting->device, &executable, &count, statistics.data());
        Statistics one;
        for (const auto& statistic : statistics)
            for (const StatisticName& known : statistic_names)
                if (std::strcmp(statistic.name, known.name) == 0)
                    one.*known.figure = (one.*known.figure).value_or(0) + value_of(statistic);
        for (auto figure : {&Statistics::registers, &Statistics::spills, &Statistics::scratch_bytes,
                            &Statistics::shared_bytes, &Statistics::instructions})
            worst.*figure = std::max(worst.*figure, one.*figure);
        if (one.occupancy) worst.occupancy = std::min(worst.occupancy.value_or(*one.occupancy), *one.occupancy);
        if (has_matrices) {
            const uint64_t found = count_matrix_instructions(executable);
            worst.matrix_instructions = std::min(worst.matrix_instructions.value_or(found), found);
        }
        worst.subgroup_size = executables[i].subgroupSize;
    }
    return worst;
}

// The constants that a pipeline gets: the engine's, changed.
std::vector<std::pair<uint32_t, uint32_t>> constants_of(const VkSpecializationInfo* info) {
    std::vector<std::pair<uint32_t, uint32_t>> constants;
    if (info == nullptr) return constants;
    for (uint32_t i = 0; i < info->mapEntryCount; i++) {
        const VkSpecializationMapEntry& entry = info->pMapEntries[i];
        uint32_t value = 0;
        std::memcpy(&value, static_cast<const char*>(info->pData) + entry.offset, std::min(entry.size, sizeof value));
        for (const auto& [id, changed] : changes_now.constants)
            if (id == entry.constantID) value = changed;
        constants.emplace_back(entry.constantID, value);
    }
    return constants;
}

VkResult VKAPI_CALL create_compute_pipelines(VkDevice device, VkPipelineCache cache, uint32_t count,
                                             const VkComputePipelineCreateInfo* infos,
                                             const VkAllocationCallbacks* allocator, VkPipeline* pipelines) {
    if (count != 1) FAIL("the engine makes pipelines one by one");
    PipelineRecord record;
    VkComputePipelineCreateInfo info = *infos;
    const bool has_matrices = matrix_modules.count(info.stage.module) == 1;
    if (collecting->pipeline_statistics) {
        info.flags |= VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR;
        if (has_matrices) info.flags |= VK_PIPELINE_CREATE_CAPTURE_INTERNAL_REPRESENTATIONS_BIT_KHR;
    }

    record.constants = constants_of(info.stage.pSpecializationInfo);
    std::vector<VkSpecializationMapEntry> entries;
    std::vector<uint32_t> values;
    for (const auto& [id, value] : record.constants) {
        entries.push_back({id, static_cast<uint32_t>(values.size() * sizeof value), sizeof value});
        values.push_back(value);
    }
    const VkSpecializationInfo special{static_cast<uint32_t>(entries.size()), entries.data(),
                                       values.size() * sizeof(uint32_t), values.data()};
    VkPipelineShaderStageRequiredSubgroupSizeCreateInfo subgroup{};
    subgroup.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO;
    subgroup.requiredSubgroupSize = changes_now.subgroup_size;
    info.stage.pSpecializationInfo = &special;
    if (changes_now.subgroup_size != 0) info.stage.pNext = &subgroup;

    const auto begin = std::chrono::steady_clock::now();
    const VkResult result = next_create_compute_pipelines(device, cache, 1, &info, allocator, pipelines);
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
    if (result != VK_SUCCESS) return result;
    record.pipeline = *pipelines;
    record.create_ms = took.count();
    if (collecting->pipeline_statistics) record.statistics = read_statistics(*pipelines, has_matrices);
    records.push_back(std::move(record));
    return result;
}

VkResult VKAPI_CALL create_shader_module(VkDevice device, const VkShaderModuleCreateInfo* info,
                                         const VkAllocationCallbacks* allocator, VkShaderModule* module) {
    const VkResult result = next_create_shader_module(device, info, allocator, module);
    if (result == VK_SUCCESS && declared_capabilities(*info).count(spv_matrices_khr) == 1)
        matrix_modules.insert(*module);
    return result;
}

// Inside a record(), where the spy counts allocations: nothing here may allocate.
void VKAPI_CALL begin_label(VkCommandBuffer cmd, const VkDebugUtilsLabelEXT* label) {
    label_now = label->pLabelName;
    next_begin_label(cmd, label);
}

void VKAPI_CALL bind_pipeline(VkCommandBuffer cmd, VkPipelineBindPoint point, VkPipeline pipeline) {
    for (PipelineRecord& record : records)
        if (record.pipeline == pipeline && record.kernel[0] == '\0')
            std::strncpy(record.kernel.data(), label_now, record.kernel.size() - 1);
    next_bind_pipeline(cmd, point, pipeline);
}

template <class Function>
PFN_vkVoidFunction wrap(PFN_vkVoidFunction found, Function& next, Function wrapper) {
    next = reinterpret_cast<Function>(found);
    return found == nullptr ? nullptr : reinterpret_cast<PFN_vkVoidFunction>(wrapper);
}

PFN_vkVoidFunction VKAPI_CALL get_device_proc_addr(VkDevice device, const char* name) {
    PFN_vkVoidFunction found = next_get_device_proc_addr(device, name);
    const auto is = [name](const char* other) { return std::strcmp(name, other) == 0; };
    if (is("vkCreateComputePipelines")) return wrap(found, next_create_compute_pipelines, &create_compute_pipelines);
    if (is("vkCreateShaderModule")) return wrap(found, next_create_shader_module, &create_shader_module);
    if (is("vkCmdBindPipeline")) return wrap(found, next_bind_pipeline, &bind_pipeline);
    if (is("vkCmdBeginDebugUtilsLabelEXT")) return wrap(found, next_begin_label, &begin_label);
    return found;
}

}  // namespace

void collect_pipelines(VulkanContext& context, Changes changes) {
    collecting = &context;
    changes_now = std::move(changes);
    records.clear();
}

PFN_vkVoidFunction VKAPI_CALL collecting_get_instance_proc_addr(VkInstance instance, const char* name) {
    PFN_vkVoidFunction found = spy_get_instance_proc_addr(instance, name);
    if (std::strcmp(name, "vkGetDeviceProcAddr") != 0) return found;
    return wrap(found, next_get_device_proc_addr, &get_device_proc_addr);
}

const std::vector<PipelineRecord>& collected_pipelines() { return records; }

}  // namespace vkattn_tests
