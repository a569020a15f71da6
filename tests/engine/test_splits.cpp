// Keys shared out between workgroups, and the decode skeleton, which always leaves its rows to be merged: against float64 over a
// pairwise table, then what only splits can get wrong.
#include <cmath>
#include <limits>

#include <doctest/doctest.h>

#include "harness/numbers.h"
#include "harness/pairwise.h"
#include "harness/run_attention.h"
#include "vkattn/named.h"

using namespace vkattn_tests;
using vkattn::Addressing;
using vkattn::ElementType;
using vkattn::ListEncoding;
using vkattn::Path;
using vkattn::Schedule;
using vkattn::Skeleton;

namespace {

constexpr std::string_view masks[] = {"causal_lower_right", "padding", "documents_causal", "wrong_index",
                                      "head_windows"};
constexpr std::string_view scores[] = {"none", "alibi", "identify"};

struct Kernel {
    Skeleton skeleton;  // automatic: of a matrix path
    Addressing addressing;
    Path path = Path::scalar;
};
constexpr Kernel kernels[] = {{Skeleton::rows, Addressing::address},   {Skeleton::rows, Addressing::binding},
                              {Skeleton::tiles, Addressing::address},  {Skeleton::tiles, Addressing::binding},
                              {Skeleton::decode, Addressing::address}, {Skeleton::decode, Addressing::binding}};
// lavapipe takes most of a second to compile each: below, what several hooks or schedules ask is shared out between the two.
constexpr Kernel matrix_kernels[] = {{Skeleton::automatic, Addressing::binding, Path::khr},
                                     {Skeleton::automatic, Addressing::address, Path::nv}};

std::vector<Kernel> all_kernels() {
    std::vector<Kernel> all(std::begin(kernels), std::end(kernels));
    all.insert(all.end(), std::begin(matrix_kernels), std::end(matrix_kernels));
    return all;
}

struct Types {
    ElementType k, v, o;
};
constexpr ElementType f32 = ElementType::f32, f16 = ElementType::f16, bf16 = ElementType::bf16;
constexpr Types types[] = {{f16, f16, f16}, {f32, f32, f32}, {bf16, f16, bf16}, {f16, f32, f32}, {f32, bf16, f16}};

struct Dims {
    int32_t d, dv;
};
constexpr Dims dims[] = {{16, 16}, {24, 20}, {15, 13}, {1, 2}, {20, 40}};

struct Lists {
    Schedule schedule;
    ListEncoding encoding;
};
constexpr Lists schedules[] = {{Schedule::dense, ListEncoding::runs},
                               {Schedule::interval, ListEncoding::runs},
                               {Schedule::list, ListEncoding::runs},
                               {Schedule::list, ListEncoding::indices}};
constexpr int32_t split_counts[] = {1, 2, 7};
constexpr vkattn::Shape shapes[] = {
    {2, 6, 2, 5, 131}, {1, 8, 1, 1, 257}, {3, 3, 3, 2, 64}, {1, 7, 1, 3, 45}, {2, 4, 2, 70, 200}};
constexpr Layout layouts[] = {Layout::bhld, Layout::blhd, Layout::broadcast, Layout::odd};
constexpr int32_t blocks[][2] = {{128, 128}, {64, 16}};

template <class T, size_t n>
int32_t count(const T (&)[n]) {
    return static_cast<int32_t>(n);
}

bool is_offered(const Kernel& kernel) {
    const vkattn::Capabilities& device = shared_engine().capabilities();
    if (kernel.addressing == Addressing::address && !device.features.buffer_device_address) return false;
    if (kernel.path == Path::khr && !device.features.cooperative_matrix) return false;
    if (kernel.path == Path::nv && !device.features.cooperative_matrix2) return false;
    return kernel.skeleton != Skeleton::decode ||
           (device.features.scalar_subgroup && device.features.subgroup_size_control);
}

void set_kernel(AttentionCase& c, const Kernel& kernel) {
    c.path = kernel.path;
    c.skeleton = kernel.skeleton;
    c.addressing = kernel.addressing;
    if (kernel.path != Path::scalar) c.q_type = c.k_type = c.v_type = ElementType::f16;
}

// The shared context's device, but it says that it is a GPU: several teams to a workgroup, each invocation loads its own words.
PFN_vkGetPhysicalDeviceProperties real_properties;
PFN_vkGetPhysicalDeviceProperties2 real_properties2;

void VKAPI_CALL gpu_properties(VkPhysicalDevice device, VkPhysicalDeviceProperties* properties) {
    real_properties(device, properties);
    properties->deviceType = VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
}

void VKAPI_CALL gpu_properties2(VkPhysicalDevice device, VkPhysicalDeviceProperties2* properties) {
    real_properties2(device, properties);
    properties->properties.deviceType = VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
}

PFN_vkVoidFunction VKAPI_CALL gpu_proc_addr(VkInstance instance, const char* name) {
    const PFN_vkVoidFunction found = spy_get_instance_proc_addr(instance, name);
    if (std::string_view(name) == "vkGetPhysicalDeviceProperties") {
        real_properties = reinterpret_cast<PFN_vkGetPhysicalDeviceProperties>(found);
        return reinterpret_cast<PFN_vkVoidFunction>(&gpu_properties);
    }
    if (std::string_view(name) == "vkGetPhysicalDeviceProperties2") {
        real_properties2 = reinterpret_cast<PFN_vkGetPhysicalDeviceProperties2>(found);
        return reinterpret_cast<PFN_vkVoidFunction>(&gpu_properties2);
    }
    return found;
}

}  // namespace

