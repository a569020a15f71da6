// safetensors: what is written is read back; what lies is refused, with the tensor and the reason.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <numeric>
#include <random>

#include "harness/temporary_folder.h"
#include "support/file.h"
#include "support/safetensors.h"

using namespace vkattn;
using namespace vkattn::support;
using vkattn::test::TemporaryFolder;

namespace {

std::vector<uint8_t> file_of(const std::string& header, size_t data_bytes) {
    const uint64_t length = header.size();
    std::vector<uint8_t> bytes(sizeof length + header.size() + data_bytes);
    std::memcpy(bytes.data(), &length, sizeof length);
    std::copy(header.begin(), header.end(), bytes.begin() + sizeof length);
    for (size_t i = 0; i < data_bytes; i++) bytes[sizeof length + header.size() + i] = static_cast<uint8_t>(i);
    return bytes;
}

std::string entry(const char* name, const char* dtype, const char* shape, const char* offsets) {
    return std::string("\"") + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
           ",\"data_offsets\":" + offsets + "}";
}

// The message of a file that must be refused.
std::string refusal(const std::string& header, size_t data_bytes) {
    auto file = Safetensors::parse(file_of(header, data_bytes));
    if (file.ok()) return "(accepted)";
    return file.status().message;
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// Touches every byte that a parsed file offers: the sanitizers see a span that leaves the file.
uint64_t touch(const Safetensors& file) {
    uint64_t sum = 0;
    for (const Tensor& tensor : file.tensors()) {
        sum = std::accumulate(tensor.bytes.begin(), tensor.bytes.end(), sum);
        if (auto f = to_f32(tensor)) sum += f->size();
        if (auto i = to_i32(tensor)) sum += i->size();
        if (auto b = to_bool(tensor)) sum += b->size();
    }
    return sum;
}

std::vector<uint8_t> sample_file(const TemporaryFolder& folder) {
    const std::vector<float> q = {1.0f, -2.5f, 3.0f, 4.0f, 5.0f, 6.0f};
    const std::vector<int64_t> ids = {0, -1, 2147483647};
    const std::vector<uint8_t> keep = {1, 0, 1, 1, 0};
    const TensorSource tensors[] = {{"q", DType::f32, {1, 2, 3}, bytes_of(q)},
                                    {"ids", DType::i64, {3}, bytes_of(ids)},
                                    {"keep", DType::boolean, {5}, keep},
                                    {"nothing", DType::f16, {0, 4}, {}}};
    REQUIRE(write_safetensors(folder / "sample.safetensors", tensors, {{"made by", "a \"test\"\n"}}).ok());
    auto bytes = read_file(folder / "sample.safetensors");
    REQUIRE(bytes.ok());
    return *bytes;
}

}  // namespace

TEST_SUITE("hostile_files") {

    TEST_CASE("what is written is read back") {
        const TemporaryFolder folder;
        auto file = Safetensors::parse(sample_file(folder));
        REQUIRE_MESSAGE(file.ok(), file.status().message);
        CHECK(file->tensors().size() == 4);
        CHECK(file->metadata().at("made by") == "a \"test\"\n");
        REQUIRE(file->find("q") != nullptr);
        CHECK(file->find("q")->shape == std::vector<int64_t>{1, 2, 3});
        CHECK(*to_f32(*file->find("q")) == std::vector<float>{1.0f, -2.5f, 3.0f, 4.0f, 5.0f, 6.0f});
        CHECK(*to_i32(*file->find("ids")) == std::vector<int32_t>{0, -1, 2147483647});
        CHECK(*to_bool(*file->find("keep")) == std::vector<uint8_t>{1, 0, 1, 1, 0});
        CHECK(*to_i32(*file->find("keep")) == std::vector<int32_t>{1, 0, 1, 1, 0});
        CHECK(to_f32(*file->find("nothing"))->empty());
        CHECK(file->find("missing") == nullptr);
    }

    TEST_CASE("narrow floats are widened, wide ints are checked, other types are refused when read") {
        std::vector<uint8_t> bytes =
            file_of("{" + entry("h", "F16", "[2]", "[0,4]") + "," + entry("b", "BF16", "[1]", "[4,6]") + "," +
                        entry("i", "I64", "[2]", "[6,22]") + "," + entry("d", "F64", "[1]", "[22,30]") + "," +
                        entry("x", "F4", "[3]", "[30,32]") + "}",
                    32);
        const uint16_t values[3] = {0x3c00, 0xc500, 0x4049};
        const int64_t wide[2] = {7, 2147483648};
        std::memcpy(bytes.data() + bytes.size() - 32, values, 6);
        std::memcpy(bytes.data() + bytes.size() - 26, wide, 16);
        auto file = Safetensors::parse(bytes);
        REQUIRE_MESSAGE(file.ok(), file.status().message);
        CHECK(*to_f32(*file->find("h")) == std::vector<float>{1.0f, -5.0f});
        CHECK((*to_f32(*file->find("b")))[0] == doctest::Approx(3.140625));
        CHECK(has(to_i32(*file->find("i")).status().message, "element 1 is 2147483648"));
        CHECK(
            has(to_f32(*file->find("d")).status().message, "'d': it is of type F64, where F32, F16 or BF16 is needed"));
        CHECK(file->find("x")->dtype == DType::other);
        CHECK(has(to_bool(*file->find("x")).status().message, "F4"));
    }

    TEST_CASE("a file cut off at any byte is refused") {
        const TemporaryFolder folder;
        const std::vector<uint8_t> whole = sample_file(folder);
        for (size_t length = 0; length < whole.size(); length++) {
            auto file = Safetensors::parse(
                std::vector<uint8_t>(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length)));
            CAPTURE(length);
            REQUIRE_FALSE(file.ok());
            REQUIRE_FALSE(file.status().message.empty());
        }
    }

