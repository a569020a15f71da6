#include "device_class.h"

#include <algorithm>

namespace vkattn {
namespace {

constexpr uint32_t vendor_intel = 0x8086, vendor_qualcomm = 0x5143;
constexpr VkDriverId any_driver = static_cast<VkDriverId>(0);
constexpr int32_t any_dim = 1 << 30;

constexpr DeviceClass classes[] = {
    {"Intel", vendor_intel, any_driver, 8, {{{128, 2, 4}, {256, 1, 4}, {any_dim, 1, 2}}}, 16, 2, 2, "T2, T5"},
    {"Adreno", vendor_qualcomm, any_driver, 64, {{{64, 4, 4}, {256, 2, 4}, {any_dim, 1, 4}}}, 16, 4, 4, "T2, T5"},
    {"Apple", 0, VK_DRIVER_ID_MESA_HONEYKRISP, 0, {{{64, 4, 4}, {192, 2, 4}, {any_dim, 1, 4}}}, 20, 4, 4, "T2, T5"},
    {"other", 0, any_driver, 0, {{{64, 4, 4}, {256, 2, 4}, {any_dim, 1, 4}}}, 20, 4, 4, "T2, T5"},
};

}  // namespace

const DeviceClass& device_class_of(const DeviceInfo& device) {
    return *std::find_if(std::begin(classes), std::end(classes) - 1, [&](const DeviceClass& c) {
        return (c.vendor_id == 0 || c.vendor_id == device.vendor_id) &&
               (c.driver == any_driver || c.driver == device.driver_id);
    });
}

const MicroTile& micro_tile_of(const DeviceClass& device_class, int32_t dim) {
    return *std::find_if(device_class.micro_tiles.begin(), device_class.micro_tiles.end() - 1,
                         [dim](const MicroTile& tile) { return dim <= tile.max_dim; });
}

uint32_t required_subgroup_size(const DeviceClass& device_class, const Capabilities& capabilities,
                                uint32_t workgroup_size) {
    if (device_class.subgroup_size == 0 || capabilities.max_subgroup_size == 0) return 0;
    const uint32_t size = std::max(device_class.subgroup_size, capabilities.min_subgroup_size);
    const bool offered = size <= capabilities.max_subgroup_size && workgroup_size % size == 0 &&
                         workgroup_size / size <= capabilities.max_workgroup_subgroups;
    return offered ? size : 0;
}

}  // namespace vkattn
