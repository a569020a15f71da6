// q, k and v: from a file, or made up.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "support/safetensors.h"
#include "vkattn/bindings.h"
#include "vkattn/types.h"

namespace vkattn::cli {

// q [B, Hq, Lq, D], k [B, Hkv, Lkv, D], v [B, Hkv, Lkv, Dv], contiguous, each of its own type.
struct AttentionTensors {
    struct One {
        ElementType type = ElementType::f32;
        std::span<const uint8_t> bytes;  // of the file, or of `storage`
        std::vector<uint8_t> storage;
    };
    Shape shape;
    int32_t head_dim = 0;   // D
    int32_t value_dim = 0;  // Dv
    One q, k, v;
};

// Errors explain which lengths do not go together.
Result<AttentionTensors> find_tensors(const support::Safetensors& file);
// "BxHxLxD" or "BxHqxHkvxLqxLkvxD": values between -1 and 1, the same every time.
Result<AttentionTensors> random_tensors(std::string_view sizes, ElementType type);

support::DType dtype_of(ElementType type);
std::vector<float> widened(std::span<const uint8_t> bytes, ElementType type);
double ulp_at_one(ElementType type);

}  // namespace vkattn::cli
