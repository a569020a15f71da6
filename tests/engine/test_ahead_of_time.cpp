// Without a run-time compiler the common masks run on the modules that were built ahead of time, and give the bits of compiled ones.
#include <doctest/doctest.h>

#include "harness/run_attention.h"

using namespace vkattn_tests;
using vkattn::Addressing;
using vkattn::ElementType;
using vkattn::Schedule;
using vkattn::Skeleton;
using vkattn::Widen;

TEST_SUITE_BEGIN("ahead_of_time");

TEST_CASE("ahead of time: the window family without a compiler") {
    const auto engine = make_engine(VulkanContext::shared(), {}, nullptr);
    struct Kernel {
        Skeleton skeleton;
        Addressing addressing;
        ElementType type;
        Widen widen = Widen::off;
        int32_t splits = 1;
    };
    for (const Kernel kernel : {Kernel{Skeleton::rows, Addressing::address, ElementType::f32},
                                Kernel{Skeleton::rows, Addressing::address, ElementType::f16},
                                Kernel{Skeleton::rows, Addressing::address, ElementType::f16, Widen::on},
                                Kernel{Skeleton::rows, Addressing::binding, ElementType::f32},
                                Kernel{Skeleton::decode, Addressing::address, ElementType::f32},
                                Kernel{Skeleton::decode, Addressing::address, ElementType::f16, Widen::off, 3},
                                Kernel{Skeleton::tiles, Addressing::binding, ElementType::f32, Widen::off, 2},
                                Kernel{Skeleton::tiles, Addressing::binding, ElementType::f16},
                                Kernel{Skeleton::tiles, Addressing::binding, ElementType::bf16}})
        for (const char* mask :
             {"full", "causal", "causal_lower_right", "window", "sliding_window", "padding", "documents_causal"}) {
            if (kernel.addressing == Addressing::address && !VulkanContext::shared().enabled.buffer_device_address)
                continue;
            AttentionCase c;
            const bool decode = kernel.skeleton == Skeleton::decode;  // shipped for fewer masks
            if (decode && (!engine->capabilities().features.scalar_subgroup ||
                           std::string_view(mask) == "documents_causal" || std::string_view(mask) == "causal"))
                continue;
            c.mask = mask;
            c.splits = kernel.splits;
            c.score = std::string_view(mask) == "causal" ? "softcap" : "none";
            c.skeleton = kernel.skeleton;
            c.addressing = kernel.addressing;
            c.q_type = c.k_type = c.v_type = c.o_type = kernel.type;
            c.head_dim = c.value_dim = 24;
            c.shape = {2, 2, 1, 67, 75};
            c.widen = kernel.widen;
            c.poison = Poison::partial;
            RunOptions options;
            options.engine = engine.get();
            run_and_check(c, options);
        }
    CHECK(engine->pipelines_created() > 0);
}

TEST_CASE("ahead of time: decoding with a mask that decode is not shipped for takes another skeleton and says why") {
    if (!VulkanContext::shared().enabled.buffer_device_address) return;
    const auto engine = make_engine(VulkanContext::shared(), {}, nullptr);
    AttentionCase c;
    c.mask = "documents_causal";
    c.shape = {1, 4, 1, 1, 300};
    c.schedule = Schedule::dense;
    RunOptions options;
    options.engine = engine.get();
    const RunResult result = run_and_check(c, options);
    CHECK(result.report.skeleton != "decode");
    CHECK(result.report.why.find("not decode") != std::string::npos);
}

TEST_CASE("ahead of time: the matrix path without a compiler") {
    const auto engine = make_engine(VulkanContext::shared(), {}, nullptr);
    if (!engine->capabilities().features.cooperative_matrix) return;
    for (const char* mask : {"full", "causal", "documents_causal"}) {
        AttentionCase c;
        c.mask = mask;
        c.path = vkattn::Path::khr;
        c.addressing = Addressing::binding;
        c.q_type = c.k_type = c.v_type = c.o_type = ElementType::f16;
        c.head_dim = c.value_dim = 24;
        c.shape = {2, 2, 1, 67, 75};
        RunOptions options;
        options.engine = engine.get();
        CHECK(run_and_check(c, options).report.module == "ahead of time");
    }
}

TEST_CASE("ahead of time: a mask that was not shipped is refused with the reason") {
    const auto engine = make_engine(VulkanContext::shared(), {}, nullptr);
    AttentionCase c;
    c.mask = "wrong_index";
    RunOptions options;
    options.engine = engine.get();
    options.expect_refusal = true;
    const RunResult refused = run(c, make_inputs(c), options);
    REQUIRE_FALSE(refused.ran());
    CHECK(refused.refused.code == vkattn::Code::unsupported);
    CHECK(refused.refused.message.find("compiler") != std::string::npos);
}

TEST_SUITE_END();
