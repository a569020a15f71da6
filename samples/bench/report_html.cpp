// The page: plots first, then every figure in tables. No script, no link, no font from elsewhere.
#include <algorithm>
#include <cmath>

#include "../cli/command.h"
#include "block_growth.h"
#include "report.h"
#include "support/html.h"
#include "svg_plot.h"

namespace vkattn::bench {
namespace {

using support::html_escaped;
using support::html_table;
using Row = std::vector<std::string>;

std::string section(const std::string& title, const std::string& words, const std::string& content) {
    if (content.empty()) return "";
    return "<h2>" + html_escaped(title) + "</h2>\n<p>" + html_escaped(words) + "</p>\n" + content;
}

std::string percent(const std::optional<double>& fraction) {
    return fraction ? cli::fixed(100.0 * *fraction, 1) + " %" : "not measured";
}

// A label's cases of the group by `x`; bf16 beside f16 is a series of its own.
std::vector<Series> series_of(const Report& report, const char* group, double (*x)(const CaseResult&)) {
    std::vector<Series> series;
    for (const CaseResult& result : report.cases) {
        if (!result.skipped.empty() || !result.check.ok() || result.bench_case.group != group) continue;
        const std::string label =
            result.bench_case.label + (result.bench_case.type == ElementType::bf16 ? ", bf16" : "");
        auto found = std::find_if(series.begin(), series.end(), [&](const Series& s) { return s.label == label; });
        if (found == series.end()) found = series.insert(series.end(), {label, {}});
        found->points.emplace_back(x(result), result.device.median);
    }
    for (Series& one : series) std::sort(one.points.begin(), one.points.end());
    return series;
}

std::string lines(const Report& report, const char* group, const char* x_title, double (*x)(const CaseResult&)) {
    const std::vector<Series> series = series_of(report, group, x);
    return series.empty() ? "" : line_plot(x_title, "ms (median)", series);
}

// The measured points, and the fitted cost of blocks alone.
std::string growth_plot(const Report& report) {
    if (!report.growth) return "";
    std::vector<Series> series = series_of(report, "blocks", unmasked_blocks);
    double first = HUGE_VAL, last = 0.0;
    for (const Series& one : series) {
        first = std::min(first, one.points.front().first);
        last = std::max(last, one.points.back().first);
    }
    const double block_ms = report.growth->block_us / 1000.0;
    series.push_back({"slope x blocks", {{first, block_ms * first}, {last, block_ms * last}}});
    return line_plot("unmasked blocks of 128 x 128, all heads", "ms (median)", series);
}

std::string peer_bars(const Report& report) {
    std::vector<Bar> bars;
    for (const CaseResult& result : report.cases)
        for (const PeerResult& peer : result.peers)
            if (peer.state == "measured")
                bars.push_back({name_of(result.bench_case) + ": " + peer.name, peer.ratio.median,
                                cli::fixed(peer.ratio.median, 2) + " times"});
    return bar_plot(bars, 1.0);
}

std::string limit_bars(const Report& report) {
    std::vector<Bar> bars;
    for (const CaseResult& result : report.cases) {
        if (!result.skipped.empty() || !result.check.ok()) continue;
        const Efficiency e = efficiency_of(result, report.limits);
        if (e.fraction) bars.push_back({name_of(result.bench_case), *e.fraction, text_of(e)});
    }
    return bar_plot(bars, 1.0);
}

std::string case_table(const Report& report) {
    std::vector<Row> rows;
    for (const CaseResult& result : report.cases) {
        Row row = {name_of(result.bench_case), result.bench_case.mask, result.bench_case.score};
        if (!result.skipped.empty()) {
            row.push_back("skipped: " + result.skipped);
            row.resize(19);
            rows.push_back(std::move(row));
            continue;
        }
        const Efficiency e = efficiency_of(result, report.limits);
        for (const double ms : {result.device.median, result.device.min, result.device.spread})
            row.push_back(cli::fixed(ms, 3));
        row.push_back(std::to_string(result.device.runs));
        row.push_back(cli::fixed(e.gflops, 1));
        row.push_back(cli::fixed(e.gb_per_s, 2));
        row.push_back(text_of(e));
        row.push_back(percent(e.of_arithmetic));
        row.push_back(percent(e.of_reading));
        row.push_back(result.plan.path + ", " + result.plan.skeleton + ", " + result.plan.schedule);
        row.push_back(cli::fixed(result.plan_ms, 1));
        row.push_back(cli::fixed(result.plan_again_ms, 3));
        row.push_back(cli::fixed(result.first_run_ms, 1));
        row.push_back(cli::fixed(result.bind_us, 1));
        row.push_back(cli::fixed(result.record_us, 1));
        row.push_back(cli::scientific(result.check.worst) + (result.check.ok() ? " within " : " BEYOND ") +
                      cli::scientific(result.check.bound));
        rows.push_back(std::move(row));
    }
    if (rows.empty()) return "";
    return html_table({"case", "mask", "score", "ms median", "ms min", "ms spread", "runs", "GFLOP/s", "GB/s",
                       "of the limit", "of arithmetic", "of reading", "kernel", "plan ms", "plan again ms",
                       "first run ms", "bind us", "record us", "worst row error"},
                      rows);
}

std::string peer_table(const Report& report) {
    std::vector<Row> rows;
    for (const CaseResult& result : report.cases)
        for (const PeerResult& peer : result.peers) {
            const bool measured = peer.state == "measured";
            rows.push_back(
                {name_of(result.bench_case), peer.name, measured ? cli::fixed(peer.timings.median, 3) : peer.state,
                 measured ? cli::fixed(peer.timings.min, 3) : peer.why,
                 measured ? cli::fixed(peer.timings.spread, 3) : "", measured ? cli::fixed(peer.ratio.median, 2) : "",
                 measured ? cli::fixed(peer.ratio.spread, 2) : "", measured ? cli::fixed(peer.ratio.of_least, 2) : "",
                 measured ? cli::scientific(peer.worst_row_error) : ""});
        }
    if (rows.empty()) return "";
    return html_table({"case", "peer", "ms median", "ms min", "ms spread", "its time over ours", "spread of that",
                       "least over our least", "its worst row error"},
                      rows);
}

std::string present_peers(const Report& report) {
    std::vector<Row> rows;
    for (const Peer& peer : report.peers)
        rows.push_back({peer.name, peer.state == PeerState::present ? "present" : "absent", peer.what});
    return rows.empty() ? "" : html_table({"peer", "state", "what"}, rows);
}

std::string block_mask_table(const Report& report) {
    std::vector<Row> rows;
    for (const BlockMaskResult& r : report.block_masks)
        rows.push_back({r.mask, std::to_string(r.positions), cli::fixed(r.timings.median, 2),
                        cli::fixed(r.timings.min, 2), cli::fixed(r.timings.spread, 2), std::to_string(r.bytes / 1024),
                        cli::fixed(r.sparsity, 2)});
    return rows.empty()
               ? ""
               : html_table({"mask", "positions", "ms median", "ms min", "ms spread", "KiB", "sparse %"}, rows);
}

std::string start_table(const Report& report) {
    std::vector<Row> rows;
    for (const StartResult& s : report.starts) {
        if (!s.failed.empty()) {
            rows.push_back({s.mask, s.caches, s.failed, "", "", "", "", ""});
            continue;
        }
        Row row = {s.mask, s.caches};
        for (const Timings* part : {&s.device, &s.engine, &s.plan, &s.first_run, &s.after_device})
            row.push_back(cli::fixed(part->median, 1) + " (" + cli::fixed(part->min, 1) + ")");
        row.push_back(s.module);
        rows.push_back(std::move(row));
    }
    return rows.empty() ? ""
                        : html_table({"mask", "caches", "device ms", "engine ms", "plan ms", "first run ms",
                                      "after device ms", "module"},
                                     rows);
}

std::string limit_table(const Report& report) {
    const DeviceLimits& l = report.limits;
    std::vector<Row> rows = {
        {"multiply-add f32, GFLOP/s", cli::fixed(l.f32_gflops, 1)},
        {"multiply-add f16, GFLOP/s", l.f16_gflops ? cli::fixed(*l.f16_gflops, 1) : "no shaderFloat16"}};
    for (const MatrixLimit& limit : l.matrix)
        rows.push_back({text_of(limit) + ", GFLOP/s", cli::fixed(limit.gflops, 1)});
    if (l.matrix.empty()) rows.push_back({"matrices", "none that the engine uses"});
    rows.push_back({"streaming read, GB/s", cli::fixed(l.read_gb_per_s, 2)});
    rows.push_back({"streaming copy (read + written), GB/s", cli::fixed(l.copy_gb_per_s, 2)});
    return html_table({"limit", "measured"}, rows);
}

double keys_of(const CaseResult& result) { return double{1} * result.bench_case.shape.kv_len; }

}  // namespace

std::string to_html(const Report& report) {
    std::string page =
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n<title>vkattn-bench: " +
        html_escaped(report.device) +
        "</title>\n<style>body{font-family:sans-serif;max-width:1200px;margin:2em auto;padding:0 1em;color:#222}"
        "table{border-collapse:collapse;font-size:12px}th,td{border:1px solid #ccc;padding:2px 6px;text-align:left}"
        "svg{max-width:100%;height:auto}</style>\n</head>\n<body>\n<h1>vkattn-bench</h1>\n<p>" +
        html_escaped(report.device + " (" + report.driver + "), vkattn " + report.version + ", suite " + report.suite +
                     (report.tuning.empty() ? "" : ", tuning table " + report.tuning) + ", " +
                     cli::fixed(report.seconds, 0) + " s") +
        "</p>\n";
    page += section(
        "Limits of the device",
        "Measured in this run. A case is held against the one that would take longer. Arithmetic is that of f32, in "
        "which the scalar kernels multiply whatever the tensors are, and that of matrices on the matrix paths.",
        limit_table(report));
    page += section("Time against length", "8 heads, D 64, f32. Both axes are logarithmic.",
                    lines(report, "length", "queries = keys", keys_of));
    page += section("Time against length, 16-bit tensors",
                    "8 heads, D 128, f16 and bf16: what matrix paths take. Both axes are logarithmic.",
                    lines(report, "16-bit", "queries = keys", keys_of));
    page += section(
        "Time against unmasked blocks",
        report.growth ? text_of(*report.growth) + " 8 heads, D 64, f32; lengths and densities as in the table." : "",
        growth_plot(report));
    page +=
        section("Time against head dimension", "Both axes are logarithmic.",
                lines(report, "head dim", "D", [](const CaseResult& r) { return double{1} * r.bench_case.head_dim; }));
    page += section("Decoding", "One query a head, f16, D 128. Both axes are logarithmic.",
                    lines(report, "decode", "keys", keys_of));
    page += section(
        "Peers",
        "The peer's time over ours, both by the host's clock, turn by turn: the median of the rounds. Beyond the line "
        "ours is faster. Each result was checked.",
        peer_bars(report));
    page += section(
        "Fraction of the limit that binds",
        "Unmasked pairs only: 2 (D + Dv) operations each; q and o once, and once those rows of k and v that lie in a "
        "block of 128 x 128 which some query reads.",
        limit_bars(report));
    page += section(
        "All cases",
        "Spread: distance between the quartiles. Times by the device's clock where it has one. Plan again: the same "
        "problem once more. Record: one call of it.",
        case_table(report));
    page += section("Peers, case by case", "", peer_table(report));
    page += section("Peers on this machine", "", present_peers(report));
    page +=
        section("Block masks", "Built by analysis on the host, exact, blocks of 128 x 128.", block_mask_table(report));
    page +=
        section("Start from nothing",
                "The median (and the least) of three, each in a process of its own, 8 heads, L 1024, D 64. Cold: no "
                "compiled shader anywhere, the driver's own cache included. Warm: with what a cold start left.",
                start_table(report));
    return page + "</body>\n</html>\n";
}

}  // namespace vkattn::bench
