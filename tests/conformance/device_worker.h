// What a worker does with one device: every path, every case, then the benchmark; each step is an event (supervise.h).
#pragma once

#include "case_table.h"
#include "supervise.h"
#include "tested_paths.h"

namespace vkattn_tests {

struct Task {
    size_t device = 0;  // as Instance::devices has them
    bool validation = false, benchmark = true;
    // --quick: all cases and calls of the benchmark only on "automatic"; on other scalar paths half of the cases, in turns, and one
    // call.
    bool brief = false;
    std::vector<const TestedPath*> paths;
    std::vector<TestedCase> cases;
};

// Whether the path is tested with task.cases[i]. In a brief task each case meets one of the two halves of every kind of path.
bool is_tested(const Task& task, const TestedPath& path, size_t i);
// Steps that progress counts: cases and calls of the benchmark.
size_t steps_of(const Task& task);
// How a failing case is run again.
std::string replay_line(size_t device, const TestedPath& path, const AttentionCase& attention_case);

void test_device(const Task& task, size_t first_path, const Emit& emit);

}  // namespace vkattn_tests
