// Path nv on matrices that a whole workgroup holds. No device here has them. So lavapipe pretends to, with workgroups of one subgroup;
// the kernel is compiled with the subgroup's scope in the workgroup's place, and loads matrices element by element (MATRIX_SCOPE and
// TENSOR_LOADS of the shaders) or by what SPV_NV_cooperative_matrix2 says that tensor addressing computes. The rest is what would run.
#include <algorithm>
#include <array>
#include <bit>
#include <set>

#include <doctest/doctest.h>

#include "engine/src/modules.h"
#include "engine/src/tuning.h"
#include "harness/numbers.h"
#include "harness/pairwise.h"
#include "harness/pretended_device.h"
#include "harness/run_attention.h"
#include "harness/spirv.h"
#include "vkattn/named.h"
#include "vkattn/normalise.h"
#include "vkattn/self_test.h"

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
    const Capabilities& able = shared_engine().capabilities();
    if (able.features.cooperative_matrix2 && able.subgroup_size == 8) return true;
    MESSAGE("not on this device: it has no matrices of 8x8x8 with softmax in registers");
    return false;
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
    size_t count = 0;
    for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()), count++)
        text.replace(at, from.size(), to);
    REQUIRE_MESSAGE(count > 0, "the text has no '" << std::string(from) << "'");
}

// Tensor addressing as the extension's text computes it: an element's place in its matrix is a number row by row, that is a place in the
// span by way of the view, the span's offsets make it one in the tensor, and outside of that stands the clamp value. Reads of an element
// that the tensor lacks would be the kernel's fault: NaN guards are around it.
constexpr std::string_view emulation = R"(
struct EmulatedLayout { uint dim[2]; uint stride[2]; int offset[2]; uint span[2]; };
EmulatedLayout emulated_layout;
RowPlace emulated_row;
EmulatedLayout emulated_create() { EmulatedLayout l; for (int i = 0; i < 2; i++) { l.dim[i] = l.stride[i] = l.span[i] = 0u; l.offset[i] = 0; } return l; }
EmulatedLayout emulated_dimension(EmulatedLayout l, uint dim0, uint dim1) {
    l.dim[0] = l.span[0] = dim0; l.dim[1] = l.span[1] = dim1;
    l.stride[1] = 1u; l.stride[0] = dim1;
    l.offset[0] = l.offset[1] = 0;
    return l;
}
EmulatedLayout emulated_stride(EmulatedLayout l, uint stride0, uint stride1) { l.stride[0] = stride0; l.stride[1] = stride1; return l; }
EmulatedLayout emulated_slice(EmulatedLayout l, int offset0, uint span0, uint offset1, uint span1) {
    l.offset[0] += offset0; l.offset[1] += int(offset1); l.span[0] = span0; l.span[1] = span1;
    return l;
}
// The number of the element behind emulated_row, or -1; `n` columns.
int emulated_element(uint row, uint col, uint n, bool transposed) {
    EmulatedLayout l = emulated_layout;
    uint index = row * n + col;
    if (transposed) {
        uint first = index % l.span[0], second = index / l.span[0] % l.span[1];
        index = first * l.span[1] + second;
    }
    int at1 = int(index % l.span[1]) + l.offset[1], at0 = int(index / l.span[1] % l.span[0]) + l.offset[0];
    if (at0 < 0 || at1 < 0 || uint(at0) >= l.dim[0] || uint(at1) >= l.dim[1]) return -1;
    return int(uint(at0) * l.stride[0] + uint(at1) * l.stride[1]);
}
#define EMULATED_ELEMENT(tensor_half, n, transposed) \
    int e = emulated_element(row, col, n, transposed); \
    MATRIX_ELEMENT value = MATRIX_ELEMENT(0.0); \
    if (e >= 0) value = matrix_element(tensor_half(emulated_row, uint(e))); \
    return value
MATRIX_ELEMENT emulated_query(const in uint row, const in uint col, const in MATRIX_ELEMENT unused) { EMULATED_ELEMENT(q_half, MATRIX_K, false); }
MATRIX_ELEMENT emulated_key(const in uint row, const in uint col, const in MATRIX_ELEMENT unused) { EMULATED_ELEMENT(k_half, MATRIX_N, true); }
MATRIX_ELEMENT emulated_value(const in uint row, const in uint col, const in MATRIX_ELEMENT unused) { EMULATED_ELEMENT(v_half, MATRIX_N, false); }
#define EMULATED_QUERIES(at, l) emulated_row = at; emulated_layout = l; coopMatPerElementNV(loaded, loaded, emulated_query)
#define EMULATED_KEYS(at, l, view) emulated_row = at; emulated_layout = l; coopMatPerElementNV(loaded, loaded, emulated_key)
#define EMULATED_VALUES(at, l) emulated_row = at; emulated_layout = l; coopMatPerElementNV(loaded, loaded, emulated_value)
bool are_addressable();
)";

