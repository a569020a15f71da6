#include "host_costs.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <thread>

#include "../cli/run_time_compiler.h"
#include "support/child_process.h"
#include "vkattn/classify.h"

namespace vkattn::bench {
namespace {

using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point start) {
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

constexpr int block_mask_runs = 5, start_runs = 3;

// "device engine plan first-run module", or "error ...": what a fresh process hands back.
std::string first_result(const std::string& selector, const std::string& mask, const std::string& cache) {
    const auto failed = [](const Status& status) { return "error " + status.message; };
    BenchCase c;
    c.mask = mask;
    c.shape = {1, 8, 8, 1024, 1024};
    auto described = AttentionCase::describe(c);
    if (!described) return failed(described.status());

    auto start = Clock::now();
    auto device = support::Device::create(selector);
    if (!device) return failed(device.status());
    const double device_ms = ms_since(start);
    start = Clock::now();
    const auto compiler = cli::make_run_time_compiler();
    EngineOptions options;
    options.compiler = compiler.get();
    options.cache_directory = cache;
    auto engine = Engine::create((*device)->host(), options);
    if (!engine) return failed(engine.status());
    const double engine_ms = ms_since(start);
    const std::unique_ptr<AttentionCase> attention = std::move(*described);  // goes before its device
    if (Status status = attention->prepare(**device, **engine); !status.ok()) return failed(status);
    auto run = attention->run();
    if (!run) return failed(run.status());
    char text[256];
    std::snprintf(text, sizeof text, "%.6f %.6f %.6f %.6f %s", device_ms, engine_ms, attention->plan_ms(), run->wall_ms,
                  attention->report().module.c_str());
    return text;
}

struct Start {
    double device_ms = 0.0, engine_ms = 0.0, plan_ms = 0.0, first_run_ms = 0.0;
    std::string module;
};

Result<Start> start_once(const std::string& selector, const std::string& mask, const std::filesystem::path& folder) {
    std::error_code ignored;
    const std::filesystem::path drivers = folder / "driver", ours = folder / "vkattn";
    std::filesystem::create_directories(drivers, ignored);
    std::filesystem::create_directories(ours, ignored);
    // Mesa's and NVIDIA's names for the folder of a driver's compiled shaders.
    auto text = support::in_fresh_process(
        {{"MESA_SHADER_CACHE_DIR", drivers.string()}, {"__GL_SHADER_DISK_CACHE_PATH", drivers.string()}},
        [&] { return first_result(selector, mask, ours.string()); });
    if (!text) return text.status();
    Start start;
    char module[64] = "";
    if (std::sscanf(text->c_str(), "%lf %lf %lf %lf %63[^\n]", &start.device_ms, &start.engine_ms, &start.plan_ms,
                    &start.first_run_ms, module) != 5)
        return error(Code::device_error, text->starts_with("error ") ? text->substr(6) : "it said nothing");
    start.module = module;
    return start;
}

// One start in each of the folders.
StartResult starts_in(const std::vector<std::filesystem::path>& folders, const std::string& selector,
                      const std::string& mask, const std::string& caches) {
    StartResult result;
    result.mask = mask;
    result.caches = caches;
    std::vector<double> device_ms, engine_ms, plan_ms, first_run_ms, after_device_ms;
    for (const auto& folder : folders) {
        auto start = start_once(selector, mask, folder);
        if (!start) {
            result.failed = start.status().message;
            return result;
        }
        device_ms.push_back(start->device_ms);
        engine_ms.push_back(start->engine_ms);
        plan_ms.push_back(start->plan_ms);
        first_run_ms.push_back(start->first_run_ms);
        after_device_ms.push_back(start->engine_ms + start->plan_ms + start->first_run_ms);
        result.module = start->module;
    }
    result.device = summarise(std::move(device_ms));
    result.engine = summarise(std::move(engine_ms));
    result.plan = summarise(std::move(plan_ms));
    result.first_run = summarise(std::move(first_run_ms));
    result.after_device = summarise(std::move(after_device_ms));
    return result;
}

}  // namespace

Result<std::vector<BlockMaskResult>> measure_block_masks() {
    std::vector<BlockMaskResult> results;
    const auto measure = [&](const std::string& label, const std::string& mask, int32_t positions) -> Status {
        BenchCase c;
        c.mask = mask;
        c.shape = {1, 1, 1, positions, positions};
        auto described = describe(c);
        if (!described) return described.status();
        ClassifyOptions options;
        options.threads = static_cast<int32_t>(std::max(1u, std::thread::hardware_concurrency()));
        BlockMaskResult result;
        result.label = label;
        result.mask = mask;
        result.positions = positions;
        std::vector<double> times_ms;
        for (int i = 0; i < block_mask_runs; i++) {
            const auto start = Clock::now();
            auto blocks = create_block_mask(described->mask, c.shape, described->bindings, options);
            if (!blocks) return blocks.status();
            times_ms.push_back(ms_since(start));
            result.bytes = blocks->row_offsets.size() * sizeof(uint32_t) + blocks->runs.size() * sizeof(BlockRun);
            result.sparsity = blocks->sparsity();
        }
        result.timings = summarise(std::move(times_ms));
        results.push_back(std::move(result));
        return {};
    };
    const struct {
        int32_t positions;
        const char* natten;  // on a canvas of as many pixels
    } sizes[] = {{1 << 15, "natten(256, 128, 13, 13)"},
                 {1 << 18, "natten(512, 512, 13, 13)"},
                 {1 << 20, "natten(1024, 1024, 13, 13)"}};
    for (const auto& [positions, natten] : sizes) {
        const std::pair<const char*, std::string> entries[] = {
            {"causal", "causal()"},
            {"window 4096", "sliding_window(4095)"},
            {"documents", "causal() && document(doc)"},
            {"prefix LM", "prefix(" + std::to_string(positions / 4) + ")"},
            {"NATTEN 13x13", natten}};
        for (const auto& [label, mask] : entries)
            if (Status status = measure(label, mask, positions); !status.ok()) return status;
    }
    return results;
}

std::vector<StartResult> measure_starts(const std::string& device) {
    const auto now = Clock::now().time_since_epoch().count();
    std::error_code ignored;
    const auto root = std::filesystem::temp_directory_path(ignored) / ("vkattn-bench-start-" + std::to_string(now));
    std::vector<std::string> masks = {"causal()"};
    if (cli::has_run_time_compiler()) masks.push_back("causal() && (q - kv) % 7 != 3");  // no hook was built for it
    std::vector<StartResult> results;
    for (size_t i = 0; i < masks.size(); i++) {
        std::vector<std::filesystem::path> folders;
        for (int run = 0; run < start_runs; run++)
            folders.push_back(root / (std::to_string(i) + "-" + std::to_string(run)));
        for (const char* caches : {"cold", "warm"})  // each warm start in the folder of a cold one
            results.push_back(starts_in(folders, device, masks[i], caches));
    }
    std::filesystem::remove_all(root, ignored);
    return results;
}

}  // namespace vkattn::bench
