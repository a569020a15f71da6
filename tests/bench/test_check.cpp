// What keeps the figures honest: an output that was not computed is found, and so is a peer that computes something else.
#include <doctest/doctest.h>

#include <filesystem>

#include "bench/measurement.h"
#include "support/file.h"
#include "vkattn/create_mask.h"

using namespace vkattn;
using namespace vkattn::bench;

namespace {

struct Prepared {
    std::unique_ptr<support::Device> device;
    std::unique_ptr<Engine> engine;
    std::unique_ptr<AttentionCase> attention;
};

BenchCase causal_case() {
    BenchCase c;
    c.mask = "causal()";  // built ahead of time
    c.shape = {1, 4, 2, 33, 47};
    c.head_dim = 16;
    return c;
}

Prepared prepare() {
    Prepared p;
    auto device = support::Device::create();
    REQUIRE_MESSAGE(device.ok(), device.status().message);
    p.device = std::move(*device);
    auto engine = Engine::create(p.device->host());
    REQUIRE(engine.ok());
    p.engine = std::move(*engine);
    auto attention = AttentionCase::describe(causal_case());
    REQUIRE(attention.ok());
    p.attention = std::move(*attention);
    const Status status = p.attention->prepare(*p.device, *p.engine);
    REQUIRE_MESSAGE(status.ok(), status.message);
    return p;
}

}  // namespace

TEST_CASE("the check fails before the first run and passes after it") {
    const Prepared p = prepare();
    auto before = p.attention->check();
    REQUIRE(before.ok());
    CHECK_FALSE(before->ok());
    const auto time = p.attention->run();
    REQUIRE(time.ok());
    CHECK(time->ms > 0.0);
    CHECK(time->wall_ms > 0.0);
    auto after = p.attention->check();
    REQUIRE(after.ok());
    CHECK(after->ok());
}

TEST_CASE("work: pairs, operations, and only those keys that are read") {
    BenchCase c = causal_case();
    c.shape = {2, 4, 2, 128, 1024};  // the last 128 queries of nothing: causal reads the first 128 keys only
    auto attention = AttentionCase::describe(c);
    REQUIRE(attention.ok());
    const Work& work = (*attention)->work();
    CHECK(work.pairs == int64_t{2} * 4 * 128 * 129 / 2);
    CHECK(work.flops == 4.0 * 16 * static_cast<double>(work.pairs));
    const double q_rows = 2.0 * 4 * 128, k_rows = 2.0 * 2 * 128;
    CHECK(work.bytes == (2 * q_rows + 2 * k_rows) * 16 * sizeof(float));
    CHECK(work.blocks_total == 8);
    CHECK(work.blocks_partial == 1);
}

TEST_CASE("peers get every pair of the mask") {
    for (const char* mask : {"causal() && document(doc)", "sliding_window(200) || kv < 9", "natten(20, 15, 5, 3)"}) {
        BenchCase c = causal_case();
        c.mask = mask;
        c.shape = {1, 4, 2, 300, 300};
        auto attention = AttentionCase::describe(c);
        REQUIRE(attention.ok());
        auto files = PeerFiles::write(c, **attention);
        REQUIRE(files.ok());
        const Described& described = (*attention)->described();
        const auto all = create_mask(described.mask, {1, 1, 1, 300, 300}, described.bindings);
        const auto written = support::read_file((*files)->folder() / "mask.bin");
        REQUIRE(all.ok());
        REQUIRE(written.ok());
        CHECK_MESSAGE(*written == *all, mask);
    }
}

#ifndef _WIN32
TEST_CASE("beside a peer there are five rounds, and the ratio is that of the rounds") {
    const Prepared p = prepare();
    BenchCase c = causal_case();
    c.peers = true;
    Peer peer;
    peer.name = "script";
    peer.state = PeerState::present;
    const char* const zeros = "head -c 8448 /dev/zero >\"$2/o.bin\"; echo done";
    peer.command = {"sh", "-c",
                    std::string("echo ready; while read x; do if [ $x = run ]; then echo ms 1000000; else ") + zeros +
                        "; fi; done",
                    "peer"};
    Budget budget;
    budget.run_ms = 1.0;
    const auto result = measure_case(*p.device, *p.engine, c, {&peer, 1}, budget);
    REQUIRE(result.ok());
    REQUIRE(result->peers.size() == 1);
    CHECK(result->peers[0].state == "wrong");
    CHECK(result->peers[0].timings.runs == 5);
    CHECK(result->device.runs == 5);
    CHECK(result->peers[0].ratio.of_least == doctest::Approx(1e6 / result->wall.min));
    CHECK(result->peers[0].ratio.median == doctest::Approx(1e6 / result->wall.median));
    c.peers = false;
    const auto alone = measure_case(*p.device, *p.engine, c, {&peer, 1}, budget);
    REQUIRE(alone.ok());
    CHECK(alone->peers.empty());
    CHECK(alone->device.runs >= 3);
}

TEST_CASE("peers that lie, crash, stay silent or cannot: each is told from one that is measured") {
    const Prepared p = prepare();
    REQUIRE(p.attention->run().ok());
    auto files = PeerFiles::write(causal_case(), *p.attention);
    REQUIRE(files.ok());
    const std::filesystem::path folder = (*files)->folder();
    const auto result_of = [&](const std::string& script) {
        Peer peer;
        peer.name = "script";
        peer.backend = "none";
        peer.state = PeerState::present;
        peer.command = {"sh", "-c", script, "peer"};  // then $1 is the back end, $2 the folder
        RunningPeer running(peer, **files, 2000.0);
        running.run();
        return running.finish(*p.attention);
    };
    // o as large as it should be, and all zero
    const PeerResult zero =
        result_of("echo ready; read x; echo ms 5.5; read x; head -c 8448 /dev/zero >\"$2/o.bin\"; echo done");
    CHECK(zero.state == "wrong");
    CHECK(zero.timings.median == 5.5);
    CHECK(result_of("echo ready; read x; echo ms 5; read x; echo >\"$2/o.bin\"; echo done").state == "failed");
    CHECK(result_of("echo ready; read x; echo ms -1").state == "failed");
    CHECK(result_of("echo ready; kill -9 $$").state == "failed");
    CHECK(result_of("exit 4").why == "exit code 4");
    const PeerResult cannot = result_of("echo unsupported no such type");
    CHECK(cannot.state == "unsupported");
    CHECK(cannot.why == "no such type");
    CHECK(std::filesystem::exists(folder / "q.bin"));
    files->reset();
    CHECK_FALSE(std::filesystem::exists(folder));
}

TEST_CASE("peers that would compute all pairs for too long on a CPU are not started") {
    const Prepared p = prepare();
    BenchCase c = causal_case();
    c.mask = "sliding_window(0)";
    c.shape = {1, 1, 1, 512, 512};
    c.peers = true;
    Peer peer;
    peer.name = "script";
    peer.state = PeerState::present;
    peer.command = {"sh", "-c", "exit 4"};
    Budget budget;
    budget.estimate_ms = 1.0;  // 512 pairs of ours; all of them are 4 ms at 4 GFLOP/s
    const auto state = [&](bool on_cpu) {
        peer.on_cpu = on_cpu;
        const auto result = measure_case(*p.device, *p.engine, c, {&peer, 1}, budget);
        REQUIRE(result.ok());
        REQUIRE(result->skipped.empty());
        REQUIRE(result->peers.size() == 1);
        return result->peers[0].state;
    };
    CHECK(state(true) == "skipped");
    CHECK(state(false) == "failed");
}
#endif
