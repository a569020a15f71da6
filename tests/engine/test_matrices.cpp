// The paths khr and nv: attention on cooperative matrices. lavapipe at its default width offers 8x8x8 of f16, which all but the pure
// choices here run on; at other widths and on other devices the paths are refused with a reason.
#include <algorithm>
#include <bit>
#include <cstdlib>

#include <doctest/doctest.h>

#include "engine/src/tuning.h"
#include "harness/numbers.h"
#include "harness/pairwise.h"
#include "harness/pretended_device.h"
#include "harness/run_attention.h"
#include "harness/weight_rounding.h"
#include "vkattn/named.h"

using namespace vkattn_tests;
using vkattn::Addressing;
using vkattn::Capabilities;
using vkattn::Choice;
using vkattn::ElementType;
using vkattn::ListEncoding;
using vkattn::Path;
using vkattn::Schedule;

namespace {

constexpr ElementType f32 = ElementType::f32, f16 = ElementType::f16, bf16 = ElementType::bf16;
constexpr float infinity = std::numeric_limits<float>::infinity();

bool has_matrices() {
    const vkattn::Features& features = shared_engine().capabilities().features;
    if (features.cooperative_matrix && features.cooperative_matrix2) return true;
    MESSAGE("not on this device: it has no matrices that can be used");
    return false;
}

constexpr Path paths[] = {Path::khr, Path::nv};

AttentionCase matrix_case(Path path, std::string mask, int32_t d, int32_t dv) {
    AttentionCase c;
    c.path = path;
    c.mask = std::move(mask);
    c.q_type = c.k_type = c.v_type = f16;
    c.o_type = f32;
    c.head_dim = d;
    c.value_dim = dv;
    c.shape = {1, 2, 1, 70, 133};
    return c;
}

template <class T, size_t n>
int32_t count(const T (&)[n]) {
    return static_cast<int32_t>(n);
}

// What makes a pipeline: every hook, dim, schedule, flavour and output once or twice, and both paths with every schedule.
struct Row {
    Path path;
    std::string_view mask, score;
    int32_t d, dv;
    Schedule schedule;
    ListEncoding encoding;
    Addressing addressing;
    ElementType o_type;
};
constexpr ListEncoding runs = ListEncoding::runs, indices = ListEncoding::indices;
constexpr Addressing binding = Addressing::binding, address = Addressing::address;
constexpr Row rows[] = {
    {Path::khr, "full", "none", 64, 64, Schedule::dense, runs, binding, f32},
    {Path::nv, "full", "alibi", 8, 8, Schedule::dense, runs, address, f16},
    {Path::khr, "causal", "none", 128, 128, Schedule::interval, runs, binding, f16},
    {Path::nv, "causal", "softcap", 40, 40, Schedule::interval, runs, address, f32},
    {Path::khr, "sliding_window", "identify", 15, 15, Schedule::interval, runs, address, bf16},
    {Path::nv, "padding", "none", 80, 80, Schedule::interval, runs, binding, f32},
    {Path::khr, "documents_causal", "softcap", 96, 96, Schedule::list, runs, binding, f32},
    {Path::nv, "documents_causal", "none", 64, 64, Schedule::list, indices, address, f16},
    {Path::khr, "wrong_index", "identify", 192, 128, Schedule::list, indices, binding, f32},
    {Path::nv, "wrong_index", "alibi", 24, 72, Schedule::list, runs, binding, bf16},
    {Path::khr, "documents_causal", "alibi", 576, 512, Schedule::list, runs, binding, f32},
    {Path::nv, "sliding_window", "none", 256, 256, Schedule::dense, runs, binding, f32},
};

constexpr std::pair<int32_t, int32_t> lengths[] = {{1, 1},    {31, 17}, {32, 16},  {33, 15}, {64, 64},
                                                   {65, 127}, {5, 131}, {127, 66}, {70, 48}};
constexpr vkattn::Shape heads[] = {{1, 1, 1, 0, 0}, {2, 2, 1, 0, 0}, {1, 6, 2, 0, 0}, {2, 3, 3, 0, 0}};
constexpr Layout layouts[] = {Layout::bhld,      Layout::blhd,   Layout::packed,
                              Layout::broadcast, Layout::padded, Layout::odd};

std::vector<std::vector<int32_t>> call_table() {
    return pairwise_table({count(lengths), count(heads), count(layouts), 2, 2});
}

void check_row(const Row& row, const std::vector<int32_t>& call, uint64_t seed) {
    AttentionCase c = matrix_case(row.path, std::string(row.mask), row.d, row.dv);
    c.score = row.score;
    c.schedule = row.schedule;
    c.encoding = row.encoding;
    c.addressing = row.addressing;
    c.o_type = row.o_type;
    c.shape = heads[call[1]];
    c.shape.q_len = lengths[call[0]].first;
    c.shape.kv_len = lengths[call[0]].second;
    c.layout = layouts[call[2]];
    c.slices = call[3] == 0 ? 1 : 3;
    c.poison = call[4] == 0 ? Poison::unattended : Poison::partial;
    c.seed = seed;
    const RunResult result = run_and_check(c);
    CHECK(result.report.path == to_string(row.path));
    CHECK(result.report.skeleton == "matrix");
    CHECK(result.report.shared_bytes <= 32768);
}

}  // namespace

