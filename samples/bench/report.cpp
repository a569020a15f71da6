#include "report.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <nlohmann/json.hpp>

#include "../cli/command.h"

namespace vkattn::bench {
namespace {

using Json = nlohmann::ordered_json;

// JSON has no infinity: an unbounded error is the largest double.
double finite(double value) { return std::isfinite(value) ? value : std::numeric_limits<double>::max(); }

Json json_of(const std::optional<double>& value) { return value ? Json(*value) : Json(nullptr); }

Json json_of(const Timings& t) {
    return {{"runs", t.runs}, {"ms_median", t.median}, {"ms_min", t.min}, {"ms_spread", t.spread}};
}

Json json_of(const CaseResult& result, const DeviceLimits& limits) {
    const BenchCase& c = result.bench_case;
    const Shape& s = c.shape;
    Json json = {
        {"name", name_of(c)},
        {"group", c.group},
        {"label", c.label},
        {"mask", c.mask},
        {"score", c.score},
        {"shape", {s.batch, s.q_heads, s.kv_heads, s.q_len, s.kv_len, c.head_dim}},
        {"type", std::string(to_string(c.type))},
        {"skipped", nullptr},
        {"pairs", result.work.pairs},
        {"blocks_full", result.work.blocks_full},
        {"blocks_partial", result.work.blocks_partial},
        {"blocks_total", result.work.blocks_total},
        {"lists", result.work.lists},
        {"seconds", result.seconds},
    };
    if (!result.skipped.empty()) {
        json["skipped"] = result.skipped;
        return json;
    }
    json.update(json_of(result.device));
    const Efficiency e = efficiency_of(result, limits);
    const Json measured = {
        {"clock", result.device_clock ? "device" : "host"},
        {"wall_ms_median", result.wall.median},
        {"gflops", e.gflops},
        {"gb_per_s", e.gb_per_s},
        {"binds", e.binds},
        {"fraction_of_limit", json_of(e.fraction)},
        {"arithmetic", e.arithmetic},
        {"fraction_of_arithmetic", json_of(e.of_arithmetic)},
        {"fraction_of_reading", json_of(e.of_reading)},
        {"path", result.plan.path},
        {"skeleton", result.plan.skeleton},
        {"schedule", result.plan.schedule},
        {"splits", result.plan.splits},
        {"module", result.plan.module},
        {"plan_ms", result.plan_ms},
        {"plan_again_ms", result.plan_again_ms},
        {"compile_ms", result.plan.compile_ms},
        {"first_run_ms", result.first_run_ms},
        {"bind_us", result.bind_us},
        {"record_us", result.record_us},
        {"rows_checked", AttentionCase::checked_rows},
        {"sizes", to_text(result.plan.sizes)},
        {"tuning", result.plan.tuning},
        {"worst_row_error", finite(result.check.worst)},
        {"row_error_bound", finite(result.check.bound)},
        {"correct", result.check.ok()},
    };
    json.update(measured);
    json["peers"] = Json::array();
    for (const PeerResult& peer : result.peers) {
        Json one = {{"name", peer.name}, {"state", peer.state}, {"why", peer.why}};
        if (peer.state == "measured" || peer.state == "wrong") {
            one.update(json_of(peer.timings));
            one["worst_row_error"] = finite(peer.worst_row_error);
        }
        if (peer.state == "measured")
            one.update({{"ratio", peer.ratio.median},
                        {"ratio_spread", peer.ratio.spread},
                        {"ratio_of_least", peer.ratio.of_least}});
        json["peers"].push_back(std::move(one));
    }
    return json;
}

std::string csv_of(const std::optional<double>& value) { return value ? cli::fixed(*value, 4) : ""; }

std::string csv_field(const std::string& text) {
    if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
    std::string quoted = "\"";
    for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
    return quoted + "\"";
}

}  // namespace

Efficiency efficiency_of(const CaseResult& result, const DeviceLimits& limits) {
    Efficiency e;
    if (result.device.median <= 0.0) return e;
    e.gflops = result.work.flops / result.device.median * 1e-6;
    e.gb_per_s = result.work.bytes / result.device.median * 1e-6;
    const auto fraction_of = [](double rate, double limit) {
        return limit > 0.0 ? std::optional(rate / limit) : std::nullopt;
    };
    double arithmetic = 0.0;
    if (result.plan.path == "scalar") {  // multiplies in f32, whatever the tensors are
        e.arithmetic = "f32 arithmetic";
        arithmetic = limits.f32_gflops;
    } else {
        e.arithmetic = std::string(to_string(result.bench_case.type)) + " matrices";
        for (const MatrixLimit& limit : limits.matrix)
            if (limit.shape.type == result.bench_case.type) arithmetic = limit.gflops;
    }
    e.of_arithmetic = fraction_of(e.gflops, arithmetic);
    e.of_reading = fraction_of(e.gb_per_s, limits.read_gb_per_s);
    if (!e.of_arithmetic || !e.of_reading) return e;
    e.binds = *e.of_arithmetic >= *e.of_reading ? e.arithmetic : "reading";
    e.fraction = std::max(*e.of_arithmetic, *e.of_reading);
    return e;
}

std::string text_of(const Efficiency& e) {
    const auto of = [](double fraction, const std::string& limit) {
        return cli::fixed(100.0 * fraction, 1) + " % of " + limit;
    };
    if (e.fraction) return of(*e.fraction, e.binds);
    std::string text = e.of_arithmetic ? of(*e.of_arithmetic, e.arithmetic) : e.arithmetic + " not measured";
    text += ", " + (e.of_reading ? of(*e.of_reading, "reading") : std::string("reading not measured"));
    return text;
}

std::string text_of(const MatrixLimit& limit) {
    const MatrixShape& s = limit.shape;
    return "matrices " + std::string(to_string(s.type)) + " " + std::to_string(s.m) + "x" + std::to_string(s.n) + "x" +
           std::to_string(s.k);
}

std::string text_of(const BlockGrowth& growth) {
    return "Time against unmasked blocks: slope " + cli::fixed(growth.block_us, 2) +
           " us a block of 128 x 128, fixed cost " + cli::fixed(growth.row_ns, 0) + " ns a query row and " +
           cli::fixed(growth.call_ms, 3) + " ms a call; above it, time grows with blocks^" +
           cli::fixed(growth.exponent, 3) + ", and none of " + std::to_string(growth.cases) +
           " cases is off the line by more than " + cli::fixed(100.0 * growth.worst, 1) + " %.";
}

std::string to_json(const Report& report) {
    Json json = {
        {"vkattn", report.version},
        {"suite", report.suite},
        {"seconds", report.seconds},
        {"tuning", report.tuning},
        {"device", {{"name", report.device}, {"driver", report.driver}, {"software", report.software}}},
        {"limits",
         {{"f32_gflops", report.limits.f32_gflops},
          {"f16_gflops", nullptr},
          {"matrix", Json::array()},
          {"read_gb_per_s", report.limits.read_gb_per_s},
          {"copy_gb_per_s", report.limits.copy_gb_per_s},
          {"stream_bytes", report.limits.stream_bytes},
          {"addressing", report.limits.through_addresses ? "address" : "binding"}}},
        {"peers", Json::array()},
        {"cases", Json::array()},
        {"block_masks", Json::array()},
        {"starts", Json::array()},
    };
    if (report.limits.f16_gflops) json["limits"]["f16_gflops"] = *report.limits.f16_gflops;
    for (const MatrixLimit& limit : report.limits.matrix)
        json["limits"]["matrix"].push_back({{"type", std::string(to_string(limit.shape.type))},
                                            {"shape", {limit.shape.m, limit.shape.n, limit.shape.k}},
                                            {"gflops", limit.gflops}});
    if (report.growth)
        json["time_by_unmasked_blocks"] = {
            {"cases", report.growth->cases},       {"call_ms", report.growth->call_ms},
            {"row_ns", report.growth->row_ns},     {"block_us", report.growth->block_us},
            {"exponent", report.growth->exponent}, {"worst_off_the_line", report.growth->worst}};
    for (const Peer& peer : report.peers)
        json["peers"].push_back({{"name", peer.name},
                                 {"state", peer.state == PeerState::present ? "present" : "absent"},
                                 {"what", peer.what}});
    for (const CaseResult& result : report.cases) json["cases"].push_back(json_of(result, report.limits));
    for (const BlockMaskResult& result : report.block_masks) {
        Json one = {{"label", result.label}, {"mask", result.mask}, {"positions", result.positions}};
        one.update(json_of(result.timings));
        one["bytes"] = result.bytes;
        one["sparsity"] = result.sparsity;
        json["block_masks"].push_back(std::move(one));
    }
    for (const StartResult& start : report.starts) {
        Json one = {{"mask", start.mask}, {"caches", start.caches}};
        if (!start.failed.empty()) one["failed"] = start.failed;
        else
            one.update({{"runs", start.after_device.runs},
                        {"device_ms", start.device.median},
                        {"device_ms_min", start.device.min},
                        {"engine_ms", start.engine.median},
                        {"engine_ms_min", start.engine.min},
                        {"plan_ms", start.plan.median},
                        {"plan_ms_min", start.plan.min},
                        {"first_run_ms", start.first_run.median},
                        {"first_run_ms_min", start.first_run.min},
                        {"after_device_ms", start.after_device.median},
                        {"after_device_ms_min", start.after_device.min},
                        {"module", start.module}});
        json["starts"].push_back(std::move(one));
    }
    return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string to_csv(const Report& report) {
    std::string text =
        "name,group,mask,score,batch,q_heads,kv_heads,q_len,kv_len,head_dim,type,skipped,runs,ms_median,ms_min,"
        "ms_spread,gflops,gb_per_s,binds,fraction_of_limit,arithmetic,fraction_of_arithmetic,fraction_of_reading,"
        "plan_ms,plan_again_ms,first_run_ms,bind_us,record_us,worst_row_error,row_error_bound";
    for (const Peer& peer : report.peers)
        text += "," + csv_field(peer.name + " ms") + "," + csv_field(peer.name + " ratio") + "," +
                csv_field(peer.name + " ratio spread");
    text += "\n";
    for (const CaseResult& result : report.cases) {
        const BenchCase& c = result.bench_case;
        const Shape& s = c.shape;
        std::vector<std::string> fields = {name_of(c), c.group, c.mask, c.score};
        for (const int32_t n : {s.batch, s.q_heads, s.kv_heads, s.q_len, s.kv_len, c.head_dim})
            fields.push_back(std::to_string(n));
        fields.emplace_back(to_string(c.type));
        fields.push_back(result.skipped);
        if (result.skipped.empty()) {
            const Efficiency e = efficiency_of(result, report.limits);
            fields.push_back(std::to_string(result.device.runs));
            for (const double ms : {result.device.median, result.device.min, result.device.spread})
                fields.push_back(cli::fixed(ms, 4));
            fields.insert(fields.end(),
                          {cli::fixed(e.gflops, 2), cli::fixed(e.gb_per_s, 2), e.binds, csv_of(e.fraction),
                           e.arithmetic, csv_of(e.of_arithmetic), csv_of(e.of_reading)});
            for (const double x :
                 {result.plan_ms, result.plan_again_ms, result.first_run_ms, result.bind_us, result.record_us})
                fields.push_back(cli::fixed(x, 3));
            fields.push_back(cli::scientific(result.check.worst));
            fields.push_back(cli::scientific(result.check.bound));
        } else fields.resize(fields.size() + 18);
        for (const Peer& peer : report.peers) {
            const auto found = std::find_if(result.peers.begin(), result.peers.end(),
                                            [&](const PeerResult& p) { return p.name == peer.name; });
            const bool measured = found != result.peers.end() && found->state == "measured";
            fields.push_back(measured ? cli::fixed(found->timings.median, 4) : "");
            fields.push_back(measured ? cli::fixed(found->ratio.median, 3) : "");
            fields.push_back(measured ? cli::fixed(found->ratio.spread, 3) : "");
        }
        for (size_t i = 0; i < fields.size(); i++) text += (i == 0 ? "" : ",") + csv_field(fields[i]);
        text += "\n";
    }
    return text;
}

}  // namespace vkattn::bench
