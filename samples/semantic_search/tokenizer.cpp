#include "tokenizer.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <nlohmann/json.hpp>

#include "support/file.h"

namespace semantic_search {

using vkattn::Code;
using vkattn::error;
using vkattn::Result;

namespace {

constexpr size_t max_vocabulary_bytes = 16u << 20;
constexpr size_t max_pieces = 1u << 20;
constexpr size_t max_piece_bytes = 256;
constexpr double unknown_penalty = 10.0;  // below the rarest piece, as sentencepiece has it
constexpr char32_t replacement = 0xfffd;  // also what piece 0 is called
constexpr char32_t separator = 0x2581;

// The code point at `at` and the bytes that it takes; anything that is not shortest-form UTF-8 is U+FFFD, one byte.
struct Decoded {
    char32_t code = replacement;
    size_t bytes = 1;
};

Decoded decode(std::string_view text, size_t at) {
    const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned lead = byte(at);
    if (lead < 0x80) return {lead, 1};
    const size_t bytes = lead >= 0xf0 && lead < 0xf8   ? 4
                         : lead >= 0xe0 && lead < 0xf0 ? 3
                         : lead >= 0xc2 && lead < 0xe0 ? 2
                                                       : 0;
    if (bytes == 0 || at + bytes > text.size()) return {};
    char32_t code = lead & (0x7fu >> bytes);
    for (size_t i = 1; i < bytes; i++) {
        if ((byte(at + i) & 0xc0u) != 0x80u) return {};
        code = code << 6 | (byte(at + i) & 0x3fu);
    }
    const char32_t shortest = bytes == 2 ? 0x80 : bytes == 3 ? 0x800 : 0x10000;
    if (code < shortest || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return {};
    return {code, bytes};
}

void append(std::string& text, char32_t code) {
    const auto put = [&](char32_t byte) { text.push_back(static_cast<char>(static_cast<unsigned char>(byte))); };
    if (code < 0x80) {
        put(code);
    } else if (code < 0x800) {
        put(0xc0u | code >> 6);
        put(0x80u | (code & 0x3fu));
    } else if (code < 0x10000) {
        put(0xe0u | code >> 12);
        put(0x80u | (code >> 6 & 0x3fu));
        put(0x80u | (code & 0x3fu));
    } else {
        put(0xf0u | code >> 18);
        put(0x80u | (code >> 12 & 0x3fu));
        put(0x80u | (code >> 6 & 0x3fu));
        put(0x80u | (code & 0x3fu));
    }
}

bool is_space(char32_t c) {
    return c == ' ' || (c >= 0x09 && c <= 0x0d) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000 ||
           c == separator;
}

// The text as pieces spell it: a separator before every word, the first one included. `ends[i]` is the byte behind symbol i.
struct Spelled {
    std::string text;
    std::vector<size_t> ends;
};

Spelled spell(std::string_view text) {
    Spelled spelled;
    bool word_starts = true;
    for (size_t at = 0; at < text.size();) {
        const Decoded symbol = decode(text, at);
        at += symbol.bytes;
        if (is_space(symbol.code)) {
            word_starts = true;
            continue;
        }
        if (word_starts) {
            append(spelled.text, separator);
            spelled.ends.push_back(spelled.text.size());
            word_starts = false;
        }
        const bool full_width = symbol.code >= 0xff01 && symbol.code <= 0xff5e;
        append(spelled.text, full_width ? symbol.code - 0xfee0 : symbol.code);
        spelled.ends.push_back(spelled.text.size());
    }
    return spelled;
}

size_t count_symbols(std::string_view text) {
    size_t n = 0;
    for (size_t at = 0; at < text.size(); n++) at += decode(text, at).bytes;
    return n;
}

}  // namespace

Result<Tokenizer> Tokenizer::from_pieces(std::vector<Piece> pieces) {
    if (pieces.size() <= n_reserved || pieces.size() > max_pieces)
        return error(Code::invalid_argument, "a vocabulary has " + std::to_string(n_reserved + 1) + " to " +
                                                 std::to_string(max_pieces) + " pieces, not " +
                                                 std::to_string(pieces.size()));
    Tokenizer tokenizer;
    double lowest = 0.0;
    for (size_t i = 0; i < pieces.size(); i++) {
        const Piece& piece = pieces[i];
        if (piece.text.empty() || piece.text.size() > max_piece_bytes || !std::isfinite(piece.score))
            return error(Code::invalid_argument, "piece " + std::to_string(i) +
                                                     " of the vocabulary is empty, longer than " +
                                                     std::to_string(max_piece_bytes) + " bytes or has no finite score");
        lowest = std::min(lowest, piece.score);
        if (i < n_reserved) continue;
        tokenizer.longest_symbols_ = std::max(tokenizer.longest_symbols_, count_symbols(piece.text));
        tokenizer.ids_[piece.text] = static_cast<int32_t>(i);  // a piece that is there twice: the later one counts
    }
    tokenizer.unknown_score_ = lowest - unknown_penalty;
    tokenizer.pieces_ = std::move(pieces);
    return tokenizer;
}

Result<Tokenizer> Tokenizer::load(const std::string& path) {
    const auto text = vkattn::support::read_file(path, max_vocabulary_bytes);
    if (!text) return text.status();
    const auto wrong = [&](const std::string& what) { return error(Code::invalid_argument, path + ": " + what); };
    const auto json = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
    if (!json.is_array()) return wrong("not a JSON array of [piece, score] pairs");
    std::vector<Piece> pieces;
    pieces.reserve(std::min(json.size(), max_pieces));
    for (const auto& entry : json) {
        if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() ||
            !(entry[1].is_number() || entry[1].is_null()))
            return wrong("entry " + std::to_string(pieces.size()) + " is not a [piece, score] pair");
        if (pieces.size() == max_pieces) return wrong("more than " + std::to_string(max_pieces) + " pieces");
        pieces.push_back({entry[0].get<std::string>(), entry[1].is_null() ? 0.0 : entry[1].get<double>()});
    }
    auto tokenizer = from_pieces(std::move(pieces));
    if (!tokenizer) return wrong(tokenizer.status().message);
    return tokenizer;
}

Result<std::vector<int32_t>> Tokenizer::encode(std::string_view text) const {
    if (text.size() > max_text_bytes)
        return error(Code::limit_exceeded, "a text of " + std::to_string(text.size()) + " bytes; at most " +
                                               std::to_string(max_text_bytes) + " are taken");
    const Spelled spelled = spell(text);
    const size_t n = spelled.ends.size();
    if (n == 0)
        return error(Code::invalid_argument, "an empty text has no meaning to search for; give at least one word");

    // best[i]: the highest score of the first i symbols, whose last piece is last[i] and starts at from[i]. Every i can be
    // reached, by unknown symbols if need be.
    std::vector<double> best(n + 1, -std::numeric_limits<double>::infinity());
    std::vector<int32_t> last(n + 1, 0);
    std::vector<size_t> from(n + 1, 0);
    best[0] = 0.0;
    for (size_t start = 0; start < n; start++) {
        const size_t start_byte = start == 0 ? 0 : spelled.ends[start - 1];
        const auto offer = [&](size_t end, int32_t id, double score) {
            if (best[start] + score < best[end]) return;
            best[end] = best[start] + score;
            last[end] = id;
            from[end] = start;
        };
        offer(start + 1, 0, unknown_score_);
        for (size_t end = start + 1; end <= std::min(n, start + longest_symbols_); end++) {
            const auto found =
                ids_.find(std::string_view(spelled.text).substr(start_byte, spelled.ends[end - 1] - start_byte));
            if (found != ids_.end()) offer(end, found->second, pieces_[static_cast<size_t>(found->second)].score);
        }
    }
    std::vector<int32_t> ids;
    for (size_t end = n; end > 0; end = from[end])
        if (last[end] != 0 || ids.empty() || ids.back() != 0)
            ids.push_back(last[end]);  // neighbouring unknowns are one
    std::reverse(ids.begin(), ids.end());
    if (ids.size() > max_text_tokens) ids.resize(max_text_tokens);
    return ids;
}

}  // namespace semantic_search
