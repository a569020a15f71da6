// A program beside ours that answers line by line, and may crash or hang without taking us along.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "vkattn/result.h"

namespace vkattn::support {

// Lines in, lines out. What a program writes to stderr is dropped. Ended with the object: asked by end of input, then killed.
class ChildProcess {
  public:
    // argv[0] is looked up in PATH. `environment` is added to ours. Code::unsupported where there is no fork.
    static Result<ChildProcess> start(const std::vector<std::string>& argv,
                                      const std::vector<std::pair<std::string, std::string>>& environment);
    // `work` beside us, forked from this process: what it says and what it or its libraries print (stdout and stderr) arrives line by
    // line. Must be called before this process has threads. Code::unsupported where there is no fork.
    using Say = std::function<void(const std::string& line)>;
    static Result<ChildProcess> fork_worker(const std::function<void(const Say& say)>& work);
    ChildProcess(ChildProcess&& other) noexcept;
    ChildProcess& operator=(ChildProcess&&) = delete;
    ~ChildProcess();

    Status send(const std::string& line);
    // The next line without its end. Errors: it ended ("ended by signal 11", "exit code 127"), or said nothing for that long.
    Result<std::string> receive(double timeout_ms);

    // Stops it where it stands and lets it go on: threads that wait by spinning take time from whoever runs beside them. It begins
    // running.
    void pause();
    void resume();

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

}  // namespace vkattn::support
