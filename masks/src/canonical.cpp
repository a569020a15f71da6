// Sorting needs a key per node that equal masks share. A first key is the structure below the node (op, types, keys of the
// operands), where every slot counts alike and so does every table. Operands that this key does not tell apart, such as A[q] and
// B[q], are told apart by where else A and B are used: two rounds of colour refinement, downwards and up again.
#include "canonical.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "dependence.h"
#include "tree_builder.h"

namespace vkattn::detail {
namespace {

uint64_t mix(uint64_t hash, uint64_t value) {
    hash = (hash ^ value) * 0x9e3779b97f4a7c15ull;
    hash ^= hash >> 32;
    hash *= 0xd6e8feb86659fd93ull;
    return hash ^ (hash >> 29);
}

bool is_chain(Op op) { return op == Op::logical_and || op == Op::logical_or; }

// f32 min and max are not: with a NaN or zeros of both signs the first operand wins.
bool is_commutative(const Node& node) {
    const bool integral = node.type != Type::f32;
    switch (node.op) {
    case Op::add:
    case Op::mul:
    case Op::eq:
    case Op::ne:
    case Op::bit_and:
    case Op::bit_or:
    case Op::bit_xor:
    case Op::logical_and:
    case Op::logical_or: return true;
    case Op::min:
    case Op::max: return integral;
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
    case Op::table:
    case Op::sub:
    case Op::div:
    case Op::mod:
    case Op::neg:
    case Op::abs:
    case Op::bit_not:
    case Op::shl:
    case Op::shr:
    case Op::logical_not:
    case Op::lt:
    case Op::le:
    case Op::select:
    case Op::to_f32:
    case Op::to_i32:
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
    case Op::sign: return false;
    }
    return false;
}

// A node whose chain of one operator is flattened: any number of operands.
struct Flat {
    std::vector<int32_t> operands;
    bool kept = false;  // reachable, and not absorbed by the chain above
};

class Canonical {
  public:
    Canonical(const Tree& tree, int32_t root) : tree_(tree), root_(root), flat_(tree.nodes.size()) {}

    std::vector<Node> run() {
        flatten();
        depends_ = dependence(tree_.nodes);
        slot_colours_.assign(tree_.slots.size(), 0);
        table_colours_.assign(tree_.tables.size(), 0);
        first_key_ = keys();
        key_ = first_key_;
        for (int round = 0; round < 2; ++round) {
            recolour();
            key_ = keys();
        }
        return build();
    }

  private:
    const Node& node(int32_t i) const { return tree_.nodes[static_cast<size_t>(i)]; }

    // Marks what is reachable, and hands the operands of an && under an && (used nowhere else) to the upper one.
    void flatten() {
        const size_t n = tree_.nodes.size();
        std::vector<int32_t> uses(n, 0);
        std::vector<bool> reached(n, false);
        reached[static_cast<size_t>(root_)] = true;
        for (size_t i = n; i-- > 0;) {
            if (!reached[i]) continue;
            for (uint8_t a = 0; a < tree_.nodes[i].n_args; ++a) {
                const size_t arg = static_cast<size_t>(tree_.nodes[i].args[a]);
                reached[arg] = true;
                ++uses[arg];
            }
        }
        std::vector<bool> absorbed(n, false);
        std::vector<int32_t> stack;
        for (size_t i = n; i-- > 0;) {  // heads of chains come before what they absorb
            if (!reached[i] || absorbed[i]) continue;
            const Node& head = tree_.nodes[i];
            flat_[i].kept = true;
            stack.assign(std::make_reverse_iterator(head.args + head.n_args),
                         std::make_reverse_iterator(head.args + 0));
            while (!stack.empty()) {
                const int32_t operand = stack.back();
                stack.pop_back();
                const Node& below = node(operand);
                if (is_chain(head.op) && below.op == head.op && uses[static_cast<size_t>(operand)] == 1) {
                    absorbed[static_cast<size_t>(operand)] = true;
                    stack.push_back(below.args[1]);
                    stack.push_back(below.args[0]);
                } else {
                    flat_[i].operands.push_back(operand);
                }
            }
            if (is_chain(head.op)) drop_duplicates(flat_[i].operands);
        }
    }

    static void drop_duplicates(std::vector<int32_t>& operands) {
        std::vector<int32_t> sorted = operands;
        std::sort(sorted.begin(), sorted.end());
        if (std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end()) return;
        std::vector<int32_t> unique;
        for (const int32_t operand : operands) {
            const auto [first, last] = std::equal_range(sorted.begin(), sorted.end(), operand);
            if (first == last) continue;  // seen: all of its copies were taken out below
            unique.push_back(operand);
            sorted.erase(first, last);
        }
        operands = std::move(unique);
    }

    uint64_t leaf_key(const Node& leaf, uint64_t specialised) const {
        const uint64_t type = static_cast<uint64_t>(leaf.type);
        // A literal, a param and a slot of one type are the same structure.
        const uint64_t slot = mix(mix(mix(1, static_cast<uint64_t>(Op::slot)), type), specialised);
        if (leaf.op == Op::literal) return is_lifted(leaf) ? slot : mix(mix(3, type), leaf.payload);
        if (leaf.op == Op::param) return slot;
        if (leaf.op == Op::slot) {
            const SlotRef& ref = tree_.slots[leaf.payload];
            return mix(mix(mix(1, static_cast<uint64_t>(Op::slot)), type), ref.specialised) ^
                   slot_colours_[leaf.payload];
        }
        return mix(2, static_cast<uint64_t>(leaf.op));
    }