TEST_SUITE_BEGIN("splits");

TEST_CASE("decode as on a GPU: teams of a workgroup are splits of their own, words are loaded side by side") {
    VulkanContext& context = VulkanContext::shared();
    if (!is_offered({Skeleton::decode, Addressing::binding})) return;
    vkattn::HostDevice host;
    host.instance = context.instance;
    host.physical_device = context.physical_device;
    host.device = context.device;
    host.get_instance_proc_addr = gpu_proc_addr;
    host.allocator = counting_allocator();
    host.enabled = context.enabled;
    vkattn::EngineOptions engine_options;
    engine_options.compiler = test_compiler();
    auto engine = vkattn::Engine::create(host, engine_options);
    REQUIRE_MESSAGE(engine.ok(), engine.status().message);
    CHECK_FALSE((*engine)->capabilities().software);
    RunOptions options;
    options.engine = engine->get();
    for (const Types& type : {types[0], types[2]})
        for (const Lists& list : {schedules[0], schedules[2]})
            for (int32_t splits : {1, 21, 0}) {
                AttentionCase c;
                c.mask = "wrong_index";
                c.score = "identify";
                c.shape = {2, 6, 2, splits == 0 ? 1 : 5, 700};
                c.k_type = type.k;
                c.v_type = type.v;
                c.o_type = type.o;
                c.head_dim = 40;
                c.value_dim = 23;
                c.schedule = list.schedule;
                if (splits != 0) c.skeleton = Skeleton::decode;
                c.splits = splits;
                c.poison = Poison::partial;
                const Inputs inputs = make_inputs(c);
                const RunResult whole = run(c, inputs, options);
                check_result(c, inputs, whole, options);
                CHECK(whole.report.skeleton == "decode");
                CHECK(whole.report.splits > (splits == 1 ? 0 : 1));
                c.slices = 3;
                CHECK_MESSAGE(same_bits(whole, run(c, inputs, options)), replay_line(c, context));
            }
}