TEST_SUITE_BEGIN("matrices");

TEST_CASE("matrices: hooks, dims, schedules and flavours against float64, over a pairwise table of calls") {
    if (!has_matrices()) return;
    const auto calls = call_table();
    for (size_t row = 0; row < std::size(rows); row++)
        for (size_t n = 0; n < 3; n++)
            check_row(rows[row], calls[(row + n * std::size(rows)) % calls.size()], 100 * row + n + 1);
}

TEST_CASE("matrices: lengths around the edges of tiles and steps") {
    if (!has_matrices()) return;
    uint64_t seed = 1;
    for (Path path : paths)
        for (int32_t q_len : {7, 8, 9, 15, 16, 17, 31, 33})
            for (int32_t kv_len : {1, 15, 16, 17, 31, 33, 48}) {
                AttentionCase c = matrix_case(path, "causal", 40, 24);
                c.shape = {1, 2, 1, q_len, kv_len};
                c.seed = seed++;
                run_and_check(c);
            }
}

TEST_CASE("matrices: no keys, no queries, rows without a key") {
    if (!has_matrices()) return;
    for (Path path : paths) {
        AttentionCase c = matrix_case(path, "causal", 40, 24);
        c.shape.kv_len = 0;
        const RunResult none = run_and_check(c);
        for (float x : none.o.at) CHECK(x == 0.0f);
        for (float x : none.lse) CHECK(x == -infinity);
        c.shape = {1, 2, 1, 0, 20};
        CHECK(run_and_check(c).log.dispatches == 0);
        run_and_check(matrix_case(path, "anti_causal", 40, 24));
    }
}

TEST_CASE("matrices: scores of -inf, +inf and NaN, and scores that f16 could not hold") {
    if (!has_matrices()) return;
    for (Path path : paths) {
        for (const char* score : {"minus_infinity", path == Path::khr ? "infinity_and_nan" : "finfo_min"}) {
            AttentionCase c = matrix_case(path, "causal", 40, 24);
            c.score = score;
            run_and_check(c);
        }
        AttentionCase c = matrix_case(path, "causal", 40, 24);
        Inputs inputs = make_inputs(c);
        for (float& x : inputs.q.at) x = rounded(f16, x * 300.0f);  // q . k up to 150,000: f16 ends at 65504
        for (float& x : inputs.k.at) x = rounded(f16, x * 300.0f);
        RunOptions options;
        options.scale = 1e-4f;
        check_result(c, inputs, run(c, inputs, options), options);
    }
}

TEST_CASE("matrices: slices give the whole's bits, and every run the same") {
    if (!has_matrices()) return;
    for (Path path : paths) {
        AttentionCase c = matrix_case(path, "causal", 40, 24);
        c.shape = {2, 4, 2, 70, 133};
        c.poison = Poison::partial;
        const Inputs inputs = make_inputs(c);
        const RunResult whole = run(c, inputs);
        CHECK(same_bits(whole, run(c, inputs)));
        RunOptions options;
        for (uint32_t slices : {2u, 5u, 11u})
            for (bool reversed : {false, true}) {
                c.slices = slices;
                options.reversed_slices = options.separate_submits = reversed;
                CHECK(same_bits(whole, run(c, inputs, options)));
            }
    }
}

