// Tuning tables are files: damaged, foreign and hostile ones never do worse than no table, and what a good one chooses is right.
#include <limits>

#include <doctest/doctest.h>

#include "engine/src/tuning.h"
#include "harness/run_attention.h"
#include "vkattn/hash.h"

using namespace vkattn_tests;
using vkattn::Addressing;
using vkattn::Capabilities;
using vkattn::Choice;
using vkattn::ElementType;
using vkattn::KernelSizes;
using vkattn::Path;
using vkattn::Problem;
using vkattn::Schedule;
using vkattn::Skeleton;
using vkattn::TuningTable;

namespace {

KernelSizes rows_sizes(uint32_t step_keys) {
    KernelSizes sizes;
    sizes.workgroup_size = 64;
    sizes.heads_per_tile = 1;
    sizes.step_keys = step_keys;
    return sizes;
}

// Two entries, every kind of field somewhere.
TuningTable small_table() {
    TuningTable table;
    table.identity = vkattn::tuning_identity(shared_engine().capabilities());
    vkattn::TuningKey key;
    key.q_type = ElementType::bf16;
    key.k_aligned = key.o_aligned = false;
    key.head_dim = 64;
    key.value_dim = 48;
    key.path = Path::khr;
    key.schedule = Schedule::list;
    key.addressing = Addressing::address;
    key.mask = true;
    key.q_len = 4;
    key.group = 3;
    key.kv_len = 1024;
    key.kv_heads = 8;
    KernelSizes sizes = rows_sizes(5);
    sizes.widen = true;
    sizes.splits = 7;
    table.entries[key] = {sizes, 1200, 900};
    key.q_aligned = key.v_aligned = false;
    sizes = {};
    sizes.path = Path::nv;
    sizes.skeleton = Skeleton::automatic;
    sizes.subgroup_size = 32;
    sizes.tile_rows = 64;
    sizes.matrix_m = sizes.matrix_n = sizes.matrix_k = 16;
    sizes.threads_x = sizes.micro_rows = sizes.micro_cols = 3;
    table.entries[key] = {sizes, 0, std::numeric_limits<uint32_t>::max()};
    return table;
}

// The text with another body and the hash that belongs to it: what only the parser's own checks stop.
std::string rehashed(std::string text) {
    text.resize(text.rfind("hash "));
    return text + "hash " + vkattn::hash_hex(text) + "\n";
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
    const size_t at = text.find(from);
    REQUIRE(at != std::string::npos);
    return text.replace(at, from.size(), to);
}

// A GPU with everything that sizes depend on; nothing is made on it.
Capabilities gpu() {
    Capabilities c;
    c.device.vendor_id = 0x1002;
    c.features.scalar_subgroup = c.features.subgroup_size_control = c.features.required_subgroup_size = true;
    c.features.buffer_device_address = c.features.cooperative_matrix = c.features.cooperative_matrix2 = true;
    c.subgroup_size = 64;
    c.min_subgroup_size = 32;
    c.max_subgroup_size = 64;
    c.max_workgroup_subgroups = 16;
    c.matrix_shapes = {{16, 16, 16, ElementType::f16}, {16, 8, 16, ElementType::f16}};
    c.max_shared_bytes = 32768;
    c.max_invocations = 1024;
    c.max_workgroups = 65535;
    c.max_storage_buffer_range = 1u << 27;
    c.cores = 32;
    return c;
}

Problem long_problem(int32_t q_len, int32_t dim, ElementType type) {
    Problem problem;
    problem.max_shape = {2, 12, 4, q_len, 3000};
    problem.head_dim = problem.value_dim = dim;
    problem.q_type = problem.k_type = problem.v_type = problem.o_type = type;
    return problem;
}

constexpr uint32_t KernelSizes::*size_members[] = {
    &KernelSizes::splits,         &KernelSizes::workgroup_size, &KernelSizes::subgroup_size, &KernelSizes::tile_rows,
    &KernelSizes::heads_per_tile, &KernelSizes::step_keys,      &KernelSizes::threads_x,     &KernelSizes::micro_rows,
    &KernelSizes::micro_cols,     &KernelSizes::matrix_m,       &KernelSizes::matrix_n,      &KernelSizes::matrix_k,
};

// What every kernel needs of its sizes, written down a second time.
void check_within_limits(const Capabilities& c, const Problem& problem, const Choice& choice) {
    CHECK(std::has_single_bit(choice.workgroup_size));
    CHECK(choice.workgroup_size <= c.max_invocations);
    CHECK(choice.shared_bytes <= c.max_shared_bytes);
    CHECK(choice.tile_rows >= 1);
    CHECK(choice.heads_per_tile >= 1);
    CHECK(choice.tile_rows % choice.heads_per_tile == 0);
    CHECK((choice.splits >= 1 && choice.splits <= 1024));
    if (choice.subgroup_size != 0) {
        CHECK((choice.subgroup_size >= c.min_subgroup_size && choice.subgroup_size <= c.max_subgroup_size));
        CHECK(choice.workgroup_size % choice.subgroup_size == 0);
        CHECK(choice.workgroup_size / choice.subgroup_size <= c.max_workgroup_subgroups);
    }
    const uint32_t subgroup = choice.subgroup_size != 0 ? choice.subgroup_size : c.subgroup_size;
    if (choice.path != Path::scalar) {
        const uint32_t groups = choice.tile_rows / choice.matrix.m, subgroups = choice.workgroup_size / choice.lanes;
        CHECK(choice.tile_rows % choice.matrix.m == 0);
        CHECK((groups >= 1 && subgroups >= groups && subgroups % groups == 0));
        CHECK((choice.step_keys % choice.matrix.n == 0 && choice.step_keys % choice.matrix.k == 0));
        CHECK(choice.value_chunk % (choice.matrix.n * (subgroups / groups)) == 0);
        CHECK(choice.qk_chunk % choice.matrix.k == 0);
        CHECK(choice.lanes == subgroup);
        return;
    }
    switch (choice.skeleton) {
    case Skeleton::automatic: FAIL("no skeleton"); break;
    case Skeleton::rows:
        CHECK(choice.tile_rows == choice.workgroup_size);
        CHECK((choice.step_keys >= 1 && choice.step_keys <= 16));
        break;
    case Skeleton::tiles:
        CHECK(choice.tile_rows == choice.workgroup_size / choice.threads_x * choice.micro_rows);
        CHECK(choice.tile_rows % 4 == 0);
        CHECK((choice.threads_x * choice.micro_cols) % choice.step_keys == 0);
        CHECK(choice.micro_rows * choice.micro_cols <= 32);
        CHECK((!choice.subgroup_reduce || (choice.threads_x <= subgroup && choice.workgroup_size % subgroup == 0)));
        break;
    case Skeleton::decode:
        CHECK(choice.threads_x <= subgroup);
        CHECK((choice.step_keys >= 2 && choice.step_keys <= choice.threads_x));
        CHECK(choice.threads_x % choice.step_keys == 0);
        CHECK(choice.workgroup_size % subgroup == 0);
        CHECK(choice.heads_per_tile <= static_cast<uint32_t>(problem.max_shape.q_heads / problem.max_shape.kv_heads));
        break;
    }
}

std::unique_ptr<vkattn::Engine> engine_with(std::shared_ptr<const TuningTable> table,
                                            const vkattn::ShaderCompiler* compiler = test_compiler()) {
    vkattn::EngineOptions options;
    options.compiler = compiler;
    options.tuning = std::move(table);
    auto engine = vkattn::Engine::create(host_device(VulkanContext::shared()), options);
    REQUIRE_MESSAGE(engine.ok(), engine.status().message);
    return *std::move(engine);
}

std::shared_ptr<TuningTable> table_with(const vkattn::TuningKey& key, const KernelSizes& sizes) {
    auto table = std::make_shared<TuningTable>();
    table->identity = vkattn::tuning_identity(shared_engine().capabilities());
    table->entries[key] = {sizes, 2000, 1000};
    return table;
}

AttentionCase small_case(Path path, Skeleton skeleton, Schedule schedule, int32_t q_len) {
    AttentionCase c;
    c.mask = "documents_causal";
    c.path = path;
    c.skeleton = skeleton;
    c.schedule = schedule;
    c.shape = {2, 4, 2, q_len, 150};
    c.head_dim = c.value_dim = 8;
    if (path != Path::automatic) c.q_type = c.k_type = c.v_type = c.o_type = ElementType::f16;
    c.poison = Poison::partial;
    return c;
}

}  // namespace

