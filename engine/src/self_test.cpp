// The ladder is data (`ladder`), the cases are a product: input sets x addressing x lengths. Inputs are multiples of 1/64 below 2,
// which every element type holds exactly, so that they need no rounding here.
#include "vkattn/self_test.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "engine_impl.h"
#include "file_cache.h"
#include "vkattn/hash.h"
#include "vkattn/named.h"
#include "vkattn/reference.h"
#include "vkattn/shader_sources.h"

namespace vkattn {
namespace {

constexpr int32_t q_lengths[] = {1, 7, 16, 33}, kv_lengths[] = {1, 16, 40, 70};
// Times what the tolerance of docs/design.md allows for f32 arithmetic (not for rounding o). That rests on a CPU's loop, whose exp and
// division are right to a unit in the last place; Vulkan lets exp2(x) be off by 3 + 2 |x| units and a division by 2.5, so a sound
// driver may use up several times as much, and must not be demoted. A key of 70 that is left out moves a row by about a hundredth.
constexpr double slack = 8.0;
constexpr Shape largest{1, 4, 2, 33, 70};

struct Rung {
    const char* name;
    Path path;
    Features features;
    std::string why_not;  // nothing of it can be planned here
};

// From the fastest path to the plainest; a rung that takes nothing from the one before is left out.
std::vector<Rung> ladder(const Features& enabled) {
    std::vector<Rung> rungs;
    Features features = enabled;
    const auto add = [&](const char* name, Path path) { rungs.push_back({name, path, features, {}}); };
    const bool nv = features.cooperative_matrix && features.cooperative_matrix2;
    if (nv && features.workgroup_matrices) add("nv with matrices of workgroups", Path::nv);
    features.workgroup_matrices = false;
    if (nv) add("nv", Path::nv);
    features.cooperative_matrix2 = false;
    if (features.cooperative_matrix) add("khr", Path::khr);
    features.cooperative_matrix = features.matrix_bf16 = false;
    if (features.scalar_subgroup) add("scalar with subgroups", Path::scalar);
    features.scalar_subgroup = features.subgroup_size_control = features.required_subgroup_size = false;
    add("scalar without subgroups", Path::scalar);
    if (features.buffer_device_address) {
        features.buffer_device_address = false;
        add("scalar without subgroups, through descriptors", Path::scalar);
    }
    return rungs;
}

uint32_t bits_of(ElementType type, float x) {
    const uint32_t bits = std::bit_cast<uint32_t>(x);
    if (type == ElementType::f32) return bits;
    if (type == ElementType::bf16) return bits >> 16;
    if (x == 0.0f) return bits >> 16;
    return (bits >> 16 & 0x8000u) | (((bits >> 23 & 0xffu) - 112u) << 10) | (bits >> 13 & 0x3ffu);
}

float value_of(ElementType type, uint32_t bits) {
    if (type == ElementType::f32) return std::bit_cast<float>(bits);
    if (type == ElementType::bf16) return std::bit_cast<float>(bits << 16);
    const int exponent = static_cast<int>(bits >> 10 & 31u), mantissa = static_cast<int>(bits & 1023u);
    const float sign = (bits & 0x8000u) != 0 ? -1.0f : 1.0f;
    if (exponent == 31) return mantissa == 0 ? sign * INFINITY : NAN;
    return sign * (exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -24)
                                 : std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25));
}

double last_place(ElementType type) {
    switch (type) {
    case ElementType::f32: return 0x1p-23;
    case ElementType::f16: return 0x1p-10;
    case ElementType::bf16: return 0x1p-7;
    }
    return 0.0;
}

void write_elements(std::span<uint8_t> bytes, ElementType type, const std::vector<float>& values) {
    for (size_t i = 0; i < values.size(); i++) {
        const uint32_t bits = bits_of(type, values[i]);
        std::memcpy(&bytes[i * element_bytes(type)], &bits, element_bytes(type));
    }
}

std::vector<float> read_elements(std::span<const uint8_t> bytes, ElementType type, size_t count) {
    std::vector<float> values(count);
    for (size_t i = 0; i < count; i++) {
        uint32_t bits = 0;
        std::memcpy(&bits, &bytes[i * element_bytes(type)], element_bytes(type));
        values[i] = value_of(type, bits);
    }
    return values;
}

std::vector<float> made_up(int64_t count, uint32_t seed) {
    std::vector<float> values(static_cast<size_t>(count));
    for (float& x : values) {
        seed = seed * 1664525u + 1013904223u;
        x = static_cast<float>(static_cast<int32_t>(seed >> 24) - 128) / 64.0f;
    }
    return values;
}

