// Values never make a pipeline: windows, literals, lengths, tables, strides, scales and lists change and the count stands still.
#include <doctest/doctest.h>

#include "harness/run_attention.h"
#include "vkattn/named.h"

using namespace vkattn_tests;
using vkattn::Schedule;

TEST_SUITE_BEGIN("pipelines");

TEST_CASE("values, lengths, tables, strides and scales create no pipeline") {
    for (Schedule schedule : {Schedule::dense, Schedule::interval, Schedule::list}) {
        AttentionCase c;
        c.schedule = schedule;
        c.mask = "sliding_window";
        c.score = "softcap";
        c.shape = {1, 2, 1, 70, 90};
        run_and_check(c);  // the pipeline is made here at the latest
        const uint64_t before = shared_engine().pipelines_created();
        CHECK(before > 0);
        for (uint64_t seed = 2; seed < 6; seed++) {  // another window, another cap: literals in both
            c.seed = seed;
            run_and_check(c);
        }
        const int32_t lengths[] = {1, 2, 31, 63, 64, 65, 66, 67, 68, 69, 70, 71, 127, 128, 129, 200};
        for (int32_t kv_len : lengths) {
            c.shape = {2, 6, 3, kv_len / 2 + 70, kv_len};  // bounds of few queries choose smaller tiles
            run_and_check(c);
        }
        for (Layout layout : {Layout::blhd, Layout::packed, Layout::broadcast, Layout::padded}) {
            c.layout = layout;
            run_and_check(c);
        }
        c.layout = Layout::bhld;
        RunOptions options;
        options.scale = 0.25f;
        run_and_check(c, options);
        c.slices = 4;
        run_and_check(c);
        CHECK(shared_engine().pipelines_created() == before);

        c.head_dim = c.value_dim = 32;  // the control: a head dim does make one
        run_and_check(c);
        CHECK(shared_engine().pipelines_created() == before + 1);
    }
}

TEST_CASE("tables of any content and size create no pipeline") {
    AttentionCase c;
    c.mask = "documents_shuffled";
    c.score = "dense_bias";
    c.shape = {2, 2, 1, 50, 60};
    run_and_check(c);
    const uint64_t before = shared_engine().pipelines_created();
    for (uint64_t seed = 2; seed < 5; seed++) {
        c.seed = seed;
        c.shape.q_len += 13;
        c.shape.kv_len += 7;
        run_and_check(c);
    }
    CHECK(shared_engine().pipelines_created() == before);
}

TEST_CASE("equal structures are one pipeline, whatever front end and literals they came from") {
    vkattn::Engine& engine = shared_engine();
    const auto pipelines_of = [&](const vkattn::Mask& mask) {
        vkattn::Problem problem;
        problem.max_shape = {1, 1, 1, 64, 64};
        problem.head_dim = 24;
        problem.mask = mask;
        const uint64_t before = engine.pipelines_created();
        auto plan = engine.plan(problem);
        REQUIRE_MESSAGE(plan.ok(), plan.status().message);
        return engine.pipelines_created() - before;
    };
    CHECK(pipelines_of(vkattn::sliding_window(77)) == 1);
    CHECK(pipelines_of(vkattn::sliding_window(77)) == 0);
    CHECK(pipelines_of(vkattn::sliding_window(78)) == 0);
    CHECK(pipelines_of(vkattn::sliding_window(vkattn::param("w"))) == 0);
    auto text = vkattn::parse_mask("sliding_window(1000)");
    REQUIRE(text.ok());
    CHECK(pipelines_of(*text) == 0);
}

TEST_SUITE_END();
