// Every named mask and score mod, made in C++ and in text, against brute force over all pairs: plain loops and
// lambdas that share nothing with the tree. Sizes are unequal on every pair of axes, so that a swapped index shows.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "masks/random_tree.h"
#include "masks/tree_equality.h"
#include "vkattn/evaluate.h"
#include "vkattn/named.h"

using namespace vkattn;
using namespace vkattn::test;

namespace {

using MaskRule = std::function<bool(int b, int h, int q, int kv)>;
using ScoreRule = std::function<float(float score, int b, int h, int q, int kv)>;

// B 2, Hq 6, Hkv 3.
Shape shape_of(int32_t q_len, int32_t kv_len) { return Shape{2, 6, 3, q_len, kv_len}; }

const std::vector<std::pair<int32_t, int32_t>> lengths = {{11, 17}, {17, 11}, {12, 12}, {1, 9},
                                                          {9, 1},   {1, 1},   {0, 5},   {5, 0}};

std::shared_ptr<const TableData> ints(std::vector<int64_t> dims, const std::function<int32_t(int64_t)>& value) {
    TableData data;
    data.dims = std::move(dims);
    for (int64_t i = 0; i < data.count(); ++i) data.i32.push_back(value(i));
    return std::make_shared<const TableData>(std::move(data));
}
std::shared_ptr<const TableData> floats(std::vector<int64_t> dims, const std::function<float(int64_t)>& value) {
    TableData data;
    data.type = Type::f32;
    data.dims = std::move(dims);
    for (int64_t i = 0; i < data.count(); ++i) data.f32.push_back(value(i));
    return std::make_shared<const TableData>(std::move(data));
}
std::shared_ptr<const TableData> bools(std::vector<int64_t> dims, const std::function<bool(int64_t)>& value) {
    TableData data;
    data.type = Type::boolean;
    data.dims = std::move(dims);
    for (int64_t i = 0; i < data.count(); ++i) data.boolean.push_back(value(i) ? 1 : 0);
    return std::make_shared<const TableData>(std::move(data));
}
int32_t at(const std::shared_ptr<const TableData>& table, int64_t i) { return table->i32[static_cast<size_t>(i)]; }
float f32_at(const std::shared_ptr<const TableData>& table, int64_t i) { return table->f32[static_cast<size_t>(i)]; }

void check_mask(const std::string& name, const Mask& mask, const Shape& shape, const Bindings& bindings,
                const MaskRule& rule) {
    auto evaluator = Evaluator::make(mask, shape, bindings);
    REQUIRE_MESSAGE(evaluator.ok(), name << ": " << evaluator.status().message);
    for (int b = 0; b < shape.batch; ++b) {
        for (int h = 0; h < shape.q_heads; ++h) {
            for (int q = 0; q < shape.q_len; ++q) {
                for (int kv = 0; kv < shape.kv_len; ++kv) {
                    if (evaluator->mask(b, h, q, kv) == rule(b, h, q, kv)) continue;
                    FAIL(name << " q_len " << shape.q_len << " kv_len " << shape.kv_len << " at b " << b << " h " << h
                              << " q " << q << " kv " << kv << ": should be " << rule(b, h, q, kv));
                }
            }
        }
    }
}

// The C++ mask and the text call are one tree, and that is the rule.
void check_mask(const std::string& text, const Mask& mask, const Bindings& bindings, const MaskRule& rule,
                const Declarations& declarations = {}) {
    REQUIRE_MESSAGE(mask.status().ok(), mask.status().message);
    const auto parsed = parse_mask(text, declarations);
    REQUIRE_MESSAGE(parsed.ok(), text << ": " << parsed.status().message);
    CHECK_MESSAGE(same_tree(parsed->tree(), mask.tree()), text);
    for (const auto& [q_len, kv_len] : lengths) check_mask(text, mask, shape_of(q_len, kv_len), bindings, rule);
}

void check_score_mod(const std::string& text, const ScoreMod& mod, const Bindings& bindings, const ScoreRule& rule) {
    REQUIRE_MESSAGE(mod.status().ok(), mod.status().message);
    const auto parsed = parse_score_mod(text);
    REQUIRE_MESSAGE(parsed.ok(), text << ": " << parsed.status().message);
    CHECK_MESSAGE(same_tree(parsed->tree(), mod.tree()), text);
    for (const auto& [q_len, kv_len] : lengths) {
        const Shape shape = shape_of(q_len, kv_len);
        auto evaluator = Evaluator::make(mod, shape, bindings);
        REQUIRE_MESSAGE(evaluator.ok(), text << ": " << evaluator.status().message);
        for (int b = 0; b < shape.batch; ++b) {
            for (int h = 0; h < shape.q_heads; ++h) {
                for (int q = 0; q < q_len; ++q) {
                    for (int kv = 0; kv < kv_len; ++kv) {
                        const float score = 0.37f * static_cast<float>(q - 2 * kv + h) - 1.0f;
                        const float got = evaluator->score(score, b, h, q, kv), wanted = rule(score, b, h, q, kv);
                        if (std::abs(got - wanted) <= 1e-6f * std::abs(wanted) + 1e-6f) continue;
                        FAIL(text << " q_len " << q_len << " kv_len " << kv_len << " at b " << b << " h " << h << " q "
                                  << q << " kv " << kv << ": " << got << " should be " << wanted);
                    }
                }
            }
        }
    }
}

const Bindings nothing;

// The window of k keys around x on an axis of n, moved inward a step at a time.
int window_start(int x, int k, int n) {
    int start = x - k / 2;
    while (start < 0) ++start;
    while (start + k > n) --start;
    return start;
}

}  // namespace