TEST_CASE("splits: a pairwise table against float64") {
    enum Axis : size_t { mask, score, kernel, type, dim, schedule, split, shape, layout, block };
    PairwiseOptions options;
    options.allowed = [](size_t i, int32_t x, size_t j, int32_t y) {
        if (i == mask && j == schedule)
            return schedules[y].schedule != Schedule::interval || mask_entry(masks[x]).interval;
        return true;
    };
    options.free_pairs = {{mask, dim}, {score, dim}, {score, type}, {type, schedule}, {dim, schedule}, {mask, type}};
    const auto table =
        pairwise_table({count(masks), count(scores), count(kernels), count(types), count(dims), count(schedules),
                        count(split_counts), count(shapes), count(layouts), count(blocks)},
                       options);
    uint64_t seed = 1;
    for (const auto& row : table) {
        AttentionCase c;
        c.mask = masks[row[mask]];
        c.score = scores[row[score]];
        if (!is_offered(kernels[row[kernel]])) continue;
        set_kernel(c, kernels[row[kernel]]);
        c.k_type = types[row[type]].k;
        c.v_type = types[row[type]].v;
        c.o_type = types[row[type]].o;
        c.head_dim = dims[row[dim]].d;
        c.value_dim = dims[row[dim]].dv;
        c.schedule = schedules[row[schedule]].schedule;
        c.encoding = schedules[row[schedule]].encoding;
        c.splits = split_counts[row[split]];
        c.shape = shapes[row[shape]];
        c.layout = layouts[row[layout]];
        if (c.schedule == Schedule::list) {
            c.block_q = blocks[row[block]][0];
            c.block_kv = blocks[row[block]][1];
        }
        c.poison = seed % 2 == 0 ? Poison::partial : Poison::unattended;
        c.slices = seed % 3 == 0 ? 3 : 1;
        c.seed = seed++;
        const RunResult result = run_and_check(c);
        CHECK(result.report.splits == c.splits);
    }
    MESSAGE(table.size() << " rows");
}

TEST_CASE("wrong indices: every kernel, split and slice, the same bits each time") {
    for (const Kernel& kernel : all_kernels())
        for (Schedule schedule : {Schedule::dense, Schedule::list})
            for (int32_t splits : {1, 40}) {  // 40: more than 131 keys are worth
                if (!is_offered(kernel) || (splits == 1 && kernel.skeleton != Skeleton::decode)) continue;
                if (kernel.path == (schedule == Schedule::dense ? Path::nv : Path::khr)) continue;
                AttentionCase c;
                c.mask = "wrong_index";
                c.score = "identify";
                c.shape = {2, 6, 2, 5, 131};
                c.head_dim = c.value_dim = 16;
                set_kernel(c, kernel);
                c.schedule = schedule;
                c.block_kv = 16;
                c.block_q = 128;
                c.splits = splits;
                const Inputs inputs = make_inputs(c);
                const RunResult whole = run(c, inputs);
                check_result(c, inputs, whole);
                CHECK(whole.report.splits == splits);
                CHECK_MESSAGE(same_bits(whole, run(c, inputs)), replay_line(c, VulkanContext::shared()));
                RunOptions apart;
                apart.separate_submits = apart.reversed_slices = true;
                for (uint32_t slices : {2u, 5u}) {
                    c.slices = slices;
                    CHECK_MESSAGE(same_bits(whole, run(c, inputs, apart)), replay_line(c, VulkanContext::shared()));
                }
                RunOptions many;
                many.max_dispatch_ms = 1e-6;
                const RunResult parts = run(c, inputs, many);
                CHECK(parts.log.dispatches > whole.log.dispatches);
                CHECK_MESSAGE(same_bits(whole, parts), replay_line(c, VulkanContext::shared()));
            }
}

TEST_CASE("no keys, one, a prime number, fewer than splits") {
    for (const Kernel& kernel : all_kernels())
        for (const std::string_view mask : {"causal_lower_right", "nothing"}) {
            if (kernel.path == (mask == "nothing" ? Path::nv : Path::khr)) continue;
            if (!is_offered(kernel) ||
                (kernel.skeleton != Skeleton::decode && kernel.addressing == Addressing::address))
                continue;
            for (int32_t kv_len : {0, 1, 2, 7, 31, 97}) {
                AttentionCase c;
                c.mask = mask;
                c.shape = {2, 3, 1, 3, kv_len};
                c.head_dim = c.value_dim = 8;
                set_kernel(c, kernel);
                c.splits = 11;
                const RunResult result = run_and_check(c);
                if (kv_len != 0 && mask != "nothing") continue;
                for (float x : result.o.at) CHECK(x == 0.0f);
                for (float x : result.lse) CHECK(x == -std::numeric_limits<float>::infinity());
            }
        }
}

