#include "attention_case.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "../cli/sampled_rows.h"
#include "support/submit.h"
#include "vkattn/classify.h"
#include "vkattn/emit.h"
#include "vkattn/normalise.h"

namespace vkattn::bench {
namespace {

using Clock = std::chrono::steady_clock;
using support::Buffer;

// Most systems end a submit that takes seconds; longer work goes in slices with a submit each.
constexpr double max_submit_ms = 1000.0;
constexpr double max_slices = 4096.0;

double ms_since(Clock::time_point start) {
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

// Keys whose block is read by some query of some head that shares the plane of k.
int64_t keys_read(const BlockMask& blocks, const Shape& shape) {
    const auto columns = static_cast<size_t>(blocks.columns());
    const int32_t group = shape.q_heads / shape.kv_heads;
    int64_t keys = 0;
    for (int32_t b = 0; b < shape.batch; b++) {
        for (int32_t kv_head = 0; kv_head < shape.kv_heads; kv_head++) {
            std::vector<bool> read(columns, false);
            for (int32_t h = kv_head * group; h < (kv_head + 1) * group; h++) {
                const int64_t list = int64_t{blocks.batch == 1 ? 0 : b} * blocks.heads + (blocks.heads == 1 ? 0 : h);
                const auto first = static_cast<size_t>(list * blocks.rows());
                const uint32_t begin = blocks.row_offsets[first];
                const uint32_t end = blocks.row_offsets[first + static_cast<size_t>(blocks.rows())];
                for (uint32_t run = begin; run < end; run++)
                    std::fill_n(read.begin() + blocks.runs[run].first(), blocks.runs[run].n_blocks, true);
                if (blocks.heads == 1) break;
            }
            for (size_t column = 0; column < columns; column++)
                if (read[column])
                    keys += std::min<int64_t>(blocks.block_kv,
                                              shape.kv_len - static_cast<int64_t>(column) * blocks.block_kv);
        }
    }
    return keys;
}

// As asked; else `interval` where one range of keys a query is the whole mask, and lists for the rest.
Result<bool> wants_list(const Described& described, Schedule schedule) {
    if (schedule != Schedule::automatic) return schedule == Schedule::list;
    auto mask = normalise(described.mask);
    if (!mask) return mask.status();
    auto score_mod = normalise(described.score_mod);
    if (!score_mod) return score_mod.status();
    auto hook = emit_hook(*mask, *score_mod);
    if (!hook) return hook.status();
    return hook->has_mask && !(hook->has_interval && hook->interval_exact);
}

}  // namespace

Result<std::unique_ptr<AttentionCase>> AttentionCase::describe(const BenchCase& bench_case) {
    std::unique_ptr<AttentionCase> made(new AttentionCase());
    auto described = bench::describe(bench_case);
    if (!described) return described.status();
    made->described_ = std::move(*described);
    auto blocks = create_block_mask(made->described_.mask, bench_case.shape, made->described_.bindings);
    if (!blocks) return blocks.status();
    made->block_mask_ = std::move(*blocks);
    auto pairs = count_pairs(made->described_.mask, bench_case.shape, made->described_.bindings);
    if (!pairs) return pairs.status();

    const Shape& s = bench_case.shape;
    const BlockMask& list = made->block_mask_;
    Work& work = made->work_;
    work.pairs = *pairs;
    work.flops = 4.0 * bench_case.head_dim * static_cast<double>(*pairs);
    const double rows = double{2} * s.batch * s.q_heads * s.q_len + 2.0 * static_cast<double>(keys_read(list, s));
    work.bytes = rows * bench_case.head_dim * element_bytes(bench_case.type);
    work.blocks_full = list.full_blocks();
    work.blocks_partial = list.partial_blocks();
    work.lists = int64_t{list.batch} * list.heads;
    work.blocks_total = work.lists * list.rows() * list.columns();
    made->kernel_ = bench_case.kernel;
    made->tensors_.shape = s;
    made->tensors_.head_dim = made->tensors_.value_dim = bench_case.head_dim;
    made->tensors_.q.type = bench_case.type;
    return made;
}

Status AttentionCase::prepare(const support::Device& device, Engine& engine) {
    device_ = &device;
    BenchCase sized;
    sized.shape = tensors_.shape;
    sized.head_dim = tensors_.head_dim;
    auto tensors = cli::random_tensors(size_text(sized), tensors_.q.type);
    if (!tensors) return tensors.status();
    tensors_ = std::move(*tensors);

    auto list = wants_list(described_, kernel_.schedule);
    if (!list) return list.status();
    Problem problem;
    problem.max_shape = tensors_.shape;
    problem.head_dim = tensors_.head_dim;
    problem.q_type = problem.k_type = problem.v_type = problem.o_type = tensors_.q.type;
    problem.q_aligned = problem.k_aligned = problem.v_aligned = problem.o_aligned = tensors_.head_dim % 4 == 0;
    problem.mask = described_.mask;
    problem.score_mod = described_.score_mod;
    for (const auto& [name, table] : described_.bindings.tables) problem.tables.push_back({name, table->dims});
    problem.path = kernel_.path;
    problem.schedule = kernel_.schedule;
    problem.skeleton = kernel_.skeleton;
    problem.addressing = kernel_.addressing;
    problem.widen = kernel_.widen;
    if (*list) {
        problem.block_q = block_mask_.block_q;
        problem.block_kv = block_mask_.block_kv;
    }
    const auto plan_start = Clock::now();
    auto plan = engine.plan(problem);
    if (!plan) return plan.status();
    plan_ms_ = ms_since(plan_start);
    plan_ = std::move(*plan);
    const auto again_start = Clock::now();
    if (auto again = engine.plan(problem); !again) return again.status();
    plan_again_ms_ = ms_since(again_start);

    ArgsInfo info;
    info.shape = tensors_.shape;
    info.bindings = described_.bindings;
    info.block_mask = *list ? &block_mask_ : nullptr;
    auto args = plan_->make_args(info);
    if (!args) return args.status();
    args_ = std::move(*args);
    if (Status status = upload(device, plan_->report().tables_bytes); !status.ok()) return status;
    const auto bind_start = Clock::now();
    auto binding = plan_->bind({.q = q_.range(),
                                .k = k_.range(),
                                .v = v_.range(),
                                .o = o_.range(),
                                .lse = {},
                                .work = work_space_.range(),
                                .tables = tables_.range()});
    if (!binding) return binding.status();
    bind_us_ = 1000.0 * ms_since(bind_start);
    binding_ = std::move(*binding);
    return plan_->check(*binding_, *args_);
}

Status AttentionCase::upload(const support::Device& device, uint64_t tables_bytes) {
    std::vector<uint8_t> table_bytes(args_->tables_bytes());
    args_->write_tables(table_bytes);
    const struct {
        Buffer& buffer;
        uint64_t bytes;
        std::span<const uint8_t> content;
    } rooms[] = {
        {q_, tensors_.q.bytes.size(), tensors_.q.bytes},
        {k_, tensors_.k.bytes.size(), tensors_.k.bytes},
        {v_, tensors_.v.bytes.size(), tensors_.v.bytes},
        {o_, tensors_.q.bytes.size(), {}},
        {work_space_, plan_->workspace_bytes(), {}},
        {tables_, std::max<uint64_t>(tables_bytes, table_bytes.size()), table_bytes},
    };
    for (const auto& room : rooms) {
        auto buffer = Buffer::create(device, room.bytes);
        if (!buffer) return buffer.status();
        room.buffer = std::move(*buffer);
        if (Status status = room.buffer.upload_bytes(room.content); !status.ok()) return status;
    }
    return o_.fill(0xffffffffu);  // NaN in every type: a row that is not written is found
}

double AttentionCase::estimated_ms() const {
    const Shape& s = tensors_.shape;
    const double dense = double{1} * s.batch * s.q_heads * s.q_len * s.kv_len;
    return plan_->report().estimated_ms * static_cast<double>(work_.pairs) / std::max(dense, 1.0);
}

Result<RunTime> AttentionCase::run() const {
    const bool software = device_->info().type == VK_PHYSICAL_DEVICE_TYPE_CPU;  // no watchdog
    const double parts = software ? 1.0 : std::ceil(estimated_ms() / max_submit_ms);
    const auto slices = static_cast<uint32_t>(std::clamp(parts, 1.0, max_slices));
    RunTime time;
    const auto start = Clock::now();
    for (uint32_t i = 0; i < slices; i++) {
        auto timing = support::submit_timed(*device_, [&](VkCommandBuffer commands) {
            const auto record_start = Clock::now();
            plan_->record(commands, *binding_, *args_, {i, slices});
            time.record_us += 1000.0 * ms_since(record_start);
        });
        if (!timing) return timing.status();
        time.ms += timing->ms;
        time.device_clock = timing->device_clock;
    }
    time.wall_ms = ms_since(start);
    time.record_us /= slices;
    return time;
}

Result<RowErrors> AttentionCase::check() const {
    const auto rows = cli::sample_rows(tensors_.shape, checked_rows);
    const double weight_unit = report().path != "scalar" ? cli::ulp_at_one(tensors_.v.type) / 2.0 : 0.0;
    auto reference =
        cli::reference_rows(described_.mask, described_.score_mod, described_.bindings, tensors_, rows, weight_unit);
    if (!reference) return reference.status();
    const uint64_t row_bytes = static_cast<uint64_t>(tensors_.value_dim) * element_bytes(tensors_.q.type);
    std::vector<uint8_t> picked(rows.size() * row_bytes);
    for (size_t i = 0; i < rows.size(); i++) {
        const Shape& s = tensors_.shape;
        const int64_t row = (int64_t{rows[i].b} * s.q_heads + rows[i].h) * s.q_len + rows[i].q;
        if (Status status = o_.download_bytes(std::span(picked).subspan(i * row_bytes, row_bytes),
                                              static_cast<uint64_t>(row) * row_bytes);
            !status.ok())
            return status;
    }
    const auto o = cli::widened(picked, tensors_.q.type);
    return compare_rows(*reference, o.data(), static_cast<int64_t>(rows.size()), tensors_.value_dim,
                        cli::ulp_at_one(tensors_.q.type));
}

}  // namespace vkattn::bench
