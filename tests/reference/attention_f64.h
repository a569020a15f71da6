// A second float64 attention, written from design.md section 5 and sharing nothing with masks/ or engine/: masks and
// score mods are plain functions, nothing is classified. What reference_attention and the kernels are held against.
#pragma once

#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <vector>

namespace vkattn::test {

struct AttentionF64 {
    // q [B, Hq, Lq, D], k [B, Hkv, Lkv, D], v [B, Hkv, Lkv, Dv], contiguous.
    int batch = 1, q_heads = 1, kv_heads = 1, q_len = 0, kv_len = 0, head_dim = 1, value_dim = 1;
    double scale = 1.0;
    std::vector<float> q, k, v;
    std::function<bool(int b, int h, int q, int kv)> mask = [](int, int, int, int) { return true; };
    std::function<double(double score, int b, int h, int q, int kv)> score = [](double s, int, int, int, int) {
        return s;
    };

    std::vector<double> o;    // [B, Hq, Lq, Dv]
    std::vector<double> lse;  // [B, Hq, Lq]

    size_t q_row(int b, int h, int i) const {
        return (static_cast<size_t>(b * q_heads + h)) * static_cast<size_t>(q_len) + static_cast<size_t>(i);
    }
    size_t kv_row(int b, int h, int j) const {
        const int group = q_heads / kv_heads;
        return (static_cast<size_t>(b * kv_heads + h / group)) * static_cast<size_t>(kv_len) + static_cast<size_t>(j);
    }

    // Two passes over the keys of each row, the maximum first; nothing is kept between them.
    void run() {
        const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
        const auto d = static_cast<size_t>(head_dim), dv = static_cast<size_t>(value_dim);
        const size_t rows = static_cast<size_t>(batch) * static_cast<size_t>(q_heads) * static_cast<size_t>(q_len);
        o.assign(rows * dv, 0.0);
        lse.assign(rows, -inf);
        for (int b = 0; b < batch; ++b) {
            for (int h = 0; h < q_heads; ++h) {
                for (int i = 0; i < q_len; ++i) {
                    const size_t row = q_row(b, h, i);
                    const auto score_of = [&](int j) {
                        double sum = 0.0;
                        for (size_t x = 0; x < d; ++x)
                            sum += double(q[row * d + x]) * double(k[kv_row(b, h, j) * d + x]);
                        return score(sum * scale, b, h, i, j);
                    };
                    double highest = -inf;
                    bool spoiled = false;
                    for (int j = 0; j < kv_len; ++j) {
                        if (!mask(b, h, i, j)) continue;
                        const double s = score_of(j);
                        if (s != s || s == inf) spoiled = true;
                        else if (s > highest) highest = s;
                    }
                    if (spoiled) {
                        for (size_t x = 0; x < dv; ++x) o[row * dv + x] = nan;
                        lse[row] = nan;
                        continue;
                    }
                    if (highest == -inf) continue;
                    double total = 0.0;
                    for (int j = 0; j < kv_len; ++j) {
                        if (!mask(b, h, i, j)) continue;
                        const double s = score_of(j);
                        if (s == -inf) continue;
                        const double weight = std::exp(s - highest);
                        total += weight;
                        for (size_t x = 0; x < dv; ++x) o[row * dv + x] += weight * double(v[kv_row(b, h, j) * dv + x]);
                    }
                    for (size_t x = 0; x < dv; ++x) o[row * dv + x] /= total;
                    lse[row] = highest + std::log(total);
                }
            }
        }
    }
};

}  // namespace vkattn::test
