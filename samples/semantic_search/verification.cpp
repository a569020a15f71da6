#include "verification.h"

#include <cmath>
#include <cstdio>

#include "loop_attention.h"
#include "sentences.h"

namespace semantic_search {

using vkattn::Result;

namespace {

// Components are around 0.04. Packing and device change the order of f32 sums and nothing else.
constexpr double same = 1e-5;
constexpr double different = 1e-2;

constexpr int32_t known_ids[] = {728, 446, 31, 19, 54};  // "How old are you?", from the published model in float64
constexpr float known_values[] = {0.03868528f, 0.05044373f, -0.04552357f, 0.05607944f};

template <class... Values>
std::string text(const char* format, Values... values) {
    char line[256];
    std::snprintf(line, sizeof line, format, values...);
    return line;
}

Check check_difference(const char* name, const Embeddings& a, const Embeddings& b) {
    const double difference = max_difference(a, b);
    return {name, text("largest difference %.1e, at most %.0e", difference, same), difference <= same};
}

int32_t index_of(std::string_view sentence) {
    const auto sentences = built_in_sentences();
    for (size_t i = 0; i < sentences.size(); i++)
        if (sentences[i] == sentence) return static_cast<int32_t>(i);
    return -1;
}

}  // namespace

Result<std::vector<Check>> verify(const SentenceEncoder& encoder, DeviceAttention& device) {
    const auto sentence_texts = built_in_sentences();
    const auto pairs = known_pairs();
    std::vector<std::string> texts(sentence_texts.begin(), sentence_texts.end());
    for (const KnownPair& pair : pairs) texts.emplace_back(pair.query);
    auto ids = tokenise(encoder.tokenizer(), texts);
    if (!ids) return ids.status();
    const std::vector<Packing> packed = pack(*ids, device.max_tokens()), single = pack_one_by_one(*ids);

    const AttentionFunction on_device = [&](const AttentionCall& call) { return device.attend(call); };
    const AttentionFunction uniform = [&](const AttentionCall& call) { return device.attend(call, 0.0f); };
    const AttentionFunction loops = [](const AttentionCall& call) { return loop_attention(call); };
    const uint64_t pipelines_before = device.pipelines_created();
    const int64_t calls_before = device.calls();
    auto together = embed(encoder, packed, on_device);
    if (!together) return together.status();
    auto one_by_one = embed(encoder, single, on_device);
    if (!one_by_one) return one_by_one.status();
    auto flat = embed(encoder, packed, uniform);
    if (!flat) return flat.status();
    auto looped = embed(encoder, packed, loops);
    if (!looped) return looped.status();

    std::vector<Check> checks;
    checks.push_back(check_difference("packed equals one by one", *together, *one_by_one));
    checks.push_back(check_difference("device equals plain loops in double", *together, *looped));

    const std::vector<int32_t>& known = (*ids)[sentence_texts.size()];  // the first query
    std::string found;
    for (int32_t id : known) found += (found.empty() ? "" : " ") + std::to_string(id);
    checks.push_back({"tokens of '" + std::string(pairs[0].query) + "'", found,
                      std::equal(known.begin(), known.end(), std::begin(known_ids), std::end(known_ids))});
    const auto values = (*together)[static_cast<int32_t>(sentence_texts.size())];
    bool close = true;
    for (size_t i = 0; i < std::size(known_values); i++) close = close && std::abs(values[i] - known_values[i]) <= same;
    checks.push_back(
        {"its embedding",
         text("%.8f %.8f %.8f %.8f ...", double{values[0]}, double{values[1]}, double{values[2]}, double{values[3]}),
         close});

    // The corpus alone, as a search sees it.
    const auto corpus = [&](const Embeddings& all) {
        const size_t n = sentence_texts.size();
        return Embeddings{static_cast<int32_t>(n),
                          {all.values.begin(), all.values.begin() + static_cast<ptrdiff_t>(n * embedding_dim)}};
    };
    const Embeddings sentences = corpus(*together), flat_sentences = corpus(*flat);
    size_t first = 0, moved = 0;
    std::string scores;
    for (size_t i = 0; i < pairs.size(); i++) {
        const auto query = static_cast<int32_t>(sentence_texts.size() + i);
        const Match best = nearest(sentences, (*together)[query], 1).front();
        if (best.sentence == index_of(pairs[i].nearest)) first++;
        scores += text(i == 0 ? "%.2f" : " %.2f", double{best.score});
        const auto order = nearest(sentences, (*together)[query], 3),
                   flat_order = nearest(flat_sentences, (*flat)[query], 3);
        for (size_t rank = 0; rank < order.size(); rank++)
            if (order[rank].sentence != flat_order[rank].sentence) {
                moved++;
                break;
            }
    }
    checks.push_back(
        {"known pairs rank first", text("%zu of %zu, scores ", first, pairs.size()) + scores, first == pairs.size()});
    const double apart = max_difference(*together, *flat);
    checks.push_back({"uniform attention differs",
                      text("by %.2f; the three best change for %zu of %zu queries", apart, moved, pairs.size()),
                      apart >= different && moved > 0});

    const uint64_t made = device.pipelines_created() - pipelines_before;
    checks.push_back(
        {"no text makes a pipeline",
         text("%llu more in %lld calls of other lengths and documents", static_cast<unsigned long long>(made),
              static_cast<long long>(device.calls() - calls_before)),
         made == 0});
    return checks;
}

}  // namespace semantic_search
