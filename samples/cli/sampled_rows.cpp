#include "sampled_rows.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "vkattn/evaluate.h"

namespace vkattn::cli {
namespace {

template <class T>
T dot(const float* x, const float* y, int32_t n) {
    T sum = 0;
    for (int32_t i = 0; i < n; i++) sum += static_cast<T>(x[i]) * static_cast<T>(y[i]);
    return sum;
}

// Softmax of `scores` times v, in T; returns the logsumexp. Made-up tensors hold no infinity and no NaN.
template <class T>
T attend(const std::vector<int32_t>& keys, const std::vector<T>& scores, const float* v, int32_t value_dim, T* o) {
    std::fill_n(o, value_dim, T{0});
    T row_max = -std::numeric_limits<T>::infinity(), row_sum = 0;
    for (const T score : scores) row_max = std::max(row_max, score);
    if (std::isinf(row_max)) return row_max;
    for (size_t i = 0; i < keys.size(); i++) {
        const T weight = std::exp(scores[i] - row_max);
        row_sum += weight;
        const float* value = v + int64_t{keys[i]} * value_dim;
        for (int32_t d = 0; d < value_dim; d++) o[d] += weight * static_cast<T>(value[d]);
    }
    for (int32_t d = 0; d < value_dim; d++) o[d] /= row_sum;
    return row_max + std::log(row_sum);
}

// `length` rows of `dim` elements from row `first` on, as f32.
std::vector<float> widened_rows(const AttentionTensors::One& tensor, int64_t first, int64_t length, int32_t dim) {
    const uint64_t row_bytes = static_cast<uint64_t>(dim) * element_bytes(tensor.type);
    return widened(
        tensor.bytes.subspan(static_cast<uint64_t>(first) * row_bytes, static_cast<uint64_t>(length) * row_bytes),
        tensor.type);
}

}  // namespace

std::vector<QueryRow> sample_rows(const Shape& shape, int32_t count) {
    const int64_t all = int64_t{shape.batch} * shape.q_heads * shape.q_len;
    std::vector<QueryRow> rows;
    const int64_t n = std::min<int64_t>(all, count);
    for (int64_t i = 0; i < n; i++) {
        const int64_t flat = n == 1 ? all - 1 : i * (all - 1) / (n - 1);
        // Heads are walked faster than positions, so that a few rows see different parts of the mask.
        rows.push_back({static_cast<int32_t>(flat / shape.q_len / shape.q_heads),
                        static_cast<int32_t>(flat / shape.q_len % shape.q_heads),
                        static_cast<int32_t>(flat % shape.q_len)});
        if (i > 0 && i < n - 1)
            rows.back().q = static_cast<int32_t>((int64_t{shape.q_len} * i / (n - 1) + i) % shape.q_len);
    }
    return rows;
}

Result<ReferenceOutput> reference_rows(const Mask& mask, const ScoreMod& score_mod, const Bindings& bindings,
                                       const AttentionTensors& tensors, std::span<const QueryRow> rows,
                                       double weight_unit) {
    const Shape& shape = tensors.shape;
    auto masks = Evaluator::make(mask, shape, bindings);
    if (!masks) return masks.status();
    auto scores_of = Evaluator::make(score_mod, shape, bindings);
    if (!scores_of) return scores_of.status();
    const bool identity = score_mod.is_identity();
    const int32_t d = tensors.head_dim, dv = tensors.value_dim;
    const float scale = 1.0f / std::sqrt(static_cast<float>(d));

    ReferenceOutput output;
    output.o.resize(rows.size() * static_cast<size_t>(dv));
    output.lse.resize(rows.size());
    output.plain_f32_o.resize(output.o.size());
    if (weight_unit > 0.0) output.rounding.resize(output.o.size());
    std::vector<float> plain_o(static_cast<size_t>(dv));
    for (size_t i = 0; i < rows.size(); i++) {
        const auto [b, h, q] = rows[i];
        const int64_t plane = int64_t{b} * shape.kv_heads + h / (shape.q_heads / shape.kv_heads);
        const auto k = widened_rows(tensors.k, plane * shape.kv_len, shape.kv_len, d);
        const auto v = widened_rows(tensors.v, plane * shape.kv_len, shape.kv_len, dv);
        const auto query = widened_rows(tensors.q, (int64_t{b} * shape.q_heads + h) * shape.q_len + q, 1, d);
        std::vector<int32_t> keys;
        std::vector<double> scores;
        std::vector<float> plain_scores;
        for (int32_t kv = 0; kv < shape.kv_len; kv++) {
            if (!masks->mask(b, h, q, kv)) continue;
            const float* key = k.data() + int64_t{kv} * d;
            double score = dot<double>(query.data(), key, d) * double{scale};
            float plain = dot<float>(query.data(), key, d) * scale;
            if (!identity) {  // a score mod is defined on f32
                score = double{scores_of->score(static_cast<float>(score), b, h, q, kv)};
                plain = scores_of->score(plain, b, h, q, kv);
            }
            keys.push_back(kv);
            scores.push_back(score);
            plain_scores.push_back(plain);
        }
        output.lse[i] = attend(keys, scores, v.data(), dv, output.o.data() + i * static_cast<size_t>(dv));
        if (weight_unit > 0.0)
            weight_rounding(keys, scores, output.lse[i], v.data(), dv, output.o.data() + i * static_cast<size_t>(dv),
                            weight_unit, output.rounding.data() + i * static_cast<size_t>(dv));
        attend(keys, plain_scores, v.data(), dv, plain_o.data());
        std::copy(plain_o.begin(), plain_o.end(), output.plain_f32_o.begin() + static_cast<int64_t>(i) * dv);
    }
    return output;
}

std::vector<float> pick_rows(std::span<const float> o, const Shape& shape, int32_t value_dim,
                             std::span<const QueryRow> rows) {
    std::vector<float> picked;
    const auto dv = static_cast<size_t>(value_dim);
    for (const auto& [b, h, q] : rows) {
        const auto row = static_cast<size_t>((int64_t{b} * shape.q_heads + h) * shape.q_len + q);
        const auto first = o.begin() + static_cast<std::ptrdiff_t>(row * dv);
        picked.insert(picked.end(), first, first + static_cast<std::ptrdiff_t>(dv));
    }
    return picked;
}

}  // namespace vkattn::cli
