// Starts a built program as a user would and keeps what it prints.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>
#ifndef _WIN32
#include <sys/wait.h>
#endif

#include "support/file.h"
#include "temporary_folder.h"

namespace vkattn::test {

struct Printed {
    int exit_code = -1;
    std::string out, err, command;
};

inline std::string quoted_argument(const std::string& text) {
    std::string quoted = "'";
    for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return quoted + "'";
}

// The drivers that this test itself was started with are named again by the launcher; named twice they would count twice.
inline Printed run_program(const TemporaryFolder& folder, const std::string& program,
                           const std::vector<std::string>& arguments) {
    const std::filesystem::path out = folder / "stdout.txt", err = folder / "stderr.txt";
    Printed printed;
    std::string quoted;
    for (const std::string& argument : arguments) quoted += " " + quoted_argument(argument);
    printed.command = std::filesystem::path(program).filename().string() + quoted;
    const std::string line = "env -u VK_ADD_DRIVER_FILES -u VK_ADD_LAYER_PATH XDG_CACHE_HOME=" +
                             quoted_argument((folder / "cache").string()) + " " + quoted_argument(program) + quoted +
                             " >" + quoted_argument(out.string()) + " 2>" + quoted_argument(err.string()) +
                             " </dev/null";
    const int status = std::system(line.c_str());
#ifdef _WIN32
    printed.exit_code = status;
#else
    printed.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
#endif
    const auto text_of = [](const std::filesystem::path& path) {
        auto bytes = support::read_file(path);
        return bytes ? std::string(bytes->begin(), bytes->end()) : std::string();
    };
    printed.out = text_of(out);
    printed.err = text_of(err);
    return printed;
}

#ifdef VKATTN_TEST_PROGRAM
inline Printed run_tested_program(const TemporaryFolder& folder, const std::vector<std::string>& arguments) {
    return run_program(folder, VKATTN_TEST_PROGRAM, arguments);
}
#endif

}  // namespace vkattn::test