TEST_CASE("matrices: a bad row of v among keys that only some rows attend to is repaired for the others") {
    if (!has_matrices()) return;
    for (Path path : paths) {
        for (float bad : {std::numeric_limits<float>::quiet_NaN(), infinity, -infinity}) {
            AttentionCase c = matrix_case(path, "causal", 40, 24);
            c.shape = {1, 1, 1, 70, 70};
            Inputs inputs = make_inputs(c);
            inputs.v.row(0, 0, 37)[23] = bad;
            const RunResult result = run(c, inputs);
            check_result(c, inputs, result);
            CHECK(std::isfinite(result.o.row(0, 0, 36)[23]));
            CHECK(std::isfinite(result.o.row(0, 0, 37)[0]));
            CHECK_FALSE(std::isfinite(result.o.row(0, 0, 37)[23]));
        }
        // An infinite value whose weight is below f16's least number: infinite all the same.
        AttentionCase c = matrix_case(path, "causal", 40, 24);
        c.shape = {1, 1, 1, 20, 20};
        Inputs inputs = make_inputs(c);
        for (float& x : inputs.k.at) x = 1.0f;
        for (float& x : inputs.q.at) x = 8.0f;
        for (int32_t x = 0; x < 40; x++) inputs.k.row(0, 0, 3)[x] = -1.0f;  // a score 64 below the others'
        inputs.v.row(0, 0, 3)[5] = infinity;
        RunOptions options;
        options.scale = 0.1f;
        const RunResult result = run(c, inputs, options);
        check_result(c, inputs, result, options);
        CHECK(result.o.row(0, 0, 19)[5] == infinity);
    }
}

// The yardstick's own control: weights rounded to f16 stay within the bounds, sums or scores in f16 do not.
TEST_CASE("matrices: the bound on rounded weights holds for them and would catch f16 sums and f16 scores") {
    vkattn::test::AttentionF64 in;
    in.q_len = 64;
    in.kv_len = 600;
    in.head_dim = in.value_dim = 64;
    in.scale = 0.125;
    Random random(5);
    for (auto* tensor : {&in.q, &in.k, &in.v}) {
        tensor->resize(static_cast<size_t>(tensor == &in.q ? in.q_len : in.kv_len) * 64);
        for (float& x : *tensor) x = rounded(f16, random.uniform(-2.0f, 2.0f));
    }
    in.run();
    const WeightRounding rounding = weight_rounding(in, f16);
    struct Rounds {
        bool weights, sums, scores;
    };
    struct Found {
        double most = 0.0, usually = 0.0;  // the largest error in units of the bound; the mean row's in units of its
    };
    const auto measure = [&](Rounds rounds) {
        const auto to = [](bool round, double x) {
            return round ? static_cast<double>(rounded(f16, static_cast<float>(x))) : x;
        };
        Found found;
        double mean = 0.0, mean_bound = 0.0;
        for (size_t i = 0; i < 64; i++) {
            std::vector<double> o(64);
            double total = 0.0, error = 0.0, bound = 0.0;
            for (size_t j = 0; j < 600; j++) {
                double score = 0.0;
                for (size_t x = 0; x < 64; x++) score += double{in.q[i * 64 + x]} * double{in.k[j * 64 + x]};
                const double weight = to(rounds.weights, std::exp(to(rounds.scores, score * in.scale) - in.lse[i]));
                total += weight;
                for (size_t x = 0; x < 64; x++) o[x] = to(rounds.sums, o[x] + weight * double{in.v[j * 64 + x]});
            }
            for (size_t x = 0; x < 64; x++) {
                const double off = std::fabs(o[x] / total - in.o[i * 64 + x]);
                found.most = std::max(found.most, off / rounding.most[i * 64 + x]);
                error = std::max(error, off);
                bound = std::max(bound, rounding.usually[i * 64 + x]);
            }
            mean += error;
            mean_bound += 1.5 * bound;
        }
        found.usually = mean / mean_bound;
        return found;
    };
    const Found weights = measure({true, false, false}), sums = measure({true, true, false}),
                scores = measure({true, false, true});
    CHECK(weights.most <= 1.0);
    CHECK(weights.usually <= 1.0);
    CHECK(weights.usually > 0.1);  // no looser than it must be
    CHECK(sums.usually > 1.0);
    CHECK(scores.usually > 1.0);
    MESSAGE("of the bounds: weights " << weights.most << ", " << weights.usually << "; sums " << sums.most << ", "
                                      << sums.usually << "; scores " << scores.most << ", " << scores.usually);
}

