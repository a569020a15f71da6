// Two passes: conditions that are decided over the whole domain, then the operands of && and || in pairs. Both read the
// verdicts of all conditions at once from one box a batch entry and head.
#include "vkattn/simplify.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "box_program.h"
#include "dependence.h"
#include "simplify.h"
#include "tree_builder.h"

namespace vkattn {
namespace {

using analysis::BoxEvaluator;
using analysis::BoxProgram;
using analysis::Verdict;
using detail::make_literal;
using detail::make_node;
using detail::Simplifier;

constexpr int64_t max_planes = 1 << 16;
constexpr size_t max_operands = 16;  // of a chain that are looked at in pairs
constexpr size_t max_pairs = 2048;   // of all chains of a mask
constexpr size_t max_term_bytes = 120;

// The tape with "any value" in place of what has none. `position`: where node i of the original is.
struct KnownTree {
    Tree tree;
    std::vector<int32_t> position;
};

// `score`, of which a mask knows nothing, stands for an unknown value: the analysis takes it for any float. Its payload
// keeps two of them apart.
KnownTree known_part(const Tree& tree, const Bindings& bindings) {
    KnownTree known;
    known.tree.slots = tree.slots;
    std::vector<int32_t> params(tree.params.size(), -1), tables(tree.tables.size(), -1);
    for (size_t i = 0; i < params.size(); ++i) {
        if (!tree.params[i].has_default && bindings.scalars.count(tree.params[i].name) == 0) continue;
        params[i] = static_cast<int32_t>(known.tree.params.size());
        known.tree.params.push_back(tree.params[i]);
    }
    for (size_t i = 0; i < tables.size(); ++i) {
        if (!tree.tables[i].captured && bindings.tables.count(tree.tables[i].name) == 0) continue;
        tables[i] = static_cast<int32_t>(known.tree.tables.size());
        known.tree.tables.push_back(tree.tables[i]);
    }
    for (SlotRef& slot : known.tree.slots) {
        if (slot.param >= 0) slot.param = params[static_cast<size_t>(slot.param)];
    }
    std::vector<Node>& nodes = known.tree.nodes;
    const auto push = [&nodes](const Node& node) {
        nodes.push_back(node);
        return static_cast<int32_t>(nodes.size()) - 1;
    };
    const auto push_unknown = [&](Type type, uint32_t number) {
        const int32_t any = push(make_node(Op::score, Type::f32, {}, number));
        if (type == Type::f32) return any;
        const int32_t any_int = push(make_node(Op::to_i32, Type::i32, {any}));
        if (type == Type::i32) return any_int;
        return push(make_node(Op::ne, Type::boolean, {any_int, push(make_literal(Type::i32, 0))}));
    };
    for (const Node& original : tree.nodes) {
        Node node = original;
        int32_t value = 0;
        if (node.op == Op::param) value = params[node.payload];
        if (node.op == Op::table) value = tables[node.payload];
        if (node.op == Op::slot && tree.slots[node.payload].param >= 0) value = known.tree.slots[node.payload].param;
        if (value < 0) {
            known.position.push_back(push_unknown(node.type, static_cast<uint32_t>(known.position.size())));
            continue;
        }
        if (node.op == Op::param || node.op == Op::table) node.payload = static_cast<uint32_t>(value);
        for (uint8_t a = 0; a < node.n_args; ++a) { node.args[a] = known.position[static_cast<size_t>(node.args[a])]; }
        known.position.push_back(push(node));
    }
    return known;
}

// A verdict a node, over all pairs of the shape; undecided for what is not a condition. `tree` ends in a condition.
Result<std::vector<Verdict>> verdicts_over_all(const Tree& tree, const Shape& shape, const Bindings& bindings) {
    Result<ResolvedBindings> resolved = resolve(tree, bindings, shape);
    if (!resolved.ok()) return resolved.status();
    Result<BoxProgram> program = BoxProgram::make(tree, shape, *resolved, BoxProgram::Keep::every_node);
    if (!program.ok()) return program.status();
    const int32_t batch = program->depends_on_b() ? shape.batch : 1,
                  heads = program->depends_on_h() ? shape.q_heads : 1;
    const bool too_many = int64_t{batch} * heads > max_planes;
    const std::vector<uint8_t> depends = detail::dependence(tree.nodes);

    std::vector<int32_t> open;  // conditions that are not yet undecided
    for (size_t i = 0; i < tree.nodes.size(); ++i) {
        const bool differs = (depends[i] & (detail::on_b | detail::on_h)) != 0;
        if (tree.nodes[i].type == Type::boolean && !(too_many && differs)) open.push_back(static_cast<int32_t>(i));
    }
    std::vector<Verdict> verdicts(tree.nodes.size(), Verdict::undecided);
    BoxEvaluator boxes(*program);
    const analysis::Box all{0, int64_t{shape.q_len} - 1, 0, int64_t{shape.kv_len} - 1};
    bool first = true;
    for (int32_t b = 0; b < (too_many ? 1 : batch) && !open.empty(); ++b) {
        for (int32_t h = 0; h < (too_many ? 1 : heads) && !open.empty(); ++h, first = false) {
            boxes.bind(b, h);
            boxes.over(all, true);
            std::erase_if(open, [&](int32_t node) {
                const analysis::Affine& value = boxes.value(node);
                Verdict& verdict = verdicts[static_cast<size_t>(node)];
                const Verdict here = value.undecided() ? Verdict::undecided
                                     : value.min != 0  ? Verdict::full
                                                       : Verdict::empty;
                verdict = first || here == verdict ? here : Verdict::undecided;
                return verdict == Verdict::undecided;
            });
        }
    }
    return verdicts;
}

// The node as text, with the scalars that it reads.
std::string term(const Tree& tree, int32_t node, const Shape& shape, const Bindings& bindings) {
    const Result<std::string> text = to_text(tree, node, max_term_bytes);
    if (!text.ok()) return "a longer condition";
    std::vector<bool> used(static_cast<size_t>(node) + 1, false);
    used.back() = true;
    std::vector<std::string> values;
    for (size_t i = used.size(); i-- > 0;) {
        if (!used[i]) continue;
        const Node& at = tree.nodes[i];
        for (uint8_t a = 0; a < at.n_args; ++a) used[static_cast<size_t>(at.args[a])] = true;
        if (at.op == Op::q_len) values.push_back("q_len = " + std::to_string(shape.q_len));
        if (at.op == Op::kv_len) values.push_back("kv_len = " + std::to_string(shape.kv_len));
        if (at.op != Op::param) continue;
        const auto found = bindings.scalars.find(tree.params[at.payload].name);
        if (found == bindings.scalars.end()) continue;
        values.push_back(found->first + " = " +
                         std::visit([](auto value) { return std::to_string(value); }, found->second));
    }
    std::reverse(values.begin(), values.end());
    std::string result = "`" + *text + "`";
    for (size_t i = 0; i < values.size(); ++i) result += (i == 0 ? " (" : ", ") + values[i];
    return values.empty() ? result : result + ")";
}

class Simplification {
  public:
    Simplification(Tree tree, const Shape& shape, const Bindings& bindings)
        : tree_(std::move(tree)), shape_(shape), bindings_(bindings) {}

