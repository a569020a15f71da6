#include "vkattn/expr.h"

#include <bit>
#include <utility>

#include "syntax.h"

namespace vkattn {

namespace detail {

int leaf_index(Op op) {
    if (op == Op::b) return 0;
    if (op == Op::h) return 1;
    if (op == Op::q) return 2;
    if (op == Op::kv) return 3;
    if (op == Op::score) return 4;
    return -1;
}

int32_t Syntax::push(const SyntaxNode& node) {
    nodes.push_back(node);
    return static_cast<int32_t>(nodes.size()) - 1;
}

int32_t Syntax::leaf(Op op) {
    SyntaxNode node;
    node.op = op;
    return push(node);
}

int32_t Syntax::literal(Type type, uint32_t bits) {
    SyntaxNode node;
    node.literal_type = type;
    node.payload = bits;
    return push(node);
}

int32_t Syntax::param(const SyntaxParam& param) {
    SyntaxNode node;
    node.op = Op::param;
    node.payload = param_index(param);
    return push(node);
}

int32_t Syntax::table(const SyntaxTable& table, const int32_t* args, uint8_t n_args) {
    SyntaxNode node;
    node.op = Op::table;
    node.payload = table_index(table);
    node.n_args = n_args;
    for (uint8_t i = 0; i < n_args; ++i) node.args[i] = args[i];
    return push(node);
}

uint32_t Syntax::param_index(const SyntaxParam& param) {
    const auto [first, last] = params_by_name_.equal_range(param.name);
    for (auto it = first; it != last; ++it) {
        if (params[it->second] == param) return it->second;
    }
    const auto index = static_cast<uint32_t>(params.size());
    params.push_back(param);
    params_by_name_.emplace(param.name, index);
    return index;
}

uint32_t Syntax::table_index(const SyntaxTable& table) {
    const auto [first, last] = tables_by_name_.equal_range(table.name);
    for (auto it = first; it != last; ++it) {
        if (tables[it->second] == table) return it->second;
    }
    const auto index = static_cast<uint32_t>(tables.size());
    tables.push_back(table);
    tables_by_name_.emplace(table.name, index);
    return index;
}

int32_t Syntax::append(const Syntax& other, size_t count) {
    fail(other.failure);
    const auto offset = static_cast<int32_t>(nodes.size());
    for (size_t i = 0; i < count; ++i) {
        SyntaxNode node = other.nodes[i];
        if (node.op == Op::param) node.payload = param_index(other.params[node.payload]);
        if (node.op == Op::table) node.payload = table_index(other.tables[node.payload]);
        for (uint8_t k = 0; k < node.n_args; ++k) node.args[k] += offset;
        push(node);
    }
    return offset;
}

int32_t Syntax::append(const Tree& tree, const int32_t (&leaves)[5]) {
    const auto param_of = [&](uint32_t index) {
        const ParamRef& ref = tree.params[index];
        return param({ref.name, static_cast<int>(ref.type), ref.has_default, ref.default_bits});
    };
    std::vector<int32_t> placed(tree.nodes.size());
    for (size_t i = 0; i < tree.nodes.size(); ++i) {
        const Node& node = tree.nodes[i];
        int32_t args[4] = {-1, -1, -1, -1};
        for (uint8_t k = 0; k < node.n_args; ++k) args[k] = placed[static_cast<size_t>(node.args[k])];
        if (node.op == Op::param) {
            placed[i] = param_of(node.payload);
        } else if (node.op == Op::slot) {
            const SlotRef& slot = tree.slots[node.payload];
            placed[i] = slot.param >= 0 ? param_of(static_cast<uint32_t>(slot.param)) : literal(slot.type, slot.bits);
        } else if (node.op == Op::table) {
            const TableRef& ref = tree.tables[node.payload];
            placed[i] = table({ref.name, static_cast<int>(ref.type), ref.captured}, args, node.n_args);
        } else if (leaf_index(node.op) >= 0 && leaves[leaf_index(node.op)] >= 0) {
            placed[i] = leaves[leaf_index(node.op)];
        } else {
            SyntaxNode copy;
            copy.op = node.op;
            copy.literal_type = node.type;
            copy.n_args = node.n_args;
            copy.payload = node.payload;
            for (uint8_t k = 0; k < node.n_args; ++k) copy.args[k] = args[k];
            placed[i] = push(copy);
        }
    }
    return placed.back();
}

void Syntax::fail(const Status& status) {
    if (failure.ok() && !status.ok()) failure = status;
}

int32_t bring_into(Syntax& home, const Expr& expr) {
    if (!expr.syntax()) {
        home.fail(error(Code::invalid_argument, "an Expr was used after it was moved from"));
        return home.literal(Type::i32, 0);
    }
    if (expr.syntax().get() == &home) return expr.node();
    return home.append(*expr.syntax(), static_cast<size_t>(expr.node()) + 1) + expr.node();
}

std::shared_ptr<Syntax> longest_tape(const Expr* const* args, uint8_t n_args) {
    std::shared_ptr<Syntax> longest;
    for (uint8_t i = 0; i < n_args; ++i) {
        const auto& syntax = args[i]->syntax();
        if (syntax && (!longest || syntax->nodes.size() > longest->nodes.size())) longest = syntax;
    }
    return longest ? longest : std::make_shared<Syntax>();
}

Expr make_expr(SyntaxNode node, const Expr* const* args, uint8_t n_args) {
    std::shared_ptr<Syntax> home = longest_tape(args, n_args);
    node.n_args = n_args;
    for (uint8_t i = 0; i < n_args; ++i) node.args[i] = bring_into(*home, *args[i]);
    const int32_t position = home->push(node);
    return Expr(std::move(home), position);
}

Expr int_argument(const Expr& expr, uint32_t which) {
    SyntaxNode node;
    node.payload = which;
    node.form = Form::int_argument;
    const Expr* args[] = {&expr};
    return make_expr(node, args, 1);
}

}  // namespace detail

namespace {

using detail::Syntax;
using detail::SyntaxNode;

template <class... Args>
Expr apply(Op op, const Args&... args) {
    SyntaxNode node;
    node.op = op;
    const Expr* list[] = {&args...};
    return detail::make_expr(node, list, sizeof...(args));
}

// a > b is b < a; the form keeps how it was written, for messages.
Expr greater(Op op, const Expr& a, const Expr& b) {
    SyntaxNode node;
    node.op = op;
    node.form = detail::Form::swapped;
    const Expr* list[] = {&b, &a};
    return detail::make_expr(node, list, 2);
}

Expr leaf(Op op) {
    auto syntax = std::make_shared<Syntax>();
    const int32_t node = syntax->leaf(op);
    return Expr(std::move(syntax), node);
}

Expr named_param(std::string_view name, int type, bool has_default, uint32_t default_bits) {
    auto syntax = std::make_shared<Syntax>();
    const int32_t node = syntax->param({std::string(name), type, has_default, default_bits});
    return Expr(std::move(syntax), node);
}

Expr lookup(const TableExpr& table, const Expr* const* args, uint8_t n_args) {
    std::shared_ptr<Syntax> home = detail::longest_tape(args, n_args);
    int32_t nodes[4];
    for (uint8_t i = 0; i < n_args; ++i) nodes[i] = detail::bring_into(*home, *args[i]);
    const int type = table.captured ? static_cast<int>(table.captured->type) : table.type;
    const int32_t position = home->table({table.name, type, table.captured}, nodes, n_args);
    return Expr(std::move(home), position);
}

}  // namespace

Expr::Expr(int value) : syntax_(std::make_shared<Syntax>()) {
    node_ = syntax_->literal(Type::i32, static_cast<uint32_t>(value));
}
Expr::Expr(float value) : syntax_(std::make_shared<Syntax>()) {
    node_ = syntax_->literal(Type::f32, std::bit_cast<uint32_t>(value));
}
Expr::Expr(double value) : Expr(static_cast<float>(value)) {}
Expr::Expr(bool value) : syntax_(std::make_shared<Syntax>()) {
    node_ = syntax_->literal(Type::boolean, value ? 1u : 0u);
}

Expr param(std::string_view name) { return named_param(name, detail::type_by_context, false, 0); }
Expr param(std::string_view name, int default_value) {
    return named_param(name, static_cast<int>(Type::i32), true, static_cast<uint32_t>(default_value));
}
Expr param(std::string_view name, float default_value) {
    return named_param(name, static_cast<int>(Type::f32), true, std::bit_cast<uint32_t>(default_value));
}

TableExpr table(std::string_view name) { return {std::string(name), detail::type_by_context, nullptr}; }
TableExpr table(std::string_view name, Type type) { return {std::string(name), static_cast<int>(type), nullptr}; }
TableExpr table(std::string_view name, TableData captured) {
    const int type = static_cast<int>(captured.type);
    return {std::string(name), type, std::make_shared<const TableData>(std::move(captured))};
}

Expr TableExpr::operator()(Expr i) const {
    const Expr* args[] = {&i};
    return lookup(*this, args, 1);
}
Expr TableExpr::operator()(Expr i, Expr j) const {
    const Expr* args[] = {&i, &j};
    return lookup(*this, args, 2);
}
Expr TableExpr::operator()(Expr i, Expr j, Expr k) const {
    const Expr* args[] = {&i, &j, &k};
    return lookup(*this, args, 3);
}
Expr TableExpr::operator()(Expr i, Expr j, Expr k, Expr l) const {
    const Expr* args[] = {&i, &j, &k, &l};
    return lookup(*this, args, 4);
}

Expr q_len() { return leaf(Op::q_len); }
Expr kv_len() { return leaf(Op::kv_len); }
Expr q_heads() { return leaf(Op::q_heads); }
Expr kv_heads() { return leaf(Op::kv_heads); }

Expr operator+(Expr a, Expr b) { return apply(Op::add, a, b); }
Expr operator-(Expr a, Expr b) { return apply(Op::sub, a, b); }
Expr operator*(Expr a, Expr b) { return apply(Op::mul, a, b); }
Expr operator/(Expr a, Expr b) { return apply(Op::div, a, b); }
Expr operator%(Expr a, Expr b) { return apply(Op::mod, a, b); }
Expr operator-(Expr a) { return apply(Op::neg, a); }
Expr operator&(Expr a, Expr b) { return apply(Op::bit_and, a, b); }
Expr operator|(Expr a, Expr b) { return apply(Op::bit_or, a, b); }
Expr operator^(Expr a, Expr b) { return apply(Op::bit_xor, a, b); }
Expr operator~(Expr a) { return apply(Op::bit_not, a); }
Expr operator<<(Expr a, Expr b) { return apply(Op::shl, a, b); }
Expr operator>>(Expr a, Expr b) { return apply(Op::shr, a, b); }
Expr operator&&(Expr a, Expr b) { return apply(Op::logical_and, a, b); }
Expr operator||(Expr a, Expr b) { return apply(Op::logical_or, a, b); }
Expr operator!(Expr a) { return apply(Op::logical_not, a); }
Expr operator<(Expr a, Expr b) { return apply(Op::lt, a, b); }
Expr operator<=(Expr a, Expr b) { return apply(Op::le, a, b); }
Expr operator>(Expr a, Expr b) { return greater(Op::lt, a, b); }
Expr operator>=(Expr a, Expr b) { return greater(Op::le, a, b); }
Expr operator==(Expr a, Expr b) { return apply(Op::eq, a, b); }
Expr operator!=(Expr a, Expr b) { return apply(Op::ne, a, b); }

Expr select(Expr condition, Expr then, Expr otherwise) { return apply(Op::select, condition, then, otherwise); }
Expr abs(Expr x) { return apply(Op::abs, x); }
Expr min(Expr a, Expr b) { return apply(Op::min, a, b); }
Expr max(Expr a, Expr b) { return apply(Op::max, a, b); }
Expr clamp(Expr x, Expr low, Expr high) { return apply(Op::min, apply(Op::max, x, low), high); }
Expr exp(Expr x) { return apply(Op::exp, x); }
Expr exp2(Expr x) { return apply(Op::exp2, x); }
Expr log(Expr x) { return apply(Op::log, x); }
Expr log2(Expr x) { return apply(Op::log2, x); }
Expr pow(Expr x, Expr y) { return apply(Op::pow, x, y); }
Expr sqrt(Expr x) { return apply(Op::sqrt, x); }
Expr rsqrt(Expr x) { return apply(Op::rsqrt, x); }
Expr sin(Expr x) { return apply(Op::sin, x); }
Expr cos(Expr x) { return apply(Op::cos, x); }
Expr tanh(Expr x) { return apply(Op::tanh, x); }
Expr sigmoid(Expr x) { return apply(Op::sigmoid, x); }
Expr floor(Expr x) { return apply(Op::floor, x); }
Expr sign(Expr x) { return apply(Op::sign, x); }
Expr to_float(Expr x) { return apply(Op::to_f32, x); }
Expr to_int(Expr x) { return apply(Op::to_i32, x); }

}  // namespace vkattn
