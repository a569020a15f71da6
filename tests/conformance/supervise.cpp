#include "supervise.h"

#include <algorithm>

namespace vkattn_tests {
namespace {

constexpr size_t most_failures = 50, most_printed = 20, longest_printed = 400;

std::string word(const Json& event, const char* key) {
    const auto found = event.find(key);
    return found != event.end() && found->is_string() ? found->get<std::string>() : std::string();
}

double number(const Json& event, const char* key) {
    const auto found = event.find(key);
    return found != event.end() && found->is_number() ? found->get<double>() : 0.0;
}

PathResult* current(DeviceResult& device) {
    const auto found =
        std::find_if(device.paths.begin(), device.paths.end(), [](const PathResult& p) { return p.begun && !p.ended; });
    return found == device.paths.end() ? nullptr : &*found;
}

PathResult* named(DeviceResult& device, const std::string& name) {
    const auto found =
        std::find_if(device.paths.begin(), device.paths.end(), [&](const PathResult& p) { return p.name == name; });
    return found == device.paths.end() ? nullptr : &*found;
}

struct RunningCase {
    std::string name, replay;
};

void take_case(PathResult& path, const RunningCase& running, const Json& event) {
    const std::string state = word(event, "state"), words = word(event, "words"), kernel = word(event, "kernel");
    if (!kernel.empty()) path.kernels[kernel]++;
    if (state == "refused") {
        path.refused++;
        path.refusals[words]++;
        return;
    }
    const double error = number(event, "error"), bound = number(event, "bound");
    if (bound > 0.0 && (path.worst_bound == 0.0 || error / bound > path.worst_share())) {
        path.worst_error = error;
        path.worst_bound = bound;
        path.worst_case = running.name;
    }
    const auto bits = static_cast<int32_t>(number(event, "bits"));  // 0: not tested, 1: other bits, 2: the same
    path.bits_tested += bits > 0 ? 1 : 0;
    path.bits_same += bits > 1 ? 1 : 0;
    if (state == "right") path.right++;
    else if (path.failures.size() < most_failures)
        path.failures.push_back({.name = running.name, .words = words, .replay = running.replay});
}

}  // namespace

bool take_event(DeviceResult& device, const std::string& line, const Supervision& supervision) {
    if (line.empty()) return true;
    const Json event = line.front() == '{' ? Json::parse(line, nullptr, false) : Json();
    const std::string kind = event.is_object() ? word(event, "event") : std::string();
    if (kind.empty()) {
        if (device.printed.size() == most_printed) device.printed.erase(device.printed.begin());
        device.printed.push_back(line.substr(0, longest_printed));
        return false;
    }
    const auto show = [&](const std::string& what, bool is_case) {
        if (supervision.on_begin) supervision.on_begin(what, is_case);
    };
    PathResult* path = current(device);
    if (kind == "device") {
        device.facts = event.value("facts", Json::object());
    } else if (kind == "path" || kind == "not_available") {
        PathResult* begun = named(device, word(event, "path"));
        if (begun == nullptr) return false;
        begun->begun = true;
        begun->cases = static_cast<int32_t>(number(event, "cases"));
        begun->not_available = word(event, "reason");
        begun->ended = kind == "not_available";
        show(begun->name, false);
    } else if (kind == "begin" && path != nullptr) {
        device.running = word(event, "replay");
        device.running_case = word(event, "case");
        show(path->name + ": " + device.running_case, true);
    } else if (kind == "case" && path != nullptr) {
        take_case(*path, {.name = device.running_case, .replay = device.running}, event);
        device.running.clear();
        device.running_case.clear();
    } else if (kind == "figure" && path != nullptr) {
        Figure figure;
        figure.name = word(event, "call");
        figure.skipped = word(event, "skipped");
        figure.ms_median = number(event, "ms_median");
        figure.ms_min = number(event, "ms_min");
        figure.gflops = number(event, "gflops");
        figure.gb_per_s = number(event, "gb_per_s");
        figure.device_clock = word(event, "clock") == "device";
        path->figures.push_back(std::move(figure));
        device.running.clear();
        device.running_case.clear();
    } else if (kind == "path_end" && path != nullptr) {
        path->ended = true;
    } else if (kind == "stop") {
        device.stopped = word(event, "words");
    } else if (kind == "end") {
        device.done = true;
    }
    return true;
}

void supervise(DeviceResult& device, const Worker& worker, const Supervision& supervision) {
    size_t first = 0;
    while (first < device.paths.size() && !device.done) {
        device.stopped.clear();
        auto child = vkattn::support::ChildProcess::fork_worker([&](const vkattn::support::ChildProcess::Say& say) {
            worker(first, [&](const Json& event) { say(event.dump(-1, ' ', false, Json::error_handler_t::replace)); });
        });
        std::string ended;
        if (!child) {
            worker(first, [&](const Json& event) {
                take_event(device, event.dump(-1, ' ', false, Json::error_handler_t::replace), supervision);
            });
        } else {
            while (true) {
                auto line = child->receive(1000.0 * supervision.timeout_s);
                if (!line) {
                    ended = line.status().message;
                    break;
                }
                take_event(device, *line, supervision);
                if (!device.stopped.empty()) break;
            }
            // After its last word a worker closes the device and ends by itself.
            if (device.done && ended != "exit code 0") device.closing = ended;
        }
        if (device.done) return;
        if (!device.stopped.empty()) ended = device.stopped;
        PathResult* path = current(device);
        if (path == nullptr) {
            // Between two paths, or before the first: there is no path to blame, and another worker would fare no better.
            device.unusable = ended.empty() ? "the worker ended without a word" : ended;
            return;
        }
        path->crash = ended;
        path->ended = true;
        if (!device.running.empty())
            path->failures.push_back({.name = device.running_case, .words = ended, .replay = device.running});
        device.running.clear();
        device.running_case.clear();
        first = static_cast<size_t>(path - device.paths.data()) + 1;
    }
}

}  // namespace vkattn_tests
