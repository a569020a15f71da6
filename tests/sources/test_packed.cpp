// xformers' biases, FlashAttention's windows, FlashMask's tables and FlashInfer's bits against what their own code made
// of them.
#include <doctest/doctest.h>

#include <cmath>

#include "sources/golden.h"
#include "vkattn/create_mask.h"
#include "vkattn/evaluate.h"
#include "vkattn/named.h"
#include "vkattn/sources/flash_attention.h"
#include "vkattn/sources/flash_mask.h"
#include "vkattn/sources/flashinfer.h"
#include "vkattn/sources/xformers.h"

using namespace vkattn;
using namespace vkattn::test;

namespace {

using Text = std::function<std::string(const std::string& at)>;
Text same(std::string text) {
    return [text = std::move(text)](const std::string&) { return text; };
}

// What packed sequences have in common, with the comparisons of their windows behind.
std::string in_sequence(const std::string& windows) {
    return "cross_attention_intervals(seq_begin, seq_end)" + windows;
}
const std::string up_to_own = " && kv - (q + seq_diagonal[q]) <= 0";
const std::string w_keys = " && q + seq_diagonal[q] - kv <= w - 1" + up_to_own;

// xformers' cases
const GoldenFile& golden() {
    static const GoldenFile file("xformers");
    return file;
}
int32_t w(const std::string& at) { return golden().scalar(at, "w"); }
std::vector<int32_t> q(const std::string& at) { return golden().list(at, "q_seqlen"); }
xformers::Keys packed(const std::string& at) { return xformers::packed_keys(golden().list(at, "kv_seqlen")); }
xformers::Keys padded(const std::string& at) {
    return xformers::padded_keys(golden().list(at, "kv_seqlen"), golden().scalar(at, "padding"));
}
xformers::Keys gappy(const std::string& at) {
    return xformers::gappy_keys(golden().list(at, "kv_seqstart"), golden().list(at, "kv_seqlen"));
}

}  // namespace

