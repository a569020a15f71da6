#include "support/child_process.h"

#ifndef _WIN32
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

namespace vkattn::support {

#ifdef _WIN32

namespace {
Status no_fork() { return error(Code::unsupported, "other programs are started on POSIX systems only"); }
}  // namespace

Result<ChildProcess> ChildProcess::start(const std::vector<std::string>&,
                                         const std::vector<std::pair<std::string, std::string>>&) {
    return no_fork();
}
Result<ChildProcess> ChildProcess::fork_worker(const std::function<void(const Say&)>&) { return no_fork(); }
ChildProcess::ChildProcess(ChildProcess&&) noexcept = default;
ChildProcess::~ChildProcess() = default;
Status ChildProcess::send(const std::string&) { return no_fork(); }
void ChildProcess::pause() {}
void ChildProcess::resume() {}
Result<std::string> ChildProcess::receive(double) { return no_fork(); }
Result<std::string> in_fresh_process(const std::vector<std::pair<std::string, std::string>>&,
                                     const std::function<std::string()>&) {
    return no_fork();
}

#else

namespace {

constexpr size_t longest_line = 1u << 16;
constexpr int exit_cannot_start = 127;  // as shells have it

Status failed(const char* call) {
    return error(Code::io_error, std::string(call) + " failed (errno " + std::to_string(errno) + ")");
}

void add_to_environment(const std::vector<std::pair<std::string, std::string>>& environment) {
    for (const auto& [name, value] : environment) setenv(name.c_str(), value.c_str(), 1);
}

void write_all(int to, const std::string& text) {
    size_t done = 0;
    while (done < text.size()) {
        const ssize_t n = write(to, text.data() + done, text.size() - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return;
        done += static_cast<size_t>(n);
    }
}

// Two ends that programs started later do not inherit.
bool open_pipe(int ends[2]) {
    if (pipe(ends) != 0) return false;
    for (int i = 0; i < 2; i++) fcntl(ends[i], F_SETFD, FD_CLOEXEC);
    return true;
}

}  // namespace

Result<ChildProcess> ChildProcess::start(const std::vector<std::string>& argv,
                                         const std::vector<std::pair<std::string, std::string>>& environment) {
    int in[2], out[2];
    if (!open_pipe(in)) return failed("pipe");
    if (!open_pipe(out)) {
        close(in[0]);
        close(in[1]);
        return failed("pipe");
    }
    std::signal(SIGPIPE, SIG_IGN);  // a peer that died is an error of send(), not our end

    // Everything that allocates happens before fork: afterwards only the calling thread exists.
    std::vector<std::string> words;
    for (char** entry = environ; *entry != nullptr; entry++) {
        const std::string word = *entry;
        bool replaced = false;
        for (const auto& [name, value] : environment) replaced = replaced || word.starts_with(name + "=");
        if (!replaced) words.push_back(word);
    }
    for (const auto& [name, value] : environment) words.push_back(name + "=" + value);
    std::vector<char*> child_environment, child_argv;
    for (std::string& word : words) child_environment.push_back(word.data());
    child_environment.push_back(nullptr);
    std::vector<std::string> arguments = argv;
    for (std::string& argument : arguments) child_argv.push_back(argument.data());
    child_argv.push_back(nullptr);

    const pid_t pid = fork();
    if (pid == 0) {
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        const int nowhere = open("/dev/null", O_WRONLY);
        if (nowhere >= 0) dup2(nowhere, STDERR_FILENO);
        environ = child_environment.data();
        execvp(child_argv[0], child_argv.data());
        _exit(exit_cannot_start);
    }
    close(in[0]);
    close(out[1]);
    if (pid < 0) {
        close(in[1]);
        close(out[0]);
        return failed("fork");
    }
    ChildProcess child;
    child.pid_ = pid;
    child.to_ = in[1];
    child.from_ = out[0];
    return child;
}

Result<ChildProcess> ChildProcess::fork_worker(const std::function<void(const Say&)>& work) {
    int out[2];
    if (!open_pipe(out)) return failed("pipe");
    std::fflush(nullptr);  // else both processes print what is not printed yet
    const pid_t pid = fork();
    if (pid == 0) {
        close(out[0]);
        dup2(out[1], STDOUT_FILENO);
        dup2(out[1], STDERR_FILENO);
        // A line of its own, whatever a library has printed before.
        work([&](const std::string& line) { write_all(out[1], "\n" + line + "\n"); });
        std::fflush(nullptr);
        _exit(0);
    }
    close(out[1]);
    if (pid < 0) {
        close(out[0]);
        return failed("fork");
    }
    ChildProcess child;
    child.pid_ = pid;
    child.from_ = out[0];
    return child;
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      to_(std::exchange(other.to_, -1)),
      from_(std::exchange(other.from_, -1)),
      pending_(std::move(other.pending_)) {}

ChildProcess::~ChildProcess() {
    if (to_ >= 0) close(to_);
    if (from_ >= 0) close(from_);
    if (pid_ < 0) return;
    resume();
    constexpr int patience_ms = 500, last_patience_ms = 5000;
    const auto has_ended = [&](int within_ms) {
        for (int waited_ms = 0; waited_ms < within_ms; waited_ms += 10) {
            if (waitpid(pid_, nullptr, WNOHANG) != 0) return true;
            usleep(10000);
        }
        return false;
    };
    if (has_ended(patience_ms)) return;
    kill(pid_, SIGKILL);
    has_ended(last_patience_ms);  // a driver that hangs inside the kernel may outlive even that
}

std::string ChildProcess::how_it_ended() {
    int status = 0;
    const pid_t waited = waitpid(pid_, &status, 0);
    pid_ = -1;
    if (waited < 0) return "it ended";
    if (WIFSIGNALED(status)) return "ended by signal " + std::to_string(WTERMSIG(status));
    if (WEXITSTATUS(status) == exit_cannot_start) return "it cannot be started";
    return "exit code " + std::to_string(WEXITSTATUS(status));
}

// A stopped child goes on by itself when we end: its process group is orphaned then.
void ChildProcess::pause() {
    if (pid_ > 0) kill(pid_, SIGSTOP);
}
void ChildProcess::resume() {
    if (pid_ > 0) kill(pid_, SIGCONT);
}

Status ChildProcess::send(const std::string& line) {
    const std::string text = line + "\n";
    if (write(to_, text.data(), text.size()) == static_cast<ssize_t>(text.size())) return {};
    return error(Code::io_error, "the program does not listen");
}

Result<std::string> ChildProcess::receive(double timeout_ms) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::duration<double, std::milli>(timeout_ms);
    while (true) {
        if (const size_t end = pending_.find('\n'); end != std::string::npos) {
            std::string line = pending_.substr(0, end);
            pending_.erase(0, end + 1);
            return line;
        }
        if (pending_.size() > longest_line) return error(Code::io_error, "it wrote a line that is too long");
        const std::chrono::duration<double, std::milli> left = deadline - std::chrono::steady_clock::now();
        if (left.count() <= 0.0)
            return error(Code::io_error,
                         "no answer within " + std::to_string(static_cast<int>(timeout_ms / 1000.0)) + " s");
        pollfd watched{from_, POLLIN, 0};
        if (poll(&watched, 1, static_cast<int>(left.count()) + 1) <= 0) continue;
        char bytes[4096];
        const ssize_t n = read(from_, bytes, sizeof bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return error(Code::io_error, how_it_ended());
        pending_.append(bytes, static_cast<size_t>(n));
    }
}

Result<std::string> in_fresh_process(const std::vector<std::pair<std::string, std::string>>& environment,
                                     const std::function<std::string()>& work) {
    int out[2];
    if (!open_pipe(out)) return failed("pipe");
    const pid_t pid = fork();
    if (pid == 0) {
        add_to_environment(environment);
        write_all(out[1], work());
        _exit(0);
    }
    close(out[1]);
    std::string text;
    if (pid > 0) {
        char bytes[4096];
        for (ssize_t n = read(out[0], bytes, sizeof bytes); n > 0; n = read(out[0], bytes, sizeof bytes))
            text.append(bytes, static_cast<size_t>(n));
    }
    close(out[0]);
    if (pid < 0) return failed("fork");
    int status = 0;
    waitpid(pid, &status, 0);
    if (WIFSIGNALED(status)) return error(Code::device_error, "ended by signal " + std::to_string(WTERMSIG(status)));
    return text;
}

#endif

}  // namespace vkattn::support
