// Workers that crash, hang, lose the device, print, or lie: nothing is lost, and the case that was running is named.
#include <doctest/doctest.h>

#include <csignal>
#include <cstdio>
#include <thread>

#include "flex_notebook/markup.h"
#include "supervise.h"

using namespace vkattn_tests;

namespace {

DeviceResult three_paths() {
    DeviceResult device;
    device.name = "A <device> & \"co\"";
    for (const char* name : {"first", "second", "third"}) {
        PathResult path;
        path.name = name;
        device.paths.push_back(path);
    }
    return device;
}

void begin_path(const Emit& emit, size_t i) {
    emit({{"event", "path"}, {"path", i == 0 ? "first" : i == 1 ? "second" : "third"}, {"cases", 1}});
    emit({{"event", "begin"}, {"case", "a case"}, {"replay", "replay of " + std::to_string(i)}});
}

void end_path(const Emit& emit) {
    emit({{"event", "case"}, {"state", "right"}, {"error", 1e-7}, {"bound", 2e-7}, {"kernel", "rows"}, {"bits", 2}});
    emit({{"event", "path_end"}});
}

// Does `harm` in the second path's case.
Worker harmful(void (*harm)(const Emit& emit)) {
    return [harm](size_t first, const Emit& emit) {
        emit({{"event", "device"}, {"facts", {{"kind", "made up"}}}});
        for (size_t i = first; i < 3; i++) {
            begin_path(emit, i);
            if (i == 1) harm(emit);
            end_path(emit);
        }
        emit({{"event", "end"}});
    };
}

DeviceResult supervised(const Worker& worker, double timeout_s = 30.0) {
    DeviceResult device = three_paths();
    Supervision supervision;
    supervision.timeout_s = timeout_s;
    supervise(device, worker, supervision);
    return device;
}

}  // namespace

TEST_CASE("a run without harm passes") {
    const DeviceResult device = supervised(harmful([](const Emit&) {}));
    for (const PathResult& path : device.paths) {
        CHECK(verdict(path) == "pass");
        CHECK(path.right == 1);
        CHECK(path.bits_same == 1);
        CHECK(path.worst_share() == doctest::Approx(0.5));
    }
    CHECK_FALSE(device.failed());
    CHECK(device.facts["kind"] == "made up");
}

#ifndef _WIN32
TEST_CASE("a crash is the running case's, and the next path goes on") {
    const DeviceResult device = supervised(harmful([](const Emit&) {
        std::fputs("LLVM ERROR: cannot select\n{\"no\": \"event\"}\n{broken\n", stderr);
        std::signal(SIGSEGV, SIG_DFL);
        std::raise(SIGSEGV);
    }));
    CHECK(verdict(device.paths[0]) == "pass");
    CHECK(verdict(device.paths[1]) == "CRASH");
    CHECK(verdict(device.paths[2]) == "pass");
    CHECK(device.paths[1].crash.find("signal 11") != std::string::npos);
    REQUIRE(device.paths[1].failures.size() == 1);
    CHECK(device.paths[1].failures[0].name == "a case");
    CHECK(device.paths[1].failures[0].replay == "replay of 1");
    REQUIRE(device.printed.size() == 3);
    CHECK(device.printed[0] == "LLVM ERROR: cannot select");
    CHECK(device.failed());
    Report report;
    report.devices = {device};
    CHECK(report.failed());
    const std::string page = to_html(report);
    CHECK(vkattn::test::malformed(page) == "");
    CHECK(page.find("A &lt;device&gt; &amp; &quot;co&quot;") != std::string::npos);
    CHECK(page.find("LLVM ERROR") != std::string::npos);
    const Json json = Json::parse(to_json(report), nullptr, false);
    REQUIRE(json.is_object());
    CHECK(json["devices"][0]["verdicts"]["second"] == "CRASH");
    CHECK(json["devices"][0]["paths"][1]["failures"][0]["replay"] == "replay of 1");
    CHECK(to_text(device).find("replay of 1") != std::string::npos);
}

