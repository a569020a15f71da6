#include "tree_builder.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

namespace vkattn::detail {

namespace {

uint64_t hash_node(const Node& node) {
    uint64_t hash = static_cast<uint64_t>(node.op) | static_cast<uint64_t>(node.type) << 8 |
                    static_cast<uint64_t>(node.n_args) << 16 | static_cast<uint64_t>(node.payload) << 24;
    for (const int32_t arg : node.args) {
        hash = (hash ^ static_cast<uint32_t>(arg)) * 0x9e3779b97f4a7c15ull;
        hash ^= hash >> 29;
    }
    return hash;
}

// New numbers in order of first use; `kept` collects what is used, in that order.
template <class T>
class Renumber {
  public:
    explicit Renumber(std::vector<T>& all) : all_(all), number_(all.size(), -1) {}

    uint32_t operator()(uint32_t old) {
        int32_t& number = number_[old];
        if (number < 0) {
            number = static_cast<int32_t>(kept_.size());
            kept_.push_back(std::move(all_[old]));
        }
        return static_cast<uint32_t>(number);
    }
    std::vector<T>& kept() { return kept_; }

  private:
    std::vector<T>& all_;
    std::vector<int32_t> number_;
    std::vector<T> kept_;
};

}  // namespace

Node make_node(Op op, Type type, std::initializer_list<int32_t> args, uint32_t payload) {
    Node node;
    node.op = op;
    node.type = type;
    node.n_args = static_cast<uint8_t>(args.size());
    node.payload = payload;
    std::copy(args.begin(), args.end(), node.args);
    return node;
}

Node make_literal(Type type, uint32_t bits) {
    if (type == Type::f32 && std::isnan(std::bit_cast<float>(bits))) bits = 0x7fc00000u;
    return make_node(Op::literal, type, {}, bits);
}

int32_t TreeBuilder::add(const Node& node) {
    if (2 * (nodes_.size() + 1) > buckets_.size()) grow();
    const size_t mask = buckets_.size() - 1;
    for (size_t at = hash_node(node) & mask;; at = (at + 1) & mask) {
        if (buckets_[at] < 0) {
            buckets_[at] = static_cast<int32_t>(nodes_.size());
            nodes_.push_back(node);
            return buckets_[at];
        }
        if (nodes_[static_cast<size_t>(buckets_[at])] == node) return buckets_[at];
    }
}

void TreeBuilder::grow() {
    buckets_.assign(std::max<size_t>(64, 2 * buckets_.size()), -1);
    const size_t mask = buckets_.size() - 1;
    for (size_t i = 0; i < nodes_.size(); ++i) {
        size_t at = hash_node(nodes_[i]) & mask;
        while (buckets_[at] >= 0) at = (at + 1) & mask;
        buckets_[at] = static_cast<int32_t>(i);
    }
}

Tree canonical_order(Tree tree, int32_t root) {
    struct Visit {
        int32_t node;
        uint8_t next_arg;
    };
    std::vector<int32_t> position(tree.nodes.size(), -1);
    std::vector<Visit> stack{{root, 0}};
    Renumber<ParamRef> params(tree.params);
    Renumber<TableRef> tables(tree.tables);
    Renumber<SlotRef> slots(tree.slots);
    Tree result;
    while (!stack.empty()) {
        Visit& visit = stack.back();
        const Node& node = tree.nodes[static_cast<size_t>(visit.node)];
        if (visit.next_arg < node.n_args) {
            const int32_t arg = node.args[visit.next_arg++];
            if (position[static_cast<size_t>(arg)] < 0) stack.push_back({arg, 0});
            continue;
        }
        Node placed = node;
        for (uint8_t i = 0; i < node.n_args; ++i) placed.args[i] = position[static_cast<size_t>(node.args[i])];
        if (node.op == Op::param) placed.payload = params(node.payload);
        if (node.op == Op::table) placed.payload = tables(node.payload);
        if (node.op == Op::slot) placed.payload = slots(node.payload);
        position[static_cast<size_t>(visit.node)] = static_cast<int32_t>(result.nodes.size());
        result.nodes.push_back(placed);
        stack.pop_back();
    }
    result.slots = std::move(slots.kept());
    for (SlotRef& slot : result.slots) {
        if (slot.param >= 0) slot.param = static_cast<int32_t>(params(static_cast<uint32_t>(slot.param)));
    }
    result.params = std::move(params.kept());
    result.tables = std::move(tables.kept());
    return result;
}

}  // namespace vkattn::detail
