// What the published model computes, with attention as plain loops on the CPU.
#include <doctest/doctest.h>

#include <cmath>

#include "loop_attention.h"
#include "search.h"
#include "sentences.h"
#include "the_model.h"

namespace vkattn_tests {
namespace {

using namespace semantic_search;

const AttentionFunction loops = [](const AttentionCall& call) { return loop_attention(call); };

std::vector<std::vector<int32_t>> ids_of(const SentenceEncoder& model, const std::vector<std::string>& texts) {
    auto ids = tokenise(model.tokenizer(), texts);
    REQUIRE_MESSAGE(ids.ok(), ids.status().message);
    return *ids;
}

Embeddings embeddings_of(const SentenceEncoder& model, std::span<const Packing> packs,
                         const AttentionFunction& attention = loops) {
    auto embeddings = embed(model, packs, attention);
    REQUIRE_MESSAGE(embeddings.ok(), embeddings.status().message);
    return *embeddings;
}

std::vector<std::string> built_in() { return {built_in_sentences().begin(), built_in_sentences().end()}; }

}  // namespace

TEST_SUITE("model") {

    TEST_CASE("'How old are you?' has the published tokens and embedding") {
        const SentenceEncoder* model = the_model();
        if (model == nullptr) return;
        CHECK(model->tokenizer().size() == 8000);
        CHECK(model->weight_bytes() == 27903656);
        const auto ids = ids_of(*model, {"How old are you?"});
        CHECK(ids[0] == std::vector<int32_t>{728, 446, 31, 19, 54});
        const Embeddings embeddings = embeddings_of(*model, pack_one_by_one(ids));
        const float known[] = {0.03868528f, 0.05044373f, -0.04552357f, 0.05607944f};
        for (size_t i = 0; i < 4; i++) CHECK(std::abs(embeddings[0][i] - known[i]) < 1e-6f);
        CHECK(cosine(embeddings[0], embeddings[0]) == doctest::Approx(1.0));
    }

    TEST_CASE("a pack gives what its sentences give alone, whatever their order and number") {
        const SentenceEncoder* model = the_model();
        if (model == nullptr) return;
        auto ids = ids_of(*model, built_in());
        const Embeddings alone = embeddings_of(*model, pack_one_by_one(ids));
        CHECK(max_difference(alone, embeddings_of(*model, pack(ids, 2048))) < 1e-6);
        CHECK(pack(ids, 2048).size() == 1);
        CHECK(pack(ids, 128).size() == 2);
        CHECK(max_difference(alone, embeddings_of(*model, pack(ids, 128))) < 1e-6);
        std::swap(ids.front(), ids.back());
        const Embeddings swapped = embeddings_of(*model, pack(ids, 2048));
        for (size_t i = 0; i < embedding_dim; i++) CHECK(std::abs(swapped[0][i] - alone[alone.count - 1][i]) < 1e-6f);
        // Without the document mask sentences see each other: the mask is what makes the pack right.
        Packing merged = pack(ids, 2048).front();
        std::fill(merged.documents.begin(), merged.documents.end(), 0);
        CHECK(max_difference(swapped, embeddings_of(*model, std::span(&merged, 1))) > 1e-2);
    }

    TEST_CASE("paraphrases score high and rank first, unrelated sentences low; uniform attention differs") {
        const SentenceEncoder* model = the_model();
        if (model == nullptr) return;
        const Embeddings sentences = embeddings_of(*model, pack(ids_of(*model, built_in()), 2048));
        for (const KnownPair& pair : known_pairs()) {
            const Embeddings query = embeddings_of(*model, pack(ids_of(*model, {std::string(pair.query)}), 2048));
            const Match best = nearest(sentences, query[0], 1).front();
            CHECK_MESSAGE(built_in_sentences()[static_cast<size_t>(best.sentence)] == pair.nearest, pair.query);
            CHECK(best.score > 0.5f);
        }
        const Embeddings few =
            embeddings_of(*model, pack(ids_of(*model, {"How old are you?", "What is your age?", "My phone is not good.",
                                                       "Will it snow tomorrow?"}),
                                       2048));
        CHECK(cosine(few[0], few[1]) == doctest::Approx(0.85).epsilon(0.01));
        CHECK(cosine(few[0], few[2]) < 0.23f);
        CHECK(cosine(few[0], few[3]) < 0.23f);
        const AttentionFunction uniform = [](const AttentionCall& call) { return loop_attention(call, 0.0); };
        CHECK(max_difference(sentences, embeddings_of(*model, pack(ids_of(*model, built_in()), 2048), uniform)) > 1e-2);
    }

    TEST_CASE("a text of a single token and the longest one") {
        const SentenceEncoder* model = the_model();
        if (model == nullptr) return;
        std::string longest;
        for (int i = 0; i < 200; i++) longest += "word ";
        const auto ids = ids_of(*model, {"you", longest});
        CHECK(ids[0].size() == 1);
        CHECK(ids[1].size() == max_text_tokens);
        const Embeddings together = embeddings_of(*model, pack(ids, 2048));
        CHECK(max_difference(together, embeddings_of(*model, pack_one_by_one(ids))) < 1e-6);
    }

    TEST_CASE("ids outside the vocabulary and empty sentences are refused; a failing attention is passed on") {
        const SentenceEncoder* model = the_model();
        if (model == nullptr) return;
        for (int32_t id : {-1, 8002}) {
            Packing packing;
            packing.append(std::span(&id, 1));
            CHECK(!model->embed(packing, loops).ok());
        }
        Packing empty;
        empty.append({});
        CHECK(!model->embed(empty, loops).ok());
        Packing fine;
        const int32_t id = 19;
        fine.append(std::span(&id, 1));
        const auto failed =
            model->embed(fine, [](const AttentionCall&) { return vkattn::error(vkattn::Code::device_error, "lost"); });
        REQUIRE(!failed.ok());
        CHECK(failed.status().message == "lost");
    }
}

}  // namespace vkattn_tests
