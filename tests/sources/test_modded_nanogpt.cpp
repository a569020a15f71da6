// modded-nanogpt's long-short lists from token ids, against its own create_blockmasks.
#include <doctest/doctest.h>

#include <algorithm>

#include "sources/golden.h"
#include "vkattn/classify.h"
#include "vkattn/evaluate.h"
#include "vkattn/named.h"
#include "vkattn/normalise.h"
#include "vkattn/sources/nanogpt.h"

using namespace vkattn;
using namespace vkattn::test;

namespace {

const GoldenFile& golden() {
    static const GoldenFile file("modded_nanogpt");
    return file;
}

constexpr const char* sequences[] = {"few", "long_documents", "many", "aligned"};
constexpr int32_t windows[] = {1, 2, 3, 4, 7, 14};

Shape shape_of(const std::vector<int32_t>& tokens) {
    Shape shape;
    shape.q_len = shape.kv_len = static_cast<int32_t>(tokens.size());
    return shape;
}

// Counts, and of each row the entries of the list without a window (the source keeps them behind clamped counts too).
void check_lists(const std::string& sequence, const std::string& window, const PaddedBlocks& ours) {
    CAPTURE(sequence);
    CAPTURE(window);
    const PaddedBlocks all = golden().blocks(sequence + "/all");
    // The source's full counts of a window of 0 are -1.
    std::vector<int32_t> full = golden().ints(sequence + window + "/full_kv_num_blocks");
    for (int32_t& count : full) count = std::max(count, 0);
    CHECK(ours.num_blocks == golden().ints(sequence + window + "/kv_num_blocks"));
    CHECK(ours.full_num_blocks == full);
    REQUIRE(ours.rows == all.rows);
    REQUIRE(ours.columns == all.columns);
    int wrong = 0;
    for (int32_t row = 0; row < all.rows; ++row) {
        const auto at = static_cast<size_t>(row), first = at * static_cast<size_t>(all.columns);
        for (size_t i = first; i < first + static_cast<size_t>(all.num_blocks[at]); ++i)
            wrong += ours.indices[i] != all.indices[i];
        for (size_t i = first; i < first + static_cast<size_t>(all.full_num_blocks[at]); ++i)
            wrong += ours.full_indices[i] != all.full_indices[i];
    }
    CHECK(wrong == 0);
}

}  // namespace

TEST_SUITE("modded_nanogpt") {
    TEST_CASE("documents from token ids") {
        for (const char* sequence : sequences) {
            CAPTURE(sequence);
            const auto docs = modded_nanogpt::documents(golden().ints(std::string(sequence) + "/tokens"));
            REQUIRE(docs.ok());
            CHECK(docs->i32 == golden().ints(std::string(sequence) + "/docs"));
        }
        CHECK(modded_nanogpt::documents({}).status().code == Code::invalid_argument);
    }

    TEST_CASE("the long and the short list, newest block first") {
        for (const char* sequence : sequences) {
            const std::vector<int32_t> tokens = golden().ints(std::string(sequence) + "/tokens");
            const auto pair = modded_nanogpt::create_blockmasks(tokens, 4);
            REQUIRE_MESSAGE(pair.ok(), pair.status().message);
            check_lists(sequence, "/window4", pair->long_bm);
            check_lists(sequence, "/window2", pair->short_bm);
            const auto widest = modded_nanogpt::create_blockmasks(tokens, 1 << 20);
            REQUIRE(widest.ok());
            check_lists(sequence, "/all", widest->long_bm);
            for (const int32_t window : windows) {
                const PaddedBlocks clamped = modded_nanogpt::clamp_to_window(widest->long_bm, window);
                check_lists(sequence, "/window" + std::to_string(window), clamped);
                const auto blocks = from_kv_blocks(clamped, shape_of(tokens), 128, 128);
                REQUIRE_MESSAGE(blocks.ok(), blocks.status().message);
                const std::string name = std::string(sequence) + "/window" + std::to_string(window) + "/sparsity";
                CHECK(blocks->sparsity() == doctest::Approx(std::stod(golden().metadata(name))).epsilon(1e-12));
            }
            // Half a window of 1.
            check_lists(sequence, "/window0", modded_nanogpt::clamp_to_window(widest->long_bm, 0));
        }
        const std::vector<int32_t> tokens(200, 1);
        CHECK(modded_nanogpt::create_blockmasks(tokens, 4).status().code == Code::invalid_argument);
        CHECK(modded_nanogpt::create_blockmasks(std::span(tokens).first(128), 0).status().code ==
              Code::invalid_argument);
    }

    TEST_CASE("the window as a scalar: the same blocks and pairs, one structure for every window") {
        const Mask mask = modded_nanogpt::document_causal_window(table("docs"), param("window_size_blocks"));
        const auto text =
            parse_mask("kv <= q && docs[q] == docs[kv] && q / 128 - kv / 128 < max(window_size_blocks, 1)");
        REQUIRE_MESSAGE(text.ok(), text.status().message);
        for (const char* sequence : sequences) {
            CAPTURE(sequence);
            const std::vector<int32_t> tokens = golden().ints(std::string(sequence) + "/tokens");
            const Shape shape = shape_of(tokens);
            Bindings bindings;
            bindings.tables["docs"] =
                std::make_shared<const TableData>(golden().table(std::string(sequence) + "/docs"));
            for (const int32_t window : windows) {
                CAPTURE(window);
                bindings.scalars["window_size_blocks"] = window;
                const auto blocks = create_block_mask(mask, shape, bindings);
                REQUIRE_MESSAGE(blocks.ok(), blocks.status().message);
                const auto padded = to_padded(*blocks, 1u << 30, /*newest_first=*/true);
                REQUIRE(padded.ok());
                const std::string at = std::string(sequence) + "/window" + std::to_string(window);
                CHECK(padded->num_blocks == golden().ints(at + "/kv_num_blocks"));
                CHECK(padded->full_num_blocks == golden().ints(at + "/full_kv_num_blocks"));
                CHECK(create_block_mask(*text, shape, bindings)->runs == blocks->runs);
                if (!golden().has(at + "/pairs_of_row")) continue;
                const std::vector<int32_t> pairs = golden().ints(at + "/pairs_of_row");
                const std::vector<int32_t> first_key = golden().ints(at + "/first_key_of_row");
                for (const Mask& each : {mask, *text}) {
                    auto evaluator = Evaluator::make(each, shape, bindings);
                    REQUIRE(evaluator.ok());
                    int wrong = 0;
                    for (int32_t q = 0; q < shape.q_len; ++q) {
                        // A row's keys are neighbours: from the first one up to the query.
                        for (int32_t kv = 0; kv < shape.kv_len; ++kv) {
                            const auto row = static_cast<size_t>(q);
                            const bool expected = kv >= first_key[row] && kv < first_key[row] + pairs[row];
                            wrong += evaluator->mask(0, 0, q, kv) != expected;
                        }
                    }
                    CHECK(wrong == 0);
                }
            }
        }
        const auto structure = [](int32_t window) {
            const auto tree = normalise(modded_nanogpt::document_causal_window(table("docs"), window));
            REQUIRE(tree.ok());
            return structure_hash(*tree);
        };
        CHECK(structure(3) == structure(14));
    }
}
