// One case on the device: planned and bound once, run as often as asked, checked.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "../cli/tensors.h"
#include "bench_case.h"
#include "support/buffer.h"
#include "vkattn/block_mask.h"
#include "vkattn/engine.h"
#include "vkattn/reference.h"

namespace vkattn::bench {

// What has to be done at the least, whoever does it.
struct Work {
    int64_t pairs = 0;   // that attend, over batch and query heads
    double flops = 0.0;  // 2 (D + Dv) a pair
    // q and o once, and those rows of k and v once that lie in a block which some query reads.
    double bytes = 0.0;
    int64_t blocks_full = 0, blocks_partial = 0, blocks_total = 0;  // of 128 x 128, of all lists
    int64_t lists = 1;  // one for each batch entry and head that the mask tells apart
};

struct RunTime {
    double ms = 0.0;         // the device's clock where it has one
    double wall_ms = 0.0;    // host: record, submit, wait; what peers are compared by
    double record_us = 0.0;  // one call of record: where slices have a submit each, their mean
    bool device_clock = true;
};

class AttentionCase {
  public:
    // Everything before the plan, which may say that the case is too large to be run at all.
    static Result<std::unique_ptr<AttentionCase>> describe(const BenchCase& bench_case);
    // Plans, uploads and binds. The device and the engine outlive the case.
    Status prepare(const support::Device& device, Engine& engine);

    const Described& described() const { return described_; }
    const cli::AttentionTensors& tensors() const { return tensors_; }
    const Work& work() const { return work_; }
    const PlanReport& report() const { return plan_->report(); }
    double plan_ms() const { return plan_ms_; }
    double plan_again_ms() const { return plan_again_ms_; }  // of the same problem, all pipelines there
    double bind_us() const { return bind_us_; }
    // By the plan's own figure for this device; the first run may compile on top of it.
    double estimated_ms() const;

    Result<RunTime> run() const;
    // The result on the device against the reference on a few rows.
    Result<RowErrors> check() const;

    static constexpr int32_t checked_rows = 6;

  private:
    AttentionCase() = default;
    Status upload(const support::Device& device, uint64_t tables_bytes);

    Described described_;
    KernelWishes kernel_;
    cli::AttentionTensors tensors_;
    BlockMask block_mask_;
    Work work_;
    const support::Device* device_ = nullptr;
    std::optional<Plan> plan_;
    std::optional<Args> args_;
    std::optional<Binding> binding_;
    support::Buffer q_, k_, v_, o_, work_space_, tables_;
    double plan_ms_ = 0.0, plan_again_ms_ = 0.0, bind_us_ = 0.0;
};

}  // namespace vkattn::bench
