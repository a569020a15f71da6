// vkattn-conformance as a user starts it: tiny selections on each device, replays, and hostile arguments.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "flex_notebook/markup.h"
#include "harness/command_line.h"

using vkattn::test::Printed;
using vkattn::test::run_tested_program;
using vkattn::test::TemporaryFolder;
using Json = nlohmann::json;

namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::string text_of(const std::filesystem::path& path) {
    auto bytes = vkattn::support::read_file(path);
    return bytes ? std::string(bytes->begin(), bytes->end()) : std::string();
}

struct Written {
    Printed printed;
    Json json;
    std::string page;
};

Written run(std::vector<std::string> arguments) {
    const TemporaryFolder folder;
    for (const char* file : {"--json", "r.json", "--html", "r.html"})
        arguments.push_back(file[0] == '-' ? file : (folder / file).string());
    Written written;
    written.printed = run_tested_program(folder, arguments);
    written.json = Json::parse(text_of(folder / "r.json"), nullptr, false);
    written.page = text_of(folder / "r.html");
    return written;
}

void check_device(const Json& device) {
    for (const char* field : {"device", "driver", "api", "kind"}) CHECK_FALSE(device[field].get<std::string>().empty());
    CHECK(device["limits"]["max_shared_bytes"].get<int>() >= 16384);
    CHECK(device["subgroup_size"].get<int>() >= 1);
    CHECK(device["reasons"].is_array());
    CHECK(device["matrix_shapes"].is_array());
    for (const Json& path : device["paths"]) {
        CHECK(device["verdicts"][path["path"].get<std::string>()] == path["verdict"]);
        if (path["verdict"] == "not available") CHECK_FALSE(path["reason"].get<std::string>().empty());
        else if (path["cases"] == 0) CHECK(path["verdict"] == "nothing run");
        else {
            CHECK_MESSAGE(path["verdict"] == "pass", path.dump());
            CHECK(path["right"] == path["cases"]);
            CHECK(path["worst_row_error"].get<double>() <= path["row_error_bound"].get<double>());
        }
    }
}

}  // namespace

TEST_CASE("every device of the machine, every path, one case") {
    const Written w = run({"--only", "one pair", "--no-bench"});
    REQUIRE_MESSAGE(w.printed.exit_code == 0, w.printed.err);
    REQUIRE(w.json.is_object());
    CHECK(w.json["finished"] == true);
    CHECK(w.json["table"] == "standard");
    REQUIRE(w.json["devices"].size() >= 2);  // lavapipe and SwiftShader
    bool address = false;
    for (const Json& device : w.json["devices"]) {
        check_device(device);
        address = address || device["verdicts"]["rows-address"] == "pass";
        CHECK(device["verdicts"]["tiles-binding"] == "pass");
        CHECK(device["verdicts"]["lists-device"] == "nothing run");
        CHECK(has(w.printed.out, device["device"].get<std::string>()));
    }
    CHECK(address);
    CHECK(vkattn::test::malformed(w.page) == "");
    CHECK(has(w.page, "tiles-binding"));
}

TEST_CASE("lists made on the device, run again and in slices, on the validation layer") {
    const Written w =
        run({"--device", "llvmpipe", "--path", "lists-device", "--only", "document lists, mixed", "--validate"});
    REQUIRE_MESSAGE(w.printed.exit_code == 0, w.printed.out, w.printed.err);
    REQUIRE(w.json["devices"].size() == 1);
    check_device(w.json["devices"][0]);
    const Json& path = w.json["devices"][0]["paths"][0];
    CHECK(path["bits_tested"] == 1);
    CHECK(path["bits_same"] == 1);
    CHECK(path["kernels"].size() == 1);
    CHECK(path["benchmark"].empty());
    CHECK(w.json["validation"] == true);
}

