// attention-gym's masks and score mods against what its own code answered.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>

#include "sources/golden.h"
#include "vkattn/evaluate.h"
#include "vkattn/named.h"
#include "vkattn/sources/attention_gym.h"
#include "vkattn/sources/pytorch.h"

using namespace vkattn;
using namespace vkattn::test;
namespace gym = vkattn::attention_gym;

namespace {

const GoldenFile& golden() {
    static const GoldenFile file("attention_gym");
    return file;
}

std::vector<int32_t> offsets(const std::string& at) { return golden().list(at, "offsets"); }

using Text = std::function<std::string(const std::string& at)>;
Text same(std::string text) {
    return [text = std::move(text)](const std::string&) { return text; };
}

// `key` in NATTEN's window around `x` on an axis of `size`.
std::string axis(const std::string& x, const std::string& key, const std::string& size, const std::string& kernel) {
    const std::string n = "min(" + kernel + ", " + size + ")";
    const std::string start = "clamp((" + x + ") - " + n + " / 2, 0, " + size + " - " + n + ")";
    return "(" + key + ") >= " + start + " && (" + key + ") < " + start + " + " + n;
}
// The same of two indices that a text with % in their place describes.
std::string axis_of(const std::string& place, const std::string& size, const std::string& kernel) {
    const auto at = [&](const std::string& index) {
        std::string text = place;
        for (size_t found = 0; (found = text.find('@', found)) != std::string::npos; found += index.size())
            text.replace(found, 1, index);
        return text;
    };
    return axis(at("q"), at("kv"), size, kernel);
}

gym::Size3 size3(const std::string& at, const char* kind, bool has_time) {
    const auto side = [&](const char* axis) { return golden().scalar(at, std::string(kind) + axis); };
    return {has_time ? side("t") : 1, side("h"), side("w")};
}
std::string sliding_tile_text(const std::string& tile, const std::string& near_t, const std::string& vision) {
    const std::string near_h = axis_of("@ / (" + tile + ") / (cw / tw) % (ch / th)", "(ch / th)", "(kh / th)");
    const std::string near_w = axis_of("@ / (" + tile + ") % (cw / tw)", "(cw / tw)", "(kw / tw)");
    return "q < " + vision + " && kv < " + vision + " && " + near_h + " && " + near_w + near_t + " || (q >= " + vision +
           " || kv >= " + vision + ") && kv < " + vision + " + text";
}

TableExpr bools(const char* name) { return table(name, Type::boolean); }

}  // namespace