// wrong: emulated, but keys are not transposed.
enum class Loads : uint8_t { by_element, emulated, wrong };

class MatricesOfSubgroups final : public vkattn::ShaderCompiler {
  public:
    explicit MatricesOfSubgroups(Loads loads) : loads_(loads) {}

    vkattn::Result<std::vector<uint32_t>> compile(const vkattn::CompileJob& job) const override {
        if (!is_for_workgroups(job)) return test_compiler()->compile(job);
        vkattn::CompileJob changed = job;
        changed.defines.emplace_back("MATRIX_SCOPE", "gl_ScopeSubgroup");
        changed.defines.emplace_back("TENSOR_LOADS", loads_ == Loads::by_element ? "0" : "1");
        vkattn::SourceSet includes = *job.includes;
        std::string& text = includes.find("matrix_workgroup.glsl")->second;
        if (loads_ != Loads::by_element) {
            replace_all(text, "createTensorLayoutNV(2, gl_CooperativeMatrixClampModeConstantNV)", "emulated_create()");
            replace_all(text, "setTensorLayoutDimensionNV", "emulated_dimension");
            replace_all(text, "setTensorLayoutStrideNV", "emulated_stride");
            replace_all(text, "sliceTensorLayoutNV", "emulated_slice");
            replace_all(text, "coopMatLoadTensorNV(loaded, TENSOR_ROW(q_data, Q_VEC4, row),", "EMULATED_QUERIES(row,");
            replace_all(text, "coopMatLoadTensorNV(loaded, TENSOR_ROW(k_data, K_VEC4, row),", "EMULATED_KEYS(row,");
            replace_all(text, "coopMatLoadTensorNV(loaded, TENSOR_ROW(v_data, V_VEC4, row),", "EMULATED_VALUES(row,");
            replace_all(text, "createTensorViewNV(2, false, 1, 0)", "0");
            std::string tensors(emulation);
            if (loads_ == Loads::wrong) replace_all(tensors, "(k_half, MATRIX_N, true)", "(k_half, MATRIX_N, false)");
            text.insert(text.find("#if TENSOR_LOADS"), tensors);
        }
        changed.includes = &includes;
        return test_compiler()->compile(changed);
    }
    std::string version() const override { return "matrices of subgroups, " + test_compiler()->version(); }

    static bool is_for_workgroups(const vkattn::CompileJob& job) {
        const auto is = [](const auto& define) { return define.first == "WORKGROUP_MATRICES" && define.second == "1"; };
        return std::any_of(job.defines.begin(), job.defines.end(), is);
    }

  private:
    Loads loads_;
};

Pretence workgroups() {
    Pretence p;
    p.type = VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
    p.workgroup_matrices = {8};
    return p;
}

// An engine on the device that pretends.
class Workgroups {
  public:
    explicit Workgroups(Loads loads) : compiler_(loads), device_(VulkanContext::shared(), workgroups()) {
        auto engine = device_.create_engine(device_.requirements().features, &compiler_);
        REQUIRE_MESSAGE(engine.ok(), engine.status().message);
        engine_ = *std::move(engine);
    }
    // 0: as many keys a step as plan() takes, which lavapipe compiles for half a minute at D 40.
    RunOptions options(uint32_t step_keys = 8) const {
        RunOptions options;
        options.engine = engine_.get();
        if (step_keys == 0) return options;
        vkattn::KernelSizes sizes;
        sizes.path = Path::nv;
        sizes.skeleton = vkattn::Skeleton::automatic;
        sizes.workgroup_matrices = true;
        sizes.workgroup_size = sizes.subgroup_size = 8;
        sizes.tile_rows = sizes.matrix_m = sizes.matrix_n = sizes.matrix_k = 8;
        sizes.step_keys = step_keys;
        options.sizes = sizes;
        return options;
    }
    RunResult check(const AttentionCase& c, uint32_t step_keys = 8) const {
        const RunResult result = run_and_check(c, options(step_keys));
        CHECK(result.report.path == "nv");
        CHECK(result.report.sizes.workgroup_matrices);
        CHECK(result.report.sizes.workgroup_size == 8);
        CHECK(result.report.why.find("by workgroups of 8") != std::string::npos);
        return result;
    }

