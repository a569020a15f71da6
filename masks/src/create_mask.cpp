// Dense masks: every pair evaluated, one after the other.
#include "vkattn/create_mask.h"

#include <cmath>
#include <limits>
#include <string>

#include "vkattn/evaluate.h"

namespace vkattn {

namespace {

// `element(evaluator, b, h, q, kv)` of every pair in [B, Hq, q_len, kv_len] order.
template <class T, class Described, class Element>
Result<std::vector<T>> dense(const Described& described, const Shape& shape, const Bindings& bindings,
                             uint64_t max_bytes, const Element& element) {
    if (Status status = check(shape); !status) return status;
    Result<Evaluator> evaluator = Evaluator::make(described, shape, bindings);
    if (!evaluator) return evaluator.status();
    // Products of two lengths below 2^31 and an element size of at most 4 fit 64 bits.
    const uint64_t rows = static_cast<uint64_t>(shape.batch) * static_cast<uint64_t>(shape.q_heads);
    const uint64_t plane = static_cast<uint64_t>(shape.q_len) * static_cast<uint64_t>(shape.kv_len) * sizeof(T);
    if (plane == 0) return std::vector<T>{};
    if (rows > max_bytes / plane) {
        return error(Code::limit_exceeded, "the dense mask would take " + std::to_string(rows) + " (batch x heads) x " +
                                               std::to_string(plane) + " bytes, max_bytes is " +
                                               std::to_string(max_bytes));
    }
    std::vector<T> elements;
    elements.reserve(static_cast<size_t>(rows * (plane / sizeof(T))));
    for (int32_t b = 0; b < shape.batch; ++b)
        for (int32_t h = 0; h < shape.q_heads; ++h)
            for (int32_t q = 0; q < shape.q_len; ++q)
                for (int32_t kv = 0; kv < shape.kv_len; ++kv) elements.push_back(element(*evaluator, b, h, q, kv));
    return elements;
}

template <class T>
Result<std::vector<T>> additive(const Mask& mask, const Shape& shape, const Bindings& bindings, uint64_t max_bytes,
                                T masked) {
    return dense<T>(mask, shape, bindings, max_bytes, [&](Evaluator& at, int32_t b, int32_t h, int32_t q, int32_t kv) {
        return at.mask(b, h, q, kv) ? T{0} : masked;
    });
}

}  // namespace

Result<std::vector<uint8_t>> create_mask(const Mask& mask, const Shape& shape, const Bindings& bindings,
                                         uint64_t max_bytes) {
    return dense<uint8_t>(mask, shape, bindings, max_bytes,
                          [](Evaluator& at, int32_t b, int32_t h, int32_t q, int32_t kv) -> uint8_t {
                              return at.mask(b, h, q, kv) ? 1 : 0;
                          });
}

Result<std::vector<uint8_t>> create_mask(const ScoreMod& score_mod, const Shape& shape, const Bindings& bindings,
                                         uint64_t max_bytes) {
    return dense<uint8_t>(score_mod, shape, bindings, max_bytes,
                          [](Evaluator& at, int32_t b, int32_t h, int32_t q, int32_t kv) -> uint8_t {
                              return at.score(0.0f, b, h, q, kv) == -std::numeric_limits<float>::infinity() ? 0 : 1;
                          });
}

Result<std::vector<float>> additive_mask_f32(const Mask& mask, const Shape& shape, const Bindings& bindings,
                                             uint64_t max_bytes) {
    return additive<float>(mask, shape, bindings, max_bytes, std::numeric_limits<float>::lowest());
}

Result<std::vector<uint16_t>> additive_mask_f16(const Mask& mask, const Shape& shape, const Bindings& bindings,
                                                uint64_t max_bytes) {
    constexpr uint16_t lowest_f16 = 0xfbff;  // -65504
    return additive<uint16_t>(mask, shape, bindings, max_bytes, lowest_f16);
}

}  // namespace vkattn
