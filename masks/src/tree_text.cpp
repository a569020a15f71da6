#include "tree_text.h"

#include <algorithm>
#include <cstdio>

namespace vkattn::detail {
namespace {

const char* type_text(Type type) {
    switch (type) {
    case Type::boolean: return "bool";
    case Type::i32: return "int";
    case Type::f32: return "float";
    }
    return "";
}

std::string hex(uint32_t bits) {
    char text[16];
    std::snprintf(text, sizeof text, "0x%08xu", static_cast<unsigned>(bits));
    return text;
}

std::string literal_text(const Node& literal) {
    if (literal.type == Type::boolean) return literal.payload != 0 ? "true" : "false";
    if (literal.type == Type::i32) return "int(" + hex(literal.payload) + ")";
    return "uintBitsToFloat(" + hex(literal.payload) + ")";
}

std::string infix(const std::string& x, const char* symbol, const std::string& y) { return x + " " + symbol + " " + y; }

std::string call(const char* function, const std::string& x) { return std::string(function) + "(" + x + ")"; }
std::string call(const char* function, const std::string& x, const std::string& y) {
    return std::string(function) + "(" + x + ", " + y + ")";
}

// An operator on variables. `f32`: of its operands.
std::string operation(const Node& node, bool f32, const std::string* x) {
    switch (node.op) {
    case Op::add: return infix(x[0], "+", x[1]);
    case Op::sub: return infix(x[0], "-", x[1]);
    case Op::mul: return infix(x[0], "*", x[1]);
    case Op::div: return f32 ? infix(x[0], "/", x[1]) : call("div_i32", x[0], x[1]);
    case Op::mod: return call(f32 ? "mod_f32" : "mod_i32", x[0], x[1]);
    case Op::neg: return "-" + x[0];
    case Op::abs: return call(f32 ? "abs" : "abs_i32", x[0]);
    case Op::min: return call(f32 ? "min_f32" : "min", x[0], x[1]);
    case Op::max: return call(f32 ? "max_f32" : "max", x[0], x[1]);
    case Op::bit_and: return infix(x[0], "&", x[1]);
    case Op::bit_or: return infix(x[0], "|", x[1]);
    case Op::bit_xor: return infix(x[0], "^", x[1]);
    case Op::bit_not: return "~" + x[0];
    case Op::shl: return call("shl_i32", x[0], x[1]);
    case Op::shr: return call("shr_i32", x[0], x[1]);
    case Op::logical_and: return infix(x[0], "&&", x[1]);
    case Op::logical_or: return infix(x[0], "||", x[1]);
    case Op::logical_not: return "!" + x[0];
    case Op::lt: return infix(x[0], "<", x[1]);
    case Op::le: return infix(x[0], "<=", x[1]);
    case Op::eq: return infix(x[0], "==", x[1]);
    case Op::ne: return infix(x[0], "!=", x[1]);
    case Op::select: return x[0] + " ? " + x[1] + " : " + x[2];
    case Op::to_f32: return call("float", x[0]);
    case Op::to_i32: return call("to_i32", x[0]);
    case Op::exp: return call("exp_f32", x[0]);
    case Op::exp2: return call("exp2_f32", x[0]);
    case Op::log: return call("log_f32", x[0]);
    case Op::log2: return call("log2_f32", x[0]);
    case Op::pow: return call("pow_f32", x[0], x[1]);
    case Op::sqrt: return call("sqrt_f32", x[0]);
    case Op::rsqrt: return call("rsqrt_f32", x[0]);
    case Op::sin: return call("sin_f32", x[0]);
    case Op::cos: return call("cos_f32", x[0]);
    case Op::tanh: return call("tanh_f32", x[0]);
    case Op::sigmoid: return call("sigmoid_f32", x[0]);
    case Op::floor: return call("floor", x[0]);
    case Op::sign: return call("sign_f32", x[0]);
    case Op::b:
    case Op::h:
    case Op::q:
    case Op::kv:
    case Op::score:
    case Op::q_len:
    case Op::kv_len:
    case Op::q_heads:
    case Op::kv_heads:
    case Op::literal:
    case Op::param:
    case Op::slot:
    case Op::table: break;  // leaves and lookups are written elsewhere
    }
    return "";
}

// Arguments of the generated functions: always there, never declared. Null: not one.
const char* argument_name(Op op) {
    if (op == Op::b) return "b";
    if (op == Op::h) return "h";
    if (op == Op::q) return "q";
    if (op == Op::kv) return "kv";
    if (op == Op::score) return "score";
    return nullptr;
}

bool rounds(const Node& node) {
    return node.type == Type::f32 && (node.op == Op::add || node.op == Op::sub || node.op == Op::mul);
}

}  // namespace

TreeText::TreeText(const Tree& tree, const TextBase& base)
    : tree_(tree), base_(base), depends_(dependence(tree.nodes)), specialised_number_(tree.slots.size(), -1) {
    for (size_t i = 0; i < tree.slots.size(); ++i) {
        if (!tree.slots[i].specialised) continue;
        specialised_number_[i] = static_cast<int32_t>(base.specialised + specialised_slots_.size());
        specialised_slots_.push_back(base.slot + static_cast<uint32_t>(i));
    }
    plan_fields();
}

std::string TreeText::name(int32_t i) const {
    const char* argument = argument_name(node(i).op);
    return argument ? argument : base_.prefix + std::to_string(i);
}

// Known without a load: written anew in every function.
bool TreeText::is_free(int32_t i) const {
    const Node& at = node(i);
    return argument_name(at.op) || at.op == Op::literal || (at.op == Op::slot && tree_.slots[at.payload].specialised);
}

// All indices but the last decide which slice of the table is read.
Level TreeText::slice_level(const Node& lookup) const {
    uint8_t set = 0;
    for (uint8_t a = 0; a + 1 < lookup.n_args; ++a) {
        set = static_cast<uint8_t>(set | depends_[static_cast<size_t>(lookup.args[a])]);
    }
    return level(set);
}

// A pair-level lookup whose slice is taken per row or per key needs only its last index.
uint8_t TreeText::first_needed_arg(Level place, int32_t i) const {
    const Node& at = node(i);
    const bool hoisted = place == Level::pair && at.op == Op::table && slice_level(at) != Level::pair;
    return hoisted ? static_cast<uint8_t>(at.n_args - 1) : 0;
}

std::vector<bool> TreeText::needed(Level place, const std::vector<int32_t>& targets) const {
    std::vector<bool> marks(tree_.nodes.size(), false);
    for (const int32_t target : targets) marks[static_cast<size_t>(target)] = true;
    for (size_t i = marks.size(); i-- > 0;) {
        const int32_t at = static_cast<int32_t>(i);
        if (!marks[i] || (place == Level::pair && level_of(at) != Level::pair)) continue;
        for (uint8_t a = first_needed_arg(place, at); a < node(at).n_args; ++a) {
            marks[static_cast<size_t>(node(at).args[a])] = true;
        }
    }
    return marks;
}

void TreeText::plan_fields() {
    const std::vector<bool> marks = needed(Level::pair, {result()});
    std::vector<bool> table_is_there(tree_.tables.size(), false);
    for (size_t i = 0; i < marks.size(); ++i) {
        const int32_t at = static_cast<int32_t>(i);
        if (!marks[i] || is_free(at)) continue;
        const Level here = level_of(at);
        if (here != Level::pair) {
            const bool of_row = here == Level::row;
            (of_row ? row_fields_ : column_fields_).push_back({type_text(node(at).type), name(at), name(at)});
            (of_row ? row_targets_ : column_targets_).push_back(at);
            continue;
        }
        if (node(at).op != Op::table) continue;
        const std::string number = std::to_string(base_.table + node(at).payload);
        const std::string info = "params.tables_info[" + number + "]";
        const Level slices = slice_level(node(at));
        if (slices == Level::pair) {
            if (!table_is_there[node(at).payload]) row_fields_.push_back({"TableInfo", "t" + number, info});
            table_is_there[node(at).payload] = true;
            continue;
        }
        const bool of_row = slices == Level::row;
        (of_row ? row_fields_ : column_fields_).push_back({"TableSlice", name(at) + "_slice", slice(node(at), info)});
        for (uint8_t a = 0; a + 1 < node(at).n_args; ++a) {
            (of_row ? row_targets_ : column_targets_).push_back(node(at).args[a]);
        }
    }
}

std::string TreeText::slice(const Node& lookup, const std::string& table) const {
    std::string text = "table_slice(" + table;
    for (uint8_t a = 0; a + 1 < lookup.n_args; ++a) text += ", " + name(lookup.args[a]);
    return text + ")";
}

std::string TreeText::leaf(int32_t i) const {
    const Node& at = node(i);
    if (at.op == Op::literal) return literal_text(at);
    if (at.op == Op::q_len) return "params.q_len";
    if (at.op == Op::kv_len) return "params.kv_len";
    if (at.op == Op::q_heads) return "params.q_heads";
    if (at.op == Op::kv_heads) return "params.kv_heads";
    const int32_t constant = specialised_number_[at.payload];
    if (constant >= 0) return "mask_spec_" + std::to_string(constant);
    const std::string slot = "params.slots[" + std::to_string(base_.slot + at.payload) + "]";
    return (at.type == Type::f32 ? "uintBitsToFloat(" : "int(") + slot + ")";
}

std::string TreeText::value(Level place, int32_t i) const {
    const Node& at = node(i);
    if (at.n_args == 0 && (place != Level::pair || is_free(i))) return leaf(i);
    if (place == Level::pair && level_of(i) == Level::row) return "row." + name(i);
    if (place == Level::pair && level_of(i) == Level::column) return "col." + name(i);
    if (at.op == Op::table) {
        const std::string number = std::to_string(base_.table + at.payload);
        std::string from;
        if (place != Level::pair) {
            from = slice(at, "params.tables_info[" + number + "]");
        } else if (slice_level(at) == Level::pair) {
            from = slice(at, "row.t" + number);
        } else {
            from = (slice_level(at) == Level::row ? "row." : "col.") + name(i) + "_slice";
        }
        const char* function = at.type == Type::boolean ? "table_bool"
                               : at.type == Type::i32   ? "table_i32"
                                                        : "table_f32";
        return call(function, from, name(at.args[at.n_args - 1]));
    }
    std::string args[4];
    for (uint8_t a = 0; a < at.n_args; ++a) args[a] = name(at.args[a]);
    return operation(at, node(at.args[0]).type == Type::f32, args);
}

// In a mask, f32 sums and products are single IEEE steps as in evaluate(); in a score mod the driver may fuse them.
std::string TreeText::statements(Level place, const std::vector<int32_t>& targets) const {
    std::string text;
    const std::vector<bool> marks = needed(place, targets);
    const bool is_mask = node(result()).type == Type::boolean;
    for (size_t i = 0; i < marks.size(); ++i) {
        const int32_t at = static_cast<int32_t>(i);
        if (!marks[i] || argument_name(node(at).op)) continue;
        text += "    ";
        if (is_mask && rounds(node(at))) text += "precise ";
        text += std::string(type_text(node(at).type)) + " " + name(at) + " = " + value(place, at) + ";\n";
    }
    return text;
}

}  // namespace vkattn::detail