TEST_SUITE("xformers") {
    TEST_CASE("every bias that is a mask: elements, lists, sparsity") {
        namespace xf = xformers;
        using At = const std::string&;
        const std::string local = " && q + seq_diagonal[q] - kv <= w && kv - (q + seq_diagonal[q]) <= 2";
        const SizedCase cases[] = {
            {"LowerTriangularMask", [](At) { return xf::lower_triangular(); }, same("causal()")},
            {"LowerTriangularFromBottomRightMask", [](At) { return xf::lower_triangular_from_bottom_right(); },
             same("causal_lower_right()")},
            {"LowerTriangularFromBottomRightLocalAttentionMask",
             [](At at) { return xf::lower_triangular_from_bottom_right_local_attention(w(at)); },
             same("lower_right(last_n_keys(w))")},
            {"LocalAttentionFromBottomRightMask", [](At at) { return xf::local_attention_from_bottom_right(w(at), 2); },
             same("lower_right(window(w, 2))")},
            {"BlockDiagonalMask", [](At at) { return xf::block_diagonal(q(at), packed(at)); }, same(in_sequence(""))},
            {"BlockDiagonalCausalMask", [](At at) { return xf::block_diagonal_causal(q(at), packed(at)); },
             same(in_sequence(up_to_own))},
            {"BlockDiagonalCausalFromBottomRightMask",
             [](At at) { return xf::block_diagonal_causal_from_bottom_right(q(at), packed(at)); },
             same(in_sequence(up_to_own))},
            {"BlockDiagonalCausalLocalAttentionMask",
             [](At at) { return xf::block_diagonal_causal_local_attention(q(at), packed(at), w(at)); },
             same(in_sequence(w_keys))},
            {"BlockDiagonalCausalLocalAttentionFromBottomRightMask",
             [](At at) {
                 return xf::block_diagonal_causal_local_attention_from_bottom_right(q(at), packed(at), w(at));
             },
             same(in_sequence(w_keys))},
            {"BlockDiagonalPaddedKeysMask", [](At at) { return xf::block_diagonal(q(at), padded(at)); },
             same(in_sequence(""))},
            {"BlockDiagonalCausalWithOffsetPaddedKeysMask",
             [](At at) { return xf::block_diagonal_causal_from_bottom_right(q(at), padded(at)); },
             same(in_sequence(up_to_own))},
            {"BlockDiagonalLocalAttentionPaddedKeysMask",
             [](At at) { return xf::block_diagonal_local_attention(q(at), padded(at), w(at), 2); },
             same(in_sequence(local))},
            {"BlockDiagonalCausalLocalAttentionPaddedKeysMask",
             [](At at) {
                 return xf::block_diagonal_causal_local_attention_from_bottom_right(q(at), padded(at), w(at));
             },
             same(in_sequence(w_keys))},
            {"BlockDiagonalGappyKeysMask", [](At at) { return xf::block_diagonal(q(at), gappy(at)); },
             same(in_sequence(""))},
            {"BlockDiagonalCausalWithOffsetGappyKeysMask",
             [](At at) { return xf::block_diagonal_causal_from_bottom_right(q(at), gappy(at)); },
             same(in_sequence(up_to_own))},
            {"BlockDiagonalLocalAttentionFromBottomRightGappyKeysMask",
             [](At at) { return xf::block_diagonal_local_attention(q(at), gappy(at), w(at), 2); },
             same(in_sequence(local))},
        };
        int lists = 0;
        for (const SizedCase& each : cases) lists += check_mask(golden(), each);
        CHECK(lists == 64);
    }

    TEST_CASE("paged keys: elements, lists, sparsity") {
        namespace xf = xformers;
        using At = const std::string&;
        // The keys of each block in the space of whole rows of its table.
        const auto logical = [](At at) {
            xf::Keys keys{golden().list(at, "kv_seqstart"), golden().list(at, "kv_seqlen")};
            const TableData pages = golden().table(at + "/table/pages");
            const auto row = static_cast<int32_t>(pages.dims[1]) * golden().scalar(at, "page_size");
            for (size_t i = 0; i < keys.starts.size(); ++i) keys.starts[i] += static_cast<int32_t>(i) * row;
            return keys;
        };
        const auto paged = [](const Mask& mask, At at) {
            return xf::make_paged(mask, q(at), golden().list(at, "pages"), golden().scalar(at, "page_size"));
        };
        const auto all = [=](At at) { return paged(xf::block_diagonal(q(at), logical(at)), at); };
        const auto causal = [=](At at) {
            return paged(xf::block_diagonal_causal_from_bottom_right(q(at), logical(at)), at);
        };
        const auto local = [=](At at) {
            return paged(xf::block_diagonal_causal_local_attention_from_bottom_right(q(at), logical(at), w(at)), at);
        };
        const std::string place = "page_of[page_seq[q], kv / page_size]",
                          key = "(" + place + " * page_size + kv % page_size)";
        const std::string inside = place + " >= 0 && seq_begin[q] <= " + key + " && " + key + " < seq_end[q]";
        const std::string own = " && " + key + " - (q + seq_diagonal[q]) <= 0";
        const SizedCase cases[] = {
            {"PagedBlockDiagonalPaddedKeysMask", all, same(inside)},
            {"PagedBlockDiagonalCausalWithOffsetPaddedKeysMask", causal, same(inside + own)},
            {"PagedBlockDiagonalCausalLocalPaddedKeysMask", local,
             same(inside + " && q + seq_diagonal[q] - " + key + " <= w - 1" + own)},
            {"PagedBlockDiagonalGappyKeysMask", all, same(inside)},
            {"PagedBlockDiagonalCausalWithOffsetGappyKeysMask", causal, same(inside + own)},
        };
        int lists = 0;
        for (const SizedCase& each : cases) lists += check_mask(golden(), each);
        CHECK(lists == 20);
    }

    TEST_CASE("page tables that are none are refused, pages past the last and named twice") {
        const std::vector<int32_t> q_lens = {2, 1}, table = {1, 0, 2, 2};
        const Mask mask = xformers::block_diagonal(q_lens, xformers::padded_keys(std::vector<int32_t>{5, 4}, 6));
        const auto refused = [&](std::vector<int32_t> lens, std::vector<int32_t> pages, int32_t page,
                                 const char* part) {
            const Status status = xformers::make_paged(mask, lens, pages, page).status();
            CHECK_MESSAGE(status.message.find(part) != std::string::npos, status.message);
        };
        refused({2, 1}, {1, 0, 2}, 3, "3 entries of block_tables for 2 blocks");
        refused({}, {1}, 3, "for 0 blocks");
        refused({2, 1}, {1, -1}, 3, "a page is negative");
        refused({2, 1}, {1, 0}, 0, "page_size 0");
        refused({2, 1}, {1, INT32_MAX}, 3, "below 2^28");
        refused({2, -1}, {1, 0}, 3, "lengths are at least 0");
        // Block 0: its keys 0 to 2 in page 1, 3 and 4 in page 0. Block 1: page 2 twice, of which the first place counts.
        const Shape shape{1, 1, 1, 4, 11};
        const std::string first = "11011100000", second = "00000011100", none = "00000000000";
        std::vector<uint8_t> expected;
        for (const std::string& row : {first, first, second, none})
            for (const char each : row) expected.push_back(each == '1' ? 1 : 0);
        check_dense(expected, xformers::make_paged(mask, q_lens, table, 3), shape, {});
        // Of a mask that knows no blocks: their pages are all that it sees, and queries past the last see none.
        const std::string pages_0 = "11111100000", pages_1 = "00000011100";
        expected.clear();
        for (const std::string& row : {pages_0, pages_0, pages_1, none})
            for (const char each : row) expected.push_back(each == '1' ? 1 : 0);
        check_dense(expected, xformers::make_paged(full(), q_lens, table, 3), shape, {});
    }

    TEST_CASE("LowerTriangularMaskWithTensorBias is the mask and a bias") {
        const std::string at = "tensor_bias/small";
        const Shape shape = golden().shape(at);
        Bindings bindings;
        TableData bias;
        bias.type = Type::f32;
        bias.dims = golden().dims(at + "/bias");
        bias.f32 = golden().floats(at + "/bias");
        bindings.tables["bias"] = std::make_shared<const TableData>(bias);
        const std::vector<float> theirs = golden().floats(at + "/materialized");
        const auto text = parse_score_mod("dense_bias(bias)");
        REQUIRE(text.ok());
        auto mask = Evaluator::make(xformers::lower_triangular(), shape);
        REQUIRE(mask.ok());
        for (const ScoreMod& mod : {dense_bias(table("bias")), *text}) {
            auto added = Evaluator::make(mod, shape, bindings);
            REQUIRE_MESSAGE(added.ok(), added.status().message);
            size_t i = 0, wrong = 0;
            for (int32_t h = 0; h < shape.q_heads; ++h)
                for (int32_t row = 0; row < shape.q_len; ++row)
                    for (int32_t kv = 0; kv < shape.kv_len; ++kv, ++i) {
                        const float ours = mask->mask(0, h, row, kv) ? added->score(0.0f, 0, h, row, kv) : -INFINITY;
                        wrong += ours != theirs[i];
                    }
            CHECK(i == theirs.size());
            CHECK(wrong == 0);
        }
    }
}