TEST_CASE("causal and windows") {
    check_mask("full()", full(), nothing, [](int, int, int, int) { return true; });
    check_mask("causal()", causal(), nothing, [](int, int, int q, int kv) { return kv <= q; });
    for (const int offset : {-3, 0, 4}) {
        check_mask("causal(" + std::to_string(offset) + ")", causal(offset), nothing,
                   [=](int, int, int q, int kv) { return kv <= q + offset; });
    }
    for (const int w : {0, 1, 3, 100}) {
        check_mask("sliding_window(" + std::to_string(w) + ")", sliding_window(w), nothing,
                   [=](int, int, int q, int kv) { return kv <= q && kv >= q - w; });
        check_mask("last_n_keys(" + std::to_string(w) + ")", last_n_keys(w), nothing,
                   [=](int, int, int q, int kv) { return kv <= q && kv > q - w; });
        check_mask("window(" + std::to_string(w) + ", 2)", window(w, 2), nothing,
                   [=](int, int, int q, int kv) { return kv >= q - w && kv <= q + 2; });
    }
    check_mask("window(128, 0)", window(128, 0), nothing, [](int, int, int q, int kv) { return kv <= q; });
    check_mask("prefix(3)", prefix(3), nothing, [](int, int, int q, int kv) { return kv < 3 || kv <= q; });
    check_mask("prefix(n)", prefix(param("n")), Bindings{{{"n", 5}}, {}},
               [](int, int, int q, int kv) { return kv < 5 || kv <= q; });
    check_mask("global_tokens(2)", global_tokens(2), nothing, [](int, int, int q, int kv) { return q < 2 || kv < 2; });
    for (const int dilation : {1, 2, 3}) {
        check_mask("dilated_window(6, " + std::to_string(dilation) + ")", dilated_window(6, dilation), nothing,
                   [=](int, int, int q, int kv) { return std::abs(q - kv) <= 6 && std::abs(q - kv) % dilation == 0; });
    }
}

TEST_CASE("a window keeps exactly as many keys as its name says") {
    const auto keys = [](const Mask& mask, int32_t q) {
        auto evaluator = Evaluator::make(mask, Shape{1, 1, 1, 32, 32});
        int32_t n = 0;
        for (int32_t kv = 0; kv < 32; ++kv) n += evaluator->mask(0, 0, q, kv) ? 1 : 0;
        return n;
    };
    CHECK(keys(sliding_window(5), 20) == 6);
    CHECK(keys(last_n_keys(5), 20) == 5);
    CHECK(keys(window(5, 3), 20) == 9);
    CHECK(keys(last_n_keys(5), 2) == 3);
}

