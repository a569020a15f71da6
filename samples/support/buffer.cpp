// Buffer: memory, upload and download.
#include "support/buffer.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "support/submit.h"
#include "support/vma.h"

namespace vkattn::support {
namespace {

Status allocation_failed(uint64_t bytes, VkResult result) {
    return error(Code::device_error,
                 "the device could not allocate a buffer of " + std::to_string(bytes) + " bytes (VkResult " +
                     std::to_string(result) + ")",
                 result);
}

// Memory that the host writes or reads, for one transfer.
class Staging {
  public:
    Staging(VmaAllocator allocator, uint64_t bytes, bool to_device) : allocator_(allocator) {
        VkBufferCreateInfo info{};
        info.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO;
        info.size = bytes;
        info.usage = to_device ? VK_BUFFER_USAGE_TRANSFER_SRC_BIT : VK_BUFFER_USAGE_TRANSFER_DST_BIT;
        VmaAllocationCreateInfo allocate{};
        allocate.usage = VMA_MEMORY_USAGE_AUTO;
        allocate.flags =
            VMA_ALLOCATION_CREATE_MAPPED_BIT | (to_device ? VMA_ALLOCATION_CREATE_HOST_ACCESS_SEQUENTIAL_WRITE_BIT
                                                          : VMA_ALLOCATION_CREATE_HOST_ACCESS_RANDOM_BIT);
        VmaAllocationInfo made{};
        result_ = vmaCreateBuffer(allocator, &info, &allocate, &buffer_, &allocation_, &made);
        mapped_ = made.pMappedData;
    }
    ~Staging() {
        if (buffer_ != VK_NULL_HANDLE) vmaDestroyBuffer(allocator_, buffer_, allocation_);
    }
    Staging(const Staging&) = delete;
    Staging& operator=(const Staging&) = delete;

    VkResult result() const { return result_; }
    VkBuffer buffer() const { return buffer_; }
    VmaAllocation allocation() const { return allocation_; }
    void* mapped() const { return mapped_; }

