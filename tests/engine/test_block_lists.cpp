// Block lists as PyTorch's arrays in the tables buffer: from the host, made by the device, changed between calls, and hostile.
#include <algorithm>

#include <doctest/doctest.h>

#include "harness/numbers.h"
#include "harness/run_attention.h"
#include "vkattn/classify.h"
#include "vkattn/named.h"

using namespace vkattn_tests;
using vkattn::Addressing;
using vkattn::ListEncoding;
using vkattn::PaddedBlocks;
using vkattn::Schedule;
using vkattn::Skeleton;

namespace {

AttentionCase listed(std::string mask, Skeleton skeleton, Addressing addressing) {
    AttentionCase c;
    c.mask = std::move(mask);
    c.skeleton = skeleton;
    c.addressing = addressing;
    c.schedule = Schedule::list;
    c.encoding = ListEncoding::indices;
    c.head_dim = c.value_dim = 24;
    c.shape = {2, 4, 2, 150, 203};
    c.block_q = 64;
    c.block_kv = 32;
    c.poison = Poison::partial;
    return c;
}

std::vector<AttentionCase> cases(std::string mask) {
    std::vector<AttentionCase> all;
    for (Skeleton skeleton : {Skeleton::rows, Skeleton::tiles})
        for (Addressing addressing : {Addressing::address, Addressing::binding})
            if (addressing == Addressing::binding || VulkanContext::shared().enabled.buffer_device_address)
                all.push_back(listed(mask, skeleton, addressing));
    return all;
}

PaddedBlocks padded(const Inputs& inputs) {
    auto blocks = to_padded(*inputs.list);
    if (!blocks) FAIL("to_padded: " << blocks.status().message);
    return *std::move(blocks);
}

}  // namespace

TEST_SUITE_BEGIN("block_lists");

TEST_CASE("PyTorch's arrays from the host, in any order") {
    for (const char* mask : {"causal", "documents_causal", "head_windows", "padding", "full"})
        for (const AttentionCase& c : cases(mask)) {
            const Inputs inputs = make_inputs(c);
            PaddedBlocks blocks = padded(inputs);
            RunOptions options;
            options.padded_blocks = &blocks;
            check_result(c, inputs, run(c, inputs, options), options);
            for (size_t row = 0; row < blocks.num_blocks.size(); row++) {
                const auto first = blocks.indices.begin() + static_cast<int64_t>(row) * blocks.columns;
                std::reverse(first, first + blocks.num_blocks[row]);
            }
            check_result(c, inputs, run(c, inputs, options), options);
        }
}

TEST_CASE("lists made by the device equal the host's, entry for entry, and from run to run") {
    for (const char* mask : {"causal", "documents_causal", "documents_shuffled", "head_windows", "padding", "natten",
                             "wrong_index", "full", "nothing"})
        for (AttentionCase c : cases(mask)) {
            INFO(replay_line(c, VulkanContext::shared()));
            const Inputs inputs = make_inputs(c);
            const PaddedBlocks wanted = padded(inputs);
            RunOptions options;
            options.build_lists = true;
            const RunResult result = run(c, inputs, options);
            check_result(c, inputs, result, options);
            REQUIRE(result.built.has_value());
            const PaddedBlocks& built = *result.built;
            REQUIRE(built.rows == wanted.rows);
            REQUIRE(built.columns == wanted.columns);
            REQUIRE(built.batch == wanted.batch);
            REQUIRE(built.heads == wanted.heads);
            CHECK(built.num_blocks == wanted.num_blocks);
            for (size_t row = 0; row < wanted.num_blocks.size(); row++) {
                const size_t at = row * static_cast<size_t>(wanted.columns);
                const int32_t n_full = wanted.full_num_blocks.empty() ? 0 : wanted.full_num_blocks[row];
                CHECK(built.full_num_blocks[row] == n_full);
                for (size_t i = 0; i < static_cast<size_t>(wanted.num_blocks[row]); i++)
                    CHECK(built.indices[at + i] == wanted.indices[at + i]);
                for (size_t i = 0; i < static_cast<size_t>(n_full); i++)
                    CHECK(built.full_indices[at + i] == wanted.full_indices[at + i]);
            }
            CHECK(same_bits(result, run(c, inputs, options)));
            options.max_dispatch_ms = 1e-6;  // a block a dispatch
            CHECK(same_bits(result, run(c, inputs, options)));
        }
}