TEST_CASE("tuning table: text and back, and no byte of it can be missing or another") {
    const TuningTable table = small_table();
    const std::string text = to_text(table);
    const auto read = vkattn::parse_tuning_table(text);
    REQUIRE_MESSAGE(read.ok(), read.status().message);
    CHECK(read->identity == table.identity);
    CHECK(read->entries == table.entries);
    CHECK(to_text(*read) == text);
    for (size_t length = 0; length < text.size(); length++) {
        const auto cut = vkattn::parse_tuning_table(std::string_view(text).substr(0, length));
        REQUIRE_MESSAGE(!cut.ok(), length);
        REQUIRE(cut.status().code == vkattn::Code::invalid_text);
        REQUIRE(cut.status().message.find("vkattn tune") != std::string::npos);
    }
    for (size_t at = 0; at < text.size(); at++) {
        std::string changed = text;
        changed[at] = static_cast<char>(changed[at] ^ 1);
        REQUIRE_MESSAGE(!vkattn::parse_tuning_table(changed).ok(), at);
    }
    CHECK_FALSE(vkattn::parse_tuning_table(text + text).ok());
    CHECK_FALSE(vkattn::parse_tuning_table(text + "\n").ok());
    CHECK_FALSE(vkattn::parse_tuning_table(std::string(2u << 20, '\n')).ok());

    TuningTable named = table;
    named.identity.device = "a name\nhash 0\nwith lines";
    const auto renamed = vkattn::parse_tuning_table(to_text(named));
    REQUIRE(renamed.ok());
    CHECK(renamed->identity.device == "a name?hash 0?with lines");
}

