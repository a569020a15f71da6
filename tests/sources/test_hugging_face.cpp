// Hugging Face's AttentionMaskConverter and masking_utils against transformers' own.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <optional>

#include "sources/golden.h"
#include "vkattn/create_mask.h"
#include "vkattn/named.h"
#include "vkattn/normalise.h"
#include "vkattn/simplify.h"
#include "vkattn/sources/hugging_face.h"
#include "vkattn/unattended_rows.h"

using namespace vkattn;
using namespace vkattn::test;
using hugging_face::AttentionMaskConverter;

namespace {

const GoldenFile& golden() {
    static const GoldenFile file("hugging_face");
    return file;
}

Bindings bound(const char* name, TableData data) {
    Bindings bindings;
    bindings.tables[name] = std::make_shared<const TableData>(std::move(data));
    return bindings;
}

TableData rows_of(int64_t batch, std::vector<int32_t> values) {
    TableData table;
    table.dims = {batch, static_cast<int64_t>(values.size()) / batch};
    table.i32 = std::move(values);
    return table;
}

struct ConverterCase {
    const char* name;
    Mask mask;
    const char* text;
};
std::vector<ConverterCase> converter_cases() {
    const TableExpr attention_mask = table("attention_mask");
    const Expr w = 3;
    const char* causal_text = "lower_right(causal())";
    const char* window_text = "lower_right(sliding_window(3))";
    const char* padded = "lower_right(causal()) && padding_mask(attention_mask)";
    const char* padded_window = "lower_right(sliding_window(3)) && padding_mask(attention_mask)";
    return {
        {"to_causal_4d", AttentionMaskConverter(true).to_causal_4d(), causal_text},
        {"to_causal_4d_window", AttentionMaskConverter(true, w).to_causal_4d(), window_text},
        {"to_4d_left", AttentionMaskConverter(true).to_4d(attention_mask), padded},
        {"to_4d_right", AttentionMaskConverter(true).to_4d(attention_mask), padded},
        {"to_4d_window_left", AttentionMaskConverter(true, w).to_4d(attention_mask), padded_window},
        {"to_4d_window_right", AttentionMaskConverter(true, w).to_4d(attention_mask), padded_window},
        {"to_4d_bidirectional", AttentionMaskConverter(false).to_4d(attention_mask), "padding_mask(attention_mask)"},
    };
}

std::string structure(const Mask& mask) {
    const auto tree = normalise(mask);
    REQUIRE_MESSAGE(tree.ok(), tree.status().message);
    return structure_hash(*tree);
}

// o of one head with the file's q, k, v at `at`, scale 0.5, against `expected`: f32 arithmetic on their side.
void check_output(const std::string& at, const std::string& expected, const Mask& mask, const ScoreMod& score_mod,
                  const Bindings& bindings) {
    CAPTURE(expected);
    const std::vector<float> q = golden().floats(at + "/q"), k = golden().floats(at + "/k"),
                             v = golden().floats(at + "/v");
    ReferenceInput input;
    input.shape = golden().shape(at);
    input.head_dim = input.value_dim = 4;
    input.scale = 0.5;
    input.q = q.data();
    input.k = k.data();
    input.v = v.data();
    const auto output = reference_attention(mask, score_mod, bindings, input);
    REQUIRE_MESSAGE(output.ok(), output.status().message);
    const std::vector<float> theirs = golden().floats(at + "/" + expected);
    REQUIRE(theirs.size() == output->o.size());
    double worst = 0;
    for (size_t i = 0; i < theirs.size(); ++i) worst = std::fmax(worst, std::fabs(theirs[i] - output->o[i]));
    CHECK(worst <= 1e-6);
}

}  // namespace