    std::vector<uint64_t> keys() {
        std::vector<uint64_t> keys(tree_.nodes.size(), 0);
        std::vector<uint64_t> operand_keys;
        for (size_t i = 0; i < keys.size(); ++i) {
            if (!flat_[i].kept) continue;
            const Node& at = tree_.nodes[i];
            if (at.n_args == 0) {
                keys[i] = leaf_key(at, 0);
                continue;
            }
            operand_keys.clear();
            for (const int32_t operand : flat_[i].operands) {
                const size_t place = operand_keys.size();
                const bool specialised = place < 4 && is_specialised_place(at, static_cast<uint8_t>(place)) &&
                                         node(operand).op == Op::literal;
                operand_keys.push_back(specialised ? leaf_key(node(operand), 1) : keys[static_cast<size_t>(operand)]);
            }
            if (is_commutative(at)) std::sort(operand_keys.begin(), operand_keys.end());
            uint64_t key = mix(mix(4, static_cast<uint64_t>(at.op)), static_cast<uint64_t>(at.type));
            if (at.op == Op::table) {
                const TableRef& table = tree_.tables[at.payload];
                key = mix(mix(key, static_cast<uint64_t>(table.type)), table.n_dims) ^ table_colours_[at.payload];
            }
            for (const uint64_t operand_key : operand_keys) key = mix(key, operand_key);
            keys[i] = key;
        }
        return keys;
    }

    // Gives every slot and table a colour made of the places it is used in.
    void recolour() {
        std::vector<uint64_t> context(tree_.nodes.size(), 0);
        context[static_cast<size_t>(root_)] = 5;
        std::vector<uint64_t> slots(slot_colours_.size(), 0);
        std::vector<uint64_t> tables(table_colours_.size(), 0);
        for (size_t i = tree_.nodes.size(); i-- > 0;) {
            if (!flat_[i].kept) continue;
            const Node& at = tree_.nodes[i];
            const uint64_t here = mix(context[i], key_[i]);
            if (at.op == Op::slot) slots[at.payload] += here;
            if (at.op == Op::table) tables[at.payload] += here;
            for (size_t place = 0; place < flat_[i].operands.size(); ++place) {
                const uint64_t position = is_commutative(at) ? 0 : place + 1;
                context[static_cast<size_t>(flat_[i].operands[place])] += mix(here, position);
            }
        }
        slot_colours_ = std::move(slots);
        table_colours_ = std::move(tables);
    }

    std::vector<Node> build() {
        TreeBuilder built;
        std::vector<int32_t> position(tree_.nodes.size(), -1);
        for (size_t i = 0; i < position.size(); ++i) {
            if (!flat_[i].kept) continue;
            Node at = tree_.nodes[i];
            std::vector<int32_t>& operands = flat_[i].operands;
            if (is_commutative(at)) {
                std::stable_sort(operands.begin(), operands.end(),
                                 [this](int32_t x, int32_t y) { return before(x, y); });
            }
            if (is_chain(at.op)) {
                position[i] = build_chain(built, at, operands, position);
                continue;
            }
            for (uint8_t a = 0; a < at.n_args; ++a) at.args[a] = position[static_cast<size_t>(operands[a])];
            position[i] = built.add(at);
        }
        // The root was reached first and is kept, so it is the last node that was built, or equal to an earlier one.
        std::vector<Node> nodes = built.take();
        nodes.resize(static_cast<size_t>(position[static_cast<size_t>(root_)]) + 1);
        return nodes;
    }

    bool before(int32_t x, int32_t y) const {
        const size_t a = static_cast<size_t>(x);
        const size_t b = static_cast<size_t>(y);
        const Level level_a = level(depends_[a]);
        const Level level_b = level(depends_[b]);
        if (level_a != level_b) return level_a < level_b;
        if (first_key_[a] != first_key_[b]) return first_key_[a] < first_key_[b];
        return key_[a] < key_[b];
    }

    // One chain per level, then the levels joined.
    int32_t build_chain(TreeBuilder& built, Node link, const std::vector<int32_t>& operands,
                        const std::vector<int32_t>& position) const {
        int32_t joined = -1;
        for (size_t begin = 0; begin < operands.size();) {
            const Level here = level(depends_[static_cast<size_t>(operands[begin])]);
            int32_t group = -1;
            for (; begin < operands.size() && level(depends_[static_cast<size_t>(operands[begin])]) == here; ++begin) {
                group = join(built, link, group, position[static_cast<size_t>(operands[begin])]);
            }
            joined = join(built, link, joined, group);
        }
        return joined;
    }

    static int32_t join(TreeBuilder& built, Node& link, int32_t left, int32_t right) {
        if (left < 0) return right;
        link.args[0] = left;
        link.args[1] = right;
        return built.add(link);
    }

    const Tree& tree_;
    int32_t root_;
    std::vector<Flat> flat_;
    std::vector<uint8_t> depends_;
    std::vector<uint64_t> slot_colours_, table_colours_;
    std::vector<uint64_t> first_key_, key_;
};

}  // namespace

bool is_specialised_place(const Node& node, uint8_t arg) {
    return arg == 1 && node.type == Type::i32 &&
           (node.op == Op::div || node.op == Op::mod || node.op == Op::shl || node.op == Op::shr);
}

bool is_lifted(const Node& literal) {
    if (literal.type == Type::f32) return std::isfinite(std::bit_cast<float>(literal.payload));
    return literal.type == Type::i32;
}

std::vector<Node> canonical_operands(const Tree& tree, int32_t root) { return Canonical(tree, root).run(); }

}  // namespace vkattn::detail