TEST_CASE("tuning table: lines that somebody wrote, with the right hash") {
    const std::string text = to_text(small_table());
    const std::pair<const char*, const char*> wrong[] = {
        {"step_keys=5", "step_keys=99999999999999999999"},
        {"step_keys=5", "step_keys=-5"},
        {"step_keys=5", "step_keys="},
        {"step_keys=5", "step_keys=5 step_keys=6"},
        {"step_keys=5", "step_keys=5x"},
        {"step_keys=5", "stepkeys=5"},
        {"step_keys=5", "step_keys=2000000"},
        {"step_keys=5", "step_keys"},
        {"skeleton=rows", "skeleton=columns"},
        {"widen=yes", "widen=1"},
        {"q=bf16", "q=f64"},
        {"aligned=qv", "aligned=vq"},
        {"aligned=qv", "aligned=all"},
        {" kv_heads=8", ""},
        {"schedule=list", "schedule=auto"},
        {" : ", " "},
        {"before_us=1200", "before_us=4294967296"},
        {"d=64", "d=4294967297"},
        {"\ndriver ", "\ntype "},
        {"table 1", "table 2"},
        {"path=scalar", "path=scalar  "},
    };
    for (const auto& change : wrong) {
        CAPTURE(change.second);
        const auto read = vkattn::parse_tuning_table(rehashed(replaced(text, change.first, change.second)));
        REQUIRE_FALSE(read.ok());
        CHECK(read.status().code == vkattn::Code::invalid_text);
    }
    const auto read = vkattn::parse_tuning_table(rehashed(replaced(text, "step_keys=5", "step_keys=five")));
    REQUIRE_FALSE(read.ok());
    CHECK_MESSAGE(read.status().message.find("line 7: step_keys=five: a whole number") != std::string::npos,
                  read.status().message);
    std::string twice = text;
    const size_t first = twice.find("q=bf16"), end = twice.find('\n', first) + 1;
    twice.insert(end, twice.substr(first, end - first));
    CHECK_FALSE(vkattn::parse_tuning_table(rehashed(twice)).ok());
}

