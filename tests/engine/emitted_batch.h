// Many emitted hooks in one compute shader: every (b, h, q, kv) of a small shape through each of them, and each row's key range.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "vkattn/emit.h"
#include "vkattn/evaluate.h"
#include "vulkan_context.h"

namespace vkattn_tests {

// A mask and a score mod with the values they are used with.
struct EmittedCase {
    std::string what;                                     // replays a failure
    std::shared_ptr<const vkattn::Tree> mask, score_mod;  // normalised
    vkattn::Bindings bindings;
};

struct DeviceRange {
    int32_t lo_any, hi_any, lo_all, hi_all;
};

// Index of a pair: ((b * q_heads + h) * q_len + q) * kv_len + kv; of a row: the same without kv.
struct BatchResult {
    std::vector<std::vector<uint8_t>> kept;        // per case, per pair
    std::vector<std::vector<float>> scores;        // score_pair of batch_score(pair)
    std::vector<std::vector<DeviceRange>> ranges;  // per case, per row
};

// The score that pair i is given: exact in f32 on both sides, negative ones included.
inline float batch_score(uint32_t pair) {
    return static_cast<float>(static_cast<int32_t>(pair * 7u % 97u) - 48) * 0.375f;
}

// One pipeline, one dispatch. Fails the test on any Vulkan or compile error, with the text that did not compile.
BatchResult run_emitted(VulkanContext& context, const vkattn::Shape& shape, const std::vector<EmittedCase>& cases);

}  // namespace vkattn_tests
