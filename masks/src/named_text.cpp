// The words of the text grammar.
#include <algorithm>
#include <string>

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

bool is_reserved(std::string_view name) {
    if (name == "true" || name == "false" || name == "inf" || name == "nan" || name == "clamp") return true;
    if (name != "literal" && name != "param" && name != "slot" && name != "table") {
        for (int op = 0; op <= static_cast<int>(Op::sign); ++op) {
            if (op_text(static_cast<Op>(op)) == name) return true;
        }
    }
    const auto has_name = [&](const NamedEntry& entry) { return entry.name == name; };
    const auto masks = named_masks();
    const auto score_mods = named_score_mods();
    return std::any_of(masks.begin(), masks.end(), has_name) ||
           std::any_of(score_mods.begin(), score_mods.end(), has_name);
}

}  // namespace vkattn::detail