TEST_CASE("hostile sizes: refused with a reason, or within the device's limits; a table's are left out") {
    Capabilities software = shared_engine().capabilities(), poor = gpu();
    poor.max_invocations = 128;
    poor.max_shared_bytes = 16384;
    poor.min_subgroup_size = poor.max_subgroup_size = 0;
    size_t refused = 0, taken = 0;
    for (const Capabilities& c : {software, gpu(), poor})
        for (const int32_t q_len : {1, 20, 4000})
            for (const auto& [dim, type] : {std::pair(64, ElementType::f16), std::pair(576, ElementType::f32)}) {
                Problem problem = long_problem(q_len, dim, type);
                for (const Path path : {Path::scalar, Path::khr, Path::nv})
                    for (const Skeleton skeleton : {Skeleton::rows, Skeleton::tiles, Skeleton::decode}) {
                        if (path != Path::scalar && skeleton != Skeleton::rows) continue;
                        problem.sizes.reset();
                        problem.path = path;
                        problem.skeleton = path == Path::scalar ? skeleton : Skeleton::automatic;
                        const auto own = choose(c, problem, {});
                        if (!own) continue;
                        problem.path = Path::automatic;
                        problem.skeleton = Skeleton::automatic;
                        const auto automatic = choose(c, problem, {});
                        REQUIRE(automatic.ok());
                        const KernelSizes legal = sizes_of(*own, own->key);
                        problem.sizes = legal;
                        const auto same = choose(c, problem, {});
                        REQUIRE_MESSAGE(same.ok(), same.status().message);
                        CHECK(sizes_of(*same, same->key) == legal);
                        CHECK(same->subgroup_reduce == own->subgroup_reduce);
                        CHECK(same->shared_bytes == own->shared_bytes);
                        for (uint32_t KernelSizes::*member : size_members)
                            for (const uint32_t value :
                                 {0u, 1u, 3u, 5u, 48u, 4096u, 1u << 20, 0x80000000u, 0xffffffffu, legal.*member / 2,
                                  legal.*member * 2, legal.*member + 1, legal.*member * 16}) {
                                KernelSizes sizes = legal;
                                sizes.*member = value;
                                CAPTURE(to_text(sizes));
                                problem.sizes = sizes;
                                const auto choice = choose(c, problem, {});
                                TuningTable table;
                                vkattn::TuningKey key = own->key;
                                key.path = Path::automatic;
                                table.entries[key] = {sizes, 0, 0};
                                problem.sizes.reset();
                                const auto tabled = choose(c, problem, {}, {.table = &table});
                                REQUIRE(tabled.ok());
                                CHECK(tabled->by_table == choice.ok());
                                if (choice) {
                                    taken++;
                                    check_within_limits(c, problem, *choice);
                                    CHECK(sizes_of(*tabled, key) == sizes_of(*choice, key));
                                } else {
                                    refused++;
                                    CHECK(choice.status().message.find("Problem::sizes: ") == 0);
                                    CHECK(tabled->tuning.find("not used") != std::string::npos);
                                    CHECK(sizes_of(*tabled, key) == sizes_of(*automatic, key));
                                }
                            }
                    }
            }
    CHECK(taken > 100);
    CHECK(refused > 1000);
}

