// PyTorch FlexAttention's notebook, and BlockMask's printed grid.
#include "vkattn/sources/pytorch.h"

#include <algorithm>
#include <limits>

#include "vkattn/named.h"

namespace vkattn::pytorch {

Mask noop_mask() { return full(); }
Mask causal_mask() { return causal(); }
Mask sliding_window_causal_mask(Expr sliding_window) { return vkattn::sliding_window(sliding_window); }
Mask prefix_lm_causal_mask(Expr prefix_length) { return prefix(prefix_length + 1); }
Mask document_causal_mask(TableExpr document_id) { return causal() && document(document_id); }
Mask sasa_mask(Expr canvas_width, Expr window) { return stand_alone_self_attention(canvas_width, window); }
Mask natten_mask(Expr W, Expr H, Expr K_W, Expr K_H) { return natten(W, H, K_W, K_H); }

Mask create_njt_wrapper(const Mask& orig_mask_mod, TableExpr offsets, TableExpr seq_idx) {
    return trace_mask([&](Index b, Index h, Index q, Index kv) {
        const Expr q_nested = q - offsets(seq_idx(q));
        const Expr kv_nested = kv - offsets(seq_idx(kv));
        return embed(orig_mask_mod, b, h, q_nested, kv_nested) && seq_idx(q) == seq_idx(kv);
    });
}

Result<TableData> build_seq_idx(const std::vector<int32_t>& offsets) {
    const auto bad = [](const std::string& what) { return error(Code::invalid_argument, "build_seq_idx: " + what); };
    if (offsets.empty() || offsets.front() != 0) return bad("the offsets must start with 0");
    for (size_t i = 1; i < offsets.size(); ++i) {
        if (offsets[i] < offsets[i - 1]) {
            return bad("offset " + std::to_string(i) + " is " + std::to_string(offsets[i]) +
                       ", less than the one before it (" + std::to_string(offsets[i - 1]) + ")");
        }
    }
    if (offsets.back() == 0) return bad("the last offset is 0: there are no positions");
    TableData table;
    table.dims = {offsets.back()};
    table.i32.resize(static_cast<size_t>(offsets.back()));
    for (size_t i = 0; i + 1 < offsets.size(); ++i)
        std::fill(table.i32.begin() + offsets[i], table.i32.begin() + offsets[i + 1], static_cast<int32_t>(i));
    return table;
}

Mask vision_x_attention_mask(TableExpr image_boundaries, TableExpr intervals) {
    return trace_mask([&](Index, Index, Index q, Index kv) {
        const Expr image = image_boundaries(kv);
        return q >= intervals(image, 0) && q < intervals(image, 1);
    });
}

Mask and_masks(std::initializer_list<Mask> masks) {
    Mask all = full();
    for (const Mask& mask : masks) all = all && mask;
    return all;
}

Mask or_masks(std::initializer_list<Mask> masks) {
    Mask any = !full();
    for (const Mask& mask : masks) any = any || mask;
    return any;
}

ScoreMod causal_bias() {
    return trace_score_mod([](Expr score, Index, Index, Index q, Index kv) {
        return select(q >= kv, score, -std::numeric_limits<float>::infinity());
    });
}
ScoreMod checkerboard() {
    return trace_score_mod([](Expr score, Index, Index, Index q, Index kv) {
        return select(abs(kv - q) % 2 == 1, score * 0.5f, score * 2.0f);
    });
}
ScoreMod alibi_and_causal_closure(TableExpr alibi_bias) { return alibi(alibi_bias); }
ScoreMod alibi_and_causal_functional() { return alibi(); }
ScoreMod tanh_soft_cap(Expr soft_cap) { return softcap(soft_cap); }

std::string to_string(const BlockMask& block_mask, int32_t grid_size, int32_t limit) {
    const int32_t rows = block_mask.rows(), columns = block_mask.columns();
    const auto step = [grid_size](int32_t blocks) {
        return grid_size < 1 ? 1 : std::max(1, (blocks - 1) / grid_size + 1);
    };
    const int32_t row_step = step(rows), column_step = step(columns);
    std::string text;
    int32_t printed = 0;
    for (int32_t b = 0; b < block_mask.batch; ++b) {
        for (int32_t h = 0; h < block_mask.heads; ++h) {
            if (printed > 0) text += "\n";
            if (printed++ == limit) {
                return text + "...\nTo print out more, set BlockMask.to_string(limit=N)\nYou can also index "
                              "(BlockMask[batch, head]) to choose a specific batch or head";
            }
            text += "(" + std::to_string(b) + ", " + std::to_string(h) + ")\n";
            for (int32_t row = 0; row < rows; row += row_step) {
                for (int32_t column = 0; column < columns; column += column_step) {
                    bool any = false, all = true;
                    for (int32_t r = row; r < std::min(rows, row + row_step); ++r) {
                        for (int32_t c = column; c < std::min(columns, column + column_step); ++c) {
                            const bool computed = block_mask.kind(b, h, r, c) != BlockKind::empty;
                            any = any || computed;
                            all = all && computed;
                        }
                    }
                    const char* cell = all ? "█" : any ? "░" : " ";
                    text.append(cell).append(cell);
                }
                text += "\n";
            }
        }
    }
    return text;
}

}  // namespace vkattn::pytorch
