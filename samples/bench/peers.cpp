#include "peers.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "../cli/sampled_rows.h"
#include "support/file.h"
#include "vkattn/classify.h"
#include "vkattn/evaluate.h"

namespace vkattn::bench {
namespace {

constexpr uint32_t vendor_nvidia = 0x10de;
constexpr double probe_timeout_ms = 60000.0;  // python imports torch from a cold disk

// The first line of `command BACKEND`, which a peer's program answers by "ready" or "absent".
void probe(Peer& peer) {
    std::vector<std::string> argv = peer.command;
    argv.push_back(peer.backend);
    auto child = support::ChildProcess::start(argv, peer.environment);
    if (!child) {
        peer.what = child.status().message;
        return;
    }
    auto line = child->receive(probe_timeout_ms);
    if (!line) peer.what = line.status().message;
    else if (line->starts_with("ready ")) {
        peer.state = PeerState::present;
        peer.what = line->substr(6);
    } else peer.what = line->starts_with("absent ") ? line->substr(7) : "it answers '" + *line + "'";
}

Status write_bytes(const std::filesystem::path& path, std::span<const uint8_t> bytes) {
    const std::span<const uint8_t> chunks[] = {bytes};
    return support::write_file(path, chunks);
}

std::span<const uint8_t> document_bytes(const Bindings& bindings) {
    const auto found = bindings.tables.find("doc");
    if (found == bindings.tables.end()) return {};
    const std::vector<int32_t>& ids = found->second->i32;
    return {reinterpret_cast<const uint8_t*>(ids.data()), ids.size() * sizeof(int32_t)};
}

// A byte a pair, the same for all heads. Block lists settle most pairs: one by one, those of 16k x 16k would take half a minute.
Result<std::vector<uint8_t>> dense_mask(const Described& described, Shape shape) {
    constexpr uint64_t max_bytes = 256u << 20;
    shape.q_heads = shape.kv_heads = shape.batch = 1;
    const uint64_t bytes = static_cast<uint64_t>(shape.q_len) * static_cast<uint64_t>(shape.kv_len);
    if (bytes > max_bytes)
        return error(Code::limit_exceeded, "their dense mask would take " + std::to_string(bytes) + " bytes, at most " +
                                               std::to_string(max_bytes) + " are written");
    auto blocks = create_block_mask(described.mask, shape, described.bindings);
    if (!blocks) return blocks.status();
    auto evaluator = Evaluator::make(described.mask, shape, described.bindings);
    if (!evaluator) return evaluator.status();
    std::vector<uint8_t> keep(bytes);
    for (int32_t q = 0; q < shape.q_len; q++) {
        uint8_t* const row = keep.data() + static_cast<size_t>(q) * static_cast<size_t>(shape.kv_len);
        const auto block_row = static_cast<size_t>(q / blocks->block_q);
        for (uint32_t i = blocks->row_offsets[block_row]; i < blocks->row_offsets[block_row + 1]; i++) {
            const BlockRun& run = blocks->runs[i];
            const auto first = static_cast<int32_t>(run.first()) * blocks->block_kv;
            const int32_t end = std::min(first + static_cast<int32_t>(run.n_blocks) * blocks->block_kv, shape.kv_len);
            for (int32_t kv = first; kv < end; kv++) row[kv] = run.full() || evaluator->mask(0, 0, q, kv) ? 1 : 0;
        }
    }
    return keep;
}

// "softcap(30)" and no other form.
bool softcap_of(const std::string& score, float& cap) {
    char close = '\0';
    char rest = '\0';
    return std::sscanf(score.c_str(), "softcap(%f%c%c", &cap, &close, &rest) == 2 && close == ')';
}

}  // namespace

std::vector<Peer> find_peers(const support::Device& device, uint32_t device_index, const std::string& python) {
    std::vector<Peer> peers;
    const bool software = device.info().type == VK_PHYSICAL_DEVICE_TYPE_CPU;
    const std::string program = VKATTN_BENCH_GGML_PEER;
    for (const char* backend : {"Vulkan", "CPU"}) {
        Peer peer;
        peer.name = std::string("ggml ") + backend;
        peer.backend = backend;
        peer.on_cpu = software || peer.backend == "CPU";
        if (program.empty()) {
            peer.what =
                "this program was built without ggml's headers and library (install_peers.sh, or VKATTN_GGML_ROOT)";
        } else {
            peer.command = {program};
            const char* path = std::getenv("LD_LIBRARY_PATH");
            peer.environment = {
                {"GGML_VK_VISIBLE_DEVICES", std::to_string(device_index)},
                {"VKATTN_PEER_DEVICE", device.info().name},
                {"LD_LIBRARY_PATH", std::string(VKATTN_BENCH_GGML_LIBRARIES) + (path == nullptr ? "" : ":") +
                                        (path == nullptr ? "" : path)},
            };
            probe(peer);
        }
        peers.push_back(std::move(peer));
    }
    constexpr std::pair<const char*, const char*> torch_backends[] = {
        {"torch CPU", "cpu"}, {"torch flash", "flash"}, {"torch cuDNN", "cudnn"}, {"torch flex_attention", "flex"}};
    std::error_code ignored;
    const std::string private_python = VKATTN_BENCH_PEERS "/python";  // install_peers.sh's
    const std::string default_python = std::filesystem::exists(private_python, ignored) ? private_python : "python3";
    // torch's own NVIDIA device is the one to compare with only where that is what is measured; importing torch takes seconds.
    const bool nvidia = device.info().vendor_id == vendor_nvidia;
    for (const auto& [name, backend] : torch_backends) {
        Peer torch;
        torch.name = name;
        torch.backend = backend;
        torch.on_cpu = torch.backend == "cpu";
        torch.command = {python.empty() ? default_python : python, VKATTN_BENCH_TORCH_PEER};
        if (nvidia || torch.backend == "cpu") probe(torch);
        else torch.what = "the device that is measured is not NVIDIA's";
        peers.push_back(std::move(torch));
    }
    return peers;
}

Result<std::unique_ptr<PeerFiles>> PeerFiles::write(const BenchCase& c, const AttentionCase& attention) {
    std::unique_ptr<PeerFiles> files(new PeerFiles());
    std::string mask_kind = c.mask == "true" ? "full" : c.mask == "causal()" ? "causal" : "dense";
    std::vector<uint8_t> dense;
    if (mask_kind == "dense") {
        auto made = dense_mask(attention.described(), c.shape);
        if (!made) return made.status();
        dense = std::move(*made);
    }
    float cap = 0.0f;
    std::string score = "none";
    if (c.score == "alibi()") score = "alibi";
    else if (softcap_of(c.score, cap)) score = "softcap";
    else if (c.score != "score")
        return error(Code::unsupported, "peers know the score mods alibi() and softcap(X) only");

    const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
    std::error_code failure;
    files->folder_ = std::filesystem::temp_directory_path(failure) / ("vkattn-bench-" + std::to_string(now));
    if (!std::filesystem::create_directory(files->folder_, failure))
        return error(Code::io_error, "cannot make the folder " + files->folder_.string());
    const cli::AttentionTensors& t = attention.tensors();
    const struct {
        const char* name;
        std::span<const uint8_t> bytes;
    } contents[] = {{"q.bin", t.q.bytes},
                    {"k.bin", t.k.bytes},
                    {"v.bin", t.v.bytes},
                    {"mask.bin", dense},
                    {"doc.bin", document_bytes(attention.described().bindings)}};
    for (const auto& [name, bytes] : contents)
        if (Status status = write_bytes(files->folder_ / name, bytes); !status.ok()) return status;

    const Shape& s = c.shape;
    files->arguments_ = {files->folder_.string()};
    for (const int32_t n : {s.batch, s.q_heads, s.kv_heads, s.q_len, s.kv_len, c.head_dim})
        files->arguments_.push_back(std::to_string(n));
    for (const std::string& word : {std::string(to_string(c.type)), mask_kind, score, std::to_string(cap),
                                    std::to_string(std::max(1u, std::thread::hardware_concurrency())), c.mask})
        files->arguments_.push_back(word);
    return files;
}

PeerFiles::~PeerFiles() {
    std::error_code ignored;
    if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
}

RunningPeer::RunningPeer(const Peer& peer, const PeerFiles& files, double timeout_ms)
    : folder_(files.folder()), timeout_ms_(timeout_ms) {
    result_.name = peer.name;
    start(peer, files);
}

void RunningPeer::start(const Peer& peer, const PeerFiles& files) {
    std::vector<std::string> argv = peer.command;
    argv.push_back(peer.backend);
    argv.insert(argv.end(), files.arguments().begin(), files.arguments().end());
    auto child = support::ChildProcess::start(argv, peer.environment);
    if (!child) return give_up("failed", child.status().message);
    child_ = std::make_unique<support::ChildProcess>(std::move(*child));
    auto line = child_->receive(timeout_ms_);
    if (!line) return give_up("failed", line.status().message);
    if (line->starts_with("unsupported ")) return give_up("unsupported", line->substr(12));
    if (!line->starts_with("ready")) return give_up("failed", "it answers '" + *line + "'");
    child_->pause();
}

void RunningPeer::give_up(std::string state, std::string why) {
    child_.reset();
    result_.state = std::move(state);
    result_.why = std::move(why);
}

Result<std::string> RunningPeer::ask(const std::string& line) {
    child_->resume();
    if (Status status = child_->send(line); !status.ok()) return status;
    auto answer = child_->receive(timeout_ms_);
    child_->pause();
    return answer;
}

double RunningPeer::run() {
    if (!running()) return 0.0;
    auto line = ask("run");
    if (!line) {
        give_up("failed", line.status().message);
        return 0.0;
    }
    char* end = nullptr;
    const double ms = line->starts_with("ms ") ? std::strtod(line->c_str() + 3, &end) : 0.0;
    if (!(ms > 0.0) || *end != '\0') {
        give_up("failed", "it answers '" + *line + "'");
        return 0.0;
    }
    times_ms_.push_back(ms);
    return ms;
}

PeerResult RunningPeer::finish(const AttentionCase& attention) {
    if (!running()) return result_;
    auto line = ask("output");
    if (!line || *line != "done") {
        give_up("failed", line ? "it answers '" + *line + "'" : line.status().message);
        return result_;
    }
    const cli::AttentionTensors& t = attention.tensors();
    const Shape& s = t.shape;
    const auto elements = static_cast<uint64_t>(s.batch) * static_cast<uint64_t>(s.q_heads) *
                          static_cast<uint64_t>(s.q_len) * static_cast<uint64_t>(t.value_dim);
    auto bytes = support::read_file(folder_ / "o.bin", elements * sizeof(float));
    if (!bytes || bytes->size() != elements * sizeof(float)) {
        give_up("failed", "its output has another size");
        return result_;
    }
    const auto rows = cli::sample_rows(s, AttentionCase::checked_rows);
    const Described& described = attention.described();
    auto reference = cli::reference_rows(described.mask, described.score_mod, described.bindings, t, rows);
    if (!reference) {
        give_up("failed", reference.status().message);
        return result_;
    }
    const auto o = cli::pick_rows(cli::widened(*bytes, ElementType::f32), s, t.value_dim, rows);
    const RowErrors errors = compare_rows(*reference, o.data(), static_cast<int64_t>(rows.size()), t.value_dim, 0.0);
    result_.worst_row_error = errors.worst;
    result_.timings = summarise(times_ms_);
    result_.state = errors.worst <= peer_row_error_bound ? "measured" : "wrong";
    if (result_.state == "wrong") result_.why = "its result is not this attention, so it is not compared";
    return result_;
}

}  // namespace vkattn::bench
