// llama.cpp's cells: a mask array filled cell by cell as its definition says, with sets of ids.
#include <cstdlib>
#include <set>

#include "masks/brute_force.h"
#include "masks/random_tree.h"
#include "vkattn/sources/llama_cpp.h"

using namespace vkattn;
using namespace vkattn::test;
using llama_cpp::Window;

TEST_CASE("llama.cpp cells with several sequences each, in any order, and all windows") {
    for (uint64_t seed = 1; seed <= 40; ++seed) {
        Rng rng(seed);
        llama_cpp::Cells cells;
        llama_cpp::Tokens tokens;
        const int n_sequences = rng.chance(30) ? 70 : rng.between(1, 4);
        const bool crowded = rng.chance(50);
        std::vector<std::set<int>> members;
        for (int i = rng.between(1, 19); i > 0; --i) {
            std::set<int> ids;
            const bool empty = rng.chance(15);
            for (int k = empty ? 0 : rng.between(1, crowded ? 8 : 2); k > 0; --k) ids.insert(rng.below(n_sequences));
            members.push_back(ids);
            cells.positions.push_back(empty ? -1 : rng.below(30));
            cells.sequences.emplace_back(ids.begin(), ids.end());
        }
        for (int i = rng.between(1, 11); i > 0; --i) {
            tokens.positions.push_back(rng.below(30));
            tokens.sequences.push_back(rng.below(n_sequences));
        }
        const auto n_tokens = static_cast<int>(tokens.positions.size()),
                   n_kv = static_cast<int>(cells.positions.size());
        for (const Window window : {Window::none, Window::standard, Window::chunked, Window::symmetric}) {
            for (const bool causal : {true, false}) {
                const int n_swa = rng.between(1, 12);
                const std::string n = std::to_string(n_swa);
                std::string text =
                    "(kv_cell_seq[kv_seq[q] / 32, kv] >> kv_seq[q] % 32 & 1) == 1 && kv_cell_pos[kv] >= 0";
                if (causal) text += " && kv_cell_pos[kv] <= kv_pos[q]";
                if (window == Window::standard) text += " && kv_pos[q] - kv_cell_pos[kv] < " + n;
                if (window == Window::chunked) text += " && kv_cell_pos[kv] >= kv_pos[q] / " + n + " * " + n;
                if (window == Window::symmetric) text += " && abs(kv_pos[q] - kv_cell_pos[kv]) <= " + n + " / 2";
                const auto masked = [&](int token, int cell) {
                    if (members[static_cast<size_t>(cell)].count(tokens.sequences[static_cast<size_t>(token)]) == 0)
                        return true;
                    const int p0 = cells.positions[static_cast<size_t>(cell)],
                              p1 = tokens.positions[static_cast<size_t>(token)];
                    if (causal && p0 > p1) return true;
                    if (window == Window::standard) return p1 - p0 >= n_swa;
                    if (window == Window::symmetric) return std::abs(p1 - p0) > n_swa / 2;
                    int chunk_start = 0;
                    while (chunk_start + n_swa <= p1) chunk_start += n_swa;
                    return window == Window::chunked && p0 < chunk_start;
                };
                check_mask(text, llama_cpp::kv_cells(cells, tokens, causal, window, n_swa),
                           {1, 2, 1, n_tokens + 2, n_kv + 3}, [&](int, int, int token, int cell) {
                               return token < n_tokens && cell < n_kv && !masked(token, cell);
                           });
            }
        }
    }
}

TEST_CASE("llama.cpp cells that are none are refused") {
    const llama_cpp::Cells cells{{0, 1}, {{0}, {0, 1}}};
    const llama_cpp::Tokens tokens{{2}, {0}};
    CHECK(llama_cpp::kv_cells(cells, tokens).status().ok());
    CHECK(llama_cpp::kv_cells({}, {}).status().ok());
    CHECK(refused(llama_cpp::kv_cells({{0}, {}}, tokens), "as many positions as sets"));
    CHECK(refused(llama_cpp::kv_cells(cells, {{0}, {}}), "as many positions as sequences"));
    CHECK(refused(llama_cpp::kv_cells({{-2}, {{0}}}, tokens), "cell 0 is at position -2"));
    CHECK(refused(llama_cpp::kv_cells(cells, {{-1}, {0}}), "token 0 is at position -1"));
    CHECK(refused(llama_cpp::kv_cells({{0}, {{-1}}}, tokens), "0 to 65535"));
    CHECK(refused(llama_cpp::kv_cells(cells, {{0}, {65536}}), "0 to 65535"));
    CHECK(refused(llama_cpp::kv_cells(cells, tokens, true, Window::chunked, 0), "n_swa is 0"));
}
