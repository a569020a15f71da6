// The parts of vkattn-bench that need no device: rows of the reference, statistics, documents, suites, children, plots.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <set>

#include "bench/bench_case.h"
#include "bench/block_growth.h"
#include "bench/svg_plot.h"
#include "bench/timings.h"
#include "cli/sampled_rows.h"
#include "page_section.h"
#include "support/child_process.h"
#include "support/html.h"

using namespace vkattn;
using namespace vkattn::bench;

namespace {

BenchCase small(std::string mask, std::string score, ElementType type) {
    BenchCase c;
    c.mask = std::move(mask);
    c.score = std::move(score);
    c.shape = {2, 6, 3, 37, 53};
    c.head_dim = 12;
    c.type = type;
    return c;
}

}  // namespace

TEST_CASE("sampled rows are rows of reference_attention, bit for bit") {
    for (const ElementType type : {ElementType::f32, ElementType::f16, ElementType::bf16}) {
        for (const auto& [mask, score] :
             {std::pair("causal_lower_right() && document(doc)", "alibi()"),
              std::pair("h != 2 && (b + q + kv) % 3 != 0", "softcap(2)"), std::pair("kv < 5 * q", "score")}) {
            const BenchCase c = small(mask, score, type);
            CAPTURE(c.mask);
            auto described = describe(c);
            REQUIRE(described.ok());
            auto tensors = cli::random_tensors(size_text(c), type);
            REQUIRE(tensors.ok());
            const auto rows = cli::sample_rows(c.shape, 40);
            CHECK(rows.size() == 40);
            auto sampled =
                cli::reference_rows(described->mask, described->score_mod, described->bindings, *tensors, rows);
            REQUIRE(sampled.ok());

            const auto q = cli::widened(tensors->q.bytes, type), k = cli::widened(tensors->k.bytes, type),
                       v = cli::widened(tensors->v.bytes, type);
            ReferenceInput input;
            input.shape = c.shape;
            input.head_dim = input.value_dim = c.head_dim;
            input.scale = double{1.0f / std::sqrt(12.0f)};
            input.q = q.data();
            input.k = k.data();
            input.v = v.data();
            auto whole = reference_attention(described->mask, described->score_mod, described->bindings, input);
            REQUIRE(whole.ok());
            std::vector<float> whole_o(whole->o.begin(), whole->o.end()),
                sampled_o(sampled->o.begin(), sampled->o.end());
            CHECK(cli::pick_rows(whole_o, c.shape, c.head_dim, rows) == sampled_o);
            whole_o.assign(whole->plain_f32_o.begin(), whole->plain_f32_o.end());
            sampled_o.assign(sampled->plain_f32_o.begin(), sampled->plain_f32_o.end());
            CHECK(cli::pick_rows(whole_o, c.shape, c.head_dim, rows) == sampled_o);
            for (size_t i = 0; i < rows.size(); i++) {
                const auto row = static_cast<size_t>((rows[i].b * 6 + rows[i].h) * 37 + rows[i].q);
                CHECK(sampled->lse[i] == whole->lse[row]);
            }
        }
    }
}

TEST_CASE("sampled rows reach the ends, several heads and no row twice") {
    const Shape shape{2, 8, 2, 1000, 1000};
    const auto rows = cli::sample_rows(shape, 6);
    REQUIRE(rows.size() == 6);
    CHECK((rows.front().b == 0 && rows.front().h == 0 && rows.front().q == 0));
    CHECK((rows.back().b == 1 && rows.back().h == 7 && rows.back().q == 999));
    std::set<int32_t> heads, positions;
    for (const cli::QueryRow& row : rows) {
        heads.insert(row.b * 8 + row.h);
        positions.insert(row.q);
        CHECK((row.q >= 0 && row.q < 1000));
    }
    CHECK(heads.size() == 6);
    CHECK(positions.size() == 6);
    CHECK(cli::sample_rows({1, 1, 1, 1, 5}, 6).size() == 1);
    CHECK(cli::sample_rows({1, 3, 1, 1, 5}, 6).size() == 3);
}

TEST_CASE("timings: median, least, and the distance between the quartiles") {
    const Timings t = summarise({5.0, 1.0, 2.0, 4.0, 3.0});
    CHECK(t.runs == 5);
    CHECK(t.median == 3.0);
    CHECK(t.min == 1.0);
    CHECK(t.spread == 2.0);
    CHECK(summarise({7.0, 9.0}).median == 8.0);
    CHECK(summarise({}).median == 0.0);
}

