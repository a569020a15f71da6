// PyTorch FlexAttention and its notebook against torch's own create_mask, create_block_mask and flex_attention.
#include <doctest/doctest.h>

#include <cmath>

#include "sources/golden.h"
#include "vkattn/classify.h"
#include "vkattn/create_mask.h"
#include "vkattn/named.h"
#include "vkattn/sources/pytorch.h"

using namespace vkattn;
using namespace vkattn::test;

namespace {

const GoldenFile& golden() {
    static const GoldenFile file("flex_attention");
    return file;
}

Scalars scalar(const char* name, int32_t (*value)(const Shape&)) {
    return [=](const Shape& shape, Bindings& bindings) { bindings.scalars[name] = value(shape); };
}

// One of three canvases, by the number of queries.
void bind_natten(const Shape& shape, Bindings& bindings) {
    const auto set = [&](int32_t canvas_w, int32_t canvas_h, int32_t kernel_w, int32_t kernel_h) {
        bindings.scalars = {{"cw", canvas_w}, {"ch", canvas_h}, {"kw", kernel_w}, {"kh", kernel_h}};
    };
    switch (shape.q_len) {
    case 30: return set(6, 5, 3, 5);
    case 165: return set(15, 11, 5, 3);
    case 1152: return set(48, 24, 7, 5);
    default: return set(0, 0, 0, 0);
    }
}

Shape small_shape() { return golden().shape("causal/small"); }

}  // namespace