TEST_CASE("special scores, and an infinite value that hardly any weight falls on, in a split of its own") {
    for (const Kernel& kernel : all_kernels()) {
        if (!is_offered(kernel) || (kernel.path == Path::scalar && kernel.addressing == Addressing::address)) continue;
        AttentionCase c;
        c.shape = {1, 4, 2, 9, 150};
        c.head_dim = c.value_dim = 8;
        set_kernel(c, kernel);
        c.splits = 4;
        for (const std::string_view score : {"minus_infinity", "infinity_and_nan", "finfo_min"}) {
            if (kernel.path == (score == "infinity_and_nan" ? Path::nv : Path::khr)) continue;
            c.score = score;
            run_and_check(c);
        }
        c.score = "none";
        Inputs inputs = make_inputs(c);
        for (float& x : inputs.q.at)
            x = rounded(c.q_type, 60.0f * x);  // weights of different splits are e^-200 of each other
        inputs.v.row(0, 0, 3)[1] = std::numeric_limits<float>::infinity();
        check_result(c, inputs, run(c, inputs));
    }
}

TEST_CASE("matrix paths in parts: several tiles, chunks of a row, poisoned values, rows without keys, ragged lists") {
    struct Row {
        Kernel kernel;
        const char *mask, *score;
        Dims dims;
        Lists lists;
        ElementType o;
    };
    const Row rows[] = {
        {{Skeleton::automatic, Addressing::address, Path::khr},
         "documents_causal",
         "softcap",
         {136, 100},
         schedules[3],
         f16},
        {matrix_kernels[0], "anti_causal", "none", {24, 72}, schedules[1], bf16},
        {matrix_kernels[1], "wrong_index", "none", {40, 23}, schedules[2], f32},
    };
    uint64_t seed = 1;
    for (const Row& row : rows) {
        if (!is_offered(row.kernel)) continue;
        AttentionCase c;
        set_kernel(c, row.kernel);
        c.mask = row.mask;
        c.score = row.score;
        c.head_dim = row.dims.d;
        c.value_dim = row.dims.dv;
        c.o_type = row.o;
        c.schedule = row.lists.schedule;
        c.encoding = row.lists.encoding;
        c.block_q = 32;
        c.block_kv = 48;
        c.shape = {2, 6, 2, 75, 333};
        c.layout = Layout::odd;
        c.poison = Poison::partial;
        c.splits = 3;
        c.seed = seed++;
        const Inputs inputs = make_inputs(c);
        const RunResult whole = run(c, inputs);
        check_result(c, inputs, whole);
        CHECK(whole.report.skeleton == "matrix");
        CHECK(whole.report.splits == 3);
        c.slices = 4;
        CHECK_MESSAGE(same_bits(whole, run(c, inputs)), replay_line(c, VulkanContext::shared()));
    }
}

TEST_CASE("the decode skeleton packs any ratio of heads, and any number of queries") {
    if (!is_offered({Skeleton::decode, Addressing::binding})) return;
    uint64_t seed = 1;
    for (const int32_t group : {3, 5, 13})
        for (const int32_t q_len : {1, 5})
            for (Schedule schedule : {Schedule::interval, Schedule::list}) {
                AttentionCase c;
                c.mask = schedule == Schedule::list ? "head_windows" : "causal_lower_right";
                c.score = "alibi";
                c.shape = {2, 2 * group, 2, q_len, 75};
                c.head_dim = c.value_dim = 8;
                c.k_type = f16;
                c.skeleton = Skeleton::decode;
                c.schedule = schedule;
                c.splits = 2;
                c.poison = Poison::partial;
                c.slices = 2;
                c.seed = seed++;
                run_and_check(c);
            }
}

TEST_CASE("a speculative tree in one launch: few queries, an ancestor table, one split each") {
    // Tokens of a tree with parents before children.
    constexpr int32_t parents[] = {-1, 0, 0, 1, 1, 2, 4};
    constexpr int32_t tokens = 7, prefix = 90;
    std::vector<uint8_t> ancestor(tokens * tokens, 0);
    for (int32_t q = 0; q < tokens; q++)
        for (int32_t at = q; at >= 0; at = parents[at]) ancestor[static_cast<size_t>(q * tokens + at)] = 1;
    auto table = std::make_shared<vkattn::TableData>();
    table->type = vkattn::Type::boolean;
    table->dims = {tokens, tokens};
    table->boolean.assign(ancestor.begin(), ancestor.end());
    for (Skeleton skeleton : {Skeleton::automatic, Skeleton::rows, Skeleton::tiles}) {
        AttentionCase c;
        c.shape = {1, 8, 2, tokens, prefix + tokens};
        c.head_dim = c.value_dim = 24;
        c.skeleton = skeleton;
        c.splits = 3;
        c.poison = Poison::none;
        Inputs inputs = make_inputs(c);
        inputs.mask.mask =
            vkattn::tree_ancestors(vkattn::table("ancestor", vkattn::Type::boolean), vkattn::param("prefix"));
        inputs.bindings.tables["ancestor"] = table;
        inputs.bindings.scalars["prefix"] = vkattn::Scalar{prefix};
        inputs.keep = [&](int32_t, int32_t, int32_t q, int32_t kv) {
            return kv < prefix || ancestor[static_cast<size_t>(q * tokens + kv - prefix)] != 0;
        };
        const RunResult result = run(c, inputs);
        check_result(c, inputs, result);
        CHECK(result.log.dispatches == 2);  // attention and merge
    }
}

