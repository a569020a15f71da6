// vkattn-bench as a user starts it: one tiny case of a suite, one case by flags, wrong flags, peers that are not there.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "harness/command_line.h"
#include "page_section.h"

using namespace vkattn;
using vkattn::test::Printed;
using vkattn::test::run_tested_program;
using vkattn::test::TemporaryFolder;

namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::string text_of(const std::filesystem::path& path) {
    auto bytes = support::read_file(path);
    return bytes ? std::string(bytes->begin(), bytes->end()) : std::string();
}

// Every element is closed, in order; the page's own void elements end in "/>". Empty: well-formed.
std::string markup_error(const std::string& page) {
    std::vector<std::string> open;
    for (size_t at = page.find('<'); at != std::string::npos; at = page.find('<', at + 1)) {
        const size_t end = page.find('>', at);
        if (end == std::string::npos) return "a tag does not end";
        const std::string tag = page.substr(at + 1, end - at - 1);
        if (tag.empty() || has(tag, "<")) return "a bare <";
        if (tag[0] == '!' || tag.back() == '/') continue;
        const std::string name = tag.substr(0, tag.find_first_of(" \n"));
        if (name[0] != '/') open.push_back(name);
        else if (open.empty() || "/" + open.back() != name) return "<" + name + "> closes nothing";
        else open.pop_back();
    }
    return open.empty() ? "" : "<" + open.back() + "> stays open";
}

}  // namespace

TEST_CASE("a suite's case: figures, limits, block masks, starts, and absent peers named") {
    const TemporaryFolder folder;
    const std::string json_file = (folder / "b.json").string(), csv_file = (folder / "b.csv").string(),
                      html_file = (folder / "b.html").string();
    const Printed printed = run_tested_program(folder, {"--suite", "quick", "--only", "documents 1x8x8x512x512x64",
                                                        "--repeat", "3", "--python", "/no/such/python", "--json",
                                                        json_file, "--csv", csv_file, "--html", html_file});
    REQUIRE_MESSAGE(printed.exit_code == 0, printed.err);
    CHECK(has(printed.out, "torch CPU: absent, it cannot be started"));
    CHECK(has(printed.err, "documents 1x8x8x512x512x64 f32"));  // progress

    const auto json = nlohmann::json::parse(text_of(json_file), nullptr, false);
    REQUIRE(json.is_object());
    CHECK(json["limits"]["f32_gflops"].get<double>() > 0.0);
    CHECK(json["limits"]["read_gb_per_s"].get<double>() > 0.0);
    CHECK(json["limits"]["copy_gb_per_s"].get<double>() > 0.0);
    REQUIRE(json["peers"].size() == 6);
    CHECK(json["peers"][2]["state"] == "absent");
    CHECK(json["peers"][2]["what"] == "it cannot be started");
    REQUIRE(json["cases"].size() == 1);
    const auto& c = json["cases"][0];
    CHECK(c["group"] == "length");
    CHECK(c["shape"] == nlohmann::json({1, 8, 8, 512, 512, 64}));
    CHECK(c["runs"] == 3);
    CHECK(c["correct"] == true);
    CHECK(c["worst_row_error"].get<double>() <= c["row_error_bound"].get<double>());
    const double ms = c["ms_median"].get<double>(), pairs = c["pairs"].get<double>();
    CHECK(ms > 0.0);
    CHECK(c["ms_min"].get<double>() <= ms);
    CHECK(pairs < 8.0 * 512 * 513 / 2);  // fewer than causal alone keeps
    CHECK(c["gflops"].get<double>() == doctest::Approx(4.0 * 64 * pairs / ms * 1e-6));
    CHECK(c["fraction_of_limit"].get<double>() > 0.0);
    CHECK((c["binds"] == "f32 arithmetic" || c["binds"] == "reading"));
    for (const char* field :
         {"plan_ms", "plan_again_ms", "first_run_ms", "bind_us", "record_us", "gb_per_s", "wall_ms_median"})
        CHECK_MESSAGE(c[field].get<double>() > 0.0, field);
    std::map<int, std::set<std::string>> block_masks;  // labels by positions
    for (const auto& one : json["block_masks"]) block_masks[one["positions"]].insert(one["label"]);
    for (const int positions : {1 << 15, 1 << 18, 1 << 20})
        CHECK(block_masks[positions] ==
              std::set<std::string>{"causal", "window 4096", "documents", "prefix LM", "NATTEN 13x13"});
    REQUIRE(json["starts"].size() >= 2);
    for (const auto& start : json["starts"]) {
        CHECK_MESSAGE(!start.contains("failed"), start.dump());
        CHECK(start["runs"] == 3);
        CHECK(start["after_device_ms_min"].get<double>() > 0.0);
        CHECK(start["after_device_ms_min"].get<double>() <= start["after_device_ms"].get<double>());
    }
    CHECK(json["starts"][0]["caches"] == "cold");
    CHECK(json["starts"][1]["caches"] == "warm");

    const std::string csv = text_of(csv_file);
    const auto fields = [](const std::string& line) { return std::count(line.begin(), line.end(), ','); };
    const size_t first_end = csv.find('\n'), second_end = csv.find('\n', first_end + 1);
    REQUIRE(second_end != std::string::npos);
    CHECK(fields(csv.substr(0, first_end)) == fields(csv.substr(first_end, second_end - first_end)));
    CHECK(second_end + 1 == csv.size());
    CHECK(has(csv, ",plan_ms,plan_again_ms,first_run_ms,bind_us,record_us,"));

    const std::string html = text_of(html_file);
    CHECK(markup_error(html) == "");
    CHECK(has(test::page_section(html, "Time against length"), "<circle"));
    CHECK(has(test::page_section(html, "Fraction of the limit that binds"), "<rect"));
    CHECK(test::page_section(html, "Decoding").empty());  // no such case
    CHECK(has(html, "causal() &amp;&amp; document(doc)"));
    for (const char* outside : {"http:", "https:", "src=", "href=", "@import", "<script", "url("})
        CHECK_MESSAGE(!has(html, outside), outside);
}

