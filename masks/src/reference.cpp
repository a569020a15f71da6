#include "vkattn/reference.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace vkattn {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// One query row's keys: who attends, and with which score. Both precisions share the selection.
struct Row {
    std::vector<int32_t> keys;
    std::vector<double> scores;  // after the score mod
    std::vector<float> plain_scores;
};

double dot(const float* x, const float* y, int32_t n) {
    double sum = 0.0;
    for (int32_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(y[i]);
    return sum;
}
float plain_dot(const float* x, const float* y, int32_t n) {
    float sum = 0.0f;
    for (int32_t i = 0; i < n; ++i) sum += x[i] * y[i];
    return sum;
}

// Softmax of `scores` times v, in T; returns the logsumexp. A score of -inf has weight 0: its v is not even looked at.
template <class T>
T attend(const std::vector<int32_t>& keys, const std::vector<T>& scores, const float* v, int32_t value_dim, T* o) {
    std::fill_n(o, value_dim, T{0});
    T row_max = -std::numeric_limits<T>::infinity();
    for (const T score : scores) {
        if (std::isnan(score) || score == std::numeric_limits<T>::infinity()) {
            std::fill_n(o, value_dim, std::numeric_limits<T>::quiet_NaN());
            return std::numeric_limits<T>::quiet_NaN();
        }
        row_max = std::max(row_max, score);
    }
    if (row_max == -std::numeric_limits<T>::infinity()) return row_max;
    T row_sum = 0;
    for (size_t i = 0; i < keys.size(); ++i) {
        if (scores[i] == -std::numeric_limits<T>::infinity()) continue;
        const T weight = std::exp(scores[i] - row_max);
        row_sum += weight;
        const float* value = v + int64_t{keys[i]} * value_dim;
        for (int32_t d = 0; d < value_dim; ++d) o[d] += weight * static_cast<T>(value[d]);
    }
    for (int32_t d = 0; d < value_dim; ++d) o[d] /= row_sum;
    return row_max + std::log(row_sum);
}

Status check_input(const ReferenceInput& input) {
    const auto bad = [](const std::string& message) {
        return error(Code::invalid_argument, "reference attention: " + message);
    };
    if (Status status = check(input.shape); !status.ok()) return status;
    if (input.head_dim < 1 || input.value_dim < 1) return bad("head_dim and value_dim must be at least 1");
    if (input.shape.q_len > 0 && input.q == nullptr) return bad("q is null");
    if (input.shape.q_len > 0 && input.shape.kv_len > 0 && (input.k == nullptr || input.v == nullptr))
        return bad("k or v is null");
    if (input.block_mask == nullptr) return {};
    const Shape& built_for = input.block_mask->shape;
    if (!(built_for == input.shape)) {
        return bad("the block mask is for q_len " + std::to_string(built_for.q_len) + ", kv_len " +
                   std::to_string(built_for.kv_len) + ", batch " + std::to_string(built_for.batch) + ", heads " +
                   std::to_string(built_for.q_heads) + "; the problem has q_len " + std::to_string(input.shape.q_len) +
                   ", kv_len " + std::to_string(input.shape.kv_len) + ", batch " + std::to_string(input.shape.batch) +
                   ", heads " + std::to_string(input.shape.q_heads));
    }
    return check(*input.block_mask);
}

struct RowError {
    double largest = 0.0;  // of |o - ref|; infinite when one is not a number and the other not the same
    double scale = 0.0;    // the largest finite |ref| of the row
};
template <class T>
RowError row_error(const double* reference, const T* o, int32_t value_dim, const double* rounding) {
    RowError result;
    for (int32_t d = 0; d < value_dim; ++d) {
        const double expected = reference[d], got = static_cast<double>(o[d]);
        if (std::isfinite(expected)) result.scale = std::max(result.scale, std::abs(expected));
        if (std::isfinite(expected) && std::isfinite(got)) {
            const double free = rounding == nullptr ? 0.0 : rounding[d];
            result.largest = std::max(result.largest, std::abs(got - expected) - free);
        } else if (!(std::isnan(expected) && std::isnan(got)) && expected != got) {
            result.largest = kInfinity;
        }
    }
    return result;
}

}  // namespace

