// FlashMask: the rows that a column masks are struck out of a dense array of ones, range by range.
#include <algorithm>

#include "masks/brute_force.h"
#include "masks/random_tree.h"
#include "vkattn/sources/flash_mask.h"

using namespace vkattn;
using namespace vkattn::test;

namespace {

struct Problem {
    Shape shape;
    TableData indices;
};

Problem random_problem(Rng& rng, int n) {
    Problem problem;
    const int q_len = rng.between(1, 14), kv_len = rng.chance(50) ? q_len : rng.between(1, 14);
    problem.shape = {2, 6, 3, q_len, kv_len};
    problem.indices.dims = {rng.chance(50) ? 1 : 2, rng.chance(50) ? 1 : 3, kv_len, n};
    for (int64_t i = 0; i < problem.indices.count(); ++i) problem.indices.i32.push_back(rng.between(0, q_len));
    return problem;
}

// keep [B, Hq, Lq, Lkv]; query head h reads key head h / 2.
std::vector<uint8_t> dense_of(const Problem& problem, bool causal) {
    const Shape& shape = problem.shape;
    const auto q_len = static_cast<size_t>(shape.q_len), kv_len = static_cast<size_t>(shape.kv_len);
    std::vector<uint8_t> keep(2 * 6 * q_len * kv_len, 1);
    for (int b = 0; b < 2; ++b) {
        for (int h = 0; h < 6; ++h) {
            for (int j = 0; j < shape.kv_len; ++j) {
                const int64_t n = problem.indices.dims[3];
                const int64_t list = (problem.indices.dims[0] == 1 ? 0 : b) * problem.indices.dims[1] +
                                     (problem.indices.dims[1] == 1 ? 0 : h / 2);
                const int32_t* bound = &problem.indices.i32[static_cast<size_t>((list * shape.kv_len + j) * n)];
                const auto strike = [&](int begin, int end) {
                    for (int i = begin; i < std::min(end, shape.q_len); ++i)
                        keep[((static_cast<size_t>(b) * 6 + static_cast<size_t>(h)) * q_len + static_cast<size_t>(i)) *
                                 kv_len +
                             static_cast<size_t>(j)] = 0;
                };
                if (causal) {
                    strike(0, j - (shape.kv_len - shape.q_len));
                    strike(bound[0], n == 2 ? bound[1] : shape.q_len);
                } else if (n == 2) {
                    strike(bound[0], shape.q_len);
                    strike(0, bound[1]);
                } else {
                    strike(bound[0], bound[1]);
                    strike(bound[2], bound[3]);
                }
            }
        }
    }
    return keep;
}

}  // namespace

TEST_CASE("FlashMask startend_row_indices with 1, 2 and 4 columns") {
    for (uint64_t seed = 1; seed <= 40; ++seed) {
        Rng rng(seed);
        for (const auto& [causal, n] : {std::pair{true, 1}, {true, 2}, {false, 2}, {false, 4}}) {
            const Problem problem = random_problem(rng, n);
            const std::string at = std::string(problem.indices.dims[0] == 1 ? "0" : "b") + ", " +
                                   (problem.indices.dims[1] == 1 ? "0" : "h / (q_heads / kv_heads)") + ", kv, ";
            const auto row = [&](int i) { return "rows[" + at + std::to_string(i) + "]"; };
            const std::string text =
                causal && n == 1 ? "causal_lower_right() && q < " + row(0)
                : causal         ? "causal_lower_right() && (q < " + row(0) + " || q >= " + row(1) + ")"
                : n == 2         ? "q < " + row(0) + " && q >= " + row(1)
                         : "(q < " + row(0) + " || q >= " + row(1) + ") && (q < " + row(2) + " || q >= " + row(3) + ")";
            const std::vector<uint8_t> keep = dense_of(problem, causal);
            const auto q_len = static_cast<size_t>(problem.shape.q_len),
                       kv_len = static_cast<size_t>(problem.shape.kv_len);
            check_mask(text, flash_mask::startend_row_indices(problem.indices, causal), problem.shape,
                       [&](int b, int h, int q, int kv) {
                           return keep[((static_cast<size_t>(b) * 6 + static_cast<size_t>(h)) * q_len +
                                        static_cast<size_t>(q)) *
                                           kv_len +
                                       static_cast<size_t>(kv)] != 0;
                       });
        }
    }
}

TEST_CASE("FlashMask tables that are none are refused") {
    Rng rng(1);
    for (const auto& [causal, n] : {std::pair{true, 4}, {true, 3}, {false, 1}, {false, 3}})
        CHECK(refused(flash_mask::startend_row_indices(random_problem(rng, n).indices, causal), "n is "));
    TableData table = random_problem(rng, 2).indices;
    table.dims.pop_back();
    CHECK(!flash_mask::startend_row_indices(table, true).status().ok());
    table.dims = {table.count()};
    table.i32.resize(static_cast<size_t>(table.count()));
    CHECK(refused(flash_mask::startend_row_indices(table, true), "[B | 1, Hkv | 1, Lkv, n]"));
}