TEST_CASE("an explicit wish goes before a table, and against sizes it is an error") {
    Problem problem = long_problem(300, 64, ElementType::f32);
    const Capabilities& c = shared_engine().capabilities();
    const auto own = choose(c, problem, {});
    REQUIRE(own.ok());
    TuningTable table;
    table.entries[own->key] = {rows_sizes(4), 0, 0};
    CHECK(choose(c, problem, {}, {.table = &table})->by_table);
    problem.skeleton = Skeleton::tiles;
    const auto tiles = choose(c, problem, {}, {.table = &table});
    REQUIRE(tiles.ok());
    CHECK_FALSE(tiles->by_table);
    CHECK(tiles->skeleton == Skeleton::tiles);
    CHECK_MESSAGE(tiles->tuning.find("Problem::skeleton is tiles") != std::string::npos, tiles->tuning);
    problem.sizes = rows_sizes(4);
    CHECK_FALSE(choose(c, problem, {}).ok());
    problem.skeleton = Skeleton::automatic;
    problem.splits = 3;
    CHECK(choose(c, problem, {})->splits == 3);
    problem.sizes->splits = 2;
    CHECK_FALSE(choose(c, problem, {}).ok());
    problem.splits = 0;
    CHECK(choose(c, problem, {})->splits == 2);
}

TEST_CASE("a table chooses another kernel: right, the bits of the same sizes as a wish, and one more pipeline") {
    AttentionCase c = small_case(Path::automatic, Skeleton::automatic, Schedule::list, 200);
    const Inputs inputs = make_inputs(c);
    const RunResult own = run(c, inputs);
    CHECK(own.report.tuning.empty());
    KernelSizes sizes = own.report.sizes;
    sizes.step_keys = sizes.skeleton == Skeleton::rows ? 3 : sizes.step_keys / 2;
    RunOptions wished;
    wished.sizes = sizes;
    const RunResult as_asked = run(c, inputs, wished);
    check_result(c, inputs, as_asked, wished);
    CHECK(as_asked.report.sizes == sizes);
    CHECK(as_asked.report.tuning.empty());

    const auto table = table_with(own.report.tuning_key, sizes);
    const auto engine = engine_with(table), plain = engine_with(nullptr);
    RunOptions tuned;
    tuned.engine = engine.get();
    const RunResult by_table = run(c, inputs, tuned);
    check_result(c, inputs, by_table, tuned);
    CHECK(by_table.report.sizes == sizes);
    CHECK(by_table.report.tuning == to_text(sizes));
    CHECK(by_table.report.why.find("tuning table") != std::string::npos);
    CHECK(by_table.report.tuning_key == own.report.tuning_key);
    CHECK(same_bits(by_table, as_asked));
    CHECK(by_table.report.sizes != own.report.sizes);
    const uint64_t before = engine->pipelines_created();
    RunOptions back;
    back.engine = engine.get();
    back.sizes = own.report.sizes;
    CHECK(same_bits(run(c, inputs, back), own));
    CHECK(engine->pipelines_created() == before + 1);

    // Another problem is not in the table, and is as it was without one.
    AttentionCase other = c;
    other.head_dim = 12;
    const Inputs other_inputs = make_inputs(other);
    RunOptions without;
    without.engine = plain.get();
    CHECK(same_bits(run(other, other_inputs, tuned), run(other, other_inputs, without)));
    CHECK(run(other, other_inputs, tuned).report.tuning == "the table has nothing for this problem");
    run(c, inputs, without);
    CHECK(engine->pipelines_created() == plain->pipelines_created() + 1);  // that of `back`
}

