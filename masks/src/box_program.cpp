#include "box_program.h"

#include <algorithm>
#include <bit>

namespace vkattn::analysis {

int32_t BoxProgram::add_table(std::shared_ptr<const TableData> data, bool varying) {
    tables_.emplace_back(std::move(data));
    if (varying) tables_.back().build_pyramid();
    return static_cast<int32_t>(tables_.size()) - 1;
}

// Equality of two i32 lookups: remember both, and let it compare labels where the ids themselves are in no order.
void BoxProgram::add_labels(Step& equality, const Tree& tree, const std::vector<uint8_t>& depends) {
    const int32_t left = equality.args[0], right = equality.args[1];
    const Node* sides[2] = {&tree.nodes[static_cast<size_t>(left)], &tree.nodes[static_cast<size_t>(right)]};
    for (const int32_t side : {left, right}) {
        const Node& node = tree.nodes[static_cast<size_t>(side)];
        if (node.op != Op::table || node.type != Type::i32 || depends[static_cast<size_t>(side)] == 0) return;
    }
    const auto summary_of = [&](int32_t node) {
        const std::vector<Step>& steps = steps_[depends[static_cast<size_t>(node)]];
        return std::find_if(steps.begin(), steps.end(), [&](const Step& s) { return s.out == node; })->table;
    };
    TablePair pair;
    pair.table[0] = summary_of(left);
    pair.table[1] = summary_of(right);
    for (int i = 0; i < 2; ++i) std::copy(sides[i]->args, sides[i]->args + 4, pair.args[i]);

    std::shared_ptr<const TableData> first = tables_[static_cast<size_t>(pair.table[0])].shared_data();
    std::shared_ptr<const TableData> second = tables_[static_cast<size_t>(pair.table[1])].shared_data();
    const bool ascending = ascending_rows(*first) && (first == second || ascending_rows(*second));
    if (left != right && !ascending) {
        const Labels labels = relabel(first, second);
        first = labels.first;
        second = labels.second;
        pair.table[0] = add_table(first, true);
        pair.table[1] = first == second ? pair.table[0] : add_table(second, true);
        for (int i = 0; i < 2; ++i) {
            Step lookup;
            lookup.op = Op::table;
            lookup.type = lookup.operand = Type::i32;
            lookup.n_args = sides[i]->n_args;
            std::copy(sides[i]->args, sides[i]->args + 4, lookup.args);
            lookup.out = n_values_++;
            group_.push_back(depends[static_cast<size_t>(i == 0 ? left : right)]);
            lookup.table = pair.table[i];
            equality.args[i] = lookup.out;
            steps_[depends[static_cast<size_t>(i == 0 ? left : right)]].push_back(lookup);
        }
    }
    // Two ranges of one ascending table share a value exactly where their minima and maxima say so.
    if (first == second && (ascending || ascending_rows(*first))) return;
    equality.first_hint = static_cast<int32_t>(table_pairs_.size());
    equality.n_hints = 1;
    table_pairs_.push_back(pair);
}

// The comparisons below an && (or ||) come in pairs from its two sides: q - kv <= 3 && q - kv >= 4 is empty though
// neither is.
void BoxProgram::add_sum_tests(Step& junction, const Tree& tree, int32_t node) {
    constexpr size_t max_side = 4;
    std::vector<int32_t> sides[2];
    for (int side = 0; side < 2; ++side) {
        std::vector<int32_t> open{tree.nodes[static_cast<size_t>(node)].args[side]};
        for (size_t visited = 0; !open.empty() && visited < 16 && sides[side].size() < max_side; ++visited) {
            const int32_t at = open.back();
            open.pop_back();
            const Node& candidate = tree.nodes[static_cast<size_t>(at)];
            if (candidate.op == junction.op) open.insert(open.end(), {candidate.args[1], candidate.args[0]});
            const bool compares = candidate.op == Op::lt || candidate.op == Op::le;
            if (compares && tree.nodes[static_cast<size_t>(candidate.args[0])].type == Type::i32)
                sides[side].push_back(at);
        }
    }
    junction.first_hint = static_cast<int32_t>(sums_.size());
    for (const int32_t left : sides[0]) {
        for (const int32_t right : sides[1]) {
            SumTest test;
            const int32_t both[2] = {left, right};
            for (int i = 0; i < 2; ++i) {  // of an ||, both failing: !(x <= y) is y < x
                const Node& comparison = tree.nodes[static_cast<size_t>(both[i])];
                const bool conjunction = junction.op == Op::logical_and;
                test.x[i] = comparison.args[conjunction ? 0 : 1];
                test.y[i] = comparison.args[conjunction ? 1 : 0];
                test.strict += (comparison.op == Op::lt) == conjunction ? 1 : 0;
            }
            sums_.push_back(test);
        }
    }
    junction.n_hints = static_cast<int32_t>(sums_.size()) - junction.first_hint;
}

void BoxProgram::drop_unused(int32_t result) {
    std::vector<uint8_t> used(static_cast<size_t>(n_values_), 0);
    used[static_cast<size_t>(result)] = 1;
    for (const int group : {kPair, kColumn, kRow, kConstant}) {
        std::vector<Step>& steps = steps_[group];
        for (size_t i = steps.size(); i-- > 0;) {
            const Step& step = steps[i];
            if (used[static_cast<size_t>(step.out)] == 0) continue;
            for (int a = 0; a < step.n_args; ++a) used[static_cast<size_t>(step.args[a])] = 1;
        }
        std::erase_if(steps, [&](const Step& step) { return used[static_cast<size_t>(step.out)] == 0; });
    }
}

Result<BoxProgram> BoxProgram::make(const Tree& tree, const Shape& shape, const ResolvedBindings& bindings, Keep keep) {
    if (tree.nodes.empty()) return error(Code::invalid_argument, "the mask's tree is empty");
    if (tree.nodes.back().type != Type::boolean)
        return error(Code::invalid_argument, "the mask's result is not a bool");
    BoxProgram program;
    const size_t n = tree.nodes.size();
    program.n_values_ = static_cast<int32_t>(n);
    program.result_ = program.n_values_ - 1;
    std::vector<uint8_t> depends(n, kConstant);
    program.group_.assign(n, kConstant);
    std::vector<int32_t> summaries(2 * bindings.tables.size(),
                                   -1);  // of table t: [2 t] asked for elements, [2 t + 1] for ranges

    for (size_t i = 0; i < n; ++i) {
        const Node& node = tree.nodes[i];
        Step step;
        step.op = node.op;
        step.type = node.type;
        step.n_args = node.n_args;
        std::copy(node.args, node.args + 4, step.args);
        step.out = static_cast<int32_t>(i);
        step.operand = node.n_args > 0 ? tree.nodes[static_cast<size_t>(node.args[0])].type : node.type;
        step.same_args = node.n_args >= 2 && node.args[0] == node.args[1];
        if (node.op == Op::q) depends[i] = kRow;
        if (node.op == Op::kv) depends[i] = kColumn;
        for (int a = 0; a < node.n_args; ++a) depends[i] = depends[i] | depends[static_cast<size_t>(node.args[a])];
        program.group_[i] = depends[i];
        const bool varying = depends[i] != kConstant;
        program.depends_on_b_ = program.depends_on_b_ || node.op == Op::b;
        program.depends_on_h_ = program.depends_on_h_ || node.op == Op::h;
        program.integer_only_ = program.integer_only_ && node.type != Type::f32;

        if (node.op == Op::q_len) step.bits = static_cast<uint32_t>(shape.q_len);
        if (node.op == Op::kv_len) step.bits = static_cast<uint32_t>(shape.kv_len);
        if (node.op == Op::q_heads) step.bits = static_cast<uint32_t>(shape.q_heads);
        if (node.op == Op::kv_heads) step.bits = static_cast<uint32_t>(shape.kv_heads);
        if (node.op == Op::literal) step.bits = node.payload;
        if (node.op == Op::param) step.bits = bindings.params[node.payload];
        if (node.op == Op::slot) {
            const SlotRef& slot = tree.slots[node.payload];
            step.bits = slot.param >= 0 ? bindings.params[static_cast<size_t>(slot.param)] : slot.bits;
        }
        if (node.op == Op::table) {
            int32_t& summary = summaries[2 * node.payload + (varying ? 1 : 0)];
            if (summary < 0) summary = program.add_table(bindings.tables[node.payload], varying);
            step.table = summary;
        }
        if ((node.op == Op::eq || node.op == Op::ne) && varying) program.add_labels(step, tree, depends);
        if (node.op == Op::logical_and || node.op == Op::logical_or) program.add_sum_tests(step, tree, step.out);
        program.steps_[depends[i]].push_back(step);
    }
    if (keep == Keep::result) program.drop_unused(program.result_);
    return program;
}

BoxEvaluator::BoxEvaluator(const BoxProgram& program)
    : program_(&program),
      ints_(static_cast<size_t>(program.n_values_)),
      floats_(program.integer_only() ? 0 : static_cast<size_t>(program.n_values_)) {}

void BoxEvaluator::bind(int32_t b, int32_t h) {
    b_ = b;
    h_ = h;
    last_ = {-1, -1, -1, -1};
    run_all(BoxProgram::kConstant, Box{});
}

void BoxEvaluator::run_all(int group, const Box& box) {
    for (const Step& step : program_->steps_[group]) {
        if (step.type == Type::f32) run_f32(step);
        else run(step, box);
    }
}

// Neighbouring boxes mostly share their rows or their columns: what depends on these alone is kept.
Verdict BoxEvaluator::over(const Box& box, bool look_into_tables) {
    look_into_tables_ = look_into_tables;
    if (box.q0 != last_.q0 || box.q1 != last_.q1) run_all(BoxProgram::kRow, box);
    if (box.kv0 != last_.kv0 || box.kv1 != last_.kv1) run_all(BoxProgram::kColumn, box);
    last_ = box;
    run_all(BoxProgram::kPair, box);
    if (result().undecided()) return Verdict::undecided;
    return result().min != 0 ? Verdict::full : Verdict::empty;
}

BoxEvaluator::Sides BoxEvaluator::undecided_sides() const {
    Sides sides;
    for (const int group : {BoxProgram::kRow, BoxProgram::kColumn, BoxProgram::kPair}) {
        for (const Step& step : program_->steps_[group]) {
            if (step.type != Type::boolean || !ints_[static_cast<size_t>(step.out)].undecided()) continue;
            const bool compares = step.op == Op::lt || step.op == Op::le || step.op == Op::eq || step.op == Op::ne;
            if (!compares && step.op != Op::table) continue;
            for (int i = 0; i < step.n_args; ++i) {
                const auto arg = static_cast<size_t>(step.args[i]);
                if (step.operand != Type::f32 && ints_[arg].point()) continue;
                sides.rows = sides.rows || (program_->group_[arg] & BoxProgram::kRow) != 0;
                sides.columns = sides.columns || (program_->group_[arg] & BoxProgram::kColumn) != 0;
            }
        }
    }
    return sides;
}

void BoxEvaluator::gather(const int32_t* args, uint8_t n_args, Range* indices) const {
    for (int i = 0; i < n_args; ++i) {
        const Affine& index = ints_[static_cast<size_t>(args[i])];
        indices[i] = {index.min, index.max};
    }
}

Affine BoxEvaluator::equality(const Step& step, const Box& box) {
    if (step.operand == Type::f32) {
        return equal(floats_[static_cast<size_t>(step.args[0])], floats_[static_cast<size_t>(step.args[1])]);
    }
    if (step.same_args) return decided(true);
    if (step.operand == Type::boolean) {
        return logical_not(
            logical_xor(ints_[static_cast<size_t>(step.args[0])], ints_[static_cast<size_t>(step.args[1])]));
    }
    const Affine result =
        equal(ints_[static_cast<size_t>(step.args[0])], ints_[static_cast<size_t>(step.args[1])], box);
    if (!result.undecided() || step.n_hints == 0 || !look_into_tables_) return result;

    const BoxProgram::TablePair& pair = program_->table_pairs_[static_cast<size_t>(step.first_hint)];
    Range flat[2];
    for (int i = 0; i < 2; ++i) {
        const TableSummary& table = program_->tables_[static_cast<size_t>(pair.table[i])];
        Range indices[4];
        gather(pair.args[i], static_cast<uint8_t>(table.data().dims.size()), indices);
        if (!table.flat_range(indices, flat[i])) return result;
    }
    const TableData& x = program_->tables_[static_cast<size_t>(pair.table[0])].data();
    const TableData& y = program_->tables_[static_cast<size_t>(pair.table[1])].data();
    return shared_values_.may_share(x, flat[0], y, flat[1]) ? result : decided(false);
}

bool BoxEvaluator::never_together(const Step& step, const Box& box) const {
    for (int32_t i = 0; i < step.n_hints; ++i) {
        const BoxProgram::SumTest& test = program_->sums_[static_cast<size_t>(step.first_hint + i)];
        int64_t a = 0, c = 0, lo = test.strict;
        for (int k = 0; k < 2; ++k) {
            const Affine& x = ints_[static_cast<size_t>(test.x[k])];
            const Affine& y = ints_[static_cast<size_t>(test.y[k])];
            a += x.a - y.a;
            c += x.c - y.c;
            lo += x.lo - y.hi;
        }
        if (range_over(a, c, lo, lo, box).lo > 0) return true;
    }
    return false;
}

void BoxEvaluator::run(const Step& step, const Box& box) {
    const auto arg = [&](int i) -> const Affine& { return ints_[static_cast<size_t>(step.args[i])]; };
    const auto float_arg = [&](int i) -> const IntervalF32& { return floats_[static_cast<size_t>(step.args[i])]; };
    const bool of_bools = step.type == Type::boolean, of_floats = step.operand == Type::f32;
    Affine& out = ints_[static_cast<size_t>(step.out)];
    switch (step.op) {
    case Op::q: out = {1, 0, 0, 0, box.q0, box.q1}; return;
    case Op::kv: out = {0, 1, 0, 0, box.kv0, box.kv1}; return;
    case Op::b: out = plain(b_, b_); return;
    case Op::h: out = plain(h_, h_); return;
    case Op::q_len:
    case Op::kv_len:
    case Op::q_heads:
    case Op::kv_heads:
    case Op::literal:
    case Op::param:
    case Op::slot: out = plain(static_cast<int32_t>(step.bits), static_cast<int32_t>(step.bits)); return;
    case Op::table: {
        Range indices[4];
        gather(step.args, step.n_args, indices);
        out = program_->tables_[static_cast<size_t>(step.table)].integers_over(indices);
        return;
    }
    case Op::add: out = add(arg(0), arg(1), box); return;
    case Op::sub: out = step.same_args ? plain(0, 0) : sub(arg(0), arg(1), box); return;
    case Op::mul: out = multiply(arg(0), arg(1), step.same_args, box); return;
    case Op::div: out = divide(arg(0), arg(1), box); return;
    case Op::mod: out = modulo(arg(0), arg(1), box); return;
    case Op::neg: out = negate(arg(0), box); return;
    case Op::abs: out = absolute(arg(0), box); return;
    case Op::min: out = minimum(arg(0), arg(1), box); return;
    case Op::max: out = maximum(arg(0), arg(1), box); return;
    case Op::bit_and: out = of_bools ? logical_and(arg(0), arg(1)) : bit_and(arg(0), arg(1), box); return;
    case Op::bit_or: out = of_bools ? logical_or(arg(0), arg(1)) : bit_or(arg(0), arg(1)); return;
    case Op::bit_xor: out = of_bools ? logical_xor(arg(0), arg(1)) : bit_xor(arg(0), arg(1)); return;
    case Op::bit_not: out = bit_not(arg(0), box); return;
    case Op::shl: out = shift_left(arg(0), arg(1), box); return;
    case Op::shr: out = shift_right(arg(0), arg(1), box); return;
    case Op::logical_and:
        out = logical_and(arg(0), arg(1));
        if (out.undecided() && !out.half_plane() && never_together(step, box)) out = decided(false);
        return;
    case Op::logical_or:
        out = logical_or(arg(0), arg(1));
        if (out.undecided() && !out.half_plane() && never_together(step, box)) out = decided(true);
        return;
    case Op::logical_not: out = logical_not(arg(0)); return;
    case Op::lt:
        if (of_floats) out = less(float_arg(0), float_arg(1));
        else out = step.same_args ? decided(false) : at_most(arg(0), arg(1), 1, box);
        return;
    case Op::le:
        if (of_floats) out = less_equal(float_arg(0), float_arg(1));
        else out = step.same_args ? decided(true) : at_most(arg(0), arg(1), 0, box);
        return;
    case Op::eq: out = equality(step, box); return;
    case Op::ne: out = logical_not(equality(step, box)); return;
    case Op::select:
        if (!arg(0).undecided()) out = arg(arg(0).min != 0 ? 1 : 2);
        else if (of_bools) out = boolean(arg(1).min & arg(2).min, arg(1).max | arg(2).max);
        else out = either(arg(1), arg(2), box);
        return;
    case Op::to_i32: out = to_i32(float_arg(0)); return;
    case Op::score:
    case Op::to_f32:
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
    out = everything();
}

void BoxEvaluator::run_f32(const Step& step) {
    IntervalF32& out = floats_[static_cast<size_t>(step.out)];
    if (step.op == Op::literal || step.op == Op::param || step.op == Op::slot) {
        out = exact_f32(std::bit_cast<float>(step.bits));
    } else if (step.op == Op::table) {
        Range indices[4];
        gather(step.args, step.n_args, indices);
        out = program_->tables_[static_cast<size_t>(step.table)].floats_over(indices);
    } else if (step.op == Op::select) {
        const Affine& condition = ints_[static_cast<size_t>(step.args[0])];
        const IntervalF32 then = floats_[static_cast<size_t>(step.args[1])],
                          otherwise = floats_[static_cast<size_t>(step.args[2])];
        out = condition.undecided() ? either(then, otherwise) : (condition.min != 0 ? then : otherwise);
    } else if (step.op == Op::to_f32) {
        out = from_i32(ints_[static_cast<size_t>(step.args[0])]);
    } else if (step.n_args > 0) {
        out = apply(step.op, floats_[static_cast<size_t>(step.args[0])],
                    floats_[static_cast<size_t>(step.args[step.n_args - 1])]);
    } else {
        out = any_f32();
    }
}

}  // namespace vkattn::analysis
