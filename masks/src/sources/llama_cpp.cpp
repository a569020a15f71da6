#include "vkattn/sources/llama_cpp.h"

#include <algorithm>
#include <string>

#include "packed_sequences.h"

namespace vkattn::llama_cpp {
namespace {

constexpr int32_t max_sequences = 65536;

Status check_input(const Cells& cells, const Tokens& tokens, Window window, int32_t n_swa) {
    const auto bad = [](const std::string& message) {
        return error(Code::invalid_argument, "llama_cpp::kv_cells: " + message);
    };
    if (cells.positions.size() != cells.sequences.size())
        return bad("cells have as many positions as sets of sequences");
    if (tokens.positions.size() != tokens.sequences.size()) return bad("tokens have as many positions as sequences");
    for (size_t i = 0; i < cells.positions.size(); ++i) {
        if (cells.positions[i] < -1) {
            return bad("cell " + std::to_string(i) + " is at position " + std::to_string(cells.positions[i]) +
                       "; -1 is an empty cell");
        }
    }
    for (size_t i = 0; i < tokens.positions.size(); ++i) {
        if (tokens.positions[i] < 0)
            return bad("token " + std::to_string(i) + " is at position " + std::to_string(tokens.positions[i]));
    }
    const auto is_sequence = [](int32_t id) { return id >= 0 && id < max_sequences; };
    const bool known = std::all_of(tokens.sequences.begin(), tokens.sequences.end(), is_sequence) &&
                       std::all_of(cells.sequences.begin(), cells.sequences.end(),
                                   [&](const auto& ids) { return std::all_of(ids.begin(), ids.end(), is_sequence); });
    if (!known) return bad("sequence ids go from 0 to 65535");
    if (window != Window::none && n_swa < 1)
        return bad("n_swa is " + std::to_string(n_swa) + ", it must be at least 1");
    return {};
}

}  // namespace

Mask kv_cells(const Cells& cells, const Tokens& tokens, bool causal, Window window, int32_t n_swa,
              std::string_view name) {
    if (Status status = check_input(cells, tokens, window, n_swa); !status.ok()) return Mask::broken(status);

    int32_t n_sequences = 0;
    for (const std::vector<int32_t>& ids : cells.sequences) {
        for (const int32_t id : ids) n_sequences = std::max(n_sequences, id + 1);
    }
    for (const int32_t id : tokens.sequences) n_sequences = std::max(n_sequences, id + 1);
    const int32_t no_sequence = (n_sequences + 31) / 32 * 32;  // its word has no bits

    // The entries past the last cell and token stand for everything behind them: indices are clamped.
    const size_t n_cells = cells.positions.size() + 1;
    TableData bits;
    bits.dims = {no_sequence / 32 + 1, static_cast<int64_t>(n_cells)};
    bits.i32.assign(static_cast<size_t>(bits.count()), 0);
    for (size_t cell = 0; cell < cells.sequences.size(); ++cell) {
        for (const int32_t id : cells.sequences[cell]) {
            int32_t& word = bits.i32[static_cast<size_t>(id / 32) * n_cells + cell];
            word = static_cast<int32_t>(static_cast<uint32_t>(word) | 1u << (id % 32));
        }
    }
    std::vector<int32_t> cell_positions = cells.positions, positions = tokens.positions, sequences = tokens.sequences;
    cell_positions.push_back(-1);
    positions.push_back(0);
    sequences.push_back(no_sequence);

    const std::string prefix(name);
    const TableExpr cell_pos = packed::captured_i32(prefix + "_cell_pos", std::move(cell_positions)),
                    cell_seq = table(prefix + "_cell_seq", std::move(bits)),
                    pos = packed::captured_i32(prefix + "_pos", std::move(positions)),
                    seq = packed::captured_i32(prefix + "_seq", std::move(sequences));
    return trace_mask([&](Index, Index, Index q, Index kv) {
        const Expr in_sequence = ((cell_seq(seq(q) / 32, kv) >> seq(q) % 32) & 1) == 1;
        Expr result = in_sequence && cell_pos(kv) >= 0;
        if (causal) result = result && cell_pos(kv) <= pos(q);
        switch (window) {
        case Window::none: return result;
        case Window::standard: return result && pos(q) - cell_pos(kv) < n_swa;
        case Window::chunked: return result && cell_pos(kv) >= pos(q) / n_swa * n_swa;
        case Window::symmetric: return result && abs(pos(q) - cell_pos(kv)) <= Expr(n_swa) / 2;
        }
        return result;
    });
}

}  // namespace vkattn::llama_cpp
