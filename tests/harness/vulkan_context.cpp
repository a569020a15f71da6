#define VOLK_IMPLEMENTATION
#include "vulkan_context.h"

#include <cstdlib>
#include <cstring>

#include <doctest/doctest.h>

#include "vkattn/engine.h"

namespace vkattn_tests {
namespace {

constexpr const char* validation_layer = "VK_LAYER_KHRONOS_validation";

VKAPI_ATTR VkBool32 VKAPI_CALL on_message(VkDebugUtilsMessageSeverityFlagBitsEXT severity,
                                          VkDebugUtilsMessageTypeFlagsEXT,
                                          const VkDebugUtilsMessengerCallbackDataEXT* data, void* user) {
    const bool error = (severity & VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT) != 0;
    static_cast<VulkanContext*>(user)->add_message(
        {error, std::string(data->pMessageIdName == nullptr ? "" : data->pMessageIdName) + ": " +
                    (data->pMessage == nullptr ? "" : data->pMessage)});
    return VK_FALSE;
}

VkDebugUtilsMessengerCreateInfoEXT messenger_info(VulkanContext* context) {
    VkDebugUtilsMessengerCreateInfoEXT info{};
    info.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT;
    info.messageSeverity =
        VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT;
    // GENERAL is left out: the loader's remarks about other drivers on the machine are not about us.
    info.messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_TYPE_PERFORMANCE_BIT_EXT;
    info.pfnUserCallback = on_message;
    info.pUserData = context;
    return info;
}

void require(VkResult result, const char* what) {
    if (result != VK_SUCCESS) FAIL(what << " failed with VkResult " << static_cast<int>(result));
}

VkPhysicalDevice pick_device(const VolkInstanceTable& vki, VkInstance instance, std::string& choices) {
    const char* wanted_env = std::getenv("VKATTN_TEST_DEVICE");
    const std::string wanted = wanted_env == nullptr || *wanted_env == '\0' ? "lavapipe" : wanted_env;
    uint32_t count = 0;
    vki.vkEnumeratePhysicalDevices(instance, &count, nullptr);
    std::vector<VkPhysicalDevice> devices(count);
    vki.vkEnumeratePhysicalDevices(instance, &count, devices.data());
    for (VkPhysicalDevice device : devices) {
        VkPhysicalDeviceDriverProperties driver{};
        driver.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES;
        VkPhysicalDeviceProperties2 properties{};
        properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
        properties.pNext = &driver;
        vki.vkGetPhysicalDeviceProperties2(device, &properties);
        const std::string name = properties.properties.deviceName, driver_name = driver.driverName;
        choices += "\n  " + name + " (" + driver_name + " " + driver.driverInfo + ")";
        if (wanted == "lavapipe" ? driver.driverID == VK_DRIVER_ID_MESA_LLVMPIPE
            : wanted == "swiftshader"
                ? driver.driverID == VK_DRIVER_ID_GOOGLE_SWIFTSHADER
                : name.find(wanted) != std::string::npos || driver_name.find(wanted) != std::string::npos)
            return device;
    }
    choices = "no device matches VKATTN_TEST_DEVICE=" + wanted + " among:" + choices;
    return VK_NULL_HANDLE;
}

bool has_layer() {
    uint32_t count = 0;
    vkEnumerateInstanceLayerProperties(&count, nullptr);
    std::vector<VkLayerProperties> layers(count);
    vkEnumerateInstanceLayerProperties(&count, layers.data());
    for (const VkLayerProperties& layer : layers)
        if (std::strcmp(layer.layerName, validation_layer) == 0) return true;
    return false;
}

bool has_device_extension(const VolkInstanceTable& vki, VkPhysicalDevice device, const char* name) {
    uint32_t count = 0;
    vki.vkEnumerateDeviceExtensionProperties(device, nullptr, &count, nullptr);
    std::vector<VkExtensionProperties> extensions(count);
    vki.vkEnumerateDeviceExtensionProperties(device, nullptr, &count, extensions.data());
    for (const VkExtensionProperties& extension : extensions)
        if (std::strcmp(extension.extensionName, name) == 0) return true;
    return false;
}

}  // namespace

VulkanContext& VulkanContext::shared() {
    // Destroyed at exit, after the tests: the layer then reports what was leaked (reported on stderr, see ~VulkanContext).
    static VulkanContext context;
    return context;
}

VulkanContext::VulkanContext(const ContextOptions& options)
    : messages_(options.beside != nullptr ? options.beside->messages_
                                          : std::make_shared<std::vector<ValidationMessage>>()),
      owns_instance_(options.beside == nullptr) {
    if (owns_instance_) {
        create_instance();
    } else {
        instance = options.beside->instance;
        vki = options.beside->vki;
    }
    create_device(options);
}

void VulkanContext::create_instance() {
    require(volkInitialize(), "loading the Vulkan loader");
    if (!has_layer())
        FAIL("the validation layer " << validation_layer
                                     << " is not installed; tests need it (third_party/install.sh)");

    const VkBool32 yes = VK_TRUE, no = VK_FALSE;
    auto setting = [&](const char* name, const VkBool32* value) {
        VkLayerSettingEXT s{};
        s.pLayerName = validation_layer;
        s.pSettingName = name;
        s.type = VK_LAYER_SETTING_TYPE_BOOL32_EXT;
        s.valueCount = 1;
        s.pValues = value;
        return s;
    };
    const VkLayerSettingEXT settings[] = {
        setting("validate_core", &yes),           setting("validate_sync", &yes),
        setting("syncval_full_validation", &yes), setting("syncval_shader_accesses_heuristic", &yes),
        setting("enable_message_limit", &no),  // the default hides everything after ten messages of one kind
    };
    VkLayerSettingsCreateInfoEXT layer_settings{};
    layer_settings.sType = VK_STRUCTURE_TYPE_LAYER_SETTINGS_CREATE_INFO_EXT;
    layer_settings.settingCount = static_cast<uint32_t>(std::size(settings));
    layer_settings.pSettings = settings;
    VkDebugUtilsMessengerCreateInfoEXT messages = messenger_info(this);
    messages.pNext = &layer_settings;

    VkApplicationInfo application{};
    application.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO;
    application.pApplicationName = "vkattn tests";
    application.apiVersion = VK_API_VERSION_1_3;
    const char* instance_extensions[] = {VK_EXT_DEBUG_UTILS_EXTENSION_NAME, VK_EXT_LAYER_SETTINGS_EXTENSION_NAME};
    VkInstanceCreateInfo instance_info{};
    instance_info.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO;
    instance_info.pNext = &messages;
    instance_info.pApplicationInfo = &application;
    instance_info.enabledLayerCount = 1;
    instance_info.ppEnabledLayerNames = &validation_layer;
    instance_info.enabledExtensionCount = static_cast<uint32_t>(std::size(instance_extensions));
    instance_info.ppEnabledExtensionNames = instance_extensions;
    require(vkCreateInstance(&instance_info, nullptr, &instance), "vkCreateInstance with the validation layer");
    volkLoadInstanceTable(&vki, instance);
    VkDebugUtilsMessengerCreateInfoEXT own_messages = messenger_info(this);
    require(vki.vkCreateDebugUtilsMessengerEXT(instance, &own_messages, nullptr, &messenger_),
            "vkCreateDebugUtilsMessengerEXT");
}

void VulkanContext::create_device(const ContextOptions& options) {
    std::string choices;
    physical_device = pick_device(vki, instance, choices);
    if (physical_device == VK_NULL_HANDLE) FAIL(choices);
    vki.vkGetPhysicalDeviceProperties(physical_device, &properties);
    VkPhysicalDeviceDriverProperties driver_properties{};
    driver_properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES;
    VkPhysicalDeviceProperties2 properties2{};
    properties2.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
    properties2.pNext = &driver_properties;
    vki.vkGetPhysicalDeviceProperties2(physical_device, &properties2);
    driver = std::string(driver_properties.driverName) + " " + driver_properties.driverInfo;
    software = properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
    swiftshader = driver_properties.driverID == VK_DRIVER_ID_GOOGLE_SWIFTSHADER;

    auto wanted = vkattn::requirements(instance, vkGetInstanceProcAddr, physical_device);
    if (!wanted) FAIL("requirements(): " << wanted.status().message);
    enabled = wanted->features;
    if (!options.device_address) enabled.buffer_device_address = false;
    enabled.debug_utils = true;
    VkPhysicalDeviceFeatures offered{};  // engines on pretended devices may want what this one does not need
    vki.vkGetPhysicalDeviceFeatures(physical_device, &offered);
    enabled.int64_addresses = offered.shaderInt64 == VK_TRUE;
    std::vector<const char*> extensions = wanted->extensions;
    external_host_memory = has_device_extension(vki, physical_device, VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME);
    if (external_host_memory) extensions.push_back(VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME);
    pipeline_statistics =
        options.pipeline_statistics &&
        has_device_extension(vki, physical_device, VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME);
    if (pipeline_statistics) extensions.push_back(VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME);

    uint32_t family_count = 0;
    vki.vkGetPhysicalDeviceQueueFamilyProperties(physical_device, &family_count, nullptr);
    std::vector<VkQueueFamilyProperties> families(family_count);
    vki.vkGetPhysicalDeviceQueueFamilyProperties(physical_device, &family_count, families.data());
    queue_family = family_count;
    for (uint32_t i = family_count; i-- > 0;)
        if (families[i].queueFlags & VK_QUEUE_COMPUTE_BIT) queue_family = i;
    if (queue_family == family_count) FAIL("no compute queue");

    const float priority = 1.0f;
    VkDeviceQueueCreateInfo queue_info{};
    queue_info.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO;
    queue_info.queueFamilyIndex = queue_family;
    queue_info.queueCount = 1;
    queue_info.pQueuePriorities = &priority;
    const vkattn::FeatureChain features(enabled);
    VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR statistics{};
    statistics.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR;
    statistics.pNext = const_cast<void*>(features.head());
    statistics.pipelineExecutableInfo = VK_TRUE;
    VkDeviceCreateInfo device_info{};
    device_info.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO;
    device_info.pNext = pipeline_statistics ? &statistics : features.head();
    device_info.queueCreateInfoCount = 1;
    device_info.pQueueCreateInfos = &queue_info;
    device_info.enabledExtensionCount = static_cast<uint32_t>(extensions.size());
    device_info.ppEnabledExtensionNames = extensions.data();
    require(vki.vkCreateDevice(physical_device, &device_info, nullptr, &device),
            "vkCreateDevice with requirements()' features");
    vkGetDeviceProcAddr = vki.vkGetDeviceProcAddr;  // volk loads device tables through its global pointer
    volkLoadDeviceTable(&vk, device);
    vk.vkGetDeviceQueue(device, queue_family, 0, &queue);

    VkCommandPoolCreateInfo pool_info{};
    pool_info.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO;
    pool_info.queueFamilyIndex = queue_family;
    require(vk.vkCreateCommandPool(device, &pool_info, nullptr, &pool_), "vkCreateCommandPool");
    VkFenceCreateInfo fence_info{};
    fence_info.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO;
    require(vk.vkCreateFence(device, &fence_info, nullptr, &fence_), "vkCreateFence");
}

VulkanContext::~VulkanContext() {
    if (device != VK_NULL_HANDLE) {
        vk.vkDestroyFence(device, fence_, nullptr);
        vk.vkDestroyCommandPool(device, pool_, nullptr);
        messages_->clear();
        vk.vkDestroyDevice(device, nullptr);  // the layer lists leaked objects here
        if (!messages_->empty()) {
            std::fprintf(stderr, "objects were leaked:\n%s", message_text().c_str());
            std::fflush(stderr);
            std::_Exit(1);
        }
    }
    if (!owns_instance_) return;
    if (messenger_ != VK_NULL_HANDLE) vki.vkDestroyDebugUtilsMessengerEXT(instance, messenger_, nullptr);
    if (instance != VK_NULL_HANDLE) vki.vkDestroyInstance(instance, nullptr);
}

std::string VulkanContext::message_text() const {
    std::string text;
    for (const ValidationMessage& message : *messages_)
        text += (message.error ? "error: " : "warning: ") + message.text + "\n";
    return text;
}

VkCommandBuffer VulkanContext::begin() {
    VkCommandBufferAllocateInfo allocate{};
    allocate.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO;
    allocate.commandPool = pool_;
    allocate.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
    allocate.commandBufferCount = 1;
    VkCommandBuffer command_buffer = VK_NULL_HANDLE;
    require(vk.vkAllocateCommandBuffers(device, &allocate, &command_buffer), "vkAllocateCommandBuffers");
    VkCommandBufferBeginInfo info{};
    info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
    info.flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT;
    require(vk.vkBeginCommandBuffer(command_buffer, &info), "vkBeginCommandBuffer");
    return command_buffer;
}

void VulkanContext::submit_and_wait(VkCommandBuffer command_buffer) {
    // What the host must do after a record: wait on COMPUTE / SHADER_WRITE and make it visible to its own reads.
    VkMemoryBarrier to_host{};
    to_host.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER;
    to_host.srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT;
    to_host.dstAccessMask = VK_ACCESS_HOST_READ_BIT | VK_ACCESS_HOST_WRITE_BIT;
    vk.vkCmdPipelineBarrier(command_buffer, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT,
                            VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &to_host, 0, nullptr, 0, nullptr);
    require(vk.vkEndCommandBuffer(command_buffer), "vkEndCommandBuffer");
    VkSubmitInfo submit{};
    submit.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
    submit.commandBufferCount = 1;
    submit.pCommandBuffers = &command_buffer;
    require(vk.vkQueueSubmit(queue, 1, &submit, fence_), "vkQueueSubmit");
    require(vk.vkWaitForFences(device, 1, &fence_, VK_TRUE, UINT64_MAX), "vkWaitForFences");
    require(vk.vkResetFences(device, 1, &fence_), "vkResetFences");
    vk.vkFreeCommandBuffers(device, pool_, 1, &command_buffer);
}

uint32_t VulkanContext::memory_type(uint32_t allowed_bits, VkMemoryPropertyFlags wanted) const {
    VkPhysicalDeviceMemoryProperties memory{};
    vki.vkGetPhysicalDeviceMemoryProperties(physical_device, &memory);
    for (uint32_t i = 0; i < memory.memoryTypeCount; i++)
        if ((allowed_bits >> i & 1u) != 0 && (memory.memoryTypes[i].propertyFlags & wanted) == wanted) return i;
    return UINT32_MAX;
}

}  // namespace vkattn_tests
