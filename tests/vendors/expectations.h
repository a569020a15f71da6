// What a version of Mesa makes of the devices in tests/vendors.sh: features come and go with versions, and counts move by some
// percent. With a version that is not here only budgets.h is held. Adding one: run tests/vendors.sh with it, compare its features
// with the newest here, and add what it says.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace vkattn_tests {

struct ExpectedDevice {
    std::string_view key;                                          // in tests/vendors.sh
    uint32_t subgroup_size, min_subgroup_size, max_subgroup_size;  // 0, 0: none can be required
    uint32_t shared_kib;
    std::string_view matrices;  // types of A that attention can use
};

// The fewest at once of any pipeline of a kernel, in the driver's unit (Statistics::occupancy).
struct OccupancyFloor {
    std::string_view driver;  // as VkPhysicalDeviceDriverProperties::driverName begins
    std::string_view kernel;
    uint64_t at_least;
};

struct Expectations {
    std::string_view mesa;
    std::span<const ExpectedDevice> devices;
    std::span<const OccupancyFloor> floors;
};

namespace mesa_26_1_6 {

constexpr ExpectedDevice devices[] = {
    {"navi10", 64, 32, 64, 64, ""},
    {"navi21", 64, 32, 64, 64, ""},
    {"navi31", 64, 32, 64, 64, "f16"},
    {"navi33", 64, 32, 64, 64, "f16"},
    {"gfx1201", 64, 32, 64, 64, "bf16 f16"},
    {"volta", 32, 0, 0, 48, ""},
    {"turing", 32, 0, 0, 48, "f16"},
    {"ampere", 32, 0, 0, 48, "f16"},
    {"ada", 32, 0, 0, 48, "f16"},
    {"blackwell", 32, 0, 0, 48, "f16"},
    {"adreno618", 128, 64, 128, 32, ""},
    {"adreno630", 128, 64, 128, 32, ""},
    {"adreno660", 128, 64, 128, 32, ""},
    {"adreno730", 128, 64, 128, 32, ""},
    {"adreno740", 128, 64, 128, 32, ""},
    {"adreno750", 128, 64, 128, 32, ""},
    {"m1", 32, 0, 0, 32, ""},
    {"tgl", 32, 8, 32, 48, ""},
    {"adl", 32, 8, 32, 48, ""},
    {"mtl", 32, 8, 32, 48, ""},
    {"arl", 32, 8, 32, 48, "bf16 f16"},
    {"dg2", 32, 8, 32, 48, "bf16 f16"},
    {"lnl", 32, 16, 32, 48, "bf16 f16"},
    {"bmg", 32, 16, 32, 48, "bf16 f16"},
    {"ptl", 32, 16, 32, 48, "bf16 f16"},
};

// Waves a SIMD of 16 to 32 (RADV), warps an SM of 32 to 64 (NVK), waves a core of 16 (Turnip), invocations a core of 1024 (Honeykrisp).
constexpr OccupancyFloor floors[] = {
    {"radv", "attention_tiles", 6},          {"radv", "attention_decode", 10},  {"radv", "attention_khr", 8},
    {"NVK", "attention_tiles", 12},          {"NVK", "attention_decode", 8},    {"NVK", "attention_khr", 12},
    {"turnip", "attention_tiles", 2},        {"turnip", "attention_decode", 4}, {"Honeykrisp", "attention_tiles", 384},
    {"Honeykrisp", "attention_decode", 384},
};

}  // namespace mesa_26_1_6

constexpr Expectations expectations[] = {
    {"26.1.6", mesa_26_1_6::devices, mesa_26_1_6::floors},
};

// "26.1.6" of "radv Mesa 26.1.6-1 (LLVM 21.1.8)"; empty: this is no driver of Mesa's.
inline std::string mesa_version(std::string_view driver) {
    constexpr std::string_view mesa = "Mesa ";
    const size_t at = driver.find(mesa);
    size_t begin = at;
    // "Mesa driver Mesa 26.1.6": the last one is followed by the version.
    for (size_t next = at; next != std::string_view::npos; next = driver.find(mesa, next + 1)) begin = next;
    if (begin == std::string_view::npos) return {};
    const std::string_view version = driver.substr(begin + mesa.size());
    return std::string(version.substr(0, version.find_first_not_of("0123456789.")));
}

// Null: there are none for this version.
inline const Expectations* expectations_of(std::string_view driver) {
    for (const Expectations& one : expectations)
        if (one.mesa == mesa_version(driver)) return &one;
    return nullptr;
}

inline std::string known_versions() {
    std::string versions;
    for (const Expectations& one : expectations) versions += (versions.empty() ? "" : ", ") + std::string(one.mesa);
    return versions;
}

}  // namespace vkattn_tests
