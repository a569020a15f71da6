// Not a test: the times of classification at 1,048,576 x 1,048,576, best of 5, for docs/tuning.md.
//   vkattn-test-masks --no-skip -tc="figures: classification"
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>

#include "masks/random_tree.h"
#include "vkattn/classify.h"
#include "vkattn/named.h"

using namespace vkattn;

namespace {

double milliseconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

void print_times(const char* name, const Mask& mask, const Shape& shape) {
    double best[2] = {1e30, 1e30}, best_cpu = 1e30;  // the processor's own time says more on a busy machine
    size_t n_runs = 0;
    for (int i = 0; i < 10; ++i) {
        ClassifyOptions options;
        options.threads = 1 + i % 2;
        const auto start = std::chrono::steady_clock::now();
        const std::clock_t cpu_start = std::clock();
        const Result<BlockMask> made = create_block_mask(mask, shape, {}, options);
        best[i % 2] = std::min(best[i % 2], milliseconds_since(start));
        if (i % 2 == 0)
            best_cpu = std::min(best_cpu, 1e3 * static_cast<double>(std::clock() - cpu_start) / CLOCKS_PER_SEC);
        REQUIRE(made.ok());
        n_runs = made->runs.size();
    }
    std::printf("%-37s 1 thread %8.2f ms (cpu %8.2f)   2 threads %8.2f ms   %7zu runs\n", name, best[0], best_cpu,
                best[1], n_runs);
}

}  // namespace

TEST_CASE("figures: classification" * doctest::skip()) {
    const int length = 1 << 20;
    const Shape shape{1, 1, 1, length, length};
    test::Rng rng(3);
    TableData ascending, arbitrary;
    ascending.dims = arbitrary.dims = {length};
    for (int i = 0, id = 0; i < length; ++id) {
        const int end = std::min(length, i + rng.between(1, 2000)), label = static_cast<int>(rng.next() >> 33);
        for (; i < end; ++i) {
            ascending.i32.push_back(id);
            arbitrary.i32.push_back(label);
        }
    }
    const Mask documents = causal() && document(table("doc", ascending));
    const int half = length / 2;
    const Mask block_diffusion = trace_mask([&](Index, Index, Index q, Index kv) {
        const Expr q_block = q % half / 512, kv_block = kv % half / 512, q_noisy = q < half, kv_noisy = kv < half;
        return (q_block == kv_block && q_noisy == kv_noisy) || (kv_block < q_block && q_noisy && !kv_noisy) ||
               (kv_block <= q_block && !q_noisy && !kv_noisy);
    });
    print_times("causal", causal(), shape);
    print_times("causal, documents", documents, shape);
    print_times("causal, documents, arbitrary ids", causal() && document(table("doc", arbitrary)), shape);
    print_times("sliding_window(4096)", sliding_window(4096), shape);
    print_times("block diffusion 512", block_diffusion, shape);
    print_times("natten 1024 x 1024, 13 x 13", natten(1024, 1024, 13, 13), shape);
    print_times("natten 1000 x 1000, 13 x 13", natten(1000, 1000, 13, 13), {1, 1, 1, 1000000, 1000000});
    print_times("dilated_window(4096, 16)", dilated_window(4096, 16), shape);
    print_times("dilated_window(4096, 24), documents", dilated_window(4096, 24) && documents, shape);
    print_times("(q + kv) % 2", *parse_mask("(q + kv) % 2 == 0"), shape);
    print_times("(q * q + kv) % 7, 1/16 of the lengths", *parse_mask("(q * q + kv) % 7 == 0"),
                {1, 1, 1, length / 16, length / 16});
    for (const auto& mask : {causal(), documents}) {
        const auto start = std::chrono::steady_clock::now();
        const Result<int64_t> pairs = count_pairs(mask, shape);
        REQUIRE(pairs.ok());
        std::printf("count_pairs %.2f ms, %lld pairs\n", milliseconds_since(start), static_cast<long long>(*pairs));
    }
}
