// The harness tests itself: a check that cannot fail proves nothing.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>

#include <doctest/doctest.h>

#include "harness/attention_case.h"
#include "harness/numbers.h"
#include "harness/pairwise.h"
#include "harness/run_attention.h"
#include "harness/vulkan_context.h"
#include "reference/attention_f64.h"
#include "two_dispatches.h"

using namespace vkattn_tests;
using vkattn::ElementType;

TEST_SUITE_BEGIN("harness");

TEST_CASE("the validation layer sees a missing barrier between two dispatches, and no more when it is there") {
    VulkanContext& context = VulkanContext::shared();
    TwoDispatches two(context);
    CHECK(two.run(true) == 7u);
    CHECK_MESSAGE(context.messages().empty(), context.message_text());
    context.clear_messages();

    for (int i = 0; i < 15; i++) two.run(false);  // more often than the layer's default limit of ten messages
    CHECK(context.messages().size() >= 15);
    bool hazard = false;
    for (const ValidationMessage& message : context.messages())
        hazard = hazard || (message.error && message.text.find("SYNC-HAZARD") != std::string::npos);
    CHECK(hazard);
    context.clear_messages();
}

TEST_CASE("guards: a write outside of the tensor is found, one inside is not") {
    const Values shape(2, 3, 5, 7);
    Placement placement;
    placement.first = static_cast<int64_t>(guard_bytes / 4);
    placement.strides = {3 * 5 * 8, 5 * 8, 8};  // one element of gap after each row
    const uint64_t bytes = guard_bytes + 2 * 3 * 5 * 8 * 4 + guard_bytes;
    GuardedBytes guarded(bytes);
    guarded.leave_free(ElementType::f32, placement, shape);
    for (uint64_t at = 0; at < bytes; at += 4) {
        std::vector<uint8_t> now(guarded.bytes().begin(), guarded.bytes().end());
        CHECK(guarded.damage("o", now.data()).empty());
        std::memset(&now[at], 0, 4);
        const bool inside = at >= guard_bytes && at < bytes - guard_bytes && (at - guard_bytes) / 4 % 8 != 7;
        CHECK(guarded.damage("o", now.data()).empty() == inside);
    }
}

TEST_CASE("guards are NaN in every type") {
    uint8_t bytes[4];
    for (uint64_t i = 0; i < 4; i++) bytes[i] = guard_byte(guard_bytes + i);
    for (ElementType type : {ElementType::f32, ElementType::f16, ElementType::bf16})
        CHECK(std::isnan(load_element(type, bytes)));
}

TEST_CASE("16-bit floats: every f16 and bf16 value survives, halves round to even") {
    for (uint32_t bits = 0; bits < 0x10000u; bits++) {
        const auto half = static_cast<uint16_t>(bits);
        const float f16 = from_f16_bits(half), bf16 = from_bf16_bits(half);
        if (!std::isnan(f16) && to_f16_bits(f16) != half) FAIL("f16 " << bits);
        if (!std::isnan(bf16) && to_bf16_bits(bf16) != half) FAIL("bf16 " << bits);
        if (std::isnan(f16) && !std::isnan(from_f16_bits(to_f16_bits(f16)))) FAIL("f16 NaN " << bits);
        if (std::isnan(bf16) && !std::isnan(from_bf16_bits(to_bf16_bits(bf16)))) FAIL("bf16 NaN " << bits);
    }
    CHECK(to_f16_bits(1.0f + 0x1p-11f) == 0x3c00);
    CHECK(to_f16_bits(1.0f + 0x1p-10f + 0x1p-11f) == 0x3c02);
    CHECK(to_f16_bits(1.0f + 0x1p-11f + 0x1p-23f) == 0x3c01);
    CHECK(to_f16_bits(65519.0f) == 0x7bff);
    CHECK(to_f16_bits(65520.0f) == 0x7c00);
    CHECK(to_f16_bits(0x1p-25f) == 0);
    CHECK(to_f16_bits(0x1.8p-24f) == 2);
    CHECK(to_bf16_bits(1.0f + 0x1p-8f) == 0x3f80);
    CHECK(to_bf16_bits(1.0f + 0x1p-7f + 0x1p-8f) == 0x3f82);
    CHECK(to_bf16_bits(3.4e38f) == 0x7f80);
}

