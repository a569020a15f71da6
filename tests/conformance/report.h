// What a run has found out so far: filled while it goes on, written again and again, so that nothing is lost.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace vkattn_tests {

using Json = nlohmann::ordered_json;

struct FailedCase {
    std::string name, words, replay;
};

// One call, timed.
struct Figure {
    std::string name;
    std::string skipped;  // why there are no times
    double ms_median = 0.0, ms_min = 0.0, gflops = 0.0, gb_per_s = 0.0;
    bool device_clock = true;
};

struct PathResult {
    std::string name, meaning;
    bool begun = false, ended = false;
    std::string not_available;                // the reason
    int32_t cases = 0;                        // that the path is to be tested with
    int32_t right = 0, refused = 0;           // of them
    std::map<std::string, int32_t> refusals;  // reasons
    double worst_error = 0.0, worst_bound = 0.0;
    std::string worst_case;
    int32_t bits_tested = 0, bits_same = 0;
    std::vector<FailedCase> failures;
    std::string crash;  // how the process ended
    std::vector<Figure> figures;
    std::map<std::string, int32_t> kernels;  // "scalar rows list address": how often

    double worst_share() const { return worst_bound > 0.0 ? worst_error / worst_bound : 0.0; }
    bool failed() const { return !failures.empty() || !crash.empty(); }
};
// "pass", "FAIL", "CRASH", "not available", "nothing run" or "unfinished".
std::string verdict(const PathResult& path);

struct DeviceResult {
    size_t index = 0;
    std::string name, driver, api;
    Json facts = Json::object();        // limits, features, matrix shapes, reasons
    std::string unusable;               // why nothing could be run
    std::string running, running_case;  // replay line and name of the case that is running now; empty between cases
    std::string stopped;                // the worker's own words when it cannot go on
    std::string closing;                // how the driver crashed after the last path
    bool done = false;                  // every path was tested
    std::vector<std::string> printed;   // the last lines that a driver printed
    std::vector<PathResult> paths;

    bool failed() const;
};

struct Report {
    std::string version, table, platform;
    std::string selection;  // "--path khr --only causal": what was left out on request; empty: nothing
    bool validation = false, finished = false;
    double seconds = 0.0;
    std::vector<DeviceResult> devices;

    bool failed() const;
};

std::string to_json(const Report& report);
std::string to_html(const Report& report);        // one page that needs nothing else
std::string to_text(const DeviceResult& device);  // the table at the end

}  // namespace vkattn_tests
