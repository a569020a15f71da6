// AttentionBench: an example on a device, checked on a small instance and timed on a large one, beside what it is compared with.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "examples.h"
#include "support/buffer.h"
#include "support/device.h"
#include "vkattn/block_mask.h"
#include "vkattn/compiler.h"
#include "vkattn/engine.h"
#include "vkattn/reference.h"

namespace flex_notebook {

constexpr int32_t block_size = 128;  // of the block lists, as in PyTorch

struct Sizes {
    int32_t length = 2048;  // of the timed instance
    int32_t heads = 4;
    int32_t dim = 64;            // D and Dv
    int32_t check_length = 200;  // of the checked instance, at most: no multiple of a block
    int32_t repeats = 3;         // timed runs after one that is not timed; the median counts
};

// One line of the notebook's table.
struct Row {
    std::string operation;
    double forward_ms = 0.0;
    double gflops = 0.0;  // 2 (D + Dv) a pair that has a weight, whatever the kernel visits
    std::string schedule;
    vkattn::RowErrors check;
};

struct Outcome {
    const Example* example = nullptr;
    Instance timed, checked;
    int64_t pairs = 0;         // of the timed instance that have a weight, over all heads
    double attending = 0.0;    // the same in percent of all pairs
    vkattn::BlockMask blocks;  // of the timed instance, block_size x block_size
    std::array<Row, 3> rows;   // vkattn; vkattn causal; vkattn with the dense mask as a table

    bool ok() const;
};

// Exit statuses, as the help says.
constexpr int exit_right = 0, exit_failed = 1, exit_usage = 2;
int exit_status(const std::vector<Outcome>& outcomes);

// Thread class: one thread at a time.
class AttentionBench {
  public:
    // selector: as --device, "" the best device.
    static vkattn::Result<std::unique_ptr<AttentionBench>> create(std::string_view selector, const Sizes& sizes);

    // The device runs the C++ form; the reference that it is checked with follows the text form. All three rows are timed here and
    // now, so that whatever else the machine does weighs on all of them.
    vkattn::Result<Outcome> measure(const Example& example);

    const Sizes& sizes() const { return sizes_; }
    const vkattn::Capabilities& capabilities() const { return engine_->capabilities(); }
    uint64_t pipelines_created() const { return engine_->pipelines_created(); }
    bool device_clock() const { return device_clock_; }

  private:
    // A mask and score mod to run, with the values of both instances.
    struct Job {
        std::string operation;
        vkattn::Mask mask;
        vkattn::ScoreMod score_mod;
        vkattn::Schedule schedule;
        const Instance& timed;
        const Instance& checked;
    };

    AttentionBench() = default;
    vkattn::Shape shape_of(const Instance& instance) const;
    vkattn::Result<vkattn::ReferenceOutput> reference(const vkattn::Mask& mask, const vkattn::ScoreMod& score_mod,
                                                      const Instance& instance) const;
    vkattn::Result<Row> run(const Job& job, const vkattn::ReferenceOutput& expected, int64_t pairs);
    vkattn::Result<Row> run_causal(const Instance& timed, const Instance& checked);
    vkattn::Result<Row> run_dense(const Example& example, const Outcome& outcome,
                                  const vkattn::ReferenceOutput& expected);

    Sizes sizes_;
    bool device_clock_ = true;
    std::vector<float> q_values_, k_values_, v_values_;
    // In the order of dependence: what is below uses what is above.
    std::unique_ptr<vkattn::ShaderCompiler> compiler_;
    std::unique_ptr<vkattn::support::Device> device_;
    std::unique_ptr<vkattn::Engine> engine_;
    vkattn::support::Buffer q_, k_, v_, o_;
};

}  // namespace flex_notebook