TEST_CASE("alignment") {
    for (const auto& [q_len, kv_len] : lengths) {
        const Shape shape = shape_of(q_len, kv_len);
        const int shift = kv_len - q_len;
        check_mask("causal_lower_right", causal_lower_right(), shape, nothing,
                   [=](int, int, int q, int kv) { return kv <= q + shift; });
        check_mask("lower_right(sliding_window)", lower_right(sliding_window(2)), shape, nothing,
                   [=](int, int, int q, int kv) { return kv <= q + shift && kv >= q + shift - 2; });
    }
    CHECK(same_tree(causal_lower_right().tree(), lower_right(causal()).tree()));
    CHECK(same_tree(parse_mask("lower_right(causal())")->tree(), parse_mask("causal_lower_right()")->tree()));
    check_mask("offset(window(2, 1), 4)", offset(window(2, 1), 4), nothing,
               [](int, int, int q, int kv) { return q + 4 - kv <= 2 && kv - (q + 4) <= 1; });
    check_mask("offset(offset(causal(), 4), n)", offset(offset(causal(), 4), param("n")), Bindings{{{"n", -2}}, {}},
               [](int, int, int q, int kv) { return kv <= q + 2; });
    // The batch and head indices stay what they are.
    check_mask("offset(q + h < kv + b, 1)",
               offset(trace_mask([](Index b, Index h, Index q, Index kv) { return q + h < kv + b; }), 1), nothing,
               [](int b, int h, int q, int kv) { return q + 1 + h < kv + b; });
}

TEST_CASE("documents") {
    const auto ids = ints({17}, [](int64_t i) { return static_cast<int32_t>((i * 5 / 7) % 4); });  // not sorted
    const auto kv_ids = ints({17}, [](int64_t i) { return static_cast<int32_t>(i / 3); });
    check_mask("document(doc)", document(table("doc")), Bindings{{}, {{"doc", ids}}},
               [&](int, int, int q, int kv) { return at(ids, q) == at(ids, kv); });
    check_mask("document(doc, docs_kv)", document(table("doc"), table("docs_kv")),
               Bindings{{}, {{"doc", ids}, {"docs_kv", kv_ids}}},
               [&](int, int, int q, int kv) { return at(ids, q) == at(kv_ids, kv); });
    const auto batched = ints({2, 17}, [](int64_t i) { return static_cast<int32_t>(i < 17 ? i / 4 : i % 3); });
    check_mask("document_batched(doc)", document_batched(table("doc")), Bindings{{}, {{"doc", batched}}},
               [&](int b, int, int q, int kv) { return at(batched, b * 17 + q) == at(batched, b * 17 + kv); });
}

TEST_CASE("documents from offsets") {
    struct Case {
        std::vector<int32_t> offsets;
        int32_t length;
    };
    const std::vector<Case> cases = {{{0, 4, 9, 17}, 17}, {{0, 4, 4, 9}, 17}, {{0, 17}, 17}, {{0}, 17},
                                     {{0, 0, 0}, 17},     {{0, 3, 5}, 7},     {{0}, 0}};
    for (const Case& c : cases) {
        const auto document_of = [&](int position) {
            for (size_t i = 0; i + 1 < c.offsets.size(); ++i) {
                if (position >= c.offsets[i] && position < c.offsets[i + 1]) return static_cast<int>(i);
            }
            return -1;
        };
        const Mask mask = document_from_offsets("doc", c.offsets, c.length);
        REQUIRE_MESSAGE(mask.status().ok(), mask.status().message);
        for (const auto& [q_len, kv_len] : lengths) {  // also longer than `length`: nothing attends there
            check_mask("document_from_offsets", mask, shape_of(q_len, kv_len), nothing, [&](int, int, int q, int kv) {
                return document_of(q) >= 0 && document_of(q) == document_of(kv);
            });
        }
    }
    const auto refused = [](const std::vector<int32_t>& offsets, int32_t length, const char* part) {
        const Mask mask = document_from_offsets("doc", offsets, length);
        return !mask.status().ok() && mask.status().message.find(part) != std::string::npos;
    };
    CHECK(refused({}, 3, "start with 0"));
    CHECK(refused({1, 3}, 3, "start with 0"));
    CHECK(refused({0, 3, 2}, 3, "offset 2 is 2"));
    CHECK(refused({0, -1}, 3, "offset 1 is -1"));
    CHECK(refused({0, 4}, 3, "past the length 3"));
    CHECK(refused({0}, -1, "length is -1"));
}