TEST_SUITE("flash_attention") {
    TEST_CASE("windows and packed sequences: elements, lists, sparsity") {
        static const GoldenFile file("flash_attention");
        using At = const std::string&;
        const auto w = [](At at) { return file.scalar(at, "w"); };
        const auto varlen = [](At at, int left, int right) {
            return flash_attention::varlen(file.list(at, "cu_seqlens_q"), file.list(at, "cu_seqlens_k"), left, right);
        };
        const std::string left = " && q + seq_diagonal[q] - kv <= w";
        const SizedCase cases[] = {
            {"causal", [](At) { return flash_attention::causal(); }, same("causal_lower_right()")},
            {"window", [=](At at) { return flash_attention::window(w(at), 3); }, same("lower_right(window(w, 3))")},
            {"left_only", [=](At at) { return flash_attention::window(w(at), -1); }, same("lower_right(q - kv <= w)")},
            {"right_only", [](At) { return flash_attention::window(-1, 3); }, same("lower_right(causal(3))")},
            {"causal_window", [=](At at) { return flash_attention::window(w(at), 0); },
             same("lower_right(sliding_window(w))")},
            {"varlen_causal", [=](At at) { return varlen(at, -1, 0); }, same(in_sequence(up_to_own))},
            {"varlen_window", [=](At at) { return varlen(at, w(at), 3); },
             same(in_sequence(left + " && kv - (q + seq_diagonal[q]) <= 3"))},
            {"varlen_left_only", [=](At at) { return varlen(at, w(at), -1); }, same(in_sequence(left))},
        };
        int lists = 0;
        for (const SizedCase& each : cases) lists += check_mask(file, each);
        CHECK(lists == 37);
    }

    TEST_CASE("ALiBi's symmetric form, aligned lower right") {
        const GoldenFile file("flash_attention");
        const std::string at = "alibi/small";
        const Shape shape = file.shape(at);
        const auto text = parse_score_mod("score - slope[h] * abs(q + (kv_len - q_len) - kv)");
        REQUIRE_MESSAGE(text.ok(), text.status().message);
        auto adds = Evaluator::make(*text, shape, file.tables(at));
        REQUIRE_MESSAGE(adds.ok(), adds.status().message);
        const std::vector<float> theirs = file.floats(at + "/added");
        size_t i = 0, wrong = 0;
        for (int32_t h = 0; h < shape.q_heads; ++h)
            for (int32_t row = 0; row < shape.q_len; ++row)
                for (int32_t kv = 0; kv < shape.kv_len; ++kv, ++i) wrong += adds->score(0, 0, h, row, kv) != theirs[i];
        CHECK(i == theirs.size());
        CHECK(wrong == 0);
    }
}

