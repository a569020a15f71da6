// The search for a kernel and sizes that are faster than plan()'s own for one problem on one device: a greedy walk over
// Engine::neighbours, in which nothing counts whose result is not right.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "attention_run.h"
#include "vkattn/reference.h"

namespace vkattn::cli {

enum class Verdict : uint8_t {
    faster,   // than the best so far, by more than the spread
    slower,   // or not faster by more than the spread
    wrong,    // its result is not this attention's, or not the same twice
    refused,  // the driver or the compiler does not make it
};

struct Attempt {
    KernelSizes sizes;
    Verdict verdict = Verdict::slower;
    std::string words;   // what was wrong, or why it was refused
    double ms = 0.0;     // median
    double ratio = 0.0;  // to the best so far, run in turns: the median, and the median distance from it
    double spread = 0.0;
    double seconds = 0.0;  // that the attempt took, compiling included
};

struct Tuned {
    TuningKey key;
    KernelSizes own;  // plan()'s
    double own_ms = 0.0;
    RowErrors own_errors;  // on the sampled rows
    bool device_clock = true;
    std::vector<Attempt> attempts;
    // Nothing: own stays. Else against own, in turns, after the search: the winner of many is partly the luckiest.
    std::optional<TunedSizes> found;
    double ratio = 1.0, spread = 0.0;
    size_t untried = 0;  // neighbours of the best that the budget did not suffice for
};

struct TunerLimits {
    double budget_s = 60.0;  // no attempt begins that is not expected to end within it
    size_t min_pairs = 3, max_pairs = 11;
    double least_gain = 0.02;  // of the time; less is not worth an entry
};

// The engine has no tuning table. `tried` hears of each attempt. Errors: the machinery failed, or own's result is wrong.
Result<Tuned> tune_problem(const support::Device& device, Engine& engine, const AttentionTensors& tensors,
                           const Description& description, const BlockMask& block_mask, const RunWishes& wishes,
                           const TunerLimits& limits, const std::function<void(const Tuned&)>& tried);

// What differs: "step_keys 8 -> 4", or all of `sizes` where it is another kernel.
std::string difference(const KernelSizes& own, const KernelSizes& sizes);

}  // namespace vkattn::cli