TEST_CASE("ratios: of the rounds, so that what slows both down does not count") {
    // The machine is three times slower from the third round on; the peer needs twice our time, once four times.
    const std::vector<double> ours = {10.0, 10.0, 30.0, 30.0, 30.0}, peers = {20.0, 40.0, 60.0, 60.0, 60.0};
    const Ratio ratio = ratio_of(ours, peers);
    CHECK(ratio.median == 2.0);
    CHECK(ratio.spread == 0.0);
    CHECK(ratio.of_least == 2.0);
    const std::vector<double> slow_at_first = {60.0, 60.0, 90.0, 45.0};  // 6, 6, 3, 1.5; a peer that failed after four
    CHECK(ratio_of(ours, slow_at_first).median == 4.5);
    CHECK(ratio_of(ours, slow_at_first).spread == doctest::Approx(3.375));
    CHECK(ratio_of(ours, slow_at_first).of_least == 4.5);
    CHECK(ratio_of(ours, {}).median == 0.0);
}

TEST_CASE("time by unmasked blocks: the line, the exponent, and who is left out") {
    const auto measured = [](int32_t length, int64_t blocks) {
        CaseResult result;
        result.bench_case.group = "blocks";
        result.bench_case.shape = {1, 8, 8, length, length};
        result.work.blocks_full = blocks - 1;
        result.work.blocks_partial = 1;
        result.device.min = 0.25 + 8e-5 * length + 0.032 * double(blocks);  // 10 ns a row, 4 us a block
        result.check.worst = 0.0;
        result.check.bound = 1.0;
        return result;
    };
    std::vector<CaseResult> cases;
    for (const int32_t length : {1024, 2048, 4096})
        for (const int64_t blocks : {8, 32, 64}) cases.push_back(measured(length, blocks * length / 1024));
    CHECK(unmasked_blocks(cases[0]) == 64.0);
    for (int i = 0; i < 2; i++) {
        cases.push_back(measured(1024, 8));
        cases.back().device.min = 1e6;
    }
    cases[9].bench_case.group = "length";
    cases[10].skipped = "too long";
    auto growth = fit_block_growth(cases);
    REQUIRE(growth.has_value());
    CHECK(growth->cases == 9);
    CHECK(growth->call_ms == doctest::Approx(0.25));
    CHECK(growth->row_ns == doctest::Approx(10.0));
    CHECK(growth->block_us == doctest::Approx(4.0));
    CHECK(growth->exponent == doctest::Approx(1.0));
    CHECK(growth->worst < 1e-9);
    cases.resize(9);
    for (CaseResult& one : cases)  // the more blocks, the more each costs
        one.device.min = 0.001 * std::pow(unmasked_blocks(one), 1.5);
    growth = fit_block_growth(cases);
    REQUIRE(growth.has_value());
    CHECK(growth->exponent > 1.1);
    CHECK(growth->worst > 0.1);
    cases.resize(2);
    CHECK_FALSE(fit_block_growth(cases).has_value());
}

TEST_CASE("of the limit: f32's for scalar kernels, the type's matrices on matrix paths, and never another's") {
    DeviceLimits limits;
    limits.f32_gflops = 100.0;
    limits.read_gb_per_s = 50.0;
    limits.matrix = {{.shape = {.type = ElementType::f16}, .gflops = 400.0}};
    CaseResult result;
    result.bench_case.type = ElementType::f16;
    result.plan.path = "scalar";
    result.device.median = 2.0;
    result.work.flops = 80e6;  // 40 GFLOP/s
    result.work.bytes = 10e6;  // 5 GB/s
    Efficiency e = efficiency_of(result, limits);
    CHECK(e.gflops == doctest::Approx(40.0));
    CHECK(e.gb_per_s == doctest::Approx(5.0));
    CHECK(e.binds == "f32 arithmetic");
    CHECK(e.fraction.value() == doctest::Approx(0.4));
    CHECK(e.of_arithmetic.value() == doctest::Approx(0.4));
    CHECK(e.of_reading.value() == doctest::Approx(0.1));
    CHECK(text_of(e) == "40.0 % of f32 arithmetic");

    result.plan.path = "khr";
    result.work.bytes = 60e6;
    e = efficiency_of(result, limits);
    CHECK(e.binds == "reading");
    CHECK(e.fraction.value() == doctest::Approx(0.6));
    CHECK(e.arithmetic == "f16 matrices");
    CHECK(e.of_arithmetic.value() == doctest::Approx(0.1));

    result.bench_case.type = ElementType::bf16;  // no such limit: not f32's, not f16's
    e = efficiency_of(result, limits);
    CHECK(e.binds == "not measured");
    CHECK_FALSE(e.fraction.has_value());
    CHECK_FALSE(e.of_arithmetic.has_value());
    CHECK(e.of_reading.value() == doctest::Approx(0.6));
    CHECK(text_of(e) == "bf16 matrices not measured, 60.0 % of reading");
    Report report;
    report.limits = limits;
    result.check.worst = 0.0;
    result.check.bound = 1.0;
    report.cases = {result};
    CHECK(to_json(report).find("\"fraction_of_limit\": null") != std::string::npos);
    CHECK(to_csv(report).find(",not measured,,bf16 matrices,,0.6000,") != std::string::npos);
    CHECK(to_html(report).find("bf16 matrices not measured, 60.0 % of reading") != std::string::npos);
}

