// What else computes attention on this machine, timed turn by turn with ours. Each peer is a program of its own
// (ggml_peer.cpp, torch_peer.py) that gets the same q, k, v and mask in files:
//
//   PEER BACKEND FOLDER B Hq Hkv Lq Lkv D f32|f16|bf16 full|causal|dense none|alibi|softcap CAP THREADS MASK-TEXT
//   it writes "ready TEXT", "unsupported TEXT" or "absent TEXT"; then answers "run" by "ms X" and "output" by "done", after
//   it has written o [B, Hq, Lq, D] as f32 to FOLDER/o.bin. FOLDER has q.bin, k.bin, v.bin; where dense, mask.bin: a byte a pair; and
//   doc.bin, the table `doc` as i32, where the mask names it.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "attention_case.h"
#include "support/child_process.h"
#include "timings.h"

namespace vkattn::bench {

enum class PeerState : uint8_t { present, absent };

struct Peer {
    std::string name;     // "ggml Vulkan"
    std::string backend;  // as its program calls it
    std::vector<std::string> command;
    std::vector<std::pair<std::string, std::string>> environment;
    bool on_cpu = false;  // it computes there, by a software device or without
    PeerState state = PeerState::absent;
    std::string what;  // version and device; why it is absent
};

// `device_index`: where the device stands in vkEnumeratePhysicalDevices, which is how ggml names it. `python`: empty for
// install_peers.sh's where it is there, else python3.
std::vector<Peer> find_peers(const support::Device& device, uint32_t device_index, const std::string& python);

// One peer at one case.
struct PeerResult {
    std::string name;
    std::string state;  // "measured", "absent", "skipped", "unsupported", "failed", "wrong"
    std::string why;    // where it is not measured
    Timings timings;    // by the peer's own clock, around one call and its wait
    Ratio ratio;        // its time over ours, both by the host's clock
    double worst_row_error = 0.0;
};

// A 16-bit product may be rounded where ours is not; what is further off computed something else.
inline constexpr double peer_row_error_bound = 2e-2;

// The files of one case, removed with the object.
class PeerFiles {
  public:
    static Result<std::unique_ptr<PeerFiles>> write(const BenchCase& bench_case, const AttentionCase& attention);
    ~PeerFiles();
    PeerFiles(const PeerFiles&) = delete;
    PeerFiles& operator=(const PeerFiles&) = delete;

    const std::filesystem::path& folder() const { return folder_; }
    const std::vector<std::string>& arguments() const { return arguments_; }  // after BACKEND

  private:
    PeerFiles() = default;
    std::filesystem::path folder_;
    std::vector<std::string> arguments_;
};

// Stopped between its turns: OpenMP's and BLAS's threads spin for a while after their work, and ours would have half of the cores.
class RunningPeer {
  public:
    // Starts the program, which is present, and waits for its first line; a peer that cannot take the case is a result already.
    RunningPeer(const Peer& peer, const PeerFiles& files, double timeout_ms);
    const std::string& name() const { return result_.name; }
    bool running() const { return child_ != nullptr; }
    double run();  // milliseconds that it took; 0 when it is not running (any more)
    std::span<const double> times_ms() const { return times_ms_; }  // of its runs
    // Fetches its output, holds it against the reference and sums up.
    PeerResult finish(const AttentionCase& attention);

  private:
    void start(const Peer& peer, const PeerFiles& files);
    void give_up(std::string state, std::string why);
    Result<std::string> ask(const std::string& line);

    std::filesystem::path folder_;
    double timeout_ms_;
    std::unique_ptr<support::ChildProcess> child_;
    std::vector<double> times_ms_;
    PeerResult result_;
};

}  // namespace vkattn::bench