TEST_CASE("lists of no queries and of no keys, and a single pair") {
    for (AttentionCase c : cases("causal"))
        for (const auto& [q_len, kv_len] : {std::pair{0, 5}, std::pair{5, 0}, std::pair{1, 1}}) {
            c.shape = {2, 2, 1, q_len, kv_len};
            const Inputs inputs = make_inputs(c);
            RunOptions options;
            options.build_lists = true;
            check_result(c, inputs, run(c, inputs, options), options);
        }
}

TEST_CASE("lists are made again from tables that have changed on the device") {
    for (const AttentionCase& c : cases("documents_shuffled")) {
        const Inputs before = make_inputs(c);
        AttentionCase other = c;
        other.seed = 99;
        Inputs after = make_inputs(other);
        RunOptions options;
        options.build_lists = true;
        options.tables_on_device = &after.bindings;  // the args know the old ones
        Inputs mixed = before;
        mixed.keep = after.keep;
        check_result(c, mixed, run(c, before, options), options);
    }
}

TEST_CASE("every barrier of list making is needed") {
    AttentionCase c = listed("documents_causal", Skeleton::tiles, Addressing::binding);
    const Inputs inputs = make_inputs(c);
    RunOptions options;
    options.build_lists = true;
    options.max_dispatch_ms = 1e-6;
    const RunResult whole = run(c, inputs, options);
    check_result(c, inputs, whole, options);
    const uint32_t barriers = whole.log.barriers;
    CHECK(barriers >= 6);
    for (uint32_t i = 0; i < barriers; i++) {
        INFO("barrier " << i << " of " << barriers);
        options.drop_barrier = static_cast<int32_t>(i);
        const RunResult broken = run(c, inputs, options);
        bool hazard = false;
        for (const ValidationMessage& message : broken.messages)
            hazard = hazard || (message.error && message.text.find("SYNC-HAZARD") != std::string::npos);
        if (i > 0) CHECK(hazard);  // before the first there is nothing to wait for
    }
}

TEST_CASE("hostile arrays: nothing is read or written outside, whatever counts and columns hold") {
    Random random(7);
    for (const AttentionCase& c : cases("documents_causal")) {
        const Inputs inputs = make_inputs(c);
        for (int round = 0; round < 6; round++) {
            PaddedBlocks blocks = padded(inputs);
            const auto garbage = [&](std::vector<int32_t>& values) {
                for (int32_t& value : values)
                    value = random.below(3) == 0 ? random.between(-5, 12)
                                                 : static_cast<int32_t>(static_cast<uint32_t>(random.next()));
            };
            garbage(blocks.num_blocks);
            garbage(blocks.indices);
            garbage(blocks.full_num_blocks);
            garbage(blocks.full_indices);
            RunOptions options;
            options.padded_blocks = &blocks;
            CHECK(run(c, inputs, options).ran());  // guards, inputs and the layer's messages are checked there
        }
    }
}

