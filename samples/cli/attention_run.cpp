#include "attention_run.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "command.h"
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

Result<std::unique_ptr<AttentionRun>> AttentionRun::create(const support::Device& device,
                                                           const AttentionTensors& tensors,
                                                           const Description& description, const BlockMask& block_mask,
                                                           const RunWishes& wishes) {
    Schedule schedule = wishes.schedule;
    if (schedule == Schedule::automatic) {
        auto chosen = choose_schedule(description);
        if (!chosen) return chosen.status();
        schedule = *chosen;
    }
    std::unique_ptr<AttentionRun> made(new AttentionRun(device, tensors, description, block_mask, wishes));
    made->problem_ = problem_of(tensors, description, block_mask, wishes, schedule);
    return made;
}

Status AttentionRun::upload() {
    const Shape& s = tensors_.shape;
    const uint64_t rows =
        static_cast<uint64_t>(s.batch) * static_cast<uint64_t>(s.q_heads) * static_cast<uint64_t>(s.q_len);
    const struct {
        Buffer& buffer;
        uint64_t bytes;
        std::span<const uint8_t> content;
    } rooms[] = {
        {q_, tensors_.q.bytes.size(), tensors_.q.bytes},
        {k_, tensors_.k.bytes.size(), tensors_.k.bytes},
        {v_, tensors_.v.bytes.size(), tensors_.v.bytes},
        {o_, rows * static_cast<uint64_t>(tensors_.value_dim) * element_bytes(tensors_.q.type), {}},
        {lse_, rows * sizeof(float), {}},
    };
    for (const auto& room : rooms) {
        auto buffer = Buffer::create(device_, room.bytes);
        if (!buffer) return buffer.status();
        room.buffer = std::move(*buffer);
        if (Status status = room.buffer.upload_bytes(room.content); !status.ok()) return status;
    }
    uploaded_ = true;
    return {};
}

Result<AttentionRun::Planned> AttentionRun::plan(Engine& engine, const Problem& problem) {
    Planned planned;
    planned.device_ = &device_;
    const auto plan_start = Clock::now();
    auto plan = engine.plan(problem);
    if (!plan) return plan.status();
    planned.plan_ms_ = ms_since(plan_start);
    planned.plan_ = std::move(*plan);

    ArgsInfo info;
    info.shape = tensors_.shape;
    info.scale = wishes_.scale;
    info.bindings = description_.bindings;
    info.block_mask = planned.report().schedule == "list" ? &block_mask_ : nullptr;
    info.write_lse = true;
    auto args = planned.plan_->make_args(info);
    if (!args) return args.status();
    planned.args_ = std::move(*args);

    if (!uploaded_)
        if (Status status = upload(); !status.ok()) return status;
    auto work = Buffer::create(device_, planned.plan_->workspace_bytes());
    if (!work) return work.status();
    planned.work_ = std::move(*work);
    std::vector<uint8_t> table_bytes(planned.args_->tables_bytes());
    planned.args_->write_tables(table_bytes);
    auto tables = Buffer::create(device_, std::max<uint64_t>(problem.max_tables_bytes, table_bytes.size()));
    if (!tables) return tables.status();
    planned.tables_ = std::move(*tables);
    if (Status status = planned.tables_.upload_bytes(table_bytes); !status.ok()) return status;

    const auto bind_start = Clock::now();
    auto binding = planned.plan_->bind(
        {q_.range(), k_.range(), v_.range(), o_.range(), lse_.range(), planned.work_.range(), planned.tables_.range()});
    if (!binding) return binding.status();
    planned.bind_us_ = 1000.0 * ms_since(bind_start);
    planned.binding_ = std::move(*binding);
    if (Status status = planned.plan_->check(*planned.binding_, *planned.args_); !status.ok()) return status;
    return planned;
}

Result<RunTime> AttentionRun::Planned::run() const {
    const uint32_t slices = slices_of(*device_, report());
    RunTime time;
    for (uint32_t i = 0; i < slices; i++) {
        auto timing = support::submit_timed(*device_, [&](VkCommandBuffer commands) {
            const auto start = Clock::now();
            plan_->record(commands, *binding_, *args_, {i, slices});
            time.record_us += 1000.0 * ms_since(start);
        });
        if (!timing) return timing.status();
        time.ms += timing->ms;
        time.device_clock = timing->device_clock;
    }
    return time;
}

Status AttentionRun::clear() {
    constexpr uint32_t not_a_number = 0xffffffffu;  // in every type
    if (Status status = o_.fill(not_a_number); !status.ok()) return status;
    return lse_.fill(not_a_number);
}

Result<Attended> AttentionRun::download() const {
    Attended result;
    result.o.resize(o_.size_bytes());
    if (Status status = o_.download_bytes(result.o); !status.ok()) return status;
    result.lse.resize(lse_.size_bytes() / sizeof(float));
    if (Status status = lse_.download<float>(result.lse); !status.ok()) return status;
    return result;
}

Result<RunResult> run_attention(const support::Device& device, const ShaderCompiler* compiler,
                                const AttentionTensors& tensors, const Description& description,
                                const BlockMask& block_mask, const RunWishes& wishes) {
    EngineOptions options;
    options.compiler = compiler;
    options.cache_directory = wishes.cache_directory;
    options.tuning = wishes.tuning;
    auto attention = AttentionRun::create(device, tensors, description, block_mask, wishes);
    if (!attention) return attention.status();
    auto engine = Engine::create(device.host(), options);
    if (!engine) return engine.status();
    auto planned = [&] {
        const Progress progress("planning and compiling");
        return (*attention)->plan(**engine, (*attention)->problem());
    }();
    if (!planned) return planned.status();

    RunResult result;
    result.report = planned->report();
    result.plan_ms = planned->plan_ms();
    result.bind_us = planned->bind_us();
    const Progress progress("running");
    std::vector<double> records_us;
    for (int32_t run = 0; run <= wishes.repeats; run++) {
        auto time = planned->run();
        if (!time) return time.status();
        result.device_clock = time->device_clock;
        if (run == 0) continue;  // the warm-up: drivers compile at the first submit
        result.times_ms.push_back(time->ms);
        records_us.push_back(time->record_us);
    }
    result.record_us = median(std::move(records_us));
    result.pipelines_created = (*engine)->pipelines_created();
    auto attended = (*attention)->download();
    if (!attended) return attended.status();
    static_cast<Attended&>(result) = std::move(*attended);
    return result;
}

}  // namespace vkattn::cli