TEST_CASE("splits are chosen from the device's cores, and only where tiles leave them idle") {
    AttentionCase c;
    c.shape = {1, 4, 2, 1, 5000};
    c.head_dim = c.value_dim = 16;
    c.k_type = c.v_type = f16;
    uint32_t dispatches = 0;
    for (uint32_t cores : {1u, 2u}) {
        vkattn::LimitOverrides limits;
        limits.cores = cores;
        const auto engine = make_engine(VulkanContext::shared(), limits);
        RunOptions options;
        options.engine = engine.get();
        const RunResult result = run_and_check(c, options);
        CHECK(result.report.splits >= 1);
        if (result.report.skeleton == "decode") CHECK(result.report.splits == static_cast<int32_t>(2 * cores));
        dispatches = result.log.dispatches;
        CHECK(dispatches == result.report.dispatches);
        CHECK((result.report.splits == 1 || result.report.why.find("splits") != std::string::npos));
    }
    c.shape = {1, 8, 8, 300, 300};
    const RunResult many = run_and_check(c);
    CHECK(many.report.splits == 1);
}

TEST_CASE("a wish for splits that cannot be met is refused") {
    AttentionCase c;
    c.shape = {1, 2, 1, 3, 40};
    RunOptions options;
    options.expect_refusal = true;
    for (int32_t splits : {-1, 1025}) {
        c.splits = splits;
        const RunResult refused = run(c, make_inputs(c), options);
        CHECK(refused.refused.code == vkattn::Code::invalid_argument);
        CHECK(refused.refused.message.find("Problem::splits") != std::string::npos);
    }
    vkattn::LimitOverrides limits;
    limits.max_storage_buffer_range = 1u << 16;
    const auto limited = make_engine(VulkanContext::shared(), limits);
    options.engine = limited.get();
    c.addressing = Addressing::binding;
    c.splits = 100;  // 2 heads x 6 queries x 100 splits x 272 bytes
    const RunResult refused = run(c, make_inputs(c), options);
    CHECK(refused.refused.code == vkattn::Code::limit_exceeded);
    CHECK(refused.refused.message.find("descriptor range") != std::string::npos);
}

TEST_CASE("descriptor windows cut between tiles of several heads") {
    if (!is_offered({Skeleton::decode, Addressing::binding})) return;
    vkattn::LimitOverrides limits;
    limits.max_storage_buffer_range = 1u << 18;
    limits.max_workgroups = 3;
    const auto limited = make_engine(VulkanContext::shared(), limits);
    AttentionCase c;
    c.mask = "wrong_index";
    c.shape = {3, 10, 2, 3, 900};  // k and v 345,600 bytes each, a head 57,600
    c.head_dim = c.value_dim = 16;
    c.skeleton = Skeleton::decode;
    c.addressing = Addressing::binding;
    c.splits = 3;
    const Inputs inputs = make_inputs(c);
    const RunResult whole = run(c, inputs);
    check_result(c, inputs, whole);
    RunOptions options;
    options.engine = limited.get();
    for (uint32_t slices : {1u, 4u}) {
        c.slices = slices;
        const RunResult parts = run(c, inputs, options);
        CHECK(parts.log.dispatches > whole.log.dispatches);
        CHECK_MESSAGE(same_bits(whole, parts), replay_line(c, VulkanContext::shared()));
    }
}

TEST_SUITE_END();
