// Instance and Device: from no Vulkan at all to a queue.
#include "support/device.h"

#include <algorithm>
#include <cstring>

#include "support/vma.h"

namespace vkattn::support {
namespace {

constexpr const char* validation_layer = "VK_LAYER_KHRONOS_validation";
// The newest version whose features vkattn::requirements asks for without an extension.
constexpr uint32_t wanted_api_version = VK_API_VERSION_1_3;

bool contains(const std::vector<VkExtensionProperties>& extensions, const char* name) {
    return std::any_of(extensions.begin(), extensions.end(),
                       [&](const VkExtensionProperties& e) { return std::strcmp(e.extensionName, name) == 0; });
}

std::vector<VkExtensionProperties> instance_extensions(const char* layer) {
    uint32_t count = 0;
    vkEnumerateInstanceExtensionProperties(layer, &count, nullptr);
    std::vector<VkExtensionProperties> extensions(count);
    vkEnumerateInstanceExtensionProperties(layer, &count, extensions.data());
    extensions.resize(count);
    return extensions;
}

bool has_layer(const char* name) {
    uint32_t count = 0;
    vkEnumerateInstanceLayerProperties(&count, nullptr);
    std::vector<VkLayerProperties> layers(count);
    vkEnumerateInstanceLayerProperties(&count, layers.data());
    layers.resize(count);
    return std::any_of(layers.begin(), layers.end(),
                       [&](const VkLayerProperties& layer) { return std::strcmp(layer.layerName, name) == 0; });
}

VKAPI_ATTR VkBool32 VKAPI_CALL on_message(VkDebugUtilsMessageSeverityFlagBitsEXT, VkDebugUtilsMessageTypeFlagsEXT,
                                          const VkDebugUtilsMessengerCallbackDataEXT* data, void* log) {
    static_cast<MessageLog*>(log)->add(data->pMessage == nullptr ? "(no text)" : data->pMessage);
    return VK_FALSE;
}

Status failed(const char* call, VkResult result) {
    return error(Code::device_error, std::string(call) + " failed (VkResult " + std::to_string(result) + ")", result);
}

// Features that the host enabled: what it asked for and the device has.
Features both(const Features& offered, const Features& asked) {
    Features features;
    features.buffer_device_address = offered.buffer_device_address && asked.buffer_device_address;
    features.int64_addresses = offered.int64_addresses && asked.int64_addresses;
    features.subgroup_size_control = offered.subgroup_size_control && asked.subgroup_size_control;
    features.required_subgroup_size = offered.required_subgroup_size && asked.required_subgroup_size;
    features.scalar_subgroup = offered.scalar_subgroup && asked.scalar_subgroup;
    features.cooperative_matrix = offered.cooperative_matrix && asked.cooperative_matrix;
    features.cooperative_matrix2 = offered.cooperative_matrix2 && asked.cooperative_matrix2;
    features.workgroup_matrices = offered.workgroup_matrices && asked.workgroup_matrices;
    features.matrix_bf16 = offered.matrix_bf16 && asked.matrix_bf16;
    features.preserve_nan_f32 = offered.preserve_nan_f32 && asked.preserve_nan_f32;
    return features;
}

}  // namespace

const char* kind_text(VkPhysicalDeviceType type) {
    switch (static_cast<int>(type)) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU: return "discrete GPU";
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU: return "integrated GPU";
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU: return "virtual GPU";
    case VK_PHYSICAL_DEVICE_TYPE_CPU: return "software";
    default: return "other";
    }
}

std::string version_text(uint32_t version) {
    return std::to_string(VK_API_VERSION_MAJOR(version)) + "." + std::to_string(VK_API_VERSION_MINOR(version)) + "." +
           std::to_string(VK_API_VERSION_PATCH(version));
}

void MessageLog::add(std::string message) {
    const std::lock_guard lock(mutex_);
    messages_.push_back(std::move(message));
}

