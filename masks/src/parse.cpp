// Text to syntax: a shunting-yard machine over explicit stacks, so that nesting costs heap and never the call stack.
//
// `operands_` holds finished values, `frames_` what still waits for one: binary and unary operators, the two halves of ?:, and
// what only a closing mark ends (parentheses, table brackets, calls). Every limit is checked before the next token is taken.
#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "lexer.h"
#include "named_calls.h"
#include "precedence.h"
#include "syntax.h"
#include "vkattn/mask.h"

namespace vkattn {

namespace {

using namespace detail;

struct BinaryOperator {
    std::string_view symbol;
    Op op;
    bool swapped = false;                   // > and >= are < and <= with the operands the other way round
};
constexpr BinaryOperator binary_operators[] = {
    {"||", Op::logical_or}, {"&&", Op::logical_and}, {"|", Op::bit_or}, {"^", Op::bit_xor}, {"&", Op::bit_and},
    {"==", Op::eq},         {"!=", Op::ne},          {"<", Op::lt},     {"<=", Op::le},     {">", Op::lt, true},
    {">=", Op::le, true},   {"<<", Op::shl},         {">>", Op::shr},   {"+", Op::add},     {"-", Op::sub},
    {"*", Op::mul},         {"/", Op::div},          {"%", Op::mod},
};

struct Function {
    std::string_view name;
    Op op;
    uint8_t n_args;
    std::string_view arguments;
};
// clamp is not an operator of the tree: min(max(x, low), high).
constexpr Function functions[] = {
    {"abs", Op::abs, 1, "x"},     {"min", Op::min, 2, "a, b"},     {"max", Op::max, 2, "a, b"},
    {"exp", Op::exp, 1, "x"},     {"exp2", Op::exp2, 1, "x"},      {"log", Op::log, 1, "x"},
    {"log2", Op::log2, 1, "x"},   {"pow", Op::pow, 2, "x, y"},     {"sqrt", Op::sqrt, 1, "x"},
    {"rsqrt", Op::rsqrt, 1, "x"}, {"sin", Op::sin, 1, "x"},        {"cos", Op::cos, 1, "x"},
    {"tanh", Op::tanh, 1, "x"},   {"sigmoid", Op::sigmoid, 1, "x"}, {"floor", Op::floor, 1, "x"},
    {"sign", Op::sign, 1, "x"},   {"float", Op::to_f32, 1, "x"},   {"int", Op::to_i32, 1, "x"},
    {"select", Op::select, 3, "condition, a, b"}, {"clamp", Op::min, 3, "x, low, high"},
};

const Function* find_function(std::string_view name) {
    for (const Function& function : functions) {
        if (function.name == name) return &function;
    }
    return nullptr;
}

struct Leaf {
    std::string_view name;
    Op op;
};
constexpr Leaf leaves[] = {{"b", Op::b},           {"h", Op::h},           {"q", Op::q},
                           {"kv", Op::kv},         {"score", Op::score},   {"q_len", Op::q_len},
                           {"kv_len", Op::kv_len}, {"q_heads", Op::q_heads}, {"kv_heads", Op::kv_heads}};

const Leaf* find_leaf(std::string_view name) {
    for (const Leaf& leaf : leaves) {
        if (leaf.name == name) return &leaf;
    }
    return nullptr;
}

// A value on the stack, or the bare name of a call's argument, which the call will take as a table or as a scalar.
struct Operand {
    int32_t node = -1;
    std::string_view bare_name;
    int32_t column = 0;
    int32_t first_node = 0;                 // of an argument: the tape from here to `node` is its own
};

enum class Waiting : uint8_t { binary, unary, question, colon, parenthesis, bracket, call };

struct Frame {
    Waiting kind = Waiting::parenthesis;
    Op op = Op::add;
    bool swapped = false;
    int precedence = 0;
    int32_t column = 0;
    std::string_view name;                  // of a table or a called function
    size_t first_operand = 0;               // operands_ from here are a bracket's or call's arguments
    int32_t first_node = 0;                 // where the present argument's nodes begin
};

class Parser {
  public:
    Parser(std::string_view text, const Declarations& declarations, const TextLimits& limits, Context context) :
        text_(text), lexer_(text), declarations_(declarations), limits_(limits), context_(context) {}

