#include "tensor.h"

#include <cstring>

#include <doctest/doctest.h>

#include "numbers.h"

namespace vkattn_tests {
namespace {

template <class Visit>
void for_each_row(const Placement& p, const Values& v, const Visit& visit) {
    for (int32_t b = 0; b < v.batch; b++)
        for (int32_t h = 0; h < v.heads; h++)
            for (int32_t l = 0; l < v.length; l++)
                visit(p.first + b * p.strides.b + h * p.strides.h + l * p.strides.l, b, h, l);
}

}  // namespace

GuardedBuffer::GuardedBuffer(VulkanContext& context, uint64_t size_bytes)
    : buffer(context, size_bytes), expected_(size_bytes), free_(size_bytes, false) {
    for (uint64_t i = 0; i < size_bytes; i++) expected_[i] = guard_byte(i);
}

void GuardedBuffer::write(vkattn::ElementType type, const Placement& placement, const Values& values) {
    const uint64_t size = element_bytes(type);
    for_each_row(placement, values, [&](int64_t first, int32_t b, int32_t h, int32_t l) {
        const float* row = values.row(b, h, l);
        for (int32_t d = 0; d < values.width; d++)
            store_element(type, &expected_.at(static_cast<uint64_t>(first + d) * size), row[d]);
    });
}

void GuardedBuffer::leave_free(vkattn::ElementType type, const Placement& placement, const Values& shape_of) {
    const uint64_t size = element_bytes(type);
    for_each_row(placement, shape_of, [&](int64_t first, int32_t, int32_t, int32_t) {
        leave_free(static_cast<uint64_t>(first) * size, static_cast<uint64_t>(shape_of.width) * size);
    });
}

void GuardedBuffer::leave_free(uint64_t first_byte, uint64_t n_bytes) {
    for (uint64_t i = 0; i < n_bytes; i++) free_.at(first_byte + i) = true;
}

void GuardedBuffer::write_bytes(uint64_t first_byte, const std::vector<uint8_t>& bytes) {
    REQUIRE(first_byte + bytes.size() <= expected_.size());
    if (!bytes.empty()) std::memcpy(&expected_[first_byte], bytes.data(), bytes.size());
}

void GuardedBuffer::upload() { std::memcpy(buffer.data, expected_.data(), expected_.size()); }

Values GuardedBuffer::read(vkattn::ElementType type, const Placement& placement, const Values& shape_of) const {
    Values values(shape_of.batch, shape_of.heads, shape_of.length, shape_of.width);
    const uint64_t size = element_bytes(type);
    for_each_row(placement, values, [&](int64_t first, int32_t b, int32_t h, int32_t l) {
        float* row = values.row(b, h, l);
        for (int32_t d = 0; d < values.width; d++)
            row[d] = load_element(type, buffer.data + static_cast<uint64_t>(first + d) * size);
    });
    return values;
}

std::string GuardedBuffer::damage(const char* name) const {
    for (uint64_t i = 0; i < expected_.size(); i++)
        if (!free_[i] && buffer.data[i] != expected_[i])
            return std::string(name) + ": byte " + std::to_string(i) + " of " + std::to_string(expected_.size()) +
                   " was overwritten";
    return {};
}

}  // namespace vkattn_tests
