// One attention on one device: plan, upload, run, time, read back.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "description.h"
#include "support/buffer.h"
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
    std::shared_ptr<const TuningTable> tuning;
};

struct RunTime {
    double ms = 0.0;
    bool device_clock = true;  // false: the host's, around submit and wait
    double record_us = 0.0;
};

struct Attended {
    std::vector<uint8_t> o;  // [B, Hq, Lq, Dv] in q's type
    std::vector<float> lse;  // [B, Hq, Lq]
};

// q, k and v on the device and what is computed from them, by one plan or by several. Everything that is given outlives it.
class AttentionRun {
  public:
    // `block_mask` is used by the list schedule. automatic takes `interval` where one range of keys a query is the whole mask, else
    // `list`.
    static Result<std::unique_ptr<AttentionRun>> create(const support::Device& device, const AttentionTensors& tensors,
                                                        const Description& description, const BlockMask& block_mask,
                                                        const RunWishes& wishes);

    // One plan with its workspace, bound; the AttentionRun outlives it.
    class Planned {
      public:
        Result<RunTime> run() const;
        const PlanReport& report() const { return plan_->report(); }
        double plan_ms() const { return plan_ms_; }
        double bind_us() const { return bind_us_; }

      private:
        friend class AttentionRun;
        const support::Device* device_ = nullptr;
        std::optional<Plan> plan_;
        std::optional<Args> args_;
        std::optional<Binding> binding_;
        support::Buffer work_, tables_;
        double plan_ms_ = 0.0, bind_us_ = 0.0;
    };

    const Problem& problem() const { return problem_; }
    Result<Planned> plan(Engine& engine, const Problem& problem);  // problem() with another wish or none
    Status clear();                                                // NaN to o and lse: what is not written is found
    Result<Attended> download() const;                             // what the last run left

  private:
    AttentionRun(const support::Device& device, const AttentionTensors& tensors, const Description& description,
                 const BlockMask& block_mask, const RunWishes& wishes)
        : device_(device), tensors_(tensors), description_(description), block_mask_(block_mask), wishes_(wishes) {}
    Status upload();

    const support::Device& device_;
    const AttentionTensors& tensors_;
    const Description& description_;
    const BlockMask& block_mask_;
    const RunWishes wishes_;
    Problem problem_;
    bool uploaded_ = false;
    support::Buffer q_, k_, v_, o_, lse_;
};

struct RunResult : Attended {
    PlanReport report;
    std::vector<double> times_ms;  // one a timed run
    bool device_clock = true;
    double plan_ms = 0.0;
    double bind_us = 0.0;
    double record_us = 0.0;  // host time of one record, the median
    uint64_t pipelines_created = 0;
};

Result<RunResult> run_attention(const support::Device& device, const ShaderCompiler* compiler,
                                const AttentionTensors& tensors, const Description& description,
                                const BlockMask& block_mask, const RunWishes& wishes);

double median(std::vector<double> values);  // 0 for none

}  // namespace vkattn::cli
