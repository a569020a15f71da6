// Text to syntax: names, tables and calls.
#include <algorithm>
#include <cstddef>

#include "parser.h"

namespace vkattn::detail {

namespace {

// clamp is not an operator of the tree: min(max(x, low), high).
constexpr Function functions[] = {
    {"abs", Op::abs, 1, "x"},
    {"min", Op::min, 2, "a, b"},
    {"max", Op::max, 2, "a, b"},
    {"exp", Op::exp, 1, "x"},
    {"exp2", Op::exp2, 1, "x"},
    {"log", Op::log, 1, "x"},
    {"log2", Op::log2, 1, "x"},
    {"pow", Op::pow, 2, "x, y"},
    {"sqrt", Op::sqrt, 1, "x"},
    {"rsqrt", Op::rsqrt, 1, "x"},
    {"sin", Op::sin, 1, "x"},
    {"cos", Op::cos, 1, "x"},
    {"tanh", Op::tanh, 1, "x"},
    {"sigmoid", Op::sigmoid, 1, "x"},
    {"floor", Op::floor, 1, "x"},
    {"sign", Op::sign, 1, "x"},
    {"float", Op::to_f32, 1, "x"},
    {"int", Op::to_i32, 1, "x"},
    {"select", Op::select, 3, "condition, a, b"},
    {"clamp", Op::min, 3, "x, low, high"},
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
constexpr Leaf leaves[] = {{"b", Op::b},
                           {"h", Op::h},
                           {"q", Op::q},
                           {"kv", Op::kv},
                           {"score", Op::score},
                           {"q_len", Op::q_len},
                           {"kv_len", Op::kv_len},
                           {"q_heads", Op::q_heads},
                           {"kv_heads", Op::kv_heads}};

const Leaf* find_leaf(std::string_view name) {
    for (const Leaf& leaf : leaves) {
        if (leaf.name == name) return &leaf;
    }
    return nullptr;
}

}  // namespace

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
    if (is_reserved(name))
        return fail(column, quoted(name) + " is a function here; call it: " + std::string(name) + "(...)");
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

bool Parser::count_name(std::set<std::string_view>& used, std::string_view name, size_t limit, const char* what,
                        int32_t column) {
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

bool Parser::close_bracket(const Frame& frame) {
    const size_t n_args = operands_.size() - frame.first_operand;
    const auto declared = tables_.find(frame.name);
    const bool is_declared = declared != tables_.end();
    const size_t n_dims = is_declared ? declared->second->n_dims : 0;
    if (n_args > 4 || (n_dims != 0 && n_args != n_dims)) {
        return fail(frame.column, "table " + quoted(frame.name) + " is indexed with " + std::to_string(n_args) +
                                      ", but has " + (n_dims != 0 ? std::to_string(n_dims) : "1 to 4") +
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
                                      (n_args == 1 ? " argument" : " arguments") + "; write " +
                                      std::string(function.name) + "(" + std::string(function.arguments) + ")");
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
        const int leaf = leaf_index(copy.op);
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
    std::vector<Operand> operands(operands_.begin() + static_cast<std::ptrdiff_t>(frame.first_operand),
                                  operands_.end());
    operands_.resize(frame.first_operand);
    std::vector<CallArgument> kinds;
    for (const Operand& operand : operands) {
        const bool bare = !operand.bare_name.empty();
        const bool as_table = declared_as_table(operand.bare_name), as_scalar = declared_as_scalar(operand.bare_name);
        if (bare && declarations_.closed && !as_table && !as_scalar)
            return undeclared(operand.bare_name, operand.column);
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
        const bool is_table =
            kind == ArgumentKind::table_i32 || kind == ArgumentKind::table_f32 || kind == ArgumentKind::table_bool;
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
        if (declared == tables_.end() || declared->second->n_dims == 0 || declared->second->n_dims == lookup.n_args)
            continue;
        return fail(column, "table " + quoted(declared->first) + " must have " + std::to_string(lookup.n_args) +
                                (lookup.n_args == 1 ? " dimension" : " dimensions") + " here, but has " +
                                std::to_string(declared->second->n_dims));
    }
    return true;
}

}  // namespace vkattn::detail
