// What pipelines may cost, and where they cost more for now. Counts move by some percent between versions of Mesa.
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

// Pipelines known to be over budget. One that no run sees any more fails the test: delete it then.
struct KnownExcess {
    std::string_view device;  // the key in tests/vendors.sh
    int32_t dim;              // the larger of D and Dv; 0: all
    uint64_t max_spills;
    uint64_t max_scratch_bytes;
    std::string_view reason;
};
// Figures of Mesa 26.1.6 and a tenth more; docs/tuning.md, T2, has what would end them.
constexpr std::string_view wide_subgroups =
    "full subgroups without a required size: the driver takes 32 invocations, which share the registers of 8 or 16";
constexpr std::string_view wide_subgroups_adreno =
    "full subgroups without a required size: the driver takes 128 invocations, and half of the registers";
constexpr std::array known_excesses = {
    KnownExcess{"adreno660", 64, 13, 0, wide_subgroups_adreno},
    KnownExcess{"adreno660", 256, 18, 0, wide_subgroups_adreno},
    KnownExcess{"m1", 256, 3, 16, "two rows a thread: 255 of 256 registers"},
    KnownExcess{"tgl", 0, 1310, 0, wide_subgroups},
    KnownExcess{"adl", 0, 1310, 0, wide_subgroups},
    KnownExcess{"mtl", 0, 1280, 0, wide_subgroups},
    KnownExcess{"arl", 0, 1280, 0, wide_subgroups},
    KnownExcess{"dg2", 0, 1280, 0, wide_subgroups},
    KnownExcess{"lnl", 0, 350, 0, wide_subgroups},
    KnownExcess{"bmg", 0, 350, 0, wide_subgroups},
    KnownExcess{"ptl", 64, 19, 0, wide_subgroups},
    KnownExcess{"ptl", 256, 19, 0, wide_subgroups},
};

}  // namespace vkattn_tests
