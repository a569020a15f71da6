// Device buffers for tensors. Memory is written directly where the host sees it (software devices, integrated GPUs, resizable
// BAR) and through a staging buffer elsewhere; the caller sees no difference.
#pragma once

#include <cstdint>
#include <span>
#include <type_traits>

#include "support/device.h"

struct VmaAllocation_T;

namespace vkattn::support {

// How bytes get into a buffer. `direct` where the host sees the memory, else staged; `staged` always, as on a GPU with memory of its own.
enum class Transfer : uint8_t { direct, staged };

// STORAGE, TRANSFER_SRC and _DST usage, with an address where the device has them. Move-only.
class Buffer {
  public:
    // 0 bytes are allowed: a small buffer stands in, so that there always is a handle to bind.
    static Result<Buffer> create(const Device& device, uint64_t size_bytes, Transfer transfer = Transfer::direct);
    template <class T>
    static Result<Buffer> create_with(const Device& device, std::span<const T> elements) {
        auto buffer = create(device, elements.size_bytes());
        if (!buffer) return buffer;
        if (Status status = buffer->upload(elements); !status.ok()) return status;
        return buffer;
    }

    Buffer() = default;
    Buffer(Buffer&& other) noexcept;
    Buffer& operator=(Buffer&& other) noexcept;
    ~Buffer();

    VkBuffer handle() const { return buffer_; }
    uint64_t size_bytes() const { return size_bytes_; }
    // For Buffers of the engine; a null range for an empty Buffer().
    BufferRange range(uint64_t offset = 0) const;

    // These wait until the device is done. An error when the range is outside the buffer.
    Status upload_bytes(std::span<const uint8_t> bytes, uint64_t offset = 0);
    Status download_bytes(std::span<uint8_t> bytes, uint64_t offset = 0) const;
    Status fill(uint32_t word);  // the whole buffer

    template <class T>
    Status upload(std::span<const T> elements, uint64_t offset = 0) {
        static_assert(std::is_trivially_copyable_v<T>);
        return upload_bytes({reinterpret_cast<const uint8_t*>(elements.data()), elements.size_bytes()}, offset);
    }
    template <class T>
    Status download(std::span<T> elements, uint64_t offset = 0) const {
        static_assert(std::is_trivially_copyable_v<T>);
        return download_bytes({reinterpret_cast<uint8_t*>(elements.data()), elements.size_bytes()}, offset);
    }

  private:
    void release();
    Status check_range(uint64_t bytes, uint64_t offset) const;

    const Device* device_ = nullptr;
    VkBuffer buffer_ = VK_NULL_HANDLE;
    VmaAllocation_T* allocation_ = nullptr;
    void* mapped_ = nullptr;  // null: not visible to the host
    uint64_t size_bytes_ = 0;
    uint64_t allocated_bytes_ = 0;
};

}  // namespace vkattn::support
