// llama.cpp's cells against its own set_input_kq_mask.
#include <doctest/doctest.h>

#include "sources/golden.h"
#include "vkattn/sources/llama_cpp.h"

using namespace vkattn;
using namespace vkattn::test;

TEST_SUITE("llama_cpp") {
    TEST_CASE("cells in any order, with two sequences each, and all windows: elements, lists, sparsity") {
        static const GoldenFile file("llama_cpp");
        using llama_cpp::Window;
        const std::string in_sequence =
            "(kv_cell_seq[kv_seq[q] / 32, kv] >> kv_seq[q] % 32 & 1) == 1 && kv_cell_pos[kv] >= 0";
        struct Case {
            const char* name;
            Window window;
            const char* text;
        };
        int lists = 0;
        for (const Case& each :
             {Case{"none", Window::none, ""},
              {"standard", Window::standard, " && kv_pos[q] - kv_cell_pos[kv] < n_swa"},
              {"chunked", Window::chunked, " && kv_cell_pos[kv] >= kv_pos[q] / n_swa * n_swa"},
              {"symmetric", Window::symmetric, " && abs(kv_pos[q] - kv_cell_pos[kv]) <= n_swa / 2"}}) {
            for (const bool causal : {true, false}) {
                const auto mask = [&](const std::string& at) {
                    llama_cpp::Cells cells;
                    cells.positions = file.list(at, "cell_pos");
                    const std::vector<int32_t> ids = file.list(at, "cell_seq");  // [2, cells], -1: no second one
                    const size_t n = cells.positions.size();
                    for (size_t i = 0; i < n; ++i) {
                        cells.sequences.push_back({ids[i]});
                        if (ids[n + i] >= 0) cells.sequences.back().push_back(ids[n + i]);
                    }
                    const llama_cpp::Tokens tokens{file.list(at, "token_pos"), file.list(at, "token_seq")};
                    return llama_cpp::kv_cells(cells, tokens, causal, each.window, file.scalar(at, "n_swa"));
                };
                const std::string text = in_sequence + (causal ? " && kv_cell_pos[kv] <= kv_pos[q]" : "") + each.text;
                lists += check_mask(file, SizedCase{std::string(each.name) + (causal ? "_causal" : ""), mask,
                                                    [&](const std::string&) { return text; }});
            }
        }
        CHECK(lists == 24);
    }
}
