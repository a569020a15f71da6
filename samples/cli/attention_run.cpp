#include "attention_run.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "command.h"
#include "support/buffer.h"
#include "support/submit.h"
#include "vkattn/emit.h"
#include "vkattn/normalise.h"

namespace vkattn::cli {
namespace {

using Clock = std::chrono::steady_clock;
using support::Buffer;

// Most systems end a submit that takes seconds; longer work goes in slices with a submit each.
constexpr double max_submit_ms = 1000.0;
constexpr uint32_t max_slices = 4096;

double ms_since(Clock::time_point start) {
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

// The schedule for `automatic`: what the mask lends itself to.
Result<Schedule> choose_schedule(const Description& description) {
    auto mask = normalise(description.mask);
    if (!mask) return mask.status();
    auto score_mod = normalise(description.score_mod);
    if (!score_mod) return score_mod.status();
    auto hook = emit_hook(*mask, *score_mod);
    if (!hook) return hook.status();
    return hook->has_interval && hook->interval_exact ? Schedule::interval : Schedule::list;
}

// Room for every table and the list, each with alignment to spare.
uint64_t tables_room_bytes(const Bindings& bindings, const Mask& mask, const ScoreMod& score_mod,
                           const BlockMask& list) {
    constexpr uint64_t spare = 256;
    uint64_t bytes = 4096;
    auto add = [&](const TableData& table) { bytes += static_cast<uint64_t>(table.count()) * 4 + spare; };
    for (const auto& entry : bindings.tables) {
        add(*entry.second);
        add(*entry.second);  // the mask and the score mod may both name it
    }
    for (const Tree* tree : {&mask.tree(), &score_mod.tree()})
        for (const TableRef& table : tree->tables)
            if (table.captured != nullptr) add(*table.captured);
    return bytes + list.row_offsets.size() * sizeof(uint32_t) + list.runs.size() * sizeof(BlockRun) + spare;
}

Problem problem_of(const AttentionTensors& tensors, const Description& description, const BlockMask& block_mask,
                   const RunWishes& wishes, Schedule schedule) {
    Problem problem;
    problem.max_shape = tensors.shape;
    problem.head_dim = tensors.head_dim;
    problem.value_dim = tensors.value_dim;
    problem.q_type = tensors.q.type;
    problem.k_type = tensors.k.type;
    problem.v_type = tensors.v.type;
    problem.o_type = tensors.q.type;
    problem.q_aligned = problem.k_aligned = tensors.head_dim % 4 == 0;
    problem.v_aligned = problem.o_aligned = tensors.value_dim % 4 == 0;
    problem.mask = description.mask;
    problem.score_mod = description.score_mod;
    problem.path = wishes.path;
    problem.splits = wishes.splits;
    problem.schedule = wishes.schedule;  // automatic comes to the same, and the engine gives its reason
    problem.max_tables_bytes =
        tables_room_bytes(description.bindings, description.mask, description.score_mod, block_mask);
    if (schedule == Schedule::list) {
        problem.block_q = block_mask.block_q;
        problem.block_kv = block_mask.block_kv;
    }
    return problem;
}

// All buffers of one run.
struct Memory {
    Buffer q, k, v, o, lse, work, tables;

    Buffers buffers() const {
        return {q.range(), k.range(), v.range(), o.range(), lse.range(), work.range(), tables.range()};
    }
};

Result<Memory> upload(const support::Device& device, const AttentionTensors& tensors, const Plan& plan,
                      const Args& args, uint64_t tables_bytes) {
    const Shape& s = tensors.shape;
    const uint64_t rows =
        static_cast<uint64_t>(s.batch) * static_cast<uint64_t>(s.q_heads) * static_cast<uint64_t>(s.q_len);
    std::vector<uint8_t> table_bytes(args.tables_bytes());
    args.write_tables(table_bytes);

    Memory memory;
    const struct {
        Buffer& buffer;
        uint64_t bytes;
        std::span<const uint8_t> content;
    } rooms[] = {
        {memory.q, tensors.q.bytes.size(), tensors.q.bytes},
        {memory.k, tensors.k.bytes.size(), tensors.k.bytes},
        {memory.v, tensors.v.bytes.size(), tensors.v.bytes},
        {memory.o, rows * static_cast<uint64_t>(tensors.value_dim) * element_bytes(tensors.q.type), {}},
        {memory.lse, rows * sizeof(float), {}},
        {memory.work, plan.workspace_bytes(), {}},
        {memory.tables, std::max<uint64_t>(tables_bytes, table_bytes.size()), table_bytes},
    };
    for (const auto& room : rooms) {
        auto buffer = Buffer::create(device, room.bytes);
        if (!buffer) return buffer.status();
        room.buffer = std::move(*buffer);
        if (Status status = room.buffer.upload_bytes(room.content); !status.ok()) return status;
    }
    return memory;
}

uint32_t slices_of(const support::Device& device, const PlanReport& report) {
    if (device.info().type == VK_PHYSICAL_DEVICE_TYPE_CPU) return 1;  // no watchdog
    return static_cast<uint32_t>(std::clamp(std::ceil(report.estimated_ms / max_submit_ms), 1.0, double{max_slices}));
}

}  // namespace

double median(std::vector<double> values) {
    if (values.empty()) return 0.0;
    std::sort(values.begin(), values.end());
    const size_t middle = values.size() / 2;
    return values.size() % 2 == 1 ? values[middle] : 0.5 * (values[middle - 1] + values[middle]);
}

Result<RunResult> run_attention(const support::Device& device, const ShaderCompiler* compiler,
                                const AttentionTensors& tensors, const Description& description,
                                const BlockMask& block_mask, const RunWishes& wishes) {
    Schedule schedule = wishes.schedule;
    if (schedule == Schedule::automatic) {
        auto chosen = choose_schedule(description);
        if (!chosen) return chosen.status();
        schedule = *chosen;
    }
    EngineOptions options;
    options.compiler = compiler;
    options.cache_directory = wishes.cache_directory;
    auto engine = Engine::create(device.host(), options);
    if (!engine) return engine.status();

    RunResult result;
    const auto plan_start = Clock::now();
    const Problem problem = problem_of(tensors, description, block_mask, wishes, schedule);
    auto plan = [&] {
        const Progress progress("planning and compiling");
        return (*engine)->plan(problem);
    }();
    if (!plan) return plan.status();
    result.plan_ms = ms_since(plan_start);
    result.report = plan->report();

    ArgsInfo info;
    info.shape = tensors.shape;
    info.scale = wishes.scale;
    info.bindings = description.bindings;
    info.block_mask = result.report.schedule == "list" ? &block_mask : nullptr;
    info.write_lse = true;
    auto args = plan->make_args(info);
    if (!args) return args.status();
    auto memory = upload(device, tensors, *plan, *args, problem.max_tables_bytes);
    if (!memory) return memory.status();
    const auto bind_start = Clock::now();
    auto binding = plan->bind(memory->buffers());
    if (!binding) return binding.status();
    result.bind_us = 1000.0 * ms_since(bind_start);
    if (Status status = plan->check(*binding, *args); !status.ok()) return status;

    const Progress progress("running");
    const uint32_t slices = slices_of(device, result.report);
    std::vector<double> records_us;
    for (int32_t run = 0; run <= wishes.repeats; run++) {
        double ms = 0.0, record_us = 0.0;
        for (uint32_t i = 0; i < slices; i++) {
            auto timing = support::submit_timed(device, [&](VkCommandBuffer commands) {
                const auto start = Clock::now();
                plan->record(commands, *binding, *args, {i, slices});
                record_us += 1000.0 * ms_since(start);
            });
            if (!timing) return timing.status();
            ms += timing->ms;
            result.device_clock = timing->device_clock;
        }
        if (run == 0) continue;  // the warm-up: drivers compile at the first submit
        result.times_ms.push_back(ms);
        records_us.push_back(record_us);
    }
    result.record_us = median(std::move(records_us));
    result.pipelines_created = (*engine)->pipelines_created();

    result.o.resize(memory->o.size_bytes());
    if (Status status = memory->o.download_bytes(result.o); !status.ok()) return status;
    result.lse.resize(memory->lse.size_bytes() / sizeof(float));
    if (Status status = memory->lse.download<float>(result.lse); !status.ok()) return status;
    return result;
}

}  // namespace vkattn::cli
