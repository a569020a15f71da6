// docs/devices.md is what its reports give; reports are strangers' files.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>

#include "checked_devices.h"
#include "harness/command_line.h"

using namespace vkattn_tests;
using vkattn::test::Printed;
using vkattn::test::run_program;
using vkattn::test::TemporaryFolder;
namespace fs = std::filesystem;

namespace {

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

std::string text_of(const fs::path& path) {
    auto bytes = vkattn::support::read_file(path);
    return bytes ? std::string(bytes->begin(), bytes->end()) : std::string();
}

// What vkattn-conformance writes of one device with one path that is right.
Report sound_report() {
    Report report;
    report.version = "0.1";
    report.table = "standard";
    report.platform = "Linux x86-64";
    report.finished = true;
    DeviceResult device;
    device.name = "Some GPU";
    device.driver = "its driver 1.2";
    device.api = "1.3.280";
    device.facts = {{"kind", "discrete GPU"},
                    {"subgroup_size", 32},
                    {"matrix_shapes", {"16x16x16 f16 f16 -> f32 subgroup", "16x16x16 f16 f16 -> f16 subgroup"}},
                    {"unknown", "left out"}};
    PathResult path;
    path.name = "automatic";
    path.begun = path.ended = true;
    path.cases = path.right = 40;
    device.paths = {path};
    path.name = "nv";
    path.not_available = "no reductions";
    device.paths.push_back(path);
    report.devices = {device};
    return report;
}

std::string refusal(const Json& report) {
    const auto devices = read_device_report(report.dump());
    return devices ? "" : devices.status().message;
}

const Json compiled = {{"means", "compiled"},
                       {"key", "navi31"},
                       {"stands_for", "AMD RDNA 3"},
                       {"device", "AMD Radeon RX 7900 XTX (RADV NAVI31)"},
                       {"driver", "radv Mesa 26.1.6"},
                       {"subgroup_sizes", "64 of 32 to 64"},
                       {"max_shared_bytes", 65536},
                       {"matrix_shapes", {"16x16x16 f16"}},
                       {"pipelines", 12},
                       {"over_budget", 0},
                       {"kernels", {{"attention_tiles", {{"pipelines", 12}, {"registers", 192}, {"occupancy", 8}}}}}};

}  // namespace

TEST_CASE("docs/devices.md is what the reports in docs/devices give") {
    const TemporaryFolder folder;
    const Printed check = run_program(folder, VKATTN_TEST_DEVICES_PROGRAM,
                                      {"--check", "--docs", std::string(VKATTN_TEST_SOURCE_DIR) + "/docs"});
    CHECK_MESSAGE(check.exit_code == 0, check.err);
}

TEST_CASE("a report of vkattn-conformance is trimmed, and what is kept reads as itself") {
    const auto devices = read_device_report(to_json(sound_report()));
    REQUIRE_MESSAGE(devices.ok(), devices.status().message);
    REQUIRE(devices->size() == 1);
    const CheckedDevice& device = devices->front();
    CHECK(device.file == "some-gpu-its-driver-1-2.json");
    CHECK_FALSE(device.report.contains("unknown"));
    CHECK(device.report["paths"]["automatic"]["right"] == 40);
    const auto again = read_device_report(to_text(device));
    REQUIRE_MESSAGE(again.ok(), again.status().message);
    CHECK(again->front().report == device.report);
    CHECK(again->front().file == device.file);
    const std::string page = devices_page(*devices);
    CHECK(has(page, "| `Some GPU` | `its driver 1.2` | `1.3.280` | `Linux x86-64` | 32 | `16x16x16 f16` | `0.1`, "
                    "`standard` | 1 (40 cases) | - | nv |\n"));
}

TEST_CASE("a path that is wrong is said to be wrong") {
    Report report = sound_report();
    report.devices[0].paths[0].right = 37;
    report.devices[0].paths[0].failures = {{"a case", "row error", "replay"}};
    const auto devices = read_device_report(to_json(report));
    REQUIRE_MESSAGE(devices.ok(), devices.status().message);
    CHECK(has(devices_page(*devices), "| 0 (0 cases) | automatic: FAIL, 37 of 40 right | nv |"));
}

TEST_CASE("pages do not depend on the order of devices") {
    auto devices = *read_device_report(to_json(sound_report()));
    devices.push_back(read_device_report(compiled.dump())->front());
    Json other = compiled;
    other["key"] = "navi33";
    devices.push_back(read_device_report(other.dump())->front());
    const std::string page = devices_page(devices);
    CHECK(has(page, "| `AMD RDNA 3` | `navi31` |"));
    CHECK(has(page, "| 12 | 192; 8 | - | - | 0 |"));
    std::reverse(devices.begin(), devices.end());
    CHECK(devices_page(devices) == page);
}

