// Normalisation: values stay, structure is canonical, and no value of a literal is structure.
#include <algorithm>
#include <bit>
#include <cmath>
#include <memory>

#include <doctest/doctest.h>

#include "masks/random_tree.h"
#include "vkattn/evaluate.h"
#include "vkattn/mask.h"
#include "vkattn/named.h"
#include "vkattn/normalise.h"

using namespace vkattn;
using namespace vkattn::test;

namespace {

Mask parsed(const char* text) {
    const Result<Mask> mask = parse_mask(text);
    REQUIRE_MESSAGE(mask.ok(), text << ": " << mask.status().message);
    return *mask;
}

Tree normal(const Mask& mask) {
    Result<Tree> tree = normalise(mask);
    REQUIRE_MESSAGE(tree.ok(), tree.status().message);
    return std::move(*tree);
}

Tree normal(const ScoreMod& score_mod) {
    Result<Tree> tree = normalise(score_mod);
    REQUIRE_MESSAGE(tree.ok(), tree.status().message);
    return std::move(*tree);
}

std::string hash_of(const char* text) { return structure_hash(normal(parsed(text))); }
std::string hash_of(const Mask& mask) { return structure_hash(normal(mask)); }
std::string hash_of(const ScoreMod& score_mod) { return structure_hash(normal(score_mod)); }

// Any NaN equals any NaN: which one an operator gives is not promised.
bool same_value(Type type, uint32_t x, uint32_t y) {
    if (type != Type::f32) return x == y;
    return x == y || (std::isnan(std::bit_cast<float>(x)) && std::isnan(std::bit_cast<float>(y)));
}

struct Slots {
    int32_t literals = 0, specialised = 0, params = 0;
};
Slots slots_of(const Tree& tree) {
    Slots counts;
    for (const SlotRef& slot : tree.slots) {
        counts.literals += slot.param < 0;
        counts.specialised += slot.specialised;
        counts.params += slot.param >= 0;
    }
    return counts;
}

// Every literal replaced: distinct values become distinct other ones, so that what was shared stays shared.
Tree with_other_literals(const Tree& normalised) {
    Tree tree = normalised;
    for (SlotRef& slot : tree.slots) {
        if (slot.param >= 0) continue;
        slot.bits = slot.type == Type::i32 ? slot.bits * 3 + 1
                                           : std::bit_cast<uint32_t>(0.125f + 0.5f * std::bit_cast<float>(slot.bits));
    }
    return tree;
}

void check_tree(uint64_t seed, const Tree& before, const Tree& after, Rng& rng) {
    const Shape shape = random_shape(rng);
    const Bindings bindings = random_bindings(rng, {&before, &after});
    const Result<ResolvedBindings> resolved_before = resolve(before, bindings);
    const Result<ResolvedBindings> resolved_after = resolve(after, bindings);
    REQUIRE_MESSAGE(resolved_before.ok(), "seed " << seed << ": " << resolved_before.status().message);
    REQUIRE_MESSAGE(resolved_after.ok(), "seed " << seed << ": " << resolved_after.status().message);
    Result<Evaluator> original = Evaluator::make(std::make_shared<const Tree>(before), shape, *resolved_before);
    Result<Evaluator> canonical = Evaluator::make(std::make_shared<const Tree>(after), shape, *resolved_after);
    REQUIRE(original.ok());
    REQUIRE(canonical.ok());
    const Type type = before.nodes.back().type;
    REQUIRE(after.nodes.back().type == type);
    for (int32_t i = 0; i < 12; ++i) {
        const int32_t b = rng.below(shape.batch), h = rng.below(shape.q_heads);
        const int32_t q = rng.below(shape.q_len), kv = rng.below(shape.kv_len);
        const float score = (rng.unit() - 0.5f) * 12.0f;
        original->score(score, b, h, q, kv);
        canonical->score(score, b, h, q, kv);
        const uint32_t x = original->node_bits(static_cast<int32_t>(before.nodes.size()) - 1);
        const uint32_t y = canonical->node_bits(static_cast<int32_t>(after.nodes.size()) - 1);
        REQUIRE_MESSAGE(same_value(type, x, y), "seed " << seed << " b " << b << " h " << h << " q " << q << " kv "
                                                        << kv << " score " << score << ": " << x << " became " << y);
    }
}

}  // namespace