TEST_CASE("matrices: what cannot be is refused with the reason") {
    const auto refusal = [](const AttentionCase& c, vkattn::Engine* engine = nullptr) {
        RunOptions options;
        options.engine = engine;
        options.expect_refusal = true;
        const RunResult result = run(c, make_inputs(c), options);
        CHECK_FALSE(result.ran());
        return result.refused.message;
    };
    const auto contains = [](const std::string& text, const char* part) {
        return text.find(part) != std::string::npos;
    };
    for (Path path : paths) {
        AttentionCase c = matrix_case(path, "full", 16, 16);
        c.q_type = f32;
        CHECK(contains(refusal(c), "q, k and v are f32, f16 and f16"));
        c = matrix_case(path, "full", 16, 16);
        c.skeleton = vkattn::Skeleton::rows;
        CHECK(contains(refusal(c), "skeleton"));
        c = matrix_case(path, "full", 16, 16);
        c.widen = vkattn::Widen::on;
        CHECK(contains(refusal(c), "widen"));

        // A host that enabled nothing.
        vkattn::HostDevice host;
        VulkanContext& context = VulkanContext::shared();
        host.instance = context.instance;
        host.physical_device = context.physical_device;
        host.device = context.device;
        host.get_instance_proc_addr = vkGetInstanceProcAddr;
        auto bare = vkattn::Engine::create(host);
        REQUIRE(bare.ok());
        CHECK((*bare)->capabilities().matrix_shapes.empty());
        CHECK(contains(refusal(matrix_case(path, "full", 16, 16), bare->get()), "matrices are not used"));
        if (!has_matrices()) continue;

        c = matrix_case(path, "full", 16, 16);
        c.q_type = c.k_type = c.v_type = bf16;
        CHECK(contains(refusal(c), "no matrices of bf16"));
        c = matrix_case(path, "full", 16, 16);
        c.schedule = Schedule::list;
        c.block_q = c.block_kv = 12;
        CHECK(contains(refusal(c), "block_q 12"));
        vkattn::LimitOverrides limits;
        limits.max_shared_bytes = 2048;
        const auto small = make_engine(context, limits);
        CHECK(contains(refusal(matrix_case(path, "full", 128, 128), small.get()), "bytes of shared memory"));
        const auto& shapes = shared_engine().capabilities().matrix_shapes;
        CHECK(std::any_of(shapes.begin(), shapes.end(), [](const vkattn::MatrixShape& s) { return s.type == f16; }));
    }
}

