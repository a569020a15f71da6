// vkattn-conformance: is vkattn right on this machine's devices, and how fast?
#include <cstdio>
#include <filesystem>
#include <new>

#include <CLI/CLI.hpp>

#include "bench/progress.h"
#include "cli/checks.h"
#include "cli/command.h"
#include "device_facts.h"
#include "device_worker.h"
#include "harness/inputs.h"
#include "support/file.h"

namespace vkattn_tests {
namespace {

using vkattn::Code;
using vkattn::Result;
using vkattn::Status;
using vkattn::cli::exit_failed;
using vkattn::cli::exit_ok;
using vkattn::cli::exit_usage;

struct Options {
    bool quick = false, full = false, list = false, validate = false, no_bench = false;
    std::string device, path, only, replay, json, html;
    int32_t timeout_s = 300;
    Table table() const { return quick ? Table::quick : full ? Table::full : Table::standard; }
    const char* table_name() const { return quick ? "quick" : full ? "full" : "standard"; }
};

int usage(const std::string& message) {
    std::fprintf(stderr, "vkattn-conformance: %s\n", message.c_str());
    return exit_usage;
}

constexpr const char* platform =
#if defined(_WIN32)
    "Windows"
#elif defined(__APPLE__)
    "macOS"
#elif defined(__ANDROID__)
    "Android"
#elif defined(__linux__)
    "Linux"
#else
    "another system"
#endif
#if defined(__x86_64__) || defined(_M_X64)
    " x86-64";
#elif defined(__aarch64__) || defined(_M_ARM64)
    " arm64";
#else
    ", another processor";
#endif

// "PATH: mask=causal ..." as failures print it.
Status take_replay(const std::string& line, Task& task) {
    const size_t colon = line.find(':');
    const TestedPath* path = find_path(std::string_view(line).substr(0, colon));
    if (colon == std::string::npos || path == nullptr)
        return vkattn::error(Code::invalid_argument,
                             "'" + line.substr(0, colon) +
                                 "' is no path; a line is 'PATH: mask=causal d=64 ...' with one of" + path_names());
    auto read = read_case(std::string_view(line).substr(colon + 1));
    if (!read) return read.status();
    if (!takes(*path, *read))
        return vkattn::error(Code::invalid_argument,
                             std::string(path->name) +
                                 (path->lists != Lists::runs
                                      ? " takes only schedule=list"
                                      : " takes only d + dv up to " + std::to_string(path->max_dims)));
    if (auto inputs = inputs_for(*read); !inputs) return inputs.status();
    task.paths = {path};
    task.cases = {{"replay", *read, true, true}};
    task.benchmark = false;
    return {};
}

Status choose(const Options& options, Task& task) {
    task.validation = options.validate;
    task.benchmark = !options.no_bench;
    task.brief = options.quick;
    if (!options.replay.empty()) return vkattn::cli::about("--replay", take_replay(options.replay, task));
    for (const TestedPath& path : tested_paths())
        if (options.path.empty() || path.name == options.path) task.paths.push_back(&path);
    if (task.paths.empty())
        return vkattn::error(Code::invalid_argument, "--path: '" + options.path + "' is none of" + path_names());
    task.cases = case_table(options.table());
    std::erase_if(task.cases, [&](const TestedCase& c) { return c.name.find(options.only) == std::string::npos; });
    if (task.cases.empty())
        return vkattn::error(Code::invalid_argument, std::string("--only: no case of the ") + options.table_name() +
                                                         " table has '" + options.only +
                                                         "' in its name; --list shows them");
    return {};
}

// Drivers are loaded in another process: {"devices": [...]} or {"error": "...", "usage": true}.
std::string devices_text(const std::string& selector) {
    Json found = {{"devices", Json::array()}};
    const auto failed = [](const Status& status) {
        return Json{{"error", status.message}, {"usage", status.code == Code::invalid_argument}}.dump(
            -1, ' ', false, Json::error_handler_t::replace);
    };
    auto instance = vkattn::support::Instance::create();
    if (!instance) return failed(instance.status());
    const auto& devices = (*instance)->devices();
    size_t first = 0, end = devices.size();
    if (!selector.empty() || devices.empty()) {
        auto index = choose_device(devices, selector);
        if (!index) return failed(vkattn::cli::about(selector.empty() ? "devices" : "--device", index.status()));
        first = *index;
        end = first + 1;
    }
    for (size_t i = first; i < end; i++)
        found["devices"].push_back({{"index", i},
                                    {"device", devices[i].name},
                                    {"driver", devices[i].driver},
                                    {"api", vkattn::support::version_text(devices[i].api_version)}});
    return found.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<std::vector<DeviceResult>> find_devices(const std::string& selector, const Task& task) {
    const auto work = [&] { return devices_text(selector); };
    auto text = vkattn::support::in_fresh_process({}, work);
    if (!text && text.status().code == Code::unsupported) text = work();
    if (!text)
        return vkattn::error(Code::device_error,
                             "a driver crashes while the devices are listed: " + text.status().message);
    const Json found = Json::parse(*text, nullptr, false);
    if (!found.is_object() || found.contains("error"))
        return vkattn::error(found.is_object() && found.value("usage", false) ? Code::invalid_argument
                                                                              : Code::unsupported,
                             found.is_object() ? found.value("error", "") : "the list of devices cannot be read");
    std::vector<DeviceResult> devices;
    for (const Json& one : found["devices"]) {
        DeviceResult device;
        device.index = one["index"].get<size_t>();
        device.name = one["device"].get<std::string>();
        device.driver = one["driver"].get<std::string>();
        device.api = one["api"].get<std::string>();
        for (const TestedPath* path : task.paths) {
            PathResult result;
            result.name = path->name;
            result.meaning = path->meaning;
            device.paths.push_back(std::move(result));
        }
        devices.push_back(std::move(device));
    }
    return devices;
}

int list() {
    std::printf("paths\n");
    for (const TestedPath& path : tested_paths())
        std::printf("  %-20s %s\n", std::string(path.name).c_str(), std::string(path.meaning).c_str());
    std::printf("\ncases (* in --quick, = bit for bit); --full adds a pairwise table\n");
    for (const TestedCase& one : case_table(Table::standard))
        std::printf("  %c%c %s\n       %s\n", one.quick ? '*' : ' ', one.bits ? '=' : ' ', one.name.c_str(),
                    to_text(one.attention_case).c_str());
    return exit_ok;
}

Status save(const std::string& path, const char* flag, const std::string& text) {
    return path.empty() ? Status() : vkattn::cli::about(flag, vkattn::support::write_file(path, text));
}

int run(const Options& options) {
    Task task;
    if (Status status = choose(options, task); !status.ok()) return usage(status.message);
    Report report;
    report.version = VKATTN_CONFORMANCE_VERSION;
    report.table = options.replay.empty() ? options.table_name() : "replay";
    report.platform = platform;
    if (!options.path.empty()) report.selection = "--path " + options.path;
    if (!options.only.empty()) report.selection += (report.selection.empty() ? "--only " : " --only ") + options.only;
    report.validation = options.validate;
    const auto save_both = [&]() -> Status {
        Status json = save(options.json, "--json", to_json(report));
        return json.ok() ? save(options.html, "--html", to_html(report)) : json;
    };
    if (Status status = save_both(); !status.ok()) return usage(status.message);  // before minutes are spent

    auto devices = find_devices(options.device, task);
    if (!devices) {
        std::fprintf(stderr, "vkattn-conformance: %s\n", devices.status().message.c_str());
        return devices.status().code == Code::invalid_argument ? exit_usage : exit_failed;
    }
    report.devices = std::move(*devices);
    vkattn::bench::Progress progress(steps_of(task) * report.devices.size());
    Supervision supervision;
    supervision.timeout_s = options.timeout_s;
    for (DeviceResult& device : report.devices) {
        task.device = device.index;
        supervision.on_begin = [&](const std::string& what, bool is_case) {
            report.seconds = progress.seconds();
            if (is_case) progress.begin(std::to_string(device.index) + ": " + what, true);
            else progress.note(std::to_string(device.index) + ": " + what);
            // Lost on the way: said at the end, when both are written again.
            static_cast<void>(is_case ? save(options.json, "--json", to_json(report)) : save_both());
        };
        supervise(
            device, [&](size_t first_path, const Emit& emit) { test_device(task, first_path, emit); }, supervision);
        progress.hide();
        std::printf("%s\n", to_text(device).c_str());
        std::fflush(stdout);
    }
    report.finished = true;
    report.seconds = progress.seconds();
    if (Status status = save_both(); !status.ok()) return usage(status.message);
    if (!options.json.empty()) std::printf("written: %s", options.json.c_str());
    if (!options.html.empty()) std::printf("%s%s", options.json.empty() ? "written: " : ", ", options.html.c_str());
    if (!options.json.empty() || !options.html.empty()) std::printf("\n");
    if (!report.failed()) return exit_ok;
    std::fprintf(stderr, "vkattn-conformance: %s\n",
                 report.devices.empty() ? "there is no device" : "a path failed; please attach the report to an issue");
    return exit_failed;
}

int run_program(int argc, char** argv) {
    CLI::App app("Is vkattn right on your GPU? Tests every path that each Vulkan device of this machine offers against "
                 "float64, then "
                 "whether results repeat bit for bit, then times a few calls. Ends with a table and a report to attach "
                 "to an issue.",
                 "vkattn-conformance");
    Options o;
    app.get_formatter()->column_width(32);
    app.get_formatter()->enable_footer_formatting(false);
    auto* quick = app.add_flag("--quick", o.quick,
                               "Fewer cases: half a minute on lavapipe, a minute and a quarter on SwiftShader");
    auto* full =
        app.add_flag("--full", o.full, "Also a pairwise table of everything: about an hour on a software device");
    app.add_option("--device", o.device,
                   "Only this device: number, kind or part of its name, see 'vkattn devices' [all]")
        ->type_name("N|NAME");
    auto* path = app.add_option("--path", o.path, "Only this path [all; --list shows them]")->type_name("NAME");
    auto* only = app.add_option("--only", o.only, "Only cases whose name contains TEXT")->type_name("TEXT");
    auto* list_flag = app.add_flag("--list", o.list, "Print paths and cases and stop; no device is used");
    auto* replay = app.add_option("--replay", o.replay,
                                  "One case again, as a failure prints it; writes only the files that are named")
                       ->type_name("LINE");
    app.add_option("--json", o.json, "Where the report goes [vkattn-conformance.json]")->type_name("F");
    app.add_option("--html", o.html, "The same as a page to be read [vkattn-conformance.html]")->type_name("F");
    app.add_flag("--no-bench", o.no_bench, "No benchmark");
    app.add_flag("--validate", o.validate, "Under the Khronos validation layer, core and synchronization; slower");
    app.add_option("--timeout", o.timeout_s, "Seconds without an answer after which a case counts as a hang [300]")
        ->check(vkattn::cli::whole_number(1, 86400))
        ->type_name("S");
    quick->excludes(full);
    for (CLI::Option* other : {quick, full, path, only, list_flag}) replay->excludes(other);
    app.footer("Verdicts: pass; FAIL (a wrong result, other bits in a second run, a write outside of a tensor); CRASH "
               "(the driver\n"
               "crashed, hung or lost the device: the case is named, and the next path goes on in a new process); not "
               "available\n"
               "(with the reason). The JSON file is rewritten before every case: after a crash of everything it still "
               "says what ran.\n"
               "Reports hold no names of users, machines or folders. docs/conformance.md has more.\n"
               "\nExamples:\n"
               "  vkattn-conformance                        all devices, then attach vkattn-conformance.json\n"
               "  vkattn-conformance --quick --device nvidia\n"
               "  vkattn-conformance --device 0 --path tiles-binding --only causal --no-bench\n"
               "  vkattn-conformance --device 0 --replay 'tiles-binding: mask=causal d=64 dv=64 lq=65 lkv=129'\n"
               "\nExit codes: 0 every offered path is right; 1 a path failed or a device cannot be used; 2 bad usage.");
    app.set_version_flag("--version", std::string("vkattn-conformance ") + VKATTN_CONFORMANCE_VERSION);
    try {
        app.parse(argc, argv);
    } catch (const CLI::Success& help) { return app.exit(help); } catch (const CLI::ParseError& problem) {
        return usage(std::string(problem.what()) + "\nTry 'vkattn-conformance --help'.");
    }
    if (o.list) return list();
    if (o.replay.empty() && o.json.empty()) o.json = "vkattn-conformance.json";
    if (o.replay.empty() && o.html.empty()) o.html = "vkattn-conformance.html";
    return run(o);
}

}  // namespace
}  // namespace vkattn_tests

int main(int argc, char** argv) {
    try {
        return vkattn_tests::run_program(argc, argv);
    } catch (const std::bad_alloc&) {
        std::fputs("vkattn-conformance: there is not enough memory for this\n", stderr);
        return 1;
    }
}