std::vector<std::string> MessageLog::messages() const {
    const std::lock_guard lock(mutex_);
    return messages_;
}

void MessageLog::clear() {
    const std::lock_guard lock(mutex_);
    messages_.clear();
}

Result<std::shared_ptr<Instance>> Instance::create(Validation validation) {
    if (volkInitialize() != VK_SUCCESS)
        return error(Code::unsupported,
                     "no Vulkan loader on this machine (libvulkan.so.1, vulkan-1.dll); install your GPU's "
                     "driver, or a software driver such as Mesa's lavapipe");
    if (volkGetInstanceVersion() < VK_API_VERSION_1_1)
        return error(Code::unsupported, "the Vulkan loader is of version 1.0; 1.1 or later is needed");

    std::vector<const char*> extensions;
    std::vector<const char*> layers;
    const auto offered = instance_extensions(nullptr);
    std::vector<VkExtensionProperties> offered_by_layer;
    if (validation != Validation::off) {
        if (!has_layer(validation_layer))
            return error(Code::unsupported,
                         std::string(validation_layer) + " is not installed (Debian: vulkan-validationlayers)");
        layers.push_back(validation_layer);
        offered_by_layer = instance_extensions(validation_layer);
    }
    auto want = [&](const char* name) {
        if (!contains(offered, name) && !contains(offered_by_layer, name)) return false;
        extensions.push_back(name);
        return true;
    };

    std::shared_ptr<Instance> instance(new Instance());
    instance->has_debug_utils_ = want(VK_EXT_DEBUG_UTILS_EXTENSION_NAME);
    const bool portability = want(VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME);

    VkDebugUtilsMessengerCreateInfoEXT messenger{};
    messenger.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT;
    messenger.messageSeverity =
        VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT;
    messenger.messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT;  // not the loader's remarks about drivers
    messenger.pfnUserCallback = on_message;
    messenger.pUserData = &instance->log_;

    const VkBool32 on = VK_TRUE;
    const VkLayerSettingEXT settings[] = {
        {validation_layer, "validate_sync", VK_LAYER_SETTING_TYPE_BOOL32_EXT, 1, &on},
        {validation_layer, "syncval_shader_accesses_heuristic", VK_LAYER_SETTING_TYPE_BOOL32_EXT, 1, &on},
    };
    VkLayerSettingsCreateInfoEXT layer_settings{};
    layer_settings.sType = VK_STRUCTURE_TYPE_LAYER_SETTINGS_CREATE_INFO_EXT;
    layer_settings.settingCount = 2;
    layer_settings.pSettings = settings;

    VkApplicationInfo application{};
    application.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO;
    application.pApplicationName = "vkattn";
    application.apiVersion = wanted_api_version;
    VkInstanceCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO;
    info.pApplicationInfo = &application;
    info.flags = portability ? VkInstanceCreateFlags{VK_INSTANCE_CREATE_ENUMERATE_PORTABILITY_BIT_KHR} : 0;
    if (validation != Validation::off && instance->has_debug_utils_)
        info.pNext = &messenger;  // for the creation itself
    if (validation == Validation::synchronization) {
        if (!want(VK_EXT_LAYER_SETTINGS_EXTENSION_NAME))
            return error(Code::unsupported,
                         "the installed validation layer is too old for VK_EXT_layer_settings, by which "
                         "synchronization validation is switched on");
        layer_settings.pNext = info.pNext;
        info.pNext = &layer_settings;
    }
    info.enabledExtensionCount = static_cast<uint32_t>(extensions.size());
    info.ppEnabledExtensionNames = extensions.data();
    info.enabledLayerCount = static_cast<uint32_t>(layers.size());
    info.ppEnabledLayerNames = layers.data();
    if (VkResult result = vkCreateInstance(&info, nullptr, &instance->instance_); result != VK_SUCCESS) {
        instance->instance_ = VK_NULL_HANDLE;
        if (result == VK_ERROR_INCOMPATIBLE_DRIVER)
            return error(Code::unsupported,
                         "no Vulkan driver on this machine; install your GPU's driver, or a software driver "
                         "such as Mesa's lavapipe",
                         result);
        return failed("vkCreateInstance", result);
    }
    volkLoadInstanceOnly(instance->instance_);
    if (validation != Validation::off && instance->has_debug_utils_) {
        if (VkResult result =
                vkCreateDebugUtilsMessengerEXT(instance->instance_, &messenger, nullptr, &instance->messenger_);
            result != VK_SUCCESS)
            return failed("vkCreateDebugUtilsMessengerEXT", result);
    }
    auto devices = list_devices(instance->instance_, vkGetInstanceProcAddr);
    if (!devices) return devices.status();
    instance->devices_ = std::move(*devices);
    return instance;
}

