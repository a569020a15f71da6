// llama.cpp's cells against its own set_input_kq_mask.
#include <doctest/doctest.h>

#include <cmath>

#include "sources/golden.h"
#include "vkattn/evaluate.h"
#include "vkattn/sources/llama_cpp.h"

using namespace vkattn;
using namespace vkattn::test;

namespace {

const GoldenFile& golden() {
    static const GoldenFile file("llama_cpp");
    return file;
}

llama_cpp::Cells cells_at(const std::string& at) {
    llama_cpp::Cells cells;
    cells.positions = golden().list(at, "cell_pos");
    const std::vector<int32_t> ids = golden().list(at, "cell_seq");  // [2, cells], -1: no second one
    const size_t n = cells.positions.size();
    for (size_t i = 0; i < n; ++i) {
        cells.sequences.push_back({ids[i]});
        if (ids[n + i] >= 0) cells.sequences.back().push_back(ids[n + i]);
    }
    return cells;
}
llama_cpp::Tokens tokens_at(const std::string& at) {
    return {golden().list(at, "token_pos"), golden().list(at, "token_seq")};
}

}  // namespace

TEST_SUITE("llama_cpp") {
    TEST_CASE("cells in any order, with two sequences each, and all windows: elements, lists, sparsity") {
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
                    return llama_cpp::kv_cells(cells_at(at), tokens_at(at), causal, each.window,
                                               golden().scalar(at, "n_swa"));
                };
                const std::string text = in_sequence + (causal ? " && kv_cell_pos[kv] <= kv_pos[q]" : "") + each.text;
                lists += check_mask(golden(), SizedCase{std::string(each.name) + (causal ? "_causal" : ""), mask,
                                                        [&](const std::string&) { return text; }});
            }
        }
        CHECK(lists == 24);
    }

    TEST_CASE("ALiBi: minus the distance of positions, where the mask keeps the pair") {
        const std::string at = "none_causal/small";
        const Shape shape = golden().shape(at);
        const Mask mask = llama_cpp::kv_cells(cells_at(at), tokens_at(at));
        REQUIRE(mask.status().ok());
        Bindings bindings;
        for (const TableRef& each : mask.tree().tables) bindings.tables[each.name] = each.captured;
        TableData slopes;
        slopes.type = Type::f32;
        slopes.dims = {4};
        slopes.f32 = {1.0f, 0.5f, 0.25f, 0.125f};
        bindings.tables["slope"] = std::make_shared<const TableData>(slopes);
        // In a score mod a name without a declaration is f32.
        const auto text =
            parse_score_mod("score - slope[h] * float(abs(kv_pos[q] - kv_cell_pos[kv]))", declarations_of(mask.tree()));
        REQUIRE_MESSAGE(text.ok(), text.status().message);
        auto keeps = Evaluator::make(mask, shape);
        auto adds = Evaluator::make(*text, shape, bindings);
        REQUIRE(keeps.ok());
        REQUIRE_MESSAGE(adds.ok(), adds.status().message);
        const std::vector<float> theirs = golden().floats("alibi/small/added");
        int wrong = 0, kept = 0;
        for (int32_t h = 0; h < shape.q_heads; ++h) {
            size_t i = 0;
            for (int32_t q = 0; q < shape.q_len; ++q)
                for (int32_t kv = 0; kv < shape.kv_len; ++kv, ++i) {
                    const bool keep = keeps->mask(0, h, q, kv);
                    kept += keep;
                    wrong += keep == std::isinf(theirs[i]);
                    if (keep)
                        wrong +=
                            adds->score(1.0f, 0, h, q, kv) != 1.0f + slopes.f32[static_cast<size_t>(h)] * theirs[i];
                }
            CHECK(i == theirs.size());
        }
        CHECK(wrong == 0);
        CHECK(kept > 100);
    }
}
