// The words of the text grammar.
#include <algorithm>
#include <string>
#include <vector>

#include "named_calls.h"
#include "syntax.h"

namespace vkattn::detail {

std::string_view op_text(Op op) {
    switch (op) {
    case Op::b: return "b";
    case Op::h: return "h";
    case Op::q: return "q";
    case Op::kv: return "kv";
    case Op::score: return "score";
    case Op::q_len: return "q_len";
    case Op::kv_len: return "kv_len";
    case Op::q_heads: return "q_heads";
    case Op::kv_heads: return "kv_heads";
    case Op::literal: return "literal";
    case Op::param: return "param";
    case Op::slot: return "slot";
    case Op::table: return "table";
    case Op::add: return "+";
    case Op::sub: return "-";
    case Op::mul: return "*";
    case Op::div: return "/";
    case Op::mod: return "%";
    case Op::neg: return "-";
    case Op::abs: return "abs";
    case Op::min: return "min";
    case Op::max: return "max";
    case Op::bit_and: return "&";
    case Op::bit_or: return "|";
    case Op::bit_xor: return "^";
    case Op::bit_not: return "~";
    case Op::shl: return "<<";
    case Op::shr: return ">>";
    case Op::logical_and: return "&&";
    case Op::logical_or: return "||";
    case Op::logical_not: return "!";
    case Op::lt: return "<";
    case Op::le: return "<=";
    case Op::eq: return "==";
    case Op::ne: return "!=";
    case Op::select: return "select";
    case Op::to_f32: return "float";
    case Op::to_i32: return "int";
    case Op::exp: return "exp";
    case Op::exp2: return "exp2";
    case Op::log: return "log";
    case Op::log2: return "log2";
    case Op::pow: return "pow";
    case Op::sqrt: return "sqrt";
    case Op::rsqrt: return "rsqrt";
    case Op::sin: return "sin";
    case Op::cos: return "cos";
    case Op::tanh: return "tanh";
    case Op::sigmoid: return "sigmoid";
    case Op::floor: return "floor";
    case Op::sign: return "sign";
    }
    return "";
}

bool is_identifier(std::string_view name) {
    const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    return !name.empty() && is_letter(name[0]) &&
           std::all_of(name.begin(), name.end(), [&](char c) { return is_letter(c) || is_digit(c); });
}

// Function names are, though a call is told by its '(', and so are named masks that are called without arguments:
// there a forgotten () would silently be a scalar. window, offset and the like are free: param("window") is a good
// name.
bool is_reserved(std::string_view name) {
    if (name == "true" || name == "false" || name == "inf" || name == "nan" || name == "clamp") return true;
    if (name != "literal" && name != "param" && name != "slot" && name != "table") {
        for (int op = 0; op <= static_cast<int>(Op::sign); ++op) {
            if (op_text(static_cast<Op>(op)) == name) return true;
        }
    }
    const auto is_bare_call = [&](const NamedEntry& entry) { return entry.name == name && entry.n_parameters == 0; };
    const auto masks = named_masks();
    const auto score_mods = named_score_mods();
    return std::any_of(masks.begin(), masks.end(), is_bare_call) ||
           std::any_of(score_mods.begin(), score_mods.end(), is_bare_call);
}

bool has_entry(std::span<const NamedEntry> entries, std::string_view name) {
    return std::any_of(entries.begin(), entries.end(), [&](const NamedEntry& entry) { return entry.name == name; });
}

Result<ResolvedCall> resolve_call(std::span<const NamedEntry> entries, std::string_view name,
                                  std::span<const CallArgument> arguments, bool score_mod) {
    const auto is_table = [](ArgumentKind kind) {
        return kind == ArgumentKind::table_i32 || kind == ArgumentKind::table_f32 || kind == ArgumentKind::table_bool;
    };
    // For the message: every overload, and what did not fit in the one with the right number of arguments.
    std::string overloads, misfit;
    for (const size_t extra : {size_t{0}, size_t{1}}) {
        if (extra == 1 && !score_mod) break;
        for (const NamedEntry& entry : entries) {
            if (entry.name != name) continue;
            if (extra == 0) overloads += (overloads.empty() ? "" : " or ") + signature(entry);
            if (arguments.size() != entry.n_parameters + extra) continue;
            bool fits = true;
            for (size_t i = 0; i < entry.n_parameters && fits; ++i) {
                const NamedParameter& parameter = entry.parameters[i];
                fits = is_table(parameter.kind) ? arguments[i].may_be_table : arguments[i].may_be_value;
                if (!fits && misfit.empty()) {
                    misfit = "argument '" + std::string(parameter.name) + "' of " + signature(entry) +
                             (is_table(parameter.kind) ? " must be the name of a table" : " is a value, not a table");
                }
            }
            if (fits && extra == 1) fits = arguments.back().may_be_value;
            if (fits) return ResolvedCall{&entry, extra == 1};
        }
    }
    if (!misfit.empty()) return error(Code::invalid_text, misfit);
    return error(Code::invalid_text, "'" + std::string(name) + "' is called with " + std::to_string(arguments.size()) +
                                         (arguments.size() == 1 ? " argument" : " arguments") + "; write " + overloads +
                                         (score_mod ? ", with the score to change as an optional last argument" : ""));
}

std::string did_you_mean(std::string_view name, std::span<const std::string_view> candidates) {
    std::string_view best;
    size_t best_distance = name.size() < 4 ? 2 : 3;  // only what is nearer than this
    if (name.size() > 64) return "";
    std::vector<size_t> row;
    for (const std::string_view candidate : candidates) {
        // Levenshtein distance, a row at a time.
        row.resize(candidate.size() + 1);
        for (size_t j = 0; j < row.size(); ++j) row[j] = j;
        for (size_t i = 1; i <= name.size(); ++i) {
            size_t diagonal = row[0];
            row[0] = i;
            for (size_t j = 1; j < row.size(); ++j) {
                const size_t substituted = diagonal + (name[i - 1] == candidate[j - 1] ? 0 : 1);
                diagonal = row[j];
                row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
            }
        }
        if (row.back() < best_distance) {
            best_distance = row.back();
            best = candidate;
        }
    }
    return best.empty() ? "" : "; did you mean '" + std::string(best) + "'?";
}

}  // namespace vkattn::detail
