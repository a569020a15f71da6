// penzai's masks over positions, against its own layers.
#include <doctest/doctest.h>

#include <cmath>

#include "sources/golden.h"
#include "vkattn/create_mask.h"
#include "vkattn/sources/penzai.h"
#include "vkattn/unattended_rows.h"

using namespace vkattn;
using namespace vkattn::test;

namespace {

const GoldenFile& golden() {
    static const GoldenFile file("penzai");
    return file;
}

const TableExpr& query_positions() {
    static const TableExpr positions = table("query_positions");
    return positions;
}
const TableExpr& kv_positions() {
    static const TableExpr positions = table("kv_positions");
    return positions;
}

}  // namespace

TEST_SUITE("penzai") {
    TEST_CASE("positions as data: elements, lists, sparsity, attention") {
        const Mask causal = penzai::apply_causal_attention_mask(query_positions(), kv_positions());
        const Mask window =
            penzai::apply_causal_sliding_window_attention_mask(query_positions(), kv_positions(), param("w"));
        const char* causal_text = "query_positions[q] >= kv_positions[kv] && kv_positions[kv] >= 0";
        const char* window_text = "query_positions[q] >= kv_positions[kv] && kv_positions[kv] >= 0 && "
                                  "query_positions[q] - kv_positions[kv] < w";
        int lists = 0;
        for (const char* order : {"ascending", "shuffled"}) {
            lists += check_mask(golden(), {std::string("causal_") + order, causal, causal_text});
            lists += check_mask(golden(), {std::string("window_") + order, window, window_text, bind_window});
        }
        CHECK(lists == 16);
    }

    TEST_CASE("a row without keys averages all of them where the logits are replaced by a finite number") {
        const std::string at = "window_shuffled/small";
        Shape shape = golden().shape(at);
        Bindings bindings = golden().tables(at);
        bind_window(shape, bindings);
        const Mask mask =
            penzai::apply_causal_sliding_window_attention_mask(query_positions(), kv_positions(), param("w"));
        auto rows = unattended_rows(mask, shape, bindings);
        REQUIRE_MESSAGE(rows.ok(), rows.status().message);
        CHECK(rows->dims == std::vector<int64_t>{1, 1, shape.q_len});
        CHECK(rows->boolean[1] == 1);  // the padded query
        bindings.tables["unattended"] = std::make_shared<const TableData>(*rows);

        const std::vector<float> q = golden().floats("inputs/q"), k = golden().floats("inputs/k"),
                                 v = golden().floats("inputs/v");
        ReferenceInput input;
        input.shape = shape;
        input.shape.kv_heads = static_cast<int32_t>(golden().dims("inputs/k")[1]);
        input.head_dim = static_cast<int32_t>(golden().dims("inputs/q")[3]);
        input.value_dim = static_cast<int32_t>(golden().dims("inputs/v")[3]);
        input.scale = 1.0 / std::sqrt(static_cast<double>(input.head_dim));
        input.q = q.data();
        input.k = k.data();
        input.v = v.data();
        const auto output = reference_attention(unmask_unattended(mask, table("unattended")),
                                                uniform_unattended(table("unattended")), bindings, input);
        REQUIRE_MESSAGE(output.ok(), output.status().message);
        const std::vector<double> theirs = golden().doubles(at + "/masked_out_value_o");
        REQUIRE(theirs.size() == output->o.size());
        double worst = 0;
        for (size_t i = 0; i < theirs.size(); ++i) worst = std::fmax(worst, std::fabs(theirs[i] - output->o[i]));
        CHECK(worst <= 1e-6);  // a score mod makes scores f32
    }

    TEST_CASE("positions with a batch axis") {
        const MaskCase cases[] = {
            {"causal_batched", penzai::apply_causal_attention_mask_batched(query_positions(), kv_positions()),
             "query_positions[b, q] >= kv_positions[b, kv] && kv_positions[b, kv] >= 0"},
            {"window_batched",
             penzai::apply_causal_sliding_window_attention_mask_batched(query_positions(), kv_positions(), param("w")),
             "query_positions[b, q] >= kv_positions[b, kv] && kv_positions[b, kv] >= 0 && "
             "query_positions[b, q] - kv_positions[b, kv] < w"},
        };
        for (const MaskCase& each : cases) CHECK(check_mask(golden(), each) == 1);
    }
}
