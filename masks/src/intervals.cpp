#include "intervals.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "dependence.h"

namespace vkattn::detail {
namespace {

constexpr double unbounded = std::numeric_limits<double>::infinity();
constexpr double max_length = key_range_max_length;
constexpr double max_offset = key_range_max_offset;

// How a step's range relates to the true set of keys, known from the structure. `starts_at_0` and `ends_at_n` say that the interval
// is tied to that end (or empty, or everything), so that unions and complements of such intervals are intervals.
struct Traits {
    bool exact = false;
    bool starts_at_0 = false;
    bool ends_at_n = false;
    bool everything_or_nothing = false;
    bool bounds_any = false;
    bool bounds_all = false;
};

// An i32 of the tape as a linear form of one unknown: kv, or the quotient at tape position `quotient`. sign 0: of the row alone.
struct Form {
    LinearKey linear;
    int32_t quotient = -1;
};

class Deriving {
  public:
    explicit Deriving(const Tree& tree) : tree_(tree), depends_(dependence(tree.nodes)) {}

    RangeProgram run() {
        const size_t n = tree_.nodes.size();
        forms_.resize(n);
        bounds_.assign(n, unbounded);
        row_values_.assign(n, -1);
        steps_.assign(n, -1);
        mark_wanted();
        for (size_t i = 0; i < n; ++i) {
            const Node& at = tree_.nodes[i];
            const bool of_row = level(depends_[i]) == Level::row;
            if (at.type == Type::i32) {
                if (of_row) bounds_[i] = bound_of(at);
                forms_[i] = of_row ? row_form(static_cast<int32_t>(i)) : form_of(static_cast<int32_t>(i));
            } else if (wanted_[i]) {
                steps_[i] = of_row ? condition(static_cast<int32_t>(i)) : bool_step(at);
            }
        }
        const Traits& result = traits_[static_cast<size_t>(steps_.back())];
        program_.informative = result.bounds_any || result.bounds_all;
        program_.exact = result.exact;
        drop_unused(steps_.back());
        return std::move(program_);
    }

  private:
    const Node& node(int32_t i) const { return tree_.nodes[static_cast<size_t>(i)]; }
    bool is_row(int32_t i) const { return level(depends_[static_cast<size_t>(i)]) == Level::row; }

    // The bools that the result is made of by && || ! select.
    void mark_wanted() {
        wanted_.assign(tree_.nodes.size(), false);
        wanted_.back() = true;
        for (size_t i = wanted_.size(); i-- > 0;) {
            const Node& at = tree_.nodes[i];
            if (!wanted_[i]) continue;
            if (at.op == Op::logical_and || at.op == Op::logical_or || at.op == Op::logical_not ||
                at.op == Op::select) {
                for (uint8_t a = 0; a < at.n_args; ++a) wanted_[static_cast<size_t>(at.args[a])] = true;
            }
        }
    }

    // |value| of a node of the row, for lengths in the limit; unbounded where it may wrap.
    double bound_of(const Node& at) const {
        const auto arg = [&](int a) { return bounds_[static_cast<size_t>(at.args[a])]; };
        double bound = unbounded;
        if (at.op == Op::q || at.op == Op::q_len || at.op == Op::kv_len) bound = max_length;
        if (at.op == Op::add || at.op == Op::sub) bound = arg(0) + arg(1);
        if (at.op == Op::neg || at.op == Op::abs || at.op == Op::div) bound = arg(0);
        if (at.op == Op::min || at.op == Op::max) bound = std::max(arg(0), arg(1));
        if (at.op == Op::select) bound = std::max(arg(1), arg(2));
        return bound <= max_offset ? bound : unbounded;
    }

    int32_t push_value(RowValue value) {
        program_.values.push_back(value);
        return static_cast<int32_t>(program_.values.size()) - 1;
    }
    const RowValue& value(int32_t i) const { return program_.values[static_cast<size_t>(i)]; }

    int32_t zero() {
        if (zero_ < 0) zero_ = push_value({});
        return zero_;
    }
    int32_t row_value(int32_t i) {
        int32_t& made = row_values_[static_cast<size_t>(i)];
        if (made < 0) made = push_value({RowValue::Kind::node, i, -1, bounds_[static_cast<size_t>(i)]});
        return made;
    }
    int32_t add_values(int32_t x, int32_t y) {
        if (value(x).kind == RowValue::Kind::zero) return y;
        if (value(y).kind == RowValue::Kind::zero) return x;
        return push_value({RowValue::Kind::add, x, y, value(x).bound + value(y).bound});
    }
    int32_t sub_values(int32_t x, int32_t y) {
        if (value(y).kind == RowValue::Kind::zero) return x;
        if (value(x).kind == RowValue::Kind::zero) return push_value({RowValue::Kind::neg, y, -1, value(y).bound});
        return push_value({RowValue::Kind::sub, x, y, value(x).bound + value(y).bound});
    }