TEST_CASE("padding") {
    const auto key_lengths = ints({2}, [](int64_t i) { return i == 0 ? 5 : 0; });
    check_mask("padding(lens)", padding(table("lens")), Bindings{{}, {{"lens", key_lengths}}},
               [](int b, int, int, int kv) { return b == 0 && kv < 5; });
    Declarations lens;
    lens.tables.push_back({"lens", Type::i32, 1});
    check_mask(
        "prefix(lens)", prefix(table("lens")), Bindings{{}, {{"lens", key_lengths}}},
        [](int b, int, int q, int kv) { return (b == 0 && kv < 5) || kv <= q; }, lens);
    const auto keep = ints({2, 17}, [](int64_t i) { return static_cast<int32_t>(i % 3) - 1; });
    check_mask("padding_mask(keep)", padding_mask(table("keep")), Bindings{{}, {{"keep", keep}}},
               [&](int b, int, int, int kv) { return at(keep, b * 17 + kv) != 0; });
    const auto keep_bool = bools({2, 17}, [](int64_t i) { return i % 3 == 1; });
    Declarations declared;
    declared.tables.push_back({"keep", Type::boolean, 2});
    check_mask(
        "padding_mask(keep)", padding_mask(table("keep", Type::boolean)), Bindings{{}, {{"keep", keep_bool}}},
        [](int b, int, int, int kv) { return (b * 17 + kv) % 3 == 1; }, declared);
}

TEST_CASE("stand-alone self-attention on a canvas that is not square") {
    for (const int width : {3, 4, 7}) {
        for (const int kernel : {0, 1, 2}) {
            check_mask("stand_alone_self_attention(" + std::to_string(width) + ", " + std::to_string(kernel) + ")",
                       stand_alone_self_attention(width, kernel), nothing, [=](int, int, int q, int kv) {
                           const int qx = q % width, qy = q / width, kx = kv % width, ky = kv / width;
                           return qx - kx <= kernel && kx - qx <= kernel && qy - ky <= kernel && ky - qy <= kernel;
                       });
        }
    }
}

TEST_CASE("NATTEN keeps kernel_w x kernel_h keys, even and odd, on canvases of any shape") {
    struct Case {
        int w, h, kw, kh;
    };
    for (const Case& c : std::vector<Case>{{5, 3, 3, 3},
                                           {3, 5, 3, 3},
                                           {5, 3, 2, 2},
                                           {3, 7, 2, 3},
                                           {7, 3, 4, 1},
                                           {4, 4, 3, 2},
                                           {5, 2, 9, 9},
                                           {1, 6, 3, 4},
                                           {6, 1, 1, 1}}) {
        const int kw = c.kw < c.w ? c.kw : c.w, kh = c.kh < c.h ? c.kh : c.h;
        const std::string text = "natten(" + std::to_string(c.w) + ", " + std::to_string(c.h) + ", " +
                                 std::to_string(c.kw) + ", " + std::to_string(c.kh) + ")";
        const Mask mask = natten(c.w, c.h, c.kw, c.kh);
        CHECK(same_tree(parse_mask(text)->tree(), mask.tree()));
        const int n = c.w * c.h;
        check_mask(text, mask, shape_of(n, n), nothing, [&](int, int, int q, int kv) {
            const int x = window_start(q % c.w, kw, c.w), y = window_start(q / c.w, kh, c.h);
            std::set<int> keys;
            for (int ky = y; ky < y + kh; ++ky) {
                for (int kx = x; kx < x + kw; ++kx) keys.insert(ky * c.w + kx);
            }
            return keys.count(kv) > 0;
        });
        auto evaluator = Evaluator::make(mask, Shape{1, 1, 1, n, n});
        for (int q = 0; q < n; ++q) {
            int keys = 0;
            for (int kv = 0; kv < n; ++kv) keys += evaluator->mask(0, 0, q, kv) ? 1 : 0;
            CHECK_MESSAGE(keys == kw * kh, text << " q " << q);
        }
    }
}

