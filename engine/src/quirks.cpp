// Known bugs that change nothing here, and why: shuffles of f16vec4 are wrong with AMD's Windows driver before RDNA 3
// (https://github.com/ggml-org/llama.cpp/pull/19921), ours are of f32; workgroups of 8 x 8 and 4 x 16 are wrong on Adreno 840
// (https://github.com/pytorch/executorch/issues/22327), ours are N x 1 x 1, which are right there; subgroup sizes that are required
// but not granted (https://github.com/ggml-org/ggml/pull/1619), ours are within the range that the device states.
#include "quirks.h"

#include <string>
#include <utility>

namespace vkattn {
namespace {

using Effect = Quirk::Effect;
constexpr uint32_t vendor_amd = 0x1002, vendor_nvidia = 0x10de, last = ~0u;
constexpr VkDriverId any_driver = static_cast<VkDriverId>(0);
constexpr VkPhysicalDeviceType any_type = VK_PHYSICAL_DEVICE_TYPE_OTHER;

constexpr Quirk table[] = {
    // Mesa 26.1: the compiler overruns its own stack ("stack smashing detected") where pairs of words become addresses; 4 and 8 lanes
    // are right.
    {Effect::int64_addresses, VK_DRIVER_ID_MESA_LLVMPIPE, 0, 0, last, 0, last, any_type, 8,
     "lavapipe with vectors of 512 bits crashes on device addresses of two words: they are computed as 64-bit integers",
     "test engine.quick.512"},
    // Mesa 26.1: any multiplication crashes; with 4 lanes there are none, 8 lanes are right.
    {Effect::no_matrices, VK_DRIVER_ID_MESA_LLVMPIPE, 0, 0, last, 0, last, any_type, 8,
     "lavapipe with vectors of 512 bits crashes on cooperative matrices: matrices are not used",
     "test engine.quick.512"},
    // Metal's groups are of 32 there; sums and shuffles of 64 cross into another one.
    {Effect::no_subgroups, VK_DRIVER_ID_MOLTENVK, vendor_amd, 0, last, 0, last, any_type, 32,
     "MoltenVK states subgroups of 64 on AMD where Metal's are of 32: rows are reduced through shared memory",
     "https://github.com/KhronosGroup/MoltenVK/issues/2756"},
    // Arrow Lake and Meteor Lake: 1.3 to 3.9 times slower when attention requires full subgroups.
    {Effect::no_full_subgroups, VK_DRIVER_ID_INTEL_PROPRIETARY_WINDOWS, 0, 0, last, 0, last, any_type, 0,
     "required subgroups make attention slow with Intel's Windows driver: rows are reduced through shared memory",
     "https://github.com/ggml-org/llama.cpp/pull/18831"},
    // TU102, TU104, TU106; GTX 16 has no matrix units.
    {Effect::no_matrices, VK_DRIVER_ID_NVIDIA_PROPRIETARY, vendor_nvidia, 0x1e00, 0x1fff, 0, last, any_type, 0,
     "attention on cooperative matrices is miscompiled for Turing by NVIDIA's driver: matrices are not used",
     "https://github.com/ggml-org/llama.cpp/pull/19290"},
    {Effect::no_matrices, VK_DRIVER_ID_AMD_PROPRIETARY, vendor_amd, 0, last, 0, last,
     VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU, 0,
     "AMD's Windows driver crashes on integrated GPUs when it is asked for matrix shapes: matrices are not used",
     "https://github.com/ggml-org/llama.cpp/pull/22750"},
    {Effect::literal_sizes, VK_DRIVER_ID_MOLTENVK, 0, 0, last, 0, last, any_type, 0,
     "MoltenVK wants the shapes of matrices as literals: matrix kernels are compiled for each choice of sizes",
     "https://github.com/ggml-org/llama.cpp/issues/25872"},
};

// Whether there was something to take.
bool take(bool& offered) {
    const bool was = offered;
    offered = false;
    return was;
}

bool take(Effect effect, bool has_int64, Requirements& offered) {
    Features& features = offered.features;
    switch (effect) {
    case Effect::int64_addresses:
        features.int64_addresses = has_int64;
        return has_int64 ? features.buffer_device_address : take(features.buffer_device_address);
    case Effect::no_subgroups: return take(features.scalar_subgroup);
    case Effect::no_full_subgroups:
        features.required_subgroup_size = false;
        return take(features.subgroup_size_control);
    case Effect::literal_sizes: return !std::exchange(offered.literal_matrix_sizes, true);
    case Effect::no_matrices: return take(offered.matrices_usable);
    }
    return false;
}

}  // namespace

std::span<const Quirk> quirks() { return table; }

bool applies(const Quirk& quirk, const DeviceInfo& device, uint32_t subgroup_size) {
    return (quirk.driver == any_driver || quirk.driver == device.driver_id) &&
           (quirk.vendor_id == 0 || quirk.vendor_id == device.vendor_id) && quirk.first_device_id <= device.device_id &&
           device.device_id <= quirk.last_device_id && quirk.first_driver_version <= device.driver_version &&
           device.driver_version <= quirk.last_driver_version &&
           (quirk.type == any_type || quirk.type == device.type) && subgroup_size > quirk.subgroup_size_above;
}

void apply_quirks(const DeviceInfo& device, uint32_t subgroup_size, bool has_int64, Requirements& offered) {
    for (const Quirk& quirk : quirks())
        if (applies(quirk, device, subgroup_size) && take(quirk.effect, has_int64, offered))
            offered.reasons.push_back(std::string(quirk.reason) + " (" + std::string(quirk.source) + ")");
}

}  // namespace vkattn