    std::optional<Form> row_form(int32_t i) { return Form{{0, row_value(i), false}, -1}; }

    // Modulo 2^32 these identities hold whatever wraps; that the final form does not wrap is checked with its offset.
    std::optional<Form> form_of(int32_t i) {
        const Node& at = node(i);
        if (at.op == Op::kv) return Form{{1, zero(), false}, -1};
        if (at.op == Op::neg) {
            const std::optional<Form>& x = forms_[static_cast<size_t>(at.args[0])];
            if (!x) return std::nullopt;
            return Form{{-x->linear.sign, sub_values(zero(), x->linear.offset), false}, x->quotient};
        }
        if (at.op == Op::add || at.op == Op::sub) {
            const std::optional<Form>& x = forms_[static_cast<size_t>(at.args[0])];
            const std::optional<Form>& y = forms_[static_cast<size_t>(at.args[1])];
            if (!x || !y) return std::nullopt;
            const bool both = x->linear.sign != 0 && y->linear.sign != 0;
            if (both && x->quotient != y->quotient) return std::nullopt;
            const int32_t sign = x->linear.sign + (at.op == Op::add ? y->linear.sign : -y->linear.sign);
            if (sign < -1 || sign > 1) return std::nullopt;
            const int32_t offset = at.op == Op::add ? add_values(x->linear.offset, y->linear.offset)
                                                    : sub_values(x->linear.offset, y->linear.offset);
            return Form{{sign, offset, false}, sign == 0 ? -1 : x->linear.sign != 0 ? x->quotient : y->quotient};
        }
        if ((at.op == Op::div || at.op == Op::shr) && is_row(at.args[1])) {
            const std::optional<Form>& x = forms_[static_cast<size_t>(at.args[0])];
            if (!x || x->linear.sign == 0 || x->quotient >= 0) return std::nullopt;
            return Form{{1, zero(), false}, i};
        }
        return std::nullopt;
    }

    int32_t push_step(const RangeStep& step, const Traits& traits) {
        program_.steps.push_back(step);
        traits_.push_back(traits);
        return static_cast<int32_t>(program_.steps.size()) - 1;
    }

    int32_t condition(int32_t i) {
        RangeStep step;
        step.kind = RangeStep::Kind::condition;
        step.node = i;
        return push_step(step, {true, true, true, true, true, true});
    }

    int32_t unknown() { return push_step({}, {}); }

    int32_t complement(int32_t of) {
        const Traits inner = traits_[static_cast<size_t>(of)];
        RangeStep step;
        step.kind = RangeStep::Kind::complement;
        step.a = of;
        Traits traits;
        traits.exact = inner.exact && (inner.starts_at_0 || inner.ends_at_n);
        traits.starts_at_0 = inner.ends_at_n;
        traits.ends_at_n = inner.starts_at_0;
        traits.everything_or_nothing = inner.everything_or_nothing;
        traits.bounds_any = inner.bounds_all;
        traits.bounds_all = inner.bounds_any;
        return push_step(step, traits);
    }

    int32_t pair_of(RangeStep::Kind kind, int32_t x, int32_t y, int32_t chosen_by = -1) {
        const Traits a = traits_[static_cast<size_t>(x)];
        const Traits b = traits_[static_cast<size_t>(y)];
        RangeStep step;
        step.kind = kind;
        step.a = x;
        step.b = y;
        step.node = chosen_by;
        Traits traits;
        traits.exact = a.exact && b.exact;
        traits.starts_at_0 = a.starts_at_0 && b.starts_at_0;
        traits.ends_at_n = a.ends_at_n && b.ends_at_n;
        traits.everything_or_nothing = a.everything_or_nothing && b.everything_or_nothing;
        if (kind == RangeStep::Kind::either) {
            traits.exact = traits.exact && (traits.starts_at_0 || traits.ends_at_n || a.everything_or_nothing ||
                                            b.everything_or_nothing);
        }
        const bool conjunction = kind == RangeStep::Kind::both;
        traits.bounds_any = conjunction ? a.bounds_any || b.bounds_any : a.bounds_any && b.bounds_any;
        traits.bounds_all = conjunction ? a.bounds_all && b.bounds_all : a.bounds_all || b.bounds_all;
        return push_step(step, traits);
    }

