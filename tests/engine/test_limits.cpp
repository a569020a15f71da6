// Spoofed limits and huge strides: the same bits as without them, or a refusal that says why. Never a wrong number.
#include <doctest/doctest.h>

#include "harness/numbers.h"
#include "harness/pretended_device.h"
#include "harness/run_attention.h"
#include "harness/spirv.h"

using namespace vkattn_tests;
using vkattn::Addressing;
using vkattn::ElementType;
using vkattn::Schedule;
using vkattn::Skeleton;

namespace {

constexpr Skeleton skeletons[] = {Skeleton::rows, Skeleton::tiles};

}  // namespace

TEST_SUITE_BEGIN("limits");

TEST_CASE("a descriptor range of 2^20 bytes and 7 workgroups a dispatch give the bits of the whole device") {
    vkattn::LimitOverrides limits;
    limits.max_storage_buffer_range = 1u << 20;
    limits.max_workgroups = 7;
    const auto limited = make_engine(VulkanContext::shared(), limits);
    CHECK(limited->capabilities().max_storage_buffer_range == 1u << 20);
    for (Skeleton skeleton : skeletons)
        for (Schedule schedule : {Schedule::interval, Schedule::list})
            for (Layout layout : {Layout::bhld, Layout::blhd, Layout::broadcast}) {
                AttentionCase c;
                c.mask = "causal";
                c.skeleton = skeleton;
                c.schedule = schedule;
                c.layout = layout;
                c.shape = {3, 4, 2, 400, 520};  // q, k and o are 1.2 to 1.6 MB, one head 100 to 266 KB
                c.head_dim = c.value_dim = 64;
                c.q_type = ElementType::f32;
                c.v_type = ElementType::f16;
                const Inputs inputs = make_inputs(c);
                for (Addressing addressing : {Addressing::address, Addressing::binding}) {
                    if (addressing == Addressing::address && !VulkanContext::shared().enabled.buffer_device_address)
                        continue;
                    c.addressing = addressing;
                    c.slices = 1;
                    const RunResult whole = run(c, inputs);
                    for (uint32_t slices : {1u, 3u}) {
                        c.slices = slices;
                        RunOptions options;
                        options.engine = limited.get();
                        options.expect_refusal = addressing == Addressing::binding &&
                                                 layout == Layout::blhd;  // a head spans the whole entry
                        const RunResult parts = run(c, inputs, options);
                        INFO(replay_line(c, VulkanContext::shared()));
                        if (!parts.ran()) continue;
                        CHECK(same_bits(whole, parts));
                        CHECK(parts.log.dispatches > 1);
                    }
                }
            }
}

TEST_CASE("one head beyond the descriptor range is refused with the sizes, and addresses are named as the way") {
    vkattn::LimitOverrides limits;
    limits.max_storage_buffer_range = 1u << 16;
    const auto limited = make_engine(VulkanContext::shared(), limits);
    AttentionCase c;
    c.shape = {1, 1, 1, 64, 600};
    c.addressing = Addressing::binding;
    RunOptions options;
    options.engine = limited.get();
    options.expect_refusal = true;
    const RunResult refused = run(c, make_inputs(c), options);
    REQUIRE_FALSE(refused.ran());
    CHECK(refused.refused.message.find("65536") != std::string::npos);
    CHECK(refused.refused.message.find("address") != std::string::npos);
}

TEST_CASE("widening beyond the descriptor range is refused when it is asked for, and left out when it is not") {
    vkattn::LimitOverrides limits;
    limits.max_storage_buffer_range = 1u << 18;
    const auto limited = make_engine(VulkanContext::shared(), limits);
    AttentionCase c;
    c.shape = {2, 1, 1, 64, 600};  // widened 307,200 bytes
    c.k_type = c.v_type = ElementType::f16;
    c.addressing = Addressing::binding;
    RunOptions options;
    options.engine = limited.get();
    CHECK_FALSE(run_and_check(c, options).report.widened);
    c.widen = vkattn::Widen::on;
    options.expect_refusal = true;
    const RunResult refused = run(c, make_inputs(c), options);
    REQUIRE_FALSE(refused.ran());
    CHECK(refused.refused.code == vkattn::Code::limit_exceeded);
    CHECK(refused.refused.message.find("Problem::widen") != std::string::npos);
}

