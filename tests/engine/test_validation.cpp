// The negative control: without any one of its internal barriers a record is caught by synchronization validation. If it were
// not, the zero messages of all other tests would say nothing.
#include <doctest/doctest.h>

#include "harness/run_attention.h"

using namespace vkattn_tests;
using vkattn::Addressing;
using vkattn::Path;
using vkattn::Skeleton;

TEST_SUITE_BEGIN("validation");

TEST_CASE("every internal barrier is needed: dropped in turn, each is seen") {
    struct Kernel {
        Skeleton skeleton;
        vkattn::Widen widen;
        int32_t splits;
        Path path = Path::scalar;
    };
    for (const auto& [skeleton, widen, splits, path] :
         {Kernel{Skeleton::rows, vkattn::Widen::on, 1}, Kernel{Skeleton::tiles, vkattn::Widen::on, 2},
          Kernel{Skeleton::decode, vkattn::Widen::off, 3},
          Kernel{Skeleton::automatic, vkattn::Widen::off, 3, Path::khr}}) {
        if (path == Path::khr && !shared_engine().capabilities().features.cooperative_matrix) continue;
        if (skeleton == Skeleton::decode && !shared_engine().capabilities().features.scalar_subgroup) continue;
        AttentionCase c;
        c.mask = "causal";
        if (path == Path::khr) c.q_type = c.k_type = c.v_type = vkattn::ElementType::f16;
        c.path = path;
        c.skeleton = skeleton;
        c.addressing = Addressing::binding;  // the layer follows descriptors, not addresses
        c.widen = widen;
        c.splits = splits;
        c.shape = path == Path::khr ? vkattn::Shape{1, 1, 1, 70, 100} : vkattn::Shape{1, 2, 1, 200, 200};
        c.slices = 2;  // the second record reuses the workspace of the first
        const Inputs inputs = make_inputs(c);
        RunOptions options;
        options.max_dispatch_ms = 1e-6;  // several dispatches a record
        const RunResult whole = run(c, inputs, options);
        check_result(c, inputs, whole, options);
        CHECK(whole.log.dispatches >= 6);
        const uint32_t barriers = (whole.log.barriers + 1) / 2;  // of the larger slice
        CHECK(barriers >= 4);
        for (uint32_t i = 0; i < barriers; i++) {
            INFO("barrier " << i << " of " << barriers << "; " << replay_line(c, VulkanContext::shared()));
            options.drop_barrier = static_cast<int32_t>(i);
            const RunResult broken = run(c, inputs, options);
            bool hazard = false;
            for (const ValidationMessage& message : broken.messages)
                hazard = hazard || (message.error && message.text.find("SYNC-HAZARD") != std::string::npos);
            CHECK(hazard);
        }
    }
}

TEST_CASE("two plans on one workspace, back to back in one command buffer") {
    VulkanContext& context = VulkanContext::shared();
    for (Addressing addressing : {Addressing::binding, Addressing::address}) {
        if (addressing == Addressing::address && !context.enabled.buffer_device_address) continue;
        AttentionCase a, b;
        a.addressing = b.addressing = addressing;
        a.mask = "causal";
        a.shape = {1, 2, 1, 90, 90};
        b.mask = "wrong_index";
        b.score = "identify";
        b.shape = {2, 4, 2, 61, 77};
        const Inputs a_inputs = make_inputs(a), b_inputs = make_inputs(b);
        context.clear_messages();
        Call first(a, a_inputs), second(b, b_inputs, {}, &first);
        REQUIRE(first.ran());
        REQUIRE(second.ran());
        VkCommandBuffer cmd = context.begin();
        first.record(cmd, {0, 2});
        second.record(cmd, {0, 2});
        first.record(cmd, {1, 2});
        second.record(cmd, {1, 2});
        context.submit_and_wait(cmd);
        check_result(a, a_inputs, first.collect());
        check_result(b, b_inputs, second.collect());
    }
}

TEST_CASE("engines leave nothing behind: host allocations are balanced") {
    VulkanContext& context = VulkanContext::shared();
    shared_engine();
    const int64_t before = live_host_allocations();
    {
        const auto engine = make_engine(context);
        AttentionCase c;
        c.shape = {1, 1, 1, 20, 20};
        c.head_dim = c.value_dim = 8;
        RunOptions options;
        options.engine = engine.get();
        run_and_check(c, options);
        CHECK(live_host_allocations() > before);  // the callbacks are used at all
    }
    CHECK(live_host_allocations() == before);
    CHECK_MESSAGE(context.messages().empty(), context.message_text());
}

TEST_CASE("a device without addresses: descriptors are chosen, addresses refused with the reason") {
    ContextOptions without;
    without.device_address = false;
    without.beside = &VulkanContext::shared();
    VulkanContext context(without);
    const auto engine = make_engine(context);
    CHECK_FALSE(engine->capabilities().features.buffer_device_address);
    AttentionCase c;
    c.mask = "causal";
    c.shape = {1, 2, 1, 65, 70};
    RunOptions options;
    options.context = &context;
    options.engine = engine.get();
    const RunResult result = run_and_check(c, options);
    CHECK(result.report.addressing == "binding");
    c.addressing = Addressing::address;
    options.expect_refusal = true;
    const RunResult refused = run_and_check(c, options);
    CHECK(refused.refused.code == vkattn::Code::unsupported);
    CHECK(refused.refused.message.find("address") != std::string::npos);
}

TEST_SUITE_END();
