// One case, measured: checked first, then ours and the peers' runs turn by turn.
#pragma once

#include "report.h"

namespace vkattn::bench {

struct Budget {
    size_t min_runs = 3, max_runs = 15;
    size_t min_rounds = 5;             // beside peers: a ratio needs some for its median
    double run_ms = 400.0;             // no further round once ours and the peers' took that together
    double estimate_ms = 2000.0;       // a case that one run of takes longer, by the plan's estimate, is skipped
    double peer_timeout_ms = 20000.0;  // for one answer
};

// An error is a failure of the machinery; a wrong result comes back with check.ok() false and without times.
Result<CaseResult> measure_case(const support::Device& device, Engine& engine, const BenchCase& bench_case,
                                std::span<const Peer> peers, const Budget& budget);

}  // namespace vkattn::bench