TEST_SUITE("flash_mask") {
    TEST_CASE("the tables of its own generators: elements, lists, sparsity") {
        static const GoldenFile file("flash_mask");
        const auto text = [](const std::string& at) {
            const TableData rows = file.table(at + "/table/rows");
            const std::string list = std::string("rows[") + (rows.dims[0] == 1 ? "0" : "b") + ", " +
                                     (rows.dims[1] == 1 ? "0" : "h / (q_heads / kv_heads)") + ", kv, ";
            const auto row = [&](int i) { return list + std::to_string(i) + "]"; };
            const auto outside = [&](int i) { return "(q < " + row(i) + " || q >= " + row(i + 1) + ")"; };
            const std::string causal = file.scalar(at, "is_causal") == 1 ? "causal_lower_right() && " : "";
            if (rows.dims[3] == 1) return causal + "q < " + row(0);
            if (rows.dims[3] == 4) return outside(0) + " && " + outside(2);
            return causal.empty() ? "q < " + row(0) + " && q >= " + row(1) : causal + outside(0);
        };
        const auto mask = [](const std::string& at) {
            return flash_mask::startend_row_indices(file.table(at + "/table/rows"), file.scalar(at, "is_causal") == 1);
        };
        int lists = 0;
        for (const char* name : {"non_causal", "causal", "sliding_window", "causal_document", "document",
                                 "share_question", "global_sliding_window", "causal_blockwise", "prefix_lm_document",
                                 "prefix_lm_causal", "qk_sparse", "random_eviction"}) {
            lists += check_mask(file, SizedCase{name, mask, text});
        }
        CHECK(lists == 48);
    }
}

TEST_SUITE("flashinfer") {
    TEST_CASE("each request's own matrix from its bits: elements, lists, sparsity") {
        static const GoldenFile file("flashinfer");
        const auto mask = [](const std::string& at) {
            return flashinfer::packed_custom_mask(file.bytes(at + "/table/packed"), file.list(at, "qo_indptr"),
                                                  file.list(at, "kv_indptr"));
        };
        const std::string bit = "(custom_row[q] + kv)";
        const SizedCase packed = {"packed_custom_mask", mask,
                                  same("cross_attention_intervals(custom_begin, custom_end) && (custom_words[" + bit +
                                       " / 32] >> " + bit + " % 32 & 1) == 1")};
        CHECK(check_mask(file, packed) == 3);
    }
}
