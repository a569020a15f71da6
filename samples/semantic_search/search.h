// Texts to embeddings in packs, and the nearest ones.
#pragma once

#include "model.h"

namespace semantic_search {

// Each text's token ids; an error names the text.
vkattn::Result<std::vector<std::vector<int32_t>>> tokenise(const Tokenizer& tokenizer,
                                                           std::span<const std::string> texts);

// Texts in order, as many to a pack as fit into max_tokens (at least max_text_tokens).
std::vector<Packing> pack(std::span<const std::vector<int32_t>> texts, int32_t max_tokens);
// Every text in a pack of its own.
std::vector<Packing> pack_one_by_one(std::span<const std::vector<int32_t>> texts);

vkattn::Result<Embeddings> embed(const SentenceEncoder& encoder, std::span<const Packing> packs,
                                 const AttentionFunction& attention);

struct Match {
    int32_t sentence = 0;
    float score = 0.0f;  // cosine, -1 to 1
};
// The `count` best, best first; equal scores in the order of the sentences.
std::vector<Match> nearest(const Embeddings& sentences, std::span<const float> query, size_t count);

}  // namespace semantic_search
