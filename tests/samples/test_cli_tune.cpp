// `vkattn tune`: tables are kept, used when they are named, and refused when they are damaged or foreign; and its search, with kernels
// that are wrong on purpose.
#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>

#include <nlohmann/json.hpp>

#include "cli/sampled_rows.h"
#include "cli/tuner.h"
#include "cli/tuning_file.h"
#include "harness/command_line.h"
#include "vkattn/classify.h"
#ifdef VKATTN_TEST_COMPILER
#include "vkattn/shaderc_compiler.h"
#endif

using namespace vkattn;
using vkattn::test::Printed;
using vkattn::test::run_tested_program;
using vkattn::test::TemporaryFolder;

namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::string content(const std::filesystem::path& path) {
    auto bytes = support::read_file(path);
    return bytes ? std::string(bytes->begin(), bytes->end()) : std::string();
}

const support::Device& software_device() {
    static const auto device = support::Device::create("cpu");
    REQUIRE_MESSAGE(device.ok(), device.status().message);
    return **device;
}

// The rows skeleton of these dims takes 8 keys a step by itself; with `step_keys`.
TuningTable table_for(const Engine& engine, uint32_t step_keys) {
    TuningTable table;
    table.identity = tuning_identity(engine.capabilities());
    TuningKey key;
    key.head_dim = key.value_dim = 16;
    key.addressing = engine.capabilities().features.buffer_device_address ? Addressing::address : Addressing::binding;
    key.schedule = Schedule::interval;
    key.q_len = 128;
    KernelSizes sizes;
    sizes.workgroup_size = 64;
    sizes.heads_per_tile = 1;
    sizes.step_keys = step_keys;
    table.entries[key] = {sizes, 2000, 1000};
    return table;
}

}  // namespace

