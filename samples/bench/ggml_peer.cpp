// ggml's attention operator (ggml_flash_attn_ext) on one of its back ends, by the protocol of peers.h. Masks are dense f16 tensors,
// as its callers pass them.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <ggml.h>

namespace {

[[noreturn]] void end_with(const std::string& line) {
    std::cout << line << std::endl;
    std::exit(0);
}

std::vector<char> read_all(const std::string& path, size_t bytes) {
    std::vector<char> content(bytes);
    std::ifstream file(path, std::ios::binary);
    if (!file.read(content.data(), static_cast<std::streamsize>(bytes))) end_with("unsupported cannot read " + path);
    return content;
}

// The back end "CPU", or "Vulkan" on the device that the caller measures.
ggml_backend_dev_t find_device(const std::string& backend) {
    if (*VKATTN_PEER_GGML_BACKENDS != '\0') ggml_backend_load_all_from_path(VKATTN_PEER_GGML_BACKENDS);
    else ggml_backend_load_all();
    const char* wanted = std::getenv("VKATTN_PEER_DEVICE");
    std::string others;
    for (size_t i = 0; i < ggml_backend_dev_count(); i++) {
        ggml_backend_dev_t device = ggml_backend_dev_get(i);
        const std::string name = ggml_backend_dev_name(device), description = ggml_backend_dev_description(device);
        if (!name.starts_with(backend)) continue;
        // ggml writes the driver's name behind some devices' own.
        if (backend == "CPU" || wanted == nullptr || description.starts_with(wanted)) return device;
        others += " '" + description + "'";
    }
    end_with("absent ggml's " + backend + " back end has no such device" + (others.empty() ? "" : "; it has" + others));
}

struct Case {
    std::string folder, type, mask, score;
    int64_t batch, q_heads, kv_heads, q_len, kv_len, head_dim;
    float cap;
    int threads;
};

ggml_tensor* input(ggml_context* context, const Case& c, ggml_type type, int64_t length, int64_t heads) {
    return ggml_new_tensor_4d(context, type, c.head_dim, length, heads, c.batch);
}

// Additive, f16: 0 or -inf, and with ALiBi the distance that ggml multiplies by a head's slope.
std::vector<ggml_fp16_t> dense_mask(const Case& c) {
    const auto pairs = static_cast<size_t>(c.q_len * c.kv_len);
    std::vector<char> keep;
    if (c.mask == "dense") keep = read_all(c.folder + "/mask.bin", pairs);
    std::vector<ggml_fp16_t> mask(pairs);
    for (int64_t q = 0; q < c.q_len; q++) {
        for (int64_t kv = 0; kv < c.kv_len; kv++) {
            const auto at = static_cast<size_t>(q * c.kv_len + kv);
            const bool kept = c.mask == "dense" ? keep[at] != 0 : c.mask == "full" || kv <= q;
            const float distance = c.score == "alibi" ? static_cast<float>(kv - q) : 0.0f;
            mask[at] = ggml_fp32_to_fp16(kept ? distance : -INFINITY);
        }
    }
    return mask;
}

// o is [B, Lq, Hq, D] in ggml; the caller wants [B, Hq, Lq, D].
void write_output(const Case& c, const ggml_tensor* o) {
    std::vector<float> theirs(static_cast<size_t>(ggml_nelements(o))), ours(theirs.size());
    ggml_backend_tensor_get(o, theirs.data(), 0, theirs.size() * sizeof(float));
    for (int64_t b = 0; b < c.batch; b++)
        for (int64_t h = 0; h < c.q_heads; h++)
            for (int64_t q = 0; q < c.q_len; q++)
                std::copy_n(theirs.begin() + ((b * c.q_len + q) * c.q_heads + h) * c.head_dim, c.head_dim,
                            ours.begin() + ((b * c.q_heads + h) * c.q_len + q) * c.head_dim);
    std::ofstream file(c.folder + "/o.bin", std::ios::binary);
    file.write(reinterpret_cast<const char*>(ours.data()), static_cast<std::streamsize>(ours.size() * sizeof(float)));
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2 && argc != 15) {
        std::cerr << "usage: vkattn-peer-ggml Vulkan|CPU [FOLDER B Hq Hkv Lq Lkv D TYPE MASK SCORE CAP THREADS TEXT]\n"
                     "vkattn-bench starts this program; its lines are explained in samples/bench/peers.h\n";
        return 2;
    }
    ggml_backend_dev_t device = find_device(argv[1]);
    if (argc == 2) end_with(std::string("ready ggml ") + ggml_version() + ", " + ggml_backend_dev_description(device));
    const auto number = [&](int i) { return std::atoll(argv[i]); };
    const Case c = {argv[2],
                    argv[9],
                    argv[10],
                    argv[11],
                    number(3),
                    number(4),
                    number(5),
                    number(6),
                    number(7),
                    number(8),
                    std::strtof(argv[12], nullptr),
                    std::atoi(argv[13])};

