// The emitted text: what is computed per row, per key and per pair, and what must never appear in it. Its values are tested on a
// device (tests/engine/test_emit_gpu.cpp).
#include <memory>
#include <string>

#include <doctest/doctest.h>

#include "masks/random_tree.h"
#include "vkattn/emit.h"
#include "vkattn/named.h"

using namespace vkattn;
using namespace vkattn::test;

namespace {

EmittedHook emitted(const Mask& mask, const ScoreMod& score_mod = {}) {
    const Result<Tree> m = normalise(mask);
    const Result<Tree> s = normalise(score_mod);
    REQUIRE(m.ok());
    REQUIRE(s.ok());
    Result<EmittedHook> hook = emit_hook(*m, *s);
    REQUIRE_MESSAGE(hook.ok(), hook.status().message);
    return std::move(*hook);
}

EmittedHook emitted(const char* mask, const char* score_mod = "score") {
    const Result<Mask> m = parse_mask(mask);
    const Result<ScoreMod> s = parse_score_mod(score_mod);
    REQUIRE_MESSAGE(m.ok(), m.status().message);
    REQUIRE_MESSAGE(s.ok(), s.status().message);
    return emitted(*m, *s);
}

// The text between a function's name and the end of its body.
std::string body(const EmittedHook& hook, const std::string& function) {
    const size_t begin = hook.glsl.find(" " + function + "(");
    REQUIRE(begin != std::string::npos);
    return hook.glsl.substr(begin, hook.glsl.find("\n}\n", begin) - begin);
}

bool has(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

int32_t count(const std::string& text, const std::string& part) {
    int32_t n = 0;
    for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
    return n;
}

}  // namespace

TEST_CASE("values are taken as early as they can be") {
    const EmittedHook hook = emitted("doc[q] == doc[kv] && q - kv <= w && q / 8 == kv / 8 && kv < len[b]");
    CHECK(count(body(hook, "mask_row"), "table_i32") == 1);
    CHECK(count(body(hook, "mask_row"), "div_i32") == 1);
    CHECK(count(body(hook, "mask_row"), "params.slots") == 1);
    CHECK(count(body(hook, "mask_col"), "table_i32") == 2);  // doc[kv], len[b]
    CHECK(count(body(hook, "mask_col"), "div_i32") == 1);
    const std::string pair = body(hook, "mask_pair");
    CHECK_FALSE(has(pair, "table_"));
    CHECK_FALSE(has(pair, "div_i32"));
    CHECK_FALSE(has(pair, "params"));
    CHECK(hook.n_slots == 3);
    CHECK(hook.specialised.size() == 2);
    CHECK(hook.n_tables == 2);
    CHECK(hook.differs_by_batch);
    CHECK_FALSE(hook.differs_by_head);
}

TEST_CASE("a lookup per pair takes its slice of the table where that is known") {
    const std::string by_row = emitted("true", "score + bias[h, q - kv]").glsl;
    CHECK(has(by_row, "table_slice(params.tables_info[0], h)"));
    const EmittedHook hook = emitted("true", "score + bias[h, q - kv]");
    CHECK_FALSE(has(body(hook, "score_pair"), "params"));
    CHECK(has(body(hook, "score_pair"), "table_f32(row."));
    const EmittedHook by_key = emitted("true", "score + bias[kv, q]");
    CHECK(has(body(by_key, "score_pair"), "table_f32(col."));
    CHECK_FALSE(has(body(by_key, "score_pair"), "params"));
    const EmittedHook by_pair = emitted("true", "score + bias[q - kv, q]");
    CHECK(has(body(by_pair, "score_pair"), "table_slice(row.t0"));
    CHECK_FALSE(has(body(by_pair, "score_pair"), "params"));
}

TEST_CASE("slots and tables of the mask come first, then the score mod's") {
    const EmittedHook hook =
        emitted("q - kv <= 7 && keep[kv] == 1 && q % 4 == 0", "score * 2.5 + bias[h] + float(q / 16)");
    CHECK(hook.n_slots == 6);
    CHECK(hook.n_tables == 2);
    REQUIRE(hook.specialised.size() == 2);
    CHECK(hook.specialised[0] < 4);
    CHECK(hook.specialised[1] >= 4);
    CHECK(has(hook.glsl, "layout(constant_id = SPEC_MASK_FIRST + 1) const int mask_spec_1 = 1;"));
    CHECK(has(body(hook, "mask_col"), "params.tables_info[0]"));
    CHECK(has(body(hook, "mask_row"), "params.tables_info[1]"));
    CHECK(hook.differs_by_head);
}

TEST_CASE("identities are empty hooks") {
    const EmittedHook nothing = emitted(full());
    CHECK_FALSE(nothing.has_mask);
    CHECK_FALSE(nothing.has_score_mod);
    CHECK(nothing.has_interval);
    CHECK(nothing.interval_exact);
    CHECK(has(nothing.glsl, "#define HAS_MASK_MOD 0"));
    CHECK(has(nothing.glsl, "#define HAS_SCORE_MOD 0"));
    const EmittedHook none = emitted(!full(), softcap(30.0f));
    CHECK(none.has_mask);
    CHECK(none.has_score_mod);
    CHECK(none.interval_exact);
    CHECK(has(none.glsl, "#define HAS_MASK_MOD 1"));
    CHECK(has(none.glsl, "tanh_f32"));
}

TEST_CASE("equal structures give equal text; names and values are not in it") {
    CHECK(emitted(sliding_window(77)).glsl == emitted(sliding_window(78)).glsl);
    CHECK(emitted(sliding_window(77)).hash == emitted(sliding_window(param("width_of_it"))).hash);
    CHECK(emitted(sliding_window(77)).hash != emitted(causal()).hash);
    CHECK(emitted("b == 77123 && evil_table[q] == evil_param").glsl == emitted("doc[q] == d && b == 5").glsl);
    const std::string text = emitted("b == 77123 && evil_table[q] == evil_param").glsl;
    CHECK_FALSE(has(text, "evil"));
    CHECK_FALSE(has(text, "77123"));
    CHECK(emitted("float(q) < inf").glsl.find("0x7f800000u") != std::string::npos);
}

TEST_CASE("random trees: the pair functions load nothing from params, and equal structure is equal text") {
    for (uint64_t seed = 0; seed < 3000; ++seed) {
        Rng rng(seed);
        const Mask mask = random_mask(rng, rng.between(1, 24));
        const ScoreMod score_mod = random_score_mod(rng, rng.between(1, 16));
        const EmittedHook hook = emitted(mask, score_mod);
        REQUIRE_MESSAGE(!has(body(hook, "mask_pair"), "params"), "seed " << seed << "\n" << hook.glsl);
        REQUIRE_MESSAGE(!has(body(hook, "score_pair"), "params"), "seed " << seed << "\n" << hook.glsl);
        REQUIRE_MESSAGE(!has(body(hook, "mask_row"), "kv)"), "seed " << seed << "\n" << hook.glsl);
        const Result<Tree> m = normalise(mask);
        const Result<Tree> s = normalise(score_mod);
        REQUIRE(hook.n_slots == m->slots.size() + s->slots.size());
        const EmittedHook again =
            emitted(Mask(std::make_shared<const Tree>(*m)), ScoreMod(std::make_shared<const Tree>(*s)));
        REQUIRE_MESSAGE(again.glsl == hook.glsl, "seed " << seed);
    }
}

TEST_CASE("what cannot be emitted is an error that says why") {
    const Result<Mask> mask = parse_mask("q - kv <= w");
    const Result<Tree> score = normalise(ScoreMod());
    const Result<EmittedHook> raw = emit_hook(mask->tree(), *score);
    CHECK(raw.status().code == Code::invalid_argument);
    CHECK(has(raw.status().message, "not normalised"));
    CHECK(emit_hook(*score, *score).status().code == Code::invalid_argument);
    const Mask huge = trace_mask([](Index, Index, Index q, Index kv) {
        Expr all = kv <= q;
        for (int i = 0; i < 9000; ++i) all = all && kv != q + i;
        return all;
    });
    const Result<EmittedHook> refused = emit_hook(*normalise(huge), *score);
    CHECK(refused.status().code == Code::limit_exceeded);
    CHECK(has(refused.status().message, "16384"));
}
