// Tensors between guards, as bytes of the host: everything of a buffer that is not an element of the tensor (before, after, gaps
// between rows) holds one NaN pattern, lies inside the range that is bound, and must be unchanged after the run.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "vkattn/engine.h"

namespace vkattn_tests {

// Logical values [batch, heads, length, width], row-major, already rounded to the storage type.
struct Values {
    int32_t batch = 0, heads = 0, length = 0, width = 0;
    std::vector<float> at;

    Values() = default;
    Values(int32_t b, int32_t h, int32_t l, int32_t w)
        : batch(b),
          heads(h),
          length(l),
          width(w),
          at(static_cast<size_t>(b) * static_cast<size_t>(h) * static_cast<size_t>(l) * static_cast<size_t>(w)) {}
    float* row(int32_t b, int32_t h, int32_t l) { return at.data() + index(b, h, l); }
    const float* row(int32_t b, int32_t h, int32_t l) const { return at.data() + index(b, h, l); }

  private:
    size_t index(int32_t b, int32_t h, int32_t l) const {
        return ((static_cast<size_t>(b) * static_cast<size_t>(heads) + static_cast<size_t>(h)) *
                    static_cast<size_t>(length) +
                static_cast<size_t>(l)) *
               static_cast<size_t>(width);
    }
};

// Where a tensor lies: elements from the start of its buffer, and the distance of its neighbours.
struct Placement {
    int64_t first = 0;
    vkattn::Strides strides;
    bool aligned = true;  // first element and strides are multiples of four
};

// The bytes of the NaN guard: a quiet NaN in f32 (0x7fd57fd5), and in f16 and bf16 alike (0x7fd5), whichever way it is read.
constexpr uint8_t guard_byte(uint64_t offset) { return (offset & 1u) != 0 ? 0x7f : 0xd5; }
constexpr uint64_t guard_bytes = 272;  // a multiple of 16 that is none of 64 or 256: offsets must be aligned down

// What a buffer holds before the run, and what of it must still stand there after it.
class GuardedBytes {
  public:
    GuardedBytes() = default;
    explicit GuardedBytes(uint64_t size_bytes);

    void write(vkattn::ElementType type, const Placement& placement, const Values& values);
    void write_bytes(uint64_t first_byte, std::span<const uint8_t> bytes);
    // Bytes that are the device's to write: not compared afterwards; they keep the guard pattern, so a row not written is NaN.
    void leave_free(vkattn::ElementType type, const Placement& placement, const Values& shape_of);
    void leave_free(uint64_t first_byte, uint64_t n_bytes);
    std::span<const uint8_t> bytes() const { return expected_; }
    // Names the first byte of `now` that should be unchanged and is not; empty when all is well.
    std::string damage(const char* name, const uint8_t* now) const;

  private:
    std::vector<uint8_t> expected_;
    std::vector<bool> free_;
};

Values read_values(vkattn::ElementType type, const Placement& placement, const Values& shape_of, const uint8_t* bytes);

}  // namespace vkattn_tests