    ggml_backend_t backend = ggml_backend_dev_init(device, nullptr);
    if (backend == nullptr) end_with("unsupported the back end does not start");
    auto* set_threads = reinterpret_cast<ggml_backend_set_n_threads_t>(
        ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(device), "ggml_backend_set_n_threads"));
    if (set_threads != nullptr) set_threads(backend, c.threads);

    constexpr size_t max_tensors = 64;
    ggml_context* context =
        ggml_init({ggml_tensor_overhead() * max_tensors + ggml_graph_overhead() * 2, nullptr, true});
    const ggml_type type = c.type == "f32" ? GGML_TYPE_F32 : c.type == "f16" ? GGML_TYPE_F16 : GGML_TYPE_BF16;
    ggml_tensor* q = input(context, c, GGML_TYPE_F32, c.q_len, c.q_heads);
    ggml_tensor* k = input(context, c, type, c.kv_len, c.kv_heads);
    ggml_tensor* v = input(context, c, type, c.kv_len, c.kv_heads);
    const bool masked = c.mask != "full" || c.score == "alibi";
    ggml_tensor* mask = masked ? ggml_new_tensor_4d(context, GGML_TYPE_F16, c.kv_len, c.q_len, 1, 1) : nullptr;
    constexpr float alibi_bias = 8.0f;  // slopes 2^(-8 (h + 1) / heads), for a power of two
    if (c.score == "alibi" && (c.q_heads & (c.q_heads - 1)) != 0)
        end_with("unsupported ALiBi with a number of heads that is no power of two");
    ggml_tensor* o = ggml_flash_attn_ext(context, q, k, v, mask, 1.0f / std::sqrt(static_cast<float>(c.head_dim)),
                                         c.score == "alibi" ? alibi_bias : 0.0f, c.cap);
    ggml_cgraph* graph = ggml_new_graph(context);
    ggml_build_forward_expand(graph, o);
    if (!ggml_backend_supports_op(backend, o)) end_with("unsupported the back end does not offer this operator");
    if (ggml_backend_alloc_ctx_tensors(context, backend) == nullptr) end_with("unsupported no memory");

    const size_t element_bytes = c.type == "f32" ? 4 : 2;
    const auto q_elements = static_cast<size_t>(ggml_nelements(q));
    const auto q_bytes = read_all(c.folder + "/q.bin", q_elements * element_bytes);
    std::vector<float> q_f32(q_elements);  // ggml takes q as f32
    if (c.type == "f32") std::memcpy(q_f32.data(), q_bytes.data(), q_bytes.size());
    else if (c.type == "f16")
        ggml_fp16_to_fp32_row(reinterpret_cast<const ggml_fp16_t*>(q_bytes.data()), q_f32.data(),
                              static_cast<int64_t>(q_elements));
    else
        ggml_bf16_to_fp32_row(reinterpret_cast<const ggml_bf16_t*>(q_bytes.data()), q_f32.data(),
                              static_cast<int64_t>(q_elements));
    ggml_backend_tensor_set(q, q_f32.data(), 0, q_elements * sizeof(float));
    ggml_backend_tensor_set(k, read_all(c.folder + "/k.bin", ggml_nbytes(k)).data(), 0, ggml_nbytes(k));
    ggml_backend_tensor_set(v, read_all(c.folder + "/v.bin", ggml_nbytes(v)).data(), 0, ggml_nbytes(v));
    if (masked) ggml_backend_tensor_set(mask, dense_mask(c).data(), 0, ggml_nbytes(mask));

    const auto compute = [&] {
        const auto start = std::chrono::steady_clock::now();
        ggml_backend_graph_compute(backend, graph);
        ggml_backend_synchronize(backend);
        return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    };
    compute();  // pipelines are made at the first one
    std::cout << "ready" << std::endl;
    for (std::string line; std::getline(std::cin, line);) {
        if (line == "run") std::cout << "ms " << compute() << std::endl;
        if (line != "output") continue;
        write_output(c, o);
        std::cout << "done" << std::endl;
    }
}
