// What pipelines may cost, and where they cost more for now. Counts move by some percent between versions of Mesa.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace vkattn_tests {

// No pipeline spills or uses scratch memory, on any device, and all fit the shared memory that Vulkan guarantees.
constexpr uint64_t max_spills = 0, max_scratch_bytes = 0, max_shared_bytes = 16384;

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

// Pipelines known to be over budget. One that no run sees any more fails the test: delete it then.
struct KnownExcess {
    std::string_view device;  // the key in tests/vendors.sh
    int32_t dim;              // the larger of D and Dv; 0: all
    uint64_t max_spills;
    uint64_t max_scratch_bytes;
    std::string_view reason;
};
constexpr std::array<KnownExcess, 0> known_excesses = {};

}  // namespace vkattn_tests