TEST_CASE("counts that grow on the device: a window in blocks, newest first, without a new list or pipeline") {
    for (AttentionCase c : cases("causal")) {
        c.shape = {1, 2, 1, 256, 256};
        c.block_q = c.block_kv = 64;
        const Inputs inputs = make_inputs(c);
        auto newest_first = to_padded(*inputs.list, 1u << 20, true);
        REQUIRE(newest_first.ok());
        run(c, inputs, [&] {
            RunOptions options;
            options.padded_blocks = &*newest_first;
            return options;
        }());
        const uint64_t before = shared_engine().pipelines_created();
        for (int32_t window = 1; window <= 4; window++) {
            PaddedBlocks clamped = *newest_first;
            for (size_t row = 0; row < clamped.num_blocks.size(); row++) {
                clamped.num_blocks[row] = std::min(clamped.num_blocks[row], window);
                clamped.full_num_blocks[row] = std::min(clamped.full_num_blocks[row], window - 1);
            }
            RunOptions options;
            options.padded_blocks = &clamped;
            Inputs windowed = inputs;
            windowed.keep = [window](int, int, int q, int kv) { return kv <= q && q / 64 - kv / 64 < window; };
            check_result(c, windowed, run(c, inputs, options), options);
        }
        CHECK(shared_engine().pipelines_created() == before);
    }
}

TEST_CASE(
    "a list of a larger window serves smaller ones when the caller says that it covers them, and is stale otherwise") {
    for (AttentionCase c : cases("sliding_window")) {
        c.encoding = ListEncoding::runs;
        Inputs inputs = make_inputs(c);
        vkattn::ClassifyOptions classify;
        classify.block_q = c.block_q;
        classify.block_kv = c.block_kv;
        auto wide = create_block_mask(vkattn::sliding_window(500), c.shape, {}, classify);
        REQUIRE(wide.ok());
        REQUIRE(wide->full_blocks() > inputs.list->full_blocks());
        inputs.list = *std::move(wide);
        RunOptions options;
        options.expect_refusal = true;
        const RunResult stale = run(c, inputs, options);
        REQUIRE_FALSE(stale.ran());
        CHECK(stale.refused.message.find("stale") != std::string::npos);
        options.expect_refusal = false;
        options.list_covers = true;
        check_result(c, inputs, run(c, inputs, options), options);
    }
}

TEST_CASE("what does not fit is refused with what would") {
    vkattn::Problem problem;
    problem.max_shape = {1, 2, 1, 128, 128};
    problem.head_dim = 16;
    problem.build_lists = true;
    auto plan = shared_engine().plan(problem);
    REQUIRE_FALSE(plan.ok());
    CHECK(plan.status().message.find("ListEncoding::indices") != std::string::npos);
    problem.list_encoding = ListEncoding::indices;
    problem.block_q = problem.block_kv = 128;
    problem.build_lists = false;
    plan = shared_engine().plan(problem);
    REQUIRE(plan.ok());
    PaddedBlocks blocks;
    blocks.batch = 1;
    blocks.heads = 3;
    blocks.rows = blocks.columns = 1;
    blocks.num_blocks = {1, 1, 1};
    blocks.indices = {0, 0, 0};
    vkattn::ArgsInfo info;
    info.shape = problem.max_shape;
    info.padded_blocks = &blocks;
    CHECK(plan->make_args(info).status().message.find("3 heads") != std::string::npos);
    blocks.heads = 1;
    CHECK(plan->make_args(info).status().message.find("arrays") != std::string::npos);
    blocks.num_blocks = {1};
    blocks.indices = {0};
    CHECK(plan->make_args(info).ok());
    vkattn::ArgsInfo runs = info;
    runs.padded_blocks = nullptr;
    vkattn::BlockMask list;
    runs.block_mask = &list;
    CHECK(plan->make_args(runs).status().message.find("padded_blocks") != std::string::npos);
    problem.list_encoding = ListEncoding::runs;
    const auto runs_plan = shared_engine().plan(problem);
    REQUIRE(runs_plan.ok());
    CHECK(runs_plan->make_args(info).status().message.find("ListEncoding::indices") != std::string::npos);
    problem.list_encoding = ListEncoding::indices;
    problem.build_lists = true;
    problem.schedule = Schedule::dense;
    const auto dense = shared_engine().plan(problem);
    REQUIRE_FALSE(dense.ok());
    CHECK(dense.status().message.find("list schedule") != std::string::npos);
    blocks.rows = 0;
    CHECK(plan->make_args(info).status().message.find("block rows") != std::string::npos);
}

TEST_SUITE_END();
