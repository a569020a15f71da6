#include <algorithm>

#include "inputs.h"

namespace vkattn_tests {
namespace {

using vkattn::ElementType;
using vkattn::Shape;

int64_t guard_elems(ElementType type) { return static_cast<int64_t>(guard_bytes / element_bytes(type)); }

void settle_alignment(Placement& p) {
    p.aligned = p.first % 4 == 0 && p.strides.b % 4 == 0 && p.strides.h % 4 == 0 && p.strides.l % 4 == 0;
}

Placement place(Layout layout, ElementType type, int64_t heads, int64_t length, int64_t width, int32_t odd_gap) {
    Placement p;
    p.first = guard_elems(type);
    int64_t row = width;
    if (layout == Layout::padded) row = (width + 3) / 4 * 4 + 4;
    if (layout == Layout::odd) {
        row = width + odd_gap;
        p.first += 1;
    }
    if (layout == Layout::blhd) p.strides = {length * heads * row, row, heads * row};
    else p.strides = {heads * length * row, length * row, row};
    return p;
}

}  // namespace

TensorPlacements placements_of(const AttentionCase& c) {
    const Shape& s = c.shape;
    TensorPlacements t;
    t.q = place(c.layout, c.q_type, s.q_heads, s.q_len, c.head_dim, 1);
    t.k = place(c.layout, c.k_type, s.kv_heads, s.kv_len, c.head_dim, 3);
    t.v = place(c.layout, c.v_type, s.kv_heads, s.kv_len, c.value_dim, 1);
    t.o = place(c.layout, c.o_type, s.q_heads, s.q_len, c.value_dim, 3);
    if (c.layout == Layout::broadcast) {
        t.k.strides.b = 0;
        t.v.strides.h = 0;
    }
    // One buffer for q, k and v needs one type; other mixes keep three buffers with the strides of the packed rows.
    if (c.layout == Layout::packed) {
        const int64_t q_part = int64_t{s.q_heads} * c.head_dim, k_part = int64_t{s.kv_heads} * c.head_dim,
                      v_part = int64_t{s.kv_heads} * c.value_dim;
        const int64_t row = q_part + k_part + v_part, rows = std::max(s.q_len, s.kv_len);
        t.q.strides = {rows * row, c.head_dim, row};
        t.k.strides = t.q.strides;
        t.v.strides = {rows * row, c.value_dim, row};
        t.k.first += q_part;
        t.v.first += q_part + k_part;
    }
    for (Placement* p : {&t.q, &t.k, &t.v, &t.o}) settle_alignment(*p);
    return t;
}

vkattn::Problem problem_of(const AttentionCase& c, const Inputs& inputs) {
    const TensorPlacements at = placements_of(c);
    vkattn::Problem problem;
    problem.max_shape = c.shape;
    if (c.shape.q_len != 1) problem.max_shape.q_len += 3;  // bounds, not lengths; one query is decoding
    problem.max_shape.kv_len += 5;
    problem.head_dim = c.head_dim;
    problem.value_dim = c.value_dim;
    problem.q_type = c.q_type;
    problem.k_type = c.k_type;
    problem.v_type = c.v_type;
    problem.o_type = c.o_type;
    problem.q_aligned = at.q.aligned;
    problem.k_aligned = at.k.aligned;
    problem.v_aligned = at.v.aligned;
    problem.o_aligned = at.o.aligned;
    problem.mask = inputs.mask.mask;
    problem.score_mod = inputs.score.score_mod;
    problem.schedule = c.schedule;
    problem.addressing = c.addressing;
    problem.path = c.path;
    problem.skeleton = c.skeleton;
    problem.widen = c.widen;
    problem.splits = c.splits;
    if (c.schedule == vkattn::Schedule::list) {
        problem.block_q = c.block_q == 0 ? 128 : c.block_q;
        problem.block_kv = c.block_kv == 0 ? 128 : c.block_kv;
        problem.list_encoding = c.encoding;
    }
    uint64_t bytes = 64;
    for (const auto& [name, table] : inputs.bindings.tables) bytes += static_cast<uint64_t>(table->count()) * 4 + 4;
    if (inputs.list && c.encoding == vkattn::ListEncoding::indices) {
        const auto planes = static_cast<uint64_t>(c.shape.batch) * static_cast<uint64_t>(c.shape.q_heads);
        bytes += 8 * planes * static_cast<uint64_t>(inputs.list->rows()) *
                 (1 + static_cast<uint64_t>(inputs.list->columns()));
    } else if (inputs.list) bytes += inputs.list->row_offsets.size() * 4 + 8 + inputs.list->runs.size() * 8;
    problem.max_tables_bytes = bytes;
    return problem;
}

vkattn::ArgsInfo args_of(const AttentionCase& c, const Inputs& inputs) {
    const TensorPlacements at = placements_of(c);
    vkattn::ArgsInfo info;
    info.shape = c.shape;
    if (c.layout != Layout::bhld) {
        info.q = at.q.strides;
        info.k = at.k.strides;
        info.v = at.v.strides;
        info.o = at.o.strides;
    }
    info.bindings = inputs.bindings;
    info.block_mask = inputs.list ? &*inputs.list : nullptr;
    info.write_lse = true;
    return info;
}

}  // namespace vkattn_tests
