// `vkattn run` from file to file: results against the independent reference, figures, errors.
#include <doctest/doctest.h>

#include <cmath>
#include <random>

#include <nlohmann/json.hpp>

#include "harness/command_line.h"
#include "reference/attention_f64.h"
#include "support/half.h"
#include "support/safetensors.h"

using namespace vkattn;
using namespace vkattn::support;
using vkattn::test::AttentionF64;
using vkattn::test::Printed;
using vkattn::test::run_tested_program;
using vkattn::test::TemporaryFolder;

namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// Narrow values are rounded first, so that the reference sees what the device sees.
std::vector<uint8_t> encode(std::vector<float>& values, DType dtype) {
    std::vector<uint8_t> bytes;
    for (float& value : values) {
        uint32_t bits = std::bit_cast<uint32_t>(value);
        if (dtype != DType::f32) bits = dtype == DType::f16 ? f32_to_f16(value) : f32_to_bf16(value);
        if (dtype != DType::f32)
            value = dtype == DType::f16 ? f16_to_f32(static_cast<uint16_t>(bits))
                                        : bf16_to_f32(static_cast<uint16_t>(bits));
        for (uint32_t i = 0; i < size_bytes(dtype); i++) bytes.push_back(static_cast<uint8_t>(bits >> (8 * i)));
    }
    return bytes;
}

struct Files {
    TemporaryFolder folder;
    AttentionF64 reference;
    DType dtype = DType::f32;
    std::string in = (folder / "in.safetensors").string(), out = (folder / "out.safetensors").string(),
                json = (folder / "figures.json").string();

    // B, Hq, Hkv, Lq, Lkv, D, Dv; ids I64 [Lkv or Lq], bias F16 [Hq], cap F32 [1], unused I16.
    Files(int b, int hq, int hkv, int lq, int lkv, int d, int dv, DType type) : dtype(type) {
        reference.batch = b;
        reference.q_heads = hq;
        reference.kv_heads = hkv;
        reference.q_len = lq;
        reference.kv_len = lkv;
        reference.head_dim = d;
        reference.value_dim = dv;
        reference.scale = 1.0 / std::sqrt(static_cast<double>(d));
        std::mt19937 random(11);
        std::uniform_real_distribution<float> uniform(-1.5f, 1.5f);
        const auto fill = [&](std::vector<float>& values, int heads, int length, int dim) {
            values.resize(static_cast<size_t>(b * heads * length * dim));
            for (float& value : values) value = uniform(random);
            return encode(values, type);
        };
        const auto q = fill(reference.q, hq, lq, d), k = fill(reference.k, hkv, lkv, d),
                   v = fill(reference.v, hkv, lkv, dv);
        std::vector<int64_t> ids(static_cast<size_t>(std::max(std::max(lq, lkv), 1)));
        for (size_t i = 0; i < ids.size(); i++) ids[i] = static_cast<int64_t>(i / 13);
        std::vector<float> head_bias(static_cast<size_t>(hq));
        for (size_t i = 0; i < head_bias.size(); i++) head_bias[i] = 0.25f * static_cast<float>(i);
        const auto bias = encode(head_bias, DType::f16);
        const std::vector<float> cap = {3.5f};
        const std::vector<int16_t> unused = {1, 2, 3};
        const TensorSource tensors[] = {{"q", type, {b, hq, lq, d}, q},
                                        {"k", type, {b, hkv, lkv, d}, k},
                                        {"v", type, {b, hkv, lkv, dv}, v},
                                        {"ids", DType::i64, {static_cast<int64_t>(ids.size())}, bytes_of(ids)},
                                        {"bias", DType::f16, {hq}, bias},
                                        {"cap", DType::f32, {1}, bytes_of(cap)},
                                        {"unused", DType::i16, {3}, bytes_of(unused)}};
        REQUIRE(write_safetensors(in, tensors).ok());
    }

    Printed run(std::vector<std::string> arguments) {
        arguments.insert(arguments.begin(), {"run", "--in", in, "--out", out, "--json", json, "--check"});
        return run_tested_program(folder, arguments);
    }