    Result<Tree> parse();

  private:
    bool fail(int32_t column, const std::string& what);
    void advance() {
        token_ = std::move(next_);
        next_ = lexer_.next();
    }

    bool take_operand();
    bool take_name();
    bool take_constant();
    bool take_operator();
    bool take_closing();
    bool open(Frame frame);

    void reduce_top();
    void reduce_to(int precedence);         // operators that bind at least as tightly
    bool reduce_group();                    // everything up to the enclosing mark; false: a ? lacks its :

    bool close_bracket(const Frame& frame);
    bool close_call(const Frame& frame);
    bool call_function(const Frame& frame, const Function& function);
    bool call_named(const Frame& frame, std::span<const NamedEntry> entries, bool score_mod);
    NamedArgument named_argument(const Operand& operand, ArgumentKind kind);
    Expr copy_at(int32_t first, int32_t last, const Expr (&indices)[4]);

    bool scalar(std::string_view name, int32_t column);
    bool declared_as_table(std::string_view name) const { return tables_.count(name) > 0; }
    bool declared_as_scalar(std::string_view name) const { return params_.count(name) > 0; }
    bool undeclared(std::string_view name, int32_t column);
    bool check_tables(int32_t first_node, int32_t column);
    bool count_name(std::set<std::string_view>& used, std::string_view name, size_t limit, const char* what, int32_t column);

    int32_t node(Op op, int32_t column, std::initializer_list<int32_t> args, Form form = Form::op);
    int32_t tape_size() const { return static_cast<int32_t>(syntax_->nodes.size()); }
    void push_value(int32_t value_node, int32_t column) { operands_.push_back({value_node, {}, column, 0}); }
    Expr expr(int32_t value_node) const { return Expr(syntax_, value_node); }

