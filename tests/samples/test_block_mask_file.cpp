// Files of block lists: what is not one is refused with the reason.
#include <doctest/doctest.h>

#include "harness/temporary_folder.h"
#include "support/block_mask_file.h"
#include "vkattn/classify.h"
#include "vkattn/named.h"

using namespace vkattn;
using namespace vkattn::support;
using vkattn::test::TemporaryFolder;

TEST_SUITE("hostile_files") {

    TEST_CASE("block mask files with wrong tensors or metadata are refused") {
        const TemporaryFolder folder;
        const BlockMask made = *create_block_mask(causal(), {1, 1, 1, 300, 400});
        const auto message = [&](const std::vector<TensorSource>& tensors,
                                 const std::map<std::string, std::string>& metadata) {
            REQUIRE(write_safetensors(folder / "blocks.safetensors", tensors, metadata).ok());
            auto file = Safetensors::open(folder / "blocks.safetensors");
            REQUIRE(file.ok());
            const auto read = read_block_mask(*file);
            return read.ok() ? std::string("accepted") : read.status().message;
        };
        const auto has = [](const std::string& text, const char* part) { return text.find(part) != std::string::npos; };
        const std::vector<TensorSource> good = block_mask_tensors(made);
        const auto metadata = metadata_of(made);
        CHECK(message(good, metadata) == "accepted");
        CHECK(has(message(good, {}), "no 'lists' in the metadata"));
        for (size_t i = 0; i < good.size(); ++i) {
            auto tensors = good;
            tensors.erase(tensors.begin() + static_cast<int64_t>(i));
            CHECK(has(message(tensors, metadata), ("no tensor '" + good[i].name + "'").c_str()));
            tensors = good;
            tensors[i].dtype = DType::i32;
            CHECK(has(message(tensors, metadata), ("tensor '" + good[i].name + "' is I32").c_str()));
            tensors = good;
            tensors[i].shape.push_back(1);
            CHECK(has(message(tensors, metadata), "is wanted"));
        }
        // Every single word of the lists changed in turn: another list or an error, never one that check() refuses.
        for (size_t i = 0; i < made.row_offsets.size() + 2 * made.runs.size(); ++i) {
            for (const uint32_t word : {0u, 1u, 3u, 0x7fffffffu, 0x80000000u, ~0u}) {
                BlockMask forged = made;
                const size_t run = i - made.row_offsets.size();
                if (i < made.row_offsets.size()) forged.row_offsets[i] = word;
                else if (run % 2 == 0) forged.runs[run / 2].first_and_kind = word;
                else forged.runs[run / 2].n_blocks = word;
                CHECK((message(block_mask_tensors(forged), metadata) == "accepted") == check(forged).ok());
            }
        }
    }
}
