#include "guarded_bytes.h"

#include <algorithm>

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

GuardedBytes::GuardedBytes(uint64_t size_bytes) : expected_(size_bytes), free_(size_bytes, false) {
    for (uint64_t i = 0; i < size_bytes; i++) expected_[i] = guard_byte(i);
}

void GuardedBytes::write(vkattn::ElementType type, const Placement& placement, const Values& values) {
    const uint64_t size = element_bytes(type);
    for_each_row(placement, values, [&](int64_t first, int32_t b, int32_t h, int32_t l) {
        const float* row = values.row(b, h, l);
        for (int32_t d = 0; d < values.width; d++)
            store_element(type, &expected_.at(static_cast<uint64_t>(first + d) * size), row[d]);
    });
}

void GuardedBytes::write_bytes(uint64_t first_byte, std::span<const uint8_t> bytes) {
    for (size_t i = 0; i < bytes.size(); i++) expected_.at(first_byte + i) = bytes[i];
}

void GuardedBytes::leave_free(vkattn::ElementType type, const Placement& placement, const Values& shape_of) {
    const uint64_t size = element_bytes(type);
    for_each_row(placement, shape_of, [&](int64_t first, int32_t, int32_t, int32_t) {
        leave_free(static_cast<uint64_t>(first) * size, static_cast<uint64_t>(shape_of.width) * size);
    });
}

void GuardedBytes::leave_free(uint64_t first_byte, uint64_t n_bytes) {
    for (uint64_t i = 0; i < n_bytes; i++) free_.at(first_byte + i) = true;
}

std::string GuardedBytes::damage(const char* name, const uint8_t* now) const {
    for (uint64_t i = 0; i < expected_.size(); i++)
        if (!free_[i] && now[i] != expected_[i])
            return std::string(name) + ": byte " + std::to_string(i) + " of " + std::to_string(expected_.size()) +
                   " was overwritten";
    return {};
}

Values read_values(vkattn::ElementType type, const Placement& placement, const Values& shape_of, const uint8_t* bytes) {
    Values values(shape_of.batch, shape_of.heads, shape_of.length, shape_of.width);
    const uint64_t size = element_bytes(type);
    for_each_row(placement, values, [&](int64_t first, int32_t b, int32_t h, int32_t l) {
        float* row = values.row(b, h, l);
        for (int32_t d = 0; d < values.width; d++)
            row[d] = load_element(type, bytes + static_cast<uint64_t>(first + d) * size);
    });
    return values;
}

}  // namespace vkattn_tests
