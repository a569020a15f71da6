#include "search.h"

#include <algorithm>

namespace semantic_search {

using vkattn::Result;
using vkattn::Status;

Result<std::vector<std::vector<int32_t>>> tokenise(const Tokenizer& tokenizer, std::span<const std::string> texts) {
    std::vector<std::vector<int32_t>> ids;
    for (const std::string& text : texts) {
        auto encoded = tokenizer.encode(text);
        if (!encoded) return error(encoded.status().code, "'" + text.substr(0, 60) + "': " + encoded.status().message);
        ids.push_back(*std::move(encoded));
    }
    return ids;
}

std::vector<Packing> pack(std::span<const std::vector<int32_t>> texts, int32_t max_tokens) {
    std::vector<Packing> packs;
    for (const auto& ids : texts) {
        if (packs.empty() || static_cast<size_t>(packs.back().tokens()) + ids.size() > static_cast<size_t>(max_tokens))
            packs.emplace_back();
        packs.back().append(ids);
    }
    return packs;
}

std::vector<Packing> pack_one_by_one(std::span<const std::vector<int32_t>> texts) {
    std::vector<Packing> packs(texts.size());
    for (size_t i = 0; i < texts.size(); i++) packs[i].append(texts[i]);
    return packs;
}

Result<Embeddings> embed(const SentenceEncoder& encoder, std::span<const Packing> packs,
                         const AttentionFunction& attention) {
    Embeddings all;
    for (const Packing& packing : packs) {
        auto embeddings = encoder.embed(packing, attention);
        if (!embeddings) return embeddings;
        all.append(*embeddings);
    }
    return all;
}

std::vector<Match> nearest(const Embeddings& sentences, std::span<const float> query, size_t count) {
    std::vector<Match> matches;
    for (int32_t i = 0; i < sentences.count; i++) matches.push_back({i, cosine(sentences[i], query)});
    std::stable_sort(matches.begin(), matches.end(), [](const Match& a, const Match& b) { return a.score > b.score; });
    matches.resize(std::min(count, matches.size()));
    return matches;
}

}  // namespace semantic_search
