// A program beside ours that answers line by line, and may crash or hang without taking us along.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "vkattn/result.h"

namespace vkattn::bench {

// Lines in, lines out. What it writes to stderr is dropped. Ended with the object: asked by end of input, then killed.
class ChildProcess {
  public:
    // argv[0] is looked up in PATH. `environment` is added to ours. Code::unsupported where there is no fork.
    static Result<ChildProcess> start(const std::vector<std::string>& argv,
                                      const std::vector<std::pair<std::string, std::string>>& environment);
    ChildProcess(ChildProcess&& other) noexcept;
    ChildProcess& operator=(ChildProcess&&) = delete;
    ~ChildProcess();

    Status send(const std::string& line);
    // The next line without its end. Errors: it ended ("ended by signal 11", "exit code 127"), or said nothing for that long.
    Result<std::string> receive(double timeout_ms);

  private:
    ChildProcess() = default;
    std::string how_it_ended();

    int pid_ = -1, to_ = -1, from_ = -1;
    std::string pending_;
};

// What `work` returns, computed in a process of its own: a start from nothing, as a user's program has it. Must be called before this
// process has threads. Code::unsupported where there is no fork.
Result<std::string> in_fresh_process(const std::vector<std::pair<std::string, std::string>>& environment,
                                     const std::function<std::string()>& work);

}  // namespace vkattn::bench
