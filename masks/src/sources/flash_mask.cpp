#include "vkattn/sources/flash_mask.h"

#include <string>

#include "vkattn/bindings.h"
#include "vkattn/named.h"

namespace vkattn::flash_mask {

Mask startend_row_indices(TableData indices, bool causal, std::string_view name) {
    const auto broken = [](const std::string& message) {
        return Mask::broken(error(Code::invalid_argument, "flash_mask::startend_row_indices: " + message));
    };
    if (Status status = check(indices, name); !status.ok()) return Mask::broken(status);
    if (indices.type != Type::i32 || indices.dims.size() != 4)
        return broken("an i32 table [B | 1, Hkv | 1, Lkv, n] is wanted");
    const int64_t n = indices.dims[3];
    if (causal ? n != 1 && n != 2 : n != 2 && n != 4) {
        return broken("n is " + std::to_string(n) + (causal ? "; causal masks take 1 or 2" : "; others take 2 or 4"));
    }
    const bool per_batch = indices.dims[0] != 1, per_head = indices.dims[1] != 1;
    const TableExpr rows = table(name, std::move(indices));
    const Mask in_rows = trace_mask([&](Index b, Index h, Index q, Index kv) {
        const auto bound = [&](int column) {
            return rows(per_batch ? b : Expr(0), per_head ? h / (q_heads() / kv_heads()) : Expr(0), kv, column);
        };
        const auto outside = [&](int column) { return q < bound(column) || q >= bound(column + 1); };
        if (n == 1) return q < bound(0);
        if (n == 2) return causal ? outside(0) : q < bound(0) && q >= bound(1);
        return outside(0) && outside(2);
    });
    return causal ? causal_lower_right() && in_rows : in_rows;
}

}  // namespace vkattn::flash_mask