TEST_CASE("one case by flags") {
    const TemporaryFolder folder;
    const std::string json_file = (folder / "b.json").string();
    const Printed printed = run_tested_program(folder, {"--mask", "causal()", "--score", "softcap(30)", "--shape",
                                                        "2x4x2x24x40x16", "--type", "f16", "--schedule", "list",
                                                        "--repeat", "3", "--peers", "none", "--json", json_file});
    REQUIRE_MESSAGE(printed.exit_code == 0, printed.err);
    const auto json = nlohmann::json::parse(text_of(json_file), nullptr, false);
    REQUIRE(json.is_object());
    REQUIRE(json["cases"].size() == 1);
    CHECK(json["cases"][0]["type"] == "f16");
    CHECK(json["cases"][0]["schedule"] == "list");
    CHECK(json["cases"][0]["pairs"] == 2 * 4 * 24 * 25 / 2);
    CHECK(json["cases"][0]["correct"] == true);
    CHECK(json["peers"].empty());
    CHECK(json["block_masks"].empty());
    CHECK(json["starts"].empty());
}

TEST_CASE("wrong usage: exit code 2, and the flag is named") {
    const TemporaryFolder folder;
    const struct {
        std::vector<std::string> arguments;
        const char* named;
    } cases[] = {{{"--suite", "slow"}, "--suite"},
                 {{"--shape", "1x8x1024"}, "--shape"},
                 {{"--shape", "1x8x3x4x4x64"}, "--shape"},
                 {{"--mask", "causal("}, "--mask"},
                 {{"--mask", "document(ids)"}, "--mask"},
                 {{"--score", "softcap()"}, "--score"},
                 {{"--type", "f64"}, "--type"},
                 {{"--repeat", "0"}, "--repeat"},
                 {{"--max-ms", "soon"}, "--max-ms"},
                 {{"--peers", "all"}, "--peers"},
                 {{"--path", "fast"}, "--path"},
                 {{"--suite", "quick", "--schedule", "list"}, "--schedule"},
                 {{"--only", "no such case"}, "--only"},
                 {{"--suite", "quick", "--mask", "true"}, "--mask"},
                 {{"--device", "no such device", "--shape", "1x1x8x8"}, "--device"},
                 {{"--device", "no such device", "--suite", "quick"}, "--device"},
                 {{"--list", "--only", "no such case"}, "--only"},
                 {{"--fast"}, "--fast"}};
    for (const auto& [arguments, named] : cases) {
        const Printed printed = run_tested_program(folder, arguments);
        CHECK_MESSAGE(printed.exit_code == 2, printed.command << ": " << printed.err);
        CHECK_MESSAGE(has(printed.err, named), printed.command << ": " << printed.err);
        CHECK_MESSAGE(printed.out.empty(), printed.command);
        CHECK_MESSAGE(!has(printed.err, "start from nothing"), printed.command);  // said before anything is measured
    }
}

TEST_CASE("a file that cannot be written is an error that names its flag") {
    const TemporaryFolder folder;
    const Printed printed =
        run_tested_program(folder, {"--shape", "1x1x8x8", "--peers", "none", "--html", "/no/such/folder/b.html"});
    CHECK(printed.exit_code == 1);
    CHECK(has(printed.err, "--html"));
}

TEST_CASE("help and the list teach without a device") {
    const TemporaryFolder folder;
    const Printed help = run_tested_program(folder, {"--help"});
    CHECK(help.exit_code == 0);
    for (const char* word : {"--suite", "--mask", "--shape", "--json", "--csv", "--html", "Examples:", "Exit codes:"})
        CHECK_MESSAGE(has(help.out, word), word);
    const Printed list = run_tested_program(folder, {"--suite", "full", "--list"});
    CHECK(list.exit_code == 0);
    CHECK(has(list.out, "window 1024 1x8x8x32768x32768x64 f32"));
    CHECK(has(list.out, "decode, GQA 8 1x64x8x1x131072x128 f16"));
    const Printed fewer = run_tested_program(folder, {"--suite", "full", "--list", "--only", "NATTEN"});
    CHECK(fewer.exit_code == 0);
    CHECK(has(fewer.out, "NATTEN 13x13 1x8x8x16384x16384x128 f16"));
    CHECK_FALSE(has(fewer.out, "decode"));
}
