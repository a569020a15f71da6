// Hash-consing of tree nodes, and the one canonical order of a finished tape.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "vkattn/tree.h"

namespace vkattn::detail {

Node make_node(Op op, Type type, std::initializer_list<int32_t> args = {}, uint32_t payload = 0);
// NaN literals are stored with one bit pattern, so that equal text gives equal nodes.
Node make_literal(Type type, uint32_t bits);

// A tape on which equal nodes exist once.
class TreeBuilder {
  public:
    int32_t add(const Node& node);  // the position of an equal node, or of this one, appended
    const Node& operator[](int32_t i) const { return nodes_[static_cast<size_t>(i)]; }
    const std::vector<Node>& nodes() const { return nodes_; }
    std::vector<Node> take() { return std::move(nodes_); }

  private:
    void grow();

    std::vector<Node> nodes_;
    std::vector<int32_t> buckets_;  // open addressing by hash; -1: free
};

// `tree` with `root` as its result: unreachable nodes dropped, the others in depth-first post-order (arguments left
// to right), params, tables and slots renumbered in order of first use. Equal graphs become equal tapes, however they
// were built. Where slots exist, a param is used by a slot.
Tree canonical_order(Tree tree, int32_t root);

}  // namespace vkattn::detail