Result<ReferenceOutput> reference_attention(const Mask& mask, const ScoreMod& score_mod, const Bindings& bindings,
                                            const ReferenceInput& input) {
    if (Status status = check_input(input); !status.ok()) return status;
    Result<Evaluator> mask_evaluator = Evaluator::make(mask, input.shape, bindings);
    if (!mask_evaluator.ok()) return mask_evaluator.status();
    Result<Evaluator> score_evaluator = Evaluator::make(score_mod, input.shape, bindings);
    if (!score_evaluator.ok()) return score_evaluator.status();

    const Shape& shape = input.shape;
    const int64_t q_len = shape.q_len, kv_len = shape.kv_len, d = input.head_dim, dv = input.value_dim;
    const bool identity = score_mod.is_identity();
    const auto n_rows = static_cast<size_t>(int64_t{shape.batch} * shape.q_heads * q_len);
    ReferenceOutput output;
    output.o.resize(n_rows * static_cast<size_t>(dv));
    output.lse.resize(n_rows);
    output.plain_f32_o.resize(n_rows * static_cast<size_t>(dv));
    if (input.weight_unit > 0.0) output.rounding.resize(n_rows * static_cast<size_t>(dv));
    Row row;
    std::vector<float> plain_o(static_cast<size_t>(dv));
    for (int64_t i = 0; i < static_cast<int64_t>(n_rows); ++i) {
        const auto q = static_cast<int32_t>(i % q_len);
        const auto h = static_cast<int32_t>(i / q_len % shape.q_heads);
        const auto b = static_cast<int32_t>(i / q_len / shape.q_heads);
        const int64_t kv_plane = (int64_t{b} * shape.kv_heads + h / (shape.q_heads / shape.kv_heads)) * kv_len;
        const float* query = input.q + i * d;
        row.keys.clear();
        row.scores.clear();
        row.plain_scores.clear();
        BlockKind kind = BlockKind::partial;
        for (int32_t kv = 0; kv < shape.kv_len; ++kv) {
            if (input.block_mask != nullptr) {
                const BlockMask& lists = *input.block_mask;
                if (kv % lists.block_kv == 0) kind = lists.kind(b, h, q / lists.block_q, kv / lists.block_kv);
                if (kind == BlockKind::empty) continue;
            }
            if (kind == BlockKind::partial && !mask_evaluator->mask(b, h, q, kv)) continue;
            const float* key = input.k + (kv_plane + kv) * d;
            double score = dot(query, key, input.head_dim) * input.scale;
            float plain_score = plain_dot(query, key, input.head_dim) * static_cast<float>(input.scale);
            if (!identity) {
                score = static_cast<double>(score_evaluator->score(static_cast<float>(score), b, h, q, kv));
                plain_score = score_evaluator->score(plain_score, b, h, q, kv);
            }
            row.keys.push_back(kv);
            row.scores.push_back(score);
            row.plain_scores.push_back(plain_score);
        }
        const float* values = input.v + kv_plane * dv;
        output.lse[static_cast<size_t>(i)] =
            attend(row.keys, row.scores, values, input.value_dim, output.o.data() + i * dv);
        if (input.weight_unit > 0.0)
            weight_rounding(row.keys, row.scores, output.lse[static_cast<size_t>(i)], values, input.value_dim,
                            output.o.data() + i * dv, input.weight_unit, output.rounding.data() + i * dv);
        attend(row.keys, row.plain_scores, values, input.value_dim, plain_o.data());
        std::copy(plain_o.begin(), plain_o.end(), output.plain_f32_o.begin() + i * dv);
    }
    return output;
}

void weight_rounding(std::span<const int32_t> keys, std::span<const double> scores, double lse, const float* v,
                     int32_t value_dim, const double* o, double weight_unit, double* rounding) {
    std::fill_n(rounding, value_dim, 0.0);
    if (!std::isfinite(lse)) return;
    for (size_t i = 0; i < keys.size(); ++i) {
        const double weight = std::exp(scores[i] - lse);
        const float* value = v + int64_t{keys[i]} * value_dim;
        for (int32_t d = 0; d < value_dim; ++d) {
            const double change = weight_unit * weight * std::abs(static_cast<double>(value[d]) - o[d]);
            if (std::isfinite(change)) rounding[d] += change;  // else o is not finite, and nothing is rounded off
        }
    }
}

RowErrors compare_rows(const ReferenceOutput& reference, const float* o, int64_t rows, int32_t value_dim, double ulp) {
    RowErrors result;
    if (value_dim < 1 || rows < 0 || static_cast<int64_t>(reference.o.size()) != rows * value_dim) {
        result.worst = kInfinity;
        return result;
    }
    double largest = 0.0;
    for (const double value : reference.o)
        largest = std::isfinite(value) ? std::max(largest, std::abs(value)) : largest;
    const auto relative = [&](const RowError& row) {
        const double unit = row.scale + 0.02 * largest;
        return row.largest == 0.0 ? 0.0
                                  : row.largest / unit;  // unit 0: all of the reference is 0, any error is infinite
    };
    double plain_worst = 0.0;
    for (int64_t row = 0; row < rows; ++row) {
        const double* expected = reference.o.data() + row * value_dim;
        const double* rounding = reference.rounding.empty() ? nullptr : reference.rounding.data() + row * value_dim;
        const double found = relative(row_error(expected, o + row * value_dim, value_dim, rounding));
        if (result.worst_row < 0 || found > result.worst) {
            result.worst = found;
            result.worst_row = row;
        }
        // A row where the plain loop itself overflows allows nothing to the others.
        const double plain =
            relative(row_error(expected, reference.plain_f32_o.data() + row * value_dim, value_dim, nullptr));
        if (std::isfinite(plain)) plain_worst = std::max(plain_worst, plain);
    }
    result.bound = 2.0 * plain_worst + ulp;
    return result;
}

}  // namespace vkattn
