// The machine that turns text into syntax: shunting-yard over explicit stacks, so that nesting costs heap and never
// the call stack. parse.cpp has its steps, parse_names.cpp what names, tables and calls mean.
#pragma once

#include <initializer_list>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lexer.h"
#include "named_calls.h"
#include "syntax.h"
#include "vkattn/mask.h"

namespace vkattn::detail {

struct Function {
    std::string_view name;
    Op op;
    uint8_t n_args;
    std::string_view arguments;
};

// A value on the stack, or the bare name of a call's argument, which the call will take as a table or as a scalar.
struct Operand {
    int32_t node = -1;
    std::string_view bare_name;
    int32_t column = 0;
    int32_t first_node = 0;  // of an argument: the tape from here to `node` is its own
};

enum class Waiting : uint8_t { binary, unary, question, colon, parenthesis, bracket, call };

struct Frame {
    Waiting kind = Waiting::parenthesis;
    Op op = Op::add;
    bool swapped = false;
    int precedence = 0;
    int32_t column = 0;
    std::string_view name;     // of a table or a called function
    size_t first_operand = 0;  // operands_ from here are a bracket's or call's arguments
    int32_t first_node = 0;    // where the present argument's nodes begin
};

class Parser {
  public:
    Parser(std::string_view text, const Declarations& declarations, const TextLimits& limits, Context context)
        : text_(text), lexer_(text), declarations_(declarations), limits_(limits), context_(context) {}

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
    void reduce_to(int precedence);  // operators that bind at least as tightly
    bool reduce_group();             // everything up to the enclosing mark; false: a ? lacks its :

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
    bool count_name(std::set<std::string_view>& used, std::string_view name, size_t limit, const char* what,
                    int32_t column);

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
    bool argument_begins_ = false;  // the token before was the ( or , of a call
    size_t depth_ = 0;              // of frames that are not binary operators
    std::shared_ptr<Syntax> syntax_ = std::make_shared<Syntax>();
    std::vector<Operand> operands_;
    std::vector<Frame> frames_;
    std::map<std::string_view, const Declarations::Table*> tables_;
    std::map<std::string_view, const Declarations::Param*> params_;
    std::set<std::string_view> used_tables_, used_params_;
};

// At most 40 characters of it, in quotes, for messages.
std::string quoted(std::string_view text);

}  // namespace vkattn::detail
