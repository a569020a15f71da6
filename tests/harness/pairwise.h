// Pairwise tables: rows of choices in which every pair of values of two axes occurs, unless the pair is excluded.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace vkattn_tests {

struct PairwiseOptions {
    // Whether values x of axis i and y of axis j (i < j) may stand in one row. Null: always.
    std::function<bool(size_t i, int32_t x, size_t j, int32_t y)> allowed;
    // Pairs of axes that need not be covered: they are still mixed, but not row by row.
    std::vector<std::pair<size_t, size_t>> free_pairs;
    uint64_t seed = 1;
};

// `sizes[i]` values on axis i. A greedy table: each row takes the pair that is still missing and, around it, the values that
// cover most. The same seed gives the same table everywhere.
std::vector<std::vector<int32_t>> pairwise_table(const std::vector<int32_t>& sizes,
                                                 const PairwiseOptions& options = {});

}  // namespace vkattn_tests