TEST_CASE("matrices: automatic takes khr on GPUs for many rows of one 16-bit type, and scalar where it cannot be had") {
    if (!has_matrices()) return;
    const auto plan = [](vkattn::Engine& engine, const AttentionCase& c) {
        auto made = engine.plan(problem_of(c, make_inputs(c)));
        REQUIRE_MESSAGE(made.ok(), made.status().message);
        return made->report();
    };
    AttentionCase c = matrix_case(Path::automatic, "causal", 40, 24);
    CHECK(plan(shared_engine(), c).path == "scalar");  // a software device

    Pretence gpu;
    gpu.type = VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
    const PretendedDevice device(VulkanContext::shared(), gpu);
    const auto engine = device.make_engine();
    CHECK(plan(*engine, c).path == "khr");
    CHECK(plan(*engine, c).why.find("path khr") != std::string::npos);
    c.shape.q_len = 1;
    CHECK(plan(*engine, c).path == "scalar");
    c.shape.q_len = 70;
    c.k_type = f32;
    CHECK(plan(*engine, c).path == "scalar");
    CHECK(plan(*engine, c).why.find("one 16-bit type") != std::string::npos);

    // A compiler without the extension.
    class OldCompiler final : public vkattn::ShaderCompiler {
      public:
        vkattn::Result<std::vector<uint32_t>> compile(const vkattn::CompileJob& job) const override {
            if (job.name == "attention_khr.comp")
                return vkattn::error(vkattn::Code::compile_failed, "GL_KHR_cooperative_matrix is not known\nline 2");
            return test_compiler()->compile(job);
        }
        std::string version() const override { return "old " + test_compiler()->version(); }
    } old_compiler;
    vkattn::EngineOptions engine_options;
    engine_options.compiler = &old_compiler;
    auto old_engine = vkattn::Engine::create(device.host(device.requirements().features), engine_options);
    REQUIRE(old_engine.ok());
    c = matrix_case(Path::automatic, "wrong_index", 40, 24);
    const vkattn::PlanReport report = plan(**old_engine, c);
    CHECK(report.path == "scalar");
    CHECK(report.why.find("GL_KHR_cooperative_matrix is not known; ") != std::string::npos);
    c.path = Path::khr;
    CHECK((*old_engine)->plan(problem_of(c, make_inputs(c))).status().code == vkattn::Code::compile_failed);
}

TEST_CASE("matrices: sizes as literals give the bits of specialized ones") {
    if (!has_matrices()) return;
    for (Path path : paths) {
        AttentionCase c = matrix_case(path, "causal", 40, 24);
        c.poison = Poison::partial;
        const Inputs inputs = make_inputs(c);
        const RunResult specialized = run(c, inputs);
        Pretence molten;  // on a device without a subgroup size to choose, as Apple's
        molten.type = VK_PHYSICAL_DEVICE_TYPE_CPU;
        molten.driver_id = VK_DRIVER_ID_MOLTENVK;
        const PretendedDevice device(VulkanContext::shared(), molten);
        const auto engine = device.make_engine();
        CHECK(engine->capabilities().literal_matrix_sizes);
        RunOptions options;
        options.engine = engine.get();
        const RunResult literal = run(c, inputs, options);
        check_result(c, inputs, literal, options);
        CHECK(same_bits(specialized, literal));
    }
}