    std::string_view text_;
    Lexer lexer_;
    const Declarations& declarations_;
    const TextLimits& limits_;
    Context context_;
    Status status_;
    Token token_, next_;
    bool operand_expected_ = true;
    bool argument_begins_ = false;          // the token before was the ( or , of a call
    size_t depth_ = 0;                      // of frames that are not binary operators
    std::shared_ptr<Syntax> syntax_ = std::make_shared<Syntax>();
    std::vector<Operand> operands_;
    std::vector<Frame> frames_;
    std::map<std::string_view, const Declarations::Table*> tables_;
    std::map<std::string_view, const Declarations::Param*> params_;
    std::set<std::string_view> used_tables_, used_params_;
};

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
        return fail(frame.column, "the text is nested deeper than " + std::to_string(limits_.depth) + " levels, the limit");
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
    if (call_ends && operands_.size() == frames_.back().first_operand) {    // name()
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

bool Parser::take_constant() {
    const std::string_view name = token_.text;
    int32_t made = -1;
    if (name == "true" || name == "false") made = syntax_->literal(Type::boolean, name == "true" ? 1u : 0u);
    if (name == "inf") made = syntax_->literal(Type::f32, 0x7f800000u);
    if (name == "nan") made = syntax_->literal(Type::f32, 0x7fc00000u);
    if (const Leaf* leaf = find_leaf(name)) made = syntax_->leaf(leaf->op);
    if (made < 0) return false;
    syntax_->nodes.back().column = token_.column;
    push_value(made, token_.column);
    return true;
}

bool Parser::take_name() {
    const std::string_view name = token_.text;
    const int32_t column = token_.column;
    const bool whole_argument = argument_begins_ && (next_.is(",") || next_.is(")"));
    argument_begins_ = false;
    Frame frame;
    frame.column = column;
    frame.name = name;
    if (next_.is("[")) {
        if (is_reserved(name)) return fail(column, quoted(name) + " is a built-in name and cannot be a table");
        if (!declared_as_table(name)) {
            if (declared_as_scalar(name)) return fail(column, quoted(name) + " is a scalar and has no indices");
            if (declarations_.closed) return undeclared(name, column);
        }
        advance();
        frame.kind = Waiting::bracket;
        return open(frame);
    }
    if (next_.is("(")) {
        const bool known = find_function(name) || has_entry(named_masks(), name) || has_entry(named_score_mods(), name);
        if (!known) {
            std::vector<std::string_view> candidates;
            for (const Function& function : functions) candidates.push_back(function.name);
            for (const NamedEntry& entry : named_masks()) candidates.push_back(entry.name);
            for (const NamedEntry& entry : named_score_mods()) candidates.push_back(entry.name);
            const bool table = declared_as_table(name);
            return fail(column, quoted(name) + " is not a function" +
                                    (table ? "; a table is indexed with [ ]" : did_you_mean(name, candidates)));
        }
        advance();
        frame.kind = Waiting::call;
        return open(frame);
    }
    operand_expected_ = false;
    if (take_constant()) return true;
    if (is_reserved(name)) return fail(column, quoted(name) + " is a function here; call it: " + std::string(name) + "(...)");
    if (name == "and" || name == "or" || name == "not" || name == "if" || name == "else") {
        return fail(column, quoted(name) + " is not an operator; write && || ! and condition ? a : b");
    }
    if (whole_argument && !find_function(frames_.back().name)) {
        operands_.push_back({-1, name, column, tape_size()});
        return true;
    }
    return scalar(name, column);
}

bool Parser::undeclared(std::string_view name, int32_t column) {
    std::vector<std::string_view> candidates;
    std::string known;
    const auto list = [&](std::string_view declared, const char* what) {
        candidates.push_back(declared);
        if (candidates.size() == 17) known += ", ...";
        if (candidates.size() <= 16) known += (known.empty() ? "" : ", ") + std::string(declared) + what;
    };
    for (const auto& entry : tables_) list(entry.first, " (table)");
    for (const auto& entry : params_) list(entry.first, " (scalar)");
    for (const Leaf& leaf : leaves) candidates.push_back(leaf.name);
    return fail(column, "nothing is named " + quoted(name) + did_you_mean(name, candidates) +
                            (known.empty() ? "; no table or scalar is given" : "; given are: " + known));
}

bool Parser::count_name(std::set<std::string_view>& used, std::string_view name, size_t limit, const char* what, int32_t column) {
    used.insert(name);
    if (used.size() <= limit) return true;
    return fail(column, "the text names more than " + std::to_string(limit) + " " + what + ", the limit");
}

bool Parser::scalar(std::string_view name, int32_t column) {
    const auto declared = params_.find(name);
    int type = type_by_context;
    if (declared != params_.end()) {
        type = static_cast<int>(declared->second->type);
    } else if (declared_as_table(name)) {
        return fail(column, quoted(name) + " is a table; index it: " + std::string(name) + "[...]");
    } else if (declarations_.closed) {
        return undeclared(name, column);
    }
    if (!count_name(used_params_, name, limits_.params, "scalars", column)) return false;
    SyntaxParam param;
    param.name = name;
    param.type = type;
    const int32_t made = syntax_->param(param);
    syntax_->nodes.back().column = column;
    push_value(made, column);
    return true;
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
        reduce_to(frame.precedence);        // left associative
        return open(frame);
    }
    if (token.is("?")) {
        reduce_to(lowest_precedence);       // a waiting : stays: right associative
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
    return fail(token.column, "an operator is needed before " + quoted(token.text) + (word ? "; write && || ! and ?:" : ""));
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
        const std::string mark = frame.name.empty() ? opened : quoted(frame.name) + " of column " + std::to_string(frame.column);
        if (token.kind == TokenKind::end) return fail(token.column, "the text ends, but " + mark + " is not closed by '" + closing + "'");
        if (token.is(",")) return fail(token.column, "a ',' stands only between the arguments of a call or table");
        return fail(token.column, quoted(token.text) + " where " + mark + " is still open; close it with '" + closing + "'");
    }
    frames_.pop_back();
    --depth_;
    operands_.back().first_node = frame.first_node;
    if (bracket) return close_bracket(frame);
    return frame.kind == Waiting::call ? close_call(frame) : true;
}

// --- tables and calls ---

bool Parser::close_bracket(const Frame& frame) {
    const size_t n_args = operands_.size() - frame.first_operand;
    const auto declared = tables_.find(frame.name);
    const bool is_declared = declared != tables_.end();
    const size_t n_dims = is_declared ? declared->second->n_dims : 0;
    if (n_args > 4 || (n_dims != 0 && n_args != n_dims)) {
        return fail(frame.column, "table " + quoted(frame.name) + " is indexed with " + std::to_string(n_args) + ", but has " +
                                      (n_dims != 0 ? std::to_string(n_dims) : "1 to 4") +
                                      (n_dims == 1 ? " dimension" : " dimensions"));
    }
    if (!count_name(used_tables_, frame.name, limits_.tables, "tables", frame.column)) return false;
    int32_t args[4];
    for (size_t i = 0; i < n_args; ++i) args[i] = operands_[frame.first_operand + i].node;
    operands_.resize(frame.first_operand);
    SyntaxTable table;
    table.name = frame.name;
    if (is_declared) table.type = static_cast<int>(declared->second->type);
    const int32_t made = syntax_->table(table, args, static_cast<uint8_t>(n_args));
    syntax_->nodes.back().column = frame.column;
    push_value(made, frame.column);
    return true;
}

bool Parser::close_call(const Frame& frame) {
    if (const Function* function = find_function(frame.name)) return call_function(frame, *function);
    if (has_entry(named_masks(), frame.name)) return call_named(frame, named_masks(), false);
    if (context_ == Context::mask) {
        return fail(frame.column, quoted(frame.name) + " is a score mod; in a mask only conditions stand");
    }
    return call_named(frame, named_score_mods(), true);
}

bool Parser::call_function(const Frame& frame, const Function& function) {
    const size_t n_args = operands_.size() - frame.first_operand;
    if (n_args != function.n_args) {
        return fail(frame.column, quoted(frame.name) + " is called with " + std::to_string(n_args) +
                                      (n_args == 1 ? " argument" : " arguments") + "; write " + std::string(function.name) + "(" +
                                      std::string(function.arguments) + ")");
    }
    int32_t args[3] = {-1, -1, -1};
    for (size_t i = 0; i < n_args; ++i) args[i] = operands_[frame.first_operand + i].node;
    operands_.resize(frame.first_operand);
    int32_t made = -1;
    if (function.name == "clamp") {
        const int32_t at_least = node(Op::max, frame.column, {args[0], args[1]});
        made = node(Op::min, frame.column, {at_least, args[2]});
    } else if (n_args == 3) {
        made = node(function.op, frame.column, {args[0], args[1], args[2]});
    } else if (n_args == 2) {
        made = node(function.op, frame.column, {args[0], args[1]});
    } else {
        made = node(function.op, frame.column, {args[0]});
    }
    push_value(made, frame.column);
    return true;
}

// A mask given as an argument, at other indices: its nodes are copied with the indices replaced.
Expr Parser::copy_at(int32_t first, int32_t last, const Expr (&indices)[4]) {
    int32_t replaced[4];
    for (int i = 0; i < 4; ++i) replaced[i] = bring_into(*syntax_, indices[i]);
    std::vector<int32_t> placed(static_cast<size_t>(last - first + 1));
    for (int32_t i = first; i <= last; ++i) {
        SyntaxNode copy = syntax_->nodes[static_cast<size_t>(i)];
        const int leaf = copy.form == Form::op ? leaf_index(copy.op) : -1;
        for (uint8_t k = 0; k < copy.n_args; ++k) copy.args[k] = placed[static_cast<size_t>(copy.args[k] - first)];
        placed[static_cast<size_t>(i - first)] = leaf >= 0 && leaf < 4 ? replaced[leaf] : syntax_->push(copy);
    }
    return expr(placed.back());
}

NamedArgument Parser::named_argument(const Operand& operand, ArgumentKind kind) {
    NamedArgument argument;
    switch (kind) {
    case ArgumentKind::integer:
    case ArgumentKind::number: argument.expr.push_back(expr(operand.node)); break;
    case ArgumentKind::table_i32:
    case ArgumentKind::table_f32:
    case ArgumentKind::table_bool: {
        const auto declared = tables_.find(operand.bare_name);
        argument.table = table(operand.bare_name);
        if (declared != tables_.end()) argument.table.type = static_cast<int>(declared->second->type);
        break;
    }
    case ArgumentKind::mask:
        argument.mask = [this, operand](Expr b, Expr h, Expr q, Expr kv) {
            return copy_at(operand.first_node, operand.node, {b, h, q, kv});
        };
        break;
    }
    return argument;
}

bool Parser::call_named(const Frame& frame, std::span<const NamedEntry> entries, bool score_mod) {
    std::vector<Operand> operands(operands_.begin() + static_cast<std::ptrdiff_t>(frame.first_operand), operands_.end());
    operands_.resize(frame.first_operand);
    std::vector<CallArgument> kinds;
    for (const Operand& operand : operands) {
        const bool bare = !operand.bare_name.empty();
        const bool as_table = declared_as_table(operand.bare_name), as_scalar = declared_as_scalar(operand.bare_name);
        if (bare && declarations_.closed && !as_table && !as_scalar) return undeclared(operand.bare_name, operand.column);
        kinds.push_back({bare && (as_table || !as_scalar), !bare || as_scalar || !as_table});
    }
    const Result<ResolvedCall> call = resolve_call(entries, frame.name, kinds, score_mod);
    if (!call) return fail(frame.column, call.status().message);
    const NamedEntry& entry = *call->entry;

    std::vector<NamedArgument> arguments;
    Expr score = 0.0f;
    if (score_mod && !call->last_is_score) score = expr(node(Op::score, frame.column, {}));
    for (size_t i = 0; i < operands.size(); ++i) {
        Operand& operand = operands[i];
        const bool is_score = call->last_is_score && i + 1 == operands.size();
        const ArgumentKind kind = is_score ? ArgumentKind::number : entry.parameters[i].kind;
        const bool is_table = kind == ArgumentKind::table_i32 || kind == ArgumentKind::table_f32 || kind == ArgumentKind::table_bool;
        if (is_table) {
            if (!count_name(used_tables_, operand.bare_name, limits_.tables, "tables", operand.column)) return false;
        } else if (!operand.bare_name.empty()) {
            const std::string_view name = operand.bare_name;
            operand.first_node = tape_size();
            if (!scalar(name, operand.column)) return false;
            operand.node = operands_.back().node;
            operands_.pop_back();
        }
        if (is_score) {
            score = expr(operand.node);
        } else {
            arguments.push_back(named_argument(operand, kind));
        }
    }
    const int32_t first_node = tape_size();
    const auto index = [&](Op op) { return expr(node(op, frame.column, {})); };
    const NamedSite site{index(Op::b), index(Op::h), index(Op::q), index(Op::kv), score};
    const int32_t made = bring_into(*syntax_, build_named(entry, site, arguments.data()));
    for (size_t i = static_cast<size_t>(first_node); i < syntax_->nodes.size(); ++i) {
        if (syntax_->nodes[i].column == 0) syntax_->nodes[i].column = frame.column;
    }
    push_value(made, frame.column);
    return check_tables(first_node, frame.column);
}

// Of a named call: whether declared tables have the dimensions that it uses.
bool Parser::check_tables(int32_t first_node, int32_t column) {
    for (size_t i = static_cast<size_t>(first_node); i < syntax_->nodes.size(); ++i) {
        const SyntaxNode& lookup = syntax_->nodes[i];
        if (lookup.op != Op::table) continue;
        const auto declared = tables_.find(syntax_->tables[lookup.payload].name);
        if (declared == tables_.end() || declared->second->n_dims == 0 || declared->second->n_dims == lookup.n_args) continue;
        return fail(column, "table " + quoted(declared->first) + " must have " + std::to_string(lookup.n_args) +
                                (lookup.n_args == 1 ? " dimension" : " dimensions") + " here, but has " +
                                std::to_string(declared->second->n_dims));
    }
    return true;
}

}  // namespace

Result<Mask> parse_mask(std::string_view text, const Declarations& declarations, const TextLimits& limits) {
    Result<Tree> tree = Parser(text, declarations, limits, Context::mask).parse();
    if (!tree) return tree.status();
    return Mask(std::make_shared<const Tree>(std::move(*tree)));
}

Result<ScoreMod> parse_score_mod(std::string_view text, const Declarations& declarations, const TextLimits& limits) {
    Result<Tree> tree = Parser(text, declarations, limits, Context::score_mod).parse();
    if (!tree) return tree.status();
    return ScoreMod(std::make_shared<const Tree>(std::move(*tree)));
}

}  // namespace vkattn