// A mask and a score mod on tensors of one type. A call with shorter lengths reads the front of the tensors.
struct InputSet {
    const char* name;
    Mask mask;
    ScoreMod score_mod;
    ElementType type;
    int32_t dim;
    Bindings bindings;
    std::vector<float> q, k, v;
    std::array<uint64_t, 3> offset{};
};

std::vector<InputSet> make_input_sets() {
    TableData ids;
    ids.dims = {largest.kv_len};
    for (int32_t i = 0; i < largest.kv_len; i++) ids.i32.push_back(i / 23);
    Bindings packed;
    packed.scalars["keys_back"] = 12;
    packed.tables["ids"] = std::make_shared<const TableData>(std::move(ids));
    std::vector<InputSet> sets;
    sets.push_back({"causal", causal(), {}, ElementType::f32, 64, {}, {}, {}, {}});
    sets.push_back({"a causal window within documents",
                    causal() && sliding_window(param("keys_back")) && document(table("ids")),
                    {},
                    ElementType::f16,
                    40,
                    packed,
                    {},
                    {},
                    {}});
    sets.push_back({"soft-capped", full(), softcap(2.0f), ElementType::bf16, 24, {}, {}, {}, {}});
    uint32_t seed = 1;
    for (InputSet& set : sets) {
        set.q = made_up(int64_t{largest.q_heads} * largest.q_len * set.dim, seed++);
        set.k = made_up(int64_t{largest.kv_heads} * largest.kv_len * set.dim, seed++);
        set.v = made_up(int64_t{largest.kv_heads} * largest.kv_len * set.dim, seed++);
    }
    return sets;
}

struct Case {
    size_t rung, set;
    Shape shape;
    Plan plan;
    Args args;
    std::optional<Binding> binding;
    uint64_t o_offset = 0, o_bytes = 0, tables_offset = 0;
};

std::string scientific(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.2e", value);
    return text;
}

std::string name_of(const Case& c, const InputSet& set) {
    return std::string(set.name) + ", " + std::string(to_string(set.type)) + ", D " + std::to_string(set.dim) + ", " +
           std::to_string(c.shape.q_len) + " x " + std::to_string(c.shape.kv_len) + ", " + c.plan.report().skeleton +
           " by " + c.plan.report().addressing;
}

}  // namespace

struct SelfTest::Impl {
    std::vector<std::unique_ptr<Engine>> engines;  // of the rungs; outlive the plans
    std::vector<Rung> rungs;
    std::vector<InputSet> sets;
    std::vector<Case> cases;
    uint64_t work_offset = 0, work_bytes = 0, bytes = 0;
    std::optional<SelfTestVerdict> verdict;
    FileCache cache{{}};
    std::string cache_key;

    Status plan_rung(size_t rung);
    Result<SelfTestVerdict> judge_cases(std::span<const uint8_t> bytes) const;
    void load_verdict();
    void store_verdict() const;

    uint64_t reserve(uint64_t size) {
        const uint64_t offset = bytes;
        bytes += (size + 255) / 256 * 256;  // every device's offset alignment
        return offset;
    }
};

Status SelfTest::Impl::plan_rung(size_t rung) {
    // Decoding takes a kernel of its own where there are shuffles.
    const bool decodes = rungs[rung].path == Path::scalar && rungs[rung].features.scalar_subgroup;
    for (size_t s = 0; s < sets.size(); s++)
        for (int32_t most_queries : {largest.q_len, 1})
            for (Addressing addressing : {Addressing::binding, Addressing::address}) {
                if (addressing == Addressing::address && !rungs[rung].features.buffer_device_address) continue;
                if (most_queries == 1 && !decodes) continue;
                InputSet& set = sets[s];
                Problem problem;
                problem.max_shape = largest;
                problem.max_shape.q_len = most_queries;
                problem.head_dim = set.dim;
                problem.q_type = problem.k_type = problem.v_type = problem.o_type = set.type;
                problem.mask = set.mask;
                problem.score_mod = set.score_mod;
                problem.addressing = addressing;
                problem.tables = {{"ids", {largest.kv_len}}};
                problem.path = rungs[rung].path;
                auto plan = engines[rung]->plan(problem);
                // Matrix units take what they take: f32 is none of it.
                if (!plan && plan.status().code == Code::unsupported && problem.path != Path::scalar) {
                    rungs[rung].why_not = plan.status().message;
                    continue;
                }
                if (!plan) return plan.status();
                work_bytes = std::max(work_bytes, plan->workspace_bytes());
                for (int32_t q_len : q_lengths)
                    for (int32_t kv_len : kv_lengths) {
                        if (q_len > most_queries) continue;
                        Shape shape = largest;
                        shape.q_len = q_len;
                        shape.kv_len = kv_len;
                        ArgsInfo info;
                        info.shape = shape;
                        info.bindings = set.bindings;
                        auto args = plan->make_args(info);
                        if (!args) return args.status();
                        Case c{rung, s, shape, *plan, *args, {}};
                        c.o_bytes = static_cast<uint64_t>(shape.q_heads) * static_cast<uint64_t>(q_len) *
                                    static_cast<uint64_t>(set.dim) * element_bytes(set.type);
                        c.o_offset = reserve(c.o_bytes);
                        c.tables_offset = reserve(std::max(args->tables_bytes(), plan->report().tables_bytes));
                        cases.push_back(std::move(c));
                    }
            }
    return {};
}

