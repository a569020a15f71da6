// The semantics of every operator, on bits. i32 arithmetic is done in uint32_t, where wrapping is defined; f32
// arithmetic in float, one IEEE step per node (the build forbids contraction, so that no multiply-add is fused).
#include "vkattn/evaluate.h"

#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include "syntax.h"

namespace vkattn {

namespace {

int32_t as_int(uint32_t bits) { return static_cast<int32_t>(bits); }
float as_float(uint32_t bits) { return std::bit_cast<float>(bits); }
uint32_t bits_of(int32_t value) { return static_cast<uint32_t>(value); }
uint32_t bits_of(float value) { return std::bit_cast<uint32_t>(value); }
uint32_t bits_of(bool value) { return value ? 1u : 0u; }

constexpr int32_t int_min = std::numeric_limits<int32_t>::min();
constexpr int32_t int_max = std::numeric_limits<int32_t>::max();

int32_t floor_div(int32_t a, int32_t b) {
    if (b == 0) return 0;
    if (b == -1) return as_int(0u - bits_of(a));  // INT_MIN wraps to itself
    const int32_t quotient = a / b;
    return quotient - ((a % b != 0 && (a < 0) != (b < 0)) ? 1 : 0);
}

int32_t floor_mod(int32_t a, int32_t b) {
    if (b == 0 || b == -1) return 0;
    const int32_t rest = a % b;
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

int32_t saturate(float value) {
    if (std::isnan(value)) return 0;
    if (value >= 2147483648.0f) return int_max;
    if (value <= -2147483648.0f) return int_min;
    return static_cast<int32_t>(value);
}

inline uint32_t apply(Op op, Type operand_type, const uint32_t* args) {
    const bool f32 = operand_type == Type::f32;
    const uint32_t a = args[0], b = args[1];
    const float x = as_float(a), y = as_float(b);
    switch (op) {
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
    case Op::table: return 0;
    case Op::add: return f32 ? bits_of(x + y) : a + b;
    case Op::sub: return f32 ? bits_of(x - y) : a - b;
    case Op::mul: return f32 ? bits_of(x * y) : a * b;
    case Op::div: return f32 ? bits_of(x / y) : bits_of(floor_div(as_int(a), as_int(b)));
    case Op::mod: return f32 ? bits_of(x - y * std::floor(x / y)) : bits_of(floor_mod(as_int(a), as_int(b)));
    case Op::neg: return f32 ? a ^ 0x80000000u : 0u - a;
    case Op::abs: return f32 ? a & 0x7fffffffu : as_int(a) < 0 ? 0u - a : a;
    case Op::min: return (f32 ? y < x : as_int(b) < as_int(a)) ? b : a;
    case Op::max: return (f32 ? x < y : as_int(a) < as_int(b)) ? b : a;
    case Op::bit_and:
    case Op::logical_and: return a & b;
    case Op::bit_or:
    case Op::logical_or: return a | b;
    case Op::bit_xor: return a ^ b;
    case Op::bit_not: return ~a;
    case Op::shl: return a << (b & 31u);
    case Op::shr: return bits_of(as_int(a) >> (b & 31u));
    case Op::logical_not: return a ^ 1u;
    case Op::lt: return bits_of(f32 ? x < y : as_int(a) < as_int(b));
    case Op::le: return bits_of(f32 ? x <= y : as_int(a) <= as_int(b));
    case Op::eq: return bits_of(f32 ? x == y : a == b);
    case Op::ne: return bits_of(f32 ? x != y : a != b);
    case Op::select: return a != 0 ? b : args[2];
    case Op::to_f32: return bits_of(static_cast<float>(as_int(a)));
    case Op::to_i32: return bits_of(saturate(x));
    case Op::exp: return bits_of(std::exp(x));
    case Op::exp2: return bits_of(std::exp2(x));
    case Op::log: return bits_of(std::log(x));
    case Op::log2: return bits_of(std::log2(x));
    case Op::pow: return bits_of(std::pow(x, y));
    case Op::sqrt: return bits_of(std::sqrt(x));
    case Op::rsqrt: return bits_of(1.0f / std::sqrt(x));
    case Op::sin: return bits_of(std::sin(x));
    case Op::cos: return bits_of(std::cos(x));
    case Op::tanh: return bits_of(std::tanh(x));
    case Op::sigmoid: return bits_of(1.0f / (1.0f + std::exp(-x)));
    case Op::floor: return bits_of(std::floor(x));
    case Op::sign: return bits_of(x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : 0.0f);
    }
    return 0;
}

int arity(Op op) {
    const bool unary = op == Op::neg || op == Op::abs || op == Op::bit_not || op == Op::logical_not ||
                       op == Op::to_f32 || op == Op::to_i32 || (op >= Op::exp && op != Op::pow);
    return op == Op::select ? 3 : unary ? 1 : 2;
}

// The type of the values that an operator works on: of its last argument, which in select is one of the two values.
Type operand_type_of(const Tree& tree, const Node& node) {
    return node.n_args == 0 ? node.type : tree.nodes[static_cast<size_t>(node.args[node.n_args - 1])].type;
}

// The value of a leaf that is known before any pair is.
uint32_t leaf_bits(const Tree& tree, const Node& node, const Shape& shape, const ResolvedBindings& bindings) {
    if (node.op == Op::q_len) return bits_of(shape.q_len);
    if (node.op == Op::kv_len) return bits_of(shape.kv_len);
    if (node.op == Op::q_heads) return bits_of(shape.q_heads);
    if (node.op == Op::kv_heads) return bits_of(shape.kv_heads);
    if (node.op == Op::param) return bindings.params[node.payload];
    if (node.op == Op::slot) {
        const SlotRef& slot = tree.slots[node.payload];
        return slot.param >= 0 ? bindings.params[static_cast<size_t>(slot.param)] : slot.bits;
    }
    return node.payload;
}

template <class M>
Result<Evaluator> make_evaluator(const M& mask, const Shape& shape, const Bindings& bindings) {
    if (!mask.status().ok()) return mask.status();
    auto tree = std::make_shared<const Tree>(mask.tree());
    Result<ResolvedBindings> resolved = resolve(*tree, bindings, shape);
    if (!resolved) return resolved.status();
    return Evaluator::make(std::move(tree), shape, *resolved);
}

}  // namespace

uint32_t apply_op(Op op, Type operand_type, const uint32_t* args) {
    const int n_args = arity(op);
    const uint32_t padded[3] = {args[0], n_args > 1 ? args[1] : 0u, n_args > 2 ? args[2] : 0u};
    return apply(op, operand_type, padded);
}

Result<Evaluator> Evaluator::make(const Mask& mask, const Shape& shape, const Bindings& bindings) {
    return make_evaluator(mask, shape, bindings);
}

Result<Evaluator> Evaluator::make(const ScoreMod& score_mod, const Shape& shape, const Bindings& bindings) {
    return make_evaluator(score_mod, shape, bindings);
}

Result<Evaluator> Evaluator::make(std::shared_ptr<const Tree> tree, const Shape& shape,
                                  const ResolvedBindings& bindings) {
    if (Status status = check(shape); !status.ok()) return status;
    if (!tree || tree->nodes.empty()) return error(Code::invalid_argument, "there is no tree to evaluate");
    if (bindings.params.size() != tree->params.size() || bindings.tables.size() != tree->tables.size()) {
        return error(Code::invalid_argument, "the bindings were resolved for another tree");
    }
    Evaluator evaluator;
    evaluator.tree_ = std::move(tree);
    evaluator.bindings_ = bindings;
    for (const auto& data : bindings.tables) {
        TableView view{data.get(), {1, 1, 1, 1}};
        for (size_t i = 0; i < data->dims.size(); ++i) view.dims[i] = static_cast<int32_t>(data->dims[i]);
        evaluator.tables_.push_back(view);
    }
    const Tree& nodes_of = *evaluator.tree_;
    const size_t count = nodes_of.nodes.size();
    evaluator.values_.assign(count + 1, 0);
    for (uint32_t& position : evaluator.leaf_position_) position = static_cast<uint32_t>(count);
    std::vector<bool> varies(count, false);
    for (size_t i = 0; i < count; ++i) {
        const Node& node = nodes_of.nodes[i];
        const auto position = static_cast<uint32_t>(i);
        if (const int leaf = detail::leaf_index(node.op); leaf >= 0) {
            evaluator.leaf_position_[leaf] = position;
            varies[i] = true;
        } else if (node.n_args == 0) {
            evaluator.values_[i] = leaf_bits(nodes_of, node, shape, bindings);
        } else {
            Step step{node.op, operand_type_of(nodes_of, node), node.n_args, node.payload, {0, 0, 0, 0}, position};
            for (uint8_t k = 0; k < node.n_args; ++k) {
                step.args[k] = static_cast<uint32_t>(node.args[k]);
                if (varies[step.args[k]]) varies[i] = true;
            }
            if (varies[i]) {
                evaluator.steps_.push_back(step);
            } else {
                evaluator.execute(step);
            }
        }
    }
    return evaluator;
}

// Row-major; each index is clamped to its dimension. An empty table (only where there are no pairs) reads as 0.
uint32_t Evaluator::lookup(const Step& step) const {
    const TableView& table = tables_[step.payload];
    size_t offset = 0;
    for (uint8_t i = 0; i < step.n_args; ++i) {
        const int32_t dim = table.dims[i];
        if (dim == 0) return 0;
        int32_t index = as_int(values_[step.args[i]]);
        index = index < 0 ? 0 : index >= dim ? dim - 1 : index;
        offset = offset * static_cast<size_t>(dim) + static_cast<size_t>(index);
    }
    switch (table.data->type) {
    case Type::boolean: return table.data->boolean[offset] != 0 ? 1u : 0u;
    case Type::i32: return bits_of(table.data->i32[offset]);
    case Type::f32: return bits_of(table.data->f32[offset]);
    }
    return 0;
}

void Evaluator::execute(const Step& step) {
    if (step.op == Op::table) {
        values_[step.result] = lookup(step);
        return;
    }
    const uint32_t args[3] = {values_[step.args[0]], values_[step.args[1]], values_[step.args[2]]};
    values_[step.result] = apply(step.op, step.operand_type, args);
}

void Evaluator::run(float score, int32_t b, int32_t h, int32_t q, int32_t kv) {
    values_[leaf_position_[0]] = bits_of(b);
    values_[leaf_position_[1]] = bits_of(h);
    values_[leaf_position_[2]] = bits_of(q);
    values_[leaf_position_[3]] = bits_of(kv);
    values_[leaf_position_[4]] = bits_of(score);
    for (const Step& step : steps_) execute(step);
}

bool Evaluator::mask(int32_t b, int32_t h, int32_t q, int32_t kv) {
    run(0.0f, b, h, q, kv);
    return values_[tree_->nodes.size() - 1] != 0;
}

float Evaluator::score(float score, int32_t b, int32_t h, int32_t q, int32_t kv) {
    run(score, b, h, q, kv);
    return as_float(values_[tree_->nodes.size() - 1]);
}

}  // namespace vkattn
