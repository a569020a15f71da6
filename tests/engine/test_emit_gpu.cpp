// Emitted GLSL against evaluate() on a device: integer and bool trees equal exactly, f32 operators within the ULPs stated below,
// and the key range of every row equal to the one that the CPU derives.
#include <bit>
#include <cmath>
#include <functional>
#include <limits>

#include <doctest/doctest.h>

#include "../../masks/src/intervals.h"
#include "emitted_batch.h"
#include "masks/random_tree.h"
#include "vkattn/named.h"

using namespace vkattn;
using namespace vkattn::test;
using namespace vkattn_tests;

namespace {

EmittedCase make_case(const std::string& what, const Mask& mask, const ScoreMod& score_mod, const Bindings& bindings) {
    Result<Tree> m = normalise(mask);
    Result<Tree> s = normalise(score_mod);
    REQUIRE_MESSAGE(m.ok(), what << ": " << m.status().message);
    REQUIRE_MESSAGE(s.ok(), what << ": " << s.status().message);
    return {what, std::make_shared<const Tree>(std::move(*m)), std::make_shared<const Tree>(std::move(*s)), bindings};
}

EmittedCase make_case(const std::string& mask, const Bindings& bindings) {
    const Result<Mask> parsed = parse_mask(mask);
    REQUIRE_MESSAGE(parsed.ok(), mask << ": " << parsed.status().message);
    return make_case(mask, *parsed, {}, bindings);
}

Evaluator evaluator_of(const std::shared_ptr<const Tree>& tree, const Shape& shape, const Bindings& bindings) {
    const Result<ResolvedBindings> resolved = resolve(*tree, bindings);
    REQUIRE_MESSAGE(resolved.ok(), resolved.status().message);
    Result<Evaluator> evaluator = Evaluator::make(tree, shape, *resolved);
    REQUIRE_MESSAGE(evaluator.ok(), evaluator.status().message);
    return std::move(*evaluator);
}

struct Pair {
    int32_t b, h, q, kv;
    uint32_t index, row;
};

void for_each_pair(const Shape& shape, const std::function<void(const Pair&)>& visit) {
    uint32_t index = 0, row = 0;
    for (int32_t b = 0; b < shape.batch; ++b)
        for (int32_t h = 0; h < shape.q_heads; ++h)
            for (int32_t q = 0; q < shape.q_len; ++q, ++row)
                for (int32_t kv = 0; kv < shape.kv_len; ++kv) visit({b, h, q, kv, index++, row});
}

// Runs the cases and holds masks and row ranges against the CPU, exactly.
BatchResult check_masks(const Shape& shape, const std::vector<EmittedCase>& cases) {
    VulkanContext& context = VulkanContext::shared();
    const BatchResult result = run_emitted(context, shape, cases);
    for (size_t i = 0; i < cases.size(); ++i) {
        Evaluator evaluator = evaluator_of(cases[i].mask, shape, cases[i].bindings);
        const detail::RangeProgram program = detail::range_program(*cases[i].mask);
        for_each_pair(shape, [&](const Pair& p) {
            const bool expected = evaluator.mask(p.b, p.h, p.q, p.kv);
            REQUIRE_MESSAGE((result.kept[i][p.index] != 0) == expected,
                            cases[i].what << " at b " << p.b << " h " << p.h << " q " << p.q << " kv " << p.kv << " of "
                                          << shape.q_len << " x " << shape.kv_len << " on " << context.driver
                                          << ": evaluate() says " << expected);
            if (p.kv != 0) return;
            const detail::RowRange cpu = detail::row_range(program, evaluator, shape);
            const DeviceRange& gpu = result.ranges[i][p.row];
            const bool same = cpu == detail::RowRange{gpu.lo_any, gpu.hi_any, gpu.lo_all, gpu.hi_all};
            REQUIRE_MESSAGE(same, cases[i].what << " at b " << p.b << " h " << p.h << " q " << p.q << " on "
                                                << context.driver << ": any [" << gpu.lo_any << ", " << gpu.hi_any
                                                << ") all [" << gpu.lo_all << ", " << gpu.hi_all
                                                << "), the CPU has any [" << cpu.lo_any << ", " << cpu.hi_any
                                                << ") all [" << cpu.lo_all << ", " << cpu.hi_all << ")");
        });
    }
    CHECK_MESSAGE(context.messages().empty(), context.message_text());
    return result;
}

std::shared_ptr<const TableData> i32_table(std::vector<int32_t> values) {
    TableData table;
    table.dims = {static_cast<int64_t>(values.size())};
    table.i32 = std::move(values);
    return std::make_shared<const TableData>(std::move(table));
}

std::shared_ptr<const TableData> f32_table(std::vector<float> values) {
    TableData table;
    table.type = Type::f32;
    table.dims = {static_cast<int64_t>(values.size())};
    table.f32 = std::move(values);
    return std::make_shared<const TableData>(std::move(table));
}

constexpr int32_t int_min = std::numeric_limits<int32_t>::min();
constexpr int32_t int_max = std::numeric_limits<int32_t>::max();
constexpr float inf = std::numeric_limits<float>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

}  // namespace

