#include "progress.h"

#include <algorithm>
#include <cstdio>

#include "../cli/terminal.h"

namespace vkattn::bench {

Progress::Progress(size_t steps) : steps_(std::max<size_t>(steps, 1)), terminal_(cli::is_terminal(stderr)) {}

Progress::~Progress() { hide(); }

void Progress::note(const std::string& what) {
    if (!terminal_) std::fprintf(stderr, "%zu/%zu %3.0f s  %s\n", step_, steps_, seconds(), what.c_str());
}

void Progress::begin(const std::string& what, bool bar_only) {
    step_ = std::min(step_ + 1, steps_);
    if (!terminal_) {
        if (!bar_only) note(what);
        return;
    }
    constexpr size_t width = 24, longest = 46;
    const size_t done = width * (step_ - 1) / steps_;
    const std::string bar = std::string(done, '#') + std::string(width - done, '.');
    std::fprintf(stderr, "\r\x1b[K[%s] %zu/%zu %.0f s %s", bar.c_str(), step_, steps_, seconds(),
                 what.substr(0, longest).c_str());
    std::fflush(stderr);
    shown_ = true;
}

void Progress::hide() {
    if (shown_) std::fputs("\r\x1b[K", stderr);
    shown_ = false;
}

double Progress::seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

}  // namespace vkattn::bench
