// docs/conventions.md: every row's text and constructor against the rule of its system, written from its definition.
#include <cstdlib>
#include <fstream>
#include <map>

#include "masks/brute_force.h"
#include "vkattn/named.h"
#include "vkattn/sources/flash_attention.h"
#include "vkattn/sources/flash_mask.h"
#include "vkattn/sources/llama_cpp.h"
#include "vkattn/sources/xformers.h"

using namespace vkattn;
using namespace vkattn::test;

namespace {

struct Size {
    int q_len, kv_len;
    int from_right() const { return kv_len - q_len; }
};
// l is w, r is 2 in the rows that have two.
constexpr int r = 2;

struct Row {
    std::string construct;
    int least_w;
    std::function<Mask(int w, const Size&)> make;
    std::function<bool(int q, int kv, int w, const Size&)> keeps;
};

// One sequence whose cells and tokens stand at their indices.
Mask cells(const Size& size, bool causal, llama_cpp::Window window, int w) {
    llama_cpp::Cells kv;
    llama_cpp::Tokens q;
    for (int i = 0; i < size.kv_len; ++i) {
        kv.positions.push_back(i);
        kv.sequences.push_back({3});
    }
    for (int i = 0; i < size.q_len; ++i) {
        q.positions.push_back(i);
        q.sequences.push_back(3);
    }
    return llama_cpp::kv_cells(kv, q, causal, window, w);
}

int chunk_begin(int at, int w) {
    int begin = 0;
    while (begin + w <= at) begin += w;
    return begin;
}

const std::vector<Row> rows = {
    {"SDPA `is_causal=True`", 0, [](int, const Size&) { return causal(); },
     [](int q, int kv, int, const Size&) { return kv <= q; }},
    {"`torch.nn.attention.bias.causal_lower_right`", 0, [](int, const Size&) { return causal_lower_right(); },
     [](int q, int kv, int, const Size& at) { return at.kv_len - 1 - kv >= at.q_len - 1 - q; }},
    {"`sliding_window` of the notebook", 0, [](int w, const Size&) { return sliding_window(w); },
     [](int q, int kv, int w, const Size&) { return q >= kv && q - kv <= w; }},
    {"`AttentionMaskConverter(sliding_window=w)`", 0, [](int w, const Size&) { return lower_right(sliding_window(w)); },
     [](int q, int kv, int w, const Size& at) {
         const int past = at.from_right();
         return kv <= q + past && kv >= q + past - w;
     }},
    {"`sliding_window_overlay(w)` and causal (masking_utils)", 0,
     [](int w, const Size&) { return lower_right(last_n_keys(w)); },
     [](int q, int kv, int w, const Size& at) {
         const int place = q + at.from_right();
         return kv > place - w && kv <= place;
     }},
    {"`chunked_overlay(w)` and causal (masking_utils)", 1,
     [](int w, const Size&) {
         return lower_right(causal() && trace_mask([w](Index, Index, Index q, Index kv) { return q / w == kv / w; }));
     },
     [](int q, int kv, int w, const Size& at) {
         const int place = q + at.from_right();
         return place >= 0 && kv <= place && kv >= chunk_begin(place, w);
     }},
    {"`ApplyCausalSlidingWindowAttentionMask(w)`", 0, [](int w, const Size&) { return last_n_keys(w); },
     [](int q, int kv, int w, const Size&) { return kv <= q && !(q - kv >= w); }},
    {"`sliding_window=w` of the reference code", 0, [](int w, const Size&) { return lower_right(last_n_keys(w)); },
     [](int q, int kv, int w, const Size& at) {
         int n_newer = 0;  // keys up to the query's place that come after kv
         for (int key = kv + 1; key <= q + at.from_right(); ++key) ++n_newer;
         return kv <= q + at.from_right() && n_newer < w;
     }},
    {"`causal=True` (from 2.1)", 0, [](int, const Size&) { return flash_attention::causal(); },
     [](int q, int kv, int, const Size& at) { return at.kv_len - kv >= at.q_len - q; }},
    {"`causal=True` (before 2.1)", 0, [](int, const Size&) { return causal(); },
     [](int q, int kv, int, const Size&) { return !(kv > q); }},
    {"`window_size=(l, r)`", 0, [](int w, const Size&) { return flash_attention::window(w, r); },
     [](int q, int kv, int w, const Size& at) {
         const int place = q + at.kv_len - at.q_len;
         return place - w <= kv && kv <= place + r;
     }},
    {"`window_size=(w, -1)`", 0, [](int w, const Size&) { return flash_attention::window(w, -1); },
     [](int q, int kv, int w, const Size& at) { return q + at.kv_len - at.q_len - w <= kv; }},
    {"`causal=True, window_left=w`", 0, [](int w, const Size&) { return flash_attention::window(w, 0); },
     [](int q, int kv, int w, const Size& at) {
         return kv + at.q_len <= at.kv_len + q && kv + at.q_len + w >= at.kv_len + q;
     }},
    {"`LowerTriangularMask`", 0, [](int, const Size&) { return xformers::lower_triangular(); },
     [](int q, int kv, int, const Size&) { return kv - q <= 0; }},
    {"`LowerTriangularFromBottomRightMask`", 0,
     [](int, const Size&) { return xformers::lower_triangular_from_bottom_right(); },
     [](int q, int kv, int, const Size& at) { return kv - q <= at.from_right(); }},
    {"`LowerTriangularFromBottomRightLocalAttentionMask(w)`", 1,
     [](int w, const Size&) { return xformers::lower_triangular_from_bottom_right_local_attention(w); },
     [](int q, int kv, int w, const Size& at) {
         const int from_last_query = at.q_len - 1 - q, from_last_key = at.kv_len - 1 - kv;
         return from_last_key >= from_last_query && from_last_key < from_last_query + w;
     }},
    {"`LocalAttentionFromBottomRightMask(l, r)`", 0,
     [](int w, const Size&) { return xformers::local_attention_from_bottom_right(w, r); },
     [](int q, int kv, int w, const Size& at) {
         const int s = at.q_len - at.kv_len;
         return q - w <= kv + s && kv + s <= q + r;
     }},
    {"`LLAMA_SWA_TYPE_STANDARD`, n_swa = w, causal", 1,
     [](int w, const Size& at) { return cells(at, true, llama_cpp::Window::standard, w); },
     [](int q, int kv, int w, const Size&) { return kv <= q && !(q - kv >= w); }},
    {"`LLAMA_SWA_TYPE_CHUNKED`, n_swa = w, causal", 1,
     [](int w, const Size& at) { return cells(at, true, llama_cpp::Window::chunked, w); },
     [](int q, int kv, int w, const Size&) { return kv <= q && !(kv < chunk_begin(q, w)); }},
    {"`LLAMA_SWA_TYPE_SYMMETRIC`, n_swa = w, not causal", 1,
     [](int w, const Size& at) { return cells(at, false, llama_cpp::Window::symmetric, w); },
     [](int q, int kv, int w, const Size&) {
         const int half = w / 2, difference = q - kv;
         return !(difference < -half || difference > half);
     }},
    {"windows of w blocks of 128 tokens, one document", 1,
     [](int w, const Size&) {
         return causal() && trace_mask([w](Index, Index, Index q, Index kv) { return q / 128 - kv / 128 < w; });
     },
     [](int q, int kv, int w, const Size&) {
         if (kv > q) return false;
         for (int n = 0, begin = chunk_begin(q, 128); n < w; ++n, begin -= 128) {  // newest block first
             if (kv >= begin && kv < begin + 128) return true;
         }
         return false;
     }},
    {"causal, one column, start = kv + w - (kv_len - q_len)", 0,
     [](int w, const Size& at) {
         TableData start;
         start.dims = {1, 1, at.kv_len, 1};
         for (int kv = 0; kv < at.kv_len; ++kv) start.i32.push_back(kv + w - at.from_right());
         return flash_mask::startend_row_indices(start, true);
     },
     [](int q, int kv, int w, const Size& at) {
         const int place = q + at.from_right();
         return place >= kv && place < kv + w;
     }},
    {"one dimension, kernel w", 1, [](int w, const Size& at) { return natten(at.q_len, 1, w, 1); },
     [](int q, int kv, int w, const Size& at) {
         const int n = std::min(w, at.q_len);
         int begin = q - n / 2;
         while (begin < 0) ++begin;
         while (begin + n > at.q_len) --begin;
         // On a canvas of q_len pixels; keys beyond it are rows below, which are none.
         return kv < at.q_len && kv >= begin && kv < begin + n;
     }},
    {"window w", 0, [](int w, const Size&) { return window(w, w); },
     [](int q, int kv, int w, const Size&) { return std::abs(q - kv) <= w; }},
    {"Sparse VideoGen's spatial head, reach w", 0, [](int w, const Size&) { return window(w - 1, w - 1); },
     [](int q, int kv, int w, const Size&) { return std::abs(q - kv) < w; }},
};

std::string without_backticks(std::string text) {
    text.erase(std::remove(text.begin(), text.end(), '`'), text.end());
    return text;
}

// The table's rows: construct -> text.
std::vector<std::pair<std::string, std::string>> rows_of_the_page() {
    std::ifstream page(VKATTN_TEST_SOURCE_DIR "/docs/conventions.md");
    REQUIRE(page.good());
    std::vector<std::pair<std::string, std::string>> found;
    for (std::string line; std::getline(page, line);) {
        if (line.empty() || line.front() != '|' || line.starts_with("|---") || line.starts_with("| system")) continue;
        // A text may hold "||"; no cell before it does.
        std::vector<std::string> cells;
        size_t at = 2;
        for (int cell = 0; cell < 5; ++cell) {
            const size_t end = line.find(" | ", at);
            REQUIRE_MESSAGE(end != std::string::npos, line);
            cells.push_back(line.substr(at, end - at));
            at = end + 3;
        }
        found.emplace_back(cells[1], without_backticks(line.substr(at, line.size() - at - 2)));
    }
    return found;
}

}  // namespace

