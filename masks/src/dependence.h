// What a node's value depends on: decides where it is computed (per row, per key, per pair) and what shape lists need.
#pragma once

#include <cstdint>
#include <vector>

#include "vkattn/tree.h"

namespace vkattn::detail {

// Bits of a set.
enum Depends : uint8_t { on_b = 1, on_h = 2, on_q = 4, on_kv = 8, on_score = 16 };

// uniform and everything of (b, h, q) | of (b, h, kv) | of both q and kv, or of the score.
enum class Level : uint8_t { row, column, pair };

// One set of Depends per node.
std::vector<uint8_t> dependence(const std::vector<Node>& nodes);
Level level(uint8_t depends);

}  // namespace vkattn::detail
