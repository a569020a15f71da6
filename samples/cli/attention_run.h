// One attention on one device: plan, upload, run, time, read back.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "description.h"
#include "support/device.h"
#include "tensors.h"
#include "vkattn/block_mask.h"
#include "vkattn/engine.h"

namespace vkattn::cli {

struct RunWishes {
    std::optional<float> scale;
    Path path = Path::automatic;
    Schedule schedule = Schedule::automatic;
    int32_t splits = 0;           // Problem::splits
    int32_t repeats = 1;          // timed runs, after one that is not timed
    std::string cache_directory;  // empty: none
};

struct RunResult {
    PlanReport report;
    std::vector<uint8_t> o;        // [B, Hq, Lq, Dv] in q's type
    std::vector<float> lse;        // [B, Hq, Lq]
    std::vector<double> times_ms;  // one a timed run
    bool device_clock = true;
    double plan_ms = 0.0;
    double bind_us = 0.0;
    double record_us = 0.0;  // host time of one record, the median
    uint64_t pipelines_created = 0;
};

// `block_mask` is used by the list schedule. automatic takes `interval` where one range of keys a query is the whole mask, else `list`.
Result<RunResult> run_attention(const support::Device& device, const ShaderCompiler* compiler,
                                const AttentionTensors& tensors, const Description& description,
                                const BlockMask& block_mask, const RunWishes& wishes);

double median(std::vector<double> values);  // 0 for none

}  // namespace vkattn::cli
