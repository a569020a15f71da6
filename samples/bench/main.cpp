// vkattn-bench: how fast attention is on this device, against the device's own limits and against others.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <new>
#include <optional>

#include <CLI/CLI.hpp>

#include "../cli/attention_options.h"
#include "../cli/checks.h"
#include "../cli/command.h"
#include "../cli/run_time_compiler.h"
#include "../cli/tuning_file.h"
#include "block_growth.h"
#include "host_costs.h"
#include "measurement.h"
#include "progress.h"
#include "report.h"
#include "support/child_process.h"
#include "support/file.h"

namespace vkattn::bench {
namespace {

using cli::exit_failed;
using cli::exit_ok;
using cli::exit_usage;

struct Options {
    std::string suite, mask, score, shape, only, device, peers = "auto", python, json, csv, html, tuning;
    ElementType type = ElementType::f32;
    KernelWishes kernel;
    int32_t repeats = 0;  // 0: the suite's
    double max_ms = 0.0;  // 0: the suite's
    bool single() const { return !mask.empty() || !score.empty() || !shape.empty(); }
};

int fail(const Status& status) {
    std::fprintf(stderr, "vkattn-bench: %s\n", status.message.c_str());
    const bool usage = status.code == Code::invalid_argument || status.code == Code::invalid_text ||
                       status.code == Code::limit_exceeded;
    return usage ? exit_usage : exit_failed;
}

Budget budget_of(const Options& options) {
    Budget budget;
    // A peer's first answer may wait for a driver that compiles its kernels.
    if (options.suite == "full" || options.single()) budget.peer_timeout_ms = 300000.0;
    if (options.suite == "full") {
        budget.max_runs = 25;
        budget.run_ms = 3000.0;
        budget.estimate_ms = 20000.0;
    }
    if (options.repeats > 0)
        budget.min_runs = budget.min_rounds = budget.max_runs = static_cast<size_t>(options.repeats);
    if (options.max_ms > 0.0) budget.estimate_ms = options.max_ms;
    return budget;
}

// The suite's cases that --only leaves.
Result<std::vector<BenchCase>> cases_of_suite(const Options& options) {
    std::vector<BenchCase> cases = suite(options.suite);
    std::erase_if(cases, [&](const BenchCase& c) { return name_of(c).find(options.only) == std::string::npos; });
    if (cases.empty())
        return error(Code::invalid_argument, "--only: no case of suite " + options.suite + " has '" + options.only +
                                                 "' in its name; --list shows them");
    return cases;
}

// The flags' own case, or the suite's.
Result<std::vector<BenchCase>> choose_cases(const Options& options) {
    if (!options.single()) return cases_of_suite(options);
    BenchCase c;
    c.group = "single";
    if (!options.mask.empty()) c.mask = options.mask;
    if (!options.score.empty()) c.score = options.score;
    c.label = c.mask + (c.score == "score" ? "" : ", " + c.score);
    c.type = options.type;
    c.peers = true;
    c.kernel = options.kernel;
    if (Status status = parse_size(options.shape.empty() ? "1x8x1024x64" : options.shape, c); !status.ok())
        return cli::about("--shape", status);
    if (auto described = describe(c); !described) return described.status();  // before any device is asked
    return std::vector<BenchCase>{c};
}

// Where the device stands among those that the loader lists: how ggml names it.
uint32_t loader_index(const support::Instance& instance, VkPhysicalDevice device) {
    uint32_t count = 0;
    vkEnumeratePhysicalDevices(instance.handle(), &count, nullptr);
    std::vector<VkPhysicalDevice> devices(count);
    vkEnumeratePhysicalDevices(instance.handle(), &count, devices.data());
    return static_cast<uint32_t>(std::find(devices.begin(), devices.end(), device) - devices.begin());
}

void print_limits(const char* label, const DeviceLimits& limits) {
    std::printf("%s: multiply-add f32 %.1f GFLOP/s, f16 %s, read %.1f GB/s, copy %.1f GB/s\n", label, limits.f32_gflops,
                limits.f16_gflops ? (cli::fixed(*limits.f16_gflops, 1) + " GFLOP/s").c_str() : "not offered",
                limits.read_gb_per_s, limits.copy_gb_per_s);
    for (const MatrixLimit& limit : limits.matrix)
        std::printf("%s: %s %.1f GFLOP/s\n", label, text_of(limit).c_str(), limit.gflops);
}

void print_head(const Report& report) {
    std::printf("%s (%s)\n", report.device.c_str(), report.driver.c_str());
    if (!report.tuning.empty()) std::printf("tuning table %s\n", report.tuning.c_str());
    print_limits("limits", report.limits);
    for (const Peer& peer : report.peers)
        std::printf("peer %s: %s%s\n", peer.name.c_str(), peer.state == PeerState::present ? "" : "absent, ",
                    peer.what.c_str());
    std::printf("\n%-46s %10s %10s %9s %9s %8s  %s\n", "case", "ms median", "ms min", "spread", "GFLOP/s", "GB/s",
                "of the limit");
}

void print_case(const CaseResult& result, const DeviceLimits& limits) {
    const std::string name = name_of(result.bench_case);
    if (!result.skipped.empty()) {
        std::printf("%-46s skipped: %s\n", name.c_str(), result.skipped.c_str());
    } else if (!result.check.ok()) {
        std::printf("%-46s WRONG: worst row error %.2e, bound %.2e\n", name.c_str(), result.check.worst,
                    result.check.bound);
    } else {
        const Efficiency e = efficiency_of(result, limits);
        std::printf("%-46s %10.3f %10.3f %9.3f %9.1f %8.2f  %s\n", name.c_str(), result.device.median,
                    result.device.min, result.device.spread, e.gflops, e.gb_per_s, text_of(e).c_str());
    }
    for (const PeerResult& peer : result.peers) {
        if (peer.state == "measured")
            std::printf("    %-42s %10.3f %10.3f %9.3f  %.2f times ours (spread %.2f)\n", peer.name.c_str(),
                        peer.timings.median, peer.timings.min, peer.timings.spread, peer.ratio.median,
                        peer.ratio.spread);
        else if (peer.state != "absent")
            std::printf("    %-42s %s: %s\n", peer.name.c_str(), peer.state.c_str(), peer.why.c_str());
    }
    std::fflush(stdout);
}

void print_host_costs(const Report& report) {
    double plan_again_ms = 0.0, record_us = 0.0;
    for (const CaseResult& result : report.cases) {
        plan_again_ms = std::max(plan_again_ms, result.plan_again_ms);
        record_us = std::max(record_us, result.record_us);
    }
    std::printf("host, the most of all cases: the same plan again %.3f ms, record %.1f us\n", plan_again_ms, record_us);
    if (!report.block_masks.empty())
        std::printf("\n%-32s %10s %10s %10s\n", "block mask, 128 x 128", "positions", "ms median", "KiB");
    for (const BlockMaskResult& r : report.block_masks)
        std::printf("%-32s %10d %10.2f %10llu\n", r.mask.c_str(), r.positions, r.timings.median,
                    static_cast<unsigned long long>(r.bytes / 1024));
    if (!report.starts.empty())
        std::printf("\n%-32s %6s %9s %9s %9s %9s %12s %9s  %s\n", "start from nothing (medians)", "caches", "device ms",
                    "engine ms", "plan ms", "run ms", "after device", "least", "module");
    for (const StartResult& s : report.starts) {
        if (!s.failed.empty()) std::printf("%-32s %6s %s\n", s.mask.c_str(), s.caches.c_str(), s.failed.c_str());
        else
            std::printf("%-32s %6s %9.1f %9.1f %9.1f %9.1f %12.1f %9.1f  %s\n", s.mask.c_str(), s.caches.c_str(),
                        s.device.median, s.engine.median, s.plan.median, s.first_run.median, s.after_device.median,
                        s.after_device.min, s.module.c_str());
    }
}

Status write_files(const Options& options, const Report& report) {
    const struct {
        const char* flag;
        const std::string& path;
        std::string (*text)(const Report&);
    } files[] = {{"--json", options.json, to_json}, {"--csv", options.csv, to_csv}, {"--html", options.html, to_html}};
    for (const auto& [flag, path, text] : files) {
        if (path.empty()) continue;
        if (Status status = support::write_file(path, text(report)); !status.ok()) return cli::about(flag, status);
    }
    return {};
}

// Before minutes are spent: the folders of the files to be written are there.
Status check_folders(const Options& options) {
    const std::pair<const char*, const std::string&> files[] = {
        {"--json", options.json}, {"--csv", options.csv}, {"--html", options.html}};
    for (const auto& [flag, path] : files) {
        const auto folder = std::filesystem::path(path).parent_path();
        std::error_code ignored;
        if (!folder.empty() && !std::filesystem::is_directory(folder, ignored))
            return error(Code::io_error, std::string(flag) + ": there is no folder " + folder.string());
    }
    return {};
}

// Before starts from nothing are measured, which takes seconds: --device names one that is there. Asked in a process of its own,
// since those starts are forked from this one before a driver has threads here.
Status check_device(const std::string& selector) {
    auto answer = support::in_fresh_process({}, [&]() -> std::string {
        auto instance = support::Instance::create();
        if (!instance) return "";  // what else there is to say is said when the device is opened
        auto index = choose_device((*instance)->devices(), selector);
        return !index && index.status().code == Code::invalid_argument ? index.status().message : "";
    });
    if (!answer || answer->empty()) return {};
    return error(Code::invalid_argument, "--device: " + *answer);
}

// What a run holds while it measures.
struct Bench {
    std::shared_ptr<support::Instance> instance;
    std::unique_ptr<support::Device> device;
    std::unique_ptr<ShaderCompiler> compiler;
    std::unique_ptr<Engine> engine;
};

Result<Bench> open(const Options& options) {
    Bench bench;
    auto instance = support::Instance::create();
    if (!instance) return instance.status();
    bench.instance = std::move(*instance);
    auto index = choose_device(bench.instance->devices(), options.device);
    if (!index) return cli::about("--device", index.status());
    support::DeviceOptions device_options;
    device_options.shader_float16 = true;
    auto device = support::Device::create(bench.instance, *index, device_options);
    if (!device) return device.status();
    bench.device = std::move(*device);
    bench.compiler = cli::make_run_time_compiler();
    EngineOptions engine_options;
    engine_options.compiler = bench.compiler.get();
    if (!options.tuning.empty()) {
        auto table = cli::read_tuning_table(options.tuning);
        if (!table) return cli::about("--tuning", table.status());
        engine_options.tuning = std::make_shared<const TuningTable>(std::move(*table));
    }
    auto engine = Engine::create(bench.device->host(), engine_options);
    if (!engine) return engine.status();
    bench.engine = std::move(*engine);
    return bench;
}

int run(const Options& options) {
    auto cases = choose_cases(options);
    if (!cases) return fail(cases.status());
    if (Status status = check_folders(options); !status.ok()) return fail(status);
    const bool whole = !options.single();
    Report report;
    report.version = VKATTN_BENCH_VERSION;
    report.suite = whole ? options.suite : "none";
    Progress progress(cases->size() + 2 + (whole ? 3 : 0));
    if (whole) {
        if (Status status = check_device(options.device); !status.ok()) return fail(status);
        progress.begin("start from nothing, cold and warm");
        report.starts = measure_starts(options.device);
    }
    auto bench = open(options);
    if (!bench) return fail(bench.status());
    report.device = bench->device->info().name;
    report.driver = bench->device->info().driver;
    report.software = bench->engine->capabilities().software;
    report.tuning = options.tuning;

    progress.begin("the device's limits");
    constexpr double quick_limit_ms = 200.0, full_limit_ms = 2000.0;
    const double limit_ms = options.suite == "full" ? full_limit_ms : quick_limit_ms;
    auto limits = measure_limits(*bench->device, bench->engine->capabilities(), limit_ms);
    if (!limits) return fail(limits.status());
    report.limits = *limits;
    progress.begin("peers");
    if (options.peers == "auto")
        report.peers =
            find_peers(*bench->device, loader_index(*bench->instance, bench->device->info().handle), options.python);
    progress.hide();
    print_head(report);

    const Budget budget = budget_of(options);
    bool wrong = false;
    for (const BenchCase& one : *cases) {
        progress.begin(name_of(one));
        auto result = measure_case(*bench->device, *bench->engine, one, report.peers, budget);
        if (!result && whole && result.status().code == Code::unsupported) {  // no compiler, say
            CaseResult skipped;
            skipped.bench_case = one;
            skipped.skipped = result.status().message;
            result = std::move(skipped);
        }
        progress.hide();
        if (!result) return fail(cli::about(name_of(one), result.status()));
        wrong = wrong || (result->skipped.empty() && !result->check.ok());
        print_case(*result, report.limits);
        report.cases.push_back(std::move(*result));
    }
    if (whole) {
        progress.begin("the device's limits again");
        auto again = measure_limits(*bench->device, bench->engine->capabilities(), limit_ms);
        if (!again) return fail(again.status());
        report.limits = best_of(report.limits, *again);
        progress.hide();
        print_limits("limits, the better of before and after (as in the files)", report.limits);
        report.growth = fit_block_growth(report.cases);
        if (report.growth) std::printf("%s\n", text_of(*report.growth).c_str());
        progress.begin("block masks up to 1M positions");
        auto block_masks = measure_block_masks();
        if (!block_masks) return fail(block_masks.status());
        report.block_masks = std::move(*block_masks);
        progress.hide();
        print_host_costs(report);
    }
    report.seconds = progress.seconds();
    if (Status status = write_files(options, report); !status.ok()) return fail(status);
    if (!wrong) return exit_ok;
    std::fputs("vkattn-bench: a result is wrong (see WRONG above); its time is not reported\n", stderr);
    return exit_failed;
}

int list_cases(const Options& options) {
    auto cases = cases_of_suite(options);
    if (!cases) return fail(cases.status());
    for (const BenchCase& c : *cases) std::printf("%-10s %s\n", c.group.c_str(), name_of(c).c_str());
    return exit_ok;
}

int run_program(int argc, char** argv) {
    CLI::App app("How fast vkattn's attention is on a device: against what the device itself can do, measured in the "
                 "same run, and "
                 "against others on the same machine. Every case is checked against a float64 reference first.",
                 "vkattn-bench");
    Options o;
    bool list = false;
    app.get_formatter()->column_width(32);
    app.get_formatter()->enable_footer_formatting(false);
    auto* suite_flag =
        app.add_option("--suite", o.suite, "Which cases: quick (under 90 s on two cores) or full [quick]")
            ->check(cli::one_of({"quick", "full"}))
            ->type_name("quick|full");
    auto* only = app.add_option("--only", o.only, "Only the suite's cases whose name contains TEXT")->type_name("TEXT");
    auto* list_flag = app.add_flag("--list", list, "Print the cases that --suite and --only choose, and stop");
    auto* mask =
        app.add_option("--mask", o.mask, "One case instead of a suite: which pairs attend [true]")->type_name("TEXT");
    auto* score = app.add_option("--score", o.score, "One case: how a score changes [score]")->type_name("TEXT");
    auto* shape = app.add_option("--shape", o.shape, "One case: its size [1x8x1024x64]")
                      ->type_name("BxHqxHkvxLqxLkvxD | BxHxLxD");
    auto* type = cli::add_type_option(app, o.type, "One case: type of q, k, v and o [f32]");
    auto* path = cli::add_path_option(app, o.kernel.path, "One case: kernel family [auto]");
    auto* schedule =
        cli::add_schedule_option(app, o.kernel.schedule, "One case: how the kernel learns which keys to visit [auto]");
    cli::add_device_option(app, o.device);
    app.add_option("--peers", o.peers, "auto: those that are there; none [auto]")
        ->check(cli::one_of({"auto", "none"}))
        ->type_name("auto|none");
    app.add_option("--python", o.python, "The Python that may have torch [install_peers.sh's, else python3]")
        ->type_name("PROGRAM");
    app.add_option("--repeat", o.repeats,
                   "Timed runs of each case [as many as fit the suite's budget, at least 3, beside peers 5]")
        ->check(cli::whole_number(1, 100000))
        ->type_name("N");
    app.add_option("--max-ms", o.max_ms, "Skip cases whose single run is estimated to take longer [2000; full: 20000]")
        ->check(cli::whole_number(1, 100000000))
        ->type_name("MS");
    cli::add_tuning_option(app, o.tuning);
    app.add_option("--json", o.json, "Write all figures to this file")->type_name("F");
    app.add_option("--csv", o.csv, "Write a line for each case to this file")->type_name("F");
    app.add_option("--html", o.html, "Write a page with plots to this file; it needs nothing else")->type_name("F");
    for (CLI::Option* flag : {mask, score, shape, type, path, schedule})
        for (CLI::Option* other : {suite_flag, only, list_flag}) flag->excludes(other);
    app.footer(
        "Texts are those of 'vkattn run'; the table doc [keys] holds documents of lognormal lengths.\n"
        "\nExamples:\n"
        "  vkattn-bench --html bench.html\n"
        "  vkattn-bench --suite quick --only documents --peers none\n"
        "  vkattn-bench --mask 'causal() && document(doc)' --shape 1x32x8x4096x4096x128 --type f16 --json one.json\n"
        "\nms are medians by the device's clock; spread is the distance between the quartiles. GFLOP/s count 2 (D + "
        "Dv) for each\n"
        "pair that attends; GB/s q and o once, and once those rows of k and v that lie in a block which some query "
        "reads.\n"
        "'of the limit': time at the limit that binds over the median.\n"
        "Exit codes: 0 done; 1 a wrong result, or something failed; 2 bad usage or bad input text.");
    app.set_version_flag("--version", std::string("vkattn-bench ") + VKATTN_BENCH_VERSION);
    try {
        app.parse(argc, argv);
    } catch (const CLI::Success& help) { return app.exit(help); } catch (const CLI::ParseError& problem) {
        return fail(error(Code::invalid_argument, std::string(problem.what()) + "\nTry 'vkattn-bench --help'."));
    }
    const bool of_one_case = type->count() + path->count() + schedule->count() > 0;
    if (of_one_case && !o.single()) o.shape = "1x8x1024x64";
    if (o.suite.empty() && !o.single()) o.suite = "quick";
    return list ? list_cases(o) : run(o);
}

}  // namespace
}  // namespace vkattn::bench

int main(int argc, char** argv) {
    try {
        return vkattn::bench::run_program(argc, argv);
    } catch (const std::bad_alloc&) {
        std::fputs("vkattn-bench: there is not enough memory for this\n", stderr);
        return vkattn::bench::exit_failed;
    }
}