TEST_SUITE("cli") {

    TEST_CASE("tune: what it finds goes into a table that run uses") {
        const TemporaryFolder folder;
        const std::string table = (folder / "tuned.txt").string(), json = (folder / "figures.json").string();
        const std::vector<std::string> tune = {"tune",     "--device", "cpu",     "--random", "1x2x130x16",
                                               "--budget", "1.5",      "--table", table};
        const Printed first = run_tested_program(folder, tune);
        REQUIRE_MESSAGE(first.exit_code == 0, first.out << first.err);
        CHECK(has(first.out, "problem   1x2x130x16 f32, true"));
        CHECK(has(first.out, "own       path=scalar skeleton="));
        CHECK((has(first.out, "kept      plan()'s own") || has(first.out, "chosen    ")));
        CHECK_FALSE(has(first.out, "WRONG"));
        auto made = cli::read_tuning_table(table);
        REQUIRE_MESSAGE(made.ok(), made.status().message);
        CHECK(made->entries.size() <= 1);

        // What the search finds is the machine's business; this one is there for sure.
        auto engine = Engine::create(software_device().host());
        REQUIRE(engine.ok());
        REQUIRE(cli::write_tuning_table(table, table_for(**engine, 3)).ok());
        const Printed listed = run_tested_program(folder, {"tune", "--list", "--table", table, "--device", "cpu"});
        CHECK(listed.exit_code == 0);
        CHECK(has(listed.out, "use       yes"));
        CHECK(has(listed.out, "step_keys=3: 1.000 ms instead of 2.000"));
        const Printed run = run_tested_program(
            folder, {"run", "--device", "cpu", "--random", "1x2x130x16", "--check", "--tuning", table, "--json", json});
        REQUIRE_MESSAGE(run.exit_code == 0, run.out << run.err);
        CHECK(has(run.out, "tuning    path=scalar skeleton=rows"));
        const auto text = content(json);
        const auto figures = nlohmann::json::parse(text);
        CHECK(has(figures["sizes"], "step_keys=3"));
        CHECK(figures["tuning"] == figures["sizes"]);
        const Printed other =
            run_tested_program(folder, {"run", "--device", "cpu", "--random", "1x2x130x24", "--tuning", table});
        CHECK(has(other.out, "tuning    the table has nothing for this problem"));
    }

    TEST_CASE("tune: texts and a type without a problem are refused") {
        const TemporaryFolder folder;
        const std::pair<std::string, std::string> given[] = {
            {"--mask", "causal()"}, {"--score", "score * 2"}, {"--type", "f16"}};
        for (const auto& option : given) {
            const Printed printed = run_tested_program(folder, {"tune", option.first, option.second});
            CHECK_MESSAGE(printed.exit_code == 2, printed.command);
            CHECK_MESSAGE(has(printed.err, option.first + " requires --random"), printed.err);
        }
    }

    TEST_CASE("tune: a table that cannot be written is told before the search, with what could be") {
        const TemporaryFolder folder;
        REQUIRE(support::write_file(folder / "file", "text").ok());
        const auto refused = [&](const std::filesystem::path& table, const std::string& message) {
            const Printed printed = run_tested_program(folder, {"tune", "--device", "cpu", "--random", "1x1x4x8",
                                                                "--budget", "0.1", "--table", table.string()});
            CHECK(printed.exit_code == 2);
            CHECK_MESSAGE(has(printed.err, "vkattn: --table: " + table.string() + message), printed.err);
            CHECK_FALSE(has(printed.out, "problem"));
        };
        refused(folder.path(), " is a directory; a file is wanted, " + (folder / "tuned.txt").string() + " say");
        const std::string wanted = "; a file in a folder that is there and can be written is wanted";
        refused(folder / "no/such/tuned.txt", ": No such file or directory" + wanted);
        refused(folder / "file/tuned.txt", ": Not a directory" + wanted);
        CHECK_FALSE(std::filesystem::exists(folder / "no"));
        // A problem that is refused afterwards leaves no table.
        const std::string table = (folder / "tuned.txt").string();
        CHECK(
            run_tested_program(folder, {"tune", "--device", "cpu", "--random", "1x2x3", "--table", table}).exit_code ==
            2);
        CHECK_FALSE(std::filesystem::exists(table));
    }

    TEST_CASE("tune: tables that are damaged, of another device or not there") {
        const TemporaryFolder folder;
        const std::string path = (folder / "tuned.txt").string();
        const auto refused = [&](std::vector<std::string> arguments, const std::string& message) {
            const Printed printed = run_tested_program(folder, arguments);
            CHECK_MESSAGE(printed.exit_code == 2, printed.command);
            CHECK_MESSAGE(has(printed.err, message), printed.err);
        };
        const std::vector<std::string> run = {"run", "--device", "cpu", "--random", "1x1x4x8", "--tuning", path};
        const std::vector<std::string> tune = {"tune", "--device", "cpu", "--random", "1x1x4x8", "--table", path};
        refused(run, "vkattn: --tuning: ");
        refused({"tune", "--list", "--table", path}, "vkattn: --table: ");
        refused({"tune", "--list"}, "vkattn: --list: --table F is missing");
        refused({"tune", "--list", "--table", folder.path().string()}, "is a directory; a file that 'vkattn tune");
        refused({"tune", "--budget", "0"}, "--budget: a number of seconds above 0");
        refused({"tune", "--budget", "soon"}, "--budget");
        refused({"tune", "--device", "cpu", "--random", "1x2x3"}, "--random: '1x2x3'");
        refused({"tune", "--device", "cpu", "--random", "1x1x4x8", "--mask", "q >"}, "--mask: column");

        auto engine = Engine::create(software_device().host());
        REQUIRE(engine.ok());
        TuningTable table = table_for(**engine, 3);
        REQUIRE(support::write_file(path, to_text(table).substr(0, 200)).ok());
        refused(run, "it was cut or changed");
        refused(tune, "it was cut or changed");
        table.identity.device = "Voodoo 3";
        table.identity.device_key += "x";
        REQUIRE(cli::write_tuning_table(path, table).ok());
        const std::string before = content(path);
        refused(tune, "it is for Voodoo 3");
        CHECK(content(path) == before);
        const Printed ignored = run_tested_program(folder, run);
        CHECK(ignored.exit_code == 0);
        CHECK_MESSAGE(has(ignored.out, "tuning    the table is not used: it is for Voodoo 3"), ignored.out);
    }
}

#ifdef VKATTN_TEST_COMPILER
namespace {

// Compiles with one piece of text replaced.
class Spoiling : public ShaderCompiler {
  public:
    Spoiling(std::string from, std::string to) : from_(std::move(from)), to_(std::move(to)) {}
    Result<std::vector<uint32_t>> compile(const CompileJob& job) const override {
        CompileJob changed = job;
        if (const size_t at = changed.source.find(from_); at != std::string::npos) {
            changed.source.replace(at, from_.size(), to_);
            changes++;
        }
        return real_->compile(changed);
    }
    std::string version() const override { return real_->version() + " spoiled"; }
    mutable int changes = 0;

