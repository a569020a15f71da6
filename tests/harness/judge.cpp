#include "judge.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <sstream>

#include "numbers.h"
#include "reference/attention_f64.h"
#include "weight_rounding.h"

namespace vkattn_tests {
namespace {

using vkattn::test::AttentionF64;

AttentionF64 reference_of(const AttentionCase& c, const Inputs& inputs, double scale) {
    AttentionF64 reference;
    reference.batch = c.shape.batch;
    reference.q_heads = c.shape.q_heads;
    reference.kv_heads = c.shape.kv_heads;
    reference.q_len = c.shape.q_len;
    reference.kv_len = c.shape.kv_len;
    reference.head_dim = c.head_dim;
    reference.value_dim = c.value_dim;
    reference.scale = scale;
    reference.q = inputs.q.at;
    reference.k = inputs.k.at;
    reference.v = inputs.v.at;
    reference.mask = inputs.keep;
    reference.score = inputs.score.change;
    reference.run();
    return reference;
}

// The order in which the yardstick sums: over the keys, and over the dims of a score.
struct SumOrder {
    bool keys_backward = false, dims_backward = false;
};

// The yardstick: the same sums in f32, one after the other. One row of o; `scores` is scratch.
void plain_f32_row(const AttentionF64& in, SumOrder order, int b, int h, int i, std::vector<float>& scores,
                   std::vector<float>& o) {
    const size_t d = static_cast<size_t>(in.head_dim), dv = static_cast<size_t>(in.value_dim);
    const float scale = static_cast<float>(in.scale);
    float highest = -std::numeric_limits<float>::infinity();
    for (int j = 0; j < in.kv_len; j++) {
        float& s = scores[static_cast<size_t>(j)] = -std::numeric_limits<float>::infinity();
        if (!in.mask(b, h, i, j)) continue;
        float sum = 0.0f;
        for (size_t n = 0; n < d; n++) {
            const size_t x = order.dims_backward ? d - 1 - n : n;
            sum += in.q[in.q_row(b, h, i) * d + x] * in.k[in.kv_row(b, h, j) * d + x];
        }
        s = static_cast<float>(in.score(static_cast<double>(sum * scale), b, h, i, j));
        highest = std::max(highest, s);
    }
    std::fill(o.begin(), o.end(), 0.0f);
    float total = 0.0f;
    for (int n = 0; n < in.kv_len; n++) {
        const int j = order.keys_backward ? in.kv_len - 1 - n : n;
        const float s = scores[static_cast<size_t>(j)];
        if (s == -std::numeric_limits<float>::infinity()) continue;
        const float weight = std::exp(s - highest);
        total += weight;
        for (size_t x = 0; x < dv; x++) o[x] += weight * in.v[in.kv_row(b, h, j) * dv + x];
    }
    for (float& x : o) x = total == 0.0f ? 0.0f : x / total;
}

double largest_finite(const double* values, size_t n) {
    double largest = 0.0;
    for (size_t i = 0; i < n; i++)
        if (std::isfinite(values[i])) largest = std::max(largest, std::fabs(values[i]));
    return largest;
}

// What a row's errors are relative to.
double row_size(const AttentionF64& reference, size_t row, double overall) {
    const size_t dv = static_cast<size_t>(reference.value_dim);
    return largest_finite(&reference.o[row * dv], dv) + 0.02 * overall;
}

// Row errors of one computation: the largest, and the mean of those that are defined.
struct RowErrors {
    double worst = 0.0, mean = 0.0;
};

RowErrors plain_errors(const AttentionF64& reference, SumOrder order, double overall) {
    const size_t dv = static_cast<size_t>(reference.value_dim), rows = reference.lse.size();
    const auto q_len = static_cast<size_t>(reference.q_len), heads = static_cast<size_t>(reference.q_heads);
    std::vector<float> scores(static_cast<size_t>(reference.kv_len)), plain(dv);
    RowErrors errors;
    for (size_t row = 0; row < rows; row++) {
        const double size = row_size(reference, row, overall);
        if (size == 0.0) continue;
        plain_f32_row(reference, order, static_cast<int>(row / q_len / heads), static_cast<int>(row / q_len % heads),
                      static_cast<int>(row % q_len), scores, plain);
        double error = 0.0;
        for (size_t x = 0; x < dv; x++) {
            const double wanted = reference.o[row * dv + x];
            if (std::isfinite(plain[x]) && std::isfinite(wanted))
                error = std::max(error, std::fabs(static_cast<double>(plain[x]) - wanted) / size);
        }
        errors.worst = std::max(errors.worst, error);
        errors.mean += error / static_cast<double>(rows);
    }
    return errors;
}

// Same kind of value: NaN, the same infinity, or finite.
bool same_kind(double a, double b) {
    if (std::isfinite(b)) return std::isfinite(a);
    return std::isnan(b) ? std::isnan(a) : a == b;
}

std::string at_text(const AttentionCase& c, size_t row) {
    const auto q_len = static_cast<size_t>(c.shape.q_len), heads = static_cast<size_t>(c.shape.q_heads);
    char text[96];
    std::snprintf(text, sizeof text, "row b=%zu h=%zu q=%zu", row / q_len / heads, row / q_len % heads, row % q_len);
    return text;
}

template <class... Parts>
std::string words(const Parts&... parts) {
    std::ostringstream text;
    (text << ... << parts);
    return text.str();
}

}  // namespace

struct Judge::Reference {
    AttentionCase c;
    AttentionF64 f64;
    double overall = 0.0;                    // the largest element of o
    mutable std::optional<RowErrors> plain;  // of the yardstick in its first order
};

Judge::Judge(const AttentionCase& c, const Inputs& inputs, std::optional<float> scale)
    : reference_(std::make_unique<Reference>()) {
    reference_->c = c;
    const float used = scale.value_or(1.0f / std::sqrt(static_cast<float>(c.head_dim)));
    reference_->f64 = reference_of(c, inputs, static_cast<double>(used));
    reference_->overall = largest_finite(reference_->f64.o.data(), reference_->f64.o.size());
}

Judge::~Judge() = default;
Judge::Judge(Judge&&) noexcept = default;
Judge& Judge::operator=(Judge&&) noexcept = default;

Verdict Judge::operator()(const Values& o, const std::vector<float>* lse, bool rounds_weights) const {
    const AttentionCase& c = reference_->c;
    const AttentionF64& reference = reference_->f64;
    const size_t dv = static_cast<size_t>(c.value_dim), rows = reference.lse.size();
    const double overall = reference_->overall;
    Verdict verdict;
    const auto wrong = [&](std::string what) {
        verdict.wrong = std::move(what);
        return verdict;
    };
    if (o.at.size() != rows * dv || (lse != nullptr && lse->size() != rows))
        return wrong(words("o has ", o.at.size(), " elements, should have ", rows * dv));
    const WeightRounding rounding = rounds_weights ? weight_rounding(reference, c.v_type) : WeightRounding{};
    double usual_rounding = 0.0;  // the mean row error that it alone may leave

    size_t worst_row = 0, worst_lse_row = 0;
    for (size_t row = 0; row < rows; row++) {
        const double* wanted = &reference.o[row * dv];
        const float* got = &o.at[row * dv];
        const double size = row_size(reference, row, overall);
        double row_error = 0.0, excess = 0.0, usual = 0.0;  // excess: beyond what rounded weights may cost
        for (size_t x = 0; x < dv; x++) {
            if (!same_kind(static_cast<double>(got[x]), wanted[x]))
                return wrong(words(at_text(c, row), " x=", x, ": o is ", got[x], ", should be ", wanted[x]));
            if (!std::isfinite(wanted[x])) continue;
            const double off = std::fabs(static_cast<double>(got[x]) - wanted[x]);
            row_error = std::max(row_error, off == 0.0 ? 0.0 : off / size);
            if (!rounds_weights) continue;
            excess =
                std::max(excess, off <= rounding.most[row * dv + x] ? 0.0 : (off - rounding.most[row * dv + x]) / size);
            usual = std::max(usual, rounding.usually[row * dv + x] / std::max(size, 1e-300));
        }
        if (!rounds_weights) excess = row_error;
        usual_rounding += 1.5 * usual / static_cast<double>(rows);
        if (excess > verdict.worst) {
            verdict.worst = excess;
            worst_row = row;
        }
        verdict.mean += row_error / static_cast<double>(rows);
        if (lse == nullptr) continue;
        const double lse_now = static_cast<double>((*lse)[row]), wanted_lse = reference.lse[row];
        if (!same_kind(lse_now, wanted_lse))
            return wrong(words(at_text(c, row), ": lse is ", lse_now, ", should be ", wanted_lse));
        // Scores are sums of D products: an absolute error, next to which lse's own rounding is relative.
        const double lse_error =
            std::isfinite(wanted_lse) ? std::fabs(lse_now - wanted_lse) / (1.0 + std::fabs(wanted_lse)) : 0.0;
        if (lse_error > verdict.worst_lse) {
            verdict.worst_lse = lse_error;
            worst_lse_row = row;
        }
    }
    const double ulp = ulp_at_one(c.o_type);
    if (!reference_->plain) reference_->plain = plain_errors(reference, SumOrder{}, overall);
    const RowErrors& plain = *reference_->plain;
    // The largest error is a matter of luck (with Dv 1 it varies by 4 from seed to seed, for kernel and yardstick alike): where the
    // first order of sums makes the yardstick luckier than the kernel, the others count, too.
    verdict.bound = 2.0 * plain.worst + ulp;
    for (const SumOrder order : {SumOrder{true, false}, SumOrder{false, true}, SumOrder{true, true}})
        if (verdict.worst > verdict.bound)
            verdict.bound = std::max(verdict.bound, 2.0 * plain_errors(reference, order, overall).worst + ulp);
    if (verdict.worst > verdict.bound)
        return wrong(
            words(at_text(c, worst_row), ": row error ", verdict.worst, " is above the bound ", verdict.bound));
    // Over many rows the kernel is as exact as the yardstick: within a sixth on lavapipe, and the output's rounding.
    const double mean_bound = 1.5 * plain.mean + (c.o_type == vkattn::ElementType::f32 ? 0.0 : ulp) + usual_rounding;
    if (rows >= 256 && verdict.mean > mean_bound)
        return wrong(
            words(at_text(c, worst_row), ": the mean row error ", verdict.mean, " is above the bound ", mean_bound));
    if (verdict.worst_lse > 4e-6)
        return wrong(words(at_text(c, worst_lse_row), ": lse is off by ", verdict.worst_lse, " of 1 + |lse|"));
    return verdict;
}

}  // namespace vkattn_tests
