// One case by one path on one device: run, judged, and run again where bits count.
#pragma once

#include <memory>
#include <string>

#include "case_table.h"
#include "harness/judge.h"
#include "support/device.h"
#include "tested_paths.h"
#include "vkattn/compiler.h"

namespace vkattn_tests {

struct CaseOutcome {
    enum class State : uint8_t { right, wrong, refused } state = State::right;
    std::string words;       // what is wrong, or why plan() refuses
    Verdict verdict;         // of the first run, where there was one
    std::string kernel;      // "rows list address"
    bool bits_same = false;  // tested, and so
    bool lost = false;       // the device is gone
};

// What of a case does not depend on the path: made once.
struct PreparedCase {
    Inputs inputs;
    Judge judge;
};
vkattn::Result<PreparedCase> prepare(const AttentionCase& attention_case);

class CaseRunner {
  public:
    // `compiler` may be null: then only what was compiled ahead of time runs. Both outlive the runner.
    CaseRunner(const vkattn::support::Device& device, const vkattn::ShaderCompiler* compiler);

    // Why the device does not offer the path; empty: it does.
    std::string why_not(const TestedPath& path);
    CaseOutcome run(const TestedPath& path, const AttentionCase& attention_case, const PreparedCase& prepared,
                    bool bits);
    // The device's engine, or one that does not see what the path goes without.
    vkattn::Result<vkattn::Engine*> engine(const TestedPath& path);

  private:
    const vkattn::support::Device& device_;
    const vkattn::ShaderCompiler* compiler_;
    std::unique_ptr<vkattn::Engine> engines_[3];
};

}  // namespace vkattn_tests