  private:
    VmaAllocator allocator_;
    VkBuffer buffer_ = VK_NULL_HANDLE;
    VmaAllocation allocation_ = nullptr;
    void* mapped_ = nullptr;
    VkResult result_ = VK_SUCCESS;
};

constexpr uint64_t staging_bytes = 64u << 20;  // a larger transfer goes in parts

}  // namespace

Result<Buffer> Buffer::create(const Device& device, uint64_t size_bytes, Transfer transfer) {
    Buffer buffer;
    buffer.device_ = &device;
    buffer.size_bytes_ = size_bytes;
    // Whole words, for fills and for kernels that read 16-bit elements in pairs.
    if (size_bytes > UINT64_MAX - 15) return allocation_failed(size_bytes, VK_ERROR_OUT_OF_DEVICE_MEMORY);
    buffer.allocated_bytes_ = std::max<uint64_t>((size_bytes + 15) & ~uint64_t{15}, 16);

    VkBufferCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO;
    info.size = buffer.allocated_bytes_;
    info.usage =
        VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT;
    if (device.enabled().buffer_device_address) info.usage |= VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT;
    VmaAllocationCreateInfo allocate{};
    allocate.usage = VMA_MEMORY_USAGE_AUTO;
    if (transfer == Transfer::direct)
        allocate.flags = VMA_ALLOCATION_CREATE_MAPPED_BIT | VMA_ALLOCATION_CREATE_HOST_ACCESS_RANDOM_BIT |
                         VMA_ALLOCATION_CREATE_HOST_ACCESS_ALLOW_TRANSFER_INSTEAD_BIT;
    VmaAllocationInfo made{};
    if (VkResult result =
            vmaCreateBuffer(device.allocator(), &info, &allocate, &buffer.buffer_, &buffer.allocation_, &made);
        result != VK_SUCCESS)
        return allocation_failed(size_bytes, result);
    buffer.mapped_ = made.pMappedData;
    return buffer;
}

Buffer::Buffer(Buffer&& other) noexcept { *this = std::move(other); }

Buffer& Buffer::operator=(Buffer&& other) noexcept {
    if (this == &other) return *this;
    release();
    device_ = std::exchange(other.device_, nullptr);
    buffer_ = std::exchange(other.buffer_, VK_NULL_HANDLE);
    allocation_ = std::exchange(other.allocation_, nullptr);
    mapped_ = std::exchange(other.mapped_, nullptr);
    size_bytes_ = std::exchange(other.size_bytes_, 0);
    allocated_bytes_ = std::exchange(other.allocated_bytes_, 0);
    return *this;
}

Buffer::~Buffer() { release(); }

void Buffer::release() {
    if (buffer_ != VK_NULL_HANDLE) vmaDestroyBuffer(device_->allocator(), buffer_, allocation_);
    buffer_ = VK_NULL_HANDLE;
}

BufferRange Buffer::range(uint64_t offset) const {
    BufferRange range;
    range.buffer = buffer_;
    range.offset = offset;
    return range;
}

Status Buffer::check_range(uint64_t bytes, uint64_t offset) const {
    if (offset <= size_bytes_ && bytes <= size_bytes_ - offset) return {};
    return error(Code::invalid_argument, std::to_string(bytes) + " bytes at " + std::to_string(offset) +
                                             " are outside a buffer of " + std::to_string(size_bytes_) + " bytes");
}

Status Buffer::upload_bytes(std::span<const uint8_t> bytes, uint64_t offset) {
    if (Status status = check_range(bytes.size(), offset); !status.ok()) return status;
    if (bytes.empty()) return {};
    if (mapped_ != nullptr) {
        std::memcpy(static_cast<uint8_t*>(mapped_) + offset, bytes.data(), bytes.size());
        vmaFlushAllocation(device_->allocator(), allocation_, offset, bytes.size());
        return {};
    }
    const uint64_t part_bytes = std::min<uint64_t>(bytes.size(), staging_bytes);
    const Staging staging(device_->allocator(), part_bytes, true);
    if (staging.result() != VK_SUCCESS) return allocation_failed(part_bytes, staging.result());
    for (uint64_t done = 0; done < bytes.size(); done += part_bytes) {
        const uint64_t now = std::min<uint64_t>(part_bytes, bytes.size() - done);
        std::memcpy(staging.mapped(), bytes.data() + done, now);
        vmaFlushAllocation(device_->allocator(), staging.allocation(), 0, now);
        const VkBufferCopy copy{0, offset + done, now};
        if (Status status = submit(*device_,
                                   [&](VkCommandBuffer commands) {
                                       device_->vk().vkCmdCopyBuffer(commands, staging.buffer(), buffer_, 1, &copy);
                                   });
            !status.ok())
            return status;
    }
    return {};
}

Status Buffer::download_bytes(std::span<uint8_t> bytes, uint64_t offset) const {
    if (Status status = check_range(bytes.size(), offset); !status.ok()) return status;
    if (bytes.empty()) return {};
    if (mapped_ != nullptr) {
        vmaInvalidateAllocation(device_->allocator(), allocation_, offset, bytes.size());
        std::memcpy(bytes.data(), static_cast<const uint8_t*>(mapped_) + offset, bytes.size());
        return {};
    }
    const uint64_t part_bytes = std::min<uint64_t>(bytes.size(), staging_bytes);
    const Staging staging(device_->allocator(), part_bytes, false);
    if (staging.result() != VK_SUCCESS) return allocation_failed(part_bytes, staging.result());
    for (uint64_t done = 0; done < bytes.size(); done += part_bytes) {
        const uint64_t now = std::min<uint64_t>(part_bytes, bytes.size() - done);
        const VkBufferCopy copy{offset + done, 0, now};
        if (Status status = submit(*device_,
                                   [&](VkCommandBuffer commands) {
                                       device_->vk().vkCmdCopyBuffer(commands, buffer_, staging.buffer(), 1, &copy);
                                   });
            !status.ok())
            return status;
        vmaInvalidateAllocation(device_->allocator(), staging.allocation(), 0, now);
        std::memcpy(bytes.data() + done, staging.mapped(), now);
    }
    return {};
}

Status Buffer::fill(uint32_t word) {
    if (buffer_ == VK_NULL_HANDLE) return {};
    return submit(*device_, [&](VkCommandBuffer commands) {
        device_->vk().vkCmdFillBuffer(commands, buffer_, 0, allocated_bytes_, word);
    });
}

}  // namespace vkattn::support
