// Rows that attend to nothing: a block row of one row and one block is empty.
#include "vkattn/unattended_rows.h"

#include <algorithm>

#include "vkattn/classify.h"

namespace vkattn {

Result<TableData> unattended_rows(const Mask& mask, const Shape& shape, const Bindings& bindings) {
    if (shape.q_len == 0)
        return error(Code::invalid_argument, "unattended_rows: q_len is 0, and a table has at least one element");
    ClassifyOptions options;
    options.block_q = 1;
    options.block_kv = std::max(shape.kv_len, 1);
    Result<BlockMask> rows = create_block_mask(mask, shape, bindings, options);
    if (!rows) return rows.status();
    TableData table;
    table.type = Type::boolean;
    table.dims = {rows->batch, rows->heads, shape.q_len};
    table.boolean.reserve(rows->row_offsets.size());
    for (size_t row = 0; row + 1 < rows->row_offsets.size(); ++row)
        table.boolean.push_back(rows->row_offsets[row] == rows->row_offsets[row + 1] ? 1 : 0);
    return table;
}

Mask unmask_unattended(const Mask& mask, TableExpr rows) {
    if (!rows.captured) rows.type = static_cast<int>(Type::boolean);
    return trace_mask([&](Index b, Index h, Index q, Index kv) { return embed(mask, b, h, q, kv) || rows(b, h, q); });
}

ScoreMod uniform_unattended(TableExpr rows) {
    if (!rows.captured) rows.type = static_cast<int>(Type::boolean);
    return trace_score_mod(
        [&](Expr score, Index b, Index h, Index q, Index) { return select(rows(b, h, q), 0.0f, score); });
}

}  // namespace vkattn