TEST_SUITE("flex_attention") {
    TEST_CASE("mask mods: elements, lists, sparsity, grids, attention") {
        const auto third = scalar("p", [](const Shape& shape) { return shape.q_len / 3; });
        const auto quarter = scalar("p", [](const Shape& shape) { return shape.q_len / 4; });
        const auto side = scalar("side", [](const Shape& shape) {
            return static_cast<int32_t>(std::sqrt(static_cast<double>(shape.q_len)));
        });
        const auto width = scalar("width", [](const Shape& s) { return s.q_len == 21 ? 6 : s.q_len == 90 ? 14 : 32; });
        const TableExpr ids = table("document_id"), offsets = table("offsets"), seq_idx = table("seq_idx");
        const Mask prefix_in_sequence = pytorch::prefix_lm_causal_mask(param("w"));
        const std::string nested = "q - offsets[seq_idx[q]] >= kv - offsets[seq_idx[kv]]";
        const std::string same = "seq_idx[q] == seq_idx[kv]";
        const MaskCase cases[] = {
            {"noop", pytorch::noop_mask(), "true"},
            {"causal", pytorch::causal_mask(), "q >= kv"},
            {"sliding_window", pytorch::sliding_window_causal_mask(param("w")), "sliding_window(w)", bind_window},
            {"last_n_keys", last_n_keys(param("w")), "q >= kv && q - kv < w", bind_window},
            {"prefix_lm", pytorch::prefix_lm_causal_mask(param("p")), "kv <= p || q >= kv", third},
            {"prefix_lm_batched", prefix(table("lengths")), "prefix(lengths)"},
            {"document", document(ids), "document_id[q] == document_id[kv]"},
            {"document_causal", pytorch::document_causal_mask(ids), "causal() && document(document_id)"},
            {"document_prefix",
             pytorch::and_masks(
                 {pytorch::or_masks(
                      {trace_mask([](Index, Index, Index, Index kv) { return kv <= param("p"); }), causal()}),
                  document(ids)}),
             "(kv <= p || causal()) && document(document_id)", quarter},
            {"sasa", pytorch::sasa_mask(param("width"), 2), "stand_alone_self_attention(width, 2)", width},
            {"natten_square", pytorch::natten_mask(param("side"), param("side"), 3, 3), "natten(side, side, 3, 3)",
             side},
            {"natten", pytorch::natten_mask(param("cw"), param("ch"), param("kw"), param("kh")),
             "natten(cw, ch, kw, kh)", bind_natten},
            {"jagged_causal", pytorch::create_njt_wrapper(causal(), offsets, seq_idx), nested + " && " + same},
            {"jagged_prefix", pytorch::create_njt_wrapper(prefix_in_sequence, offsets, seq_idx),
             "(kv - offsets[seq_idx[kv]] <= w || " + nested + ") && " + same, bind_window},
            {"vision_x_attention", pytorch::vision_x_attention_mask(table("image_boundaries"), table("intervals")),
             "q >= intervals[image_boundaries[kv], 0] && q < intervals[image_boundaries[kv], 1]"},
            {"padded_causal", causal() && padding(table("lengths")), "causal() && padding(lengths)"},
            {"head_window",
             trace_mask([](Index, Index h, Index q, Index kv) { return q >= kv && q - kv <= table("windows")(h); }),
             "q >= kv && q - kv <= windows[h]"},
            {"lower_right", causal_lower_right(), "lower_right(causal())"},
            {"checkerboard_mask", trace_mask([](Index, Index, Index q, Index kv) { return abs(kv - q) % 2 == 1; }),
             "abs(kv - q) % 2 == 1"},
            {"unattended_rows", causal() && trace_mask([](Index, Index, Index, Index kv) { return kv >= 4; }),
             "q >= kv && kv >= 4"},
        };
        int lists = 0;
        for (const MaskCase& each : cases) lists += check_mask(golden(), each);
        CHECK(lists == 80);
    }

    // PyTorch in float64; here a score mod other than the identity is f32: scores up to 60 (ALiBi at distance 26 and the
    // relative bias) carry 2^-24 of themselves, 4e-6, into lse and into weights.
    TEST_CASE("score mods: attention") {
        struct Case {
            const char* name;
            ScoreMod score_mod;
            const char* text;
            Mask mask = {};
        };
        const Case cases[] = {
            {"noop", ScoreMod(), "score"},
            {"causal_bias", pytorch::causal_bias(), "q >= kv ? score : -inf"},
            {"checkerboard", pytorch::checkerboard(), "abs(kv - q) % 2 == 1 ? score * 0.5 : score * 2.0"},
            {"alibi_closure", pytorch::alibi_and_causal_closure(table("alibi_bias")),
             "score + alibi_bias[h] * (kv - q)", causal()},
            {"alibi_functional", pytorch::alibi_and_causal_functional(),
             "score + (kv - q) * exp2(-((h + 1) * 8.0 / q_heads))", causal()},
            {"tanh_soft_cap", pytorch::tanh_soft_cap(2.0f), "tanh(score / 2.0) * 2.0", causal()},
            {"relative",
             trace_score_mod([](Expr score, Index, Index, Index q, Index kv) { return score + to_float(q - kv); }),
             "score + (q - kv)"},
        };
        for (const Case& each : cases) {
            CAPTURE(each.name);
            const std::string at = std::string("score/") + each.name + "/small";
            const Bindings bindings = golden().tables(at);
            const double tolerance = each.score_mod.is_identity() ? 1e-13 : 1e-5;
            check_attention(golden(), at, each.mask, each.score_mod, bindings, tolerance);
            const Result<ScoreMod> text = parse_score_mod(each.text);
            REQUIRE_MESSAGE(text.ok(), text.status().message);
            check_attention(golden(), at, each.mask, *text, bindings, tolerance);
            const Result<std::string> printed = to_text(each.score_mod);
            REQUIRE(printed.ok());
            const Result<ScoreMod> again = parse_score_mod(*printed, declarations_of(each.score_mod.tree()));
            REQUIRE_MESSAGE(again.ok(), again.status().message);
            CHECK(again->tree().nodes == each.score_mod.tree().nodes);
        }
    }

    TEST_CASE("create_mask of a score mod: false where it makes -inf") {
        const Shape shape = small_shape();
        const Result<std::vector<uint8_t>> dense = create_mask(pytorch::causal_bias(), shape);
        REQUIRE(dense.ok());
        CHECK(*dense == golden().packed_bits("score/causal_bias/small/create_mask", dense->size()));
    }

    TEST_CASE("w = 256 in blocks of 128: both window conventions have one list, and not the same elements") {
        for (const char* array : {"kv_num_blocks", "kv_indices", "full_kv_num_blocks"}) {
            const std::string end = std::string("/large/128x128/") + array;
            CHECK(golden().ints("sliding_window" + end) == golden().ints("last_n_keys" + end));
        }
        const Shape shape = golden().shape("sliding_window/large");
        const auto more = count_pairs(sliding_window(256), shape), fewer = count_pairs(last_n_keys(256), shape);
        REQUIRE(more.ok());
        REQUIRE(fewer.ok());
        CHECK(*more == *fewer + (1024 - 256));  // one key more in every row that has so many
    }

    TEST_CASE("build_seq_idx is searchsorted over the offsets") {
        for (const char* size : {"small", "medium", "large"}) {
            const std::string at = std::string("jagged_causal/") + size + "/table/";
            const Result<TableData> made = pytorch::build_seq_idx(golden().ints(at + "offsets"));
            REQUIRE_MESSAGE(made.ok(), made.status().message);
            CHECK(made->i32 == golden().ints(at + "seq_idx"));
        }
        CHECK(pytorch::build_seq_idx({0, 2, 2, 3})->i32 == std::vector<int32_t>{0, 0, 2});
        for (const std::vector<int32_t>& bad : {std::vector<int32_t>{}, {1, 2}, {0, 3, 2}, {0}, {0, 0}})
            CHECK(pytorch::build_seq_idx(bad).status().code == Code::invalid_argument);
    }

    TEST_CASE("BlockMask: rows, q lists, dense grid") {
        Shape shape;
        shape.q_len = 1024;
        shape.kv_len = 1280;
        const auto blocks = create_block_mask(causal(), shape);
        REQUIRE(blocks.ok());

        const auto sliced = slice_rows(*blocks, 2, 5);
        REQUIRE(sliced.ok());
        const auto rows = to_padded(*sliced);
        REQUIRE(rows.ok());
        CHECK(rows->num_blocks == golden().ints("sliced/kv_num_blocks"));
        CHECK(rows->indices == golden().ints("sliced/kv_indices"));
        CHECK(rows->full_num_blocks == golden().ints("sliced/full_kv_num_blocks"));
        CHECK(rows->full_indices == golden().ints("sliced/full_kv_indices"));

        const auto columns = to_padded(transpose(*blocks));
        REQUIRE(columns.ok());
        CHECK(columns->num_blocks == golden().ints("transposed/q_num_blocks"));
        CHECK(columns->indices == golden().ints("transposed/q_indices"));
        CHECK(columns->full_num_blocks == golden().ints("transposed/full_q_num_blocks"));
        CHECK(columns->full_indices == golden().ints("transposed/full_q_indices"));

        const auto dense = to_dense(*blocks);
        REQUIRE(dense.ok());
        CHECK(*dense == golden().bytes("dense_blocks"));
    }

    TEST_CASE("to_string: scaled grids and the limit; slices of entries, heads and rows") {
        Shape shape;
        shape.batch = 2;
        shape.q_heads = shape.kv_heads = 3;
        shape.q_len = 5;
        shape.kv_len = 7;
        ClassifyOptions options;
        options.block_q = options.block_kv = 1;
        const Mask by_head = trace_mask([](Index b, Index h, Index q, Index kv) { return q + b >= kv + h; });
        const auto blocks = create_block_mask(by_head, shape, {}, options);
        REQUIRE(blocks.ok());
        const std::vector<uint8_t> grid = golden().bytes("to_string_grid_3_limit_1");
        CHECK(pytorch::to_string(*blocks, 3, 1) == std::string(grid.begin(), grid.end()));

        // block_mask[1:2], block_mask[:, 1:3] and block_mask[0:1, 2:3, 1:4]
        const auto check_slice = [](const char* name, const Result<BlockMask>& ours) {
            CAPTURE(name);
            REQUIRE_MESSAGE(ours.ok(), ours.status().message);
            const auto arrays = to_padded(*ours);
            REQUIRE(arrays.ok());
            const PaddedBlocks theirs = golden().blocks(std::string("sliced_") + name);
            CHECK(arrays->num_blocks == theirs.num_blocks);
            CHECK(arrays->indices == theirs.indices);
            CHECK(arrays->full_num_blocks == theirs.full_num_blocks);
            CHECK(arrays->full_indices == theirs.full_indices);
        };
        check_slice("entry", slice_batch(*blocks, 1, 2));
        check_slice("heads", slice_heads(*blocks, 1, 3));
        check_slice("one", slice_rows(*slice_heads(*slice_batch(*blocks, 0, 1), 2, 3), 1, 4));
    }
}
