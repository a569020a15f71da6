// The tokenizer finds the segmentation with the highest score, and takes any bytes.
#include "tokenizer.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <random>

namespace vkattn_tests {
namespace {

using semantic_search::Tokenizer;

std::vector<Tokenizer::Piece> vocabulary(std::vector<Tokenizer::Piece> pieces) {
    std::vector<Tokenizer::Piece> all{{"\xef\xbf\xbd", 0.0}, {"<s>", 0.0}, {"</s>", 0.0},
                                      {"x1", 0.0},           {"x2", 0.0},  {"x3", 0.0}};
    all.insert(all.end(), pieces.begin(), pieces.end());
    return all;
}

Tokenizer make(std::vector<Tokenizer::Piece> pieces) {
    auto tokenizer = Tokenizer::from_pieces(vocabulary(std::move(pieces)));
    REQUIRE_MESSAGE(tokenizer.ok(), tokenizer.status().message);
    return *std::move(tokenizer);
}

std::vector<int32_t> encode(const Tokenizer& tokenizer, std::string_view text) {
    auto ids = tokenizer.encode(text);
    REQUIRE_MESSAGE(ids.ok(), ids.status().message);
    return *ids;
}

using Ids = std::vector<int32_t>;

}  // namespace

TEST_SUITE("tokenizer") {

    TEST_CASE("the best sum wins, not the longest piece") {
        const Tokenizer tokenizer =
            make({{"\u2581", -1.0}, {"ab", -1.0}, {"c", -1.0}, {"abc", -3.0}, {"\u2581a", -9.0}});
        CHECK(encode(tokenizer, "abc") == Ids{6, 7, 8});
        CHECK(encode(tokenizer, "abc c") == Ids{6, 7, 8, 6, 8});
    }

    TEST_CASE("white space of every kind is one separator, also around the text") {
        const Tokenizer tokenizer = make({{"\u2581a", -1.0}, {"\u2581", -2.0}, {"a", -2.0}});
        for (const char* text : {"a a", " a  a ", "\ta\r\na\n", "a\u00a0a", "a\u3000\u2003a", "a\u2581a", "\uff41 a"})
            CHECK_MESSAGE((encode(tokenizer, text) == Ids{6, 6}), text);
    }

    TEST_CASE("what no piece spells is unknown, neighbouring unknowns are one") {
        const Tokenizer tokenizer = make({{"\u2581", -1.0}, {"a", -1.0}});
        CHECK(encode(tokenizer, "a??a") == Ids{6, 7, 0, 7});
        CHECK(encode(tokenizer, "??") == Ids{6, 0});
        // Not UTF-8: cut short, overlong, a surrogate, beyond U+10FFFF, a lone continuation byte.
        for (const char* text : {"\xe2\x96", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\x80", "\xff"})
            CHECK_MESSAGE((encode(tokenizer, std::string("a") + text + "a") == Ids{6, 7, 0, 7}), text);
        // The reserved pieces' names are text like any other.
        CHECK(encode(tokenizer, "a<s>") == Ids{6, 7, 0});
    }

    TEST_CASE("a text has a size, and tokens are cut") {
        const Tokenizer tokenizer = make({{"\u2581", -1.0}, {"a", -1.0}});
        CHECK(encode(tokenizer, std::string(500, 'a')).size() == semantic_search::max_text_tokens);
        CHECK(encode(tokenizer, std::string(semantic_search::max_text_bytes, 'a')).size() ==
              semantic_search::max_text_tokens);
        const auto too_long = tokenizer.encode(std::string(semantic_search::max_text_bytes + 1, 'a'));
        REQUIRE(!too_long.ok());
        CHECK(too_long.status().message.find("8192") != std::string::npos);
        for (const char* text : {"", "  \t\n", "\u3000"}) CHECK(!tokenizer.encode(text).ok());
    }

    TEST_CASE("vocabularies that are none are refused") {
        CHECK(!Tokenizer::from_pieces({}).ok());
        CHECK(!Tokenizer::from_pieces(vocabulary({})).ok());
        CHECK(!Tokenizer::from_pieces(vocabulary({{"", -1.0}})).ok());
        CHECK(!Tokenizer::from_pieces(vocabulary({{std::string(1000, 'a'), -1.0}})).ok());
        CHECK(!Tokenizer::from_pieces(vocabulary({{"a", std::numeric_limits<double>::quiet_NaN()}})).ok());
    }

    // Every segmentation of a short text is tried; scores are whole numbers, so equal sums are equal.
    TEST_CASE("random vocabularies: no segmentation has a higher sum") {
        for (unsigned seed = 0; seed < 400; seed++) {
            std::mt19937 random(seed);
            const auto draw = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
            std::vector<Tokenizer::Piece> pieces{{"\u2581", -50.0}, {"a", -30.0}, {"b", -30.0}, {"\u00e9", -30.0}};
            const char* const letters[] = {"a", "b", "\u00e9"};
            for (int i = 0; i < 12; i++) {
                std::string piece;
                for (int n = 1 + draw(4); n > 0; n--) piece += letters[draw(3)];
                pieces.push_back({piece, -1.0 - draw(60)});
            }
            const Tokenizer tokenizer = make(pieces);
            std::vector<std::string> symbols{"\u2581"};
            std::string text;
            for (int n = 1 + draw(9); n > 0; n--) text += symbols.emplace_back(letters[draw(3)]);

            double best = -1e9;
            for (unsigned cuts = 0; cuts < 1u << (symbols.size() - 1); cuts++) {
                double sum = 0.0;
                std::string piece;
                for (size_t i = 0; i < symbols.size(); i++) {
                    piece += symbols[i];
                    if (i + 1 < symbols.size() && (cuts >> i & 1u) == 0) continue;
                    // The later of two equal pieces counts.
                    const auto found =
                        std::find_if(pieces.rbegin(), pieces.rend(), [&](const auto& p) { return p.text == piece; });
                    sum = found == pieces.rend() ? -1e9 : sum + found->score;
                    piece.clear();
                }
                best = std::max(best, sum);
            }
            double sum = 0.0;
            std::string spelled;
            for (int32_t id : encode(tokenizer, text)) {
                sum += tokenizer.piece(id).score;
                spelled += tokenizer.piece(id).text;
            }
            INFO("seed ", seed, " text ", text);
            CHECK(sum == best);
            CHECK(spelled == "\u2581" + text);
        }
    }

    TEST_CASE("random bytes never leave the vocabulary") {
        const Tokenizer tokenizer = make({{"\u2581", -1.0}, {"a", -1.0}, {"\u00e9", -2.0}, {"\U0001f600", -2.0}});
        for (unsigned seed = 0; seed < 2000; seed++) {
            std::mt19937 random(seed);
            std::string text(1 + random() % 40, ' ');
            for (char& c : text) c = static_cast<char>(static_cast<unsigned char>(random()));
            const auto ids = tokenizer.encode(text);
            INFO("seed ", seed);
            if (!ids.ok()) continue;  // nothing but white space
            CHECK(!ids->empty());
            CHECK(std::all_of(ids->begin(), ids->end(), [&](int32_t id) {
                return id == 0 || (id >= 6 && id < static_cast<int32_t>(tokenizer.size()));
            }));
        }
    }
}

}  // namespace vkattn_tests
