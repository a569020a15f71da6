// Devices: listing, choosing, and what a host must enable so that a path can run.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <vulkan/vulkan_core.h>

#include "vkattn/result.h"
#include "vkattn/types.h"

namespace vkattn {

struct DeviceInfo {
    VkPhysicalDevice handle = VK_NULL_HANDLE;
    std::string name;    // VkPhysicalDeviceProperties::deviceName
    std::string driver;  // driverName and driverInfo, for reports
    VkPhysicalDeviceType type = VK_PHYSICAL_DEVICE_TYPE_OTHER;
    uint32_t api_version = 0;
    uint32_t vendor_id = 0;
    uint32_t device_id = 0;
    VkDriverId driver_id = static_cast<VkDriverId>(0);
    uint32_t driver_version = 0;  // in the driver's own encoding
};

// The instance's devices, best first: discrete, integrated, virtual, other, then software (lavapipe before SwiftShader).
// The order is stable; an index into it is what choose_device and `--device N` mean. Vulkan 1.1 or later only.
Result<std::vector<DeviceInfo>> list_devices(VkInstance instance, PFN_vkGetInstanceProcAddr get_instance_proc_addr);

// "" the first; "2" by index; "gpu", "discrete", "integrated", "cpu" by kind; anything else: the first whose name or driver
// contains it, case-insensitive. An error lists the devices.
Result<size_t> choose_device(std::span<const DeviceInfo> devices, std::string_view selector);

// Features that unlock paths. All are optional: without any, the scalar path runs through descriptors. Three say which there are:
//   Requirements::features   what this device offers and the engine has a use for: a host should enable them
//   HostDevice::enabled      what the host did enable of them
//   Capabilities::features   what the engine uses: usable(offered, enabled)
struct Features {
    bool buffer_device_address = false;  // ADDRESSING address
    bool int64_addresses = false;  // shaderInt64; offered only where a driver's bug wants addresses in 64-bit integers
    bool subgroup_size_control = false;   // full subgroups can be required (computeFullSubgroups)
    bool required_subgroup_size = false;  // and their size, in compute (subgroupSizeControl)
    bool scalar_subgroup = false;  // basic, shuffle and arithmetic operations in compute (a property; may be left out)
    bool cooperative_matrix = false;   // Path::khr: cooperativeMatrix, vulkanMemoryModel and shaderFloat16
    bool cooperative_matrix2 = false;  // Path::nv: reductions, conversions and per-element operations on them
    bool workgroup_matrices =
        false;  // Path::nv on matrices of a whole workgroup, with flexible dimensions and tensor addressing
    bool matrix_bf16 = false;       // and of bf16: shaderBFloat16Type, shaderBFloat16CooperativeMatrix
    bool preserve_nan_f32 = false;  // shaderSignedZeroInfNanPreserveFloat32 (a property, nothing to enable)
    bool debug_utils = false;       // VK_EXT_debug_utils is enabled on the instance: a label per dispatch
};

// What is offered and enabled, and without what it builds upon nothing: matrices need full subgroups, for instance. Properties
// (preserve_nan_f32) need no host, debug_utils no device.
Features usable(const Features& offered, const Features& enabled);

// A shape of matrices that a subgroup multiplies, [m, k] . [k, n] + [m, n]: a and b of `type`, accumulated in f32.
struct MatrixShape {
    uint32_t m = 0, n = 0, k = 0;
    ElementType type = ElementType::f16;
};

// What matrices that a whole workgroup of `invocations` multiplies may be: m, n and k are multiples of these. a and b of `type`,
// accumulated in f32. (VkCooperativeMatrixFlexibleDimensionsPropertiesNV)
struct WorkgroupMatrices {
    uint32_t m = 0, n = 0, k = 0, invocations = 0;
    ElementType type = ElementType::f16;
};

// What a host should enable on this physical device. `extensions` are device extensions not yet core in its API version.
struct Requirements {
    Features features;
    bool literal_matrix_sizes = false;  // the driver does not take the sizes of matrices as specialization constants
    bool matrices_usable = true;        // no known bug of the driver stands against cooperative matrices
    std::vector<const char*> extensions;
    std::vector<MatrixShape> matrix_shapes;             // the device's, as far as Path::khr can use them
    std::vector<WorkgroupMatrices> workgroup_matrices;  // as far as Path::nv can use them; empty without the feature
    uint32_t max_workgroup_matrix_dim = 0;              // of their m, n and k
    uint32_t workgroup_matrix_shared_bytes = 0;         // of shared memory that they take for themselves
    std::vector<std::string> reasons;                   // "address flavour: bufferDeviceAddress is not offered" ...
};
Result<Requirements> requirements(VkInstance instance, PFN_vkGetInstanceProcAddr get_instance_proc_addr,
                                  VkPhysicalDevice physical_device);

// The pNext chain that enables `features`, for VkDeviceCreateInfo::pNext. Not movable: the structures point at each other.
class FeatureChain {
  public:
    explicit FeatureChain(const Features& features);
    FeatureChain(const FeatureChain&) = delete;
    FeatureChain& operator=(const FeatureChain&) = delete;
    const void* head() const { return &features2_; }

  private:
    VkPhysicalDeviceFeatures2 features2_{};
    VkPhysicalDeviceBufferDeviceAddressFeatures address_{};
    VkPhysicalDeviceSubgroupSizeControlFeatures subgroup_size_{};
    VkPhysicalDeviceVulkanMemoryModelFeatures memory_model_{};
    VkPhysicalDeviceShaderFloat16Int8Features float16_{};
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR cooperative_matrix_{};
    VkPhysicalDeviceCooperativeMatrix2FeaturesNV cooperative_matrix2_{};
    VkPhysicalDeviceShaderBfloat16FeaturesKHR bfloat16_{};
    VkPhysicalDeviceMaintenance4Features maintenance4_{};
};

}  // namespace vkattn
