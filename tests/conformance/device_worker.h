// What a worker does with one device: every path, every case, then the benchmark; each step is an event (supervise.h).
#pragma once

#include "case_table.h"
#include "supervise.h"
#include "tested_paths.h"

namespace vkattn_tests {

struct Task {
    size_t device = 0;  // as Instance::devices has them
    bool validation = false, benchmark = true;
    bool brief = false;  // the benchmark: all calls only for "automatic", one for other paths
    std::vector<const TestedPath*> paths;
    std::vector<TestedCase> cases;
};

// Steps that progress counts: cases and calls of the benchmark.
size_t steps_of(const Task& task);
// How a failing case is run again.
std::string replay_line(size_t device, const TestedPath& path, const AttentionCase& attention_case);

void test_device(const Task& task, size_t first_path, const Emit& emit);

}  // namespace vkattn_tests
