// The contract of docs/design.md, section 5: what must not leak, what an empty row is, which scores are special.
#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include "harness/numbers.h"
#include "harness/run_attention.h"
#include "vkattn/block_mask.h"
#include "vkattn/classify.h"
#include "vkattn/named.h"

using namespace vkattn_tests;
using vkattn::Addressing;
using vkattn::ElementType;
using vkattn::Schedule;
using vkattn::Skeleton;

namespace {

constexpr Skeleton skeletons[] = {Skeleton::rows, Skeleton::tiles};
constexpr Schedule schedules[] = {Schedule::dense, Schedule::interval, Schedule::list};

AttentionCase small(std::string mask, Skeleton skeleton, Schedule schedule) {
    AttentionCase c;
    c.mask = std::move(mask);
    c.skeleton = skeleton;
    c.schedule = schedule == Schedule::interval && !mask_entry(c.mask).interval ? Schedule::dense : schedule;
    c.shape = {2, 4, 2, 150, 170};
    c.head_dim = 40;
    c.value_dim = 24;
    return c;
}

}  // namespace

TEST_SUITE_BEGIN("semantics");

TEST_CASE("poison: NaN and infinity reach only the rows that attend to them") {
    for (Skeleton skeleton : skeletons)
        for (Schedule schedule : schedules)
            for (const char* mask : {"causal", "window", "documents_causal", "wrong_index", "anti_causal"}) {
                AttentionCase c = small(mask, skeleton, schedule);
                c.poison = Poison::partial;
                c.seed = 7;
                run_and_check(c);
                c.seed = 8;
                c.slices = 3;
                run_and_check(c);
            }
}

TEST_CASE("poison: one bad V row in the middle of a causal tile, in 16-bit types") {
    for (Skeleton skeleton : skeletons)
        for (ElementType type : {ElementType::f16, ElementType::bf16})
            for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                              -std::numeric_limits<float>::infinity()}) {
                AttentionCase c = small("causal", skeleton, Schedule::automatic);
                c.shape = {1, 1, 1, 128, 128};
                c.q_type = c.k_type = c.v_type = c.o_type = type;
                Inputs inputs = make_inputs(c);
                for (int32_t d = 0; d < c.value_dim; d++) inputs.v.row(0, 0, 37)[d] = bad;
                const RunResult result = run(c, inputs);
                check_result(c, inputs, result);
                if (!result.ran()) continue;
                CHECK(std::isfinite(result.o.row(0, 0, 36)[0]));
                CHECK_FALSE(std::isfinite(result.o.row(0, 0, 37)[0]));
                CHECK_FALSE(std::isfinite(result.o.row(0, 0, 127)[0]));
            }
}

TEST_CASE("rows without a key give 0 and -inf") {
    for (Skeleton skeleton : skeletons)
        for (Schedule schedule : schedules)
            for (const char* mask : {"nothing", "anti_causal", "padding"}) {
                AttentionCase c = small(mask, skeleton, schedule);
                const Inputs inputs = make_inputs(c);
                const RunResult result = run(c, inputs);
                check_result(c, inputs, result);
                if (std::string_view(mask) != "nothing") continue;
                for (float x : result.o.at) CHECK(x == 0.0f);
                for (float x : result.lse) CHECK(x == -std::numeric_limits<float>::infinity());
            }
}

TEST_CASE("no keys at all: k and v are null, o is 0, lse -inf") {
    for (Skeleton skeleton : skeletons)
        for (Schedule schedule : {Schedule::dense, Schedule::interval, Schedule::list})
            for (Addressing addressing : {Addressing::address, Addressing::binding}) {
                AttentionCase c = small("causal", skeleton, schedule);
                if (addressing == Addressing::address && !VulkanContext::shared().enabled.buffer_device_address)
                    continue;
                c.addressing = addressing;
                c.shape.kv_len = 0;
                const RunResult result = run_and_check(c);
                for (float x : result.o.at) CHECK(x == 0.0f);
                for (float x : result.lse) CHECK(x == -std::numeric_limits<float>::infinity());
            }
}

TEST_CASE("no queries: nothing is dispatched") {
    for (Skeleton skeleton : skeletons)
        for (Schedule schedule : {Schedule::dense, Schedule::interval, Schedule::list}) {
            AttentionCase c = small("causal", skeleton, schedule);
            c.shape.q_len = 0;
            CHECK(run_and_check(c).log.dispatches == 0);
            c.slices = 3;
            run_and_check(c);
        }
}

TEST_CASE("scores of -inf, +inf and NaN, and finfo.min biases") {
    for (Skeleton skeleton : skeletons)
        for (Schedule schedule : schedules)
            for (const char* mask : {"full", "causal"})
                for (const char* score : {"minus_infinity", "infinity_and_nan", "finfo_min"}) {
                    AttentionCase c = small(mask, skeleton, schedule);
                    c.score = score;
                    c.shape = {1, 2, 1, 70, 75};
                    run_and_check(c);
                }
}

TEST_CASE("an infinite score by the inputs: q and k of 1e30") {
    for (Skeleton skeleton : skeletons) {
        AttentionCase c = small("causal", skeleton, Schedule::automatic);
        c.shape = {1, 1, 1, 40, 40};
        Inputs inputs = make_inputs(c);
        inputs.q.row(0, 0, 20)[3] = 1e30f;
        inputs.k.row(0, 0, 5)[3] = 1e30f;  // q . k overflows to +inf for row 20 alone
        const RunResult result = run(c, inputs);
        for (int32_t q = 0; q < 40 && result.ran(); q++) {
            INFO(replay_line(c, VulkanContext::shared()) << " row " << q);
            CHECK(std::isnan(result.o.row(0, 0, q)[0]) == (q == 20));
        }
    }
}