  private:
    MatricesOfSubgroups compiler_;
    PretendedDevice device_;
    std::unique_ptr<vkattn::Engine> engine_;
};

AttentionCase matrix_case(std::string mask, int32_t d, int32_t dv) {
    AttentionCase c;
    c.path = Path::nv;
    c.mask = std::move(mask);
    c.q_type = c.k_type = c.v_type = f16;
    c.o_type = f32;
    c.head_dim = d;
    c.value_dim = dv;
    c.shape = {1, 2, 1, 70, 133};
    return c;
}

struct Row {
    Loads loads;
    std::string_view mask, score;
    int32_t d, dv;
    uint32_t step_keys;
    Schedule schedule;
    ListEncoding encoding;
    Addressing addressing;
    ElementType o_type;
};
constexpr ListEncoding runs = ListEncoding::runs, indices = ListEncoding::indices;
constexpr Addressing binding = Addressing::binding, address = Addressing::address;
constexpr Row rows[] = {
    {Loads::by_element, "full", "alibi", 8, 8, 0, Schedule::dense, runs, address, f16},
    {Loads::emulated, "causal", "none", 24, 40, 8, Schedule::interval, runs, binding, f32},
    {Loads::by_element, "padding", "identify", 20, 9, 8, Schedule::interval, runs, binding, bf16},
    {Loads::emulated, "documents_causal", "softcap", 15, 16, 16, Schedule::list, runs, address, f32},
    {Loads::by_element, "wrong_index", "none", 40, 24, 8, Schedule::list, indices, address, f16},
};

constexpr std::pair<int32_t, int32_t> lengths[] = {{1, 1}, {9, 7}, {31, 17}, {64, 64}, {65, 127}, {5, 131}, {70, 48}};
constexpr vkattn::Shape heads[] = {{1, 1, 1, 0, 0}, {2, 2, 1, 0, 0}, {1, 6, 2, 0, 0}, {2, 3, 3, 0, 0}};
constexpr Layout layouts[] = {Layout::bhld,      Layout::blhd,   Layout::packed,
                              Layout::broadcast, Layout::padded, Layout::odd};

}  // namespace

TEST_SUITE_BEGIN("matrices");

TEST_CASE("workgroup matrices: hooks, dims, schedules, layouts and loads against float64") {
    if (!has_matrices()) return;
    const auto calls = pairwise_table({static_cast<int32_t>(std::size(lengths)), static_cast<int32_t>(std::size(heads)),
                                       static_cast<int32_t>(std::size(layouts)), 2, 2});
    for (const Loads loads : {Loads::by_element, Loads::emulated}) {
        const Workgroups on(loads);
        for (size_t i = 0; i < std::size(rows); i++) {
            const Row& row = rows[i];
            if (row.loads != loads) continue;
            AttentionCase c = matrix_case(std::string(row.mask), row.d, row.dv);
            c.score = row.score;
            c.schedule = row.schedule;
            c.encoding = row.encoding;
            c.addressing = row.addressing;
            c.o_type = row.o_type;
            for (size_t n = 0; n < 4; n++) {
                const auto& call = calls[(i + n * std::size(rows)) % calls.size()];
                c.shape = heads[call[1]];
                c.shape.q_len = lengths[call[0]].first;
                c.shape.kv_len = lengths[call[0]].second;
                c.layout = layouts[call[2]];
                c.slices = call[3] == 0 ? 1 : 3;
                c.poison = call[4] == 0 ? Poison::unattended : Poison::partial;
                c.seed = 100 * i + n + 1;
                on.check(c, row.step_keys);
            }
        }
    }
}

