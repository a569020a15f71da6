// normalise = (simplify, order operands, lift literals and params into slots), repeated until nothing changes: flattening one
// chain can leave a node with a single use, which the next round may flatten too.
#include "vkattn/normalise.h"

#include <utility>

#include "canonical.h"
#include "simplify.h"
#include "tree_builder.h"

namespace vkattn {
namespace {

using detail::make_node;
using detail::TreeBuilder;

// Rounds until the fixed point; two are usual. The bound only keeps a hostile tree from costing more than it should.
constexpr int max_rounds = 16;

// The tape, simplified. `root` is where the result is.
std::vector<Node> simplified(const Tree& tree, int32_t* root) {
    detail::Simplifier simplifier;
    std::vector<int32_t> position(tree.nodes.size(), -1);
    for (size_t i = 0; i < tree.nodes.size(); ++i) {
        Node node = tree.nodes[i];
        for (uint8_t a = 0; a < node.n_args; ++a) node.args[a] = position[static_cast<size_t>(node.args[a])];
        position[i] = simplifier.add(node);
    }
    *root = position.back();
    return simplifier.nodes().nodes();
}

// Every use of a literal or a param becomes a slot of its own, also of equal literals and of one param used twice:
// whether two values happen to be equal, or have one name, is no structure.
Tree lifted(const Tree& tree) {
    Tree result;
    result.params = tree.params;
    result.tables = tree.tables;
    result.slots = tree.slots;
    std::vector<int32_t> position(tree.nodes.size(), -1);
    const auto push = [&result](const Node& node) {
        result.nodes.push_back(node);
        return static_cast<int32_t>(result.nodes.size()) - 1;
    };
    const auto is_value = [](const Node& node) {
        return node.op == Op::param || (node.op == Op::literal && detail::is_lifted(node));
    };
    const auto lift = [&](const Node& value, bool specialised_place) {
        SlotRef slot{.type = value.type};
        if (value.op == Op::param) {
            slot.param = static_cast<int32_t>(value.payload);
        } else {
            slot.specialised = specialised_place;
            slot.bits = value.payload;
        }
        result.slots.push_back(slot);
        return push(make_node(Op::slot, slot.type, {}, static_cast<uint32_t>(result.slots.size()) - 1));
    };
    for (size_t i = 0; i < tree.nodes.size(); ++i) {
        Node node = tree.nodes[i];
        if (is_value(node)) {  // lifted where it is used
            if (i + 1 == tree.nodes.size()) lift(node, false);
            continue;
        }
        for (uint8_t a = 0; a < node.n_args; ++a) {
            const Node& arg = tree.nodes[static_cast<size_t>(node.args[a])];
            node.args[a] = is_value(arg) ? lift(arg, detail::is_specialised_place(node, a))
                                         : position[static_cast<size_t>(node.args[a])];
        }
        position[i] = push(node);
    }
    return result;
}

bool same(const SlotRef& x, const SlotRef& y) {
    return x.type == y.type && x.specialised == y.specialised && x.param == y.param && x.bits == y.bits;
}

bool same(const Tree& x, const Tree& y) {
    if (x.nodes != y.nodes || x.slots.size() != y.slots.size() || x.params.size() != y.params.size() ||
        x.tables.size() != y.tables.size()) {
        return false;
    }
    for (size_t i = 0; i < x.slots.size(); ++i) {
        if (!same(x.slots[i], y.slots[i])) return false;
    }
    for (size_t i = 0; i < x.params.size(); ++i) {
        if (x.params[i].name != y.params[i].name) return false;
    }
    for (size_t i = 0; i < x.tables.size(); ++i) {
        if (x.tables[i].name != y.tables[i].name) return false;
    }
    return true;
}

Tree one_round(const Tree& tree) {
    Tree work{.nodes = {}, .params = tree.params, .tables = tree.tables, .slots = tree.slots};
    int32_t root = 0;
    work.nodes = simplified(tree, &root);
    work.nodes = detail::canonical_operands(work, root);
    work = lifted(work);
    const int32_t last = static_cast<int32_t>(work.nodes.size()) - 1;
    return detail::canonical_order(std::move(work), last);
}

Tree fixed_point(const Tree& tree) {
    Tree result = one_round(tree);
    for (int round = 1; round < max_rounds; ++round) {
        Tree next = one_round(result);
        const bool settled = same(next, result);
        result = std::move(next);
        if (settled) break;
    }
    return result;
}

bool is_boolean_literal(const Tree& tree, uint32_t bits) {
    const Node& result = tree.nodes.back();
    return result.op == Op::literal && result.type == Type::boolean && result.payload == bits;
}

}  // namespace

Result<Tree> normalise(const Mask& mask) {
    if (!mask.status()) return mask.status();
    return fixed_point(mask.tree());
}

Result<Tree> normalise(const ScoreMod& score_mod) {
    if (!score_mod.status()) return score_mod.status();
    return fixed_point(score_mod.tree());
}

std::vector<uint32_t> slot_values(const Tree& normalised, const ResolvedBindings& bindings) {
    std::vector<uint32_t> values;
    values.reserve(normalised.slots.size());
    for (const SlotRef& slot : normalised.slots) {
        values.push_back(slot.param >= 0 ? bindings.params[static_cast<size_t>(slot.param)] : slot.bits);
    }
    return values;
}

bool is_literal_true(const Tree& tree) { return is_boolean_literal(tree, 1); }
bool is_literal_false(const Tree& tree) { return is_boolean_literal(tree, 0); }

}  // namespace vkattn