TEST_CASE("normalise keeps the value of 100,000 random trees, and is idempotent") {
    int64_t nodes_before = 0, nodes_after = 0;
    for (uint64_t seed = 0; seed < 100000; ++seed) {
        Rng rng(seed);
        const int budget = rng.between(1, 24);
        const bool is_mask = rng.chance(70);
        const Mask mask = is_mask ? random_mask(rng, budget) : Mask();
        const ScoreMod score_mod = is_mask ? ScoreMod() : random_score_mod(rng, budget);
        const Tree& before = is_mask ? mask.tree() : score_mod.tree();
        const Tree after = is_mask ? normal(mask) : normal(score_mod);
        nodes_before += static_cast<int64_t>(before.nodes.size());
        nodes_after += static_cast<int64_t>(after.nodes.size());
        check_tree(seed, before, after, rng);

        auto shared = std::make_shared<const Tree>(after);
        const Tree again = is_mask ? normal(Mask(shared)) : normal(ScoreMod(shared));
        REQUIRE_MESSAGE(again.nodes == after.nodes, "seed " << seed << ": not idempotent");
        REQUIRE_MESSAGE(structure_hash(again) == structure_hash(after), "seed " << seed);

        // Other literals in the same places are the same structure.
        auto others = std::make_shared<const Tree>(with_other_literals(after));
        const Tree other = is_mask ? normal(Mask(others)) : normal(ScoreMod(others));
        REQUIRE_MESSAGE(structure_hash(other) == structure_hash(after), "seed " << seed);
    }
    CHECK(nodes_before > 500000);  // the trees are no trifles
    CHECK(nodes_after > nodes_before / 4);
}

TEST_CASE("a value is no structure") {
    CHECK(hash_of(sliding_window(77)) == hash_of(sliding_window(78)));
    CHECK(normal(sliding_window(77)).nodes == normal(sliding_window(0)).nodes);
    CHECK(hash_of(sliding_window(77)) == hash_of(sliding_window(param("w"))));
    CHECK(hash_of(sliding_window(param("w"))) == hash_of(sliding_window(param("other"))));
    CHECK(hash_of(document(table("doc"))) == hash_of(document(table("ids"))));
    // Whether two literals are equal is none either.
    CHECK(hash_of(sliding_window(77) && prefix(77)) == hash_of(sliding_window(78) && prefix(79)));
    CHECK(hash_of(natten(32, 32, 7, 7)) == hash_of(natten(37, 23, 5, 9)));
    CHECK(hash_of(stand_alone_self_attention(32, 32)) == hash_of(stand_alone_self_attention(8, 3)));
    CHECK(hash_of("q < 5") == hash_of("q < 0"));
    // Nor that one param stands in two places.
    CHECK(hash_of("q < x && kv < x") == hash_of("q < x && kv < y"));
    CHECK(hash_of("q < x && kv < y") == hash_of("q < 3 && kv < 3"));
    CHECK(hash_of("q < x && kv < x") == hash_of("q < 3 && kv < 4"));
    CHECK(hash_of("kv <= q + n && q - kv < n") == hash_of("kv <= q + 7 && q - kv < 9"));
    CHECK(hash_of("kv <= q + n && q - kv < n") == hash_of("kv <= q + 7 && q - kv < n"));
    CHECK(hash_of("(kv < q ? n : n) == b") == hash_of("(kv < q ? 5 : 6) == b"));
    CHECK(hash_of("q * n - n < kv") == hash_of("q * 3 - 4 < kv"));
    CHECK(hash_of(window(param("w"), param("w"))) == hash_of(window(param("left"), param("right"))));
    CHECK(hash_of(softcap(20.0f)) == hash_of(softcap(param("cap"))));
    CHECK(hash_of(softcap(20.0f)) == hash_of(softcap(30.0f)));
}

TEST_CASE("every use of a literal or param has a slot of its own, with the right value") {
    const Tree tree = normal(parsed("kv <= q + n && q - kv < n && q < m && kv / 4 != q / n"));
    const Slots slots = slots_of(tree);
    CHECK(slots.params == 4);
    CHECK(slots.literals == 1);
    CHECK(tree.params.size() == 2);
    std::vector<int32_t> uses(tree.slots.size(), 0);
    for (const Node& node : tree.nodes) {
        for (uint8_t a = 0; a < node.n_args; ++a) {
            const Node& arg = tree.nodes[static_cast<size_t>(node.args[a])];
            if (arg.op == Op::slot) ++uses[arg.payload];
        }
    }
    CHECK(uses == std::vector<int32_t>(tree.slots.size(), 1));
    Bindings bindings;
    bindings.scalars["n"] = int32_t{11};
    bindings.scalars["m"] = int32_t{13};
    const Result<ResolvedBindings> resolved = resolve(tree, bindings);
    REQUIRE(resolved.ok());
    std::vector<uint32_t> values = slot_values(tree, *resolved);
    std::sort(values.begin(), values.end());
    CHECK(values == std::vector<uint32_t>{4, 11, 11, 11, 13});
}