TEST_CASE("an all-masked first tile leaves no trace: keys far from the start, large scores") {
    for (Skeleton skeleton : skeletons)
        for (Schedule schedule : {Schedule::dense, Schedule::list}) {
            AttentionCase c = small("anti_causal", skeleton, schedule);
            c.shape = {1, 1, 1, 200, 330};
            Inputs inputs = make_inputs(c);
            for (float& x : inputs.q.at) x *= 20.0f;
            const RunResult result = run(c, inputs);
            check_result(c, inputs, result);
        }
}

TEST_CASE("hand-made lists: full blocks skip the mask, partial blocks apply it, others are excluded") {
    for (Skeleton skeleton : skeletons)
        for (const bool by_head : {false, true}) {
            AttentionCase c = small("wrong_index", skeleton, Schedule::list);
            c.block_q = c.block_kv = 64;
            Inputs inputs = make_inputs(c);
            Random random(by_head ? 5 : 6);
            vkattn::BlockMask list;
            list.batch = by_head ? c.shape.batch : 1;
            list.heads = by_head ? c.shape.q_heads : 1;
            list.shape = c.shape;
            list.block_q = list.block_kv = 64;
            list.row_offsets.push_back(0);
            for (int32_t row = 0; row < list.batch * list.heads * list.rows(); row++) {
                int last_kind = 0;
                for (int32_t column = 0; column < list.columns(); column++) {
                    const int kind = random.below(3);  // empty, partial, full
                    if (kind != 0 && kind == last_kind) list.runs.back().n_blocks++;
                    if (kind != 0 && kind != last_kind)
                        list.runs.push_back({static_cast<uint32_t>(column) | (kind == 2 ? 1u << 31 : 0u), 1});
                    last_kind = kind;
                }
                list.row_offsets.push_back(static_cast<uint32_t>(list.runs.size()));
            }
            REQUIRE_MESSAGE(vkattn::check(list).ok(), vkattn::check(list).message);
            inputs.list = list;
            inputs.keep = [list, mask = inputs.mask.keep](int32_t b, int32_t h, int32_t q, int32_t kv) {
                const vkattn::BlockKind kind =
                    list.kind(list.batch == 1 ? 0 : b, list.heads == 1 ? 0 : h, q / 64, kv / 64);
                return kind == vkattn::BlockKind::full || (kind == vkattn::BlockKind::partial && mask(b, h, q, kv));
            };
            // The poison was laid for the mask alone.
            Random fresh(c.seed);
            for (float& x : inputs.k.at) x = rounded(c.k_type, fresh.uniform(-2.0f, 2.0f));
            for (float& x : inputs.v.at) x = rounded(c.v_type, fresh.uniform(-2.0f, 2.0f));
            const RunResult result = run(c, inputs);
            check_result(c, inputs, result);
        }
}

TEST_CASE("a ragged full block is clamped by the lengths of the call") {
    // The list says everything is full for 256 x 256; the call has fewer keys, and the rest of K and V is NaN.
    for (Skeleton skeleton : skeletons)
        for (int32_t kv_len : {1, 63, 129, 255}) {
            AttentionCase c = small("full", skeleton, Schedule::list);
            c.shape = {1, 2, 1, 100, kv_len};
            Inputs inputs = make_inputs(c);
            vkattn::Shape larger = c.shape;
            larger.q_len = larger.kv_len = 256;
            auto list = vkattn::create_block_mask(vkattn::full(), larger);
            REQUIRE(list.ok());
            inputs.list = *list;
            RunOptions options;
            options.expect_refusal = true;  // refusing lists of another shape is right as well
            const RunResult result = run(c, inputs, options);
            if (result.ran()) check_result(c, inputs, result);
        }
}

TEST_CASE("wrong indices under packing, schedules and slices") {
    for (Skeleton skeleton : skeletons)
        for (Schedule schedule : {Schedule::dense, Schedule::list})
            for (uint32_t slices : {1u, 2u, 5u}) {
                AttentionCase c;
                c.mask = "wrong_index";
                c.score = "identify";
                c.shape = {2, 6, 2, 5, 131};
                c.skeleton = skeleton;
                c.schedule = schedule;
                c.slices = slices;
                run_and_check(c);
            }
}

TEST_CASE("a list built for another window is refused or right, never silently wrong") {
    for (Skeleton skeleton : skeletons) {
        AttentionCase c = small("sliding_window", skeleton, Schedule::list);
        c.shape = {1, 2, 1, 300, 700};
        c.poison = Poison::none;
        Inputs inputs = make_inputs(c);
        const int32_t windows[] = {64, 512, 64};
        for (int32_t built : windows)
            for (int32_t used : windows) {
                inputs.mask.mask = vkattn::sliding_window(used);
                inputs.keep = [used](int32_t, int32_t, int32_t q, int32_t kv) { return kv <= q && q - kv <= used; };
                auto list = vkattn::create_block_mask(vkattn::sliding_window(built), c.shape);
                REQUIRE(list.ok());
                inputs.list = *list;
                RunOptions options;
                options.expect_refusal = built != used;
                const RunResult result = run(c, inputs, options);
                if (result.ran()) check_result(c, inputs, result);
            }
    }
}

TEST_CASE("a list built for other table values is refused or right") {
    // The window per head comes from a table: same structure, same slots, other content.
    AttentionCase c = small("head_windows", Skeleton::automatic, Schedule::list);
    Inputs built = make_inputs(c);
    c.seed += 1;
    Inputs used = make_inputs(c);
    used.list = built.list;
    RunOptions options;
    options.expect_refusal = true;
    const RunResult result = run(c, used, options);
    if (result.ran()) check_result(c, used, result);
}

TEST_SUITE_END();