    int32_t bool_step(const Node& at) {
        const auto arg = [&](int a) { return steps_[static_cast<size_t>(at.args[a])]; };
        if (at.op == Op::logical_and) return pair_of(RangeStep::Kind::both, arg(0), arg(1));
        if (at.op == Op::logical_or) return pair_of(RangeStep::Kind::either, arg(0), arg(1));
        if (at.op == Op::logical_not) return complement(arg(0));
        if (at.op == Op::select && is_row(at.args[0])) {
            return pair_of(RangeStep::Kind::choose, arg(1), arg(2), at.args[0]);
        }
        const bool ordering = at.op == Op::lt || at.op == Op::le;
        if ((ordering || at.op == Op::eq || at.op == Op::ne) && node(at.args[0]).type == Type::i32) {
            const bool left = !is_row(at.args[0]);
            const int32_t key = at.args[left ? 0 : 1];
            const int32_t row = at.args[left ? 1 : 0];
            Relation relation = Relation::eq;
            if (ordering) {
                relation =
                    at.op == Op::lt ? (left ? Relation::lt : Relation::gt) : (left ? Relation::le : Relation::ge);
            }
            if (const int32_t step = is_row(row) ? compare(key, relation, row) : -1; step >= 0) {
                return at.op == Op::ne ? complement(step) : step;
            }
        }
        return unknown();
    }

    // The step for  key relation row,  or -1.
    int32_t compare(int32_t key, Relation relation, int32_t row) {
        RangeStep step;
        step.kind = RangeStep::Kind::compare;
        bool not_that = false;
        if (node(key).op == Op::abs) {
            key = node(key).args[0];
            switch (relation) {
            case Relation::lt: relation = Relation::abs_lt; break;
            case Relation::le: relation = Relation::abs_le; break;
            case Relation::gt:
                relation = Relation::abs_le;
                not_that = true;
                break;
            case Relation::ge:
                relation = Relation::abs_lt;
                not_that = true;
                break;
            case Relation::eq:
            case Relation::abs_lt:
            case Relation::abs_le: return -1;
            }
        }
        const std::optional<Form> form = forms_[static_cast<size_t>(key)];
        if (!form || form->linear.sign == 0) return -1;
        step.relation = relation;
        step.bound = row_value(row);
        step.outer = form->linear;
        step.outer.checked = value(step.outer.offset).bound > max_offset;
        int32_t direction = step.outer.sign;
        bool exact = !step.outer.checked;
        if (form->quotient >= 0) {
            const Node& quotient = node(form->quotient);
            step.divisor = quotient.args[1];
            step.divisor_is_shift = quotient.op == Op::shr;
            step.inner = forms_[static_cast<size_t>(quotient.args[0])]->linear;
            step.inner.checked = value(step.inner.offset).bound > max_length;
            direction *= step.inner.sign;
            exact = false;  // the divisor may be negative or zero
        }
        Traits traits;
        traits.exact = exact;
        traits.bounds_any = traits.bounds_all = true;
        const bool upper = relation == Relation::lt || relation == Relation::le;
        const bool lower = relation == Relation::gt || relation == Relation::ge;
        traits.starts_at_0 = exact && (direction > 0 ? upper : lower);
        traits.ends_at_n = exact && (direction > 0 ? lower : upper);
        const int32_t made = push_step(step, traits);
        return not_that ? complement(made) : made;
    }

    void drop_unused(int32_t result) {
        std::vector<bool> used(program_.steps.size(), false);
        used[static_cast<size_t>(result)] = true;
        for (size_t i = used.size(); i-- > 0;) {
            const RangeStep& step = program_.steps[i];
            if (!used[i]) continue;
            if (step.a >= 0) used[static_cast<size_t>(step.a)] = true;
            if (step.b >= 0) used[static_cast<size_t>(step.b)] = true;
        }
        std::vector<int32_t> moved(used.size(), -1);
        std::vector<RangeStep> kept;
        for (size_t i = 0; i < used.size(); ++i) {
            if (!used[i]) continue;
            RangeStep step = program_.steps[i];
            if (step.a >= 0) step.a = moved[static_cast<size_t>(step.a)];
            if (step.b >= 0) step.b = moved[static_cast<size_t>(step.b)];
            moved[i] = static_cast<int32_t>(kept.size());
            kept.push_back(step);
        }
        kept.resize(static_cast<size_t>(moved[static_cast<size_t>(result)]) + 1);
        program_.steps = std::move(kept);
    }

    const Tree& tree_;
    std::vector<uint8_t> depends_;
    std::vector<std::optional<Form>> forms_;
    std::vector<double> bounds_;       // per node; of row-level i32 nodes
    std::vector<int32_t> row_values_;  // per node: its RowValue, or -1
    std::vector<int32_t> steps_;       // per wanted bool: its step
    std::vector<bool> wanted_;
    std::vector<Traits> traits_;  // per step
    int32_t zero_ = -1;
    RangeProgram program_;
};

}  // namespace

RangeProgram range_program(const Tree& normalised_mask) { return Deriving(normalised_mask).run(); }

}  // namespace vkattn::detail
