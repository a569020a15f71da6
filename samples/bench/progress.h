// How far a run is, on stderr: a bar on a terminal, a line for each step elsewhere.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>

namespace vkattn::bench {

class Progress {
  public:
    explicit Progress(size_t steps);
    ~Progress();
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    // The next step. `bar_only`: without a terminal nothing is printed.
    void begin(const std::string& what, bool bar_only = false);
    void note(const std::string& what);  // a line where there is no bar
    void hide();                         // before something is printed
    double seconds() const;

  private:
    size_t steps_, step_ = 0;
    bool terminal_, shown_ = false;
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace vkattn::bench