    // Each leaves tree_ as it was where it finds nothing.
    Status replace_decided();
    Status drop_implied();

    Tree& tree() { return tree_; }
    std::vector<std::string>& reasons() { return reasons_; }

  private:
    struct Chain {
        int32_t head = -1;
        std::vector<int32_t> operands;
    };
    const Node& node(int32_t i) const { return tree_.nodes[static_cast<size_t>(i)]; }
    std::string term_at(int32_t i) const { return term(tree_, i, shape_, bindings_); }
    std::vector<Chain> chains() const;
    // The tape again, where `replacement` says what stands for a node.
    template <class F>
    void rebuild(const F& replacement);

    Tree tree_;
    const Shape& shape_;
    const Bindings& bindings_;
    std::vector<std::string> reasons_;
};

template <class F>
void Simplification::rebuild(const F& replacement) {
    Simplifier simplifier;
    std::vector<int32_t> position(tree_.nodes.size(), -1);
    for (size_t i = 0; i < position.size(); ++i) {
        position[i] = replacement(simplifier, position, static_cast<int32_t>(i));
        if (position[i] >= 0) continue;
        Node copy = tree_.nodes[i];
        for (uint8_t a = 0; a < copy.n_args; ++a) copy.args[a] = position[static_cast<size_t>(copy.args[a])];
        position[i] = simplifier.add(copy);
    }
    Tree work = tree_;
    work.nodes = simplifier.nodes().nodes();
    tree_ = detail::canonical_order(std::move(work), position.back());
}

Status Simplification::replace_decided() {
    const KnownTree known = known_part(tree_, bindings_);
    Result<std::vector<Verdict>> verdicts = verdicts_over_all(known.tree, shape_, bindings_);
    if (!verdicts.ok()) return verdicts.status();
    const auto verdict_of = [&](int32_t i) {
        if (node(i).op == Op::literal) return Verdict::undecided;
        return (*verdicts)[static_cast<size_t>(known.position[static_cast<size_t>(i)])];
    };
    // The outermost decided conditions are what is told.
    std::vector<int32_t> open{static_cast<int32_t>(tree_.nodes.size()) - 1};
    std::vector<bool> seen(tree_.nodes.size(), false);
    while (!open.empty()) {
        const int32_t i = open.back();
        open.pop_back();
        if (seen[static_cast<size_t>(i)]) continue;
        seen[static_cast<size_t>(i)] = true;
        const Verdict verdict = verdict_of(i);
        if (verdict != Verdict::undecided) {
            reasons_.push_back(term_at(i) +
                               (verdict == Verdict::full ? " is true for every pair" : " is false for every pair"));
            continue;
        }
        for (uint8_t a = node(i).n_args; a-- > 0;) open.push_back(node(i).args[a]);
    }
    if (reasons_.empty()) return {};
    rebuild([&](Simplifier& simplifier, const std::vector<int32_t>&, int32_t i) {
        const Verdict verdict = verdict_of(i);
        if (verdict == Verdict::undecided) return -1;
        return simplifier.add(make_literal(Type::boolean, verdict == Verdict::full ? 1 : 0));
    });
    return {};
}

// Every && that is not itself the operand of an &&, with its first operands through all && below; likewise ||.
std::vector<Simplification::Chain> Simplification::chains() const {
    std::vector<bool> is_link(tree_.nodes.size(), false);
    std::vector<Chain> found;
    size_t pairs = 0;
    for (size_t i = tree_.nodes.size(); i-- > 0;) {
        const Node& head = tree_.nodes[i];
        if (head.op != Op::logical_and && head.op != Op::logical_or) continue;
        for (const int32_t arg : {head.args[0], head.args[1]}) {
            if (node(arg).op == head.op) is_link[static_cast<size_t>(arg)] = true;
        }
        if (is_link[i]) continue;
        Chain chain{static_cast<int32_t>(i), {}};
        std::vector<int32_t> open{head.args[1], head.args[0]};
        while (!open.empty()) {
            const int32_t at = open.back();
            open.pop_back();
            if (node(at).op == head.op && chain.operands.size() + open.size() < max_operands) {
                open.push_back(node(at).args[1]);
                open.push_back(node(at).args[0]);
            } else if (std::find(chain.operands.begin(), chain.operands.end(), at) == chain.operands.end()) {
                chain.operands.push_back(at);
            }
        }
        pairs += chain.operands.size() * (chain.operands.size() - 1);
        if (pairs > max_pairs) break;
        found.push_back(std::move(chain));
    }
    return found;
}

// x implies y where  x && !y  is false for every pair.
Status Simplification::drop_implied() {
    const std::vector<Chain> all = chains();
    if (all.empty()) return {};
    const KnownTree known = known_part(tree_, bindings_);
    Simplifier simplifier;
    std::vector<int32_t> at(known.tree.nodes.size(), -1);
    const auto place_of = [&](int32_t i) { return at[static_cast<size_t>(known.position[static_cast<size_t>(i)])]; };
    for (size_t i = 0; i < at.size(); ++i) {
        Node copy = known.tree.nodes[i];
        for (uint8_t a = 0; a < copy.n_args; ++a) copy.args[a] = at[static_cast<size_t>(copy.args[a])];
        at[i] = simplifier.add(copy);
    }
    std::vector<int32_t> questions;  // in the order of chains, x and y
    for (const Chain& chain : all) {
        for (const int32_t x : chain.operands) {
            for (const int32_t y : chain.operands) {
                if (x == y) continue;
                const int32_t not_y = simplifier.add(make_node(Op::logical_not, Type::boolean, {place_of(y)}));
                questions.push_back(simplifier.add(make_node(Op::logical_and, Type::boolean, {place_of(x), not_y})));
            }
        }
    }
    Tree asked = known.tree;
    asked.nodes = simplifier.nodes().nodes();
    asked.nodes.push_back(make_literal(Type::boolean, 1));
    Result<std::vector<Verdict>> verdicts = verdicts_over_all(asked, shape_, bindings_);
    if (!verdicts.ok()) return verdicts.status();

    std::vector<std::vector<int32_t>> kept(tree_.nodes.size());  // of a head that lost operands
    size_t question = 0;
    const size_t n_before = reasons_.size();
    for (const Chain& chain : all) {
        const size_t n = chain.operands.size();
        const bool conjunction = node(chain.head).op == Op::logical_and;
        const auto implies = [&](size_t x, size_t y) {
            const size_t place = question + x * (n - 1) + (y < x ? y : y - 1);
            return (*verdicts)[static_cast<size_t>(questions[place])] == Verdict::empty;
        };
        std::vector<bool> dropped(n, false);
        for (size_t i = n; i-- > 0;) {
            for (size_t by = 0; by < n && !dropped[i]; ++by) {
                if (by == i || dropped[by] || !(conjunction ? implies(by, i) : implies(i, by))) continue;
                dropped[i] = true;
                reasons_.push_back(term_at(chain.operands[i]) + (conjunction ? " follows from " : " is covered by ") +
                                   term_at(chain.operands[by]));
            }
        }
        if (std::find(dropped.begin(), dropped.end(), true) != dropped.end()) {
            for (size_t i = 0; i < n; ++i) {
                if (!dropped[i]) kept[static_cast<size_t>(chain.head)].push_back(chain.operands[i]);
            }
        }
        question += n * (n - 1);
    }
    if (reasons_.size() == n_before) return {};
    rebuild([&](Simplifier& built, const std::vector<int32_t>& position, int32_t i) {
        int32_t joined = -1;
        for (const int32_t operand : kept[static_cast<size_t>(i)]) {
            const int32_t next = position[static_cast<size_t>(operand)];
            joined = joined < 0 ? next : built.add(make_node(node(i).op, Type::boolean, {joined, next}));
        }
        return joined;
    });
    return {};
}

bool reads_the_shape(const Tree& tree) {
    return std::any_of(tree.nodes.begin(), tree.nodes.end(), [](const Node& node) {
        return node.op == Op::q_len || node.op == Op::kv_len || node.op == Op::q_heads || node.op == Op::kv_heads;
    });
}

}  // namespace

Result<Simplified> simplify_for(const Mask& mask, const Shape& shape, const Bindings& bindings) {
    if (!mask.status().ok()) return mask.status();
    if (Status status = check(shape); !status.ok()) return status;
    Simplified result{mask, {}, !reads_the_shape(mask.tree())};
    if (shape.q_len == 0 || shape.kv_len == 0) return result;
    Simplification work(mask.tree(), shape, bindings);
    if (Status status = work.replace_decided(); !status.ok()) return status;
    if (Status status = work.drop_implied(); !status.ok()) return status;
    if (work.reasons().empty()) return result;
    result.mask = Mask(std::make_shared<const Tree>(std::move(work.tree())));
    result.reasons = std::move(work.reasons());
    return result;
}

}  // namespace vkattn
