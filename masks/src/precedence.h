// C's operator precedence, the same for reading and for writing text. A higher number binds tighter.
#pragma once

#include "vkattn/tree.h"

namespace vkattn::detail {

constexpr int lowest_precedence = 0;  // ?:
constexpr int unary_precedence = 11;
constexpr int primary_precedence = 12;  // names, literals, calls, table look-ups

int precedence_of(Op op);

}  // namespace vkattn::detail