TEST_CASE("token trees and cross-attention intervals") {
    for (const auto& [q_len, kv_len] : lengths) {
        if (q_len == 0) continue;
        const auto ancestor = bools({q_len, q_len}, [n = q_len](int64_t i) { return (i / n) % 4 >= (i % n) % 3; });
        const int prefix_length = 4;
        const Mask mask = tree_ancestors(table("ancestor"), param("n"));
        CHECK(same_tree(parse_mask("tree_ancestors(ancestor, n)")->tree(), mask.tree()));
        const int tree_tokens = q_len;
        check_mask("tree_ancestors", mask, shape_of(q_len, kv_len),
                   Bindings{{{"n", prefix_length}}, {{"ancestor", ancestor}}}, [&](int, int, int q, int kv) {
                       if (kv < prefix_length) return true;
                       const int token = kv - prefix_length;
                       return token < tree_tokens && q % 4 >= token % 3;
                   });
    }
    const auto begin = ints({17}, [](int64_t i) { return static_cast<int32_t>(i / 2); });
    const auto end = ints({17}, [](int64_t i) { return static_cast<int32_t>(i / 2 + i % 4); });
    check_mask("cross_attention_intervals(begin, end)", cross_attention_intervals(table("begin"), table("end")),
               Bindings{{}, {{"begin", begin}, {"end", end}}},
               [](int, int, int q, int kv) { return kv >= q / 2 && kv < q / 2 + q % 4; });
}

TEST_CASE("score mods") {
    const auto slopes = floats({6}, [](int64_t i) { return 1.0f / static_cast<float>(i + 2); });
    check_score_mod(
        "alibi(slopes)", alibi(table("slopes")), Bindings{{}, {{"slopes", slopes}}},
        [&](float score, int, int h, int q, int kv) { return score + f32_at(slopes, h) * static_cast<float>(kv - q); });
    check_score_mod("alibi()", alibi(), nothing, [](float score, int, int h, int q, int kv) {
        return score + static_cast<float>(std::pow(2.0, -8.0 * (h + 1) / 6.0)) * static_cast<float>(kv - q);
    });
    check_score_mod("softcap(2.5)", softcap(2.5), nothing, [](float score, int, int, int, int) {
        return static_cast<float>(2.5 * std::tanh(static_cast<double>(score) / 2.5));
    });
    check_score_mod("softcap(cap)", softcap(param("cap")), Bindings{{{"cap", 20}}, {}},
                    [](float score, int, int, int, int) {
                        return static_cast<float>(20.0 * std::tanh(static_cast<double>(score) / 20.0));
                    });
    const auto relative = floats({6, 9}, [](int64_t i) { return 0.125f * static_cast<float>(i * 7 % 31); });
    check_score_mod("relative_bias(bias, 4)", relative_bias(table("bias"), 4), Bindings{{}, {{"bias", relative}}},
                    [&](float score, int, int h, int q, int kv) {
                        int distance = kv - q;
                        if (distance < -4) distance = -4;
                        if (distance > 4) distance = 4;
                        return score + f32_at(relative, h * 9 + distance + 4);
                    });
    const auto dense = floats({6, 17, 17}, [](int64_t i) { return 0.25f * static_cast<float>(i * 13 % 101); });
    check_score_mod(
        "dense_bias(bias)", dense_bias(table("bias")), Bindings{{}, {{"bias", dense}}},
        [&](float score, int, int h, int q, int kv) { return score + f32_at(dense, (h * 17 + q) * 17 + kv); });
    const auto batched = floats({2, 6, 17, 17}, [](int64_t i) { return 0.25f * static_cast<float>(i * 29 % 211); });
    check_score_mod("dense_bias_batched(bias)", dense_bias_batched(table("bias")), Bindings{{}, {{"bias", batched}}},
                    [&](float score, int b, int h, int q, int kv) {
                        return score + f32_at(batched, ((b * 6 + h) * 17 + q) * 17 + kv);
                    });
    check_score_mod("head_scale(slopes)", head_scale(table("slopes")), Bindings{{}, {{"slopes", slopes}}},
                    [&](float score, int, int h, int, int) { return score * f32_at(slopes, h); });
    check_score_mod("softcap(20, alibi(slopes))", then(alibi(table("slopes")), softcap(20)),
                    Bindings{{}, {{"slopes", slopes}}}, [&](float score, int, int h, int q, int kv) {
                        const float shifted = score + f32_at(slopes, h) * static_cast<float>(kv - q);
                        return static_cast<float>(20.0 * std::tanh(static_cast<double>(shifted) / 20.0));
                    });
    check_score_mod("causal() ? score : head_scale(slopes, softcap(2.0) + 1)",
                    trace_score_mod([](Expr score, Expr, Expr h, Expr q, Expr kv) {
                        return select(kv <= q, score, (2.0f * tanh(score / 2.0f) + 1) * table("slopes")(h));
                    }),
                    Bindings{{}, {{"slopes", slopes}}}, [&](float score, int, int h, int q, int kv) {
                        if (kv <= q) return score;
                        return static_cast<float>(2.0 * std::tanh(static_cast<double>(score) / 2.0) + 1.0) *
                               f32_at(slopes, h);
                    });
}

