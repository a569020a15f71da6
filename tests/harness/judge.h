// The comparison with float64: tolerance and special values as docs/design.md, "Semantics", has them. No test framework: a verdict
// is a value, which tests and vkattn-conformance each report in their own way.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "inputs.h"

namespace vkattn_tests {

struct Verdict {
    std::string wrong;                 // the first thing that is wrong, in words; empty: nothing
    double worst = 0.0, bound = 0.0;   // the largest row error, and what it may be
    double mean = 0.0, worst_lse = 0;  // mean row error; largest error of lse, of 1 + |lse|
    bool ok() const { return wrong.empty(); }
};

// The reference of one case; judges any number of results of it.
class Judge {
  public:
    // `scale`: default 1 / sqrt(D) in f32.
    Judge(const AttentionCase& attention_case, const Inputs& inputs, std::optional<float> scale = {});
    ~Judge();
    Judge(Judge&& other) noexcept;
    Judge& operator=(Judge&& other) noexcept;
    // `lse` null: not written. `rounds_weights`: by a path that rounds softmax weights to v's type, which costs what
    // weight_rounding.h derives; the largest row error is then what goes beyond that.
    Verdict operator()(const Values& o, const std::vector<float>* lse, bool rounds_weights = false) const;

  private:
    struct Reference;
    std::unique_ptr<Reference> reference_;
};

}  // namespace vkattn_tests
