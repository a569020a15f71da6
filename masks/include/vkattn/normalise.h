// Normalisation: what of a mask and a score mod is structure, and what is only a value.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "vkattn/bindings.h"
#include "vkattn/mask.h"

namespace vkattn {

// The canonical tree: constants folded, double negations and `true &&` removed, commutative operands in canonical order, every
// use of an i32 or f32 literal or of a param lifted into a slot of its own (literal divisors, moduli and shift counts as
// specialised slots; bool literals and +-inf/NaN literals stay structure). Idempotent. Neither values nor names change the
// structure: sliding_window(77), sliding_window(78) and sliding_window(param("w")) have equal nodes. One exception: whole
// sub-expressions that are equal, values included, are one: `q + 3` twice is computed once, `q + 3` and `q + 4` are two.
Result<Tree> normalise(const Mask& mask);
Result<Tree> normalise(const ScoreMod& score_mod);

// 128-bit hash of a normalised tree's structure (nodes, table types and dims; not slot values, not names), as hex.
// Tables and params are identified by position, so masks that differ in names alone are equal.
std::string structure_hash(const Tree& normalised);

// The value of each slot, in order: bits.
std::vector<uint32_t> slot_values(const Tree& normalised, const ResolvedBindings& bindings);

// 128-bit hash of the tables' types, dims and contents, in order; empty without tables.
std::string tables_hash(const ResolvedBindings& bindings);

// Whether the tree's result is a bool literal (a mask that keeps or drops everything), or `score` itself.
bool is_literal_true(const Tree& tree);
bool is_literal_false(const Tree& tree);

}  // namespace vkattn
