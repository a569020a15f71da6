// What kinds of devices need of the scalar kernels: data. Which row a device takes follows from what it reports.
#pragma once

#include <array>
#include <string_view>

#include "vkattn/engine.h"

namespace vkattn {

// Rows and columns of scores that one invocation owns (MICRO_ROWS, MICRO_COLS), up to a head dim.
struct MicroTile {
    int32_t max_dim;  // the larger of D and Dv
    uint32_t rows, cols;
};

struct DeviceClass {
    std::string_view name;
    uint32_t vendor_id;  // VkPhysicalDeviceProperties::vendorID; 0: any
    VkDriverId driver;   // 0: any
    // Required of a pipeline: the least size that the device offers from this one on; 0: the driver chooses. Where the
    // invocations of a subgroup share a register file, the least leaves each the most.
    uint32_t subgroup_size;
    std::array<MicroTile, 3> micro_tiles;  // ascending
    uint32_t decode_elements;  // `automatic` takes the decode skeleton up to so many elements of a key an invocation
    uint32_t decode_rows;      // and shares a key among so many query rows at most,
    uint32_t decode_keys;      // so many keys a step
    std::string_view ledger;   // docs/tuning.md
};

// The first row that fits; the last fits everything.
const DeviceClass& device_class_of(const DeviceInfo& device);
const MicroTile& micro_tile_of(const DeviceClass& device_class, int32_t dim);
// What the class asks for, as far as the device offers it for workgroups of that size; 0: the driver chooses.
uint32_t required_subgroup_size(const DeviceClass& device_class, const Capabilities& capabilities,
                                uint32_t workgroup_size);

}  // namespace vkattn
