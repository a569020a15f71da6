// Forward attention against float64 over a pairwise table of everything that makes a pipeline, each row run with calls from a
// second pairwise table of everything that does not.
#include <cstdlib>
#include <string_view>

#include <doctest/doctest.h>

#include "harness/numbers.h"
#include "harness/pairwise.h"
#include "harness/run_attention.h"

using namespace vkattn_tests;
using vkattn::Addressing;
using vkattn::ElementType;
using vkattn::Schedule;
using vkattn::Skeleton;
using vkattn::Widen;

namespace {

constexpr std::string_view masks[] = {
    "full",           "causal",        "causal_lower_right", "window",     "sliding_window",
    "prefix_lengths", "padding",       "documents_causal",   "dilated",    "documents_shuffled",
    "natten",         "global_tokens", "head_windows",       "wrong_index"};
constexpr std::string_view scores[] = {"none", "alibi", "softcap", "relative_bias", "dense_bias", "identify"};

struct Types {
    ElementType q, k, v, o;
};
constexpr ElementType f32 = ElementType::f32, f16 = ElementType::f16, bf16 = ElementType::bf16;
constexpr Types types[] = {{f32, f32, f32, f32},  {f16, f16, f16, f16},   {bf16, bf16, bf16, bf16},
                           {f32, f16, bf16, f16}, {f16, bf16, f32, bf16}, {bf16, f32, f16, f32}};

struct Dims {
    int32_t d, dv;
};
constexpr Dims dims[] = {{1, 1},   {8, 8},   {15, 15},   {40, 40},   {64, 64},   {72, 72},
                         {80, 80}, {96, 96}, {128, 128}, {192, 128}, {256, 256}, {576, 512}};

constexpr Schedule schedules[] = {Schedule::dense, Schedule::interval, Schedule::list};
constexpr Skeleton skeletons[] = {Skeleton::rows, Skeleton::tiles};
constexpr Addressing addressings[] = {Addressing::address, Addressing::binding};

// Skeleton and flavour are one axis: lavapipe compiles the rows skeleton through descriptors in time that grows with the square of
// D (22 s at 256), so that combination, which only devices without addresses use, stays at small dims in the everyday table.
struct Kernel {
    Skeleton skeleton;
    Addressing addressing;
};
constexpr Kernel kernels[] = {{Skeleton::rows, Addressing::address},
                              {Skeleton::rows, Addressing::binding},
                              {Skeleton::tiles, Addressing::address},
                              {Skeleton::tiles, Addressing::binding}};
constexpr int32_t slow_kernel = 1, slow_from_dim = 72;
// And of the rows skeleton by lists at D 576 for over 20 s, a fifth of this suite; dense and by intervals it takes 5.
constexpr int32_t slow_lists_from_dim = 576;

constexpr Widen widens[] = {Widen::off, Widen::on};

enum PipelineAxis : size_t {
    axis_mask,
    axis_score,
    axis_types,
    axis_dims,
    axis_schedule,
    axis_kernel,
    axis_odd,
    axis_widen
};

struct Lengths {
    int32_t q, kv;
};
constexpr Lengths lengths[] = {{1, 1},     {63, 65}, {64, 64}, {65, 127}, {127, 129},
                               {128, 130}, {5, 131}, {1, 257}, {130, 66}};
struct Heads {
    int32_t b, hq, hkv;
};
constexpr Heads heads[] = {{1, 1, 1}, {2, 2, 1}, {1, 6, 2}, {2, 3, 3}, {1, 8, 1}};
constexpr Layout layouts[] = {Layout::bhld, Layout::blhd, Layout::packed, Layout::broadcast, Layout::padded};
constexpr int32_t slice_counts[] = {1, 3};
constexpr int32_t blocks[][2] = {{128, 128}, {64, 64}, {128, 64}, {64, 256}};

// Only `binding` can be asked for on a device without addresses.
Addressing offered(Addressing addressing) {
    return VulkanContext::shared().enabled.buffer_device_address ? addressing : Addressing::binding;
}

template <class T, size_t n>
int32_t count(const T (&)[n]) {
    return static_cast<int32_t>(n);
}

std::vector<std::vector<int32_t>> pipeline_table() {
    PairwiseOptions options;
    options.allowed = [](size_t i, int32_t x, size_t j, int32_t y) {
        if (i == axis_mask && j == axis_schedule)
            return schedules[y] != Schedule::interval || mask_entry(masks[x]).interval;
        return !(i == axis_dims && j == axis_kernel && y == slow_kernel && dims[x].d >= slow_from_dim);
    };
    // The head dim and the hooks meet nowhere in the kernels; their 180 pairs would double the pipelines. The long campaign has them.
    options.free_pairs = {{axis_mask, axis_dims}, {axis_score, axis_dims}};
    auto table = pairwise_table(
        {count(masks), count(scores), count(types), count(dims), count(schedules), count(kernels), 4, count(widens)},
        options);
    constexpr int32_t tiles_from_rows = 2;  // the same flavour
    for (std::vector<int32_t>& row : table)
        if (kernels[row[axis_kernel]].skeleton == Skeleton::rows && schedules[row[axis_schedule]] == Schedule::list &&
            dims[row[axis_dims]].d >= slow_lists_from_dim)
            row[axis_kernel] += tiles_from_rows;
    return table;
}

std::vector<std::vector<int32_t>> call_table() {
    return pairwise_table({count(lengths), count(heads), count(layouts), count(slice_counts), count(blocks)});
}

AttentionCase make_case(const std::vector<int32_t>& pipeline, const std::vector<int32_t>& call, uint64_t seed) {
    AttentionCase c;
    c.mask = masks[pipeline[axis_mask]];
    c.score = scores[pipeline[axis_score]];
    const Types& t = types[pipeline[axis_types]];
    c.q_type = t.q;
    c.k_type = t.k;
    c.v_type = t.v;
    c.o_type = t.o;
    c.head_dim = dims[pipeline[axis_dims]].d;
    c.value_dim = dims[pipeline[axis_dims]].dv;
    c.schedule = schedules[pipeline[axis_schedule]];
    c.skeleton = kernels[pipeline[axis_kernel]].skeleton;
    c.addressing = offered(kernels[pipeline[axis_kernel]].addressing);
    c.widen = widens[pipeline[axis_widen]];
    c.shape = {heads[call[1]].b, heads[call[1]].hq, heads[call[1]].hkv, lengths[call[0]].q, lengths[call[0]].kv};
    c.layout = pipeline[axis_odd] == 3 ? Layout::odd : layouts[call[2]];
    c.slices = static_cast<uint32_t>(slice_counts[call[3]]);
    if (c.schedule == Schedule::list) {
        c.block_q = blocks[call[4]][0];
        c.block_kv = blocks[call[4]][1];
    }
    c.seed = seed;
    return c;
}

}  // namespace

