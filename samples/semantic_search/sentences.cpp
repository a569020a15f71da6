#include "sentences.h"

#include "support/file.h"
#include "tokenizer.h"

namespace semantic_search {

using vkattn::Code;
using vkattn::error;
using vkattn::Result;

namespace {

constexpr uint64_t max_file_bytes = 16u << 20;

constexpr std::string_view sentences[] = {
    "What is your age?",
    "What is your name?",
    "Where do you live?",
    "My mobile phone is broken.",
    "The laptop does not start any more.",
    "Her new computer is very fast.",
    "Will it snow tomorrow?",
    "It has been hot and sunny all week.",
    "A storm destroyed many houses on the coast.",
    "I am hungry and want to have dinner.",
    "The restaurant serves excellent pasta.",
    "An apple a day keeps the doctor away.",
    "Shares lost much of their value today.",
    "The bank raised its interest rates again.",
    "She saves a little money every month.",
    "The dog is sleeping on the sofa.",
    "Cats are excellent hunters.",
    "Birds fly south in the autumn.",
    "Our team won the football match.",
    "He runs ten kilometres every morning.",
    "The concert was sold out within an hour.",
    "The train to London leaves at nine.",
    "We missed our flight to Rome.",
    "The museum is closed on Mondays.",
};

// None of these shares its important words with its answer.
constexpr KnownPair pairs[] = {
    {"How old are you?", "What is your age?"},
    {"My telephone does not work.", "My mobile phone is broken."},
    {"Is there anything for supper?", "I am hungry and want to have dinner."},
    {"A puppy takes a nap on the couch.", "The dog is sleeping on the sofa."},
};

}  // namespace

std::span<const std::string_view> built_in_sentences() { return sentences; }
std::span<const KnownPair> known_pairs() { return pairs; }

Result<std::vector<std::string>> read_sentences(const std::string& path) {
    const auto bytes = vkattn::support::read_file(path, max_file_bytes);
    if (!bytes) return bytes.status();
    std::vector<std::string> lines;
    std::string line;
    size_t number = 1;
    for (size_t i = 0; i <= bytes->size(); i++) {
        if (i < bytes->size() && (*bytes)[i] != '\n') {
            line.push_back(static_cast<char>((*bytes)[i]));
            continue;
        }
        if (line.size() > max_text_bytes)
            return error(Code::limit_exceeded, path + ": line " + std::to_string(number) + " has " +
                                                   std::to_string(line.size()) + " bytes; at most " +
                                                   std::to_string(max_text_bytes) + " are taken");
        if (line.find_first_not_of(" \t\r\v\f") != std::string::npos) {
            if (line.back() == '\r') line.pop_back();
            lines.push_back(line);
        }
        line.clear();
        number++;
    }
    if (lines.empty()) return error(Code::invalid_argument, path + ": no sentences in it; one a line is expected");
    return lines;
}

}  // namespace semantic_search
