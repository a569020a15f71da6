// `vkattn mask` and the program as a whole: pictures, tensors, explanations, errors.
#include <doctest/doctest.h>

#include "harness/command_line.h"
#include "support/block_mask_file.h"
#include "support/safetensors.h"
#include "vkattn/classify.h"

using namespace vkattn;
using namespace vkattn::support;
using vkattn::test::Printed;
using vkattn::test::run_tested_program;
using vkattn::test::TemporaryFolder;

namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// ids I64 [9], keep BOOL [2, 7], w I32 [1], slope F32 [], doc5 of five dimensions, d F64.
void write_tables(const TemporaryFolder& folder) {
    const std::vector<int64_t> ids = {0, 0, 0, 1, 1, 2, 2, 2, 2};
    const std::vector<uint8_t> keep = {1, 0, 1, 1, 0, 0, 1, 0, 1, 1, 1, 1, 1, 0};
    const std::vector<int32_t> w = {2};
    const std::vector<float> slope = {0.5f};
    const std::vector<double> d = {1.0};
    const std::vector<int64_t> wide = {int64_t{1} << 31};
    const TensorSource tensors[] = {{"ids", DType::i64, {9}, bytes_of(ids)}, {"keep", DType::boolean, {2, 7}, keep},
                                    {"w", DType::i32, {1}, bytes_of(w)},     {"slope", DType::f32, {}, bytes_of(slope)},
                                    {"d", DType::f64, {1}, bytes_of(d)},     {"wide", DType::i64, {1}, bytes_of(wide)}};
    REQUIRE(write_safetensors(folder / "tables.safetensors", tensors).ok());
}

std::vector<uint8_t> dense(const TemporaryFolder& folder, std::vector<std::string> arguments,
                           std::vector<int64_t> shape) {
    const std::string file = (folder / "dense.safetensors").string();
    arguments.insert(arguments.begin(), "mask");
    arguments.insert(arguments.end(), {"--dense", file});
    const Printed printed = run_tested_program(folder, arguments);
    REQUIRE_MESSAGE(printed.exit_code == 0, printed.command << "\n" << printed.err);
    auto opened = Safetensors::open(file);
    REQUIRE(opened.ok());
    const Tensor* mask = opened->find("mask");
    REQUIRE(mask != nullptr);
    CHECK(mask->dtype == DType::u8);
    CHECK(mask->shape == shape);
    return {mask->bytes.begin(), mask->bytes.end()};
}

}  // namespace

