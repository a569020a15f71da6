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
    double plan_ms = 0.0, first_run_ms = 0.0, bind_us = 0.0;
    double plan_again_ms = 0.0;  // the same problem once more: a warm plan
    double record_us = 0.0;      // one call of record
    double seconds = 0.0;        // that all of the case took, its description, check and peers included
    RowErrors check;
    std::vector<PeerResult> peers;
};

// How near a case comes to the device's own limits: time at a limit over the median.
struct Efficiency {
    double gflops = 0.0, gb_per_s = 0.0;
    std::string arithmetic;  // the unit that the kernel multiplies by: "f32 arithmetic", "f16 matrices"
    // None: that limit was not measured, as for matrices whose sizes a driver wants as literals.
    std::optional<double> of_arithmetic, of_reading;
    // What would take longer at its limit, `arithmetic` or "reading", and its fraction. Nothing binds where a limit is missing.
    std::string binds = "not measured";
    std::optional<double> fraction;
};
Efficiency efficiency_of(const CaseResult& result, const DeviceLimits& limits);

struct BlockMaskResult {
    std::string label, mask;
    int32_t positions = 0;
    Timings timings;
    uint64_t bytes = 0;  // of the list as runs
    double sparsity = 0.0;
};

// From nothing to the first result, each time in a process of its own.
struct StartResult {
    std::string mask, caches;  // "cold": no compiled shader anywhere; "warm": the folders that a cold start left
    std::string failed;        // why there are no figures
    Timings device;            // instance, device, queue
    Timings engine, plan, first_run;
    Timings after_device;  // the last three together
    std::string module;    // where the shader came from
};

// Time over the blocks that are not masked (block_growth.h).
struct BlockGrowth {
    size_t cases = 0;
    // What a call costs, what a query row of a head costs without any keys (its query is loaded, its output stored), and a block.
    double call_ms = 0.0, row_ns = 0.0, block_us = 0.0;
    double exponent = 0.0;  // of blocks, in what is above the fixed cost of calls and rows; 1: proportional
    double worst = 0.0;     // the most that a case is off the line, above the fixed cost
};

struct Report {
    std::string version, suite, device, driver;
    std::string tuning;  // file of the tuning table that was used; empty: none
    bool software = false;
    DeviceLimits limits;
    std::vector<Peer> peers;
    std::vector<CaseResult> cases;
    std::optional<BlockGrowth> growth;  // where the suite has cases for it
    std::vector<BlockMaskResult> block_masks;
    std::vector<StartResult> starts;
    double seconds = 0.0;
};

std::string text_of(const Efficiency& efficiency);  // "61.2 % of f16 matrices"
std::string text_of(const MatrixLimit& limit);      // "matrices f16 16x16x16"
std::string text_of(const BlockGrowth& growth);     // one sentence with the slope and the fixed cost

std::string to_json(const Report& report);
std::string to_csv(const Report& report);   // a line a case
std::string to_html(const Report& report);  // one page that needs nothing else

}  // namespace vkattn::bench
