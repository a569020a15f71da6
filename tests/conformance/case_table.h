// The calls that every path is tested with.
#pragma once

#include <string>
#include <vector>

#include "harness/attention_case.h"

namespace vkattn_tests {

enum class Table : uint8_t { quick, standard, full };

struct TestedCase {
    std::string name;
    AttentionCase attention_case;
    bool quick = false;
    bool bits = false;  // run again and in slices, bit for bit
};

// quick: a part of standard. full: besides, a pairwise table of everything, always the same.
std::vector<TestedCase> case_table(Table table);

}  // namespace vkattn_tests