    void check_output(const Printed& printed) {
        REQUIRE_MESSAGE(printed.exit_code == 0, printed.command << "\n" << printed.out << printed.err);
        CHECK_MESSAGE(has(printed.out, "check     passed: worst row error "), printed.out);
        reference.run();
        auto file = Safetensors::open(out);
        REQUIRE_MESSAGE(file.ok(), file.status().message);
        const Tensor *o = file->find("o"), *lse = file->find("lse");
        REQUIRE(o != nullptr);
        REQUIRE(lse != nullptr);
        CHECK(o->dtype == dtype);
        CHECK(o->shape ==
              std::vector<int64_t>{reference.batch, reference.q_heads, reference.q_len, reference.value_dim});
        CHECK(lse->dtype == DType::f32);
        CHECK(lse->shape == std::vector<int64_t>{reference.batch, reference.q_heads, reference.q_len});
        const auto o_values = to_f32(*o), lse_values = to_f32(*lse);
        REQUIRE(o_values.ok());
        const double tolerance = dtype == DType::f32 ? 3e-6 : dtype == DType::f16 ? 2e-3 : 1.6e-2;
        for (size_t i = 0; i < o_values->size(); i++) {
            INFO(printed.command, " o element ", i);
            REQUIRE(std::abs(double{(*o_values)[i]} - reference.o[i]) <= tolerance * 1.5);
        }
        for (size_t i = 0; i < lse_values->size(); i++) {
            INFO(printed.command, " lse row ", i);
            if (std::isinf(reference.lse[i])) REQUIRE(double{(*lse_values)[i]} == reference.lse[i]);
            else
                REQUIRE(std::abs(double{(*lse_values)[i]} - reference.lse[i]) <=
                        1e-5 * (1.0 + std::abs(reference.lse[i])));
        }
    }
    nlohmann::json figures() const {
        auto bytes = read_file(json);
        REQUIRE(bytes.ok());
        return nlohmann::json::parse(bytes->begin(), bytes->end());
    }
};

}  // namespace

