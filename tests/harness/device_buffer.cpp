#include <algorithm>
#include <string>
#include <utility>

#include <doctest/doctest.h>

#include "vulkan_context.h"

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace vkattn_tests {
namespace {

VkBufferUsageFlags usage(const VulkanContext& context) {
    VkBufferUsageFlags flags =
        VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT;
    if (context.enabled.buffer_device_address) flags |= VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT;
    return flags;
}

VkMemoryAllocateFlagsInfo address_flags() {
    VkMemoryAllocateFlagsInfo flags{};
    flags.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO;
    flags.flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT;
    return flags;
}

}  // namespace

DeviceBuffer::DeviceBuffer(VulkanContext& context, uint64_t size) : size_bytes(size), context_(&context) {
    VkBufferCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO;
    info.size = size;
    info.usage = usage(context);
    REQUIRE(context.vk.vkCreateBuffer(context.device, &info, nullptr, &handle) == VK_SUCCESS);
    VkMemoryRequirements needs{};
    context.vk.vkGetBufferMemoryRequirements(context.device, handle, &needs);
    const VkMemoryAllocateFlagsInfo flags = address_flags();
    VkMemoryAllocateInfo allocate{};
    allocate.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO;
    if (context.enabled.buffer_device_address) allocate.pNext = &flags;
    allocate.allocationSize = needs.size;
    allocate.memoryTypeIndex = context.memory_type(needs.memoryTypeBits, VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
                                                                             VK_MEMORY_PROPERTY_HOST_COHERENT_BIT);
    REQUIRE(context.vk.vkAllocateMemory(context.device, &allocate, nullptr, &memory_) == VK_SUCCESS);
    REQUIRE(context.vk.vkBindBufferMemory(context.device, handle, memory_, 0) == VK_SUCCESS);
    void* mapped = nullptr;
    REQUIRE(context.vk.vkMapMemory(context.device, memory_, 0, VK_WHOLE_SIZE, 0, &mapped) == VK_SUCCESS);
    data = static_cast<uint8_t*>(mapped);
}

DeviceBuffer::~DeviceBuffer() {
    if (context_ == nullptr) return;
    context_->vk.vkDestroyBuffer(context_->device, handle, nullptr);
    context_->vk.vkFreeMemory(context_->device, memory_, nullptr);
}

DeviceBuffer::DeviceBuffer(DeviceBuffer&& other) noexcept { *this = std::move(other); }

DeviceBuffer& DeviceBuffer::operator=(DeviceBuffer&& other) noexcept {
    std::swap(handle, other.handle);
    std::swap(size_bytes, other.size_bytes);
    std::swap(data, other.data);
    std::swap(context_, other.context_);
    std::swap(memory_, other.memory_);
    return *this;
}

#if (defined(__unix__) || defined(__APPLE__)) && defined(MAP_NORESERVE)
SparseBuffer::SparseBuffer(VulkanContext& context, uint64_t size) : context_(context) {
    if (!context.external_host_memory) {
        why_not = "VK_EXT_external_memory_host is not offered";
        return;
    }
    VkPhysicalDeviceExternalMemoryHostPropertiesEXT host{};
    host.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_MEMORY_HOST_PROPERTIES_EXT;
    VkPhysicalDeviceProperties2 properties{};
    properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
    properties.pNext = &host;
    context.vki.vkGetPhysicalDeviceProperties2(context.physical_device, &properties);
    VkPhysicalDeviceMaintenance4Properties largest{};
    largest.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_4_PROPERTIES;
    if (context.properties.apiVersion >= VK_API_VERSION_1_3) {
        properties.pNext = &largest;
        context.vki.vkGetPhysicalDeviceProperties2(context.physical_device, &properties);
        if (size > largest.maxBufferSize) {
            why_not = "the device's maxBufferSize is " + std::to_string(largest.maxBufferSize);
            return;
        }
    }

    const uint64_t page =
        std::max<uint64_t>(static_cast<uint64_t>(sysconf(_SC_PAGESIZE)), host.minImportedHostPointerAlignment);
    const uint64_t body = (size + page - 1) / page * page;
    mapping_bytes_ = body + 2 * page;
    mapping_ = mmap(nullptr, mapping_bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping_ == MAP_FAILED) {
        mapping_ = nullptr;
        why_not = "no address space for " + std::to_string(mapping_bytes_) + " bytes";
        return;
    }
    uint8_t* begin = static_cast<uint8_t*>(mapping_) + page;
    if (mprotect(begin, body, PROT_READ | PROT_WRITE) != 0) {
        why_not = "no memory for " + std::to_string(body) + " bytes";
        return;
    }

    VkExternalMemoryBufferCreateInfo external{};
    external.sType = VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO;
    external.handleTypes = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT;
    VkBufferCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO;
    info.pNext = &external;
    info.size = body;
    info.usage = usage(context);
    VkBuffer buffer = VK_NULL_HANDLE;
    if (context.vk.vkCreateBuffer(context.device, &info, nullptr, &buffer) != VK_SUCCESS) {
        why_not = "vkCreateBuffer refuses " + std::to_string(body) + " bytes";
        return;
    }
    VkMemoryRequirements needs{};
    context.vk.vkGetBufferMemoryRequirements(context.device, buffer, &needs);
    VkMemoryHostPointerPropertiesEXT types{};
    types.sType = VK_STRUCTURE_TYPE_MEMORY_HOST_POINTER_PROPERTIES_EXT;
    context.vk.vkGetMemoryHostPointerPropertiesEXT(
        context.device, VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT, begin, &types);
    VkMemoryAllocateFlagsInfo flags = address_flags();
    VkImportMemoryHostPointerInfoEXT import{};
    import.sType = VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT;
    if (context.enabled.buffer_device_address) import.pNext = &flags;
    import.handleType = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT;
    import.pHostPointer = begin;
    VkMemoryAllocateInfo allocate{};
    allocate.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO;
    allocate.pNext = &import;
    allocate.allocationSize = body;
    allocate.memoryTypeIndex =
        context.memory_type(needs.memoryTypeBits & types.memoryTypeBits, VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT);
    if (allocate.memoryTypeIndex == UINT32_MAX || needs.size > body ||
        context.vk.vkAllocateMemory(context.device, &allocate, nullptr, &memory_) != VK_SUCCESS ||
        context.vk.vkBindBufferMemory(context.device, buffer, memory_, 0) != VK_SUCCESS) {
        context.vk.vkDestroyBuffer(context.device, buffer, nullptr);
        context.clear_messages();
        why_not = "the device does not import " + std::to_string(body) + " bytes";
        return;
    }
    // The layer warns beyond maxMemoryAllocationSize (2^31 on lavapipe); what counts is whether the device took it, and it did.
    context.clear_messages();
    handle = buffer;
    size_bytes = body;
    data = begin;
}

SparseBuffer::~SparseBuffer() {
    if (handle != VK_NULL_HANDLE) context_.vk.vkDestroyBuffer(context_.device, handle, nullptr);
    if (memory_ != VK_NULL_HANDLE) context_.vk.vkFreeMemory(context_.device, memory_, nullptr);
    if (mapping_ != nullptr) munmap(mapping_, mapping_bytes_);
}
#else
SparseBuffer::SparseBuffer(VulkanContext& context, uint64_t)
    : why_not("no lazily committed mappings on this system"), context_(context) {}
SparseBuffer::~SparseBuffer() = default;
#endif

}  // namespace vkattn_tests
