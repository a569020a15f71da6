// What pipelines may cost. Counts move by some percent between versions of Mesa.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace vkattn_tests {

// No pipeline spills or uses scratch memory, on any device, and all fit the shared memory that Vulkan guarantees.
constexpr uint64_t max_spills = 0, max_scratch_bytes = 0, max_shared_bytes = 16384;

// Shared memory against the plan's own count: what a schedule does not use, and what drivers round up to.
constexpr uint64_t max_unused_shared_bytes = 16, shared_granule_bytes = 1024;

// At least this much at once, in the driver's unit (Statistics::occupancy).
struct OccupancyFloor {
    std::string_view driver;  // as VkPhysicalDeviceDriverProperties::driverName begins
    uint64_t at_least;
};
constexpr std::array occupancy_floors = {
    OccupancyFloor{"radv", 6},          // wave32 a SIMD, of 16 to 20
    OccupancyFloor{"NVK", 12},          // warps an SM, of 48 to 64
    OccupancyFloor{"turnip", 2},        // waves a core
    OccupancyFloor{"Honeykrisp", 384},  // invocations a core, of 1024
};

}  // namespace vkattn_tests