TEST_SUITE_BEGIN("forward");

TEST_CASE("forward: a pairwise table against float64") {
    const auto pipelines = pipeline_table();
    const auto calls = call_table();
    const uint64_t before = shared_engine().pipelines_created();
    for (size_t row = 0; row < pipelines.size(); row++)
        for (size_t n = 0; n < 2; n++)
            run_and_check(
                make_case(pipelines[row], calls[(row + n * pipelines.size()) % calls.size()], 100 * row + n + 1));
    const uint64_t made = shared_engine().pipelines_created() - before;
    MESSAGE(pipelines.size() << " rows, " << calls.size() << " calls, " << made << " pipelines");
    CHECK(made <= 150);
}

TEST_CASE("forward: what plan() chooses by itself") {
    for (std::string_view mask : {"full", "causal", "documents_causal", "wrong_index"}) {
        AttentionCase c;
        c.mask = mask;
        c.shape = {2, 4, 2, 70, 133};
        run_and_check(c);
    }
}

TEST_CASE("forward: widened keys and values where there are none, one, or more than there is room for in a group") {
    for (Skeleton skeleton : skeletons)
        for (Addressing addressing : addressings)
            for (const auto& [q_len, kv_len] : {std::pair{0, 7}, std::pair{7, 0}, std::pair{1, 1}, std::pair{67, 3}}) {
                AttentionCase c;
                c.skeleton = skeleton;
                c.addressing = offered(addressing);
                c.widen = Widen::on;
                c.k_type = f16;
                c.v_type = bf16;
                c.layout = Layout::odd;
                c.head_dim = 5;
                c.value_dim = 3;
                c.shape = {2, 3, 1, q_len, kv_len};
                run_and_check(c);
            }
}

