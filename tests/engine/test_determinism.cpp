// The same bits: from run to run, whole or in slices, by either addressing flavour.
#include <doctest/doctest.h>

#include "harness/run_attention.h"

using namespace vkattn_tests;
using vkattn::Addressing;
using vkattn::ElementType;
using vkattn::Schedule;
using vkattn::Skeleton;
using vkattn::Widen;

namespace {

std::vector<AttentionCase> cases() {
    std::vector<AttentionCase> all;
    for (Skeleton skeleton : {Skeleton::rows, Skeleton::tiles})
        for (Schedule schedule : {Schedule::dense, Schedule::interval, Schedule::list}) {
            AttentionCase c;
            c.skeleton = skeleton;
            c.schedule = schedule;
            c.mask = schedule == Schedule::interval ? "window" : "documents_causal";
            c.score = "alibi";
            c.shape = {2, 3, 1, 140, 150};
            c.head_dim = 40;
            c.value_dim = 48;
            c.k_type = ElementType::f16;
            c.v_type = ElementType::bf16;
            c.widen = Widen::off;
            all.push_back(c);
            c.widen = Widen::on;
            all.push_back(c);
        }
    return all;
}

// Numbers a workgroup's subgroups the other way round: Vulkan promises no order.
class SubgroupsReversed : public vkattn::ShaderCompiler {
  public:
    vkattn::Result<std::vector<uint32_t>> compile(const vkattn::CompileJob& job) const override {
        vkattn::CompileJob changed = job;
        const std::string_view id = "gl_SubgroupID", other = "(gl_NumSubgroups - 1u - gl_SubgroupID)";
        for (size_t at = changed.source.find(id); at != std::string::npos;
             at = changed.source.find(id, at + other.size())) {
            changed.source.replace(at, id.size(), other);
            changes++;
        }
        return test_compiler()->compile(changed);
    }
    std::string version() const override { return test_compiler()->version(); }

    mutable int changes = 0;
};

}  // namespace

TEST_SUITE_BEGIN("determinism");

TEST_CASE("two runs give the same bits") {
    for (const AttentionCase& c : cases()) {
        const Inputs inputs = make_inputs(c);
        const RunResult first = run(c, inputs);
        for (int i = 0; i < 3; i++)
            CHECK_MESSAGE(same_bits(first, run(c, inputs)), replay_line(c, VulkanContext::shared()));
    }
}

TEST_CASE("slices give the bits of the whole, in any order and in submits of their own") {
    for (AttentionCase c : cases()) {
        const Inputs inputs = make_inputs(c);
        const RunResult whole = run(c, inputs);
        check_result(c, inputs, whole);
        for (uint32_t slices : {2u, 3u, 7u, 100u}) {
            c.slices = slices;
            CHECK_MESSAGE(same_bits(whole, run(c, inputs)), replay_line(c, VulkanContext::shared()));
        }
        RunOptions options;
        c.slices = 3;
        options.separate_submits = true;
        options.reversed_slices = true;
        CHECK_MESSAGE(same_bits(whole, run(c, inputs, options)), replay_line(c, VulkanContext::shared()));
    }
}

TEST_CASE("many short dispatches give the bits of one") {
    for (const AttentionCase& c : cases()) {
        const Inputs inputs = make_inputs(c);
        const RunResult whole = run(c, inputs);
        RunOptions options;
        options.max_dispatch_ms = 1e-6;
        const RunResult parts = run(c, inputs, options);
        CHECK((!whole.ran() || parts.log.dispatches > whole.log.dispatches));
        CHECK_MESSAGE(same_bits(whole, parts), replay_line(c, VulkanContext::shared()));
    }
}

TEST_CASE("the bits do not depend on how subgroups are numbered") {
    const SubgroupsReversed compiler;
    const auto engine = make_engine(VulkanContext::shared(), {}, &compiler);
    for (AttentionCase c : cases()) {
        if (c.skeleton != Skeleton::tiles || c.widen == Widen::on) continue;
        const Inputs inputs = make_inputs(c);
        RunOptions options;
        options.engine = engine.get();
        CHECK_MESSAGE(same_bits(run(c, inputs), run(c, inputs, options)), replay_line(c, VulkanContext::shared()));
    }
    CHECK((compiler.changes > 0) == engine->capabilities().features.scalar_subgroup);
}

TEST_CASE("widened keys and values give the bits of those read in place, where the steps are the same") {
    int compared = 0;
    for (AttentionCase c : cases()) {
        if (c.widen == Widen::on) continue;
        c.addressing = Addressing::binding;
        for (Layout layout : {Layout::bhld, Layout::odd}) {
            c.layout = layout;
            const Inputs inputs = make_inputs(c);
            c.widen = Widen::off;
            const RunResult in_place = run(c, inputs);
            c.widen = Widen::on;
            const RunResult widened = run(c, inputs);
            CHECK(widened.report.widened);
            CHECK_FALSE(in_place.report.widened);
            if (in_place.report.tile_kv != widened.report.tile_kv) continue;
            CHECK_MESSAGE(same_bits(in_place, widened), replay_line(c, VulkanContext::shared()));
            compared++;
        }
    }
    CHECK(compared == 12);
}

TEST_CASE("addresses and descriptors give the same bits where they have the same steps") {
    if (!shared_engine().capabilities().features.buffer_device_address) {
        MESSAGE("this device has no addresses: nothing to compare");
        return;
    }
    int compared = 0;
    for (AttentionCase c : cases())
        for (Layout layout : {Layout::bhld, Layout::blhd, Layout::odd}) {
            c.layout = layout;
            const Inputs inputs = make_inputs(c);
            c.addressing = Addressing::address;
            const RunResult address = run(c, inputs);
            check_result(c, inputs, address);
            c.addressing = Addressing::binding;
            const RunResult binding = run(c, inputs);
            check_result(c, inputs, binding);
            // A plan may step through the keys differently in the two flavours, and then rescales differently.
            if (address.report.tile_q != binding.report.tile_q || address.report.tile_kv != binding.report.tile_kv)
                continue;
            CHECK_MESSAGE(same_bits(address, binding), replay_line(c, VulkanContext::shared()));
            compared++;
        }
    CHECK(compared >= 9);  // the tiles skeleton at least
}

TEST_SUITE_END();
