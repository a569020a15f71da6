// Text to syntax: the steps of the machine. `operands_` holds finished values, `frames_` what still waits for one:
// binary and unary operators, the two halves of ?:, and what only a closing mark ends (parentheses, table brackets,
// calls). Every limit is checked before the next token is taken.
#include <algorithm>
#include <utility>

#include "parser.h"
#include "precedence.h"

namespace vkattn {

namespace detail {

namespace {

struct BinaryOperator {
    std::string_view symbol;
    Op op;
    bool swapped = false;  // > and >= are < and <= with the operands the other way round
};
constexpr BinaryOperator binary_operators[] = {
    {"||", Op::logical_or}, {"&&", Op::logical_and}, {"|", Op::bit_or}, {"^", Op::bit_xor}, {"&", Op::bit_and},
    {"==", Op::eq},         {"!=", Op::ne},          {"<", Op::lt},     {"<=", Op::le},     {">", Op::lt, true},
    {">=", Op::le, true},   {"<<", Op::shl},         {">>", Op::shr},   {"+", Op::add},     {"-", Op::sub},
    {"*", Op::mul},         {"/", Op::div},          {"%", Op::mod},
};

}  // namespace

std::string quoted(std::string_view text) {
    constexpr size_t shown = 40;
    return "'" + std::string(text.substr(0, shown)) + (text.size() > shown ? "...'" : "'");
}

bool Parser::fail(int32_t column, const std::string& what) {
    if (status_.ok()) status_ = error(Code::invalid_text, "column " + std::to_string(column) + ": " + what);
    return false;
}

Result<Tree> Parser::parse() {
    if (text_.size() > limits_.text_bytes) {
        return error(Code::invalid_text, "column " + std::to_string(limits_.text_bytes + 1) + ": the text has " +
                                             std::to_string(text_.size()) + " bytes, the limit is " +
                                             std::to_string(limits_.text_bytes));
    }
    for (const auto& table : declarations_.tables) tables_.emplace(table.name, &table);
    for (const auto& param : declarations_.params) params_.emplace(param.name, &param);
    next_ = lexer_.next();
    advance();
    bool at_end = false;
    while (!at_end) {
        if (token_.kind == TokenKind::invalid) {
            fail(token_.column, token_.problem);
            return status_;
        }
        at_end = token_.kind == TokenKind::end && !operand_expected_;
        const bool taken = operand_expected_ ? take_operand() : take_operator();
        if (taken && syntax_->nodes.size() > limits_.nodes) {
            fail(token_.column, "the expression has more than " + std::to_string(limits_.nodes) + " nodes, the limit");
        }
        if (!status_.ok()) return status_;
        if (!at_end) advance();
    }
    return finish(*syntax_, operands_.back().node, context_);
}

int32_t Parser::node(Op op, int32_t column, std::initializer_list<int32_t> args, Form form) {
    SyntaxNode made;
    made.op = op;
    made.form = form;
    made.column = column;
    made.n_args = static_cast<uint8_t>(args.size());
    std::copy(args.begin(), args.end(), made.args);
    return syntax_->push(made);
}

bool Parser::open(Frame frame) {
    if (frame.kind != Waiting::binary && ++depth_ > limits_.depth) {
        return fail(frame.column,
                    "the text is nested deeper than " + std::to_string(limits_.depth) + " levels, the limit");
    }
    frame.first_operand = operands_.size();
    frame.first_node = tape_size();
    frames_.push_back(frame);
    operand_expected_ = true;
    argument_begins_ = frame.kind == Waiting::call;
    return true;
}

// --- where a value is expected ---

bool Parser::take_operand() {
    const Token& token = token_;
    if (token.kind == TokenKind::name) return take_name();
    const bool call_ends = argument_begins_ && token.is(")");
    argument_begins_ = false;
    if (token.kind == TokenKind::integer || token.kind == TokenKind::floating) {
        const bool negated = !frames_.empty() && frames_.back().kind == Waiting::unary && frames_.back().op == Op::neg;
        if (token.minus_needed && !negated) {
            return fail(token.column, "the int 2147483648 does not fit 32 bits (-2147483648 to 2147483647)");
        }
        const Type type = token.kind == TokenKind::integer ? Type::i32 : Type::f32;
        const int32_t made = syntax_->literal(type, token.bits);
        syntax_->nodes.back().column = token.column;
        push_value(made, token.column);
        operand_expected_ = false;
        return true;
    }
    Frame frame;
    frame.column = token.column;
    if (token.is("(")) return open(frame);
    frame.kind = Waiting::unary;
    frame.precedence = unary_precedence;
    if (token.is("-") || token.is("!") || token.is("~")) {
        frame.op = token.is("-") ? Op::neg : token.is("!") ? Op::logical_not : Op::bit_not;
        return open(frame);
    }
    if (call_ends && operands_.size() == frames_.back().first_operand) {  // name()
        const Frame call = frames_.back();
        frames_.pop_back();
        --depth_;
        operand_expected_ = false;
        return close_call(call);
    }
    if (token.kind == TokenKind::end) return fail(token.column, "the text ends where a value is needed");
    if (token.is("+")) return fail(token.column, "'+' needs a value on its left; a sign + is left out");
    if (token.is("[")) return fail(token.column, "'[' needs the name of a table before it");
    return fail(token.column, "a value is needed here, not " + quoted(token.text));
}

// --- where an operator is expected ---

void Parser::reduce_top() {
    const Frame frame = frames_.back();
    frames_.pop_back();
    const auto pop = [&] {
        const int32_t value_node = operands_.back().node;
        operands_.pop_back();
        return value_node;
    };
    int32_t made = -1;
    if (frame.kind == Waiting::binary) {
        const int32_t right = pop(), left = pop();
        made = frame.swapped ? node(frame.op, frame.column, {right, left}, Form::swapped)
                             : node(frame.op, frame.column, {left, right});
    } else {
        --depth_;
        if (frame.kind == Waiting::unary) {
            made = node(frame.op, frame.column, {pop()});
        } else {
            const int32_t otherwise = pop(), then = pop(), condition = pop();
            made = node(Op::select, frame.column, {condition, then, otherwise});
        }
    }
    push_value(made, frame.column);
}

void Parser::reduce_to(int precedence) {
    while (!frames_.empty() && (frames_.back().kind == Waiting::binary || frames_.back().kind == Waiting::unary) &&
           frames_.back().precedence >= precedence) {
        reduce_top();
    }
}

bool Parser::reduce_group() {
    while (!frames_.empty()) {
        const Waiting kind = frames_.back().kind;
        if (kind == Waiting::question) {
            return fail(frames_.back().column, "this '?' has no ':' after it; write condition ? a : b");
        }
        if (kind != Waiting::binary && kind != Waiting::unary && kind != Waiting::colon) return true;
        reduce_top();
    }
    return true;
}

bool Parser::take_operator() {
    const Token& token = token_;
    if (token.kind == TokenKind::end || token.is(")") || token.is("]") || token.is(",")) return take_closing();
    for (const BinaryOperator& binary : binary_operators) {
        if (!token.is(binary.symbol)) continue;
        Frame frame;
        frame.kind = Waiting::binary;
        frame.op = binary.op;
        frame.swapped = binary.swapped;
        frame.precedence = precedence_of(binary.op);
        frame.column = token.column;
        reduce_to(frame.precedence);  // left associative
        return open(frame);
    }
    if (token.is("?")) {
        reduce_to(lowest_precedence);  // a waiting : stays: right associative
        Frame frame;
        frame.kind = Waiting::question;
        frame.column = token.column;
        return open(frame);
    }
    if (token.is(":")) {
        while (!frames_.empty() && (frames_.back().kind == Waiting::binary || frames_.back().kind == Waiting::unary ||
                                    frames_.back().kind == Waiting::colon)) {
            reduce_top();
        }
        if (frames_.empty() || frames_.back().kind != Waiting::question) {
            return fail(token.column, "this ':' has no '?' before it; write condition ? a : b");
        }
        frames_.back().kind = Waiting::colon;
        operand_expected_ = true;
        return true;
    }
    if (token.is("=")) return fail(token.column, "'=' is not an operator; equality is ==");
    if (token.is("!")) return fail(token.column, "'!' stands before a value; inequality is !=");
    if (token.is("(")) return fail(token.column, "'(' after a value: only a function's name is called");
    if (token.is("[")) return fail(token.column, "'[' after a value: only a table's name is indexed");
    const bool word = token.text == "and" || token.text == "or" || token.text == "not" || token.text == "if";
    return fail(token.column,
                "an operator is needed before " + quoted(token.text) + (word ? "; write && || ! and ?:" : ""));
}

bool Parser::take_closing() {
    if (!reduce_group()) return false;
    const Token& token = token_;
    if (frames_.empty()) {
        if (token.kind == TokenKind::end) return true;
        if (token.is(",")) return fail(token.column, "a ',' stands only between the arguments of a call or table");
        return fail(token.column, quoted(token.text) + " has no " + (token.is(")") ? "'('" : "'['") + " before it");
    }
    const Frame frame = frames_.back();
    const bool bracket = frame.kind == Waiting::bracket;
    const char* closing = bracket ? "]" : ")";
    if (token.is(",") && frame.kind != Waiting::parenthesis) {
        operands_.back().first_node = frame.first_node;
        frames_.back().first_node = tape_size();
        operand_expected_ = true;
        argument_begins_ = frame.kind == Waiting::call;
        return true;
    }
    if (!token.is(closing)) {
        const std::string opened = std::string(bracket ? "'['" : "'('") + " of column " + std::to_string(frame.column);
        const std::string mark =
            frame.name.empty() ? opened : quoted(frame.name) + " of column " + std::to_string(frame.column);
        if (token.kind == TokenKind::end)
            return fail(token.column, "the text ends, but " + mark + " is not closed by '" + closing + "'");
        if (token.is(",")) return fail(token.column, "a ',' stands only between the arguments of a call or table");
        return fail(token.column,
                    quoted(token.text) + " where " + mark + " is still open; close it with '" + closing + "'");
    }
    frames_.pop_back();
    --depth_;
    operands_.back().first_node = frame.first_node;
    if (bracket) return close_bracket(frame);
    return frame.kind == Waiting::call ? close_call(frame) : true;
}

}  // namespace detail

Result<Mask> parse_mask(std::string_view text, const Declarations& declarations, const TextLimits& limits) {
    Result<Tree> tree = detail::Parser(text, declarations, limits, detail::Context::mask).parse();
    if (!tree) return tree.status();
    return Mask(std::make_shared<const Tree>(std::move(*tree)));
}

Result<ScoreMod> parse_score_mod(std::string_view text, const Declarations& declarations, const TextLimits& limits) {
    Result<Tree> tree = detail::Parser(text, declarations, limits, detail::Context::score_mod).parse();
    if (!tree) return tree.status();
    return ScoreMod(std::make_shared<const Tree>(std::move(*tree)));
}

}  // namespace vkattn