TEST_CASE("little shared memory and few invocations: right, or refused with a reason") {
    struct Small {
        uint32_t shared_bytes, invocations;
    };
    for (const Small small : {Small{16384, 128}, Small{8192, 64}, Small{1024, 32}, Small{64, 8}}) {
        vkattn::LimitOverrides limits;
        limits.max_shared_bytes = small.shared_bytes;
        limits.max_invocations = small.invocations;
        const auto limited = make_engine(VulkanContext::shared(), limits);
        for (Skeleton skeleton : skeletons)
            for (int32_t d : {64, 256}) {
                AttentionCase c;
                c.mask = "causal";
                c.skeleton = skeleton;
                c.shape = {1, 2, 1, 130, 140};
                c.head_dim = c.value_dim = d;
                RunOptions options;
                options.engine = limited.get();
                options.expect_refusal =
                    small.shared_bytes < 16384 || small.invocations < 128;  // Vulkan's minima must do
                const Inputs inputs = make_inputs(c);
                const RunResult result = run(c, inputs, options);
                if (result.ran()) check_result(c, inputs, result, options);
            }
    }
}

TEST_CASE("what Vulkan guarantees and nothing else: every type, skeleton and schedule is right") {
    Pretence least;
    least.type = VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU;
    least.guaranteed_limits = least.no_features = true;  // no 16-bit storage, no f16, no subgroups, no addresses
    const PretendedDevice device(VulkanContext::shared(), least);
    const auto engine = device.make_engine();
    const vkattn::Capabilities& able = engine->capabilities();
    CHECK(able.max_storage_buffer_range == 1u << 27);
    CHECK(able.max_shared_bytes == 16384);
    CHECK(able.max_invocations == 128);
    CHECK(able.max_workgroups == 65535);
    CHECK(able.storage_offset_alignment == 256);
    CHECK(able.reasons.size() >= 3);  // addresses, full subgroups, subgroup operations
    RunOptions options;
    options.engine = engine.get();
    AttentionCase c;
    c.mask = "documents_causal";
    c.score = "softcap";
    c.shape = {2, 4, 2, 70, 90};
    for (Skeleton skeleton : {Skeleton::automatic, Skeleton::rows, Skeleton::tiles})
        for (ElementType type : {ElementType::f32, ElementType::f16, ElementType::bf16}) {
            c.skeleton = skeleton;
            c.q_type = c.k_type = c.v_type = c.o_type = type;
            c.head_dim = c.value_dim = 40;
            CHECK(run_and_check(c, options).report.addressing == "binding");
        }
    c.skeleton = Skeleton::tiles;
    c.k_type = c.v_type = ElementType::f16;
    c.head_dim = 576;
    c.value_dim = 512;
    run_and_check(c, options);
    c.head_dim = c.value_dim = 40;
    c.schedule = Schedule::list;
    for (vkattn::ListEncoding encoding : {vkattn::ListEncoding::runs, vkattn::ListEncoding::indices}) {
        c.encoding = encoding;
        options.build_lists = encoding == vkattn::ListEncoding::indices;
        run_and_check(c, options);
    }
    CHECK(device.spirv_capabilities() == std::set<uint32_t>{spv_shader});
    for (const AskedPipeline& pipeline : device.pipelines()) CHECK_FALSE(pipeline.full_subgroups);
}

TEST_CASE("modules declare what was enabled and nothing else: no 16-bit storage, no f16, no 64-bit integers") {
    const PretendedDevice device(VulkanContext::shared(), {});
    const auto engine = device.make_engine();
    RunOptions options;
    options.engine = engine.get();
    for (Skeleton skeleton : skeletons)
        for (ElementType type : {ElementType::f32, ElementType::f16, ElementType::bf16}) {
            AttentionCase c;
            c.mask = "causal";
            c.skeleton = skeleton;
            c.q_type = c.k_type = c.v_type = c.o_type = type;
            c.shape = {1, 2, 1, 40, 50};
            c.head_dim = c.value_dim = 16;
            run_and_check(c, options);
        }
    for (uint32_t capability : device.spirv_capabilities()) {
        INFO("SpvCapability " << capability);
        const bool known = capability == spv_shader ||
                           (capability == spv_addresses && engine->capabilities().features.buffer_device_address) ||
                           ((capability == spv_group_non_uniform || capability == spv_group_arithmetic ||
                             capability == spv_group_shuffle) &&
                            engine->capabilities().features.scalar_subgroup);
        CHECK(known);
    }
}

TEST_CASE("65535 workgroups are one dispatch, one tile more is another") {
    Pretence least;
    least.guaranteed_limits = true;
    const PretendedDevice device(VulkanContext::shared(), least);
    const auto engine = device.make_engine();
    vkattn::Problem problem;
    problem.head_dim = 4;
    problem.addressing = Addressing::binding;
    for (Skeleton skeleton : skeletons)
        for (const auto& [tiles, dispatches] : {std::pair{65535, 1u}, {65536, 2u}, {131071, 3u}}) {
            problem.skeleton = skeleton;
            problem.max_shape = {tiles, 1, 1, 1, 3};
            auto plan = engine->plan(problem);
            REQUIRE_MESSAGE(plan.ok(), plan.status().message);
            CHECK(plan->report().dispatches == dispatches);
        }
}

