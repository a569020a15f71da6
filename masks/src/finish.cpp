// From syntax to tree: names are unified, every node gets its type, conversions are inserted, equal nodes are shared.
#include <algorithm>
#include <bit>
#include <map>
#include <utility>

#include "syntax.h"
#include "tree_builder.h"
#include "vkattn/bindings.h"

namespace vkattn::detail {

namespace {

const char* type_name(Type type) {
    switch (type) {
    case Type::boolean: return "bool";
    case Type::i32: return "i32";
    case Type::f32: return "f32";
    }
    return "";
}

// How a value of that type is called in messages.
const char* describe(Type type) {
    switch (type) {
    case Type::boolean: return "a condition (true or false)";
    case Type::i32: return "an int";
    case Type::f32: return "a float";
    }
    return "";
}

const char* ordinal(int arg) {
    static constexpr const char* names[] = {"first", "second", "third", "fourth"};
    return names[arg];
}

class Finisher {
  public:
    Finisher(const Syntax& syntax, int32_t root, Context context)
        : syntax_(syntax), root_(static_cast<size_t>(root)), context_(context) {}

    Result<Tree> run() {
        if (!syntax_.failure.ok()) return syntax_.failure;
        mark_needed();
        if (!unify_names()) return std::move(status_);
        placed_.assign(root_ + 1, -1);
        for (size_t i = 0; i <= root_; ++i) {
            if (!needed_[i]) continue;
            node_ = &syntax_.nodes[i];
            placed_[i] = type_node(*node_);
            if (!status_.ok()) return std::move(status_);
        }
        const int32_t result = type_result(placed_[root_]);
        if (!status_.ok()) return std::move(status_);
        tree_.nodes = builder_.take();
        return canonical_order(std::move(tree_), result);
    }

  private:
    enum class Needed : uint8_t { no, yes, as_int };

    void mark_needed();
    bool unify_names();
    bool unify_param(const SyntaxNode& node, bool as_int);
    bool unify_table(const SyntaxNode& node, bool as_int);
    bool check_name(const std::string& name, bool is_table);

    int32_t type_node(const SyntaxNode& node);
    int32_t type_arithmetic(const SyntaxNode& node);
    int32_t type_unary(const SyntaxNode& node);
    int32_t type_bits(const SyntaxNode& node);
    int32_t type_logical(const SyntaxNode& node);
    int32_t type_order(const SyntaxNode& node);
    int32_t type_equality(const SyntaxNode& node);
    int32_t type_select(const SyntaxNode& node);
    int32_t type_conversion(const SyntaxNode& node);
    int32_t type_function(const SyntaxNode& node);
    int32_t type_table(const SyntaxNode& node);
    int32_t type_result(int32_t node);

    int32_t arg(const SyntaxNode& node, int i) const { return placed_[static_cast<size_t>(node.args[i])]; }
    Type type_of(int32_t node) const { return builder_[node].type; }
    int32_t literal(Type type, uint32_t bits) { return builder_.add(make_literal(type, bits)); }
    int32_t add(Op op, Type type, std::initializer_list<int32_t> args) {
        return builder_.add(make_node(op, type, args));
    }

    // Conversions; `what` names the place for the message.
    int32_t as_condition(int32_t node);
    int32_t as_float(int32_t node);  // of an i32 or f32
    int32_t fail(const std::string& what);
    bool promote(const SyntaxNode& node, int32_t& a, int32_t& b, const char* hint);
    std::string place(const SyntaxNode& node, int arg_index) const;