TEST_CASE("workgroup matrices: edges of tiles and steps, no keys, scores and values that are not finite, slices") {
    if (!has_matrices()) return;
    const Workgroups on(Loads::emulated);
    AttentionCase c = matrix_case("causal", 24, 16);
    for (int32_t q_len : {7, 8, 9, 33})
        for (int32_t kv_len : {0, 1, 7, 8, 9, 33}) {
            c.shape = {1, 2, 1, q_len, kv_len};
            c.seed++;
            on.check(c);
        }
    on.check(matrix_case("anti_causal", 24, 16));
    c = matrix_case("causal", 24, 16);
    c.score = "minus_infinity";
    on.check(c);

    c = matrix_case("causal", 24, 16);
    c.shape = {1, 1, 1, 70, 70};
    for (float bad : {std::numeric_limits<float>::quiet_NaN(), infinity, -infinity}) {
        Inputs inputs = make_inputs(c);
        inputs.v.row(0, 0, 37)[14] = bad;
        const RunResult result = run(c, inputs, on.options());
        check_result(c, inputs, result, on.options());
        CHECK(std::isfinite(result.o.row(0, 0, 36)[14]));
        CHECK_FALSE(std::isfinite(result.o.row(0, 0, 37)[14]));
    }

    c.shape = {2, 4, 2, 70, 133};
    c.poison = Poison::partial;
    const Inputs inputs = make_inputs(c);
    const RunResult whole = run(c, inputs, on.options());
    c.slices = 5;
    CHECK(same_bits(whole, run(c, inputs, on.options())));
}

// What tensor addressing loads is what is loaded element by element, so results are the same bit for bit.
TEST_CASE(
    "workgroup matrices: both ways of loading give the same bits, and only rows at 16 bytes are loaded as tensors") {
    if (!has_matrices()) return;
    constexpr std::pair<Layout, Addressing> places[] = {
        {Layout::blhd, binding}, {Layout::blhd, address}, {Layout::odd, binding}};
    for (const auto& [layout, addressing] : places) {
        AttentionCase c = matrix_case("causal", 24, 16);
        c.shape.kv_heads = 2;
        c.layout = layout;
        c.addressing = addressing;
        const Inputs inputs = make_inputs(c);
        const auto result_of = [&](Loads loads) {
            const Workgroups on(loads);
            return run(c, inputs, on.options());
        };
        const RunResult by_element = result_of(Loads::by_element);
        CHECK(same_bits(by_element, result_of(Loads::emulated)));
        CHECK(same_bits(by_element, result_of(Loads::wrong)) == (layout == Layout::odd));
    }
}

TEST_CASE("workgroup matrices: what would be compiled for such a device") {
    constexpr uint32_t spv_tensor_addressing = 5433;
    for (const ElementType type : {f16, bf16})
        for (const Addressing addressing : {binding, address})
            for (const bool aligned : {true, false}) {
                class Watch final : public vkattn::ShaderCompiler {
                  public:
                    vkattn::Result<std::vector<uint32_t>> compile(const vkattn::CompileJob& job) const override {
                        auto words = test_compiler()->compile(job);
                        if (words) spirv = *words;
                        return words;
                    }
                    std::string version() const override { return test_compiler()->version(); }
                    mutable std::vector<uint32_t> spirv;
                } watch;
                vkattn::ModuleKey key;
                key.kernel = "attention_nv";
                key.addressing = addressing;
                key.q_type = key.k_type = key.v_type = key.o_type = type;
                key.q_vec4 = key.k_vec4 = key.v_vec4 = key.o_vec4 = aligned;
                key.subgroup_reduce = key.workgroup_matrices = true;
                auto hook =
                    vkattn::emit_hook(*vkattn::normalise(vkattn::causal()), *vkattn::normalise(vkattn::softcap(3.0f)));
                REQUIRE(hook.ok());
                vkattn::EngineOptions options;
                options.compiler = &watch;
                const auto module = vkattn::make_module(key, *hook, options);
                REQUIRE_MESSAGE(module.ok(), module.status().message);
                VkShaderModuleCreateInfo info{};
                info.codeSize = module->spirv.size() * sizeof(uint32_t);
                info.pCode = module->spirv.data();
                CHECK(declared_capabilities(info).count(spv_tensor_addressing) == 1);
                key.workgroup_matrices = false;
                const auto other = vkattn::make_module(key, *hook, options);
                REQUIRE(other.ok());
                info.codeSize = other->spirv.size() * sizeof(uint32_t);
                info.pCode = other->spirv.data();
                CHECK(declared_capabilities(info).count(spv_tensor_addressing) == 0);
            }
}

