#include "terminal.h"

#include <algorithm>
#include <cstdlib>

#ifdef _WIN32
#include <io.h>
#define WIN32_LEAN_AND_MEAN
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>
#else
#include <sys/ioctl.h>
#include <unistd.h>
#endif

namespace vkattn::cli {
namespace {

constexpr int32_t usual_width = 80, least_width = 20, largest_width = 400;

}  // namespace

bool is_terminal(std::FILE* stream) {
#ifdef _WIN32
    return _isatty(_fileno(stream)) != 0;
#else
    return isatty(fileno(stream)) != 0;
#endif
}

int32_t terminal_width() {
    int32_t width = 0;
#ifdef _WIN32
    CONSOLE_SCREEN_BUFFER_INFO info;
    if (GetConsoleScreenBufferInfo(GetStdHandle(STD_OUTPUT_HANDLE), &info) != 0)
        width = info.srWindow.Right - info.srWindow.Left + 1;
#else
    winsize size{};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) width = size.ws_col;
#endif
    return width == 0 ? usual_width : std::clamp(width, least_width, largest_width);
}

bool wants_colour() {
    const char* no_colour = std::getenv("NO_COLOR");
    return is_terminal(stdout) && (no_colour == nullptr || *no_colour == '\0');
}

}  // namespace vkattn::cli
