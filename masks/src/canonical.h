// Canonical form of a simplified tape: operands of commutative operators in an order that depends on structure alone.
#pragma once

#include "vkattn/tree.h"

namespace vkattn::detail {

// Whether this argument of a node is a divisor, modulus or shift count, which becomes a specialization constant when it is a literal.
bool is_specialised_place(const Node& node, uint8_t arg);
// Whether a literal's value lives in a slot. Bools, infinities and NaN stay in the text.
bool is_lifted(const Node& literal);

// Chains of && and || are flattened, freed of duplicates and sorted: first what is known per row, then per key, then the rest,
// so that each group is one value. The last node of the result is the value of `root`.
// Neither names nor slot values nor the order of writing decide; only operands that no structure tells apart keep theirs.
std::vector<Node> canonical_operands(const Tree& tree, int32_t root);

}  // namespace vkattn::detail
