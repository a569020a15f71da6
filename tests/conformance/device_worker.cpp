#include "device_worker.h"

#include <algorithm>
#include <optional>

#include "bench/measurement.h"
#include "case_runner.h"
#include "device_facts.h"
#ifdef VKATTN_TEST_WITH_COMPILER
#include "vkattn/shaderc_compiler.h"
#endif

namespace vkattn_tests {
namespace {

using vkattn::bench::BenchCase;
using vkattn::support::Device;
using vkattn::support::Instance;
using vkattn::support::Validation;

// References that are kept for the next path; a full table's would fill the memory.
constexpr size_t most_kept = 64;

std::vector<BenchCase> benchmark_of(const TestedPath& path, bool brief) {
    const struct {
        const char *label, *mask;
        vkattn::Shape shape;
        int32_t dim;
    } calls[] = {{"causal", "causal()", {1, 8, 8, 1024, 1024}, 64},
                 {"window of 256 keys", "sliding_window(255)", {1, 8, 8, 2048, 2048}, 128},
                 {"decode", "true", {1, 8, 8, 1, 8192}, 128}};
    std::vector<BenchCase> cases;
    for (const auto& call : calls) {
        BenchCase c;
        c.label = call.label;
        c.mask = call.mask;
        c.shape = call.shape;
        c.head_dim = call.dim;
        c.type = vkattn::ElementType::f16;
        c.kernel = {.path = path.path, .skeleton = path.skeleton, .addressing = path.addressing, .widen = path.widen};
        if (brief && path.name != "automatic" && !cases.empty()) break;
        if (path.benchmarked && 2 * call.dim <= path.max_dims) cases.push_back(std::move(c));
    }
    return cases;
}

class DeviceTest {
  public:
    DeviceTest(const Task& task, const Emit& emit, const Device& device, const vkattn::ShaderCompiler* compiler)
        : task_(task), emit_(emit), device_(device), runner_(device, compiler), prepared_(task.cases.size()) {}

    bool open() {
        auto engine = runner_.engine(TestedPath{});
        if (!engine) return stop(engine.status().message);
        emit_({{"event", "device"}, {"facts", facts_of(device_, (*engine)->capabilities())}});
        return true;
    }

    // False: the device cannot go on.
    bool test(const TestedPath& path) {
        const std::string why_not = runner_.why_not(path);
        if (!why_not.empty()) {
            emit_({{"event", "not_available"}, {"path", path.name}, {"reason", why_not}});
            return true;
        }
        size_t cases = 0;
        for (size_t i = 0; i < task_.cases.size(); i++) cases += is_tested(task_, path, i) ? 1 : 0;
        emit_({{"event", "path"}, {"path", path.name}, {"cases", cases}});
        for (size_t i = 0; i < task_.cases.size(); i++)
            if (is_tested(task_, path, i) && !run(path, i)) return false;
        if (task_.benchmark)
            for (const BenchCase& one : benchmark_of(path, task_.brief))
                if (!measure(path, one)) return false;
        emit_({{"event", "path_end"}});
        return true;
    }

  private:
    bool stop(const std::string& words) {
        emit_({{"event", "stop"}, {"words", words}});
        return false;
    }

    bool run(const TestedPath& path, size_t i) {
        const TestedCase& one = task_.cases[i];
        emit_(
            {{"event", "begin"}, {"case", one.name}, {"replay", replay_line(task_.device, path, one.attention_case)}});
        std::optional<PreparedCase>& kept = prepared_[i];
        if (!kept) {
            auto prepared = prepare(one.attention_case);
            if (!prepared) {
                emit_({{"event", "case"}, {"state", "wrong"}, {"words", prepared.status().message}});
                return true;
            }
            kept = std::move(*prepared);
        }
        const CaseOutcome outcome = runner_.run(path, one.attention_case, *kept, one.bits);
        if (i >= most_kept) kept.reset();
        if (outcome.lost) return stop(outcome.words);
        const bool right = outcome.state == CaseOutcome::State::right;
        const bool tested = one.bits && outcome.state != CaseOutcome::State::refused;
        emit_({{"event", "case"},
               {"state", right                                          ? "right"
                         : outcome.state == CaseOutcome::State::refused ? "refused"
                                                                        : "wrong"},
               {"words", outcome.words},
               {"error", outcome.verdict.worst},
               {"bound", outcome.verdict.bound},
               {"kernel", outcome.kernel},
               {"bits", !tested             ? 0
                        : outcome.bits_same ? 2
                                            : 1}});
        return true;
    }