TEST_SUITE("cli") {

    TEST_CASE("version, help and exit codes") {
        const TemporaryFolder folder;
        Printed printed = run_tested_program(folder, {"version"});
        CHECK(printed.exit_code == 0);
        CHECK(has(printed.out, std::string("vkattn ") + VKATTN_TEST_VERSION + "\n"));
        CHECK(printed.err.empty());
        printed = run_tested_program(folder, {"--help"});
        CHECK(printed.exit_code == 0);
        CHECK(has(printed.out, "Examples:"));
        for (const char* command : {"run", "mask"}) {
            printed = run_tested_program(folder, {command, "--help"});
            CHECK(printed.exit_code == 0);
            CHECK(has(printed.out, "sliding_window(w)"));
            CHECK(has(printed.out, "Examples:"));
        }
        printed = run_tested_program(folder, {"devices", "--json", (folder / "devices.json").string()});
        CHECK(printed.exit_code == 0);
        CHECK(has(printed.out, "0: "));
        CHECK(std::filesystem::exists(folder / "devices.json"));
    }

    TEST_CASE("usage errors name the flag and what would be right, with exit code 2") {
        const TemporaryFolder folder;
        write_tables(folder);
        const std::string tables = (folder / "tables.safetensors").string();
        REQUIRE(write_file(folder / "mask.txt", "causal() && (q <").ok());
        struct Case {
            std::vector<std::string> arguments;
            const char* reason;
        };
        const std::vector<std::string> square = {"mask", "--q-len", "9", "--kv-len", "7", "--mask"};
        const auto mask = [&](const std::string& text, std::vector<std::string> more = {}) {
            std::vector<std::string> arguments = square;
            arguments.push_back(text);
            arguments.insert(arguments.end(), more.begin(), more.end());
            return arguments;
        };
        const Case cases[] = {
            {{}, "subcommand is required"},
            {{"atention"}, "no command 'atention'; the commands are devices, run, mask, tune and version"},
            {{"mask", "--mask", "true"}, "--q-len is required"},
            {{"mask", "--mask", "true", "--q-len", "-1", "--kv-len", "4"},
             "--q-len: '-1' is no whole number from 0 to 2147483647"},
            {{"mask", "--mask", "true", "--q-len", "1", "--kv-len", "4294967296"},
             "--kv-len: '4294967296' is no whole number"},
            {mask("true", {"--heads", "0"}), "--heads: '0' is no whole number from 1"},
            {mask("true", {"--block", "128y64"}), "--block: '128y64' is no block size like 128x128"},
            {mask("true", {"--block", "0"}), "--block: '0' is no block size"},
            {mask("true", {"--refine", "all"}), "--refine: 'all' is none of none, host"},
            {mask("true", {"--bogus"}), "--bogus"},
            {mask("true", {"--show", "0,1"}), "--show h: '1' is no whole number from 0 to 0"},
            {mask("true", {"--param", "w"}), "--param w: name=value is wanted"},
            {mask("true", {"--param", "w=x"}), "--param w: 'x' is no number"},
            {mask("true", {"--param", "w="}), "--param w: '' is no number"},
            {mask("true", {"--param", "w=3000000000"}), "--param w: '3000000000' is no whole number from -2147483648"},
            {mask("true", {"--param", "w=1e99"}), "--param w: '1e99' is too large"},
            {mask("kv < w", {"--param", "w=1", "--param", "w=2"}), "--param w: it is given twice"},
            {mask("true", {"--param", "w=1"}), "--param w: nothing in the mask or the score mod is named 'w'"},
            {mask("kv < w"), "--mask: column 6: nothing is named 'w'"},
            {mask("kv < "), "--mask: column "},
            {mask(std::string(100000, '(')), "--mask: "},
            {mask("@" + (folder / "mask.txt").string()), "    causal() && (q <\n"},
            {mask("@" + (folder / "none.txt").string()), "--mask: "},
            {mask("ids[q] == 0", {"--tables", (folder / "none").string()}), "--tables: "},
            {mask("ids[q, kv] == 0", {"--tables", tables}), "--mask: column 1:"},
            {mask("ids < 3", {"--tables", tables}), "--mask: column 1: 'ids' is a table"},
            {mask("kv < d", {"--tables", tables}), "'d' is of type F64"},
            {mask("kv < wide", {"--tables", tables}), "'wide': element 0 is 2147483648"},
            {mask("true", {"--explain", "0,0,9,0"}), "--explain: q: '9' is no whole number from 0 to 8"},
            {mask("true", {"--explain", "0,0"}), "--explain: '0,0': b,h,q,kv is wanted"},
            {{"mask", "--mask", "true", "--q-len", "1000000", "--kv-len", "1000000", "--block", "1000x1000", "--dense",
              (folder / "big").string()},
             "--dense: the dense mask would take 1000000000000 bytes"},
        };
        for (const Case& c : cases) {
            const Printed printed = run_tested_program(folder, c.arguments);
            const std::string shown = printed.command.substr(0, 200) + "\n" + printed.err;
            CHECK_MESSAGE(printed.exit_code == 2, shown);
            CHECK_MESSAGE(has(printed.err, c.reason), shown);
            CHECK_MESSAGE(printed.err.rfind("vkattn: ", 0) == 0, shown);
        }
    }

    TEST_CASE("the picture tells full, partial and empty blocks apart") {
        const TemporaryFolder folder;
        const Printed printed = run_tested_program(folder, {"mask", "--mask", "causal()", "--q-len", "10", "--kv-len",
                                                            "7", "--block", "4x2", "--png", (folder / "m.png").string(),
                                                            "--svg", (folder / "m.svg").string()});
        REQUIRE_MESSAGE(printed.exit_code == 0, printed.err);
        // Rows of 4 queries, columns of 2 keys: row 0 sees keys up to 3, row 1 up to 7, row 2 all.
        CHECK(has(printed.out, "\n▒▒··\n██▒▒\n████\n"));
        CHECK(has(printed.out, "6 full, 4 partial, 2 empty of 12"));
        CHECK_FALSE(has(printed.out, "\x1b["));  // no colours where there is no terminal
        CHECK(std::filesystem::file_size(folder / "m.png") > 50);
        auto svg = read_file(folder / "m.svg");
        REQUIRE(svg.ok());
        CHECK(has(std::string(svg->begin(), svg->end()), "<svg"));
    }

    TEST_CASE("--dense writes the mask pair by pair, with tables and scalars from a file") {
        const TemporaryFolder folder;
        write_tables(folder);
        const std::string tables = (folder / "tables.safetensors").string();
        const int doc[] = {0, 0, 0, 1, 1, 2, 2, 2, 2};
        auto bytes = dense(folder,
                           {"--mask", "document(ids) && kv <= q + w || slope > 1.0 && h > 0", "--q-len", "9",
                            "--kv-len", "7", "--tables", tables, "--batch", "2", "--heads", "3"},
                           {2, 3, 9, 7});
        for (size_t i = 0; i < bytes.size(); i++) {
            const int kv = static_cast<int>(i % 7), q = static_cast<int>(i / 7 % 9);
            CAPTURE(i);
            REQUIRE(bytes[i] == (doc[q] == doc[kv] && kv <= q + 2 ? 1 : 0));
        }
        const int kept[] = {1, 0, 1, 1, 0, 0, 1, 0, 1, 1, 1, 1, 1, 0};
        bytes = dense(folder,
                      {"--mask", "padding_mask(keep) && w != 2", "--q-len", "2", "--kv-len", "7", "--tables", tables,
                       "--batch", "2", "--param", "w=3"},
                      {2, 1, 2, 7});
        for (size_t i = 0; i < bytes.size(); i++)
            REQUIRE(bytes[i] == kept[i / 14 * 7 + i % 7]);  // --param goes before the tensor
        REQUIRE(write_file(folder / "mask.txt", "  kv\n <= q\n").ok());
        bytes = dense(folder, {"--mask", "@" + (folder / "mask.txt").string(), "--q-len", "2", "--kv-len", "2"},
                      {1, 1, 2, 2});
        CHECK(bytes == std::vector<uint8_t>{1, 0, 1, 1});
        CHECK(dense(folder, {"--mask", "true", "--q-len", "0", "--kv-len", "5"}, {1, 1, 0, 5}).empty());
    }

    TEST_CASE("--blocks writes PyTorch's tensors and their transposes") {
        const TemporaryFolder folder;
        const std::string file = (folder / "blocks.safetensors").string();
        const Printed printed =
            run_tested_program(folder, {"mask", "--mask", "causal() && h < 2", "--q-len", "10", "--kv-len", "7",
                                        "--heads", "3", "--block", "4x2", "--blocks", file});
        REQUIRE_MESSAGE(printed.exit_code == 0, printed.err);
        auto opened = Safetensors::open(file);
        REQUIRE_MESSAGE(opened.ok(), opened.status().message);
        const auto values = [&](const char* name, std::vector<int64_t> shape) {
            const Tensor* tensor = opened->find(name);
            REQUIRE_MESSAGE(tensor != nullptr, name);
            CHECK(tensor->dtype == DType::i32);
            CHECK_MESSAGE(tensor->shape == shape, name);
            return *to_i32(*tensor);
        };
        CHECK(opened->tensors().size() == 11);
        CHECK(values("kv_num_blocks", {1, 3, 3}) == std::vector<int32_t>{2, 2, 0, 2, 2, 0, 0, 0, 0});
        CHECK(values("full_kv_num_blocks", {1, 3, 3}) == std::vector<int32_t>{0, 2, 4, 0, 2, 4, 0, 0, 0});
        const auto kv_indices = values("kv_indices", {1, 3, 3, 4});
        CHECK(std::vector<int32_t>(kv_indices.begin(), kv_indices.begin() + 2) == std::vector<int32_t>{0, 1});
        CHECK(std::vector<int32_t>(kv_indices.begin() + 4, kv_indices.begin() + 6) == std::vector<int32_t>{2, 3});
        values("full_kv_indices", {1, 3, 3, 4});
        CHECK(values("q_num_blocks", {1, 3, 4}) == std::vector<int32_t>{1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0});
        CHECK(values("full_q_num_blocks", {1, 3, 4}) == std::vector<int32_t>{2, 2, 1, 1, 2, 2, 1, 1, 0, 0, 0, 0});
        values("q_indices", {1, 3, 4, 3});
        values("full_q_indices", {1, 3, 4, 3});
    }

    TEST_CASE("--blocks: the file gives the same BlockMask again, and the time and size are reported") {
        const TemporaryFolder folder;
        write_tables(folder);
        const std::string file = (folder / "blocks.safetensors").string();
        const Printed printed =
            run_tested_program(folder, {"mask", "--mask", "document(ids) && q - kv <= 3", "--tables",
                                        (folder / "tables.safetensors").string(), "--q-len", "9", "--kv-len", "9",
                                        "--block", "2x2", "--blocks", file, "--strict-edges"});
        REQUIRE_MESSAGE(printed.exit_code == 0, printed.err);
        CHECK(has(printed.out, "classified in "));
        CHECK(has(printed.out, " ms; 8 runs, 88 bytes\n"));
        auto opened = Safetensors::open(file);
        REQUIRE(opened.ok());
        const auto block_mask = read_block_mask(*opened);
        REQUIRE_MESSAGE(block_mask.ok(), block_mask.status().message);
        TableData ids;
        ids.dims = {9};
        ids.i32 = {0, 0, 0, 1, 1, 2, 2, 2, 2};
        ClassifyOptions options;
        options.block_q = options.block_kv = 2;
        const auto made = create_block_mask(*parse_mask("document(ids) && q - kv <= 3"), {1, 1, 1, 9, 9},
                                            {{}, {{"ids", std::make_shared<const TableData>(ids)}}}, options);
        REQUIRE(made.ok());
        CHECK(block_mask->runs == made->runs);
        CHECK(block_mask->row_offsets == made->row_offsets);
        CHECK(block_mask->shape == made->shape);
        CHECK(block_mask->structure_hash == made->structure_hash);
        CHECK(block_mask->slot_values == made->slot_values);
        CHECK(block_mask->tables_hash == made->tables_hash);
        CHECK(made->kind(0, 0, 4, 4) == BlockKind::full);  // ragged: one element
        CHECK(to_i32(*opened->find("full_kv_num_blocks"))->back() == 0);
    }

    TEST_CASE("--blocks beyond the limit of PyTorch's arrays writes the runs") {
        const TemporaryFolder folder;
        const std::string file = (folder / "blocks.safetensors").string();
        const Printed printed = run_tested_program(
            folder, {"mask", "--mask", "causal()", "--q-len", "1048576", "--kv-len", "1048576", "--blocks", file});
        REQUIRE_MESSAGE(printed.exit_code == 0, printed.err);
        CHECK(has(printed.err, "only the runs are written"));
        CHECK(has(printed.out, "16383 runs, 160.0 KiB"));
        auto opened = Safetensors::open(file);
        REQUIRE(opened.ok());
        CHECK(opened->tensors().size() == 3);
        const auto block_mask = read_block_mask(*opened);
        REQUIRE(block_mask.ok());
        CHECK(block_mask->partial_blocks() == 8192);
    }

    TEST_CASE("--refine none may call more blocks partial, never fewer") {
        const TemporaryFolder folder;
        for (const char* refine : {"none", "host"}) {
            const Printed printed =
                run_tested_program(folder, {"mask", "--mask", "causal()", "--q-len", "256", "--kv-len", "256",
                                            "--block", "64", "--refine", refine});
            CHECK(printed.exit_code == 0);
            CHECK(has(printed.out, "6 full, 4 partial, 6 empty of 16"));  // causal needs no refinement
        }
    }

    TEST_CASE("--explain names the terms that decide") {
        const TemporaryFolder folder;
        const auto explain = [&](const char* mask, const char* pair) {
            const Printed printed = run_tested_program(
                folder, {"mask", "--mask", mask, "--q-len", "1024", "--kv-len", "1024", "--explain", pair});
            REQUIRE_MESSAGE(printed.exit_code == 0, printed.err);
            return printed.out;
        };
        std::string text = explain("causal() && q - kv <= 200", "0,0,900,600");
        CHECK(has(text, "q 900 does not attend to kv 600"));
        CHECK(has(text, "  - false    q - kv <= 200   (300 <= 200)\n"));
        CHECK(has(text, "    true     kv <= q   (600 <= 900)\n"));
        text = explain("causal() && (kv < 3 || q - kv <= 200)", "0,0,900,2");
        CHECK(has(text, "q 900 attends to kv 2"));
        CHECK(has(text, "  + true     kv <= q   (2 <= 900)\n"));
        CHECK(has(text, "  + true       kv < 3   (2 < 3)\n"));
        CHECK(has(text, "    false      q - kv <= 200   (898 <= 200)\n"));
        text = explain("!(q == kv)", "0,0,5,5");
        CHECK(has(text, "  - false  "));
        std::string many = "q != 0";
        for (int i = 1; i < 200; i++) many += " && q != " + std::to_string(i);
        CHECK(has(explain(many.c_str(), "0,0,900,2"), "... and more terms"));
    }
}
