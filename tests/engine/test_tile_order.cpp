// Heavy tiles begin first: the host's order under lists, and backwards under causal intervals, seen by what the first slice writes.
// And orders that somebody damaged in the tables buffer.
#include <algorithm>
#include <cmath>

#include <doctest/doctest.h>

#include "engine/src/tile_order.h"
#include "harness/numbers.h"
#include "harness/run_attention.h"

using namespace vkattn_tests;
using vkattn::ElementType;
using vkattn::ListEncoding;
using vkattn::order_tiles;
using vkattn::Path;
using vkattn::Schedule;
using vkattn::Skeleton;

namespace {

// Whatever includes tile_order.glsl, as far as the device has it.
struct Kernel {
    Path path;
    Skeleton skeleton;
    std::vector<ListEncoding> encodings;  // one for matrices, which lavapipe compiles for a second each
};
std::vector<Kernel> ordered_kernels() {
    const vkattn::Features& features = shared_engine().capabilities().features;
    constexpr ListEncoding runs = ListEncoding::runs, indices = ListEncoding::indices;
    std::vector<Kernel> kernels = {{Path::scalar, Skeleton::rows, {runs, indices}},
                                   {Path::scalar, Skeleton::tiles, {runs, indices}}};
    if (features.cooperative_matrix) kernels.push_back({Path::khr, Skeleton::automatic, {runs}});
    if (features.cooperative_matrix2) kernels.push_back({Path::nv, Skeleton::automatic, {indices}});
    return kernels;
}

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

AttentionCase long_case(Schedule schedule, const Kernel& kernel) {
    AttentionCase c;
    c.mask = "causal";
    c.schedule = schedule;
    c.path = kernel.path;
    c.skeleton = kernel.skeleton;
    if (kernel.path != Path::scalar) c.q_type = c.k_type = c.v_type = ElementType::f16;
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
    for (const Kernel& kernel : ordered_kernels()) {
        AttentionCase c = long_case(Schedule::interval, kernel);
        CHECK(first_written(c, 8) == from_to(448, 500));
        if (kernel.path == Path::scalar) {
            c.mask = "full";
            CHECK(first_written(c, 8) == from_to(0, 64));
        }
        for (ListEncoding encoding : kernel.encodings) {
            c = long_case(Schedule::list, kernel);
            c.encoding = encoding;
            CHECK(first_written(c, 8) == from_to(448, 500));
            CHECK(first_written(c, 2) == [] {  // 8 blocks; 4 to 7
                auto rows = from_to(192, 384);
                for (int32_t q : from_to(448, 500)) rows.push_back(q);
                return rows;
            }());
            if (kernel.path != Path::scalar) continue;  // test_matrices.cpp has the results
            c.slices = 3;
            run_and_check(c);
            c.shape.batch = c.shape.q_heads = 2;
            c.mask = "head_windows";
            run_and_check(c);
        }
    }
}

TEST_CASE("tile order: whatever stands in the buffer, tiles that are named are right and nothing else is written") {
    Random random(11);
    for (const Kernel& kernel : ordered_kernels())
        for (ListEncoding encoding : kernel.encodings) {
            AttentionCase c = long_case(Schedule::list, kernel);
            c.encoding = encoding;
            c.shape.batch = c.shape.q_heads = 2;
            c.slices = 3;
            const Inputs inputs = make_inputs(c);
            const RunResult whole = run(c, inputs);
            REQUIRE(whole.ran());
            const auto tile_rows = static_cast<uint32_t>(whole.report.tile_q);
            const uint32_t tiles = (static_cast<uint32_t>(c.shape.q_len) + tile_rows - 1) / tile_rows;
            std::vector<uint32_t> repeated(tiles), beyond(tiles), garbage(tiles);
            for (uint32_t i = 0; i < tiles; i++) {
                repeated[i] = i / 3;
                beyond[i] = i % 2 == 0 ? i : tiles + i;
                garbage[i] = static_cast<uint32_t>(random.next());
            }
            for (const std::vector<uint32_t>& order :
                 {std::vector<uint32_t>(tiles, 0u), std::vector<uint32_t>(tiles, 0xffffffffu), repeated, beyond,
                  garbage}) {
                RunOptions options;
                options.tile_order_on_device = &order;
                const RunResult result = run(c, inputs, options);  // guards and the layer's messages are checked there
                std::vector<bool> named(tiles, false);
                for (uint32_t tile : order) named[std::min(tile, tiles - 1)] = true;
                for (size_t row = 0; row < result.lse.size(); row++) {
                    const size_t q = row % static_cast<size_t>(c.shape.q_len);
                    CAPTURE(row);
                    const auto o = [&](const RunResult& of) { return &of.o.at[row * 8]; };
                    if (named[q / tile_rows]) {
                        CHECK(result.lse[row] == whole.lse[row]);
                        CHECK(std::equal(o(whole), o(whole) + 8, o(result)));
                    } else {
                        CHECK(std::isnan(result.lse[row]));  // the guard pattern
                        CHECK(std::all_of(o(result), o(result) + 8, [](float x) { return std::isnan(x); }));
                    }
                }
            }
        }
}

TEST_SUITE_END();