TEST_CASE("what a device calls itself is neither a path nor markup") {
    Report report = sound_report();
    report.devices[0].name = "../../etc/`x` | <script>[a](http://b)\n\x01 \xc3\xa9";
    const auto devices = read_device_report(to_json(report));
    REQUIRE_MESSAGE(devices.ok(), devices.status().message);
    const std::string& file = devices->front().file;
    CHECK(file == "etc-x-script-a-http-b-its-driver-1-2.json");
    CHECK(has(devices_page(*devices), "| `../../etc/'x' / <script>[a](http://b)?? ?` |"));
}

TEST_CASE("reports that are none, or not whole, are refused with what is wrong") {
    CHECK(has(read_device_report("{\"means\": ").status().message, "is not JSON"));
    CHECK(has(read_device_report("[]").status().message, "no JSON object"));
    CHECK(has(read_device_report("{}").status().message, "no report"));
    CHECK(has(read_device_report("{\"means\":\"computed\",\"x\":" + std::string(100'000, '[') +
                                 std::string(100'000, ']') + "}")
                  .status()
                  .message,
              "deeper"));
    CHECK(has(read_device_report(std::string(9u << 20, ' ')).status().message, "bytes"));

    const Json sound = Json::parse(to_json(sound_report()));
    CHECK(refusal(sound).empty());
    const auto with = [&](const char* pointer, const Json& value) {
        Json report = sound;
        report[Json::json_pointer(pointer)] = value;
        return refusal(report);
    };
    CHECK(has(with("/finished", false), "did not finish"));
    CHECK(has(with("/table", "replay"), "only some cases"));
    CHECK(has(with("/selection", "--only causal"), "only some cases"));
    CHECK(has(with("/devices", Json::array()), "1 to 64 devices"));
    CHECK(has(with("/devices/0", 3), "device 0: is not an object"));
    CHECK(has(with("/devices/0/unusable", "no driver"), "could not be used"));
    CHECK(has(with("/devices/0/device", 3), "device 0: 'device' is not a text"));
    CHECK(has(with("/devices/0/device", ""), "'device' is empty"));
    CHECK(has(with("/devices/0/driver", std::string(300, 'x')), "longer than 200"));
    CHECK(has(with("/devices/0/subgroup_size", -1), "whole number"));
    CHECK(has(with("/devices/0/subgroup_size", 1.5), "whole number"));
    CHECK(has(with("/devices/0/matrix_shapes", "x"), "not a list"));
    CHECK(has(with("/devices/0/matrix_shapes/0", 3), "something else than texts"));
    CHECK(has(with("/devices/0/paths", Json::object()), "'paths' is not a list"));
    CHECK(has(with("/devices/0/paths", Json::array()), "1 to 64 paths"));
    CHECK(has(with("/devices/0/paths/0/path", "| x |"), "no name of a path"));
    CHECK(has(with("/devices/0/paths/0/verdict", "splendid"), "'splendid', which is none"));
    CHECK(has(with("/devices/0/paths/0/right", 41), "more cases are right"));
    CHECK(has(with("/devices/0/paths/0/right", 39), "not all cases are right"));
    Json without = sound;
    without["devices"][0].erase("driver");
    CHECK(has(refusal(without), "'driver' is missing"));

    CHECK(refusal(compiled).empty());
    Json other = compiled;
    other["key"] = "../navi31";
    CHECK(has(refusal(other), "'key' is not made of"));
    other = compiled;
    other["kernels"]["a|b"] = {{"pipelines", 1}};
    CHECK(has(refusal(other), "no name of a kernel"));
    other = compiled;
    other["kernels"] = 3;
    CHECK(has(refusal(other), "'kernels' are not"));
}

TEST_CASE("vkattn-devices adds a report, replaces it, and finds a page that somebody wrote by hand") {
    const TemporaryFolder folder;
    const fs::path docs = folder / "docs";
    const auto devices = [&](std::vector<std::string> arguments) {
        arguments.insert(arguments.end(), {"--docs", docs.string()});
        return run_program(folder, VKATTN_TEST_DEVICES_PROGRAM, arguments);
    };
    const std::string report = (folder / "vkattn-conformance.json").string();
    REQUIRE(vkattn::support::write_file(report, to_json(sound_report())).ok());
    Printed printed = devices({report});
    CHECK(printed.exit_code == 2);
    CHECK(has(printed.err, "there is no folder"));

    fs::create_directories(docs / "devices");
    for (int time = 0; time < 2; time++) {
        printed = devices({report});
        CHECK_MESSAGE(printed.exit_code == 0, printed.err);
    }
    CHECK(std::distance(fs::directory_iterator(docs / "devices"), {}) == 1);
    CHECK(has(text_of(docs / "devices.md"), "Some GPU"));
    CHECK(devices({"--check"}).exit_code == 0);
    REQUIRE(vkattn::support::write_file(docs / "devices.md", "by hand").ok());
    printed = devices({"--check"});
    CHECK(printed.exit_code == 1);
    CHECK(has(printed.err, "is not what the reports"));

    fs::copy_file(report, docs / "devices" / "copied.json");
    printed = devices({});
    CHECK(printed.exit_code == 2);
    CHECK(has(printed.err, "not copied here"));
    CHECK(text_of(docs / "devices.md") == "by hand");  // nothing is written where something is wrong
}