TEST_CASE("equal masks hash equal, however they are written") {
    CHECK(hash_of("a[q] && q < kv") == hash_of("q < kv && a[q]"));
    CHECK(hash_of("q >= kv") == hash_of("kv <= q"));
    CHECK(hash_of("!(q < kv)") == hash_of("q >= kv"));
    CHECK(hash_of("!!(q < kv)") == hash_of("kv > q"));
    CHECK(hash_of("(q < kv && b == 0) && h == 1") == hash_of("h == 1 && (b == 0 && kv > q)"));
    CHECK(hash_of("true && q < kv") == hash_of("q < kv"));
    CHECK(hash_of("q < kv || false") == hash_of("q < kv"));
    CHECK(hash_of("q + 3 < kv") == hash_of("7 + q < kv"));
    CHECK(hash_of("kv < 2 + 3") == hash_of("kv < 9"));
    CHECK(hash_of("doc[q] == doc[kv]") == hash_of("doc[kv] == doc[q]"));
    CHECK(hash_of("q < kv ? true : b == 1") == hash_of("b == 1 || q < kv"));
    CHECK(hash_of("!(q < kv && b == 1) ? h == 0 : kv == 2") == hash_of("(q < kv && b == 1) ? kv == 2 : h == 0"));
    CHECK(hash_of(causal() && sliding_window(5)) == hash_of(sliding_window(5)));  // causal twice is once
    // Tables that differ only in where they are used: the other operand's order does not matter.
    CHECK(hash_of("(x[q] == 1 && y[q] == 1) && !(x[kv] == 1)") == hash_of("!(x[kv] == 1) && (y[q] == 1 && x[q] == 1)"));
    CHECK(hash_of("(x[q] == 1 && y[q] == 1) && !(y[kv] == 1)") == hash_of("(x[q] == 1 && y[q] == 1) && !(x[kv] == 1)"));
}

TEST_CASE("every rule of simplification, by itself") {
    const std::pair<const char*, const char*> rules[] = {
        {"3 * 4 == 12 && q < kv", "q < kv"},
        {"!true || q < kv", "q < kv"},
        {"!!(q < kv && b == 1)", "q < kv && b == 1"},
        {"!(q == kv)", "q != kv"},
        {"!(q != kv)", "q == kv"},
        {"!(q < kv)", "kv <= q"},
        {"!(q <= kv)", "kv < q"},
        {"q < kv && false", "false"},
        {"false && q < kv", "false"},
        {"q < kv && true", "q < kv"},
        {"true && q < kv", "q < kv"},
        {"q < kv && q < kv", "q < kv"},
        {"q < kv || true", "true"},
        {"true || q < kv", "true"},
        {"q < kv || false", "q < kv"},
        {"false || q < kv", "q < kv"},
        {"q < kv || q < kv", "q < kv"},
        {"q == q", "true"},
        {"q != q", "false"},
        {"(q < kv) == (q < kv)", "true"},
        {"(q < kv) == true", "q < kv"},
        {"true == (q < kv)", "q < kv"},
        {"(q < kv) != false", "q < kv"},
        {"(q < kv) == false", "kv <= q"},
        {"true != (q < kv)", "kv <= q"},
        {"true ? q < kv : b == 1", "q < kv"},
        {"false ? b == 1 : q < kv", "q < kv"},
        {"h == 1 ? q < kv : q < kv", "q < kv"},
        {"(h == 1 ? q : q) < kv", "q < kv"},
        {"q < kv ? true : b == 1", "q < kv || b == 1"},
        {"q < kv ? false : b == 1", "kv <= q && b == 1"},
        {"q < kv ? b == 1 : false", "q < kv && b == 1"},
        {"q < kv ? b == 1 : true", "kv <= q || b == 1"},
        {"(!(q < kv && b == 1) ? h : q) < kv", "(q < kv && b == 1 ? q : h) < kv"},
        {"q < q", "false"},
        {"float(q) < float(q)", "false"},
        {"q <= q", "true"},
        {"(q & q) < kv", "q < kv"},
        {"(q < kv) & (b == 1)", "q < kv && b == 1"},
        {"(q | q) < kv", "q < kv"},
        {"(q < kv) | (b == 1)", "q < kv || b == 1"},
        {"(q < kv) ^ (b == 1)", "(q < kv) != (b == 1)"},
        {"min(q, q) < kv", "q < kv"},
        {"max(q, q) < kv", "q < kv"},
        {"-(-q) < kv", "q < kv"},
        {"~~q < kv", "q < kv"},
    };
    for (const auto& rule : rules)
        CHECK_MESSAGE(hash_of(rule.first) == hash_of(rule.second), rule.first << " should become " << rule.second);
    // A NaN is not equal to itself, and neither below nor above anything.
    CHECK(hash_of("x[q] == x[q]") == hash_of("true"));
    for (const char* kept : {"float(x[q]) == float(x[q])", "float(q) <= float(q)", "float(q) != float(q)"}) {
        CHECK_FALSE(is_literal_true(normal(parsed(kept))));
        CHECK_FALSE(is_literal_false(normal(parsed(kept))));
    }
    CHECK(hash_of("!(float(q) < float(kv))") != hash_of("float(kv) <= float(q)"));
}

