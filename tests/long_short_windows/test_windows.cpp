// Documents from tokens, and lists by clamped counts: those of the record's formula, and those that classification finds.
#include <doctest/doctest.h>

#include <algorithm>
#include <memory>

#include "harness/temporary_folder.h"
#include "long_short_windows/documents.h"
#include "long_short_windows/windows.h"
#include "support/safetensors.h"
#include "vkattn/classify.h"

using namespace vkattn;
using namespace vkattn::support;
using namespace long_short_windows;
using vkattn::test::TemporaryFolder;

namespace {

Documents documents_of(int32_t length) {
    auto documents = modded_nanogpt::documents(made_up_tokens(length, modded_nanogpt::end_of_text));
    REQUIRE_MESSAGE(documents.ok(), documents.status().message);
    return std::make_shared<const TableData>(*std::move(documents));
}

template <class T>
std::string written(const TemporaryFolder& folder, DType dtype, std::vector<int64_t> shape,
                    const std::vector<T>& values, const char* name = "tokens") {
    const std::string path = (folder / "tokens.safetensors").string();
    const TensorSource tensors[] = {{name, dtype, std::move(shape), bytes_of(values)}};
    REQUIRE(write_safetensors(path, tensors).ok());
    return path;
}

bool has(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("documents: made-up ones") {
    for (const int32_t end_of_text : {modded_nanogpt::end_of_text, 17}) {
        const std::vector<int32_t> tokens = made_up_tokens(5000, end_of_text);
        CHECK(tokens.size() == 5000);
        CHECK(std::all_of(tokens.begin(), tokens.end(),
                          [](int32_t token) { return token >= 0 && token <= modded_nanogpt::end_of_text; }));
        CHECK(std::count(tokens.begin(), tokens.end(), end_of_text) == 12);
        for (const size_t at : {size_t{0}, size_t{180}, size_t{217}, size_t{637}, size_t{642}, size_t{2942}})
            CHECK(tokens[at] == end_of_text);
        CHECK(made_up_tokens(300, end_of_text) == std::vector<int32_t>(tokens.begin(), tokens.begin() + 300));
    }
}

TEST_CASE("documents: token files") {
    const TemporaryFolder folder;
    const std::vector<int64_t> wide = {50256, 1, 2, 50256, 3};
    for (const char* name : {"tokens", "anything"}) {
        auto read = read_tokens(written(folder, DType::i64, {5}, wide, name), 4);
        REQUIRE_MESSAGE(read.ok(), read.status().message);
        CHECK(*read == std::vector<int32_t>{50256, 1, 2, 50256});
    }
    const auto refused = [&](const std::string& path, const char* reason) {
        auto read = read_tokens(path, 100);
        REQUIRE(!read.ok());
        CHECK_MESSAGE(has(read.status().message, reason), read.status().message);
    };
    refused((folder / "none").string(), "none");
    refused(written(folder, DType::i64, {1, 5}, wide), "'tokens' is [1, 5]; token ids are one dimension");
    refused(written(folder, DType::i64, {0}, std::vector<int64_t>()), "n >= 1");
    refused(written(folder, DType::i64, {1}, std::vector<int64_t>{int64_t{1} << 40}), "tokens");
    refused(written(folder, DType::f32, {1}, std::vector<float>{1.0f}), "tokens");
}

TEST_CASE("windows: grow from a block to the last, the short one is half") {
    std::vector<int32_t> longs, shorts;
    for (int32_t step = 0; step < 5; ++step) {
        const Windows windows = windows_at(step, 5, 1728);
        longs.push_back(windows.long_blocks);
        shorts.push_back(windows.short_blocks);
    }
    CHECK(longs == std::vector<int32_t>{1, 4, 7, 11, 14});  // 0, 432, 864, 1296 and 1728 tokens
    CHECK(shorts == std::vector<int32_t>{1, 2, 3, 5, 7});
    CHECK(windows_at(0, 1, 1728).long_blocks == 1);
    CHECK(windows_at(1, 2, 128).long_blocks == 1);
    CHECK(windows_at(1, 2, 129).long_blocks == 2);
}

TEST_CASE("windows: the pair of lists visits what the mask with each window needs, for ragged lengths, too") {
    for (const int32_t length : {1, 127, 128, 129, 1000, 1280, 3000}) {
        const Documents documents = documents_of(length);
        const Shape shape = shape_of(2, documents);
        auto lists = newest_first_lists(documents);
        REQUIRE_MESSAGE(lists.ok(), lists.status().message);
        for (const Windows& windows : {Windows{1, 1}, Windows{2, 1}, Windows{3, 2}, Windows{7, 3}, Windows{24, 12}}) {
            auto pair = lists_for(*lists, shape, windows);
            REQUIRE_MESSAGE(pair.ok(), pair.status().message);
            for (const bool is_long : {true, false}) {
                const int32_t window = is_long ? windows.long_blocks : windows.short_blocks;
                INFO("length ", length, " window ", window);
                const BlockMask& made = pair->masks[is_long ? 0 : 1];
                auto classified = create_block_mask(windowed_documents(), shape, bindings_of(documents, window));
                REQUIRE(classified.ok());
                auto visited = to_dense(made), expected = to_dense(*classified);
                REQUIRE(visited.ok());
                REQUIRE(expected.ok());
                CHECK(*visited == *expected);
                for (int32_t row = 0; row < made.rows(); ++row)  // full is a claim that the mask must bear out
                    for (int32_t column = 0; column < made.columns(); ++column)
                        if (made.kind(0, 0, row, column) == BlockKind::full)
                            CHECK(classified->kind(0, 0, row, column) == BlockKind::full);
            }
        }
    }
}
