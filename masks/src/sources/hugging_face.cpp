// Hugging Face's mask converter, mask functions and decisions to drop a mask.
#include "vkattn/sources/hugging_face.h"

#include <algorithm>
#include <string>

#include "vkattn/classify.h"
#include "vkattn/named.h"

namespace vkattn::hugging_face {

namespace {

// A table [B, positions] of ints or bools, for the host's helpers.
Status check_rows(const TableData& table, const char* helper, const char* name) {
    if (Status status = check(table, name); !status) return status;
    if (table.dims.size() == 2 && table.type != Type::f32) return {};
    return error(Code::invalid_argument, std::string(helper) + ": table '" + name +
                                             "' must be i32 or bool with two dimensions [batch, positions]");
}

int32_t value_at(const TableData& table, int64_t b, int64_t i) {
    const auto at = static_cast<size_t>(b * table.dims[1] + i);
    return table.type == Type::boolean ? table.boolean[at] : table.i32[at];
}

// Two masks attend to the same pairs just when each has as many as both together.
Result<bool> same_pairs(const Mask& a, const Mask& b, const Shape& shape, const Bindings& bindings) {
    const Result<int64_t> both = count_pairs(a && b, shape, bindings);
    if (!both) return both.status();
    for (const Mask* mask : {&a, &b}) {
        const Result<int64_t> alone = count_pairs(*mask, shape, bindings);
        if (!alone) return alone.status();
        if (*alone != *both) return false;
    }
    return true;
}

}  // namespace

AttentionMaskConverter::AttentionMaskConverter(bool is_causal, std::optional<Expr> sliding_window)
    : is_causal_(is_causal), sliding_window_(std::move(sliding_window)) {}

Mask AttentionMaskConverter::to_causal_4d() const {
    if (!is_causal_) {
        return Mask::broken(error(Code::invalid_argument, "to_causal_4d: this converter has is_causal = false; use "
                                                          "to_4d, or is_causal = true"));
    }
    return sliding_window_ ? lower_right(sliding_window(*sliding_window_)) : causal_lower_right();
}

Mask AttentionMaskConverter::to_4d(TableExpr attention_mask) const {
    if (!is_causal_ && sliding_window_) {
        return Mask::broken(error(Code::invalid_argument, "to_4d: a sliding window needs is_causal = true"));
    }
    const Mask padding = padding_mask(std::move(attention_mask));
    return is_causal_ ? to_causal_4d() && padding : padding;
}

Mask causal_mask_function() { return causal(); }
Mask bidirectional_mask_function() { return full(); }

Mask sliding_window_overlay(Expr sliding_window) {
    return trace_mask([&](Index, Index, Index q, Index kv) { return kv > q - sliding_window; });
}
Mask sliding_window_causal_mask_function(Expr sliding_window) { return last_n_keys(sliding_window); }
Mask sliding_window_bidirectional_overlay(Expr sliding_window) { return window(sliding_window, sliding_window); }
Mask sliding_window_bidirectional_mask_function(Expr sliding_window) {
    return sliding_window_bidirectional_overlay(sliding_window);
}

Mask chunked_overlay(Expr chunk_size, TableExpr left_padding) {
    return trace_mask([&](Index b, Index, Index q, Index kv) {
        const Expr start = left_padding(b);
        return (kv - start) / chunk_size == (q - start) / chunk_size;
    });
}
Mask chunked_causal_mask_function(Expr chunk_size, TableExpr left_padding) {
    return chunked_overlay(chunk_size, left_padding) && causal();
}

Mask blockwise_overlay(TableExpr block_sequence_ids) {
    return trace_mask([&](Index b, Index, Index q, Index kv) {
        const Expr block = block_sequence_ids(b, q);
        return block == block_sequence_ids(b, kv) && block >= 0;
    });
}
Mask padding_mask_function(TableExpr padding_mask) { return vkattn::padding_mask(padding_mask); }
Mask packed_sequence_mask_function(TableExpr packed_sequence_mask) { return document_batched(packed_sequence_mask); }

Mask add_offsets_to_mask_function(const Mask& mask_function, Expr q_offset, Expr kv_offset) {
    return trace_mask(
        [&](Index b, Index h, Index q, Index kv) { return embed(mask_function, b, h, q + q_offset, kv + kv_offset); });
}

Result<TableData> find_packed_sequence_indices(const TableData& position_ids) {
    if (Status status = check_rows(position_ids, "find_packed_sequence_indices", "position_ids"); !status)
        return status;
    TableData sequences;
    sequences.dims = position_ids.dims;
    sequences.i32.reserve(static_cast<size_t>(position_ids.count()));
    for (int64_t b = 0; b < position_ids.dims[0]; ++b) {
        int32_t sequence = 0;
        for (int64_t i = 0; i < position_ids.dims[1]; ++i) {
            const bool goes_on =
                i == 0 || int64_t{value_at(position_ids, b, i)} - value_at(position_ids, b, i - 1) == 1;
            if (!goes_on) ++sequence;
            sequences.i32.push_back(sequence);
        }
    }
    return sequences;
}

Result<TableData> prepare_padding_mask(const TableData& attention_mask, int32_t kv_length, int32_t kv_offset) {
    if (Status status = check_rows(attention_mask, "prepare_padding_mask", "attention_mask"); !status) return status;
    const int64_t positions = std::max(attention_mask.dims[1], int64_t{kv_length} + kv_offset);
    TableData keep;
    keep.type = Type::boolean;
    keep.dims = {attention_mask.dims[0], positions};
    for (int64_t b = 0; b < keep.dims[0]; ++b)
        for (int64_t i = 0; i < positions; ++i)
            keep.boolean.push_back(i < attention_mask.dims[1] && value_at(attention_mask, b, i) != 0 ? 1 : 0);
    return keep;
}

Result<TableData> left_padding_tokens(const TableData& attention_mask) {
    if (Status status = check_rows(attention_mask, "left_padding_tokens", "attention_mask"); !status) return status;
    TableData tokens;
    tokens.dims = {attention_mask.dims[0]};
    for (int64_t b = 0; b < attention_mask.dims[0]; ++b) {
        int32_t zeros = 0;
        while (zeros < attention_mask.dims[1] && value_at(attention_mask, b, zeros) == 0) ++zeros;
        tokens.i32.push_back(zeros);
    }
    return tokens;
}

Result<bool> ignore_causal_mask_sdpa(const Mask& mask, const Shape& shape, const Bindings& bindings) {
    if (shape.q_len == 1) return same_pairs(mask, full(), shape, bindings);
    if (shape.q_len == shape.kv_len) return same_pairs(mask, causal(), shape, bindings);
    if (Status status = check(shape); !status) return status;
    return false;
}

Result<bool> ignore_bidirectional_mask_sdpa(const Mask& mask, const Shape& shape, const Bindings& bindings) {
    return same_pairs(mask, full(), shape, bindings);
}

}  // namespace vkattn::hugging_face