TEST_CASE("forward: one or few queries, whose heads share tiles as they share keys") {
    uint64_t seed = 1;
    for (const Heads group : {Heads{2, 2, 1}, {1, 6, 2}, {1, 12, 3}, {2, 8, 1}, {1, 5, 1}, {3, 32, 2}})
        for (int32_t q_len : {1, 2, 3})
            for (Schedule schedule : schedules) {
                AttentionCase c;
                c.schedule = schedule;
                c.mask = schedule == Schedule::interval ? "causal_lower_right" : "head_windows";
                c.score = "alibi";
                c.head_dim = c.value_dim = 20;
                c.shape = {group.b, group.hq, group.hkv, q_len, 77};
                c.k_type = f16;
                c.poison = Poison::partial;
                c.slices = 3;
                c.seed = seed++;
                run_and_check(c);
            }
}

TEST_CASE("forward: a scale of the caller's, also negative and zero") {
    AttentionCase c;
    c.mask = "causal";
    c.shape = {1, 2, 1, 37, 45};
    for (float scale : {1.0f, -0.3f, 0.0f, 1e-30f}) {
        RunOptions options;
        options.scale = scale;
        run_and_check(c, options);
    }
}

TEST_CASE("forward: without lse the buffer stays untouched and o is the same") {
    AttentionCase c;
    c.shape = {1, 2, 2, 65, 65};
    const Inputs inputs = make_inputs(c);
    const RunResult with = run(c, inputs);
    RunOptions options;
    options.write_lse = false;
    const RunResult without = run(c, inputs, options);
    CHECK(with.o.at == without.o.at);
    for (float x : without.lse) CHECK(std::isnan(x));  // the guard pattern
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("quick");

// For every width of lavapipe's vectors and for SwiftShader: each skeleton, flavour and schedule, small.
TEST_CASE("quick: skeletons, flavours, schedules and types on small shapes") {
    const bool swiftshader = VulkanContext::shared().swiftshader;
    uint64_t seed = 1;
    const vkattn::Features& features = shared_engine().capabilities().features;
    for (Skeleton skeleton : {Skeleton::rows, Skeleton::tiles, Skeleton::decode})
        for (Addressing addressing : addressings)
            for (Schedule schedule : schedules) {
                if (skeleton == Skeleton::decode && !(features.scalar_subgroup && features.subgroup_size_control))
                    continue;
                AttentionCase c;
                c.skeleton = skeleton;
                c.addressing = offered(addressing);
                c.schedule = schedule;
                c.splits = schedule == Schedule::list ? 3 : 1;
                c.mask = schedule == Schedule::interval ? "window"
                         : schedule == Schedule::list   ? "documents_causal"
                                                        : "wrong_index";
                c.score = schedule == Schedule::list ? "softcap" : "none";
                c.shape = {2, 6, 2, 67, 74};
                c.head_dim = c.value_dim = schedule == Schedule::dense ? 15 : 40;
                if (schedule == Schedule::interval) c.k_type = c.o_type = f16, c.v_type = bf16, c.widen = Widen::on;
                if (skeleton == Skeleton::decode) c.shape.q_len = 5;
                c.poison = Poison::partial;
                c.slices = 2;
                c.seed = seed++;
                run_and_check(c);
            }
    if (swiftshader) return;
    for (Skeleton skeleton : skeletons) {
        AttentionCase c;
        c.skeleton = skeleton;
        c.mask = "causal";
        c.head_dim = c.value_dim = 128;
        c.shape = {1, 2, 1, 129, 200};
        run_and_check(c);
    }
}

// All rows of a tile share one range of keys, and compilers must see it: lavapipe of 128 bits miscompiled keys found lane by lane.
TEST_CASE("quick: heads that share a tile, without subgroup operations") {
    vkattn::HostDevice host = host_device(VulkanContext::shared());
    host.enabled.scalar_subgroup = host.enabled.subgroup_size_control = false;
    vkattn::EngineOptions engine_options;
    engine_options.compiler = test_compiler();
    auto engine = vkattn::Engine::create(host, engine_options);
    REQUIRE_MESSAGE(engine.ok(), engine.status().message);
    RunOptions options;
    options.engine = engine->get();
    AttentionCase c;
    c.mask = "causal_lower_right";
    c.skeleton = Skeleton::rows;
    c.q_type = c.k_type = c.v_type = c.o_type = f16;
    c.head_dim = c.value_dim = 64;
    c.shape = {1, 8, 1, 1, 19};
    for (const Poison poison : {Poison::unattended, Poison::partial}) {
        c.poison = poison;
        run_and_check(c, options);
    }
}

TEST_SUITE_END();

TEST_CASE("replay" * doctest::skip(std::getenv("VKATTN_REPLAY") == nullptr)) {
    const AttentionCase c = parse_case(std::getenv("VKATTN_REPLAY"));
    RunOptions options;
    options.expect_refusal = true;
    const RunResult result = run_and_check(c, options);
    if (!result.ran()) MESSAGE("refused: " << result.refused.message);
}

TEST_SUITE_BEGIN("long");

TEST_CASE("long: random cases over every axis" * doctest::skip(std::getenv("VKATTN_LONG") == nullptr)) {
    const char* first_env = std::getenv("VKATTN_LONG_SEED");
    const uint64_t first = first_env == nullptr ? 1 : std::strtoull(first_env, nullptr, 10);
    const auto pick = [](Random& random, const auto& axis) { return random.below(count(axis)); };
    const vkattn::Features& features = shared_engine().capabilities().features;
    const bool decodes = features.scalar_subgroup && features.subgroup_size_control;
    for (uint64_t seed = first; seed < first + 2000; seed++) {
        Random random(seed);
        AttentionCase c =
            make_case({pick(random, masks), pick(random, scores), 0, pick(random, dims), pick(random, schedules),
                       pick(random, kernels), random.below(4), pick(random, widens)},
                      {0, pick(random, heads), pick(random, layouts), 0, pick(random, blocks)}, seed);
        c.q_type = static_cast<ElementType>(random.below(3));
        c.k_type = static_cast<ElementType>(random.below(3));
        c.v_type = static_cast<ElementType>(random.below(3));
        c.o_type = static_cast<ElementType>(random.below(3));
        if (random.below(3) == 0) c.head_dim = random.between(1, 576);
        if (random.below(3) == 0) c.value_dim = random.between(1, 576);
        c.shape.q_len = random.between(0, 300);
        c.shape.kv_len = random.between(0, 500);
        if (c.schedule == Schedule::interval && !mask_entry(c.mask).interval) c.schedule = Schedule::dense;
        c.poison = random.below(2) == 0 ? Poison::partial : Poison::unattended;
        c.slices = static_cast<uint32_t>(random.between(1, 7));
        c.splits = random.below(2) == 0 ? 0 : random.between(1, 40);
        if (random.below(3) == 0 && decodes) {
            c.skeleton = Skeleton::decode;
            c.shape.q_len = random.between(1, 40);
            if (random.below(2) == 0) c.encoding = vkattn::ListEncoding::indices;
        }
        run_and_check(c);
    }
}

TEST_SUITE_END();