TEST_CASE("a hang ends after the timeout") {
    const DeviceResult device =
        supervised(harmful([](const Emit&) { std::this_thread::sleep_for(std::chrono::seconds(1000)); }), 1.0);
    CHECK(verdict(device.paths[1]) == "CRASH");
    CHECK(device.paths[1].crash.find("no answer within 1 s") != std::string::npos);
    CHECK(verdict(device.paths[2]) == "pass");
}

TEST_CASE("a lost device is the running case's; a worker that just ends is no success") {
    const DeviceResult lost = supervised(harmful([](const Emit& emit) {
        emit({{"event", "stop"}, {"words", "the device was lost"}});
        std::_Exit(0);
    }));
    CHECK(verdict(lost.paths[1]) == "CRASH");
    CHECK(lost.paths[1].failures.at(0).words == "the device was lost");
    CHECK(verdict(lost.paths[2]) == "pass");
    const DeviceResult ended = supervised(harmful([](const Emit&) { std::_Exit(0); }));
    CHECK(verdict(ended.paths[1]) == "CRASH");
    CHECK(ended.failed());
}

TEST_CASE("a crash after the last path is no pass of the device") {
    const DeviceResult device = supervised([](size_t first, const Emit& emit) {
        harmful([](const Emit&) {})(first, emit);
        std::raise(SIGKILL);
    });
    CHECK(verdict(device.paths[2]) == "pass");
    CHECK(device.closing.find("signal 9") != std::string::npos);
    CHECK(device.failed());
}

TEST_CASE("a device that cannot be opened is not tried again") {
    int saved = 0;
    DeviceResult device = three_paths();
    Supervision supervision;
    supervision.on_begin = [&](const std::string&, bool) { saved++; };
    supervise(
        device, [](size_t, const Emit&) { std::raise(SIGKILL); }, supervision);
    CHECK(device.unusable.find("signal 9") != std::string::npos);
    CHECK(device.failed());
    CHECK(saved == 0);
    device = three_paths();
    supervise(
        device,
        [](size_t, const Emit& emit) {
            emit({{"event", "stop"}, {"words", "no queue"}});
        },
        supervision);
    CHECK(device.unusable == "no queue");
}
#endif

TEST_CASE("wrong results, other bits and refusals are counted as such") {
    const DeviceResult device = supervised([](size_t, const Emit& emit) {
        begin_path(emit, 0);
        emit({{"event", "case"}, {"state", "wrong"}, {"words", "row 3 is off"}, {"error", 3.0}, {"bound", 1.0}});
        emit({{"event", "path_end"}});
        begin_path(emit, 1);
        emit({{"event", "case"}, {"state", "wrong"}, {"words", "other bits"}, {"bits", 1}});
        emit({{"event", "path_end"}});
        begin_path(emit, 2);
        emit({{"event", "case"}, {"state", "refused"}, {"words", "no matrix units"}});
        emit({{"event", "path_end"}});
        emit({{"event", "end"}});
    });
    CHECK(verdict(device.paths[0]) == "FAIL");
    CHECK(device.paths[0].failures.at(0).words == "row 3 is off");
    CHECK(device.paths[0].worst_share() == doctest::Approx(3.0));
    CHECK(verdict(device.paths[1]) == "FAIL");
    CHECK(device.paths[1].bits_same < device.paths[1].bits_tested);
    CHECK(verdict(device.paths[2]) == "not available");  // nothing was computed: no pass
    CHECK(to_text(device).find("no matrix units") != std::string::npos);
}

TEST_CASE("a run that is cut off says so and names the case") {
    DeviceResult device = three_paths();
    const Supervision supervision;
    CHECK(take_event(device, R"({"event":"path","path":"first","cases":2})", supervision));
    CHECK(take_event(device, R"({"event":"begin","case":"one","replay":"the line"})", supervision));
    Report report;
    report.devices = {device};
    const Json json = Json::parse(to_json(report), nullptr, false);
    CHECK(json["finished"] == false);
    CHECK(json["devices"][0]["running"] == "the line");
    CHECK(json["devices"][0]["verdicts"]["first"] == "unfinished");
    CHECK_FALSE(take_event(device, "Mesa: warning", supervision));
    CHECK_FALSE(take_event(device, R"({"event":"path","path":"unknown"})", supervision));
    CHECK_FALSE(take_event(device, "[1, 2", supervision));
}