TEST_SUITE("hugging_face") {
    TEST_CASE("AttentionMaskConverter: elements, by text, additive in f32 and f16") {
        int compared = 0;
        for (const ConverterCase& each : converter_cases()) {
            CAPTURE(each.name);
            REQUIRE_MESSAGE(each.mask.status().ok(), each.mask.status().message);
            const auto text = parsed_mask(each.text, each.mask);
            REQUIRE_MESSAGE(text.ok(), text.status().message);
            for (const char* size : {"square", "past", "one"}) {
                CAPTURE(size);
                const std::string at = std::string("converter/") + each.name + "/" + size;
                const Shape shape = golden().shape(at);
                const Bindings bindings = golden().tables(at);
                const auto count = static_cast<size_t>(shape.batch * shape.q_len * shape.kv_len);
                // Where they make none, one query sees every key.
                const std::vector<uint8_t> expected = golden().metadata(at + "/none") == "yes"
                                                          ? std::vector<uint8_t>(count, 1)
                                                          : golden().packed_bits(at + "/mask", count);
                check_dense(expected, each.mask, shape, bindings);
                check_dense(expected, *text, shape, bindings);
                ++compared;
                if (!golden().has(at + "/additive_f32")) continue;
                const auto f32 = additive_mask_f32(each.mask, shape, bindings);
                REQUIRE(f32.ok());
                CHECK(*f32 == golden().floats(at + "/additive_f32"));
                const auto f16 = additive_mask_f16(each.mask, shape, bindings);
                REQUIRE(f16.ok());
                const std::vector<uint8_t> bits = golden().bytes(at + "/additive_f16");
                REQUIRE(bits.size() == 2 * f16->size());
                bool same = true;
                for (size_t i = 0; i < f16->size(); ++i)
                    same = same && (*f16)[i] == static_cast<uint16_t>(bits[2 * i] | bits[2 * i + 1] << 8);
                CHECK(same);
            }
        }
        CHECK(compared == 21);
    }

    TEST_CASE("AttentionMaskConverter: what it refuses") {
        CHECK(AttentionMaskConverter(false).to_causal_4d().status().code == Code::invalid_argument);
        CHECK(AttentionMaskConverter(false, 3).to_4d(table("m")).status().code == Code::invalid_argument);
    }

    TEST_CASE("rows without keys: uniform in eager attention, all keys after _unmask_unattended, zero in SDPA") {
        int with_such_rows = 0;
        for (const ConverterCase& each : converter_cases()) {
            CAPTURE(each.name);
            const std::string at = std::string("converter/") + each.name + "/past";
            const Shape shape = golden().shape(at);
            Bindings bindings = golden().tables(at);
            check_output(at, "sdpa_bool_o", each.mask, {}, bindings);

            auto rows = unattended_rows(each.mask, shape, bindings);
            REQUIRE_MESSAGE(rows.ok(), rows.status().message);
            for (const uint8_t row : rows->boolean) with_such_rows += row;
            const Mask unmasked = unmask_unattended(each.mask, table("unattended", *rows));
            const auto count = static_cast<size_t>(shape.batch * shape.q_len * shape.kv_len);
            check_dense(golden().packed_bits(at + "/unmasked", count), unmasked, shape, bindings);
            check_output(at, "unmasked_o", unmasked, {}, bindings);
            // The table by name, as a host would bind it.
            bindings.tables["unattended"] = std::make_shared<const TableData>(*rows);
            check_output(at, "eager_o", unmask_unattended(each.mask, table("unattended")),
                         uniform_unattended(table("unattended")), bindings);
        }
        CHECK(with_such_rows > 3);
    }

    TEST_CASE("masking_utils: elements, lists, sparsity, attention") {
        namespace hf = hugging_face;
        const Expr w = param("w");
        const Scalars cache = [](const Shape& shape, Bindings& bindings) {
            bind_window(shape, bindings);
            bindings.scalars["q_offset"] = shape.kv_len - shape.q_len + 6;
        };
        const MaskCase cases[] = {
            {"causal_mask_function", hf::causal_mask_function(), "kv <= q"},
            {"bidirectional_mask_function", hf::bidirectional_mask_function(), "true"},
            {"sliding_window_overlay", hf::sliding_window_overlay(w), "kv > q - w", bind_window},
            {"sliding_window_causal_mask_function", hf::sliding_window_causal_mask_function(w), "last_n_keys(w)",
             bind_window},
            {"sliding_window_causal_mask_function", hf::sliding_window_overlay(w) && hf::causal_mask_function(),
             "kv > q - w && causal()", bind_window},
            {"sliding_window_bidirectional_mask_function", hf::sliding_window_bidirectional_mask_function(w),
             "abs(q - kv) <= w", bind_window},
            {"chunked_causal_mask_function", hf::chunked_causal_mask_function(w, table("left_padding")),
             "(kv - left_padding[b]) / w == (q - left_padding[b]) / w && causal()", bind_window},
            {"blockwise_overlay", causal() || hf::blockwise_overlay(table("block_sequence_ids")),
             "causal() || block_sequence_ids[b, q] == block_sequence_ids[b, kv] && block_sequence_ids[b, q] >= 0"},
            {"packed_sequence_mask_function", causal() && hf::packed_sequence_mask_function(table("packed_sequence")),
             "causal() && document_batched(packed_sequence)"},
            {"padding_mask_function", causal() && hf::padding_mask_function(table("keep", Type::boolean)),
             "causal() && padding_mask(keep)"},
            {"add_offsets_to_mask_function",
             hf::add_offsets_to_mask_function(hf::sliding_window_causal_mask_function(w) &&
                                                  hf::padding_mask_function(table("keep", Type::boolean)),
                                              param("q_offset"), 6),
             "kv + 6 <= q + q_offset && q + q_offset - (kv + 6) < w && keep[b, kv + 6]", cache},
        };
        int lists = 0;
        for (const MaskCase& each : cases) lists += check_mask(golden(), each);
        CHECK(lists == 44);
    }

    TEST_CASE("create_causal_mask and its like, with left padding and a cache") {
        namespace hf = hugging_face;
        struct Layer {
            const char* type;
            Mask (*mask)(const TableData& attention_mask);
        };
        const Layer layers[] = {
            {"full_attention", [](const TableData&) { return hf::causal_mask_function(); }},
            {"sliding_attention", [](const TableData&) { return hf::sliding_window_causal_mask_function(4); }},
            {"chunked_attention",
             [](const TableData& attention_mask) {
                 const auto left = hf::left_padding_tokens(attention_mask);
                 REQUIRE_MESSAGE(left.ok(), left.status().message);
                 return hf::chunked_causal_mask_function(4, table("left_padding", *left));
             }},
        };
        for (const Layer& layer : layers) {
            for (const char* step : {"9_after_0", "2_after_7", "1_after_10"}) {
                const std::string at = std::string("created/") + layer.type + "/" + step;
                CAPTURE(at);
                const Shape shape = golden().shape(at);
                const int32_t q_offset = golden().ints(at + "/offsets")[0],
                              kv_offset = golden().ints(at + "/offsets")[1];
                const TableData attention_mask = golden().table(at + "/attention_mask");
                const auto keep = hf::prepare_padding_mask(attention_mask, shape.kv_len, kv_offset);
                REQUIRE_MESSAGE(keep.ok(), keep.status().message);
                const Mask mask = hf::add_offsets_to_mask_function(
                    layer.mask(attention_mask) && hf::padding_mask_function(table("keep", *keep)), q_offset, kv_offset);
                const auto count = static_cast<size_t>(shape.batch * shape.q_len * shape.kv_len);
                check_dense(golden().packed_bits(at + "/mask", count), mask, shape, {});
            }
        }
    }

    TEST_CASE("find_packed_sequence_indices") {
        for (const char* size : {"small", "medium", "large"}) {
            const std::string at = std::string("packed_sequence_mask_function/") + size + "/table/";
            const auto made = hugging_face::find_packed_sequence_indices(golden().table(at + "position_ids"));
            REQUIRE_MESSAGE(made.ok(), made.status().message);
            CHECK(made->i32 == golden().ints(at + "packed_sequence"));
        }
        const auto far_apart = hugging_face::find_packed_sequence_indices(
            rows_of(1, {std::numeric_limits<int32_t>::max(), std::numeric_limits<int32_t>::min()}));
        REQUIRE(far_apart.ok());
        CHECK(far_apart->i32 == std::vector<int32_t>{0, 1});  // wrapped around they would be neighbours
        TableData flat;
        flat.dims = {2};
        flat.i32 = {0, 1};
        CHECK(hugging_face::find_packed_sequence_indices(flat).status().code == Code::invalid_argument);
    }

    TEST_CASE("prepare_padding_mask and left_padding_tokens") {
        const TableData seen = rows_of(2, {0, 0, 1, 1, 1, 0});
        const auto padded = hugging_face::prepare_padding_mask(seen, 3, 2);
        REQUIRE(padded.ok());
        CHECK(padded->dims == std::vector<int64_t>{2, 5});
        CHECK(padded->boolean == std::vector<uint8_t>{0, 0, 1, 0, 0, 1, 1, 0, 0, 0});
        CHECK(hugging_face::prepare_padding_mask(seen, 1, 0)->dims == std::vector<int64_t>{2, 3});
        CHECK(hugging_face::left_padding_tokens(seen)->i32 == std::vector<int32_t>{2, 0});
        CHECK(hugging_face::left_padding_tokens(rows_of(1, {0, 0}))->i32 == std::vector<int32_t>{2});
    }

    TEST_CASE("the decision to drop a mask") {
        const std::vector<int32_t> decisions = golden().ints("decisions");
        const size_t columns = 7;
        REQUIRE(decisions.size() == 108 * columns);
        int dropped = 0, only_here = 0;
        for (size_t row = 0; row < decisions.size(); row += columns) {
            const int32_t q_len = decisions[row], past = decisions[row + 1], window = decisions[row + 2];
            const int32_t padding = decisions[row + 3];
            CAPTURE(q_len);
            CAPTURE(past);
            CAPTURE(window);
            CAPTURE(padding);
            Shape shape;
            shape.q_len = q_len;
            shape.kv_len = q_len + past;
            std::vector<int32_t> keep(static_cast<size_t>(shape.kv_len), 1);
            if (padding == 2) keep[0] = 0;
            const Bindings bindings = bound("attention_mask", rows_of(1, keep));
            const AttentionMaskConverter converter(true, window ? std::optional<Expr>(window) : std::nullopt);
            const Mask mask = padding ? converter.to_4d(table("attention_mask")) : converter.to_causal_4d();
            const auto ours = hugging_face::ignore_causal_mask_sdpa(mask, shape, bindings);
            REQUIRE_MESSAGE(ours.ok(), ours.status().message);

            // By brute force: the pairs that SDPA would attend to with is_causal = q_len > 1, upper left.
            bool same = q_len == 1 || past == 0;
            const auto dense = create_mask(mask, shape, bindings);
            REQUIRE(dense.ok());
            bool every = true;
            for (int32_t q = 0; q < shape.q_len; ++q) {
                for (int32_t kv = 0; kv < shape.kv_len; ++kv) {
                    const bool attends = (*dense)[static_cast<size_t>(q * shape.kv_len + kv)] != 0;
                    same = same && attends == (q_len == 1 || kv <= q);
                    every = every && attends;
                }
            }
            CHECK(*ours == same);
            const bool theirs = decisions[row + 4] != 0;
            CHECK(decisions[row + 5] == decisions[row + 4]);  // their older and their newer decision
            if (theirs) {
                CHECK(*ours);
                // The tree says so too, without counting.
                const auto simple = simplify_for(mask, shape, bindings);
                REQUIRE_MESSAGE(simple.ok(), simple.status().message);
                CHECK((q_len == 1 ? is_literal_true(simple->mask.tree())
                                  : structure(simple->mask) == structure(causal_lower_right())));
            }
            dropped += theirs;
            only_here += *ours && !theirs;
            // Theirs leave a window out of account there; so do we, by passing a mask without one.
            if (window == 0) {
                const Mask both = padding ? AttentionMaskConverter(false).to_4d(table("attention_mask")) : full();
                const auto drop = hugging_face::ignore_bidirectional_mask_sdpa(both, shape, bindings);
                REQUIRE(drop.ok());
                CHECK(*drop == (decisions[row + 6] != 0));
            }
            CHECK(*hugging_face::ignore_bidirectional_mask_sdpa(mask, shape, bindings) == every);
        }
        CHECK(dropped == 40);
        CHECK(only_here > 0);  // windows that are just long enough
        CHECK(hugging_face::ignore_causal_mask_sdpa(causal(), {0, 1, 1, 2, 3}).status().code == Code::invalid_argument);
    }
}
