// Named masks and score mods. Each is also a call in the text grammar under the same name and with the same arguments.
//
// Windows: the canonical form is the inclusive pair window(left, right), which keeps  -right <= q - kv <= left.
// Systems differ by one: sliding_window(w) is FlexAttention's and the older Hugging Face converter's (causal, q - kv
// <= w: w + 1 keys); last_n_keys(w) keeps w keys (penzai, newer Hugging Face, Mistral, llama.cpp). Indices are raw
// (aligned upper left) unless offset() or lower_right() says otherwise.
// Expr arguments take a literal or param("name"); a literal and another literal are one structure (no recompilation).
#pragma once

#include <array>
#include <span>
#include <string_view>
#include <vector>

#include "vkattn/mask.h"

namespace vkattn {

Mask full();
Mask causal();                       // kv <= q
Mask causal(Expr q_offset);          // kv <= q + q_offset
Mask causal_lower_right();           // kv <= q + (kv_len - q_len)
Mask window(Expr left, Expr right);  // q - kv <= left && kv - q <= right
Mask sliding_window(Expr w);         // causal, w + 1 keys
Mask last_n_keys(Expr w);            // causal, w keys
Mask prefix(Expr length);            // prefix LM: kv < length || kv <= q
Mask prefix(TableExpr lengths);      // per batch: lengths[b]
Mask document(TableExpr ids);        // ids[q] == ids[kv]
Mask document(TableExpr q_ids, TableExpr kv_ids);
Mask document_batched(TableExpr ids);  // ids[b, q] == ids[b, kv]
// Packed sequences from cu_seqlens offsets [n + 1]: document ids per position as captured tables `name` and
// `name`_kv, ascending, length + 1 long. Positions past the last offset (or past `length`) attend to nothing and
// nothing attends to them: there the two tables differ. Errors through Mask::status(): offsets start at 0, do not
// decrease and end at `length` or before.
Mask document_from_offsets(std::string_view name, const std::vector<int32_t>& cu_seqlens, int32_t length);
Mask padding(TableExpr lengths);    // 2-D padding by key lengths: kv < lengths[b]
Mask padding_mask(TableExpr keep);  // 2-D padding mask keep[b, kv] (bool, or i32: not 0)
// SASA: |dx| <= kernel and |dy| <= kernel on a canvas (flex notebook)
Mask stand_alone_self_attention(Expr canvas_width, Expr kernel);
// NATTEN: kernel_w x kernel_h keys always (the window is shifted inward at borders; even kernels reach one further to
// the left / up), pixel p is (x = p % canvas_w, y = p / canvas_w). kernel > canvas is clamped to the canvas.
Mask natten(Expr canvas_w, Expr canvas_h, Expr kernel_w, Expr kernel_h);
// |q - kv| <= window && |q - kv| % dilation == 0 (x % 0 is 0: dilation 0 is like 1)
Mask dilated_window(Expr window, Expr dilation);
Mask global_tokens(Expr n);  // q < n || kv < n
// Token trees: the queries are the q_len tree tokens, their keys follow prefix_length common keys. ancestor
// [q_len, q_len] (bool): kv < prefix_length || (kv - prefix_length < q_len && ancestor[q, kv - prefix_length]).
Mask tree_ancestors(TableExpr ancestor, Expr prefix_length);
// begin[q] <= kv < end[q] (Flamingo: a text token to its image's keys)
Mask cross_attention_intervals(TableExpr begin, TableExpr end);
Mask offset(const Mask& mask, Expr q_offset);  // q becomes q + q_offset
Mask lower_right(const Mask& mask);            // offset by kv_len - q_len

ScoreMod alibi(TableExpr slopes);                           // score + slopes[h] * (kv - q)
ScoreMod alibi();                                           // slopes 2^(-8 (h + 1) / q_heads)
ScoreMod softcap(Expr cap);                                 // cap * tanh(score / cap)
ScoreMod relative_bias(TableExpr bias, Expr max_distance);  // score + bias[h, clamp(kv - q, -d, d) + d]
ScoreMod dense_bias(TableExpr bias);                        // score + bias[h, q, kv]
ScoreMod dense_bias_batched(TableExpr bias);                // score + bias[b, h, q, kv]
ScoreMod head_scale(TableExpr scales);                      // score * scales[h]

// The list behind all of these (except document_from_offsets, which needs data) and behind the calls in text: one
// definition each.
enum class ArgumentKind : uint8_t {
    integer,    // an i32 expression; an undeclared name in it is i32
    number,     // an f32 expression
    table_i32,  // a table by name, of that type unless declared or captured otherwise
    table_f32,
    table_bool,
    mask,  // a mask: in text any condition
};
struct NamedParameter {
    std::string_view name;
    ArgumentKind kind = ArgumentKind::integer;
};
// Where a named mask stands: the indices it sees, and in a score mod the score it changes.
struct NamedSite {
    Expr b, h, q, kv, score;
};
struct NamedArgument {
    std::vector<Expr> expr;  // one of integer and number, else empty
    TableExpr table;
    std::function<Expr(Expr b, Expr h, Expr q, Expr kv)> mask;
};
// One overload. `meaning` is one line for a person. Names are listed in a reading order, overloads side by side.
struct NamedEntry {
    std::string_view name;
    std::array<NamedParameter, 4> parameters;
    uint8_t n_parameters = 0;
    std::string_view meaning;
    Expr (*build)(const NamedSite& site, const NamedArgument* arguments) = nullptr;
};
// In a score mod's text a named score mod takes one more argument, the score that it changes:
// softcap(20, alibi(slopes)).
std::span<const NamedEntry> named_masks();
std::span<const NamedEntry> named_score_mods();
// "window(left, right)", as in text.
std::string signature(const NamedEntry& entry);

}  // namespace vkattn