TEST_CASE("a benchmark's figures, by the device's clock") {
    const Written w = run({"--device", "llvmpipe", "--path", "rows-binding", "--only", "one pair"});
    REQUIRE_MESSAGE(w.printed.exit_code == 0, w.printed.out, w.printed.err);
    const Json& path = w.json["devices"][0]["paths"][0];
    REQUIRE(path["benchmark"].size() == 1);  // longer rows are not this path's
    const Json& figure = path["benchmark"][0];
    CHECK(figure["clock"] == "device");
    CHECK(figure["ms_median"].get<double>() >= figure["ms_min"].get<double>());
    const double pairs = 8.0 * 1024 * 1025 / 2;
    CHECK(figure["gflops"].get<double>() ==
          doctest::Approx(4.0 * 64 * pairs / figure["ms_median"].get<double>() * 1e-6));
    CHECK(figure["gb_per_s"].get<double>() > 0.0);
}

TEST_CASE("a case again by its line, on SwiftShader") {
    const Written w =
        run({"--device", "swiftshader", "--replay", "tiles-binding: mask=causal d=15 dv=15 lq=65 lkv=66"});
    CHECK_MESSAGE(w.printed.exit_code == 0, w.printed.out, w.printed.err);
    CHECK(w.json["table"] == "replay");
    CHECK(w.json["devices"][0]["verdicts"]["tiles-binding"] == "pass");
    CHECK(w.json["devices"][0]["paths"][0]["bits_same"] == 1);
}

TEST_CASE("what cannot be is refused before a device is asked, with what could") {
    const TemporaryFolder folder;
    const struct {
        std::vector<std::string> arguments;
        const char* named;
    } wrong[] = {
        {{"--bogus"}, "--bogus"},
        {{"extra"}, "extra"},
        {{"--quick", "--full"}, "excludes"},
        {{"--path", "matrix"}, "rows-address"},
        {{"--only", "no such case"}, "--list"},
        {{"--timeout", "0"}, "1 to 86400"},
        {{"--replay", "mask=causal"}, "--replay: 'mask=causal' is no path"},
        {{"--replay", "rows: mask=causal"}, "tiles-binding"},
        {{"--replay", "automatic: mask=nonsense"}, "causal_lower_right"},
        {{"--replay", "automatic: lq=4000000000"}, "lq=4000000000"},
        {{"--replay", "automatic: lq=65536 lkv=65536"}, "too much"},
        {{"--replay", "automatic: $(reboot)"}, "key=value"},
        {{"--replay", "rows-binding: d=576 dv=576"}, "only d + dv"},
        {{"--replay", "lists-device: d=64"}, "schedule=list"},
        {{"--replay", "automatic: d=64", "--quick"}, "excludes"},
        {{"--json", "/no/such/folder/r.json"}, "--json"},
        {{"--html", (folder.path()).string()}, "--html"},
        {{"--device", "no such device"}, "--device: no device matches"},
        {{"--device", "99"}, "--device"},
    };
    for (const auto& [arguments, named] : wrong) {
        std::vector<std::string> all = arguments;
        for (const char* file : {"--json", "--html"}) {
            const bool given = std::find(all.begin(), all.end(), file) != all.end();
            if (!given) all.insert(all.end(), {file, (folder / file).string()});
        }
        const Printed printed = run_tested_program(folder, all);
        CHECK_MESSAGE(printed.exit_code == 2, printed.command);
        CHECK_MESSAGE(has(printed.err, named), printed.command, "\n", printed.err);
    }
    const Printed help = run_tested_program(folder, {"--help"});
    CHECK(help.exit_code == 0);
    for (const char* part : {"Examples:", "Exit codes:", "CRASH", "--replay"}) CHECK_MESSAGE(has(help.out, part), part);
    const Printed list = run_tested_program(folder, {"--list"});
    CHECK(list.exit_code == 0);
    CHECK(has(list.out, "tiles-no-subgroups"));
    CHECK(has(list.out, "mask=documents_causal"));
}