TEST_CASE("documents: ascending, as long as asked, a prefix of any longer one") {
    const auto ids = lognormal_documents(100000);
    REQUIRE(ids.size() == 100000);
    for (size_t i = 1; i < ids.size(); i++) CHECK_MESSAGE((ids[i] == ids[i - 1] || ids[i] == ids[i - 1] + 1), i);
    const double mean = 100000.0 / (ids.back() + 1);
    CHECK(mean > 400.0);  // lognormal: exp(ln 512 + 1.1^2 / 2) is 938
    CHECK(mean < 1900.0);
    const auto fewer = lognormal_documents(5000);
    CHECK(std::equal(fewer.begin(), fewer.end(), ids.begin()));
    CHECK(lognormal_documents(0).empty());
}

TEST_CASE("suites: every case describes itself and no name comes twice in a group") {
    for (const char* name : {"quick", "full"}) {
        std::set<std::string> names;
        for (const BenchCase& c : suite(name)) {
            const auto described = describe(c);
            CHECK_MESSAGE(described.ok(), name_of(c) << ": " << described.status().message);
            CHECK_MESSAGE(names.insert(c.group + " " + name_of(c)).second, name_of(c));
        }
        CHECK(names.size() > 20);
    }
}

TEST_CASE("suite full: 16-bit tensors under every mask, at lengths of GPUs, beside peers at 16k") {
    std::set<std::string> labels, with_peers;
    for (const BenchCase& c : suite("full")) {
        if (c.group != "16-bit") continue;
        CHECK(c.type != ElementType::f32);
        CHECK(c.head_dim == 128);
        const std::string label = c.label + " " + std::string(to_string(c.type));
        labels.insert(label);
        if (c.peers && c.shape.kv_len == 16384) with_peers.insert(label);
    }
    CHECK(with_peers == labels);
    CHECK(labels.size() == 11);  // nine masks and score mods in f16, two in bf16
}

TEST_CASE("sizes: both forms, and what is wrong with others") {
    BenchCase c;
    REQUIRE(parse_size("1x8x1024x64", c).ok());
    CHECK(c.shape == Shape{1, 8, 8, 1024, 1024});
    REQUIRE(parse_size("2x8x4x3x77x128", c).ok());
    CHECK(c.shape == Shape{2, 8, 4, 3, 77});
    CHECK(size_text(c) == "2x8x4x3x77x128");
    for (const char* bad :
         {"", "1x2x3", "1x8x3x4x4x64", "0x8x1024x64", "1x8x1024x577", "1x8x1024xd", "99999x999x99999x64"})
        CHECK_MESSAGE(parse_size(bad, c).code == Code::invalid_argument, bad);
}

