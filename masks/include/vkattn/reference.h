// reference_attention: what attention means, in float64 on the CPU. Slow and simple; the numbers that --check
// compares with.
#pragma once

#include <span>
#include <vector>

#include "vkattn/block_mask.h"
#include "vkattn/evaluate.h"

namespace vkattn {

// Contiguous inputs q [B, Hq, Lq, D], k [B, Hkv, Lkv, D], v [B, Hkv, Lkv, Dv], already widened to f32. q may be null
// when Lq is 0, k and v when Lkv is 0.
struct ReferenceInput {
    Shape shape;
    int32_t head_dim = 0;   // D
    int32_t value_dim = 0;  // Dv
    double scale = 0.0;
    const float* q = nullptr;
    const float* k = nullptr;
    const float* v = nullptr;
    // optional: full blocks skip mask_mod, partial blocks apply it, others are excluded
    const BlockMask* block_mask = nullptr;
    // optional: how far weights are rounded, relative to themselves (f16 2^-11, bf16 2^-8); for ReferenceOutput::rounding
    double weight_unit = 0.0;
};

struct ReferenceOutput {
    std::vector<double> o;    // [B, Hq, Lq, Dv]
    std::vector<double> lse;  // [B, Hq, Lq], natural log; -inf for a row that attends to nothing, NaN for a NaN row
    std::vector<double> plain_f32_o;  // a plain two-pass f32 loop over the same inputs: the yardstick of the tolerance
    std::vector<double> rounding;     // how much rounded weights may change o; empty when weight_unit is 0
};

// The score (q . k) * scale is float64 all the way where the score mod is the identity. Any other score mod is
// defined on f32: it gets the float64 score rounded to f32, and its f32 result goes on. Semantics: design.md, section
// 5.
Result<ReferenceOutput> reference_attention(const Mask& mask, const ScoreMod& score_mod, const Bindings& bindings,
                                            const ReferenceInput& input);

// Of one row: weight_unit * sum w |v - o| for weights exp(score - lse), by element of o [Dv] (design.md, "Semantics").
void weight_rounding(std::span<const int32_t> keys, std::span<const double> scores, double lse, const float* v,
                     int32_t value_dim, const double* o, double weight_unit, double* rounding);

// The tolerance of design.md, section 5, for one query row: row_error = max|o - ref| / (max|ref row| + 0.02 max|ref|), where |o - ref|
// counts beyond ReferenceOutput::rounding.
// `ulp` is the unit in the last place of o's type at 1 (f32 2^-23, f16 2^-10, bf16 2^-7).
struct RowErrors {
    double worst = 0.0;      // worst row error of `o`
    double bound = 0.0;      // 2 x worst row error of the plain f32 loop + ulp
    int64_t worst_row = -1;  // the first row with the worst error, -1 without rows
    bool ok() const { return worst <= bound; }
};
// `o` [rows, Dv]. A NaN or infinity is an infinite error unless the reference has the same one; so is a wrong number
// of rows.
RowErrors compare_rows(const ReferenceOutput& reference, const float* o, int64_t rows, int32_t value_dim, double ulp);

}  // namespace vkattn