TEST_CASE("a case survives its text") {
    AttentionCase c;
    c.mask = "window";
    c.score = "alibi";
    c.k_type = ElementType::bf16;
    c.o_type = ElementType::f16;
    c.head_dim = 15;
    c.value_dim = 576;
    c.schedule = vkattn::Schedule::list;
    c.skeleton = vkattn::Skeleton::tiles;
    c.addressing = vkattn::Addressing::binding;
    c.shape = {2, 6, 3, 65, 129};
    c.layout = Layout::odd;
    c.poison = Poison::partial;
    c.block_q = 64;
    c.block_kv = 32;
    c.slices = 7;
    c.seed = 12345678901234567890u;
    CHECK(to_text(parse_case(to_text(c))) == to_text(c));
    CHECK(to_text(c).find("seed=12345678901234567890") != std::string::npos);
}

TEST_CASE("a case that is none is refused with what would be one") {
    const struct {
        const char *text, *named;
    } wrong[] = {{"causal", "mask=causal"},
                 {"head=3", "no field 'head'"},
                 {"q=f64", "f32, f16, bf16"},
                 {"lq=-1", "whole number"},
                 {"lq=5x", "whole number"},
                 {"d=99999999999999999999", "whole number"},
                 {"d=577", "1 to 576"},
                 {"hq=3 hkv=2", "hq"},
                 {"b=0", "b, hq"},
                 {"lq=100000 lkv=100000", "too much"},
                 {"slices=0", "1 to 4096"},
                 {"block_q=64", "both"}};
    for (const auto& one : wrong) {
        const auto read = read_case(one.text);
        REQUIRE_FALSE_MESSAGE(read.ok(), one.text);
        CHECK_MESSAGE(read.status().message.find(one.named) != std::string::npos, read.status().message);
    }
    CHECK(inputs_for(*read_case("mask=nonsense")).status().message.find("causal_lower_right") != std::string::npos);
    CHECK(inputs_for(*read_case("score=nonsense")).status().message.find("softcap") != std::string::npos);
}

TEST_CASE("pairwise tables hold every allowed pair and no other") {
    const std::vector<int32_t> sizes = {5, 3, 4, 2, 7};
    PairwiseOptions options;
    options.allowed = [](size_t i, int32_t x, size_t j, int32_t y) { return !(i == 0 && j == 2 && x == 1 && y != 0); };
    const auto rows = pairwise_table(sizes, options);
    CHECK(rows.size() >= 35);
    CHECK(rows.size() <= 60);
    std::set<std::vector<int64_t>> seen;
    for (const auto& row : rows)
        for (size_t i = 0; i < sizes.size(); i++)
            for (size_t j = i + 1; j < sizes.size(); j++) {
                CHECK(options.allowed(i, row[i], j, row[j]));
                seen.insert({static_cast<int64_t>(i), row[i], static_cast<int64_t>(j), row[j]});
            }
    size_t expected = 0;
    for (size_t i = 0; i < sizes.size(); i++)
        for (size_t j = i + 1; j < sizes.size(); j++)
            for (int32_t x = 0; x < sizes[i]; x++)
                for (int32_t y = 0; y < sizes[j]; y++) expected += options.allowed(i, x, j, y) ? 1 : 0;
    CHECK(seen.size() == expected);
}

TEST_CASE("a lazily committed buffer of nearly 4 GiB holds what is written at its end") {
    VulkanContext& context = VulkanContext::shared();
    SparseBuffer sparse(context, (4ull << 30) - (1u << 20));
    if (!sparse.ok()) {
        MESSAGE("not on this device: " << sparse.why_not);
        return;
    }
    sparse.data[sparse.size_bytes - 1] = 42;
    CHECK(sparse.data[sparse.size_bytes - 1] == 42);
    CHECK_MESSAGE(context.messages().empty(), context.message_text());
}

