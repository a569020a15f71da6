// What is searched and asked when the user gives nothing.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vkattn/result.h"

namespace semantic_search {

std::span<const std::string_view> built_in_sentences();

// A query and the built-in sentence that means the same.
struct KnownPair {
    std::string_view query;
    std::string_view nearest;
};
std::span<const KnownPair> known_pairs();

// A UTF-8 text file with a sentence a line; empty lines are left out. Errors name the path, and the line.
vkattn::Result<std::vector<std::string>> read_sentences(const std::string& path);

}  // namespace semantic_search
