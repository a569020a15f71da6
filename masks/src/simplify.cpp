#include "simplify.h"

#include "vkattn/evaluate.h"

namespace vkattn::detail {

bool Simplifier::is_boolean(int32_t i, bool value) const {
    const Node& node = nodes_[i];
    return node.op == Op::literal && node.type == Type::boolean && (node.payload != 0) == value;
}

bool Simplifier::fold(const Node& node, uint32_t* bits) const {
    if (node.n_args == 0 || node.op == Op::table) return false;
    uint32_t args[4] = {};
    for (uint8_t a = 0; a < node.n_args; ++a) {
        if (!is_literal(node.args[a])) return false;
        args[a] = nodes_[node.args[a]].payload;
    }
    *bits = apply_op(node.op, nodes_[node.args[0]].type, args);
    return true;
}

int32_t Simplifier::add_not(int32_t x) {
    const Node inner = nodes_[x];
    const Type operands = inner.n_args > 0 ? nodes_[inner.args[0]].type : Type::boolean;
    if (inner.op == Op::literal) return boolean(inner.payload == 0);
    if (inner.op == Op::logical_not) return inner.args[0];
    if (inner.op == Op::eq) return nodes_.add(make_node(Op::ne, Type::boolean, {inner.args[0], inner.args[1]}));
    if (inner.op == Op::ne) return nodes_.add(make_node(Op::eq, Type::boolean, {inner.args[0], inner.args[1]}));
    // Not for floats: with a NaN both x < y and y <= x are false.
    if (operands == Type::i32 && inner.op == Op::lt) {
        return nodes_.add(make_node(Op::le, Type::boolean, {inner.args[1], inner.args[0]}));
    }
    if (operands == Type::i32 && inner.op == Op::le) {
        return nodes_.add(make_node(Op::lt, Type::boolean, {inner.args[1], inner.args[0]}));
    }
    return nodes_.add(make_node(Op::logical_not, Type::boolean, {x}));
}

int32_t Simplifier::add_and(int32_t x, int32_t y) {
    if (is_boolean(x, false) || is_boolean(y, false)) return boolean(false);
    if (is_boolean(x, true) || x == y) return y;
    if (is_boolean(y, true)) return x;
    return nodes_.add(make_node(Op::logical_and, Type::boolean, {x, y}));
}

int32_t Simplifier::add_or(int32_t x, int32_t y) {
    if (is_boolean(x, true) || is_boolean(y, true)) return boolean(true);
    if (is_boolean(x, false) || x == y) return y;
    if (is_boolean(y, false)) return x;
    return nodes_.add(make_node(Op::logical_or, Type::boolean, {x, y}));
}

// eq and ne
int32_t Simplifier::add_equality(const Node& node) {
    const bool equal = node.op == Op::eq;
    const int32_t x = node.args[0];
    const int32_t y = node.args[1];
    const Type type = nodes_[x].type;
    if (x == y && type != Type::f32) return boolean(equal);  // NaN differs from itself
    if (type == Type::boolean) {
        if (is_boolean(x, equal)) return y;
        if (is_boolean(y, equal)) return x;
        if (is_literal(x)) return add_not(y);
        if (is_literal(y)) return add_not(x);
    }
    return nodes_.add(node);
}

int32_t Simplifier::add_select(const Node& node) {
    const int32_t condition = node.args[0];
    const int32_t then = node.args[1];
    const int32_t otherwise = node.args[2];
    if (is_boolean(condition, true)) return then;
    if (is_boolean(condition, false)) return otherwise;
    const bool is_value = is_literal(then) || nodes_[then].op == Op::param;  // of which every use is a slot of its own
    if (then == otherwise && !is_value) return then;
    if (node.type == Type::boolean) {
        if (is_boolean(then, true)) return add_or(condition, otherwise);
        if (is_boolean(then, false)) return add_and(add_not(condition), otherwise);
        if (is_boolean(otherwise, false)) return add_and(condition, then);
        if (is_boolean(otherwise, true)) return add_or(add_not(condition), then);
    }
    if (nodes_[condition].op == Op::logical_not) {
        return nodes_.add(make_node(Op::select, node.type, {nodes_[condition].args[0], otherwise, then}));
    }
    return nodes_.add(node);
}

int32_t Simplifier::add(const Node& node) {
    uint32_t bits = 0;
    if (fold(node, &bits)) return literal(node.type, bits);
    const int32_t x = node.args[0];
    const int32_t y = node.args[1];
    switch (node.op) {
    case Op::logical_not: return add_not(x);
    case Op::logical_and: return add_and(x, y);
    case Op::logical_or: return add_or(x, y);
    case Op::eq:
    case Op::ne: return add_equality(node);
    case Op::select: return add_select(node);
    case Op::lt:
        if (x == y) return boolean(false);  // also for NaN
        break;
    case Op::le:
        if (x == y && nodes_[x].type == Type::i32) return boolean(true);
        break;
    case Op::bit_and:
        if (x == y) return x;
        if (node.type == Type::boolean) return add_and(x, y);
        break;
    case Op::bit_or:
        if (x == y) return x;
        if (node.type == Type::boolean) return add_or(x, y);
        break;
    case Op::bit_xor:
        if (node.type == Type::boolean) return add_equality(make_node(Op::ne, Type::boolean, {x, y}));
        break;
    case Op::min:
    case Op::max:
        if (x == y) return x;
        break;
    case Op::neg:
    case Op::bit_not:
        if (nodes_[x].op == node.op) return nodes_[x].args[0];
        break;
    case Op::literal: return literal(node.type, node.payload);  // one NaN
    case Op::b:
    case Op::h:
    case Op::q:
    case Op::kv:
    case Op::score:
    case Op::q_len:
    case Op::kv_len:
    case Op::q_heads:
    case Op::kv_heads:
    case Op::param:
    case Op::slot:
    case Op::table:
    case Op::add:
    case Op::sub:
    case Op::mul:
    case Op::div:
    case Op::mod:
    case Op::abs:
    case Op::shl:
    case Op::shr:
    case Op::to_f32:
    case Op::to_i32:
    case Op::exp:
    case Op::exp2:
    case Op::log:
    case Op::log2:
    case Op::pow:
    case Op::sqrt:
    case Op::rsqrt:
    case Op::sin:
    case Op::cos:
    case Op::tanh:
    case Op::sigmoid:
    case Op::floor:
    case Op::sign: break;
    }
    return nodes_.add(node);
}

}  // namespace vkattn::detail
