#include "weight_rounding.h"

#include "numbers.h"

namespace vkattn_tests {

WeightRounding weight_rounding(const vkattn::test::AttentionF64& in, vkattn::ElementType type) {
    // Half a unit in the last place, and what is left out by "first order in u".
    const double unit = ulp_at_one(type) / 2.0, u = unit / (1.0 - 2.0 * unit);
    const size_t d = static_cast<size_t>(in.head_dim), dv = static_cast<size_t>(in.value_dim);
    WeightRounding rounding{std::vector<double>(in.o.size()), std::vector<double>(in.o.size())};
    for (int b = 0; b < in.batch; b++)
        for (int h = 0; h < in.q_heads; h++)
            for (int i = 0; i < in.q_len; i++) {
                const size_t row = in.q_row(b, h, i);
                if (!std::isfinite(in.lse[row])) continue;
                double* const most = &rounding.most[row * dv];
                double* const usually = &rounding.usually[row * dv];
                for (int j = 0; j < in.kv_len; j++) {
                    if (!in.mask(b, h, i, j)) continue;
                    const size_t key = in.kv_row(b, h, j);
                    double sum = 0.0;
                    for (size_t x = 0; x < d; x++)
                        sum += static_cast<double>(in.q[row * d + x]) * static_cast<double>(in.k[key * d + x]);
                    const double weight = std::exp(in.score(sum * in.scale, b, h, i, j) - in.lse[row]);
                    for (size_t x = 0; x < dv; x++) {
                        const double off =
                            weight * std::fabs(static_cast<double>(in.v[key * dv + x]) - in.o[row * dv + x]);
                        if (!std::isfinite(off)) continue;  // then o is not finite, and no error is looked at
                        most[x] += u * off;
                        usually[x] += u * u * off * off;
                    }
                }
                for (size_t x = 0; x < dv; x++) usually[x] = std::sqrt(usually[x]);
            }
    return rounding;
}

}  // namespace vkattn_tests
