#include "the_model.h"

#include <doctest/doctest.h>

#include <cstdio>
#include <filesystem>
#include <optional>

namespace vkattn_tests {

const semantic_search::SentenceEncoder* the_model() {
    static std::optional<semantic_search::SentenceEncoder> model;
    if (model) return &*model;
    const std::string folder = SEMANTIC_SEARCH_MODEL;
    if (!std::filesystem::exists(folder + "/model.json")) {
        std::printf("SKIPPED: no model in %s (samples/semantic_search/fetch_model.sh brings it)\n", folder.c_str());
        return nullptr;
    }
    auto loaded = semantic_search::SentenceEncoder::load(folder);
    REQUIRE_MESSAGE(loaded.ok(), loaded.status().message);
    model = *std::move(loaded);
    return &*model;
}

}  // namespace vkattn_tests
