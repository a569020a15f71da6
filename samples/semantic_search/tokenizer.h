// Tokenizer: text to the model's vocabulary, by the segmentation with the highest sum of scores (unigram, Viterbi).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "vkattn/result.h"

namespace semantic_search {

constexpr size_t max_text_bytes = 8192;
constexpr size_t max_text_tokens = 128;  // the model's graph drops what follows

// Thread class: immutable once made; encode may run on many threads.
class Tokenizer {
  public:
    struct Piece {
        std::string text;  // UTF-8, U+2581 stands for a space
        double score = 0.0;
    };

    // `path`: the model's vocab.json, [[piece, score or null], ...]; null is 0. The file is data from the network: checked.
    static vkattn::Result<Tokenizer> load(const std::string& path);
    // The first n_reserved pieces are control pieces that no text spells; piece 0 stands for what the others cannot spell.
    static vkattn::Result<Tokenizer> from_pieces(std::vector<Piece> pieces);

    // The ids of a text, at most max_text_tokens. White space of every kind is a space, runs of it are one; full-width
    // ASCII is narrowed; other compatibility characters are taken as they are. Bytes that are not UTF-8 are unknown.
    // Errors: a text without anything to encode, or above max_text_bytes.
    vkattn::Result<std::vector<int32_t>> encode(std::string_view text) const;

    size_t size() const { return pieces_.size(); }
    const Piece& piece(int32_t id) const { return pieces_[static_cast<size_t>(id)]; }

    static constexpr size_t n_reserved = 6;

  private:
    struct Hash {
        using is_transparent = void;
        size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
    };

    Tokenizer() = default;

    std::vector<Piece> pieces_;
    std::unordered_map<std::string, int32_t, Hash, std::equal_to<>> ids_;
    size_t longest_symbols_ = 0;  // code points of the longest piece
    double unknown_score_ = 0.0;
};

}  // namespace semantic_search
