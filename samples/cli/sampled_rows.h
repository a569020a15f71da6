// reference_attention on a few rows: a case of any size is checked in milliseconds.
#pragma once

#include <span>
#include <vector>

#include "tensors.h"
#include "vkattn/mask.h"
#include "vkattn/reference.h"

namespace vkattn::cli {

struct QueryRow {
    int32_t b = 0, h = 0, q = 0;
};

// At most `count` rows, spread over batch entries, heads and positions, the first and the last among them.
std::vector<QueryRow> sample_rows(const Shape& shape, int32_t count);

// What reference_attention has for these rows, in their order: o [rows, Dv], lse [rows] and the plain f32 loop's o. The scale is
// 1 / sqrt(D) in f32, as the device has it. weight_unit: as in ReferenceInput. The tensors hold no
// infinity and no NaN.
Result<ReferenceOutput> reference_rows(const Mask& mask, const ScoreMod& score_mod, const Bindings& bindings,
                                       const AttentionTensors& tensors, std::span<const QueryRow> rows,
                                       double weight_unit = 0.0);

// The same rows of an o [B, Hq, Lq, Dv] in f32.
std::vector<float> pick_rows(std::span<const float> o, const Shape& shape, int32_t value_dim,
                             std::span<const QueryRow> rows);

}  // namespace vkattn::cli