Instance::~Instance() {
    if (instance_ == VK_NULL_HANDLE) return;
    if (messenger_ != VK_NULL_HANDLE) vkDestroyDebugUtilsMessengerEXT(instance_, messenger_, nullptr);
    vkDestroyInstance(instance_, nullptr);
}

Result<std::unique_ptr<Device>> Device::create(std::string_view selector, const DeviceOptions& options) {
    auto instance = Instance::create(options.validation);
    if (!instance) return instance.status();
    auto index = choose_device((*instance)->devices(), selector);
    if (!index) return index.status();
    return create(std::move(*instance), *index, options);
}

Result<std::unique_ptr<Device>> Device::create(std::shared_ptr<Instance> instance, size_t index,
                                               const DeviceOptions& options) {
    if (index >= instance->devices().size())
        return error(Code::invalid_argument, "there is no device " + std::to_string(index) + "; this machine has " +
                                                 std::to_string(instance->devices().size()));
    std::unique_ptr<Device> device(new Device());
    device->instance_ = std::move(instance);
    if (Status status = device->open(index, options); !status.ok()) {
        status.message = device->instance_->devices()[index].name + ": " + status.message;
        return status;
    }
    return device;
}

Status Device::open(size_t index, const DeviceOptions& options) {
    info_ = instance_->devices()[index];
    auto wanted = requirements(instance_->handle(), vkGetInstanceProcAddr, info_.handle);
    if (!wanted) return wanted.status();
    enabled_ = options.features ? both(wanted->features, *options.features) : wanted->features;
    enabled_.debug_utils = instance_->has_debug_utils();

    uint32_t count = 0;
    vkGetPhysicalDeviceQueueFamilyProperties(info_.handle, &count, nullptr);
    std::vector<VkQueueFamilyProperties> families(count);
    vkGetPhysicalDeviceQueueFamilyProperties(info_.handle, &count, families.data());
    const auto family = std::find_if(families.begin(), families.end(), [](const VkQueueFamilyProperties& f) {
        return (f.queueFlags & VK_QUEUE_COMPUTE_BIT) != 0;
    });
    if (family == families.end()) return error(Code::unsupported, "the device has no compute queue");
    queue_family_ = static_cast<uint32_t>(family - families.begin());

    VkPhysicalDeviceProperties properties{};
    vkGetPhysicalDeviceProperties(info_.handle, &properties);
    if (family->timestampValidBits != 0) {
        timestamp_period_ns_ = double{properties.limits.timestampPeriod};
        timestamp_mask_ =
            family->timestampValidBits >= 64 ? ~uint64_t{0} : (uint64_t{1} << family->timestampValidBits) - 1;
    }

    // A layered implementation wants to be told that its gaps are known.
    vkEnumerateDeviceExtensionProperties(info_.handle, nullptr, &count, nullptr);
    std::vector<VkExtensionProperties> offered(count);
    vkEnumerateDeviceExtensionProperties(info_.handle, nullptr, &count, offered.data());
    offered.resize(count);
    std::vector<const char*> extensions = wanted->extensions;
    if (contains(offered, "VK_KHR_portability_subset")) extensions.push_back("VK_KHR_portability_subset");

    const FeatureChain features(enabled_);
    VkPhysicalDeviceShaderFloat16Int8Features float16{};
    float16.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES;
    const bool float16_in_core = info_.api_version >= VK_API_VERSION_1_2;
    shader_float16_ = options.shader_float16 && enabled_.cooperative_matrix;  // whose features have it
    if (options.shader_float16 && !shader_float16_ &&
        (float16_in_core || contains(offered, "VK_KHR_shader_float16_int8"))) {
        VkPhysicalDeviceFeatures2 query{};
        query.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
        query.pNext = &float16;
        vkGetPhysicalDeviceFeatures2(info_.handle, &query);
        shader_float16_ = float16.shaderFloat16 == VK_TRUE;
        if (shader_float16_ && !float16_in_core) extensions.push_back("VK_KHR_shader_float16_int8");
    }
    float16.shaderInt8 = VK_FALSE;
    const bool float16_alone = shader_float16_ && !enabled_.cooperative_matrix;
    float16.pNext = const_cast<void*>(features.head());
    const float priority = 1.0f;
    VkDeviceQueueCreateInfo queue{};
    queue.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO;
    queue.queueFamilyIndex = queue_family_;
    queue.queueCount = 1;
    queue.pQueuePriorities = &priority;
    VkDeviceCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO;
    info.pNext = float16_alone ? static_cast<const void*>(&float16) : features.head();
    info.queueCreateInfoCount = 1;
    info.pQueueCreateInfos = &queue;
    info.enabledExtensionCount = static_cast<uint32_t>(extensions.size());
    info.ppEnabledExtensionNames = extensions.data();
    if (VkResult result = vkCreateDevice(info_.handle, &info, nullptr, &device_); result != VK_SUCCESS) {
        device_ = VK_NULL_HANDLE;
        return failed("vkCreateDevice", result);
    }
    volkLoadDeviceTable(&table_, device_);
    table_.vkGetDeviceQueue(device_, queue_family_, 0, &queue_);

    VkCommandPoolCreateInfo pool{};
    pool.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO;
    pool.flags = VK_COMMAND_POOL_CREATE_TRANSIENT_BIT;
    pool.queueFamilyIndex = queue_family_;
    if (VkResult result = table_.vkCreateCommandPool(device_, &pool, nullptr, &command_pool_); result != VK_SUCCESS)
        return failed("vkCreateCommandPool", result);

    VmaVulkanFunctions functions{};
    functions.vkGetInstanceProcAddr = vkGetInstanceProcAddr;
    functions.vkGetDeviceProcAddr = vkGetDeviceProcAddr;
    VmaAllocatorCreateInfo allocator{};
    allocator.physicalDevice = info_.handle;
    allocator.device = device_;
    allocator.instance = instance_->handle();
    allocator.pVulkanFunctions = &functions;
    allocator.vulkanApiVersion = std::min(info_.api_version, wanted_api_version);
    if (enabled_.buffer_device_address) allocator.flags |= VMA_ALLOCATOR_CREATE_BUFFER_DEVICE_ADDRESS_BIT;
    if (VkResult result = vmaCreateAllocator(&allocator, &allocator_); result != VK_SUCCESS)
        return failed("vmaCreateAllocator", result);
    return {};
}

Device::~Device() {
    if (device_ == VK_NULL_HANDLE) return;
    table_.vkDeviceWaitIdle(device_);
    if (allocator_ != nullptr) vmaDestroyAllocator(allocator_);
    if (command_pool_ != VK_NULL_HANDLE) table_.vkDestroyCommandPool(device_, command_pool_, nullptr);
    table_.vkDestroyDevice(device_, nullptr);
}

HostDevice Device::host() const {
    HostDevice host;
    host.instance = instance_->handle();
    host.physical_device = info_.handle;
    host.device = device_;
    host.get_instance_proc_addr = vkGetInstanceProcAddr;
    host.enabled = enabled_;
    return host;
}

}  // namespace vkattn::support