    const Syntax& syntax_;
    size_t root_;
    Context context_;
    Status status_;
    const SyntaxNode* node_ = nullptr;  // the node being typed, for the column
    std::vector<bool> needed_;
    std::vector<bool> int_wanted_;
    std::vector<int32_t> placed_;        // syntax node -> node of builder_
    std::vector<int32_t> param_number_;  // index into syntax_.params -> index into tree_.params
    std::vector<int32_t> table_number_;
    std::map<std::string_view, int32_t> params_by_name_;
    std::map<std::string_view, int32_t> tables_by_name_;
    std::vector<int> param_type_;  // per tree_.params: a Type or type_by_context
    std::vector<int> table_type_;
    std::vector<bool> param_int_wanted_;
    std::vector<bool> table_int_wanted_;
    TreeBuilder builder_;
    Tree tree_;
};

int32_t Finisher::fail(const std::string& what) {
    if (status_.ok()) {
        const bool text = node_ && node_->column > 0;
        status_ = text ? error(Code::invalid_text, "column " + std::to_string(node_->column) + ": " + what)
                       : error(Code::invalid_argument, what);
    }
    return 0;
}

// Marks what the root reaches, and where no float will do: table indices, shifts, conditions, arguments of named
// masks, and what feeds them through arithmetic. Undeclared names found there are ints also in a score mod.
void Finisher::mark_needed() {
    needed_.assign(root_ + 1, false);
    int_wanted_.assign(root_ + 1, false);
    needed_[root_] = true;
    for (size_t i = root_ + 1; i-- > 0;) {
        if (!needed_[i]) continue;
        const SyntaxNode& node = syntax_.nodes[i];
        for (uint8_t k = 0; k < node.n_args; ++k) {
            const auto child = static_cast<size_t>(node.args[k]);
            needed_[child] = true;
            bool wanted = node.form == Form::int_argument || node.op == Op::table || node.op == Op::shl ||
                          node.op == Op::shr || node.op == Op::bit_not || node.op == Op::logical_and ||
                          node.op == Op::logical_or || node.op == Op::logical_not || (node.op == Op::select && k == 0);
            const bool passes = (node.op >= Op::add && node.op <= Op::max) || (node.op == Op::select && k > 0) ||
                                node.op == Op::bit_and || node.op == Op::bit_or || node.op == Op::bit_xor;
            if (passes && int_wanted_[i]) wanted = true;
            if (wanted) int_wanted_[child] = true;
        }
    }
}

bool Finisher::check_name(const std::string& name, bool is_table) {
    const std::string what = is_table ? "table" : "scalar";
    if (!is_identifier(name)) {
        fail("'" + name + "' cannot be the name of a " + what +
             ": names are letters, digits and _, not starting with a digit");
    } else if (is_reserved(name)) {
        fail("'" + name + "' is a built-in name and cannot be a " + what);
    } else if (is_table ? params_by_name_.count(name) > 0 : tables_by_name_.count(name) > 0) {
        fail("'" + name + "' is used both as a table and as a scalar; give one of them another name");
    }
    return status_.ok();
}

bool Finisher::unify_param(const SyntaxNode& node, bool as_int) {
    const SyntaxParam& param = syntax_.params[node.payload];
    int32_t& number = param_number_[node.payload];
    if (number >= 0) {
        if (as_int) param_int_wanted_[static_cast<size_t>(number)] = true;
        return true;
    }
    const auto [it, is_new] = params_by_name_.try_emplace(param.name, static_cast<int32_t>(tree_.params.size()));
    number = it->second;
    const auto at = static_cast<size_t>(number);
    if (is_new) {
        tree_.params.push_back({param.name, Type::i32, param.has_default, param.default_bits});
        param_type_.push_back(param.type);
        param_int_wanted_.push_back(as_int);
        return check_name(param.name, false);
    }
    if (as_int) param_int_wanted_[at] = true;
    if (param_type_[at] == type_by_context) param_type_[at] = param.type;
    if (param.type != type_by_context && param.type != param_type_[at]) {
        fail("scalar '" + param.name + "' is declared as i32 and as f32; one name has one type");
        return false;
    }
    ParamRef& ref = tree_.params[at];
    if (param.has_default) {
        if (ref.has_default && ref.default_bits != param.default_bits) {
            fail("scalar '" + param.name + "' has two different default values; give one of them another name");
            return false;
        }
        ref.has_default = true;
        ref.default_bits = param.default_bits;
    }
    return true;
}

bool equal_data(const TableData& a, const TableData& b) {
    return a.type == b.type && a.dims == b.dims && a.i32 == b.i32 && a.boolean == b.boolean &&
           std::equal(a.f32.begin(), a.f32.end(), b.f32.begin(), b.f32.end(),
                      [](float x, float y) { return std::bit_cast<uint32_t>(x) == std::bit_cast<uint32_t>(y); });
}

bool Finisher::unify_table(const SyntaxNode& node, bool as_int) {
    const SyntaxTable& table = syntax_.tables[node.payload];
    int32_t& number = table_number_[node.payload];
    bool is_new = false;
    const bool entry_is_new = number < 0;
    if (entry_is_new) {
        const auto found = tables_by_name_.try_emplace(table.name, static_cast<int32_t>(tree_.tables.size()));
        number = found.first->second;
        is_new = found.second;
    }
    const auto at = static_cast<size_t>(number);
    if (is_new) {
        tree_.tables.push_back({table.name, Type::i32, node.n_args, table.captured});
        table_type_.push_back(table.type);
        table_int_wanted_.push_back(as_int);
        if (!check_name(table.name, true)) return false;
        if (table.captured) {
            const Status status = check(*table.captured, table.name);
            if (!status.ok()) fail(status.message);
        }
    }
    if (as_int) table_int_wanted_[at] = true;
    TableRef& ref = tree_.tables[at];
    if (table_type_[at] == type_by_context) table_type_[at] = table.type;
    if (table.type != type_by_context && table.type != table_type_[at]) {
        fail("table '" + table.name + "' is declared as " + type_name(static_cast<Type>(table_type_[at])) + " and as " +
             type_name(static_cast<Type>(table.type)) + "; one name has one type");
    } else if (ref.n_dims != node.n_args) {
        fail("table '" + table.name + "' is indexed with " + std::to_string(ref.n_dims) + " and with " +
             std::to_string(node.n_args) + " indices; one name has one number of dimensions");
    } else if (entry_is_new && table.captured && ref.captured && table.captured != ref.captured &&
               !equal_data(*table.captured, *ref.captured)) {
        fail("table '" + table.name + "' is captured with two different contents; give one of them another name");
    } else if (table.captured && table.captured->dims.size() != node.n_args) {
        fail("table '" + table.name + "' has " + std::to_string(table.captured->dims.size()) +
             " dimensions and is indexed with " + std::to_string(node.n_args) + " indices");
    }
    if (table.captured && !ref.captured) ref.captured = table.captured;
    return status_.ok();
}

bool Finisher::unify_names() {
    param_number_.assign(syntax_.params.size(), -1);
    table_number_.assign(syntax_.tables.size(), -1);
    for (size_t i = 0; i <= root_; ++i) {
        if (!needed_[i]) continue;
        node_ = &syntax_.nodes[i];
        if (node_->op == Op::param && !unify_param(*node_, int_wanted_[i])) return false;
        if (node_->op == Op::table && !unify_table(*node_, int_wanted_[i])) return false;
    }
    const auto settle = [&](int type, bool int_wanted) {
        if (type != type_by_context) return static_cast<Type>(type);
        return context_ == Context::mask || int_wanted ? Type::i32 : Type::f32;
    };
    for (size_t i = 0; i < tree_.params.size(); ++i) {
        tree_.params[i].type = settle(param_type_[i], param_int_wanted_[i]);
        if (tree_.params[i].type == Type::boolean) fail("scalar '" + tree_.params[i].name + "' must be i32 or f32");
    }
    for (size_t i = 0; i < tree_.tables.size(); ++i) {
        tree_.tables[i].type = settle(table_type_[i], table_int_wanted_[i]);
    }
    return status_.ok();
}

int32_t Finisher::as_condition(int32_t node) {
    const Node& value = builder_[node];
    if (value.type == Type::boolean) return node;
    if (value.type == Type::f32) {
        return fail("a float is used as a condition; compare it with something, for example x != 0.0");
    }
    if (value.op == Op::literal) return literal(Type::boolean, value.payload != 0 ? 1 : 0);
    return add(Op::ne, Type::boolean, {node, literal(Type::i32, 0)});
}

int32_t Finisher::as_float(int32_t node) {
    const Node& value = builder_[node];
    if (value.type == Type::f32) return node;
    if (value.op == Op::literal) {
        const auto converted = static_cast<float>(static_cast<int32_t>(value.payload));
        return literal(Type::f32, std::bit_cast<uint32_t>(converted));
    }
    return add(Op::to_f32, Type::f32, {node});
}

std::string Finisher::place(const SyntaxNode& node, int arg_index) const {
    std::string text(op_text(node.op));
    if (is_identifier(text)) return "the " + std::string(ordinal(arg_index)) + " argument of " + text + "()";
    const bool swapped = node.form == Form::swapped;
    if (swapped) text[0] = '>';
    const std::string operand = node.n_args == 1 ? "operand" : (arg_index == 0) != swapped ? "left side" : "right side";
    return "the " + operand + " of '" + text + "'";
}

// Two numbers brought to one type.
bool Finisher::promote(const SyntaxNode& node, int32_t& a, int32_t& b, const char* hint) {
    for (int i = 0; i < 2; ++i) {
        if (type_of(i == 0 ? a : b) != Type::boolean) continue;
        fail(place(node, i) + " is a condition (true or false), a number is needed; " + hint);
        return false;
    }
    if (type_of(a) != type_of(b)) {
        a = as_float(a);
        b = as_float(b);
    }
    return true;
}

constexpr const char* count_hint = "int(x) counts it as 1 or 0";

int32_t Finisher::type_arithmetic(const SyntaxNode& node) {
    int32_t a = arg(node, 0), b = arg(node, 1);
    if (!promote(node, a, b, count_hint)) return 0;
    return add(node.op, type_of(a), {a, b});
}

int32_t Finisher::type_unary(const SyntaxNode& node) {
    const int32_t a = arg(node, 0);
    const Type type = type_of(a);
    if (type == Type::boolean) {
        return fail(place(node, 0) + " is a condition (true or false), a number is needed; " + count_hint);
    }
    if (node.op == Op::neg && builder_[a].op == Op::literal) {
        const uint32_t bits = builder_[a].payload;
        return literal(type, type == Type::f32 ? bits ^ 0x80000000u : 0u - bits);
    }
    return add(node.op, type, {a});
}

int32_t Finisher::type_bits(const SyntaxNode& node) {
    const bool on_bool = node.op == Op::bit_and || node.op == Op::bit_or || node.op == Op::bit_xor;
    const int32_t a = arg(node, 0);
    if (node.op == Op::bit_not) {
        if (type_of(a) == Type::i32) return add(node.op, Type::i32, {a});
        const bool condition = type_of(a) == Type::boolean;
        return fail(place(node, 0) + " is " + describe(type_of(a)) + ", an int is needed" +
                    (condition ? "; the opposite of a condition is !x" : "; write int(x)"));
    }
    const int32_t b = arg(node, 1);
    if (type_of(a) == type_of(b) && (type_of(a) == Type::i32 || (on_bool && type_of(a) == Type::boolean))) {
        return add(node.op, type_of(a), {a, b});
    }
    if (on_bool && type_of(a) != Type::f32 && type_of(b) != Type::f32) {
        return fail("'" + std::string(op_text(node.op)) +
                    "' has a condition on one side and an int on the other; write x != 0 for the int, or int(x) for "
                    "the condition");
    }
    const int wrong = type_of(a) == Type::i32 || (on_bool && type_of(a) == Type::boolean) ? 1 : 0;
    return fail(place(node, wrong) + " is " + describe(type_of(wrong == 0 ? a : b)) +
                ", an int is needed; write int(x)");
}

int32_t Finisher::type_logical(const SyntaxNode& node) {
    const int32_t a = as_condition(arg(node, 0));
    if (node.n_args == 1) return add(node.op, Type::boolean, {a});
    const int32_t b = as_condition(arg(node, 1));
    return add(node.op, Type::boolean, {a, b});
}

int32_t Finisher::type_order(const SyntaxNode& node) {
    int32_t a = arg(node, 0), b = arg(node, 1);
    if (!promote(node, a, b, "a chain is written a < b && b < c")) return 0;
    return add(node.op, Type::boolean, {a, b});
}

int32_t Finisher::type_equality(const SyntaxNode& node) {
    int32_t a = arg(node, 0), b = arg(node, 1);
    if (type_of(a) == Type::boolean && type_of(b) == Type::boolean) return add(node.op, Type::boolean, {a, b});
    if (!promote(node, a, b, "write x != 0 for the number, or int(x) for the condition")) return 0;
    return add(node.op, Type::boolean, {a, b});
}

int32_t Finisher::type_select(const SyntaxNode& node) {
    const int32_t condition = as_condition(arg(node, 0));
    int32_t a = arg(node, 1), b = arg(node, 2);
    if ((type_of(a) == Type::boolean) != (type_of(b) == Type::boolean)) {
        return fail("the two values of '?:' are " + std::string(describe(type_of(a))) + " and " + describe(type_of(b)) +
                    "; make both conditions or both numbers");
    }
    if (type_of(a) != type_of(b)) {
        a = as_float(a);
        b = as_float(b);
    }
    return add(Op::select, type_of(a), {condition, a, b});
}

int32_t Finisher::type_conversion(const SyntaxNode& node) {
    const int32_t a = arg(node, 0);
    const Type wanted = node.op == Op::to_f32 ? Type::f32 : Type::i32;
    if (type_of(a) == Type::boolean) {
        const uint32_t one = wanted == Type::f32 ? std::bit_cast<uint32_t>(1.0f) : 1u;
        return add(Op::select, wanted, {a, literal(wanted, one), literal(wanted, 0)});
    }
    if (type_of(a) == wanted) return a;
    return wanted == Type::f32 ? as_float(a) : add(Op::to_i32, Type::i32, {a});
}

int32_t Finisher::type_function(const SyntaxNode& node) {
    int32_t args[2] = {-1, -1};
    for (int i = 0; i < node.n_args; ++i) {
        if (type_of(arg(node, i)) == Type::boolean) {
            return fail(place(node, i) +
                        " is a condition (true or false), a float is needed; float(x) makes it 1.0 or 0.0");
        }
        args[i] = as_float(arg(node, i));
    }
    if (node.n_args == 2) return add(node.op, Type::f32, {args[0], args[1]});
    return add(node.op, Type::f32, {args[0]});
}

int32_t Finisher::type_table(const SyntaxNode& node) {
    const auto number = static_cast<uint32_t>(table_number_[node.payload]);
    const TableRef& table = tree_.tables[number];
    Node lookup = make_node(Op::table, table.type, {}, number);
    lookup.n_args = node.n_args;
    for (int i = 0; i < node.n_args; ++i) {
        lookup.args[i] = arg(node, i);
        if (type_of(lookup.args[i]) == Type::i32) continue;
        return fail("the " + std::string(ordinal(i)) + " index of table '" + table.name + "' is " +
                    describe(type_of(lookup.args[i])) + ", an int is needed; write int(x)");
    }
    return builder_.add(lookup);
}

int32_t Finisher::type_node(const SyntaxNode& node) {
    if (node.form == Form::int_argument) {
        const int32_t a = arg(node, 0);
        if (type_of(a) == Type::i32) return a;
        const SyntaxNode& argument = syntax_.nodes[static_cast<size_t>(node.args[0])];
        if (argument.column > 0) node_ = &argument;
        return fail(argument_text(node.payload) + " is " + describe(type_of(a)) + ", an int is needed; write int(x)");
    }
    switch (node.op) {
    case Op::b:
    case Op::h:
    case Op::q:
    case Op::kv:
    case Op::q_len:
    case Op::kv_len:
    case Op::q_heads:
    case Op::kv_heads: return add(node.op, Type::i32, {});
    case Op::score:
        if (context_ == Context::mask) return fail("'score' is only known in a score mod, not in a mask");
        return add(node.op, Type::f32, {});
    case Op::literal: return literal(node.literal_type, node.payload);
    case Op::param: {
        const auto number = static_cast<uint32_t>(param_number_[node.payload]);
        return builder_.add(make_node(Op::param, tree_.params[number].type, {}, number));
    }
    case Op::slot: return fail("a slot cannot stand in an expression");
    case Op::table: return type_table(node);
    case Op::add:
    case Op::sub:
    case Op::mul:
    case Op::div:
    case Op::mod:
    case Op::min:
    case Op::max: return type_arithmetic(node);
    case Op::neg:
    case Op::abs: return type_unary(node);
    case Op::bit_and:
    case Op::bit_or:
    case Op::bit_xor:
    case Op::bit_not:
    case Op::shl:
    case Op::shr: return type_bits(node);
    case Op::logical_and:
    case Op::logical_or:
    case Op::logical_not: return type_logical(node);
    case Op::lt:
    case Op::le: return type_order(node);
    case Op::eq:
    case Op::ne: return type_equality(node);
    case Op::select: return type_select(node);
    case Op::to_f32:
    case Op::to_i32: return type_conversion(node);
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
    case Op::sign: return type_function(node);
    }
    return 0;
}

int32_t Finisher::type_result(int32_t node) {
    if (context_ == Context::mask) {
        if (type_of(node) == Type::f32) {
            return fail("a mask says true or false for each pair, but this is a float; compare it with something");
        }
        return as_condition(node);
    }
    if (type_of(node) == Type::boolean) {
        return fail("a score mod gives the new score, but this is a condition; write condition ? score : -inf");
    }
    return as_float(node);
}

}  // namespace

Result<Tree> finish(const Syntax& syntax, int32_t root, Context context) {
    return Finisher(syntax, root, context).run();
}

}  // namespace vkattn::detail