TEST_CASE("docs/conventions.md: every row's text and constructor keep the keys of its system") {
    const auto page = rows_of_the_page();
    REQUIRE(page.size() == rows.size());
    for (size_t i = 0; i < rows.size(); ++i) {
        const Row& row = rows[i];
        CHECK(page[i].first == row.construct);
        const auto text = parse_mask(page[i].second);
        REQUIRE_MESSAGE(text.ok(), page[i].second << ": " << text.status().message);
        std::vector<Size> sizes = {{11, 17}, {17, 11}, {12, 12}};
        if (row.construct.find("128") != std::string::npos) sizes = {{300, 420}, {420, 300}, {260, 260}};
        for (const Size& size : sizes) {
            for (const int w : {0, 1, 5}) {
                if (w < row.least_w) continue;
                const Shape shape{1, 1, 1, size.q_len, size.kv_len};
                const Bindings values{{{"w", w}, {"l", w}, {"r", r}}, {}};
                const Mask made = row.make(w, size);
                REQUIRE_MESSAGE(made.status().ok(), row.construct << ": " << made.status().message);
                auto from_text = Evaluator::make(*text, shape, values), from_call = Evaluator::make(made, shape);
                REQUIRE(from_text.ok());
                REQUIRE(from_call.ok());
                for (int q = 0; q < size.q_len; ++q) {
                    for (int kv = 0; kv < size.kv_len; ++kv) {
                        const bool wanted = row.keeps(q, kv, w, size);
                        if (from_text->mask(0, 0, q, kv) == wanted && from_call->mask(0, 0, q, kv) == wanted) continue;
                        FAIL(row.construct << " w " << w << " lengths " << size.q_len << " x " << size.kv_len
                                           << " at q " << q << " kv " << kv << ": should be " << wanted << ", text "
                                           << from_text->mask(0, 0, q, kv) << ", C++ " << from_call->mask(0, 0, q, kv));
                    }
                }
            }
        }
    }
}
