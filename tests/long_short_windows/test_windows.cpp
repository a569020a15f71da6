// Documents from tokens, and lists by clamped counts: those of the record's formula, and those that classification finds.
#include <doctest/doctest.h>

#include <algorithm>

#include "long_short_windows/documents.h"
#include "long_short_windows/windows.h"
#include "samples/temporary_folder.h"
#include "support/safetensors.h"
#include "vkattn/classify.h"

using namespace vkattn;
using namespace vkattn::support;
using namespace long_short_windows;
using vkattn::test::TemporaryFolder;

namespace {

std::vector<int32_t> documents_of(int32_t length) {
    return document_ids(made_up_tokens(length, gpt2_end_of_text), gpt2_end_of_text);
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

TEST_CASE("documents: a marker begins the next one") {
    const std::vector<int32_t> tokens = {5, 9, 1, 9, 9, 2, 2};
    CHECK(document_ids(tokens, 9) == std::vector<int32_t>{0, 1, 1, 2, 3, 3, 3});
    CHECK(document_ids(tokens, 7) == std::vector<int32_t>(7, 0));
    CHECK(document_ids({}, 7).empty());
}

TEST_CASE("documents: made-up ones") {
    for (const int32_t end_of_text : {gpt2_end_of_text, 17}) {
        const std::vector<int32_t> tokens = made_up_tokens(5000, end_of_text);
        CHECK(tokens.size() == 5000);
        CHECK(std::all_of(tokens.begin(), tokens.end(),
                          [](int32_t token) { return token >= 0 && token <= gpt2_end_of_text; }));
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

TEST_CASE("windows: clamped lists are those of the mask with that window, for ragged lengths, too") {
    for (const int32_t length : {1, 127, 128, 129, 1000, 1280, 3000}) {
        const std::vector<int32_t> documents = documents_of(length);
        const Shape shape = shape_of(2, length);
        auto lists = newest_first_lists(documents);
        REQUIRE_MESSAGE(lists.ok(), lists.status().message);
        for (const int32_t window : {1, 2, 3, 7, 24}) {
            INFO("length ", length, " window ", window);
            auto by_counts = from_kv_blocks(clamped(*lists, window), shape, block_size, block_size);
            REQUIRE_MESSAGE(by_counts.ok(), by_counts.status().message);
            auto classified = create_block_mask(windowed_documents(), shape, bindings_of(documents, window));
            REQUIRE(classified.ok());
            CHECK(by_counts->runs == classified->runs);
            CHECK(by_counts->row_offsets == classified->row_offsets);
        }
    }
}

TEST_CASE("windows: the short lists come from the long ones, and both are the record's formula on counts alone") {
    const std::vector<int32_t> documents = documents_of(4096);
    auto lists = newest_first_lists(documents);
    REQUIRE(lists.ok());
    for (const int32_t window : {1, 2, 5, 8, 14, 40}) {
        const PaddedBlocks long_lists = clamped(*lists, window);
        const int32_t short_window = std::max(1, window / 2);
        const PaddedBlocks short_lists = clamped(long_lists, short_window);
        CHECK(short_lists.num_blocks == clamped(*lists, short_window).num_blocks);
        CHECK(short_lists.full_num_blocks == clamped(*lists, short_window).full_num_blocks);
        CHECK(short_lists.indices == lists->indices);
        for (size_t row = 0; row < lists->num_blocks.size(); ++row) {
            INFO("window ", window, " row ", row);
            const int32_t full = lists->full_num_blocks[row], partial = lists->num_blocks[row];
            CHECK(long_lists.full_num_blocks[row] == std::min(full, window - 1));
            CHECK(long_lists.num_blocks[row] == std::min(partial, std::max(window - full, 1)));
            CHECK(lists->indices[row * 32] == static_cast<int32_t>(row));  // newest first: the diagonal
        }
    }
}