  private:
    std::string from_, to_;
    std::unique_ptr<ShaderCompiler> real_ = make_shaderc_compiler();
};

// The rows skeleton, whose own step has 8 keys; in all others o is multiplied by `factor`, an expression in b, h and q.
cli::Tuned tune_spoiled(const std::string& factor) {
    const Spoiling compiler("acc[d] * inverse)", "acc[d] * inverse * (STEP_KEYS == 8u ? 1.0 : " + factor + "))");
    EngineOptions engine_options;
    engine_options.compiler = &compiler;
    auto engine = Engine::create(software_device().host(), engine_options);
    REQUIRE_MESSAGE(engine.ok(), engine.status().message);
    auto tensors = cli::random_tensors("1x2x200x8", ElementType::f32);
    REQUIRE(tensors.ok());
    cli::DescriptionText text;
    text.mask = "(3 * h + 7 * q + 11 * kv) % 13 < 6";  // not one that is built ahead of time
    auto description = cli::describe(text, nullptr, {});
    REQUIRE(description.ok());
    auto block_mask = create_block_mask(description->mask, tensors->shape, description->bindings);
    REQUIRE(block_mask.ok());
    cli::TunerLimits limits;
    limits.budget_s = 30.0;
    limits.max_pairs = 3;
    auto tuned = cli::tune_problem(software_device(), **engine, *tensors, *description, *block_mask, {}, limits,
                                   [](const cli::Tuned&) {});
    REQUIRE_MESSAGE(tuned.ok(), tuned.status().message);
    CHECK(compiler.changes > 0);
    return *tuned;
}

bool has_steps_of_eight(const KernelSizes& sizes) { return sizes.skeleton != Skeleton::rows || sizes.step_keys == 8; }

void check_only_right_ones(const cli::Tuned& tuned) {
    CHECK(tuned.own.step_keys == 8);
    size_t other_steps = 0;
    for (const cli::Attempt& attempt : tuned.attempts) {
        CAPTURE(to_text(attempt.sizes));
        if (!has_steps_of_eight(attempt.sizes)) other_steps++;
        if (has_steps_of_eight(attempt.sizes)) CHECK_MESSAGE(attempt.verdict != cli::Verdict::wrong, attempt.words);
        else CHECK(attempt.verdict == cli::Verdict::wrong);
    }
    CHECK(other_steps >= 2);
    if (tuned.found) CHECK(has_steps_of_eight(tuned.found->sizes));
}

}  // namespace

TEST_SUITE("cli") {

    TEST_CASE("tune: a choice with a wrong result is told, and never kept") {
        // Wrong in one row, and in none that is compared with the reference.
        const auto rows = cli::sample_rows({1, 2, 2, 200, 200}, 48);
        int32_t q = 0;
        const auto sampled = [&] {
            return std::any_of(rows.begin(), rows.end(), [&](const cli::QueryRow& row) { return row.q == q; });
        };
        while (sampled()) q++;
        check_only_right_ones(tune_spoiled("h == 1 && q == " + std::to_string(q) + " ? 1.001 : 1.0"));
    }

    TEST_CASE("tune: what plan() itself chooses is wrong") {
        const Spoiling compiler("acc[d] * inverse)", "acc[d] * inverse * 1.001)");
        EngineOptions engine_options;
        engine_options.compiler = &compiler;
        auto engine = Engine::create(software_device().host(), engine_options);
        REQUIRE(engine.ok());
        auto tensors = cli::random_tensors("1x1x70x8", ElementType::f32);
        cli::DescriptionText text;
        text.mask = "(7 * q + 11 * kv) % 13 < 6";
        auto description = cli::describe(text, nullptr, {});
        auto block_mask = create_block_mask(description->mask, tensors->shape, description->bindings);
        const auto tuned = cli::tune_problem(software_device(), **engine, *tensors, *description, *block_mask, {}, {},
                                             [](const cli::Tuned&) {});
        REQUIRE_FALSE(tuned.ok());
        CHECK_MESSAGE(has(tuned.status().message, "own kernel is wrong: a row error of"), tuned.status().message);
    }
}
#endif

TEST_CASE("what differs between two choices, in words") {
    KernelSizes own;
    own.workgroup_size = 64;
    own.step_keys = 8;
    KernelSizes other = own;
    other.step_keys = 4;
    other.widen = true;
    CHECK(cli::difference(own, other) == "step_keys 8 -> 4, widen none -> yes");
    other.skeleton = Skeleton::tiles;
    CHECK(cli::difference(own, other) == to_text(other));
}