    bool measure(const TestedPath& path, const BenchCase& one) {
        const std::string name = one.label + " " + size_text(one) + " f16";
        emit_({{"event", "begin"},
               {"case", "benchmark: " + name},
               {"replay", "vkattn-bench --device " + std::to_string(task_.device) + " --mask '" + one.mask +
                              "' --shape " + size_text(one) + " --type f16"}});
        const auto skipped = [&](const std::string& why) {
            emit_({{"event", "figure"}, {"call", name}, {"skipped", why}});
            return true;
        };
        auto engine = runner_.engine(path);
        if (!engine) return skipped(engine.status().message);
        vkattn::bench::Budget budget;
        budget.run_ms = 150.0;
        budget.estimate_ms = 400.0;
        const auto result = vkattn::bench::measure_case(device_, **engine, one, {}, budget);
        if (!result && result.status().vk_result == VK_ERROR_DEVICE_LOST) return stop(result.status().message);
        if (!result) return skipped(result.status().message);
        if (!result->skipped.empty()) return skipped(result->skipped);
        if (!result->check.ok()) {
            emit_({{"event", "case"},
                   {"state", "wrong"},
                   {"words", "row error " + std::to_string(result->check.worst) + " is above the bound " +
                                 std::to_string(result->check.bound)}});
            return skipped("the result is wrong");
        }
        const auto efficiency = vkattn::bench::efficiency_of(*result, {});
        emit_({{"event", "figure"},
               {"call", name},
               {"ms_median", result->device.median},
               {"ms_min", result->device.min},
               {"gflops", efficiency.gflops},
               {"gb_per_s", efficiency.gb_per_s},
               {"clock", result->device_clock ? "device" : "host"}});
        return true;
    }

    const Task& task_;
    const Emit& emit_;
    const Device& device_;
    CaseRunner runner_;
    std::vector<std::optional<PreparedCase>> prepared_;
};

}  // namespace

bool is_tested(const Task& task, const TestedPath& path, size_t i) {
    if (!takes(path, task.cases[i].attention_case)) return false;
    const bool takes_few = path.lists != Lists::runs || path.path == vkattn::Path::khr || path.path == vkattn::Path::nv;
    if (!task.brief || task.paths.size() == 1 || path.name == "automatic" || takes_few) return true;
    const auto index = static_cast<size_t>(&path - tested_paths().data());  // neighbours are of one kind
    return (index + i) % 2 == 0;
}

size_t steps_of(const Task& task) {
    size_t steps = 0;
    for (const TestedPath* path : task.paths) {
        for (size_t i = 0; i < task.cases.size(); i++) steps += is_tested(task, *path, i) ? 1 : 0;
        if (task.benchmark) steps += benchmark_of(*path, task.brief).size();
    }
    return steps;
}

std::string replay_line(size_t device, const TestedPath& path, const AttentionCase& c) {
    return "vkattn-conformance --device " + std::to_string(device) + " --replay '" + std::string(path.name) + ": " +
           to_text(on_path(path, c)) + "'";
}

void test_device(const Task& task, size_t first_path, const Emit& emit) {
    const auto stop = [&](const vkattn::Status& status) { emit({{"event", "stop"}, {"words", status.message}}); };
    auto instance = Instance::create(task.validation ? Validation::synchronization : Validation::off);
    if (!instance) return stop(instance.status());
    vkattn::support::DeviceOptions options;
    options.validation = task.validation ? Validation::synchronization : Validation::off;
    auto device = Device::create(*instance, task.device, options);
    if (!device) return stop(device.status());
    std::unique_ptr<vkattn::ShaderCompiler> compiler;
#ifdef VKATTN_TEST_WITH_COMPILER
    compiler = vkattn::make_shaderc_compiler();
#endif
    DeviceTest test(task, emit, **device, compiler.get());
    if (!test.open()) return;
    for (size_t i = first_path; i < task.paths.size(); i++)
        if (!test.test(*task.paths[i])) return;
    emit({{"event", "end"}});
}

}  // namespace vkattn_tests