namespace {

// A GPU as NVIDIA's driver describes its own, and one with finer and one with coarser steps.
struct Gpu {
    const char* name;
    std::vector<vkattn::WorkgroupMatrices> matrices;
    uint32_t shared_bytes, reserved_bytes;
};
const Gpu gpus[] = {
    {"coarse", {{32, 32, 16, 128, f16}, {32, 64, 16, 256, f16}, {32, 64, 16, 256, bf16}}, 49152, 16384},
    {"fine", {{16, 16, 16, 64, f16}, {16, 16, 16, 128, f16}, {16, 16, 16, 256, f16}}, 49152, 0},
    {"large", {{64, 64, 64, 256, f16}}, 65536, 8192},
};

Capabilities able_of(const Gpu& gpu) {
    Capabilities able;
    able.features.cooperative_matrix = able.features.cooperative_matrix2 = able.features.workgroup_matrices =
        able.features.scalar_subgroup = able.features.subgroup_size_control = able.features.required_subgroup_size =
            true;
    able.device.vendor_id = 0x10de;
    able.subgroup_size = able.min_subgroup_size = able.max_subgroup_size = 32;
    able.max_workgroup_subgroups = 32;
    able.max_shared_bytes = gpu.shared_bytes;
    able.max_invocations = 1024;
    able.max_workgroups = 65535;
    able.max_storage_buffer_range = 1u << 30;
    able.matrix_shapes = {{16, 16, 16, f16}};
    able.workgroup_matrices = gpu.matrices;
    able.max_workgroup_matrix_dim = 1024;
    able.workgroup_matrix_shared_bytes = gpu.reserved_bytes;
    return able;
}

vkattn::Problem problem_of_dims(int32_t q_len, int32_t d, int32_t dv) {
    vkattn::Problem problem;
    problem.max_shape = {1, 2, 1, q_len, 1000};
    problem.head_dim = d;
    problem.value_dim = dv;
    problem.q_type = problem.k_type = problem.v_type = f16;
    problem.path = Path::nv;
    return problem;
}

// What the device and the kernel ask for, written down a second time.
void check_sizes(const Capabilities& able, const vkattn::KernelSizes& sizes) {
    INFO(to_text(sizes));
    CHECK(sizes.workgroup_matrices);
    CHECK(sizes.tile_rows == sizes.matrix_m);
    CHECK(sizes.matrix_n == sizes.matrix_k);
    for (const uint32_t size : {sizes.matrix_m, sizes.matrix_n, sizes.step_keys, sizes.workgroup_size}) {
        CHECK(std::has_single_bit(size));
        CHECK(size >= 8);
    }
    CHECK(sizes.step_keys % sizes.matrix_n == 0);
    CHECK(sizes.workgroup_size % sizes.subgroup_size == 0);
    bool offered = false;
    for (const vkattn::WorkgroupMatrices& m : able.workgroup_matrices)
        offered = offered || (m.type == f16 && m.invocations == sizes.workgroup_size && sizes.matrix_m % m.m == 0 &&
                              sizes.matrix_n % m.n == 0 && sizes.matrix_k % m.k == 0);
    CHECK(offered);
    const uint32_t row_lanes = std::min(std::max(sizes.workgroup_size / sizes.tile_rows, 1u), sizes.step_keys / 4);
    CHECK(row_lanes <= sizes.subgroup_size);
    CHECK(sizes.step_keys / row_lanes <= 32);
}

}  // namespace

TEST_CASE("workgroup matrices: sizes for every dim are the device's and the kernel's, and so are their neighbours") {
    const vkattn::EmittedHook hook;
    for (const Gpu& gpu : gpus) {
        const Capabilities able = able_of(gpu);
        for (int32_t dim : {1, 8, 15, 40, 64, 80, 96, 128, 192, 256, 512, 576})
            for (int32_t q_len : {9, 70, 5000}) {
                const vkattn::Problem problem = problem_of_dims(q_len, dim, std::min(dim, 512));
                INFO(gpu.name << ", D " << dim << ", " << q_len << " rows");
                const auto choice = vkattn::choose(able, problem, hook);
                REQUIRE_MESSAGE(choice.ok(), choice.status().message);
                if (!choice->workgroup_matrices) {  // then subgroups hold them, and why stands there
                    CHECK(std::string_view(gpu.name) == "large");
                    CHECK(choice->why.find("registers an invocation") != std::string::npos);
                    continue;
                }
                CHECK(choice->shared_bytes <= gpu.shared_bytes);
                CHECK(choice->shared_bytes >= gpu.reserved_bytes + choice->tile_rows * choice->step_keys * 4);
                const vkattn::KernelSizes own = sizes_of(*choice, choice->key);
                check_sizes(able, own);
                size_t by_subgroups = 0, others = 0;
                for (const vkattn::KernelSizes& sizes : neighbours_of(able, problem, hook, own)) {
                    if (sizes.path == Path::nv && sizes.workgroup_matrices) check_sizes(able, sizes), others++;
                    else if (sizes.path == Path::nv) by_subgroups++;
                }
                CHECK(by_subgroups == 1);
                if (std::string_view(gpu.name) == "fine") CHECK(others >= 2);
            }
    }
}