TEST_CASE("a table of another device, driver or version is not used, and that is said") {
    const AttentionCase c = small_case(Path::automatic, Skeleton::automatic, Schedule::list, 200);
    const Inputs inputs = make_inputs(c);
    const RunResult own = run(c, inputs);
    KernelSizes sizes = own.report.sizes;
    sizes.step_keys = 1;
    for (const int which : {0, 1}) {
        auto table = table_with(own.report.tuning_key, sizes);
        if (which == 0) {
            table->identity.device = "Voodoo 3";
            table->identity.device_key += "x";
        } else {
            table->identity.kernels = "0";
        }
        const auto engine = engine_with(table);
        RunOptions options;
        options.engine = engine.get();
        const RunResult result = run(c, inputs, options);
        CHECK(same_bits(result, own));
        CHECK(result.report.sizes == own.report.sizes);
        CHECK_MESSAGE(result.report.tuning.find(which == 0 ? "it is for Voodoo 3" : "another version of vkattn") !=
                          std::string::npos,
                      result.report.tuning);
    }
}

TEST_CASE("a table's kernel whose module is not there is left for one that is") {
    AttentionCase c;
    c.mask = "causal";
    c.shape = {1, 4, 2, 40, 90};
    c.head_dim = c.value_dim = 16;
    const Capabilities& capabilities = shared_engine().capabilities();
    if (!decode_obstacle(capabilities).empty()) return;
    const auto plain = engine_with(nullptr, nullptr);
    RunOptions without;
    without.engine = plain.get();
    const Inputs inputs = make_inputs(c);
    const RunResult own = run(c, inputs, without);
    AttentionCase decode = c;
    decode.skeleton = Skeleton::decode;
    RunOptions refusable;
    refusable.expect_refusal = true;
    refusable.engine = plain.get();
    if (run(decode, inputs, refusable).refused.ok()) return;  // it is shipped
    const auto engine = engine_with(table_with(own.report.tuning_key, run(decode, inputs).report.sizes), nullptr);
    RunOptions options;
    options.engine = engine.get();
    const RunResult result = run(c, inputs, options);
    check_result(c, inputs, result, options);
    CHECK(same_bits(result, own));
    CHECK_MESSAGE(result.report.tuning.find("not used") != std::string::npos, result.report.tuning);
}

TEST_CASE("neighbours of what is chosen are other choices that give right results") {
    // Each is compiled: some from the whole list, which `vkattn tune` checks one by one where it is used.
    constexpr size_t most_of_a_start = 2;
    const Capabilities& device = shared_engine().capabilities();
    struct Start {
        Path path;
        Skeleton skeleton;
        Schedule schedule;
        int32_t q_len;
    };
    constexpr Start starts[] = {
        {Path::automatic, Skeleton::rows, Schedule::list, 70},
        {Path::automatic, Skeleton::tiles, Schedule::list, 70},
        {Path::automatic, Skeleton::decode, Schedule::list, 3},
        {Path::khr, Skeleton::automatic, Schedule::list, 70},
    };
    for (const Start& start : starts) {
        if (start.path == Path::khr && !device.features.cooperative_matrix) continue;
        if (start.skeleton == Skeleton::decode && !decode_obstacle(device).empty()) continue;
        AttentionCase c = small_case(start.path, start.skeleton, start.schedule, start.q_len);
        const Inputs inputs = make_inputs(c);
        const RunResult own = run(c, inputs);
        const Problem problem = problem_of(c, inputs);
        const auto neighbours = shared_engine().neighbours(problem, own.report.sizes);
        REQUIRE_MESSAGE(neighbours.ok(), neighbours.status().message);
        CHECK(neighbours->size() >= 3);
        const size_t every = (neighbours->size() + most_of_a_start - 1) / most_of_a_start;
        for (size_t i = 0; i < neighbours->size(); i += every) {
            const KernelSizes& sizes = (*neighbours)[i];
            CAPTURE(to_text(sizes));
            CHECK(sizes != own.report.sizes);
            RunOptions options;
            options.sizes = sizes;
            const RunResult result = run(c, inputs, options);
            check_result(c, inputs, result, options);
            KernelSizes taken = result.report.sizes;
            if (sizes.splits == 0) taken.splits = 0;
            CHECK(taken == sizes);
        }
    }
}