TEST_SUITE("attention_gym") {
    TEST_CASE("windows, groups, documents, trees: elements, lists, sparsity") {
        const Expr w = param("w"), n = param("n"), p = param("p"), s = param("s");
        const std::string svg_near = " || abs(q - kv) < w * n / r * r";
        const std::string intervals = "image_boundaries[kv], 0] && q < intervals[image_boundaries[kv], 1]";
        const MaskCase cases[] = {
            {"causal", causal(), "kv <= q"},
            {"sliding_window", sliding_window(w), "sliding_window(w)"},
            {"prefix_lm", prefix(w), "prefix(w)"},
            {"dilated", gym::dilated_sliding_window(w, param("d")), "abs(q - kv) <= w && abs(q - kv) % d == 0"},
            {"global", gym::global_sliding_window(w, bools("is_global")),
             "window(w, w) || is_global[q] || is_global[kv]"},
            {"batchify_causal", gym::batchify(causal(), n), "q / n == kv / n && q % n >= kv % n"},
            {"batchify_prefix", gym::batchify(prefix(2), n), "q / n == kv / n && (kv % n < 2 || q % n >= kv % n)"},
            {"vision", pytorch::vision_x_attention_mask(table("image_boundaries"), table("intervals")),
             "q >= intervals[" + intervals},
            {"block_diffusion", gym::block_diffusion(n, s),
             "q % n / s == kv % n / s && (q < n) == (kv < n) || kv >= n && "
             "(q < n ? q % n / s > kv % n / s : q % n / s >= kv % n / s)"},
            {"jetspec_tree", gym::jetspec_tree(bools("ancestor"), p), "tree_ancestors(ancestor, p)"},
            {"jetspec_training", gym::jetspec_training(p, s),
             "kv < p || q / s == (kv - p) / s && (kv - p) % s <= q % s"},
            {"natten", natten(param("W"), param("W"), param("K"), param("K")), "natten(W, W, K, K)"},
            {"tiled_natten",
             gym::tiled_natten(param("W"), param("H"), param("KW"), param("KH"), param("TW"), param("TH")),
             axis_of("@ / (TW * TH) % (W / TW) * TW + @ % (TW * TH) % TW", "W", "KW") + " && " +
                 axis_of("@ / (TW * TH) / (W / TW) * TH + @ % (TW * TH) / TW", "H", "KH")},
            {"svg_spatial", gym::svg_spatial(p, n, w, false, param("r")), "kv < p || q < p" + svg_near},
            {"svg_spatial_sink", gym::svg_spatial(p, n, w, true, param("r")), "kv < p + n || q < p" + svg_near},
            {"svg_temporal", gym::svg_temporal(p, param("frames"), n, w),
             "kv < p || q < p || abs((q - p) % n - (kv - p) % n) < w * n / frames"},
            {"vsa_block_map", gym::vsa(bools("keep"), table("sizes"), param("tile")),
             "keep[b, h, q / tile, kv / tile] && kv % tile < sizes[kv / tile]"},
            {"vsa_padding", gym::vsa_padding(table("sizes"), param("tile")), "kv % tile < sizes[kv / tile]"},
        };
        int lists = 0;
        for (const MaskCase& each : cases) lists += check_mask(golden(), each);
        CHECK(lists == 69);
    }

    TEST_CASE("what takes data: packed documents, Morton order, sliding tiles, top-k tiles") {
        const std::string in_document = "doc_begin[q] <= kv && kv < doc_end[q] && ";
        const SizedCase cases[] = {
            {"documents_causal", [](const std::string& at) { return gym::documents(causal(), offsets(at)); },
             same(in_document + "kv <= q")},
            {"documents_prefix", [](const std::string& at) { return gym::documents(prefix(2), offsets(at)); },
             same(in_document + "(kv - doc_begin[q] < 2 || kv <= q)")},
            {"packed_causal_documents", [](const std::string& at) { return gym::packed_causal_documents(offsets(at)); },
             same("doc_begin[q] <= kv && kv <= q")},
            {"shared_prefix",
             [](const std::string& at) { return gym::shared_prefix(offsets(at), golden().list(at, "prefixes")); },
             same("doc_begin[q] <= kv && kv <= q || cross_attention_intervals(doc_prefix_begin, doc_prefix_end)")},
            {"morton_natten",
             [](const std::string& at) {
                 const int32_t side = golden().scalar(at, "W");
                 return gym::morton_natten(side, side, param("KW"), param("KH"));
             },
             same(axis_of("morton_x[@]", "W", "KW") + " && " + axis_of("morton_y[@]", "W", "KH"))},
            {"sta_2d",
             [](const std::string& at) {
                 const gym::Size3 canvas = size3(at, "c", false), kernel = size3(at, "k", false),
                                  tile = size3(at, "t", false);
                 return gym::sliding_tile_attention(gym::Size2{canvas.h, canvas.w}, gym::Size2{kernel.h, kernel.w},
                                                    gym::Size2{tile.h, tile.w}, golden().scalar(at, "text"));
             },
             same(sliding_tile_text("th * tw", "", "ch * cw"))},
            {"sta_3d",
             [](const std::string& at) {
                 return gym::sliding_tile_attention(size3(at, "c", true), size3(at, "k", true), size3(at, "t", true),
                                                    golden().scalar(at, "text"));
             },
             same(sliding_tile_text("tt * th * tw",
                                    " && " +
                                        axis_of("@ / (tt * th * tw) / (cw / tw * (ch / th))", "(ct / tt)", "(kt / tt)"),
                                    "ct * ch * cw"))},
            {"vsa",
             [](const std::string& at) {
                 const auto sizes = golden().table(at + "/table/sizes");
                 const auto keep =
                     gym::vsa_keep(golden().table(at + "/table/top_k"), static_cast<int32_t>(sizes.count()));
                 REQUIRE_MESSAGE(keep.ok(), keep.status().message);
                 return gym::vsa(table("keep", *keep), table("sizes", sizes), golden().scalar(at, "tile"));
             },
             same("keep[b, h, q / tile, kv / tile] && kv % tile < sizes[kv / tile]")},
        };
        int lists = 0;
        for (const SizedCase& each : cases) lists += check_mask(golden(), each);
        CHECK(lists == 31);
    }

    TEST_CASE("the ancestors of a tree, and VSA's lists") {
        for (const char* size : {"small", "medium"}) {
            CAPTURE(size);
            const std::string tree = std::string("jetspec_tree/") + size;
            const auto ancestors = gym::tree_ancestors_of(golden().list(tree, "parents"));
            REQUIRE_MESSAGE(ancestors.ok(), ancestors.status().message);
            CHECK(ancestors->boolean == golden().table(tree + "/table/ancestor").boolean);

            const std::string at = std::string("vsa/") + size;
            const Shape shape = golden().shape(at);
            const int32_t tile = golden().scalar(at, "tile");
            const auto ours =
                gym::vsa_block_mask(golden().table(at + "/table/top_k"), golden().list(at, "sizes"), shape, tile);
            REQUIRE_MESSAGE(ours.ok(), ours.status().message);
            const auto theirs = from_kv_blocks(golden().blocks(std::string("vsa_lists/") + size), shape, tile, tile);
            REQUIRE_MESSAGE(theirs.ok(), theirs.status().message);
            CHECK(ours->row_offsets == theirs->row_offsets);
            CHECK(ours->runs == theirs->runs);
        }
    }

    TEST_CASE("score mods: values and attention") {
        struct Case {
            const char* name;
            ScoreMod score_mod;
            const char* text;
        };
        const auto relu = gym::activation([](Expr x) { return max(x, 0.0f); });
        const auto logistic = gym::activation([](Expr x) { return sigmoid(x); });
        const std::string t = "(1.0 / (1.0 + 0.2316419 * abs(score)))";
        const std::string erf_gelu = "log(0.5 * score * (1.0 + sign(score) * (1.0 - " + t + " * (0.254829592 + " + t +
                                     " * (-0.284496736 + " + t + " * (1.421413741 + " + t + " * (-1.453152027 + " + t +
                                     " * 1.061405429)))) * exp(-0.5 * score * score))) + 1.0)";
        const auto gelu = gym::activation(
            [](Expr x) { return 0.5f * x * (1.0f + tanh(0.7978845608f * (x + 0.044715f * x * x * x))); });
        const Case cases[] = {
            {"alibi", alibi(), "alibi()"},
            {"tanh_softcap", softcap(2.0f), "softcap(2.0)"},
            {"sandwich", gym::sandwich(4, 27, 16), "score + sandwich[abs(q - kv)] * sandwich_scale[h]"},
            {"graphormer_spatial", gym::graphormer_spatial(table("bias"), table("distance")),
             "score + bias[h, distance[b, q, kv]]"},
            {"graphormer_edges", gym::graphormer_edges(table("bias"), table("types"), table("lengths"), 3),
             "score + ((0 < lengths[b, q, kv] ? bias[h, 0, types[b, q, kv, 0]] : 0.0)"
             " + (1 < lengths[b, q, kv] ? bias[h, 1, types[b, q, kv, 1]] : 0.0)"
             " + (2 < lengths[b, q, kv] ? bias[h, 2, types[b, q, kv, 2]] : 0.0)) / max(lengths[b, q, kv], 1)"},
            {"activation_relu", relu, "log(max(score, 0.0) + 1.0)"},
            {"activation_sigmoid", logistic, "log(sigmoid(score) + 1.0)"},
            {"activation_gelu", gym::activation(gym::gelu), erf_gelu.c_str()},
            {"activation_gelu_tanh", gelu,
             "log(0.5 * score * (1.0 + tanh(0.7978845608 * (score + 0.044715 * score * score * score))) + 1.0)"},
        };
        const std::vector<float> scores = golden().floats("inputs/scores");
        for (const Case& each : cases) {
            CAPTURE(each.name);
            const std::string at = std::string("score/") + each.name + "/small";
            REQUIRE_MESSAGE(each.score_mod.status().ok(), each.score_mod.status().message);
            const Shape shape = golden().shape(at);
            Bindings bindings = golden().tables(at);
            for (const TableRef& each_table : each.score_mod.tree().tables)
                if (each_table.captured) bindings.tables[each_table.name] = each_table.captured;
            const Declarations declarations = declarations_of(each.score_mod.tree());
            const auto text = parse_score_mod(each.text, declarations);
            REQUIRE_MESSAGE(text.ok(), text.status().message);
            const auto printed = to_text(each.score_mod);
            REQUIRE(printed.ok());
            const auto again = parse_score_mod(*printed, declarations);
            REQUIRE_MESSAGE(again.ok(), again.status().message);
            CHECK(again->tree().nodes == each.score_mod.tree().nodes);

            const std::vector<float> values = golden().floats(at + "/values");
            REQUIRE(values.size() == scores.size());
            for (const ScoreMod& mod : {each.score_mod, *text}) {
                auto evaluator = Evaluator::make(mod, shape, bindings);
                REQUIRE_MESSAGE(evaluator.ok(), evaluator.status().message);
                double worst = 0;
                size_t i = 0;
                for (int32_t b = 0; b < shape.batch; ++b)
                    for (int32_t h = 0; h < shape.q_heads; ++h)
                        for (int32_t q = 0; q < shape.q_len; ++q)
                            for (int32_t kv = 0; kv < shape.kv_len; ++kv, ++i) {
                                const double theirs = static_cast<double>(values[i]);
                                const double error = std::fabs(evaluator->score(scores[i], b, h, q, kv) - theirs);
                                worst = std::fmax(worst, error / (1 + std::fabs(theirs)));
                            }
                CHECK(worst <= 2e-6);
                // f32 scores here, float64 there.
                check_attention(golden(), at, causal(), mod, bindings, 1e-5);
            }
        }
    }

    TEST_CASE("an activation undone: f(scores) . v of attention-gym's own undo_softmax") {
        for (const char* name : {"relu", "sigmoid", "gelu", "gelu_tanh"}) {
            CAPTURE(name);
            const std::string at = std::string("score/activation_") + name + "/small";
            const std::vector<double> o = golden().doubles(at + "/o"), lse = golden().doubles(at + "/lse"),
                                      undone = golden().doubles(at + "/undone");
            const std::vector<float> v = golden().floats("inputs/v");
            const std::vector<int64_t> dims = golden().dims("inputs/v");
            const Shape shape = golden().shape(at);
            const auto value_dim = static_cast<size_t>(dims[3]), kv_len = static_cast<size_t>(dims[2]);
            std::vector<float> ours(o.begin(), o.end());
            std::vector<float> v_sum;  // over the attended keys, 0 .. q
            for (int32_t b = 0; b < shape.batch; ++b)
                for (int32_t h = 0; h < shape.q_heads; ++h)
                    for (int32_t q = 0; q < shape.q_len; ++q)
                        for (size_t d = 0; d < value_dim; ++d) {
                            const auto head = static_cast<size_t>(b * dims[1] + h / (shape.q_heads / dims[1]));
                            float sum = 0;
                            for (size_t kv = 0; kv <= static_cast<size_t>(q); ++kv)
                                sum += v[(head * kv_len + kv) * value_dim + d];
                            v_sum.push_back(sum);
                        }
            gym::undo_activation(ours, std::vector<float>(lse.begin(), lse.end()), v_sum);
            REQUIRE(ours.size() == undone.size());
            double worst = 0;
            for (size_t i = 0; i < ours.size(); ++i)
                worst = std::fmax(worst, std::fabs(static_cast<double>(ours[i]) - undone[i]));
            CHECK(worst <= 2e-5);
        }
    }

    TEST_CASE("MLA's rope term as longer vectors: generate_mla_rope_score_mod's attention") {
        const std::string at = "score/mla_rope/small";
        const Shape shape = golden().shape(at);
        const std::vector<int64_t> q_dims = golden().dims("inputs/q"), k_dims = golden().dims("inputs/k"),
                                   v_dims = golden().dims("inputs/v"), rope_dims = golden().dims("inputs/key_rope");
        const double scale = 1.0 / std::sqrt(static_cast<double>(q_dims[3]));
        const double rope_scale = std::strtod(golden().metadata("score/mla_rope/scale").c_str(), nullptr);
        // rows of a, then rows of b times `factor`, one after the other
        const auto joined = [](const std::vector<float>& a, int64_t dim_a, const std::vector<float>& b, int64_t dim_b,
                               const std::function<int64_t(int64_t row)>& row_of_b, double factor) {
            std::vector<float> all;
            for (int64_t row = 0; row * dim_a < static_cast<int64_t>(a.size()); ++row) {
                all.insert(all.end(), a.begin() + row * dim_a, a.begin() + (row + 1) * dim_a);
                for (int64_t i = 0; i < dim_b; ++i)
                    all.push_back(static_cast<float>(
                        factor * static_cast<double>(b[static_cast<size_t>(row_of_b(row) * dim_b + i)])));
            }
            return all;
        };
        const auto same_row = [](int64_t row) { return row; };
        // key_rope [B, 1, kv, rope] serves every key head
        const auto shared_row = [&](int64_t row) {
            return row / (k_dims[1] * k_dims[2]) * k_dims[2] + row % k_dims[2];
        };
        const std::vector<float> v = golden().floats("inputs/v");
        const std::vector<float> q =
            joined(golden().floats("inputs/q"), q_dims[3], golden().floats("inputs/query_rope"), rope_dims[3], same_row,
                   rope_scale / scale);
        const std::vector<float> k = joined(golden().floats("inputs/k"), k_dims[3], golden().floats("inputs/key_rope"),
                                            rope_dims[3], shared_row, 1.0);
        ReferenceInput input;
        input.shape = shape;
        input.shape.kv_heads = static_cast<int32_t>(k_dims[1]);
        input.head_dim = static_cast<int32_t>(q_dims[3] + rope_dims[3]);
        input.value_dim = static_cast<int32_t>(v_dims[3]);
        input.scale = scale;
        input.q = q.data();
        input.k = k.data();
        input.v = v.data();
        const auto output = reference_attention(causal(), {}, {}, input);
        REQUIRE_MESSAGE(output.ok(), output.status().message);
        const std::vector<double> o = golden().doubles(at + "/o"), lse = golden().doubles(at + "/lse");
        REQUIRE(o.size() == output->o.size());
        double worst = 0;
        for (size_t i = 0; i < o.size(); ++i) worst = std::fmax(worst, std::fabs(o[i] - output->o[i]));
        for (size_t i = 0; i < lse.size(); ++i) worst = std::fmax(worst, std::fabs(lse[i] - output->lse[i]));
        CHECK(worst <= 1e-6);  // q_rope is scaled in f32
    }

    TEST_CASE("MLA's rope term written out: generate_mla_rope_score_mod's attention") {
        const std::string at = "score/mla_rope/small";
        Bindings bindings;
        for (const char* name : {"query_rope", "key_rope"}) {
            TableData data;
            data.type = Type::f32;
            data.dims = golden().dims("inputs/" + std::string(name));
            data.f32 = golden().floats("inputs/" + std::string(name));
            bindings.tables[name] = std::make_shared<const TableData>(std::move(data));
        }
        const auto rope_dim = static_cast<int32_t>(golden().dims("inputs/key_rope")[3]);
        const int32_t heads = golden().shape(at).q_heads;
        const float scale = std::strtof(golden().metadata("score/mla_rope/scale").c_str(), nullptr);
        const ScoreMod mod = gym::mla_rope(table("query_rope"), table("key_rope"), rope_dim, heads, scale);
        REQUIRE_MESSAGE(mod.status().ok(), mod.status().message);
        check_attention(golden(), at, causal(), mod, bindings, 1e-5);

        for (const int32_t dim : {0, 65})
            CHECK(gym::mla_rope(table("query_rope"), table("key_rope"), dim, heads, scale)
                      .status()
                      .message.find("rope_dim") != std::string::npos);
        CHECK_FALSE(gym::mla_rope(table("query_rope"), table("key_rope"), rope_dim, 0, scale).status().ok());
    }
}
