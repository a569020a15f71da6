// Heavy tiles begin first: the host's order under lists, and backwards under causal intervals, seen by what the first slice writes.
#include <cmath>

#include <doctest/doctest.h>

#include "engine/src/tile_order.h"
#include "harness/run_attention.h"

using namespace vkattn_tests;
using vkattn::ListEncoding;
using vkattn::order_tiles;
using vkattn::Schedule;
using vkattn::Skeleton;

namespace {

// Queries of head 0 that slice 0 of `slices` writes.
std::vector<int32_t> first_written(AttentionCase c, uint32_t slices) {
    const Inputs inputs = make_inputs(c);
    VulkanContext& context = VulkanContext::shared();
    context.clear_messages();
    Call call(c, inputs);
    VkCommandBuffer cmd = context.begin();
    call.record(cmd, {0, slices});
    context.submit_and_wait(cmd);
    const RunResult result = call.collect();
    std::vector<int32_t> written;
    for (int32_t q = 0; q < c.shape.q_len; q++)
        if (!std::isnan(result.lse[static_cast<size_t>(q)])) written.push_back(q);
    return written;
}

std::vector<int32_t> from_to(int32_t first, int32_t end) {
    std::vector<int32_t> all;
    for (int32_t q = first; q < end; q++) all.push_back(q);
    return all;
}

AttentionCase long_case(Schedule schedule, Skeleton skeleton) {
    AttentionCase c;
    c.mask = "causal";
    c.schedule = schedule;
    c.skeleton = skeleton;
    c.shape = {1, 1, 1, 500, 512};
    c.head_dim = c.value_dim = 8;
    c.splits = 1;
    if (schedule == Schedule::list) c.block_q = c.block_kv = 64;
    return c;
}

}  // namespace

TEST_SUITE_BEGIN("block_lists");

TEST_CASE("tile order: by powers of two, neighbours within each, and none where it is of no use") {
    using Order = std::vector<uint32_t>;
    CHECK(order_tiles(std::vector<uint64_t>{1, 2, 3, 4, 9}, 1, 5) == Order{4, 3, 1, 2, 0});
    CHECK(order_tiles(std::vector<uint64_t>{1, 0, 8}, 2, 5) == Order{4, 0, 1, 2, 3});  // the last block row is short
    CHECK(order_tiles(std::vector<uint64_t>{5, 7, 4, 6}, 1, 4).empty());
    CHECK(order_tiles(std::vector<uint64_t>{9, 4, 1, 0}, 1, 4).empty());
    CHECK(order_tiles(std::vector<uint64_t>{3}, 4, 4).empty());
    CHECK(order_tiles(std::vector<uint64_t>{}, 1, 0).empty());
    CHECK(order_tiles(std::vector<uint64_t>{1, 9}, 1, 3).empty());  // fewer rows than the call has
}

TEST_CASE("tile order: causal queries from the last on, lists by their key blocks") {
    for (Skeleton skeleton : {Skeleton::rows, Skeleton::tiles}) {
        AttentionCase c = long_case(Schedule::interval, skeleton);
        CHECK(first_written(c, 8) == from_to(448, 500));
        c.mask = "full";
        CHECK(first_written(c, 8) == from_to(0, 64));
        for (ListEncoding encoding : {ListEncoding::runs, ListEncoding::indices}) {
            c = long_case(Schedule::list, skeleton);
            c.encoding = encoding;
            CHECK(first_written(c, 8) == from_to(448, 500));
            CHECK(first_written(c, 2) == [] {  // 8 blocks; 4 to 7
                auto rows = from_to(192, 384);
                for (int32_t q : from_to(448, 500)) rows.push_back(q);
                return rows;
            }());
            c.slices = 3;
            run_and_check(c);
            c.shape.batch = c.shape.q_heads = 2;
            c.mask = "head_windows";
            run_and_check(c);
        }
    }
}

TEST_SUITE_END();