TEST_CASE("matrices: every shape of up to 16 rows, subgroup size and dim fits 32 KiB, and its sizes are what the "
          "kernel wants") {
    struct Device {
        const char* name;
        uint32_t vendor_id, subgroup_size, min_subgroup_size, max_subgroup_size;
        vkattn::MatrixShape shape;
    };
    constexpr Device devices[] = {
        {"lavapipe", 0x10005, 8, 8, 8, {8, 8, 8, f16}},     {"navi31", 0x1002, 64, 32, 64, {16, 16, 16, f16}},
        {"ampere", 0x10de, 32, 32, 32, {16, 16, 16, f16}},  {"turing", 0x10de, 32, 32, 32, {16, 8, 8, f16}},
        {"dg2", 0x8086, 32, 8, 32, {8, 8, 16, f16}},        {"bmg", 0x8086, 32, 16, 32, {8, 16, 16, f16}},
        {"wide rows", 0, 16, 16, 16, {32, 8, 16, f16}},     {"wide columns", 0, 32, 32, 32, {8, 32, 16, f16}},
        {"a subgroup of 4", 0, 4, 4, 4, {16, 16, 16, f16}}, {"a subgroup of 128", 0, 128, 64, 128, {16, 16, 8, f16}}};
    for (const Device& device : devices)
        for (int32_t dim : {1, 8, 15, 40, 64, 80, 96, 128, 192, 256, 512, 576})
            for (int32_t q_len : {9, 70, 5000})
                for (Path path : paths) {
                    Capabilities able;
                    able.software = std::string_view(device.name) == "lavapipe";
                    able.device.vendor_id = device.vendor_id;
                    able.features.cooperative_matrix = able.features.cooperative_matrix2 =
                        able.features.subgroup_size_control = true;
                    able.subgroup_size = device.subgroup_size;
                    able.min_subgroup_size = device.min_subgroup_size;
                    able.max_subgroup_size = device.max_subgroup_size;
                    able.max_workgroup_subgroups = 64;
                    able.max_shared_bytes = 65536;
                    able.max_invocations = 1024;
                    able.matrix_shapes = {device.shape};
                    vkattn::Problem problem;
                    problem.max_shape = {1, 2, 1, q_len, 1000};
                    problem.head_dim = problem.value_dim = dim;
                    problem.q_type = problem.k_type = problem.v_type = f16;
                    INFO(device.name << ", D " << dim << ", " << q_len << " rows");
                    Choice choice;
                    const vkattn::Status status = vkattn::tune_matrix(able, problem, path, choice);
                    if (path == Path::nv && device.shape.n != device.shape.k) {
                        CHECK_FALSE(status.ok());
                        continue;
                    }
                    if (device.shape.m > 16 && dim > 256) {  // the queries alone would not fit
                        CHECK(status.message.find("bytes of shared memory") != std::string::npos);
                        continue;
                    }
                    REQUIRE_MESSAGE(status.ok(), status.message);
                    const vkattn::MatrixShape& shape = choice.matrix;
                    CHECK(choice.shared_bytes <= 32768);
                    CHECK(choice.workgroup_size <= 512);
                    CHECK(choice.tile_rows % shape.m == 0);
                    const uint32_t row_groups = choice.tile_rows / shape.m;
                    REQUIRE(choice.workgroup_size % (row_groups * choice.lanes) == 0);
                    const uint32_t split = choice.workgroup_size / choice.lanes / row_groups;
                    CHECK(std::has_single_bit(split));
                    CHECK(choice.step_keys % shape.n == 0);
                    CHECK(choice.step_keys % shape.k == 0);
                    CHECK(choice.qk_chunk % shape.k == 0);
                    CHECK(choice.value_chunk % (shape.n * split) == 0);
                    // attention_khr.comp keeps which pairs attend in 32 bits a row and lane.
                    const uint32_t softmax_rows = (shape.m + split - 1) / split;
                    const uint32_t row_lanes =
                        std::min(std::max(choice.lanes / softmax_rows, 1u), choice.step_keys / 4);
                    CHECK(choice.step_keys / row_lanes <= 32);
                    CHECK(choice.step_keys / 4 % row_lanes == 0);
                }
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("quick");

// At other widths lavapipe offers no matrices or crashes on them: then the path is refused.
TEST_CASE("quick: matrices, or the reason why not") {
    for (Path path : paths) {
        AttentionCase c = matrix_case(path, "causal", 24, 24);
        c.shape = {1, 2, 1, 37, 45};
        c.poison = Poison::partial;
        RunOptions options;
        options.expect_refusal = !shared_engine().capabilities().features.cooperative_matrix;
        const RunResult result = run_and_check(c, options);
        CHECK(result.ran() != options.expect_refusal);
        if (!result.ran()) CHECK(result.refused.message.find("matrices are not used") != std::string::npos);
    }
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("long");

TEST_CASE("long: random cases on matrices" * doctest::skip(std::getenv("VKATTN_LONG") == nullptr)) {
    if (!has_matrices()) return;
    const char* first_env = std::getenv("VKATTN_LONG_SEED");
    const uint64_t first = first_env == nullptr ? 1 : std::strtoull(first_env, nullptr, 10);
    const auto calls = call_table();
    for (uint64_t seed = first; seed < first + 300; seed++) {
        Random random(seed);
        Row row = rows[random.below(count(rows))];
        row.path = paths[random.below(2)];
        row.addressing = random.below(2) == 0 ? binding : address;
        row.o_type = static_cast<ElementType>(random.below(3));
        if (random.below(2) == 0) row.d = random.between(1, 576);
        if (random.below(2) == 0) row.dv = random.between(1, 576);
        check_row(row, calls[static_cast<size_t>(random.below(static_cast<int32_t>(calls.size())))], seed);
    }
}

TEST_SUITE_END();
