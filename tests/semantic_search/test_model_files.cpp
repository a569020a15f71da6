// The model's files are data from the network: every lie in them is an error that says what is wrong, never a crash.
#include <doctest/doctest.h>

#include <bit>
#include <cstring>
#include <string_view>

#include "harness/temporary_folder.h"
#include "model.h"
#include "sentences.h"
#include "support/file.h"
#include "weights.h"

namespace vkattn_tests {
namespace {

using semantic_search::Weights;
using vkattn::test::TemporaryFolder;

const std::string good_tensors =
    R"([{"name":"a","shape":[2,3],"dtype":"float32"},{"name":"n","shape":[1],"dtype":"int32"},{"name":"s","shape":[],"dtype":"float32"}])";

std::string manifest(const std::string& tensors, const std::string& paths = R"(["one","two"])") {
    return R"({"modelTopology":{},"weightsManifest":[{"paths":)" + paths + R"(,"weights":)" + tensors + "}]}";
}

std::string bytes_of(std::initializer_list<float> values) {
    std::string bytes(values.size() * 4, '\0');
    std::memcpy(bytes.data(), values.begin(), bytes.size());
    return bytes;
}

void write(const TemporaryFolder& folder, const char* name, std::string_view text) {
    const vkattn::Status status = vkattn::support::write_file(folder / name, text);
    REQUIRE_MESSAGE(status.ok(), status.message);
}

// 0.5 1.5 ... in two shards that do not end where a tensor ends.
void write_shards(const TemporaryFolder& folder) {
    const std::string bytes = bytes_of({0.5f, 1.5f, 2.5f, 3.5f, 4.5f, 5.5f, 0.0f, 7.5f});
    write(folder, "one", bytes.substr(0, 10));
    write(folder, "two", bytes.substr(10));
}

}  // namespace

TEST_SUITE("files") {

    TEST_CASE("tensors are found by name and shape") {
        const TemporaryFolder folder;
        write_shards(folder);
        write(folder, "model.json", manifest(good_tensors));
        auto weights = Weights::load(folder.path().string());
        REQUIRE_MESSAGE(weights.ok(), weights.status().message);
        const auto a = weights->tensor("a", {2, 3});
        REQUIRE(a.ok());
        CHECK((*a)[0] == 0.5f);
        CHECK((*a)[5] == 5.5f);
        const auto s = weights->tensor("s", {});
        REQUIRE(s.ok());
        CHECK(**s == 7.5f);
        CHECK(weights->tensor("a", {3, 2}).status().message.find("[2, 3]") != std::string::npos);
        CHECK(weights->tensor("n", {1}).status().message.find("int32") != std::string::npos);
        CHECK(weights->tensor("b", {1}).status().message.find("no weight b") != std::string::npos);
    }

    TEST_CASE("manifests that lie are refused by name") {
        const TemporaryFolder folder;
        write_shards(folder);
        const auto tensor = [](const std::string& rest) { return R"([{"name":"a",)" + rest + "}]"; };
        const struct {
            std::string text, says;
        } lies[] = {
            {"", "not JSON"},
            {"[1,2", "not JSON"},
            {std::string(200000, '['), "not JSON"},
            {"[]", "no weightsManifest"},
            {R"({"weightsManifest":7})", "no weightsManifest"},
            {R"({"weightsManifest":[7]})", "'paths'"},
            {manifest("7"), "'weights'"},
            {manifest("[7]"), "without a name"},
            {manifest(R"([{"name":7}])"), "without a name"},
            {manifest(tensor(R"("shape":[8])")), "neither float32 nor int32"},
            {manifest(tensor(R"("shape":[8],"dtype":"complex64")")), "neither float32 nor int32"},
            {manifest(tensor(R"("dtype":"float32")")), "no shape"},
            {manifest(tensor(R"("shape":8,"dtype":"float32")")), "no shape"},
            {manifest(tensor(R"("shape":[-8],"dtype":"float32")")), "no whole number"},
            {manifest(tensor(R"("shape":[8.5],"dtype":"float32")")), "no whole number"},
            {manifest(tensor(R"("shape":[99999999999999999999],"dtype":"float32")")), "no whole number"},
            {manifest(tensor(R"("shape":[1099511627776],"dtype":"float32")")), "larger than"},
            {manifest(tensor(R"("shape":[65536,65536,65536,65536],"dtype":"float32")")), "larger than"},
            {manifest(tensor(R"("shape":[1,1,1,1,1,1,1,1,1],"dtype":"float32")")), "no shape"},
            {manifest(tensor(R"("shape":[9],"dtype":"float32")")), "beyond the end"},
            {manifest(tensor(R"("shape":[7],"dtype":"float32")")), "the manifest describes 28"},
            {manifest(tensor(R"("shape":[8],"dtype":"float32","quantization":{"dtype":"uint8"})")), "quantised"},
            {manifest(R"([{"name":"a","shape":[4],"dtype":"float32"},{"name":"a","shape":[4],"dtype":"float32"}])"),
             "two weights"},
            {manifest(good_tensors, R"(["one","../two"])"), "no plain file name"},
            {manifest(good_tensors, R"(["one","/etc/passwd"])"), "no plain file name"},
            {manifest(good_tensors, R"(["one",".."])"), "no plain file name"},
            {manifest(good_tensors, R"(["one",7])"), "no plain file name"},
            {manifest(good_tensors, R"(["one","three"])"), "three"},
            {manifest(good_tensors, R"(["two"])"), "beyond the end"},
            {manifest(good_tensors, R"(["one","one","one","one"])"), "describes 32"},
        };
        for (const auto& lie : lies) {
            write(folder, "model.json", lie.text);
            const auto weights = Weights::load(folder.path().string());
            INFO(lie.text.substr(0, 200));
            REQUIRE(!weights.ok());
            CHECK_MESSAGE(weights.status().message.find(lie.says) != std::string::npos, weights.status().message);
        }
    }

    TEST_CASE("a manifest cut at any byte is refused") {
        const TemporaryFolder folder;
        write_shards(folder);
        const std::string whole = manifest(good_tensors);
        for (size_t length = 0; length < whole.size(); length++) {
            write(folder, "model.json", whole.substr(0, length));
            CHECK_MESSAGE(!Weights::load(folder.path().string()).ok(), "length ", length);
        }
    }

    TEST_CASE("values that are not finite are refused when they are asked for") {
        const TemporaryFolder folder;
        write(folder, "one", bytes_of({std::bit_cast<float>(0x7fc00000u), 1.0f}));
        write(
            folder, "model.json",
            manifest(R"([{"name":"bad","shape":[1],"dtype":"float32"},{"name":"good","shape":[1],"dtype":"float32"}])",
                     R"(["one"])"));
        const auto weights = Weights::load(folder.path().string());
        REQUIRE(weights.ok());
        CHECK(weights->tensor("bad", {1}).status().message.find("not finite") != std::string::npos);
        CHECK(weights->tensor("good", {1}).ok());
    }

    TEST_CASE("vocabularies that lie are refused") {
        const TemporaryFolder folder;
        for (const char* text : {"", "7", "{}", "[", "[[\"a\"]]", "[[\"a\",-1,2]]", "[[1,-1]]", "[[\"a\",\"b\"]]",
                                 "[\"ab\"]", "[[\"a\",-1]]"}) {
            write(folder, "vocab.json", text);
            CHECK_MESSAGE(!semantic_search::Tokenizer::load((folder / "vocab.json").string()).ok(), text);
        }
        write(folder, "vocab.json", R"([["0",0],["1",0],["2",0],["3",0],["4",0],["5",0],["a",null],["▁",-1]])");
        const auto tokenizer = semantic_search::Tokenizer::load((folder / "vocab.json").string());
        REQUIRE_MESSAGE(tokenizer.ok(), tokenizer.status().message);
        CHECK(*tokenizer->encode("aa") == std::vector<int32_t>{7, 6, 6});
    }

    TEST_CASE("a folder without the model names the file") {
        const TemporaryFolder folder;
        const auto encoder = semantic_search::SentenceEncoder::load(folder.path().string());
        REQUIRE(!encoder.ok());
        CHECK(encoder.status().message.find("vocab.json") != std::string::npos);
    }

    TEST_CASE("sentences are lines") {
        const TemporaryFolder folder;
        write(folder, "s", "one\r\n\n  \ntwo words\nthree");
        const auto lines = semantic_search::read_sentences((folder / "s").string());
        REQUIRE(lines.ok());
        CHECK(*lines == std::vector<std::string>{"one", "two words", "three"});
        write(folder, "s", "\n \n");
        CHECK(!semantic_search::read_sentences((folder / "s").string()).ok());
        write(folder, "s", "fine\n" + std::string(semantic_search::max_text_bytes + 1, 'a'));
        CHECK(semantic_search::read_sentences((folder / "s").string()).status().message.find("line 2") !=
              std::string::npos);
        CHECK(!semantic_search::read_sentences((folder / "none").string()).ok());
    }
}

}  // namespace vkattn_tests
