// Calls of named masks and score mods: from a definition and arguments to an expression, and the text grammar's overloads.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "vkattn/named.h"

namespace vkattn::detail {

// The entry's expression at `site`. Arguments are of the entry's kinds; their types are settled here (ints, tables' elements).
Expr build_named(const NamedEntry& entry, const NamedSite& site, NamedArgument* args);

}  // namespace vkattn::detail