// The comparison with float64 sees what it must. Each of these would pass if it did not look.
namespace {

struct Sound {
    AttentionCase c;
    Inputs inputs;
    RunResult result;
};

// A result as the reference has it, without a device.
Sound sound_result(const char* mask, ElementType o_type = ElementType::f32) {
    Sound s;
    s.c.mask = mask;
    s.c.o_type = o_type;
    s.c.shape = {2, 4, 2, 33, 41};
    s.c.head_dim = 16;
    s.c.value_dim = 12;
    s.inputs = make_inputs(s.c);
    vkattn::test::AttentionF64 reference;
    reference.batch = 2;
    reference.q_heads = 4;
    reference.kv_heads = 2;
    reference.q_len = 33;
    reference.kv_len = 41;
    reference.head_dim = 16;
    reference.value_dim = 12;
    reference.scale = 0.25;
    reference.q = s.inputs.q.at;
    reference.k = s.inputs.k.at;
    reference.v = s.inputs.v.at;
    reference.mask = s.inputs.keep;
    reference.run();
    s.result.o = Values(2, 4, 33, 12);
    for (size_t i = 0; i < reference.o.size(); i++)
        s.result.o.at[i] = rounded(o_type, static_cast<float>(reference.o[i]));
    for (double x : reference.lse) s.result.lse.push_back(static_cast<float>(x));
    return s;
}

}  // namespace

TEST_CASE("comparison: a rounded reference passes in every type") {
    for (ElementType type : {ElementType::f32, ElementType::f16, ElementType::bf16})
        for (const char* mask : {"causal", "anti_causal", "nothing"}) {
            const Sound s = sound_result(mask, type);
            check_result(s.c, s.inputs, s.result);
        }
}

TEST_CASE("comparison: what is wrong fails the test" * doctest::should_fail()) {
    Sound s = sound_result("causal");
    s.result.o.row(1, 2, 17)[5] += 2e-5f;
    check_result(s.c, s.inputs, s.result);
}

TEST_CASE("comparison: each kind of wrong result is found and named") {
    const auto found = [](const Sound& s) { return Judge(s.c, s.inputs)(s.result.o, &s.result.lse).wrong; };
    const auto says = [](const std::string& words, const char* part) {
        CHECK_MESSAGE(words.find(part) != std::string::npos, "'" << words << "' should say '" << part << "'");
    };
    Sound s = sound_result("causal");
    CHECK(found(s) == "");
    s.result.o.row(1, 2, 17)[5] += 2e-5f;
    says(found(s), "row b=1 h=2 q=17: row error");

    s = sound_result("causal");
    s.result.o.row(0, 3, 32)[11] = std::numeric_limits<float>::quiet_NaN();
    says(found(s), "row b=0 h=3 q=32 x=11: o is");

    s = sound_result("nothing");  // a row without keys that is not 0
    s.result.o.row(0, 0, 3)[0] = 1e-30f;
    says(found(s), "row b=0 h=0 q=3: row error");

    s = sound_result("causal");
    std::swap(s.result.lse[40], s.result.lse[41]);
    says(found(s), "lse is off");
    s.result.lse[40] = -std::numeric_limits<float>::infinity();
    says(found(s), "lse is -inf");
    s.result.lse.pop_back();
    says(found(s), "elements");

    s = sound_result("full");  // swapped heads
    for (int32_t q = 0; q < 33; q++)
        std::swap_ranges(s.result.o.row(0, 0, q), s.result.o.row(0, 0, q) + 12, s.result.o.row(0, 1, q));
    says(found(s), "row error");

    s = sound_result("causal");  // one key too many in one row
    s.inputs.keep = [](int32_t b, int32_t h, int32_t q, int32_t kv) {
        return kv <= q || (b == 1 && h == 1 && q == 30 && kv == 31);
    };
    says(found(s), "row b=1 h=1 q=30: row error");
}

TEST_SUITE_END();
