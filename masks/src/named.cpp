// The named masks and score mods: one definition each, which the C++ functions and the calls in text both use.
#include "vkattn/named.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "named_calls.h"
#include "natten_axis.h"
#include "syntax.h"

namespace vkattn {

namespace {

using Site = NamedSite;
using Args = const NamedArgument*;
using Kind = ArgumentKind;
using detail::natten_axis;

const Expr& value(Args args, int i) { return args[i].expr.front(); }

const NamedEntry mask_list[] = {
    {"full", {}, 0, "every pair", [](const Site&, Args) { return Expr(true); }},
    {"causal", {}, 0, "keys up to the query: kv <= q", [](const Site& at, Args) { return at.kv <= at.q; }},
    {"causal",
     {{{"q_offset", Kind::integer}}},
     1,
     "kv <= q + q_offset",
     [](const Site& at, Args a) { return at.kv <= at.q + value(a, 0); }},
    {"causal_lower_right",
     {},
     0,
     "causal, the last query aligned with the last key: kv <= q + (kv_len - q_len)",
     [](const Site& at, Args) { return at.kv <= at.q + (kv_len() - q_len()); }},
    {"window",
     {{{"left", Kind::integer}, {"right", Kind::integer}}},
     2,
     "-right <= q - kv <= left",
     [](const Site& at, Args a) { return at.q - at.kv <= value(a, 0) && at.kv - at.q <= value(a, 1); }},
    {"sliding_window",
     {{{"w", Kind::integer}}},
     1,
     "causal and q - kv <= w: w + 1 keys",
     [](const Site& at, Args a) { return at.kv <= at.q && at.q - at.kv <= value(a, 0); }},
    {"last_n_keys",
     {{{"w", Kind::integer}}},
     1,
     "causal and q - kv < w: w keys",
     [](const Site& at, Args a) { return at.kv <= at.q && at.q - at.kv < value(a, 0); }},
    {"prefix",
     {{{"length", Kind::integer}}},
     1,
     "prefix LM: kv < length || kv <= q",
     [](const Site& at, Args a) { return at.kv < value(a, 0) || at.kv <= at.q; }},
    {"prefix",
     {{{"lengths", Kind::table_i32}}},
     1,
     "prefix LM per batch entry: kv < lengths[b] || kv <= q",
     [](const Site& at, Args a) { return at.kv < a[0].table(at.b) || at.kv <= at.q; }},
    {"document",
     {{{"ids", Kind::table_i32}}},
     1,
     "packed sequences: ids[q] == ids[kv]",
     [](const Site& at, Args a) { return a[0].table(at.q) == a[0].table(at.kv); }},
    {"document",
     {{{"q_ids", Kind::table_i32}, {"kv_ids", Kind::table_i32}}},
     2,
     "q_ids[q] == kv_ids[kv]",
     [](const Site& at, Args a) { return a[0].table(at.q) == a[1].table(at.kv); }},
    {"document_batched",
     {{{"ids", Kind::table_i32}}},
     1,
     "packed sequences per batch entry: ids[b, q] == ids[b, kv]",
     [](const Site& at, Args a) { return a[0].table(at.b, at.q) == a[0].table(at.b, at.kv); }},
    {"padding",
     {{{"lengths", Kind::table_i32}}},
     1,
     "keys up to the entry's length: kv < lengths[b]",
     [](const Site& at, Args a) { return at.kv < a[0].table(at.b); }},
    {"padding_mask",
     {{{"keep", Kind::table_i32}}},
     1,
     "the keys kept: keep[b, kv]",
     [](const Site& at, Args a) { return a[0].table(at.b, at.kv); }},
    {"stand_alone_self_attention",
     {{{"canvas_width", Kind::integer}, {"kernel", Kind::integer}}},
     2,
     "pixels with |dx| <= kernel and |dy| <= kernel",
     [](const Site& at, Args a) {
         const Expr &width = value(a, 0), &kernel = value(a, 1);
         return abs(at.q % width - at.kv % width) <= kernel && abs(at.q / width - at.kv / width) <= kernel;
     }},
    {"natten",
     {{{"canvas_w", Kind::integer},
       {"canvas_h", Kind::integer},
       {"kernel_w", Kind::integer},
       {"kernel_h", Kind::integer}}},
     4,
     "neighbourhood attention: always kernel_w x kernel_h pixels, shifted inward at the borders",
     [](const Site& at, Args a) {
         const Expr &width = value(a, 0), &height = value(a, 1);
         return natten_axis(at.q % width, at.kv % width, width, value(a, 2)) &&
                natten_axis(at.q / width, at.kv / width, height, value(a, 3));
     }},
    {"dilated_window",
     {{{"window", Kind::integer}, {"dilation", Kind::integer}}},
     2,
     "|q - kv| <= window and |q - kv| % dilation == 0",
     [](const Site& at, Args a) {
         const Expr distance = abs(at.q - at.kv);
         return distance <= value(a, 0) && distance % value(a, 1) == 0;
     }},
    {"global_tokens",
     {{{"n", Kind::integer}}},
     1,
     "the first n tokens see and are seen by all: q < n || kv < n",
     [](const Site& at, Args a) { return at.q < value(a, 0) || at.kv < value(a, 0); }},
    {"tree_ancestors",
     {{{"ancestor", Kind::table_bool}, {"prefix_length", Kind::integer}}},
     2,
     "token trees: the prefix, then ancestor[q, kv - prefix_length]",
     [](const Site& at, Args a) {
         const Expr in_tree = at.kv - value(a, 1);
         return at.kv < value(a, 1) || (in_tree < q_len() && a[0].table(at.q, in_tree));
     }},
    {"cross_attention_intervals",
     {{{"begin", Kind::table_i32}, {"end", Kind::table_i32}}},
     2,
     "begin[q] <= kv < end[q]",
     [](const Site& at, Args a) { return a[0].table(at.q) <= at.kv && at.kv < a[1].table(at.q); }},
    {"offset",
     {{{"mask", Kind::mask}, {"q_offset", Kind::integer}}},
     2,
     "the mask at q + q_offset",
     [](const Site& at, Args a) { return a[0].mask(at.b, at.h, at.q + value(a, 1), at.kv); }},
    {"lower_right",
     {{{"mask", Kind::mask}}},
     1,
     "the mask at q + (kv_len - q_len)",
     [](const Site& at, Args a) { return a[0].mask(at.b, at.h, at.q + (kv_len() - q_len()), at.kv); }},
};

const NamedEntry score_mod_list[] = {
    {"alibi",
     {},
     0,
     "score + 2^(-8 (h + 1) / q_heads) * (kv - q)",
     [](const Site& at, Args) {
         return at.score + exp2(-8.0f * to_float(at.h + 1) / to_float(q_heads())) * to_float(at.kv - at.q);
     }},
    {"alibi",
     {{{"slopes", Kind::table_f32}}},
     1,
     "score + slopes[h] * (kv - q)",
     [](const Site& at, Args a) { return at.score + a[0].table(at.h) * to_float(at.kv - at.q); }},
    {"softcap",
     {{{"cap", Kind::number}}},
     1,
     "cap * tanh(score / cap)",
     [](const Site& at, Args a) { return value(a, 0) * tanh(at.score / value(a, 0)); }},
    {"relative_bias",
     {{{"bias", Kind::table_f32}, {"max_distance", Kind::integer}}},
     2,
     "score + bias[h, clamp(kv - q, -d, d) + d]",
     [](const Site& at, Args a) {
         const Expr& d = value(a, 1);
         return at.score + a[0].table(at.h, clamp(at.kv - at.q, -d, d) + d);
     }},
    {"dense_bias",
     {{{"bias", Kind::table_f32}}},
     1,
     "score + bias[h, q, kv]",
     [](const Site& at, Args a) { return at.score + a[0].table(at.h, at.q, at.kv); }},
    {"dense_bias_batched",
     {{{"bias", Kind::table_f32}}},
     1,
     "score + bias[b, h, q, kv]",
     [](const Site& at, Args a) { return at.score + a[0].table(at.b, at.h, at.q, at.kv); }},
    {"head_scale",
     {{{"scales", Kind::table_f32}}},
     1,
     "score * scales[h]",
     [](const Site& at, Args a) { return at.score * a[0].table(at.h); }},
};

NamedArgument argument(Expr expr) {
    NamedArgument result;
    result.expr.push_back(std::move(expr));
    return result;
}
NamedArgument argument(TableExpr table) {
    NamedArgument result;
    result.table = std::move(table);
    return result;
}
NamedArgument argument(const Mask& mask) {
    NamedArgument result;
    result.mask = [mask](Expr b, Expr h, Expr q, Expr kv) { return embed(mask, b, h, q, kv); };
    return result;
}

// The C++ functions find their entry as text does: by name and the kinds of the arguments.
const NamedEntry* find_entry(std::span<const NamedEntry> entries, std::string_view name,
                             const std::vector<NamedArgument>& args) {
    for (const NamedEntry& entry : entries) {
        if (entry.name != name || entry.n_parameters != args.size()) continue;
        bool fits = true;
        for (size_t i = 0; i < args.size(); ++i) {
            const Kind kind = entry.parameters[i].kind;
            const bool is_expr = kind == Kind::integer || kind == Kind::number;
            fits = fits && (kind == Kind::mask ? args[i].mask != nullptr : is_expr == !args[i].expr.empty());
        }
        if (fits) return &entry;
    }
    return nullptr;
}

Status named_by(std::string_view name, const Status& status) {
    return error(status.code, std::string(name) + ": " + status.message);
}

template <class... T>
Mask call_mask(std::string_view name, const T&... arguments) {
    std::vector<NamedArgument> args{argument(arguments)...};
    const NamedEntry* entry = find_entry(named_masks(), name, args);
    const Mask mask = trace_mask([&](Index b, Index h, Index q, Index kv) {
        return detail::build_named(*entry, {b, h, q, kv, 0.0f}, args.data());
    });
    return mask.status().ok() ? mask : Mask::broken(named_by(name, mask.status()));
}

template <class... T>
ScoreMod call_score_mod(std::string_view name, const T&... arguments) {
    std::vector<NamedArgument> args{argument(arguments)...};
    const NamedEntry* entry = find_entry(named_score_mods(), name, args);
    const ScoreMod score_mod = trace_score_mod([&](Expr score, Index b, Index h, Index q, Index kv) {
        return detail::build_named(*entry, {b, h, q, kv, score}, args.data());
    });
    return score_mod.status().ok() ? score_mod : ScoreMod::broken(named_by(name, score_mod.status()));
}

}  // namespace

namespace detail {

namespace {

constexpr uint32_t max_parameters = 4;

// The entry's place in the two lists, one after the other.
uint32_t place_of(const NamedEntry& entry) {
    const auto is_entry = [&](const NamedEntry& other) { return &other == &entry; };
    const auto mask = std::find_if(std::begin(mask_list), std::end(mask_list), is_entry);
    if (mask != std::end(mask_list)) return static_cast<uint32_t>(mask - mask_list);
    const auto score_mod = std::find_if(std::begin(score_mod_list), std::end(score_mod_list), is_entry);
    return static_cast<uint32_t>(score_mod - score_mod_list + std::ssize(mask_list));
}

}  // namespace

std::string argument_text(uint32_t which) {
    const size_t place = which / max_parameters;
    const NamedEntry& entry =
        place < std::size(mask_list) ? mask_list[place] : score_mod_list[place - std::size(mask_list)];
    return "argument '" + std::string(entry.parameters[which % max_parameters].name) + "' of " + signature(entry);
}

Expr build_named(const NamedEntry& entry, const NamedSite& site, NamedArgument* args) {
    const uint32_t first_argument = max_parameters * place_of(entry);
    for (uint8_t i = 0; i < entry.n_parameters; ++i) {
        const auto table_type = [&](Type type) {
            if (args[i].table.type == type_by_context && !args[i].table.captured)
                args[i].table.type = static_cast<int>(type);
        };
        switch (entry.parameters[i].kind) {
        case Kind::integer: args[i].expr.front() = int_argument(args[i].expr.front(), first_argument + i); break;
        case Kind::table_i32: table_type(Type::i32); break;
        case Kind::table_f32: table_type(Type::f32); break;
        case Kind::table_bool: table_type(Type::boolean); break;
        case Kind::number:
        case Kind::mask: break;
        }
    }
    return entry.build(site, args);
}

}  // namespace detail

std::span<const NamedEntry> named_masks() { return mask_list; }
std::span<const NamedEntry> named_score_mods() { return score_mod_list; }

std::string signature(const NamedEntry& entry) {
    std::string text = std::string(entry.name) + "(";
    for (uint8_t i = 0; i < entry.n_parameters; ++i) {
        if (i > 0) text += ", ";
        text += entry.parameters[i].name;
    }
    return text + ")";
}

Mask full() { return call_mask("full"); }
Mask causal() { return call_mask("causal"); }
Mask causal(Expr q_offset) { return call_mask("causal", q_offset); }
Mask causal_lower_right() { return call_mask("causal_lower_right"); }
Mask window(Expr left, Expr right) { return call_mask("window", left, right); }
Mask sliding_window(Expr w) { return call_mask("sliding_window", w); }
Mask last_n_keys(Expr w) { return call_mask("last_n_keys", w); }
Mask prefix(Expr length) { return call_mask("prefix", length); }
Mask prefix(TableExpr lengths) { return call_mask("prefix", lengths); }
Mask document(TableExpr ids) { return call_mask("document", ids); }
Mask document(TableExpr q_ids, TableExpr kv_ids) { return call_mask("document", q_ids, kv_ids); }
Mask document_batched(TableExpr ids) { return call_mask("document_batched", ids); }
Mask padding(TableExpr lengths) { return call_mask("padding", lengths); }
Mask padding_mask(TableExpr keep) { return call_mask("padding_mask", keep); }
Mask stand_alone_self_attention(Expr canvas_width, Expr kernel) {
    return call_mask("stand_alone_self_attention", canvas_width, kernel);
}
Mask natten(Expr canvas_w, Expr canvas_h, Expr kernel_w, Expr kernel_h) {
    return call_mask("natten", canvas_w, canvas_h, kernel_w, kernel_h);
}
Mask dilated_window(Expr window, Expr dilation) { return call_mask("dilated_window", window, dilation); }
Mask global_tokens(Expr n) { return call_mask("global_tokens", n); }
Mask tree_ancestors(TableExpr ancestor, Expr prefix_length) {
    return call_mask("tree_ancestors", ancestor, prefix_length);
}
Mask cross_attention_intervals(TableExpr begin, TableExpr end) {
    return call_mask("cross_attention_intervals", begin, end);
}
Mask offset(const Mask& mask, Expr q_offset) { return call_mask("offset", mask, q_offset); }
Mask lower_right(const Mask& mask) { return call_mask("lower_right", mask); }

// Two tables, so that a position outside of every document can differ from all keys, also from itself. The entry
// after the last position is such a one too: an index past the table is clamped to it.
Mask document_from_offsets(std::string_view name, const std::vector<int32_t>& cu_seqlens, int32_t length) {
    const auto broken = [&](const std::string& what) {
        return Mask::broken(error(Code::invalid_argument, "document_from_offsets: " + what));
    };
    if (length < 0) return broken("length is " + std::to_string(length) + ", it must be at least 0");
    if (cu_seqlens.empty() || cu_seqlens.front() != 0) return broken("the offsets must start with 0");
    for (size_t i = 1; i < cu_seqlens.size(); ++i) {
        if (cu_seqlens[i] >= cu_seqlens[i - 1]) continue;
        return broken("offset " + std::to_string(i) + " is " + std::to_string(cu_seqlens[i]) +
                      ", less than the one before it (" + std::to_string(cu_seqlens[i - 1]) + ")");
    }
    if (cu_seqlens.back() > length) {
        return broken("the last offset is " + std::to_string(cu_seqlens.back()) + ", past the length " +
                      std::to_string(length));
    }
    const auto n_documents = static_cast<int32_t>(cu_seqlens.size()) - 1;
    TableData q_ids;
    q_ids.dims = {int64_t{length} + 1};
    q_ids.i32.assign(static_cast<size_t>(length) + 1, n_documents);
    for (int32_t i = 0; i < n_documents; ++i) {
        const auto at = static_cast<size_t>(i);
        std::fill(q_ids.i32.begin() + cu_seqlens[at], q_ids.i32.begin() + cu_seqlens[at + 1], i);
    }
    TableData kv_ids = q_ids;
    std::fill(kv_ids.i32.begin() + cu_seqlens.back(), kv_ids.i32.end(), n_documents + 1);
    const std::string kv_name = std::string(name) + "_kv";
    return document(table(name, std::move(q_ids)), table(kv_name, std::move(kv_ids)));
}

ScoreMod alibi(TableExpr slopes) { return call_score_mod("alibi", slopes); }
ScoreMod alibi() { return call_score_mod("alibi"); }
ScoreMod softcap(Expr cap) { return call_score_mod("softcap", cap); }
ScoreMod relative_bias(TableExpr bias, Expr max_distance) {
    return call_score_mod("relative_bias", bias, max_distance);
}
ScoreMod dense_bias(TableExpr bias) { return call_score_mod("dense_bias", bias); }
ScoreMod dense_bias_batched(TableExpr bias) { return call_score_mod("dense_bias_batched", bias); }
ScoreMod head_scale(TableExpr scales) { return call_score_mod("head_scale", scales); }

}  // namespace vkattn