#ifndef _WIN32
TEST_CASE("a child answers, ends, crashes, hangs or is not there, and each is said") {
    auto echo =
        support::ChildProcess::start({"sh", "-c", "read line; echo \"$line $MORE\"; exit 3"}, {{"MORE", "and more"}});
    REQUIRE(echo.ok());
    REQUIRE(echo->send("hello").ok());
    auto line = echo->receive(10000.0);
    REQUIRE(line.ok());
    CHECK(*line == "hello and more");
    CHECK(echo->receive(10000.0).status().message == "exit code 3");

    auto crash = support::ChildProcess::start({"sh", "-c", "kill -SEGV $$"}, {});
    REQUIRE(crash.ok());
    CHECK(crash->receive(10000.0).status().message == "ended by signal 11");

    auto hang = support::ChildProcess::start({"sleep", "1000"}, {});
    REQUIRE(hang.ok());
    CHECK(hang->receive(50.0).status().message.find("no answer") == 0);

    auto missing = support::ChildProcess::start({"/no/such/program"}, {});
    REQUIRE(missing.ok());
    CHECK(missing->receive(10000.0).status().message == "it cannot be started");

    CHECK(*support::in_fresh_process({{"VKATTN_TEST_WORD", "fresh"}},
                                     [] { return std::string(std::getenv("VKATTN_TEST_WORD")); }) == "fresh");
    CHECK(std::getenv("VKATTN_TEST_WORD") == nullptr);
    const auto killed = support::in_fresh_process({}, [] {
        std::raise(SIGKILL);
        return std::string();
    });
    CHECK(killed.status().message == "ended by signal 9");
}
#endif

TEST_CASE("plots: what goes in is escaped, and nothing to show is nothing") {
    CHECK(support::html_escaped("a<b>&\"c\"\x01\n") == "a&lt;b&gt;&amp;&quot;c&quot; \n");
    const std::string plot = line_plot("x", "y", {{"<evil>", {{512.0, 1.0}, {1024.0, 4.0}}}});
    CHECK(plot.find("&lt;evil&gt;") != std::string::npos);
    CHECK(plot.find("<polyline") != std::string::npos);
    CHECK(plot.find("nan") == std::string::npos);
    CHECK(line_plot("x", "y", {}).empty());
    CHECK(bar_plot({}, 1.0).empty());
    CHECK(bar_plot({{"label", 2.0, "2 times"}}, 1.0).find("2 times") != std::string::npos);
}

TEST_CASE("the page: every plot stands under its heading, with its own series") {
    const auto measured = [](std::string group, std::string label, int32_t length, ElementType type) {
        CaseResult result;
        result.bench_case.group = std::move(group);
        result.bench_case.label = std::move(label);
        result.bench_case.shape = {1, 8, 8, length, length};
        result.bench_case.type = type;
        result.plan.path = "scalar";
        result.work.flops = 1e9;
        result.work.bytes = 1e6;
        result.device.median = result.device.min = 0.01 * length;
        result.check.worst = 0.0;
        result.check.bound = 1.0;
        return result;
    };
    Report report;
    report.limits.f32_gflops = 100.0;
    report.limits.read_gb_per_s = 10.0;
    report.growth = BlockGrowth{};
    report.growth->block_us = 5.0;
    const std::pair<const char*, const char*> plots[] = {{"Time against length", "length"},
                                                         {"Time against length, 16-bit tensors", "16-bit"},
                                                         {"Time against unmasked blocks", "blocks"},
                                                         {"Time against head dimension", "head dim"},
                                                         {"Decoding", "decode"}};
    for (const auto& [heading, group] : plots)
        for (const int32_t length : {1024, 4096})
            report.cases.push_back(measured(group, std::string("mask of ") + group, length, ElementType::f16));
    report.cases.push_back(measured("16-bit", "mask of 16-bit", 1024, ElementType::bf16));
    for (CaseResult& result : report.cases) result.work.blocks_full = result.bench_case.shape.kv_len / 128;
    PeerResult peer;
    peer.name = "a peer";
    peer.state = "measured";
    peer.ratio.median = 2.5;
    report.cases.back().peers = {peer};

    const std::string page = to_html(report);
    const auto has = [&](const char* heading, const std::string& part) {
        const std::string section = test::page_section(page, heading);
        const size_t svg = section.find("<svg");
        return svg != std::string::npos && section.find(part, svg) != std::string::npos;
    };
    for (const auto& [heading, group] : plots) {
        const std::string name = heading;  // clang captures no structured binding
        CHECK_MESSAGE(has(heading, "<polyline"), name);
        CHECK_MESSAGE(has(heading, std::string(">mask of ") + group + "<"), name);
    }
    CHECK(has("Time against length, 16-bit tensors", ">mask of 16-bit, bf16<"));
    CHECK(has("Time against unmasked blocks", ">slope x blocks<"));
    CHECK(has("Peers", ": a peer<"));
    CHECK(has("Peers", ">2.50 times<"));
    CHECK(has("Fraction of the limit that binds", "% of f32 arithmetic<"));
}