TEST_CASE("tensors beyond 2^27 bytes: addresses where there are some, else windows") {
    for (bool no_features : {false, true}) {
        Pretence least;
        least.type = VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
        least.guaranteed_limits = true;
        least.no_features = no_features;
        const PretendedDevice device(VulkanContext::shared(), least);
        const auto engine = device.make_engine();
        vkattn::Problem problem;
        problem.head_dim = 64;
        problem.k_type = problem.v_type = ElementType::f16;
        problem.max_shape = {1, 8, 8, 64, 1 << 17};  // k and v: 2^27 bytes
        auto within = engine->plan(problem);
        REQUIRE_MESSAGE(within.ok(), within.status().message);
        CHECK(within->report().addressing == "binding");
        problem.max_shape.kv_len++;
        auto beyond = engine->plan(problem);
        REQUIRE_MESSAGE(beyond.ok(), beyond.status().message);
        CHECK(beyond->report().addressing ==
              (engine->capabilities().features.buffer_device_address ? "address" : "binding"));
    }
}

TEST_CASE("fewer storage buffers a stage than the engine's descriptor set has: refused with both numbers") {
    Pretence few;
    few.storage_buffers = 4;  // Vulkan's least
    const PretendedDevice device(VulkanContext::shared(), few);
    auto engine = device.create_engine(device.requirements().features);
    REQUIRE_FALSE(engine.ok());
    CHECK(engine.status().code == vkattn::Code::unsupported);
    CHECK(engine.status().message.find("4 storage buffers") != std::string::npos);
    CHECK(engine.status().message.find("has 8") != std::string::npos);
}

TEST_CASE("limits above the device's own do not raise them") {
    vkattn::LimitOverrides limits;
    limits.max_storage_buffer_range = ~0ull;
    limits.max_workgroups = limits.max_shared_bytes = limits.max_invocations = ~0u;
    const auto engine = make_engine(VulkanContext::shared(), limits);
    const vkattn::Capabilities &a = engine->capabilities(), &b = shared_engine().capabilities();
    CHECK(a.max_storage_buffer_range == b.max_storage_buffer_range);
    CHECK(a.max_workgroups == b.max_workgroups);
    CHECK(a.max_shared_bytes == b.max_shared_bytes);
    CHECK(a.max_invocations == b.max_invocations);
}

TEST_CASE("huge strides: small tensors spread over nearly 4 GiB") {
    VulkanContext& context = VulkanContext::shared();
    const uint64_t bytes = (4ull << 30) - (1u << 20);
    SparseBuffer k_memory(context, bytes), o_memory(context, bytes);
    if (!k_memory.ok() || !o_memory.ok()) {
        MESSAGE("not on this device: " << k_memory.why_not << o_memory.why_not);
        return;
    }
    struct Spread {
        const char* what;
        vkattn::Strides strides;
    };
    // 2 x 2 heads x 20 rows of f32: batch entries, heads or rows beyond 2^31 bytes and near 2^30 elements.
    for (const Spread& spread :
         {Spread{"batch", {(1ll << 29) + 256, 20 * 64, 64}}, Spread{"heads", {2 * 20 * 64, (1ll << 29) + 4096, 64}},
          Spread{"rows", {256, 64, (1ll << 25) + 512}},
          Spread{"batch and heads", {(1ll << 29) + 256, (1ll << 28) + 4096, 64}}})
        for (Skeleton skeleton : skeletons)
            for (Addressing addressing : {Addressing::address, Addressing::binding})
                for (uint32_t slices : {1u, 2u}) {
                    AttentionCase c;
                    c.mask = "causal";
                    c.skeleton = skeleton;
                    if (addressing == Addressing::address && !context.enabled.buffer_device_address) continue;
                    c.addressing = addressing;
                    c.shape = {2, 2, 2, 20, 20};
                    c.poison = Poison::none;
                    c.slices = slices;
                    INFO("strides: " << std::string(spread.what));
                    const Inputs inputs = make_inputs(c);
                    RunOptions options;
                    options.k = Elsewhere{&k_memory, {64, spread.strides, true}};
                    options.o = Elsewhere{&o_memory, {128, spread.strides, true}};
                    options.expect_refusal = addressing == Addressing::binding;
                    const RunResult result = run(c, inputs, options);
                    if (result.ran()) check_result(c, inputs, result, options);
                }
}

TEST_SUITE_END();
