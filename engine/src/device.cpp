#include "vkattn/device.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include "functions.h"
#include "matrix_shapes.h"
#include "quirks.h"

namespace vkattn {
namespace {

int rank(const DeviceInfo& device) {
    if (device.type == VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU) return 0;
    if (device.type == VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU) return 1;
    if (device.type == VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU) return 2;
    if (device.type != VK_PHYSICAL_DEVICE_TYPE_CPU) return 3;
    return device.driver_id == VK_DRIVER_ID_MESA_LLVMPIPE ? 4 : 5;
}

std::string lower(std::string_view text) {
    std::string result(text);
    for (char& c : result) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return result;
}

bool is_kind(const DeviceInfo& device, std::string_view kind) {
    if (kind == "cpu") return device.type == VK_PHYSICAL_DEVICE_TYPE_CPU;
    if (kind == "discrete") return device.type == VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
    if (kind == "integrated") return device.type == VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU;
    if (kind == "gpu") return device.type != VK_PHYSICAL_DEVICE_TYPE_CPU;
    return false;
}

std::string device_lines(std::span<const DeviceInfo> devices) {
    std::string lines;
    for (size_t i = 0; i < devices.size(); i++)
        lines += "\n  " + std::to_string(i) + ": " + devices[i].name + " (" + devices[i].driver + ")";
    return lines.empty() ? "\n  (no Vulkan device on this machine)" : lines;
}

DeviceInfo describe(const InstanceFunctions& functions, VkPhysicalDevice handle) {
    VkPhysicalDeviceProperties basic{};
    functions.vkGetPhysicalDeviceProperties(handle, &basic);
    VkPhysicalDeviceDriverProperties driver{};
    driver.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES;
    VkPhysicalDeviceProperties2 properties{};
    properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
    properties.pNext = &driver;
    if (basic.apiVersion >= VK_API_VERSION_1_2) functions.vkGetPhysicalDeviceProperties2(handle, &properties);

    DeviceInfo info;
    info.handle = handle;
    info.name = basic.deviceName;
    info.type = basic.deviceType;
    info.api_version = basic.apiVersion;
    info.vendor_id = basic.vendorID;
    info.device_id = basic.deviceID;
    info.driver_id = driver.driverID;
    info.driver_version = basic.driverVersion;
    info.driver = std::string(driver.driverName);
    if (driver.driverInfo[0] != '\0') info.driver += std::string(" ") + driver.driverInfo;
    if (info.driver.empty()) info.driver = "driver version " + std::to_string(basic.driverVersion);
    return info;
}

}  // namespace

Result<std::vector<DeviceInfo>> list_devices(VkInstance instance, PFN_vkGetInstanceProcAddr get_instance_proc_addr) {
    auto functions = load_instance_functions(instance, get_instance_proc_addr);
    if (!functions) return functions.status();

    uint32_t count = 0;
    VkResult result = functions->vkEnumeratePhysicalDevices(instance, &count, nullptr);
    std::vector<VkPhysicalDevice> handles(count);
    if (result == VK_SUCCESS) result = functions->vkEnumeratePhysicalDevices(instance, &count, handles.data());
    if (result != VK_SUCCESS && result != VK_INCOMPLETE)
        return error(Code::device_error, "vkEnumeratePhysicalDevices failed", result);
    handles.resize(count);

    std::vector<DeviceInfo> devices;
    for (VkPhysicalDevice handle : handles) {
        DeviceInfo info = describe(*functions, handle);
        if (info.api_version < VK_API_VERSION_1_1) continue;
        devices.push_back(std::move(info));
    }
    std::stable_sort(devices.begin(), devices.end(),
                     [](const DeviceInfo& a, const DeviceInfo& b) { return rank(a) < rank(b); });
    return devices;
}

Result<size_t> choose_device(std::span<const DeviceInfo> devices, std::string_view selector) {
    if (devices.empty()) return error(Code::unsupported, "no Vulkan 1.1 device on this machine");
    if (selector.empty()) return size_t{0};

    const bool is_number = std::all_of(selector.begin(), selector.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (is_number) {
        size_t index = 0;
        const auto parsed = std::from_chars(selector.data(), selector.data() + selector.size(), index);
        if (parsed.ec == std::errc() && index < devices.size()) return index;
    } else {
        const std::string wanted = lower(selector);
        for (size_t i = 0; i < devices.size(); i++)
            if (is_kind(devices[i], wanted)) return i;
        for (size_t i = 0; i < devices.size(); i++)
            if (lower(devices[i].name).find(wanted) != std::string::npos ||
                lower(devices[i].driver).find(wanted) != std::string::npos)
                return i;
    }
    return error(Code::invalid_argument,
                 "no device matches '" + std::string(selector) +
                     "'; give an index, a kind (gpu, discrete, integrated, cpu) or a part of a name of:" +
                     device_lines(devices));
}

Result<Requirements> requirements(VkInstance instance, PFN_vkGetInstanceProcAddr get_instance_proc_addr,
                                  VkPhysicalDevice physical_device) {
    auto functions = load_instance_functions(instance, get_instance_proc_addr);
    if (!functions) return functions.status();
    if (physical_device == VK_NULL_HANDLE) return error(Code::invalid_argument, "the physical device is null");

    VkPhysicalDeviceProperties basic{};
    functions->vkGetPhysicalDeviceProperties(physical_device, &basic);
    uint32_t count = 0;
    functions->vkEnumerateDeviceExtensionProperties(physical_device, nullptr, &count, nullptr);
    std::vector<VkExtensionProperties> extensions(count);
    functions->vkEnumerateDeviceExtensionProperties(physical_device, nullptr, &count, extensions.data());
    extensions.resize(count);
    auto has_extension = [&](const char* name) {
        return std::any_of(extensions.begin(), extensions.end(),
                           [&](const VkExtensionProperties& e) { return std::string_view(e.extensionName) == name; });
    };

    Requirements wanted;
    // A feature is there when its core version or its extension is; only then may its structure be chained.
    auto offered = [&](uint32_t core_version, const char* extension) {
        if (basic.apiVersion >= core_version) return true;
        return has_extension(extension);
    };
    auto want_extension = [&](uint32_t core_version, const char* extension) {
        if (basic.apiVersion < core_version) wanted.extensions.push_back(extension);
    };
    const bool address_known = offered(VK_API_VERSION_1_2, VK_KHR_BUFFER_DEVICE_ADDRESS_EXTENSION_NAME);
    const bool subgroup_size_known = offered(VK_API_VERSION_1_3, VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME);
    const bool float_controls_known = offered(VK_API_VERSION_1_2, VK_KHR_SHADER_FLOAT_CONTROLS_EXTENSION_NAME);

    VkPhysicalDeviceBufferDeviceAddressFeatures address{};
    address.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_BUFFER_DEVICE_ADDRESS_FEATURES;
    VkPhysicalDeviceSubgroupSizeControlFeatures subgroup_size{};
    subgroup_size.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES;
    VkPhysicalDeviceFeatures2 features{};
    features.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
    if (address_known) {
        address.pNext = features.pNext;
        features.pNext = &address;
    }
    if (subgroup_size_known) {
        subgroup_size.pNext = features.pNext;
        features.pNext = &subgroup_size;
    }
    functions->vkGetPhysicalDeviceFeatures2(physical_device, &features);

    VkPhysicalDeviceSubgroupProperties subgroup{};
    subgroup.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES;
    VkPhysicalDeviceFloatControlsProperties float_controls{};
    float_controls.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FLOAT_CONTROLS_PROPERTIES;
    VkPhysicalDeviceProperties2 properties{};
    properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
    properties.pNext = &subgroup;
    if (float_controls_known) subgroup.pNext = &float_controls;
    VkPhysicalDeviceSubgroupSizeControlProperties sizes{};
    sizes.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_PROPERTIES;
    if (subgroup_size_known) {
        sizes.pNext = properties.pNext;
        properties.pNext = &sizes;
    }
    functions->vkGetPhysicalDeviceProperties2(physical_device, &properties);

    wanted.features.buffer_device_address = address.bufferDeviceAddress == VK_TRUE;
    if (!wanted.features.buffer_device_address)
        wanted.reasons.push_back("no device addresses (bufferDeviceAddress): buffers are reached through descriptors");
    wanted.features.subgroup_size_control = subgroup_size.computeFullSubgroups == VK_TRUE;
    if (!wanted.features.subgroup_size_control)
        wanted.reasons.push_back(
            "full subgroups cannot be required (computeFullSubgroups): rows are reduced through shared memory");
    wanted.features.required_subgroup_size = wanted.features.subgroup_size_control &&
                                             subgroup_size.subgroupSizeControl == VK_TRUE &&
                                             (sizes.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT) != 0;
    if (wanted.features.subgroup_size_control && !wanted.features.required_subgroup_size)
        wanted.reasons.push_back("no subgroup size can be required of compute shaders (subgroupSizeControl, "
                                 "requiredSubgroupSizeStages): the driver chooses it");
    const VkSubgroupFeatureFlags needed =
        VK_SUBGROUP_FEATURE_BASIC_BIT | VK_SUBGROUP_FEATURE_SHUFFLE_BIT | VK_SUBGROUP_FEATURE_ARITHMETIC_BIT;
    wanted.features.scalar_subgroup = (subgroup.supportedStages & VK_SHADER_STAGE_COMPUTE_BIT) != 0 &&
                                      (subgroup.supportedOperations & needed) == needed;
    if (!wanted.features.scalar_subgroup)
        wanted.reasons.push_back(
            "no subgroup shuffles and arithmetic in compute shaders: rows are reduced through shared memory");
    wanted.features.preserve_nan_f32 = float_controls.shaderSignedZeroInfNanPreserveFloat32 == VK_TRUE;
    if (!wanted.features.preserve_nan_f32)
        wanted.reasons.push_back("the driver may assume that NaN and infinity do not occur: the promise about NaN in "
                                 "q, k and v is not given here");
    const bool has_int64 = features.features.shaderInt64 == VK_TRUE;
    apply_quirks(describe(*functions, physical_device), subgroup.subgroupSize, has_int64, wanted);

    if (wanted.features.buffer_device_address)
        want_extension(VK_API_VERSION_1_2, VK_KHR_BUFFER_DEVICE_ADDRESS_EXTENSION_NAME);
    if (wanted.features.subgroup_size_control)
        want_extension(VK_API_VERSION_1_3, VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME);
    require_matrices(*functions, physical_device, basic.apiVersion, has_extension, wanted);
    return wanted;
}

Features usable(const Features& offered, const Features& enabled) {
    Features features;
    features.buffer_device_address = offered.buffer_device_address && enabled.buffer_device_address;
    features.int64_addresses = offered.int64_addresses && enabled.int64_addresses;
    features.subgroup_size_control = offered.subgroup_size_control && enabled.subgroup_size_control;
    features.required_subgroup_size =
        features.subgroup_size_control && offered.required_subgroup_size && enabled.required_subgroup_size;
    features.scalar_subgroup = offered.scalar_subgroup && enabled.scalar_subgroup;
    features.cooperative_matrix =
        features.subgroup_size_control && offered.cooperative_matrix && enabled.cooperative_matrix;
    features.cooperative_matrix2 =
        features.cooperative_matrix && offered.cooperative_matrix2 && enabled.cooperative_matrix2;
    features.workgroup_matrices =
        features.cooperative_matrix2 && offered.workgroup_matrices && enabled.workgroup_matrices;
    features.matrix_bf16 = features.cooperative_matrix && offered.matrix_bf16 && enabled.matrix_bf16;
    features.preserve_nan_f32 = offered.preserve_nan_f32;
    features.debug_utils = enabled.debug_utils;
    return features;
}

FeatureChain::FeatureChain(const Features& features) {
    features2_.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
    features2_.features.shaderInt64 = features.int64_addresses ? VK_TRUE : VK_FALSE;
    void** tail = &features2_.pNext;
    if (features.buffer_device_address) {
        address_.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_BUFFER_DEVICE_ADDRESS_FEATURES;
        address_.bufferDeviceAddress = VK_TRUE;
        *tail = &address_;
        tail = &address_.pNext;
    }
    if (features.subgroup_size_control) {
        subgroup_size_.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES;
        subgroup_size_.computeFullSubgroups = VK_TRUE;
        subgroup_size_.subgroupSizeControl = features.required_subgroup_size ? VK_TRUE : VK_FALSE;
        *tail = &subgroup_size_;
        tail = &subgroup_size_.pNext;
    }
    if (features.cooperative_matrix) {
        cooperative_matrix_.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR;
        cooperative_matrix_.cooperativeMatrix = VK_TRUE;
        memory_model_.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_MEMORY_MODEL_FEATURES;
        memory_model_.vulkanMemoryModel = memory_model_.vulkanMemoryModelDeviceScope = VK_TRUE;
        memory_model_.pNext = &cooperative_matrix_;
        float16_.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES;
        float16_.shaderFloat16 = VK_TRUE;
        float16_.pNext = &memory_model_;
        *tail = &float16_;
        tail = &cooperative_matrix_.pNext;
    }
    if (features.cooperative_matrix2) {
        cooperative_matrix2_.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_2_FEATURES_NV;
        cooperative_matrix2_.cooperativeMatrixReductions = VK_TRUE;
        cooperative_matrix2_.cooperativeMatrixConversions = VK_TRUE;
        cooperative_matrix2_.cooperativeMatrixPerElementOperations = VK_TRUE;
        cooperative_matrix2_.cooperativeMatrixWorkgroupScope =
            cooperative_matrix2_.cooperativeMatrixFlexibleDimensions =
                cooperative_matrix2_.cooperativeMatrixTensorAddressing =
                    features.workgroup_matrices ? VK_TRUE : VK_FALSE;
        *tail = &cooperative_matrix2_;
        tail = &cooperative_matrix2_.pNext;
    }
    if (features.matrix_bf16) {
        bfloat16_.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_BFLOAT16_FEATURES_KHR;
        bfloat16_.shaderBFloat16Type = VK_TRUE;
        bfloat16_.shaderBFloat16CooperativeMatrix = VK_TRUE;
        *tail = &bfloat16_;
        tail = &bfloat16_.pNext;
    }
    if (features.cooperative_matrix2) {
        // Workgroup sizes by specialization, which SPIR-V 1.6 has no other way for.
        maintenance4_.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_4_FEATURES;
        maintenance4_.maintenance4 = VK_TRUE;
        *tail = &maintenance4_;
        tail = &maintenance4_.pNext;
    }
}

}  // namespace vkattn
