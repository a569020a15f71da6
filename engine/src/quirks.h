// Bugs of drivers that change what this engine does: data, a row a bug.
#pragma once

#include <span>

#include "vkattn/device.h"

namespace vkattn {

struct Quirk {
    enum class Effect : uint8_t {
        int64_addresses,    // addresses are computed as 64-bit integers; without these through descriptors
        no_subgroups,       // rows are reduced through shared memory
        no_full_subgroups,  // the same in the tiles kernel, and the driver chooses the subgroup size
        literal_sizes,      // matrix kernels are compiled for each choice of sizes
        no_matrices,        // no cooperative matrices, nor the question which ones there are
    };
    Effect effect;
    // All of these hold; 0 (for last_*: the largest number) leaves a condition out. Versions are in the driver's own encoding.
    VkDriverId driver;
    uint32_t vendor_id;
    uint32_t first_device_id, last_device_id;
    uint32_t first_driver_version, last_driver_version;
    VkPhysicalDeviceType type;     // OTHER: any
    uint32_t subgroup_size_above;  // only where the driver's subgroups are larger than this
    std::string_view reason;       // what is wrong: what is done instead
    std::string_view source;       // an issue, or the test that shows it
};

std::span<const Quirk> quirks();
bool applies(const Quirk& quirk, const DeviceInfo& device, uint32_t subgroup_size);
// Takes from `offered` what the device's bugs take, with the reasons, and sets what they make the engine want. `has_int64`: shaderInt64.
void apply_quirks(const DeviceInfo& device, uint32_t subgroup_size, bool has_int64, Requirements& offered);

}  // namespace vkattn
