// Calls of named masks and score mods: from a definition and arguments to an expression, and the text grammar's
// overloads.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "vkattn/named.h"
#include "vkattn/result.h"

namespace vkattn::detail {

// The entry's expression at `site`. Arguments are of the entry's kinds; their types are settled here (ints, tables'
// elements).
Expr build_named(const NamedEntry& entry, const NamedSite& site, NamedArgument* args);

// What an argument in text can be. An expression is a value; a bare name is what it is declared as, or either.
struct CallArgument {
    bool may_be_table = false;
    bool may_be_value = true;
};
struct ResolvedCall {
    const NamedEntry* entry = nullptr;
    bool last_is_score = false;  // one argument more than the entry has: the score that a score mod changes
};
// The overload of `name` that takes these arguments; where several do, one without the extra score, then the first
// listed.
Result<ResolvedCall> resolve_call(std::span<const NamedEntry> entries, std::string_view name,
                                  std::span<const CallArgument> arguments, bool score_mod);

bool has_entry(std::span<const NamedEntry> entries, std::string_view name);

// "; did you mean 'causal'?" when one of `candidates` is close to `name`, else "".
std::string did_you_mean(std::string_view name, std::span<const std::string_view> candidates);

}  // namespace vkattn::detail
