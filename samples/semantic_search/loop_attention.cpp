#include "loop_attention.h"

#include <algorithm>
#include <cmath>

namespace semantic_search {

vkattn::Status loop_attention(const AttentionCall& call, double sharpness) {
    const size_t tokens = static_cast<size_t>(call.tokens), dim = static_cast<size_t>(call.head_dim);
    const size_t width = static_cast<size_t>(call.heads) * dim;
    const double scale = sharpness / std::sqrt(static_cast<double>(dim));
    std::vector<double> weights(tokens), sums(dim);
    for (size_t h = 0; h < static_cast<size_t>(call.heads); h++) {
        const auto row = [&](size_t part, size_t token) { return call.qkv + (token * 3 + part) * width + h * dim; };
        for (size_t q = 0; q < tokens; q++) {
            double largest = -1e300;
            for (size_t kv = 0; kv < tokens; kv++) {
                if (call.documents[q] != call.documents[kv]) continue;
                double score = 0.0;
                for (size_t d = 0; d < dim; d++) score += double{row(0, q)[d]} * double{row(1, kv)[d]};
                weights[kv] = score * scale;
                largest = std::max(largest, weights[kv]);
            }
            double total = 0.0;
            std::fill(sums.begin(), sums.end(), 0.0);
            for (size_t kv = 0; kv < tokens; kv++) {
                if (call.documents[q] != call.documents[kv]) continue;
                const double weight = std::exp(weights[kv] - largest);
                total += weight;
                for (size_t d = 0; d < dim; d++) sums[d] += weight * double{row(2, kv)[d]};
            }
            for (size_t d = 0; d < dim; d++) call.o[q * width + h * dim + d] = static_cast<float>(sums[d] / total);
        }
    }
    return {};
}

}  // namespace semantic_search