TEST_SUITE("cli") {

    TEST_CASE("run: causal, grouped heads, unequal lengths; the figures") {
        Files files(2, 4, 2, 37, 53, 40, 24, DType::f32);
        files.reference.mask = [](int, int, int q, int kv) { return kv <= q; };
        files.check_output(files.run({"--mask", "causal()", "--repeat", "3"}));
        const auto json = files.figures();
        for (const char* key : {"device", "driver", "path", "schedule", "ms_median", "ms_min", "gflops", "blocks_full",
                                "blocks_partial", "blocks_total", "worst_row_error", "row_error_bound",
                                "pipelines_created", "compile_ms", "plan_ms", "record_us"})
            CHECK_MESSAGE(json.contains(key), key);
        CHECK(json["path"] == "scalar");
        CHECK(json["schedule"] == "interval");
        CHECK(json["ms_min"].get<double>() > 0.0);
        CHECK(json["ms_min"].get<double>() <= json["ms_median"].get<double>());
        CHECK(json["pairs"].get<int64_t>() == 2 * 4 * (37 * 38 / 2));
        CHECK(json["gflops"].get<double>() ==
              doctest::Approx(2.0 * (40 + 24) * json["pairs"].get<double>() / json["ms_median"].get<double>() * 1e-6));
        CHECK(json["blocks_total"] == 1);
        CHECK(json["pipelines_created"].get<int>() >= 1);
        CHECK(json["worst_row_error"].get<double>() <= json["row_error_bound"].get<double>());
    }

    TEST_CASE("run: no mask, and no keys or queries at all") {
        Files files(1, 2, 1, 5, 9, 8, 8, DType::f32);
        files.check_output(files.run({}));
        CHECK(files.figures()["schedule"] == "interval");
        Files no_keys(1, 2, 1, 5, 0, 8, 8, DType::f32);
        no_keys.check_output(no_keys.run({}));
        Files no_queries(1, 2, 1, 0, 5, 8, 8, DType::f32);
        no_queries.check_output(no_queries.run({}));
    }

    TEST_CASE("run: one query, its keys in parts") {
        Files files(2, 6, 2, 1, 400, 16, 16, DType::f16);
        files.check_output(files.run({"--splits", "5"}));
        CHECK(files.figures()["splits"] == 5);
        files.check_output(files.run({"--splits", "1"}));
        CHECK(files.figures()["splits"] == 1);
        CHECK(files.figures()["skeleton"].get<std::string>().size() > 3);
    }

    TEST_CASE("run: --scale is the factor, and without --check the figures say so") {
        Files files(1, 1, 1, 4, 6, 8, 8, DType::f32);
        files.reference.scale = 2.0;
        files.check_output(files.run({"--scale", "2"}));
        const Printed printed =
            run_tested_program(files.folder, {"run", "--in", files.in, "--out", "/dev/null", "--json", files.json});
        CHECK(printed.exit_code == 0);
        CHECK(files.figures()["worst_row_error"].is_null());
        CHECK(std::filesystem::is_character_file("/dev/null"));
    }

#ifdef VKATTN_TEST_COMPILER

    TEST_CASE("run: every schedule gives the same attention, tables from the file") {
        Files files(1, 4, 1, 150, 140, 16, 16, DType::f16);
        files.reference.mask = [](int, int, int q, int kv) { return q / 13 == kv / 13; };
        files.reference.score = [](double score, int, int h, int, int) {
            return 3.5 * std::tanh((score + 0.25 * h) / 3.5);
        };
        for (const char* schedule : {"list", "dense", "auto"}) {
            files.check_output(files.run({"--mask", "document(ids)", "--score", "softcap(cap, score + bias[h])",
                                          "--schedule", schedule, "--block", "64x32"}));
            CHECK(files.figures()["schedule"] == (std::string(schedule) == "auto" ? "list" : schedule));
            CHECK(files.figures()["blocks_total"] == 15);
        }
    }

    TEST_CASE("run: terms that do not matter are left out and named, and --check compares with the mask as given") {
        Files files(1, 2, 1, 37, 37, 8, 8, DType::f32);
        files.reference.mask = [](int, int, int q, int kv) { return kv <= q; };
        files.check_output(files.run({"--mask", "sliding_window(36) && kv < 40", "--check"}));
        const auto simplified = files.figures()["simplified"];
        REQUIRE(simplified.size() == 2);
        CHECK(has(simplified[0].get<std::string>(), "is true for every pair"));
        files.reference.mask = [](int, int, int q, int kv) { return kv <= q && q - kv <= 35; };
        files.check_output(files.run({"--mask", "sliding_window(35)", "--check"}));
        CHECK(files.figures()["simplified"].empty());
    }

    TEST_CASE("run: bf16, --param, a mask from a file") {
        Files files(1, 2, 2, 33, 47, 24, 24, DType::bf16);
        files.reference.mask = [](int, int h, int q, int kv) { return std::abs(q - kv) <= 5 + h; };
        REQUIRE(write_file(files.folder / "mask.txt", "abs(q - kv)\n  <= w + h\n").ok());
        files.check_output(files.run({"--mask", "@" + (files.folder / "mask.txt").string(), "--param", "w=5"}));
    }

    TEST_CASE("run: generated tensors need no files") {
        const TemporaryFolder folder;
        const Printed printed = run_tested_program(
            folder, {"run", "--random", "1x4x2x40x50x16", "--type", "f16", "--mask", "sliding_window(7)", "--check"});
        CHECK_MESSAGE(printed.exit_code == 0, printed.err);
        CHECK(has(printed.out, "q [1, 4, 40, 16] f16, k [1, 2, 50, 16] f16"));
        CHECK(has(printed.out, "check     passed"));
    }

#endif

    TEST_CASE("run: errors name the flag, the tensor and what would be right") {
        Files files(1, 4, 2, 5, 9, 8, 8, DType::f32);
        const auto write = [&](const char* name, std::vector<int64_t> q, std::vector<int64_t> k, std::vector<int64_t> v,
                               DType type = DType::f32) {
            const std::vector<uint8_t> zeros(size_t{1} << 16);
            const auto tensor = [&](const char* tensor_name, std::vector<int64_t> shape, DType tensor_type) {
                size_t bytes = size_bytes(tensor_type);
                for (const int64_t length : shape) bytes *= static_cast<size_t>(length);
                return TensorSource{tensor_name, tensor_type, std::move(shape), std::span(zeros).first(bytes)};
            };
            const TensorSource tensors[] = {tensor("q", std::move(q), type), tensor("k", std::move(k), DType::f32),
                                            tensor("v", std::move(v), DType::f32)};
            const std::string path = (files.folder / name).string();
            REQUIRE(write_safetensors(path, tensors).ok());
            return path;
        };
        struct Case {
            int exit_code;
            std::vector<std::string> arguments;
            const char* reason;
        };
        const std::string in = files.in, out = files.out;
        const auto with = [&](const std::string& file, std::vector<std::string> more = {}) {
            std::vector<std::string> arguments = {"run", "--in", file, "--out", out};
            arguments.insert(arguments.end(), more.begin(), more.end());
            return arguments;
        };
        REQUIRE(write_file(files.folder / "broken", "12345678{").ok());
        const Case cases[] = {
            {2, {"run", "--out", out}, "--in is missing"},
            {2, {"run", "--in", in}, "--out is missing"},
            {2, with((files.folder / "none").string()), "--in: "},
            {2, with((files.folder / "broken").string()), "at most 100000000 are allowed"},
            {2, with(write("batch", {2, 4, 5, 8}, {1, 2, 9, 8}, {1, 2, 9, 8})),
             "--in: q, k and v differ in batch (dimension 0): q [2, 4, 5, 8], k [1, 2, 9, 8]"},
            {2, with(write("heads", {1, 4, 5, 8}, {1, 3, 9, 8}, {1, 3, 9, 8})), "q's 4 heads are no multiple of k's 3"},
            {2, with(write("kv_heads", {1, 4, 5, 8}, {1, 2, 9, 8}, {1, 1, 9, 8})),
             "k and v differ in heads (dimension 1)"},
            {2, with(write("length", {1, 4, 5, 8}, {1, 2, 9, 8}, {1, 2, 8, 8})),
             "k and v differ in length (dimension 2)"},
            {2, with(write("dim", {1, 4, 5, 8}, {1, 2, 9, 7}, {1, 2, 9, 8})),
             "q and k differ in head dimension D (dimension 3)"},
            {2, with(write("zero", {1, 4, 5, 0}, {1, 2, 9, 0}, {1, 2, 9, 8})), "batch, heads, D and Dv are at least 1"},
            {2, with(write("flat", {4, 5, 8}, {1, 2, 9, 8}, {1, 2, 9, 8})),
             "q is [4, 5, 8]; wanted is q [B, Hq, Lq, D]"},
            {2, with(write("type", {1, 4, 5, 8}, {1, 2, 9, 8}, {1, 2, 9, 8}, DType::i32)),
             "q is of type I32; F32, F16 and BF16 are supported"},
            {2, with(write("large", {1, 1, 1, 577}, {1, 1, 1, 577}, {1, 1, 1, 8})), "D (of q and k) is 577; 1 to 576"},
            {2, with(in, {"--mask", "unused[q] == 1"}), "'unused' is of type I16"},
            {2, with(in, {"--mask", "causal("}), "--mask: column "},
            {2, with(in, {"--score", "score +"}), "--score: column "},
            {2, with(in, {"--score", "score + s"}), "--score: 's' has no value; give --param s=..."},
            {2, with(in, {"--device", "no such"}), "--device: no device matches 'no such'"},
            {2, with(in, {"--path", "fast"}), "--path: 'fast' is none of auto, scalar"},
            {2, with(in, {"--schedule", "lists"}), "--schedule: 'lists' is none of auto, dense, interval, list"},
            {2, with(in, {"--repeat", "0"}), "--repeat: '0' is no whole number from 1"},
            {2, with(in, {"--scale", "nan"}), "--scale must be finite"},
            {2,
             with(write("tall", {1, 1, 40, 8}, {1, 1, 9, 8}, {1, 1, 9, 8}),
                  {"--mask", "causal()", "--schedule", "list", "--block", "33x16"}),
             "--block: 33 is not a multiple of"},
            {2, with(in, {"--splits", "0"}), "--splits: '0' is no whole number from 1 to 1024"},
            {2, with(in, {"--splits", "many"}), "--splits: 'many' is no whole number from 1 to 1024"},
            {2, {"run", "--random", "1x8"}, "--random: '1x8': BxHxLxD"},
            {2, {"run", "--random", "1x3x2x5x5x8"}, "--random: q_heads is 3"},
            {1, {"run", "--in", in, "--out", (files.folder / "no/such/file").string()}, "--out: "},
        };
        for (const Case& c : cases) {
            const Printed printed = run_tested_program(files.folder, c.arguments);
            const std::string shown = printed.command + "\n" + printed.err;
            CHECK_MESSAGE(printed.exit_code == c.exit_code, shown);
            CHECK_MESSAGE(has(printed.err, c.reason), shown);
        }
    }
}
