// Rewriting that makes a tree smaller or more regular without changing any value. First pass of normalisation.
#pragma once

#include "tree_builder.h"

namespace vkattn::detail {

// Adds nodes to a TreeBuilder, simplified on the way in: literal-only subtrees become one literal (bit for bit what evaluation
// gives), bool literals vanish, negations move into comparisons. No rule looks at the value of an i32 or f32 literal next to
// something that is not a literal: `x + 0` stays, because 0 may be another number in a tree of the same structure.
class Simplifier {
  public:
    // The position of a node equal in value to `node`, whose args are positions here.
    int32_t add(const Node& node);
    const TreeBuilder& nodes() const { return nodes_; }

  private:
    int32_t literal(Type type, uint32_t bits) { return nodes_.add(make_literal(type, bits)); }
    int32_t boolean(bool value) { return literal(Type::boolean, value ? 1 : 0); }
    bool is_literal(int32_t i) const { return nodes_[i].op == Op::literal; }
    bool is_boolean(int32_t i, bool value) const;
    bool fold(const Node& node, uint32_t* bits) const;
    int32_t add_not(int32_t x);
    int32_t add_and(int32_t x, int32_t y);
    int32_t add_or(int32_t x, int32_t y);
    int32_t add_equality(const Node& node);
    int32_t add_select(const Node& node);

    TreeBuilder nodes_;
};

}  // namespace vkattn::detail