TEST_CASE("composition means what the operators mean") {
    const auto ids = ints({17}, [](int64_t i) { return static_cast<int32_t>(i / 5); });
    const Bindings bindings{{}, {{"doc", ids}}};
    check_mask("causal() && document(doc) || global_tokens(1)",
               (causal() && document(table("doc"))) || global_tokens(1), bindings,
               [](int, int, int q, int kv) { return (kv <= q && q / 5 == kv / 5) || q < 1 || kv < 1; });
    check_mask("!(causal() && !sliding_window(2))", !(causal() && !sliding_window(2)), nothing,
               [](int, int, int q, int kv) { return !(kv <= q && !(kv <= q && q - kv <= 2)); });
}

TEST_CASE("the list of names: every entry is callable as its signature says") {
    std::set<std::string> signatures;
    for (const bool score_mods : {false, true}) {
        for (const NamedEntry& entry : score_mods ? named_score_mods() : named_masks()) {
            CHECK_MESSAGE(signatures.insert(signature(entry)).second, signature(entry));
            CHECK_FALSE(entry.meaning.empty());
            CHECK(entry.meaning.find('\n') == std::string_view::npos);
            std::string call = std::string(entry.name) + "(";
            Declarations declarations;
            for (uint8_t i = 0; i < entry.n_parameters; ++i) {
                const ArgumentKind kind = entry.parameters[i].kind;
                const std::string name = "argument" + std::to_string(i);
                call += i > 0 ? ", " : "";
                call += kind == ArgumentKind::mask ? "causal()" : name;
                if (kind == ArgumentKind::table_i32) declarations.tables.push_back({name, Type::i32, 0});
                if (kind == ArgumentKind::table_f32) declarations.tables.push_back({name, Type::f32, 0});
                if (kind == ArgumentKind::table_bool) declarations.tables.push_back({name, Type::boolean, 0});
            }
            call += ")";
            const Status status =
                score_mods ? parse_score_mod(call, declarations).status() : parse_mask(call, declarations).status();
            CHECK_MESSAGE(status.ok(), call << ": " << status.message);
        }
    }
    CHECK(signatures.count("window(left, right)") == 1);
    CHECK(signatures.count("softcap(cap)") == 1);
}
