// llama.cpp's own llama_kv_cache::set_input_kq_mask and llama_hparams::is_masked_swa, cut out of its sources by
// make_positions.py into the two .inc files and compiled with its own llama-kv-cells.h; everything else that they
// touch is declared here. Reads a problem as integers, prints what is added to each score, x where -inf is:
//   alibi causal window n_swa n_tokens n_kv, then per cell: position, n ids, ids; per token: position, sequence
#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

using llama_pos = int32_t;
using llama_seq_id = int32_t;
#define LLAMA_MAX_SEQ 256
#include "llama-kv-cells.h"

enum llama_swa_type {
    LLAMA_SWA_TYPE_NONE = 0,
    LLAMA_SWA_TYPE_STANDARD = 1,
    LLAMA_SWA_TYPE_CHUNKED = 2,
    LLAMA_SWA_TYPE_SYMMETRIC = 3,
};
struct llama_hparams {
    bool use_alibi = false;
    static bool is_masked_swa(uint32_t n_swa, llama_swa_type swa_type, llama_pos p0, llama_pos p1);
};
#include "is_masked_swa.inc"

#define GGML_ASSERT(x) assert(x)
struct ggml_tensor {
    void* buffer;
    int64_t ne[4];
    void* data;
};
static bool ggml_backend_buffer_is_host(void*) { return true; }
static int64_t ggml_nelements(const ggml_tensor* t) { return t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3]; }
struct llama_ubatch {
    uint32_t n_tokens;
    llama_pos* pos;
    llama_seq_id** seq_id;
    bool is_pos_2d() const { return false; }
};
struct llama_kv_cache {
    llama_hparams hparams;
    std::vector<llama_kv_cells> v_cells;
    std::vector<uint32_t> seq_to_stream;
    uint32_t n_swa;
    llama_swa_type swa_type;
    bool is_masked_swa(llama_pos p0, llama_pos p1) const {
        return llama_hparams::is_masked_swa(n_swa, swa_type, p0, p1);
    }
    void set_input_kq_mask(ggml_tensor* dst, const llama_ubatch* ubatch, bool causal_attn) const;
};
#include "set_input_kq_mask.inc"

static int next() {
    int value = 0;
    if (std::scanf("%d", &value) != 1) std::exit(1);
    return value;
}

int main() {
    llama_kv_cache cache;
    cache.hparams.use_alibi = next() != 0;
    const bool causal = next() != 0;
    cache.swa_type = static_cast<llama_swa_type>(next());
    cache.n_swa = static_cast<uint32_t>(next());
    const int n_tokens = next(), n_kv = next();
    cache.v_cells.resize(1);
    cache.v_cells[0].resize(static_cast<uint32_t>(n_kv));
    cache.seq_to_stream.assign(LLAMA_MAX_SEQ, 0);
    for (int i = 0; i < n_kv; ++i) {
        const int position = next(), n_ids = next();
        if (position >= 0) cache.v_cells[0].pos_set(static_cast<uint32_t>(i), position);
        for (int k = 0; k < n_ids; ++k) {
            const int id = next();
            if (position >= 0) cache.v_cells[0].seq_add(static_cast<uint32_t>(i), id);
        }
    }
    std::vector<llama_pos> positions(static_cast<size_t>(n_tokens));
    std::vector<llama_seq_id> ids(static_cast<size_t>(n_tokens));
    std::vector<llama_seq_id*> first;
    for (int i = 0; i < n_tokens; ++i) {
        positions[static_cast<size_t>(i)] = next();
        ids[static_cast<size_t>(i)] = next();
        first.push_back(&ids[static_cast<size_t>(i)]);
    }
    std::vector<float> data(static_cast<size_t>(n_tokens) * static_cast<size_t>(n_kv));
    ggml_tensor mask{nullptr, {n_kv, n_tokens, 1, 1}, data.data()};
    const llama_ubatch batch{static_cast<uint32_t>(n_tokens), positions.data(), first.data()};
    cache.set_input_kq_mask(&mask, &batch, causal);
    for (const float value : data) {
        if (std::isinf(value)) std::printf("x ");
        else std::printf("%d ", static_cast<int>(value));
    }
}
