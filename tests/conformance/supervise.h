// One device, tested by a worker in a process of its own, which may crash or hang: its events fill the device's result, and what
// ends it is written down beside the case that was running. The next path gets a new worker.
//
// Events are lines of JSON; any other line is what a driver printed:
//   {"event":"device","facts":{...}}                                  it is open
//   {"event":"path","path":NAME,"cases":N} | {"event":"not_available","path":NAME,"reason":"..."}
//   {"event":"begin","case":NAME,"replay":LINE}
//   {"event":"case","state":"right|wrong|refused","words":"...","error":E,"bound":B,"kernel":"...","bits":0|1|2}
//   {"event":"figure",...}                                            one call of the benchmark
//   {"event":"path_end"}, {"event":"end"}
//   {"event":"stop","words":"..."}                                    the device cannot be opened, or was lost
#pragma once

#include <functional>

#include "report.h"
#include "support/child_process.h"

namespace vkattn_tests {

using Emit = std::function<void(const Json& event)>;
// Tests the paths from number `first_path` on.
using Worker = std::function<void(size_t first_path, const Emit& emit)>;

struct Supervision {
    double timeout_s = 300.0;                                             // without any event
    std::function<void(const std::string& what, bool is_case)> on_begin;  // a case or a path: show and save
};

// `device` has its index and the names of its paths. Where processes cannot be forked, the worker runs in this one.
void supervise(DeviceResult& device, const Worker& worker, const Supervision& supervision);

// Exposed for tests: one line of the worker. False: it is no event.
bool take_event(DeviceResult& device, const std::string& line, const Supervision& supervision);

}  // namespace vkattn_tests
