// llama.cpp's KV cells (github.com/ggml-org/llama.cpp, llama_kv_cache and llama_hparams::is_masked_swa).
//
// Keys are the cells of a cache, in any order, each with a position (-1: empty) and a set of sequence ids; queries are
// the tokens of a batch, each with a position and a sequence. A token sees the cells of its sequence; causal: at
// positions up to its own. Positions are compared, not indices. Windows:
//   standard   q - kv < n_swa: n_swa keys with causal
//   chunked    kv at or after the start of the token's chunk of n_swa positions
//   symmetric  |q - kv| <= n_swa / 2 (rounded down)
// The two-dimensional positions of M-RoPE images and the wider window inside image spans are not part of this.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "vkattn/mask.h"

namespace vkattn::llama_cpp {

enum class Window : uint8_t { none, standard, chunked, symmetric };

struct Cells {
    std::vector<int32_t> positions;               // [n_kv], -1: empty
    std::vector<std::vector<int32_t>> sequences;  // [n_kv], ids from 0 to 65535; in each of these
};
struct Tokens {
    std::vector<int32_t> positions;  // [n_tokens]
    std::vector<int32_t>
        sequences;  // [n_tokens]; of a token in several sequences any one, as llama.cpp takes the first
};

// Captured tables: `name`_cell_pos [n_kv + 1], `name`_cell_seq [words, n_kv + 1] (bit s % 32 of word s / 32: the cell
// is in sequence s), `name`_pos and `name`_seq [n_tokens + 1]. As text, for standard windows of n:
//   (kv_cell_seq[kv_seq[q] / 32, kv] >> kv_seq[q] % 32 & 1) == 1 && kv_cell_pos[kv] >= 0
//     && kv_cell_pos[kv] <= kv_pos[q] && kv_pos[q] - kv_cell_pos[kv] < n
// chunked: kv_cell_pos[kv] >= kv_pos[q] / n * n; symmetric: abs(kv_pos[q] - kv_cell_pos[kv]) <= n / 2.
// Positions past the tables attend to nothing, and nothing attends to them.
Mask kv_cells(const Cells& cells, const Tokens& tokens, bool causal = true, Window window = Window::none,
              int32_t n_swa = 0, std::string_view name = "kv");

}  // namespace vkattn::llama_cpp