TEST_SUITE("emit") {

    TEST_CASE("every integer operator, on every bit, at extreme operands") {
        const std::vector<int32_t> values = {int_min, int_min + 1, -65536, -33, -7,   -1,      0,
                                             1,       2,           31,     32,  7919, 1 << 30, int_max};
        const int32_t n = static_cast<int32_t>(values.size());
        Bindings bindings;
        bindings.tables["a"] = i32_table(values);
        bindings.tables["c"] = i32_table(values);
        std::vector<EmittedCase> cases;
        for (const char* value :
             {"a[q] + c[kv]", "a[q] - c[kv]", "a[q] * c[kv]", "a[q] / c[kv]", "a[q] % c[kv]", "a[q] << c[kv]",
              "a[q] >> c[kv]", "-a[q] ^ c[kv]", "abs(a[q]) & ~c[kv]", "min(a[q], c[kv]) | max(a[q] + 1, c[kv])",
              "a[q] / 7 - c[kv] % 7", "a[q] / -5 + c[kv] % -5", "a[q] / 0 + c[kv] / -1 + a[q] % 0 + c[kv] % -1",
              "a[q] % (-2147483647 - 1) - c[kv] / (-2147483647 - 1)", "(a[q] << 33) + (c[kv] >> -1)"}) {
            cases.push_back(make_case(std::string("((") + value + ") >> h & 1) == 1", bindings));
        }
        check_masks({.batch = 1, .q_heads = 32, .kv_heads = 1, .q_len = n, .kv_len = n}, cases);
    }

    TEST_CASE("float to int: every bit, saturating, NaN is 0") {
        const std::vector<float> values = {0.0f,           -0.0f,         0.5f,          -0.5f,         0.99999994f,
                                           1.0f,           -1.5f,         2147483520.0f, 2147483648.0f, -2147483648.0f,
                                           -2147483904.0f, 3e38f,         -3e38f,        inf,           -inf,
                                           not_a_number,   -not_a_number, 1e-30f,        8388607.5f,    -16777217.0f};
        Bindings bindings;
        bindings.tables["x"] = f32_table(values);
        const Mask mask = trace_mask(
            [](Index, Index h, Index, Index kv) { return (to_int(table("x", Type::f32)(kv)) >> h & 1) == 1; });
        check_masks(
            {.batch = 1, .q_heads = 32, .kv_heads = 1, .q_len = 2, .kv_len = static_cast<int32_t>(values.size())},
            {make_case("int(x[kv])", mask, {}, bindings)});
    }

    TEST_CASE("random integer trees equal exactly") {
        RandomTreeOptions options;
        options.floats = false;
        const Shape shape{.batch = 2, .q_heads = 4, .kv_heads = 2, .q_len = 11, .kv_len = 17};
        for (uint64_t batch = 0; batch < 5; ++batch) {
            std::vector<EmittedCase> cases;
            for (uint64_t seed = batch * 100; cases.size() < 20; ++seed) {
                Rng rng(seed);
                const Mask mask = random_mask(rng, rng.between(4, 22), options);
                if (mask.tree().nodes.size() < 5) continue;
                cases.push_back(
                    make_case("seed " + std::to_string(seed), mask, {}, random_bindings(rng, {&mask.tree()})));
            }
            check_masks(shape, cases);
        }
    }

    // Sums, products, comparisons and selections are single IEEE steps in a mask; quotients are not promised to be.
    TEST_CASE("random float masks without quotients and denormals equal exactly") {
        RandomTreeOptions options;
        options.transcendentals = false;
        options.extreme_literals = false;
        std::vector<EmittedCase> cases;
        for (uint64_t seed = 5000; cases.size() < 20; ++seed) {
            Rng rng(seed);
            const Mask mask = random_mask(rng, rng.between(6, 22), options);
            bool quotient = false, floats = false;
            for (const Node& node : mask.tree().nodes) {
                quotient = quotient || (node.type == Type::f32 && (node.op == Op::div || node.op == Op::mod));
                floats = floats || (node.type == Type::f32 && node.op == Op::mul);
            }
            if (quotient || !floats) continue;
            cases.push_back(make_case("seed " + std::to_string(seed), mask, {}, random_bindings(rng, {&mask.tree()})));
        }
        check_masks({.batch = 2, .q_heads = 2, .kv_heads = 1, .q_len = 13, .kv_len = 9}, cases);
    }

    TEST_CASE("named masks and score mods") {
        const Shape shape{.batch = 2, .q_heads = 6, .kv_heads = 3, .q_len = 14, .kv_len = 23};
        const Mask masks[] = {full(),
                              !full(),
                              causal(),
                              causal(3),
                              causal_lower_right(),
                              window(3, 2),
                              sliding_window(4),
                              last_n_keys(4),
                              prefix(5),
                              prefix(table("lengths")),
                              document(table("doc")),
                              document_batched(table("doc2")) && causal(),
                              padding(table("lengths")),
                              padding_mask(table("keep")),
                              stand_alone_self_attention(5, 1),
                              natten(5, 4, 3, 2),
                              dilated_window(6, 3),
                              global_tokens(2) || sliding_window(2),
                              tree_ancestors(table("ancestor"), 4),
                              cross_attention_intervals(table("begin"), table("end")),
                              lower_right(sliding_window(5)),
                              !window(2, 5),
                              causal(int_max),
                              window(int_max, int_min)};
        const ScoreMod score_mods[] = {ScoreMod(),
                                       alibi(),
                                       alibi(table("slope")),
                                       softcap(20.0f),
                                       relative_bias(table("bias"), 4),
                                       dense_bias(table("bias3")),
                                       dense_bias_batched(table("bias4")),
                                       head_scale(table("scale"))};
        std::vector<EmittedCase> cases;
        for (size_t i = 0; i < std::size(masks); ++i) {
            Rng rng(i);
            const ScoreMod& score_mod = score_mods[i % std::size(score_mods)];
            cases.push_back(make_case("named mask " + std::to_string(i), masks[i], score_mod,
                                      random_bindings(rng, {&masks[i].tree(), &score_mod.tree()})));
        }
        const BatchResult result = check_masks(shape, cases);
        for (size_t i = 0; i < cases.size(); ++i) {
            Evaluator evaluator = evaluator_of(cases[i].score_mod, shape, cases[i].bindings);
            for_each_pair(shape, [&](const Pair& p) {
                const float given = batch_score(p.index);
                const float expected = evaluator.score(given, p.b, p.h, p.q, p.kv);
                // Products and sums may be fused, and cancel: relative to the largest term, which is at most 50 here.
                REQUIRE_MESSAGE(std::abs(result.scores[i][p.index] - expected) <= 50.0f * 1e-6f,
                                cases[i].what << " score " << given << " at b " << p.b << " h " << p.h << " q " << p.q
                                              << " kv " << p.kv << ": " << result.scores[i][p.index] << " for "
                                              << expected);
            });
        }
    }

    TEST_CASE("random bounds: the ranges of rows are the CPU's, wrap-around included") {
        const Shape shape{.batch = 1, .q_heads = 2, .kv_heads = 1, .q_len = 13, .kv_len = 10};
        std::vector<EmittedCase> cases;
        const int32_t extremes[] = {
            0, 1, -1, 5, -7, 1 << 28, -(1 << 28) - 1, 1 << 30, -(1 << 30) - 1, int_max, int_min, int_max - 9};
        for (uint64_t seed = 0; seed < 24; ++seed) {
            Rng rng(seed);
            const Mask mask = trace_mask([&](Index, Index h, Index q, Index kv) {
                const auto any = [&]() -> Expr {
                    return rng.chance(60) ? rng.between(-4, 12) : extremes[rng.below(12)];
                };
                const auto bound = [&]() -> Expr {
                    const Expr x = any(), y = any();
                    switch (rng.below(8)) {
                    case 0: return kv <= q + x;
                    case 1: return q + y - kv < x;
                    case 2: return kv - x == y - q;
                    case 3: return abs(kv + x) > y;
                    case 4: return (kv + y) / (h + 2) <= x;
                    case 5: return (y - kv) >> (h + 1) >= x;
                    case 6: return q - kv / x <= y;
                    default: return q < x;
                    }
                };
                Expr all = bound();
                for (int i = rng.between(1, 4); i > 0; --i) {
                    const int kind = rng.below(7);
                    all = kind < 2   ? all && bound()
                          : kind < 4 ? all || bound()
                          : kind < 6 ? !all
                                     : select(q < 5, all, bound());
                }
                return all;
            });
            cases.push_back(make_case("bounds, seed " + std::to_string(seed), mask, {}, {}));
        }
        check_masks(shape, cases);
    }

    // Vulkan's own precision where the device's instruction is used; what safe_math.glsl adds on top where it computes.
    TEST_CASE("f32 operators within their ULPs") {
        struct Operator {
            const char* text;
            double (*exact)(double x, double y);
            double (*ulps)(double x, double y);      // allowed
            double (*absolute)(double x, double y);  // allowed besides
            bool (*defined)(double x, double y);     // where precision is promised
        };
        const auto none = [](double, double) { return 0.0; };
        const auto always = [](double, double) { return true; };
        const auto normal_quotient = [](double x, double y) {
            return std::abs(y) > 1.2e-38 && std::abs(y) < 8e37 && std::isfinite(x) && std::abs(x / y) > 1.2e-38;
        };
        const Operator operators[] = {
            {"x[kv] + y[q]", [](double x, double y) { return x + y; }, none, none, always},
            {"x[kv] - y[q]", [](double x, double y) { return x - y; }, none, none, always},
            {"x[kv] * y[q]", [](double x, double y) { return x * y; }, none, none, always},
            {"x[kv] / y[q]", [](double x, double y) { return x / y; }, [](double, double) { return 2.5; }, none,
             normal_quotient},
            {"-x[kv]", [](double x, double) { return -x; }, none, none, always},
            {"abs(x[kv])", [](double x, double) { return std::abs(x); }, none, none, always},
            {"min(x[kv], y[q])", [](double x, double y) { return y < x ? y : x; }, none, none, always},
            {"max(x[kv], y[q])", [](double x, double y) { return x < y ? y : x; }, none, none, always},
            {"floor(x[kv])", [](double x, double) { return std::floor(x); }, none, none, always},
            {"sign(x[kv])", [](double x, double) { return x > 0   ? 1.0
                                                          : x < 0 ? -1.0
                                                                  : 0.0; }, none, none, always},
            {"exp(x[kv])", [](double x, double) { return std::exp(x); },
             [](double x, double) { return 3 + 2 * std::abs(x); }, none, always},
            {"exp2(x[kv])", [](double x, double) { return std::exp2(x); },
             [](double x, double) { return 3 + 2 * std::abs(x); }, none, always},
            {"log(x[kv])", [](double x, double) { return std::log(x); }, [](double, double) { return 3.0; },
             [](double x, double) { return x > 0.5 && x < 2 ? 0x1p-21 : 0.0; }, always},
            {"log2(x[kv])", [](double x, double) { return std::log2(x); }, [](double, double) { return 3.0; },
             [](double x, double) { return x > 0.5 && x < 2 ? 0x1p-21 : 0.0; }, always},
            {"pow(x[kv], y[q])", [](double x, double y) { return std::pow(x, y); },
             [](double x, double y) { return 8 + 6 * std::abs(y) * (1 + std::abs(std::log2(std::abs(x) + 1e-300))); },
             none, [](double x, double y) { return std::isfinite(x) && std::isfinite(y); }},
            {"sqrt(x[kv])", [](double x, double) { return std::sqrt(x); }, [](double, double) { return 5.0; }, none,
             [](double x, double) { return std::isfinite(x); }},
            {"rsqrt(x[kv])", [](double x, double) { return 1.0 / std::sqrt(x); }, [](double, double) { return 3.0; },
             none, [](double x, double) { return std::isfinite(x); }},
            {"sin(x[kv])", [](double x, double) { return std::sin(x); }, none, [](double, double) { return 0x1p-11; },
             [](double x, double) { return std::abs(x) <= 3.14159; }},
            {"cos(x[kv])", [](double x, double) { return std::cos(x); }, none, [](double, double) { return 0x1p-11; },
             [](double x, double) { return std::abs(x) <= 3.14159; }},
            {"tanh(x[kv])", [](double x, double) { return std::tanh(x); }, [](double, double) { return 12.0; }, none,
             always},
            {"sigmoid(x[kv])", [](double x, double) { return 1.0 / (1.0 + std::exp(-x)); },
             [](double x, double) { return 12 + 2 * std::abs(x); }, none, always},
        };
        std::vector<float> x = {0.0f,   -0.0f, inf,    -inf,   not_a_number, 1e-37f, -1e-37f, 3e38f,
                                -3e38f, 88.0f, -88.0f, 0.625f, -0.6249f,     1.0f,   -1.0f,   2.0f};
        Rng rng(1);
        while (x.size() < 64) x.push_back((rng.unit() - 0.5f) * (rng.chance(50) ? 6.0f : 160.0f));
        std::vector<float> y = {0.0f, -0.0f, inf,   -inf, not_a_number, 1.0f,   -1.0f,
                                2.0f, 3.0f,  -2.0f, 0.5f, 1e30f,        -1e-30f};
        while (y.size() < 24) y.push_back((rng.unit() - 0.5f) * 12.0f);
        Bindings bindings;
        bindings.tables["x"] = f32_table(x);
        bindings.tables["y"] = f32_table(y);
        std::vector<EmittedCase> cases;
        for (const Operator& op : operators) {
            const Result<ScoreMod> parsed = parse_score_mod(op.text);
            REQUIRE_MESSAGE(parsed.ok(), std::string(op.text) << ": " << parsed.status().message);
            cases.push_back(make_case(op.text, Mask(), *parsed, bindings));
        }
        VulkanContext& context = VulkanContext::shared();
        const Shape shape{.batch = 1,
                          .q_heads = 1,
                          .kv_heads = 1,
                          .q_len = static_cast<int32_t>(y.size()),
                          .kv_len = static_cast<int32_t>(x.size())};
        const BatchResult result = run_emitted(context, shape, cases);
        std::string figures;
        for (size_t i = 0; i < cases.size(); ++i) {
            const Operator& op = operators[i];
            double worst = 0.0;
            for_each_pair(shape, [&](const Pair& p) {
                const double a = x[static_cast<size_t>(p.kv)], b = y[static_cast<size_t>(p.q)];
                if (!op.defined(a, b)) return;
                const double exact = op.exact(a, b);
                const float rounded = static_cast<float>(exact);
                const float found = result.scores[i][p.index];
                const double smallest = 1.17549435e-38;  // below, a device may flush to zero
                const double ulp = std::max(std::abs(exact), smallest) * 0x1p-23;
                bool ok = std::isnan(rounded) ? std::isnan(found) : std::isinf(rounded) ? found == rounded : false;
                // The last ULPs below infinity: either side of the border is within them.
                if (!ok && std::abs(exact) > 3.4e38 && std::abs(found) > 3.3e38f && !std::isnan(rounded))
                    ok = (found > 0) == (exact > 0);
                if (!ok && std::isfinite(rounded) && std::isfinite(found)) {
                    const double error = std::abs(static_cast<double>(found) - exact);
                    ok = error <= (op.ulps(a, b) + 0.5) * ulp + op.absolute(a, b) +
                                      (std::abs(exact) < smallest ? smallest : 0.0);
                    if (std::abs(exact) >= smallest) worst = std::max(worst, error / ulp);
                }
                REQUIRE_MESSAGE(ok, cases[i].what << " at x " << a << " y " << b << " on " << context.driver << ": "
                                                  << found << " for " << exact);
            });
            figures += "\n  " + cases[i].what + ": " + std::to_string(worst);
        }
        MESSAGE("worst error in ULP on " << context.driver << figures);
        CHECK_MESSAGE(context.messages().empty(), context.message_text());
    }

}  // TEST_SUITE