Result<SelfTest> SelfTest::create(const HostDevice& host, const EngineOptions& options) {
    auto impl = std::make_unique<Impl>();
    impl->rungs = ladder(host.enabled);
    auto engine = Engine::create(host, options);
    if (!engine) return engine.status();
    std::string library;
    for (const ShaderSource& source : shader_sources()) library += std::string(source.text);
    impl->cache = FileCache(options.cache_directory);
    impl->cache_key = (*engine)->capabilities().cache_key + "-" + hash_hex(library);
    impl->load_verdict();
    if (impl->verdict) return SelfTest(std::move(impl));

    impl->sets = make_input_sets();
    for (InputSet& set : impl->sets) {
        const std::array<size_t, 3> counts = {set.q.size(), set.k.size(), set.v.size()};
        for (size_t i = 0; i < 3; i++) set.offset[i] = impl->reserve(counts[i] * element_bytes(set.type));
    }
    for (size_t rung = 0; rung < impl->rungs.size(); rung++) {
        HostDevice reduced = host;
        reduced.enabled = impl->rungs[rung].features;
        auto of_rung = Engine::create(reduced, options);
        if (!of_rung) return of_rung.status();
        impl->engines.push_back(*std::move(of_rung));
        if (Status status = impl->plan_rung(rung); !status.ok())
            return error(status.code, "self-test, " + std::string(impl->rungs[rung].name) + ": " + status.message,
                         status.vk_result);
    }
    impl->work_offset = impl->reserve(impl->work_bytes);
    return SelfTest(std::move(impl));
}

