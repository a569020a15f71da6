// Everything that one run found out, and the forms in which it is handed on.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "attention_case.h"
#include "bench_case.h"
#include "device_limits.h"
#include "peers.h"
#include "timings.h"

namespace vkattn::bench {

struct CaseResult {
    BenchCase bench_case;
    std::string skipped;  // why it was not run; empty: it was, and what follows holds
    Work work;
    PlanReport plan;
    Timings device, wall;  // by the device's clock, and by the host's around record, submit and wait
    bool device_clock = true;
    double plan_ms = 0.0, plan_again_ms = 0.0, first_run_ms = 0.0, bind_us = 0.0, record_us = 0.0;
    RowErrors check;
    std::vector<PeerResult> peers;
};

// How near a case comes to the device's own limits.
struct Efficiency {
    double gflops = 0.0, gb_per_s = 0.0;
    const char* binds = "";  // "compute" or "memory": whichever would take longer at its limit
    double fraction = 0.0;   // time at that limit over the median
};
Efficiency efficiency_of(const CaseResult& result, const DeviceLimits& limits);
// The peer's median over ours, both by the host's clock: 2 is half of the peer's time. 0: not measured.
double ratio_of(const CaseResult& result, const PeerResult& peer);

struct BlockMaskResult {
    std::string label, mask;
    int32_t positions = 0;
    Timings timings;
    uint64_t bytes = 0;  // of the list as runs
    double sparsity = 0.0;
};

// From nothing to the first result, in a process of its own.
struct StartResult {
    std::string mask, caches;  // "cold": no compiled shader anywhere; "warm": the folders that the cold start left
    std::string failed;        // why there are no figures
    double device_ms = 0.0;    // instance, device, queue
    double engine_ms = 0.0, plan_ms = 0.0, first_run_ms = 0.0;
    std::string module;  // where the shader came from
    double after_device_ms() const { return engine_ms + plan_ms + first_run_ms; }
};

struct Report {
    std::string version, suite, device, driver;
    std::string tuning;  // file of the tuning table that was used; empty: none
    bool software = false;
    DeviceLimits limits;
    std::vector<Peer> peers;
    std::vector<CaseResult> cases;
    std::vector<BlockMaskResult> block_masks;
    std::vector<StartResult> starts;
    double seconds = 0.0;
};

std::string to_json(const Report& report);
std::string to_csv(const Report& report);   // a line a case
std::string to_html(const Report& report);  // one page that needs nothing else

}  // namespace vkattn::bench
