// vkattn-devices: keeps reports of checked devices in docs/devices/ and writes docs/devices.md from all of them.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <new>

#include <CLI/CLI.hpp>

#include "checked_devices.h"
#include "cli/command.h"
#include "support/file.h"

namespace vkattn_tests {
namespace {

using vkattn::Code;
using vkattn::Result;
using vkattn::Status;
namespace fs = std::filesystem;

Result<std::vector<CheckedDevice>> read_report_file(const fs::path& path) {
    constexpr uint64_t max_bytes = 16u << 20;
    auto bytes = vkattn::support::read_file(path, max_bytes);
    if (!bytes) return bytes.status();
    auto devices = read_device_report({reinterpret_cast<const char*>(bytes->data()), bytes->size()});
    if (!devices) return vkattn::cli::about(path.string(), devices.status());
    return devices;
}

// All of docs/devices, by file name.
Result<std::map<std::string, CheckedDevice>> read_kept(const fs::path& folder) {
    std::map<std::string, CheckedDevice> kept;
    std::error_code problem;
    if (!fs::is_directory(folder, problem))
        return vkattn::error(Code::invalid_argument, "there is no folder " + folder.string() +
                                                         "; run this in the repository, or name its docs with --docs");
    for (const auto& entry : fs::directory_iterator(folder, problem)) {
        if (entry.path().extension() != ".json") continue;
        auto devices = read_report_file(entry.path());
        if (!devices) return devices.status();
        if (devices->size() != 1 || devices->front().file != entry.path().filename().string())
            return vkattn::error(Code::invalid_argument,
                                 entry.path().string() + ": the file of this device would be " + devices->front().file +
                                     "; reports are added with 'vkattn-devices FILE', not copied here");
        kept[devices->front().file] = std::move(devices->front());
    }
    if (problem) return vkattn::error(Code::invalid_argument, folder.string() + ": " + problem.message());
    return kept;
}

int run(const std::vector<std::string>& reports, const fs::path& docs, bool check) {
    const auto fail = [](const Status& status) {
        std::fprintf(stderr, "vkattn-devices: %s\n", status.message.c_str());
        return vkattn::cli::exit_usage;
    };
    // All are read before anything is written.
    auto kept = read_kept(docs / "devices");
    if (!kept) return fail(kept.status());
    std::vector<CheckedDevice> added;
    for (const std::string& report : reports) {
        auto devices = read_report_file(report);
        if (!devices) return fail(devices.status());
        added.insert(added.end(), devices->begin(), devices->end());
    }
    for (const CheckedDevice& device : added) (*kept)[device.file] = device;
    std::vector<CheckedDevice> all;
    for (const auto& [file, device] : *kept) all.push_back(device);
    const std::string page = devices_page(all);
    const fs::path page_path = docs / "devices.md";
    if (check) {
        auto written = vkattn::support::read_file(page_path);
        if (written && std::equal(written->begin(), written->end(), page.begin(), page.end()))
            return vkattn::cli::exit_ok;
        std::fprintf(stderr, "vkattn-devices: %s is not what the reports in %s give; run vkattn-devices\n",
                     page_path.string().c_str(), (docs / "devices").string().c_str());
        return vkattn::cli::exit_failed;
    }
    for (const CheckedDevice& device : added) {
        const fs::path path = docs / "devices" / device.file;
        if (Status status = vkattn::support::write_file(path, to_text(device)); !status.ok()) return fail(status);
        std::printf("kept: %s\n", path.string().c_str());
    }
    if (Status status = vkattn::support::write_file(page_path, page); !status.ok()) return fail(status);
    std::printf("written: %s, %zu devices\n", page_path.string().c_str(), all.size());
    return vkattn::cli::exit_ok;
}

int run_program(int argc, char** argv) {
    CLI::App app("The table of devices that were checked: keeps what it needs of reports in docs/devices/ and writes "
                 "docs/devices.md from all that is there.",
                 "vkattn-devices");
    std::vector<std::string> reports;
    std::string docs = "docs";
    bool check = false;
    app.get_formatter()->enable_footer_formatting(false);
    app.add_option("REPORT", reports,
                   "Reports to add: vkattn-conformance.json of anybody, build/vendors/KEY.json of "
                   "tests/vendors.sh; one of the same device and driver is replaced")
        ->type_name("FILE");
    app.add_option("--docs", docs, "The folder of devices.md and devices/ [docs]")->type_name("DIR");
    auto* check_flag =
        app.add_flag("--check", check, "Write nothing; exit code 1 if the page is not what the reports give");
    check_flag->excludes("REPORT");
    app.footer(
        "Examples:\n"
        "  build/bin/vkattn-devices vkattn-conformance.json\n"
        "  build/bin/vkattn-devices --check\n"
        "\nTo take a device out, delete its file in docs/devices and run vkattn-devices.\n"
        "\nExit codes: 0 written, or as it should be; 1 --check found another page; 2 bad usage or a bad report.");
    try {
        app.parse(argc, argv);
    } catch (const CLI::Success& help) { return app.exit(help); } catch (const CLI::ParseError& problem) {
        std::fprintf(stderr, "vkattn-devices: %s\nTry 'vkattn-devices --help'.\n", problem.what());
        return vkattn::cli::exit_usage;
    }
    return run(reports, docs, check);
}

}  // namespace
}  // namespace vkattn_tests

int main(int argc, char** argv) {
    try {
        return vkattn_tests::run_program(argc, argv);
    } catch (const std::bad_alloc&) {
        std::fputs("vkattn-devices: there is not enough memory for this\n", stderr);
        return 1;
    }
}
