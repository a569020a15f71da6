// A vkGetInstanceProcAddr that hands the engine wrapped vkCmd* functions: what record() does is counted from outside, a chosen
// barrier can be dropped, and the allocations of the driver and the layer inside vkCmd* are kept apart from the library's own.
#pragma once

#include <cstdint>

#include <volk.h>

namespace vkattn_tests {

struct CommandLog {
    uint32_t dispatches = 0;
    uint32_t barriers = 0;  // vkCmdPipelineBarrier calls, dropped ones included
    uint32_t updates = 0;   // vkCmdUpdateBuffer
    uint32_t pipeline_binds = 0;
    uint32_t push_constant_bytes = 0;  // the largest offset + size
    uint32_t largest_groups[3] = {0, 0, 0};
    uint64_t own_news = 0;          // operator new calls outside of vkCmd*, see allocation_counter.h
    uint64_t host_allocations = 0;  // VkAllocationCallbacks calls outside of vkCmd*
};

// Starts a log on this thread. `drop_barrier`: the number, from 0, of the vkCmdPipelineBarrier that is not passed on; -1: none.
void start_command_log(int32_t drop_barrier = -1);
CommandLog stop_command_log();

// Give this to HostDevice::get_instance_proc_addr. Outside of a log it only passes calls on.
PFN_vkVoidFunction VKAPI_CALL spy_get_instance_proc_addr(VkInstance instance, const char* name);

// VkAllocationCallbacks that count: live allocations, and calls while a log runs. The structure lives as long as the process.
const VkAllocationCallbacks* counting_allocator();
int64_t live_host_allocations();

}  // namespace vkattn_tests