SelfTest::SelfTest(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SelfTest::SelfTest(SelfTest&&) noexcept = default;
SelfTest& SelfTest::operator=(SelfTest&&) noexcept = default;
SelfTest::~SelfTest() = default;

const std::optional<SelfTestVerdict>& SelfTest::verdict() const { return impl_->verdict; }
uint64_t SelfTest::buffer_bytes() const { return impl_->bytes; }

Status SelfTest::bind(VkBuffer buffer) {
    for (Case& c : impl_->cases) {
        const InputSet& set = impl_->sets[c.set];
        const uint64_t element = element_bytes(set.type);
        Buffers buffers;
        buffers.q = {buffer, set.offset[0], set.q.size() * element};
        buffers.k = {buffer, set.offset[1], set.k.size() * element};
        buffers.v = {buffer, set.offset[2], set.v.size() * element};
        buffers.o = {buffer, c.o_offset, c.o_bytes};
        buffers.work = {buffer, impl_->work_offset, c.plan.workspace_bytes()};
        if (const uint64_t tables = c.plan.report().tables_bytes; tables != 0)
            buffers.tables = {buffer, c.tables_offset, tables};
        auto binding = c.plan.bind(buffers);
        if (!binding) return binding.status();
        c.binding = *std::move(binding);
    }
    return {};
}

void SelfTest::write(std::span<uint8_t> bytes) const {
    std::memset(bytes.data(), 0xff, bytes.size());  // NaN in every type: what is not written is wrong
    for (const InputSet& set : impl_->sets) {
        write_elements(bytes.subspan(set.offset[0]), set.type, set.q);
        write_elements(bytes.subspan(set.offset[1]), set.type, set.k);
        write_elements(bytes.subspan(set.offset[2]), set.type, set.v);
    }
    for (const Case& c : impl_->cases)
        if (c.args.tables_bytes() != 0) c.args.write_tables(bytes.subspan(c.tables_offset, c.args.tables_bytes()));
}

void SelfTest::record(VkCommandBuffer command_buffer) const {
    for (const Case& c : impl_->cases)
        if (c.binding) c.plan.record(command_buffer, *c.binding, c.args);
}

Result<SelfTestVerdict> SelfTest::Impl::judge_cases(std::span<const uint8_t> all) const {
    std::vector<uint32_t> right(rungs.size()), wrong(rungs.size());
    std::vector<std::string> first(rungs.size());
    // Of a set and lengths, with or without rounded weights; shared by the rungs.
    std::map<std::array<int32_t, 4>, ReferenceOutput> references;
    for (const Case& c : cases) {
        const InputSet& set = sets[c.set];
        const bool rounds_weights = rungs[c.rung].path != Path::scalar;
        const std::array<int32_t, 4> key = {static_cast<int32_t>(c.set), c.shape.q_len, c.shape.kv_len, rounds_weights};
        auto found = references.find(key);
        if (found == references.end()) {
            ReferenceInput input{c.shape,      set.dim,      set.dim,     1.0 / std::sqrt(set.dim),
                                 set.q.data(), set.k.data(), set.v.data()};
            if (rounds_weights) input.weight_unit = last_place(set.type) / 2.0;
            auto reference = reference_attention(set.mask, set.score_mod, set.bindings, input);
            if (!reference) return reference.status();
            found = references.emplace(key, *std::move(reference)).first;
        }
        const int64_t rows = int64_t{c.shape.q_heads} * c.shape.q_len;
        const std::vector<float> o = read_elements(all.subspan(c.o_offset, c.o_bytes), set.type,
                                                   static_cast<size_t>(rows) * static_cast<size_t>(set.dim));
        const RowErrors errors = compare_rows(found->second, o.data(), rows, set.dim, last_place(set.type));
        const double bound = slack * (errors.bound - last_place(set.type)) + last_place(set.type);
        const bool is_right = errors.worst <= bound;
        (is_right ? right : wrong)[c.rung]++;
        if (!is_right && first[c.rung].empty())
            first[c.rung] =
                name_of(c, set) + ": row error " + scientific(errors.worst) + ", at most " + scientific(bound);
    }
    SelfTestVerdict result;
    for (size_t r = 0; r < rungs.size(); r++) {
        if (right[r] + wrong[r] == 0) {
            result.reasons.push_back(std::string(rungs[r].name) + ": " + rungs[r].why_not);
            continue;
        }
        std::string line = std::string(rungs[r].name) + ": " + std::to_string(right[r]) + " of " +
                           std::to_string(right[r] + wrong[r]) + " cases are right";
        if (wrong[r] != 0) line += "; the first that is not: " + first[r];
        result.reasons.push_back(std::move(line));
        if (wrong[r] != 0 || !result.path.empty()) continue;
        result.path = rungs[r].name;
        result.usable = rungs[r].features;
    }
    return result;
}

const SelfTestVerdict& SelfTest::judge(std::span<const uint8_t> bytes) {
    auto judged = impl_->judge_cases(bytes);
    if (judged) {
        impl_->verdict = *std::move(judged);
        impl_->store_verdict();
    } else {
        impl_->verdict = SelfTestVerdict{{}, {}, {judged.status().message}};
    }
    return *impl_->verdict;
}

// The file: the path's name, then the reasons, a line each.
void SelfTest::Impl::load_verdict() {
    const auto stored = cache.load("self_test", cache_key);
    if (!stored) return;
    SelfTestVerdict known;
    const std::string text(stored->begin(), stored->end());
    for (size_t begin = 0, line = 0; begin < text.size(); line++) {
        const size_t end = std::min(text.find('\n', begin), text.size());
        if (line == 0) known.path = text.substr(begin, end - begin);
        else known.reasons.push_back(text.substr(begin, end - begin));
        begin = end + 1;
    }
    const auto rung = std::find_if(rungs.begin(), rungs.end(), [&](const Rung& r) { return known.path == r.name; });
    if (rung != rungs.end()) known.usable = rung->features;
    else if (!known.path.empty()) return;  // another library's
    if (known.reasons.size() == rungs.size()) verdict = std::move(known);
}

void SelfTest::Impl::store_verdict() const {
    std::string text = verdict->path + "\n";
    for (const std::string& reason : verdict->reasons) text += reason + "\n";
    cache.store("self_test", cache_key, {text.begin(), text.end()});
}

}  // namespace vkattn
