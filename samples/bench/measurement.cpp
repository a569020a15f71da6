#include "measurement.h"

#include <chrono>

#include "../cli/command.h"

namespace vkattn::bench {
namespace {

PeerResult not_measured(const Peer& peer, std::string state, std::string why) {
    PeerResult result;
    result.name = peer.name;
    result.state = std::move(state);
    result.why = std::move(why);
    return result;
}

// Peers step over all pairs or read them from a dense mask, and the slowest that was seen on a CPU computes 4 GFLOP/s. Empty: the
// case is not too long for it.
std::string too_long_for(const Peer& peer, const BenchCase& c, double max_ms) {
    constexpr double slowest_gflops = 4.0;
    const Shape& s = c.shape;
    const double pairs = double{1} * s.batch * s.q_heads * s.q_len * s.kv_len;
    const double most_ms = 4.0 * c.head_dim * pairs / slowest_gflops * 1e-6;
    if (!peer.on_cpu || most_ms <= max_ms) return "";
    return "on a CPU, and without leaving out masked pairs, one run may take " + cli::fixed(most_ms, 0) +
           " ms, --max-ms is " + cli::fixed(max_ms, 0);
}

}  // namespace

Result<CaseResult> measure_case(const support::Device& device, Engine& engine, const BenchCase& bench_case,
                                std::span<const Peer> peers, const Budget& budget) {
    const auto start = std::chrono::steady_clock::now();
    CaseResult result;
    result.bench_case = bench_case;
    auto attention = AttentionCase::describe(bench_case);
    if (!attention) return attention.status();
    result.work = (*attention)->work();
    if (Status status = (*attention)->prepare(device, engine); !status.ok()) return status;
    result.plan = (*attention)->report();
    result.plan_ms = (*attention)->plan_ms();
    result.plan_again_ms = (*attention)->plan_again_ms();
    result.bind_us = (*attention)->bind_us();
    if (const double estimate = (*attention)->estimated_ms(); estimate > budget.estimate_ms) {
        result.skipped = "one run is estimated at " + cli::fixed(estimate, 0) + " ms, --max-ms is " +
                         cli::fixed(budget.estimate_ms, 0);
        return result;
    }
    auto first = (*attention)->run();  // drivers compile at the first submit
    if (!first) return first.status();
    result.first_run_ms = first->wall_ms;
    result.device_clock = first->device_clock;
    auto check = (*attention)->check();
    if (!check) return check.status();
    result.check = *check;
    if (!check->ok()) return result;

    std::unique_ptr<PeerFiles> files;
    std::vector<RunningPeer> running;
    if (bench_case.peers) {
        std::vector<Peer> able;
        for (const Peer& peer : peers) {
            const std::string too_long = too_long_for(peer, bench_case, budget.estimate_ms);
            if (peer.state == PeerState::absent) result.peers.push_back(not_measured(peer, "absent", peer.what));
            else if (!too_long.empty()) result.peers.push_back(not_measured(peer, "skipped", too_long));
            else able.push_back(peer);
        }
        if (!able.empty()) {
            auto written = PeerFiles::write(bench_case, **attention);
            if (written) files = std::move(*written);
            running.reserve(able.size());
            for (const Peer& peer : able) {
                if (written) running.emplace_back(peer, *files, budget.peer_timeout_ms);
                else result.peers.push_back(not_measured(peer, "unsupported", written.status().message));
            }
        }
    }
    // A B A B: what else happens on the machine meets all of them.
    std::vector<double> device_ms, wall_ms, record_us;
    double spent_ms = 0.0;
    const size_t min_runs = running.empty() ? budget.min_runs : budget.min_rounds;
    for (size_t i = 0; i < budget.max_runs && (i < min_runs || spent_ms < budget.run_ms); i++) {
        auto time = (*attention)->run();
        if (!time) return time.status();
        device_ms.push_back(time->ms);
        wall_ms.push_back(time->wall_ms);
        record_us.push_back(time->record_us);
        spent_ms += time->wall_ms;
        for (RunningPeer& peer : running) spent_ms += peer.run();
    }
    for (RunningPeer& peer : running) {
        result.peers.push_back(peer.finish(**attention));
        result.peers.back().ratio = ratio_of(wall_ms, peer.times_ms());
    }
    result.device = summarise(std::move(device_ms));
    result.wall = summarise(std::move(wall_ms));
    result.record_us = summarise(std::move(record_us)).median;
    result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return result;
}

}  // namespace vkattn::bench