    TEST_CASE("a header cut off at any byte, with a length that matches, is refused") {
        const TemporaryFolder folder;
        const std::vector<uint8_t> whole = sample_file(folder);
        uint64_t header_bytes = 0;
        std::memcpy(&header_bytes, whole.data(), 8);
        size_t end = 8 + header_bytes;
        while (whole[end - 1] == ' ') end--;  // without the padding, every byte counts
        for (uint64_t length = 0; length < end - 8; length++) {
            std::vector<uint8_t> cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(8 + length));
            std::memcpy(cut.data(), &length, 8);
            cut.insert(cut.end(), whole.begin() + static_cast<std::ptrdiff_t>(8 + header_bytes), whole.end());
            CAPTURE(length);
            REQUIRE_FALSE(Safetensors::parse(cut).ok());
        }
    }

    TEST_CASE("lying header lengths") {
        std::vector<uint8_t> bytes = file_of("{}", 0);
        REQUIRE(Safetensors::parse(bytes).ok());
        for (const uint64_t length :
             {uint64_t{3}, uint64_t{1000}, uint64_t{100000001}, uint64_t{1} << 40, ~uint64_t{0}, ~uint64_t{0} - 7}) {
            std::memcpy(bytes.data(), &length, 8);
            auto file = Safetensors::parse(bytes);
            CAPTURE(length);
            REQUIRE_FALSE(file.ok());
            CHECK(has(file.status().message, length > 100000000 ? "at most 100000000" : "cut off"));
        }
        const uint64_t empty = 0;
        std::memcpy(bytes.data(), &empty, 8);
        CHECK(has(Safetensors::parse(bytes).status().message, "does not begin with '{'"));
    }

    TEST_CASE("offsets, shapes and names that lie") {
        struct Case {
            std::string header;
            size_t data_bytes;
            const char* reason;
        };
        const std::string good = entry("a", "F32", "[2]", "[0,8]");
        const Case cases[] = {
            {"{" + entry("a", "F32", "[2]", "[8,0]") + "}", 8, "'a': its data_offsets [8, 0] run backwards"},
            {"{" + entry("a", "F32", "[2]", "[0,8]") + "}", 4, "'a': its data_offsets end at 8, the file has 4 bytes"},
            {"{" + entry("a", "F32", "[2]", "[0,18446744073709551615]") + "}", 8,
             "'a': its data_offsets end at 18446744073709551615"},
            {"{" + entry("a", "F32", "[3]", "[0,8]") + "}", 8, "'a': F32 [3] takes 12 bytes, its data_offsets hold 8"},
            {"{" + entry("a", "BF16", "[2]", "[0,8]") + "}", 8, "takes 4 bytes"},
            {"{" + entry("a", "F32", "[4294967296,4294967296]", "[0,0]") + "}", 0, "'a': its shape has more elements"},
            {"{" + entry("a", "F32", "[9223372036854775808,0]", "[0,0]") + "}", 0, "'a': its shape has more elements"},
            {"{" + entry("a", "F4", "[9223372036854775808,2]", "[0,0]") + "}", 0, "'a': its shape has more elements"},
            {"{" + good + "," + entry("b", "F32", "[2]", "[4,12]") + "}", 12, "'b': its bytes overlap"},
            {"{" + good + "," + entry("b", "F32", "[2]", "[0,8]") + "}", 8, "overlap"},
            {"{" + good + "," + entry("b", "F32", "[1]", "[12,16]") + "}", 16,
             "'b': 4 bytes before it belong to no tensor"},
            {"{" + good + "}", 9, "1 bytes at the end belong to no tensor"},
            {"{}", 1, "1 bytes at the end belong to no tensor"},
            {"{" + good + "," + good + "}", 8, "the name 'a' occurs twice"},
            {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8,
             "'a': it has the field 'dtype' twice"},
            {"{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "'a': it has no dtype"},
            {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8, "'a': it has no shape"},
            {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "'a': it has no data_offsets"},
            {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"extra\":1}}", 8,
             "'a': it has the field 'extra'"},
            {"{" + entry("a", "F32", "[-2]", "[0,8]") + "}", 8, "'a': the header has the number -2 where a length"},
            {"{" + entry("a", "F32", "[2.0]", "[0,8]") + "}", 8, "'a': the header has the number 2.0"},
            {"{" + entry("a", "F32", "[1e3]", "[0,8]") + "}", 8, "the number 1e3"},
            {"{" + entry("a", "F32", "[[2]]", "[0,8]") + "}", 8, "'a': the header has an array where"},
            {"{" + entry("a", "F32", "2", "[0,8]") + "}", 8, "'a': the header has the number 2 where an array"},
            {"{" + entry("a", "F32", "[2]", "[0]") + "}", 8, "'a': data_offsets does not have two numbers"},
            {"{" + entry("a", "F32", "[2]", "[0,8,9]") + "}", 8, "'a': data_offsets has more than two"},
            {"{" + entry("a", "F32", "[2]", "[null,8]") + "}", 8, "'a': the header has null"},
            {"{" + entry("a", "F32", "[99999999999999999999]", "[0,8]") + "}", 8,
             "'a': the header has the number 99999999999999999999"},
            {"{\"a\":[1]}", 0, "'a': the header has an array where an object"},
            {"{\"a\":\"F32\"}", 0, "'a': the header has the string 'F32' where"},
            {"{\"__metadata__\":{\"k\":1}}", 0, "the number 1 where a string (of the metadata)"},
            {"{\"__metadata__\":{\"k\":{}}}", 0, "an object where a string"},
            {"{\"__metadata__\":[]}", 0, "an array where an object of strings"},
            {"{} {}", 0, "not JSON"},
            {"{\"a\":}", 0, "not JSON at byte"},
            {"{\"\xff\xfe\":1}", 0, "not JSON"},
            {"[]", 0, "does not begin with '{'"},
        };
        for (const Case& c : cases) {
            const std::string message = refusal(c.header, c.data_bytes);
            CAPTURE(c.header);
            CHECK_MESSAGE(has(message, c.reason), message);
        }
    }

    TEST_CASE("deep nesting and long shapes cost what their text costs") {
        std::string deep = "{\"a\":";
        deep.append(1 << 20, '[');
        CHECK(has(refusal(deep, 0), "an array where an object"));
        deep = "{\"a\":";
        for (int i = 0; i < 100000; i++) deep += "{\"a\":";
        CHECK(has(refusal(deep, 0), "it has the field 'a'"));
        std::string many = "[1";
        for (int i = 0; i < 100000; i++) many += ",1";
        CHECK(has(refusal("{" + entry("a", "U8", (many + "]").c_str(), "[0,1]") + "}", 1),
                  "'a': its shape has more than 64 lengths"));
    }

    TEST_CASE("random damage never reads outside the file") {
        const TemporaryFolder folder;
        const std::vector<uint8_t> whole = sample_file(folder);
        const std::string_view digits = "0123456789{}[]:,\"-";
        uint64_t accepted = 0, sum = 0;
        for (uint32_t seed = 0; seed < 20000; seed++) {
            std::mt19937 random(seed);
            std::vector<uint8_t> bytes = whole;
            const uint32_t n_changes = 1 + static_cast<uint32_t>(random() % 4);
            for (uint32_t i = 0; i < n_changes; i++) {
                const size_t at = random() % bytes.size();
                switch (random() % 4) {
                case 0: bytes[at] = static_cast<uint8_t>(random()); break;
                case 1: bytes[at] = static_cast<uint8_t>(digits[random() % digits.size()]); break;
                case 2: bytes.erase(bytes.begin() + static_cast<std::ptrdiff_t>(at)); break;
                default:
                    bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                                 static_cast<uint8_t>(digits[random() % digits.size()]));
                    break;
                }
            }
            CAPTURE(seed);
            auto file = Safetensors::parse(bytes);
            if (!file.ok()) {
                REQUIRE_FALSE(file.status().message.empty());
                continue;
            }
            accepted++;
            sum += touch(*file);
        }
        CHECK(accepted > 100);  // damage to data and to names is none to the format
        CHECK(sum > 0);
    }

    TEST_CASE("files: errors name the path, a failed write leaves the old file") {
        const TemporaryFolder folder;
        CHECK(has(Safetensors::open(folder / "missing").status().message, "missing: "));
        CHECK(has(Safetensors::open(folder.path()).status().message, "is a directory"));
        CHECK(has(write_file(folder / "no/such/folder", "x").message, "folder: "));
        REQUIRE(write_file(folder / "file", "old").ok());
        const std::vector<uint8_t> short_bytes(3);
        const TensorSource wrong[] = {{"a", DType::f32, {1}, short_bytes}};
        CHECK(has(write_safetensors(folder / "file", wrong).message, "'a': F32 [1] is not what its 3 bytes hold"));
        const TensorSource twice[] = {{"a", DType::u8, {3}, short_bytes}, {"a", DType::u8, {3}, short_bytes}};
        CHECK(has(write_safetensors(folder / "file", twice).message, "the name is taken"));
        auto bytes = read_file(folder / "file");
        REQUIRE(bytes.ok());
        CHECK(std::string(bytes->begin(), bytes->end()) == "old");
        REQUIRE(write_file(folder / "file", "new").ok());
        CHECK(read_file(folder / "file")->size() == 3);
        CHECK(has(read_file(folder / "file", 2).status().message, "larger than 2 bytes"));
        size_t n_files = 0;
        for (const auto& found : std::filesystem::directory_iterator(folder.path())) n_files += found.exists() ? 1 : 0;
        CHECK(n_files == 1);  // no temporary file is left
    }
}
