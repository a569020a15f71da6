// What rounding softmax weights to 16 bits adds to the errors of o, where a path does so (docs/design.md, Semantics).
//
// With weights w_j (1 + d_j), |d_j| <= u, in numerator and denominator alike, o changes by sum w_j d_j (v_j - o) / sum w_j to first
// order in u. So at most by u sum w_j |v_j - o| / sum w_j; and, d_j being independent and of root mean square at most u / sqrt(3),
// usually by no more than u sqrt(sum w_j^2 (v_j - o)^2) / sum w_j, which is 1.7 standard deviations.
#pragma once

#include <vector>

#include "reference/attention_f64.h"
#include "vkattn/types.h"

namespace vkattn_tests {

struct WeightRounding {
    std::vector<double> most;     // [B, Hq, Lq, Dv], as o
    std::vector<double> usually;  // the same
};
// `type`: f16 or bf16, to which weights are rounded to nearest. The reference has run.
WeightRounding weight_rounding(const vkattn::test::AttentionF64& reference, vkattn::ElementType type);

}  // namespace vkattn_tests