TEST_CASE("different masks hash differently") {
    const char* masks[] = {"q < kv",
                           "kv < q",
                           "q <= kv",
                           "q < kv + 1",
                           "q < kv - 1",
                           "q % 4 == kv % 4",
                           "q / 4 == kv / 4",
                           "q / w == kv / w",
                           "doc[q] == doc[kv]",
                           "doc[b, q] == doc[b, kv]",
                           "x[q] == y[kv]",
                           "true",
                           "false",
                           "q < kv && b == 0",
                           "q < kv || b == 0",
                           "q + 0 < kv",
                           "float(q) < float(kv)",
                           "q == kv",
                           "q != kv"};
    for (size_t i = 0; i < std::size(masks); ++i) {
        for (size_t j = 0; j < i; ++j)
            CHECK_MESSAGE(hash_of(masks[i]) != hash_of(masks[j]), masks[i] << " and " << masks[j]);
    }
}

TEST_CASE("literals and params become slots, divisors specialised ones") {
    const Slots window = slots_of(normal(parsed("q - kv <= 77 && kv <= q && b < n && h < n")));
    CHECK(window.literals == 1);
    CHECK(window.specialised == 0);
    CHECK(window.params == 2);
    const Slots divided = slots_of(normal(parsed("q / 4 == kv % 8 && q << 2 > kv >> 1 && q / w == 3")));
    CHECK(divided.specialised == 4);
    CHECK(divided.literals == 5);
    CHECK(divided.params == 1);
    CHECK(slots_of(normal(parsed("q / (1 + 1) == kv"))).specialised == 1);
    // Simplification looks at no lifted value.
    CHECK(slots_of(normal(parsed("q + 0 < kv * 1"))).literals == 2);
    CHECK(slots_of(normal(parsed("(kv < q ? 5 : 5) == b"))).literals == 2);
    CHECK(is_literal_true(normal(full())));
    CHECK(is_literal_true(normal(parsed("1 < 2 || q < kv"))));
    CHECK(is_literal_false(normal(parsed("q < kv && !(3 == 3)"))));
    CHECK_FALSE(is_literal_true(normal(causal())));
    // inf and NaN are no numbers to put into a slot.
    const Tree infinite = normal(parsed("float(q) < inf"));
    CHECK(infinite.slots.empty());
    CHECK(hash_of("float(q) < inf") != hash_of("float(q) < 3.0"));
}

TEST_CASE("slot values follow the bindings") {
    const Tree tree = normal(parsed("kv <= q + shift && q - kv <= 77 && q / 16 == kv / 16"));
    Bindings bindings;
    bindings.scalars["shift"] = int32_t{-5};
    const Result<ResolvedBindings> resolved = resolve(tree, bindings);
    REQUIRE(resolved.ok());
    const std::vector<uint32_t> values = slot_values(tree, *resolved);
    REQUIRE(values.size() == tree.slots.size());
    int32_t found = 0;
    for (size_t i = 0; i < values.size(); ++i) {
        const int32_t value = static_cast<int32_t>(values[i]);
        CHECK((value == -5 || value == 77 || value == 16));
        CHECK((value == 16) == tree.slots[i].specialised);
        found += value == -5 ? 1 : value == 77 ? 10 : 100;
    }
    CHECK(found == 211);
}

TEST_CASE("a broken mask gives its status") {
    const Mask broken = Mask::broken(error(Code::invalid_text, "no good"));
    CHECK(normalise(broken).status().message == "no good");
}

TEST_CASE("long chains and deep trees take no recursion and no quadratic time") {
    const Mask deep = trace_mask([&](Index, Index, Index q, Index kv) {
        Expr x = q;
        Expr all = kv <= q;
        for (int i = 0; i < 20000; ++i) {
            x = x + i;
            all = all && x != kv;
        }
        return all;
    });
    const Tree tree = normal(deep);
    CHECK(slots_of(tree).literals == 20000);
    CHECK(tree.nodes.size() > 60000);
}
