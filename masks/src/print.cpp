// From a tree back to text, with as few parentheses as C's precedence needs. Nothing recurses: an explicit stack of
// what is still to be written.
#include <bit>
#include <charconv>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "precedence.h"
#include "syntax.h"
#include "vkattn/mask.h"

namespace vkattn {

namespace {

std::string literal_text(Type type, uint32_t bits) {
    if (type == Type::boolean) return bits != 0 ? "true" : "false";
    if (type == Type::i32) return std::to_string(static_cast<int32_t>(bits));
    const float value = std::bit_cast<float>(bits);
    if (std::isnan(value)) return "nan";
    if (std::isinf(value)) return value < 0.0f ? "-inf" : "inf";
    char buffer[32];
    const auto written = std::to_chars(buffer, buffer + sizeof buffer, value);
    std::string text(buffer, written.ptr);
    if (text.find_first_of(".e") == std::string::npos) text += ".0";  // a float never looks like an int
    return text;
}

class Printer {
  public:
    Printer(const Tree& tree, size_t max_bytes) : tree_(tree), max_bytes_(max_bytes) {}

    Result<std::string> print(int32_t root) {
        pending_.push_back({{}, root, detail::lowest_precedence});
        while (!pending_.empty()) {
            const Piece piece = pending_.back();
            pending_.pop_back();
            if (piece.node < 0) {
                text_ += piece.text;
            } else {
                write(piece.node, piece.min_precedence);
            }
            if (text_.size() > max_bytes_) {
                return error(Code::limit_exceeded, "the text of this expression is longer than " +
                                                       std::to_string(max_bytes_) +
                                                       " bytes (shared sub-expressions are written out each time)");
            }
        }
        return std::move(text_);
    }

  private:
    // Fixed text (node < 0), or a node that needs parentheses when it binds looser than min_precedence.
    struct Piece {
        std::string_view text;
        int32_t node;
        int min_precedence;
    };

    void write(int32_t index, int min_precedence);
    void write_call(std::string_view name, const Node& node, char open, char close);
    int precedence(const Node& node) const;
    std::string leaf_text(const Node& node) const;
    bool starts_with_minus(const Node& node) const { return node.op == Op::neg || leaf_text(node)[0] == '-'; }

    const Node& at(int32_t index) const { return tree_.nodes[static_cast<size_t>(index)]; }
    void later(std::string_view text) { pending_.push_back({text, -1, 0}); }
    void later(int32_t node, int min_precedence) { pending_.push_back({{}, node, min_precedence}); }

    const Tree& tree_;
    size_t max_bytes_;
    std::string text_;
    std::vector<Piece> pending_;  // the last is written next
};

// Of a literal, a scalar or an index; "." for everything else.
std::string Printer::leaf_text(const Node& node) const {
    if (node.op == Op::literal) return literal_text(node.type, node.payload);
    if (node.op == Op::param) return tree_.params[node.payload].name;
    if (node.op == Op::slot) {
        const SlotRef& slot = tree_.slots[node.payload];
        return slot.param >= 0 ? tree_.params[static_cast<size_t>(slot.param)].name
                               : literal_text(slot.type, slot.bits);
    }
    return node.n_args == 0 ? std::string(detail::op_text(node.op)) : ".";
}

int Printer::precedence(const Node& node) const {
    if (node.n_args == 0) return starts_with_minus(node) ? detail::unary_precedence : detail::primary_precedence;
    return detail::precedence_of(node.op);
}

void Printer::write_call(std::string_view name, const Node& node, char open, char close) {
    text_ += name;
    text_ += open;
    later(close == ')' ? ")" : "]");
    for (int i = node.n_args - 1; i >= 0; --i) {
        later(node.args[i], detail::lowest_precedence);
        if (i > 0) later(", ");
    }
}

void Printer::write(int32_t index, int min_precedence) {
    const Node& node = at(index);
    const int own = precedence(node);
    if (own < min_precedence) {
        text_ += '(';
        later(")");
    }
    if (node.n_args == 0) {
        text_ += leaf_text(node);
    } else if (node.op == Op::table) {
        write_call(tree_.tables[node.payload].name, node, '[', ']');
    } else if (node.op == Op::select) {
        later(node.args[2], own);
        later(" : ");
        later(node.args[1], own);
        later(" ? ");
        later(node.args[0], own + 1);
    } else if (own == detail::unary_precedence) {
        text_ += detail::op_text(node.op);
        const bool two_minuses = node.op == Op::neg && starts_with_minus(at(node.args[0]));
        later(node.args[0], two_minuses ? detail::primary_precedence : own);
    } else if (own == detail::primary_precedence) {
        write_call(detail::op_text(node.op), node, '(', ')');
    } else {
        later(node.args[1], own + 1);
        later(" ");
        later(detail::op_text(node.op));
        later(" ");
        later(node.args[0], own);
    }
}

template <class T>
Result<std::string> text_of(const T& value, size_t max_bytes) {
    if (!value.status().ok()) return value.status();
    return to_text(value.tree(), static_cast<int32_t>(value.tree().nodes.size()) - 1, max_bytes);
}

}  // namespace

namespace detail {

int precedence_of(Op op) {
    switch (op) {
    case Op::select: return 0;
    case Op::logical_or: return 1;
    case Op::logical_and: return 2;
    case Op::bit_or: return 3;
    case Op::bit_xor: return 4;
    case Op::bit_and: return 5;
    case Op::eq:
    case Op::ne: return 6;
    case Op::lt:
    case Op::le: return 7;
    case Op::shl:
    case Op::shr: return 8;
    case Op::add:
    case Op::sub: return 9;
    case Op::mul:
    case Op::div:
    case Op::mod: return 10;
    case Op::neg:
    case Op::bit_not:
    case Op::logical_not: return unary_precedence;
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
    case Op::table:
    case Op::abs:
    case Op::min:
    case Op::max:
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
    case Op::sign: return primary_precedence;
    }
    return primary_precedence;
}

}  // namespace detail

Result<std::string> to_text(const Tree& tree, int32_t node, size_t max_bytes) {
    if (node < 0 || static_cast<size_t>(node) >= tree.nodes.size()) {
        return error(Code::invalid_argument, "the tree has no node " + std::to_string(node));
    }
    return Printer(tree, max_bytes).print(node);
}

Result<std::string> to_text(const Mask& mask, size_t max_bytes) { return text_of(mask, max_bytes); }
Result<std::string> to_text(const ScoreMod& score_mod, size_t max_bytes) { return text_of(score_mod, max_bytes); }

Declarations declarations_of(const Tree& tree) {
    Declarations declarations;
    for (const TableRef& table : tree.tables) declarations.tables.push_back({table.name, table.type, table.n_dims});
    for (const ParamRef& param : tree.params) declarations.params.push_back({param.name, param.type});
    return declarations;
}

}  // namespace vkattn