TEST_CASE("workgroup matrices: at D 64 and 128 a tile of many queries has 64, and few queries take few rows") {
    const vkattn::EmittedHook hook;
    for (int32_t dim : {64, 128, 256}) {
        const auto choice = vkattn::choose(able_of(gpus[0]), problem_of_dims(5000, dim, dim), hook);
        REQUIRE(choice.ok());
        CHECK(choice->workgroup_matrices);
        CHECK(choice->tile_rows == 64);
    }
    const auto few = vkattn::choose(able_of(gpus[0]), problem_of_dims(9, 64, 64), hook);
    REQUIRE(few.ok());
    CHECK(few->tile_rows == 32);  // the least that this device has
}

TEST_CASE("workgroup matrices: sizes that cannot be are refused with what would be right") {
    const vkattn::EmittedHook hook;
    const Capabilities able = able_of(gpus[1]);
    vkattn::Problem problem = problem_of_dims(500, 64, 64);
    const auto own = vkattn::choose(able, problem, hook);
    REQUIRE(own.ok());
    const vkattn::KernelSizes right = sizes_of(*own, own->key);
    const auto refusal = [&](auto change, const Capabilities& device) {
        problem.sizes = right;
        change(*problem.sizes);
        const auto choice = vkattn::choose(device, problem, hook);
        CHECK_FALSE(choice.ok());
        return choice.ok() ? std::string() : choice.status().message;
    };
    const auto says = [](const std::string& text, const char* part) {
        CHECK_MESSAGE(text.find(part) != std::string::npos, text);
    };
    using Sizes = vkattn::KernelSizes;
    says(refusal([](Sizes& s) { s.tile_rows /= 2; }, able), "matrix_m would be right");
    says(refusal([](Sizes& s) { s.matrix_m = s.tile_rows = 48; }, able), "a power of two from 8 to 128");
    says(refusal([](Sizes& s) { s.matrix_m = s.tile_rows = 8; }, able), "the device has no matrices of 8x");
    says(refusal([](Sizes& s) { s.matrix_k = 16; }, able), "matrix_n would be right");
    says(refusal([](Sizes& s) { s.step_keys = s.matrix_n / 2; }, able), "a power of two from");
    says(refusal([](Sizes& s) { s.workgroup_size = 512; }, able), "for workgroups of 512");
    says(refusal([](Sizes& s) { s.subgroup_size = 0; }, able), "subgroup_size is 0");
    says(refusal(
             [](Sizes& s) {
                 s.workgroup_size = 64;
                 s.matrix_m = s.tile_rows = s.matrix_n = s.matrix_k = s.step_keys = 128;
             },
             able),
         "registers");
    Capabilities less = able;
    less.features.workgroup_matrices = false;
    says(refusal([](Sizes&) {}, less), "on devices that have them enabled");
    says(refusal([](Sizes& s) { s.path = Path::khr; }, able), "Problem::path is nv");
}

TEST_CASE("workgroup matrices: the self-test has a rung for them above the one of subgroups' matrices") {
    if (!has_matrices()) return;
    const PretendedDevice device(VulkanContext::shared(), workgroups());
    vkattn::Features features = device.requirements().features;
    CHECK(features.workgroup_matrices);
    features.buffer_device_address = false;  // half of the cases
    const MatricesOfSubgroups compiler(Loads::by_element);
    vkattn::EngineOptions options;
    options.compiler = &compiler;
    auto test = vkattn::SelfTest::create(device.host(features), options);
    REQUIRE_MESSAGE(test.ok(), test.status().message);
    std::vector<uint8_t> bytes(test->buffer_bytes());
    test->write(bytes);  // nothing ran: lavapipe compiles these kernels at their first run, for a minute
    const vkattn::SelfTestVerdict& verdict = test->judge(bytes);
    REQUIRE(verdict.reasons.size() > 2);
    CHECK(verdict.reasons[0].find("nv with matrices of workgroups: 0 of 16 cases are right") == 0);
    CHECK(verdict.reasons[1].find("nv: 0 of 16 cases are right") == 0);
    CHECK(verdict.reasons[2].find("khr: 0 of 16 cases are right") == 0);
}

TEST_SUITE_END();
