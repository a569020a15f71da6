#include "report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "support/html.h"

namespace vkattn_tests {
namespace {

using vkattn::support::html_escaped;
using vkattn::support::html_table;

template <class... Values>
std::string text(const char* format, Values... values) {
    char line[256];
    std::snprintf(line, sizeof line, format, values...);
    return line;
}

// JSON has no infinity: an unbounded error is the largest double.
double finite(double value) { return std::isfinite(value) ? value : std::numeric_limits<double>::max(); }

Json json_of(const Figure& f) {
    if (!f.skipped.empty()) return {{"call", f.name}, {"skipped", f.skipped}};
    return {{"call", f.name},     {"ms_median", f.ms_median}, {"ms_min", f.ms_min},
            {"gflops", f.gflops}, {"gb_per_s", f.gb_per_s},   {"clock", f.device_clock ? "device" : "host"}};
}

// Why a path was not tested to its end.
std::string why_text(const PathResult& p) {
    if (!p.not_available.empty()) return p.not_available;
    return p.right == 0 && !p.failed() && !p.refusals.empty() ? p.refusals.begin()->first : p.crash;
}

Json json_of(const PathResult& p) {
    Json json = {{"path", p.name}, {"meaning", p.meaning}, {"verdict", verdict(p)}};
    if (verdict(p) == "not available") json["reason"] = why_text(p);
    if (!p.not_available.empty()) return json;
    json.update(Json{{"cases", p.cases},
                     {"right", p.right},
                     {"refused", p.refused},
                     {"worst_row_error", finite(p.worst_error)},
                     {"row_error_bound", p.worst_bound},
                     {"worst_case", p.worst_case},
                     {"bits_tested", p.bits_tested},
                     {"bits_same", p.bits_same},
                     {"refusals", p.refusals},
                     {"kernels", p.kernels}});
    json["failures"] = Json::array();
    for (const FailedCase& f : p.failures)
        json["failures"].push_back({{"case", f.name}, {"words", f.words}, {"replay", f.replay}});
    if (!p.crash.empty()) json["crash"] = p.crash;
    json["benchmark"] = Json::array();
    for (const Figure& f : p.figures) json["benchmark"].push_back(json_of(f));
    return json;
}

Json json_of(const DeviceResult& d) {
    Json json = {{"index", d.index}, {"device", d.name}, {"driver", d.driver}, {"api", d.api}};
    json.update(d.facts);
    if (!d.unusable.empty()) json["unusable"] = d.unusable;
    if (!d.running.empty()) json["running"] = d.running;
    if (!d.closing.empty()) json["closing"] = d.closing;
    json["verdicts"] = Json::object();
    json["paths"] = Json::array();
    for (const PathResult& p : d.paths) {
        json["verdicts"][p.name] = verdict(p);
        json["paths"].push_back(json_of(p));
    }
    json["printed"] = d.printed;
    return json;
}

std::string cases_text(const PathResult& p) {
    return p.begun && p.not_available.empty() ? text("%d/%d", p.right, p.cases - p.refused) : "";
}

std::string share_text(const PathResult& p) { return p.worst_bound > 0.0 ? text("%.2f", p.worst_share()) : ""; }

std::string bits_text(const PathResult& p) {
    if (p.bits_tested == 0) return "";
    return p.bits_same == p.bits_tested ? "same bits" : text("%d of %d", p.bits_same, p.bits_tested);
}

const Figure* first_measured(const PathResult& p) {
    const auto found =
        std::find_if(p.figures.begin(), p.figures.end(), [](const Figure& f) { return f.skipped.empty(); });
    return found == p.figures.end() ? nullptr : &*found;
}

std::string section(const std::string& title, const std::string& content) {
    return content.empty() ? "" : "<h3>" + html_escaped(title) + "</h3>\n" + content;
}

std::string device_html(const DeviceResult& d) {
    using Rows = std::vector<std::vector<std::string>>;
    Rows verdicts, failures, figures, facts;
    for (const PathResult& p : d.paths) {
        verdicts.push_back({p.name, p.meaning, verdict(p), cases_text(p), share_text(p),
                            p.worst_bound > 0.0 ? text("%.2e of %.2e", p.worst_error, p.worst_bound) : "", bits_text(p),
                            why_text(p)});
        for (const FailedCase& f : p.failures) failures.push_back({p.name, f.name, f.words, f.replay});
        for (const auto& [why, count] : p.refusals)
            facts.push_back({p.name + " does not take " + std::to_string(count), why});
        for (const Figure& f : p.figures)
            figures.push_back({p.name, f.name, f.skipped.empty() ? text("%.3f", f.ms_median) : "skipped: " + f.skipped,
                               f.skipped.empty() ? text("%.3f", f.ms_min) : "",
                               f.skipped.empty() ? text("%.1f", f.gflops) : "",
                               f.skipped.empty() ? text("%.2f", f.gb_per_s) : "",
                               f.skipped.empty() ? (f.device_clock ? "device" : "host") : ""});
    }
    for (const auto& [name, value] : d.facts.items())
        facts.push_back({name, value.is_string() ? value.get<std::string>()
                                                 : value.dump(-1, ' ', false, Json::error_handler_t::replace)});
    std::string page = "<h2>" + html_escaped(std::to_string(d.index) + ": " + d.name) + "</h2>\n<p>" +
                       html_escaped(d.driver + ", Vulkan " + d.api) + "</p>\n";
    if (!d.unusable.empty()) page += "<p>" + html_escaped("Not usable: " + d.unusable) + "</p>\n";
    if (!d.closing.empty())
        page += "<p>" + html_escaped("The driver crashed while the device was closed: " + d.closing) + "</p>\n";
    if (!d.running.empty()) page += "<p>" + html_escaped("Running when this was written: " + d.running) + "</p>\n";
    page += section("Verdicts", html_table({"path", "meaning", "verdict", "right", "worst / bound", "worst row error",
                                            "determinism", "why"},
                                           verdicts));
    if (!failures.empty())
        page += section("Failures", html_table({"path", "case", "what is wrong", "replay"}, failures));
    if (!figures.empty())
        page += section("Benchmark",
                        html_table({"path", "call", "ms median", "ms least", "GFLOP/s", "GB/s", "clock"}, figures));
    page += section("The device", html_table({"what", "value"}, facts));
    if (!d.printed.empty()) {
        page += "<h3>The last that the driver printed</h3>\n<pre>";
        for (const std::string& line : d.printed) page += html_escaped(line) + "\n";
        page += "</pre>\n";
    }
    return page;
}

}  // namespace

std::string verdict(const PathResult& p) {
    if (!p.not_available.empty()) return "not available";
    if (!p.crash.empty()) return "CRASH";
    if (!p.failures.empty()) return "FAIL";
    if (!p.ended) return "unfinished";
    if (p.cases == 0) return "nothing run";
    return p.right == 0 ? "not available" : "pass";
}

bool DeviceResult::failed() const {
    return !unusable.empty() || !closing.empty() ||
           std::any_of(paths.begin(), paths.end(), [](const PathResult& path) { return path.failed(); });
}

bool Report::failed() const {
    return devices.empty() ||
           std::any_of(devices.begin(), devices.end(), [](const DeviceResult& device) { return device.failed(); });
}

std::string to_json(const Report& report) {
    Json json = {{"program", "vkattn-conformance"}, {"version", report.version},       {"table", report.table},
                 {"platform", report.platform},     {"validation", report.validation}, {"finished", report.finished},
                 {"seconds", report.seconds},       {"devices", Json::array()}};
    if (!report.selection.empty()) json["selection"] = report.selection;
    for (const DeviceResult& device : report.devices) json["devices"].push_back(json_of(device));
    return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string to_html(const Report& report) {
    std::string page =
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n<title>vkattn-conformance</title>\n"
        "<style>body{font-family:sans-serif;max-width:1200px;margin:2em auto;padding:0 1em;color:#222}"
        "table{border-collapse:collapse;font-size:13px}th,td{border:1px solid #ccc;padding:2px 6px;text-align:left;"
        "overflow-wrap:anywhere}</style>\n</head>\n<body>\n<h1>vkattn-conformance: " +
        std::string(!report.finished  ? "unfinished"
                    : report.failed() ? "FAIL"
                                      : "pass") +
        "</h1>\n<p>" +
        html_escaped("vkattn " + report.version + ", " + report.platform + ", table " + report.table +
                     (report.selection.empty() ? "" : ", only " + report.selection) +
                     (report.validation ? ", under the validation layer" : "") + text(", %.0f s", report.seconds)) +
        "</p>\n";
    for (const DeviceResult& device : report.devices) page += device_html(device);
    return page + "</body>\n</html>\n";
}

std::string to_text(const DeviceResult& d) {
    std::string out = std::to_string(d.index) + ": " + d.name + ", Vulkan " + d.api + ", " + d.driver + "\n";
    if (!d.unusable.empty()) return out + "not usable: " + d.unusable + "\n";
    out += text("%-20s  %-13s %8s  %13s  %-11s %10s %8s\n", "path", "verdict", "cases", "worst / bound", "determinism",
                "ms causal", "GFLOP/s");
    for (const PathResult& p : d.paths) {
        const Figure* figure = first_measured(p);
        out += text("%-20s  %-13s %8s  %13s  %-11s %10s %8s", p.name.c_str(), verdict(p).c_str(), cases_text(p).c_str(),
                    share_text(p).c_str(), bits_text(p).c_str(),
                    figure == nullptr ? "" : text("%.3f", figure->ms_median).c_str(),
                    figure == nullptr ? "" : text("%.1f", figure->gflops).c_str());
        const std::string why = why_text(p);
        out += (why.empty() ? "" : "  " + why) + "\n";
    }
    if (!d.closing.empty()) out += "the driver crashed while the device was closed: " + d.closing + "\n";
    for (const PathResult& p : d.paths)
        for (const FailedCase& f : p.failures)
            out += "\n" + p.name + ", " + f.name + ": " + f.words + "\n  " + f.replay + "\n";
    return out;
}

}  // namespace vkattn_tests
