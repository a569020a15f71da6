#include "attention_bench.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "support/submit.h"
#include "vkattn/classify.h"
#include "vkattn/emit.h"
#include "vkattn/evaluate.h"
#include "vkattn/named.h"
#include "vkattn/normalise.h"
#include "vkattn/shaderc_compiler.h"

namespace flex_notebook {

using namespace vkattn;
using support::Buffer;

namespace {

constexpr uint32_t nan_bits = 0x7fc00000u;  // what o holds before a checked run: an element not written is an error

std::vector<float> made_up(int64_t count, uint32_t seed, float largest) {
    std::mt19937 random(seed);
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = (static_cast<float>(random() >> 8) * 0x1p-23f - 1.0f) * largest;
    return values;
}

// One range of keys a row is the whole mask: no lists are needed. Else lists by block.
Result<Schedule> schedule_for(const Mask& mask, const ScoreMod& score_mod) {
    auto mask_tree = normalise(mask);
    if (!mask_tree) return mask_tree.status();
    auto score_tree = normalise(score_mod);
    if (!score_tree) return score_tree.status();
    auto hook = emit_hook(*mask_tree, *score_tree);
    if (!hook) return hook.status();
    return hook->interval_exact ? Schedule::interval : Schedule::list;
}

// The dense mask that the other systems are given: one byte a pair, for all batch entries and heads.
Result<std::shared_ptr<const TableData>> dense_table(const Mask& mask, const Shape& shape, const Bindings& values) {
    auto evaluator = Evaluator::make(mask, shape, values);
    if (!evaluator) return evaluator.status();
    auto data = std::make_shared<TableData>();
    data->type = Type::boolean;
    data->dims = {shape.q_len, shape.kv_len};
    data->boolean.reserve(static_cast<size_t>(data->count()));
    for (int32_t q = 0; q < shape.q_len; ++q)
        for (int32_t kv = 0; kv < shape.kv_len; ++kv) data->boolean.push_back(evaluator->mask(0, 0, q, kv) ? 1 : 0);
    return std::shared_ptr<const TableData>(std::move(data));
}

Status said_of(const std::string& title, Status status) {
    status.message = title + ": " + status.message;
    return status;
}

}  // namespace

bool Outcome::ok() const {
    return std::all_of(rows.begin(), rows.end(), [](const Row& row) { return row.check.ok(); });
}

int exit_status(const std::vector<Outcome>& outcomes) {
    return std::all_of(outcomes.begin(), outcomes.end(), [](const Outcome& outcome) { return outcome.ok(); })
               ? exit_right
               : exit_failed;
}

Result<std::unique_ptr<AttentionBench>> AttentionBench::create(std::string_view selector, const Sizes& sizes) {
    std::unique_ptr<AttentionBench> self(new AttentionBench());
    self->sizes_ = sizes;
    auto device = support::Device::create(selector);
    if (!device) return device.status();
    self->device_ = *std::move(device);
    self->compiler_ = make_shaderc_compiler();
    EngineOptions options;
    options.compiler = self->compiler_.get();
    auto engine = Engine::create(self->device_->host(), options);
    if (!engine) return engine.status();
    self->engine_ = *std::move(engine);

    // q is larger than usual, so that scores are large enough for a soft-cap to be noticed.
    const int64_t elements = int64_t{sizes.heads} * sizes.length * sizes.dim;
    self->q_values_ = made_up(elements, 1, 4.0f);
    self->k_values_ = made_up(elements, 2, 1.0f);
    self->v_values_ = made_up(elements, 3, 1.0f);
    struct Room {
        Buffer& buffer;
        const std::vector<float>& content;
    };
    for (const Room& room : {Room{self->q_, self->q_values_}, Room{self->k_, self->k_values_},
                             Room{self->v_, self->v_values_}, Room{self->o_, self->q_values_}}) {
        auto buffer = Buffer::create_with<float>(*self->device_, room.content);
        if (!buffer) return buffer.status();
        room.buffer = *std::move(buffer);
    }
    return self;
}

Shape AttentionBench::shape_of(const Instance& instance) const {
    return {.batch = 1,
            .q_heads = sizes_.heads,
            .kv_heads = sizes_.heads,
            .q_len = instance.q_len,
            .kv_len = instance.kv_len};
}

Result<ReferenceOutput> AttentionBench::reference(const Mask& mask, const ScoreMod& score_mod,
                                                  const Instance& instance) const {
    ReferenceInput input;
    input.shape = shape_of(instance);
    input.head_dim = input.value_dim = sizes_.dim;
    input.scale = 1.0 / std::sqrt(static_cast<double>(sizes_.dim));
    input.q = q_values_.data();  // a smaller instance reads the beginning of the same numbers, laid out anew
    input.k = k_values_.data();
    input.v = v_values_.data();
    return reference_attention(mask, score_mod, instance.values, input);
}

Result<Row> AttentionBench::run(const Job& job, const ReferenceOutput& expected, int64_t pairs) {
    Problem problem;
    problem.max_shape = shape_of(job.timed);
    problem.head_dim = sizes_.dim;
    problem.mask = job.mask;
    problem.score_mod = job.score_mod;
    for (const auto& [name, data] : job.timed.values.tables) problem.tables.push_back({name, data->dims});
    problem.schedule = job.schedule;
    if (job.schedule == Schedule::list) problem.block_q = problem.block_kv = block_size;
    auto plan = engine_->plan(problem);
    if (!plan) return plan.status();
    auto work = Buffer::create(*device_, plan->workspace_bytes());
    if (!work) return work.status();
    auto tables = Buffer::create(*device_, plan->report().tables_bytes);
    if (!tables) return tables.status();
    auto binding = plan->bind({.q = q_.range(),
                               .k = k_.range(),
                               .v = v_.range(),
                               .o = o_.range(),
                               .lse = {},
                               .work = work->range(),
                               .tables = tables->range()});
    if (!binding) return binding.status();

    // Values of one instance, uploaded and ready to be recorded.
    const auto prepare = [&](const Instance& instance) -> Result<Args> {
        ArgsInfo info;
        info.shape = shape_of(instance);
        info.bindings = instance.values;
        auto blocks =
            create_block_mask(job.mask, info.shape, instance.values, {.block_q = block_size, .block_kv = block_size});
        if (!blocks) return blocks.status();
        if (job.schedule == Schedule::list) info.block_mask = &*blocks;
        auto args = plan->make_args(info);
        if (!args) return args;
        if (Status status = plan->check(*binding, *args); !status.ok()) return status;
        std::vector<uint8_t> bytes(args->tables_bytes());
        args->write_tables(bytes);
        if (Status status = tables->upload_bytes(bytes); !status.ok()) return status;
        return args;
    };

    Row row;
    row.operation = job.operation;
    row.schedule = plan->report().schedule;
    {
        auto args = prepare(job.checked);
        if (!args) return args.status();
        if (Status status = o_.fill(nan_bits); !status.ok()) return status;
        Status ran =
            support::submit(*device_, [&](VkCommandBuffer commands) { plan->record(commands, *binding, *args); });
        if (!ran.ok()) return ran;
        const int64_t rows = int64_t{sizes_.heads} * job.checked.q_len;
        std::vector<float> o(static_cast<size_t>(rows * sizes_.dim));
        if (Status status = o_.download<float>(o); !status.ok()) return status;
        row.check = compare_rows(expected, o.data(), rows, sizes_.dim, 0x1p-23);
    }

    auto args = prepare(job.timed);
    if (!args) return args.status();
    std::vector<double> times_ms;
    for (int32_t i = 0; i <= sizes_.repeats; ++i) {
        auto timing =
            support::submit_timed(*device_, [&](VkCommandBuffer commands) { plan->record(commands, *binding, *args); });
        if (!timing) return timing.status();
        device_clock_ = device_clock_ && timing->device_clock;
        if (i > 0) times_ms.push_back(timing->ms);
    }
    std::sort(times_ms.begin(), times_ms.end());
    row.forward_ms = times_ms[times_ms.size() / 2];
    row.gflops = 2.0 * (sizes_.dim + sizes_.dim) * static_cast<double>(pairs) / row.forward_ms * 1e-6;
    return row;
}

Result<Row> AttentionBench::run_causal(const Instance& timed, const Instance& checked) {
    auto expected = reference(causal(), {}, checked);
    if (!expected) return expected.status();
    auto pairs = count_pairs(causal(), shape_of(timed));
    if (!pairs) return pairs.status();
    const Instance plain_timed{timed.q_len, timed.kv_len, {}}, plain_checked{checked.q_len, checked.kv_len, {}};
    return run({"vkattn causal", causal(), {}, Schedule::interval, plain_timed, plain_checked}, *expected, *pairs);
}

Result<Row> AttentionBench::run_dense(const Example& example, const Outcome& outcome, const ReferenceOutput& expected) {
    const auto with_table = [&](const Instance& instance) -> Result<Instance> {
        auto table = dense_table(example.pairs(), shape_of(instance), instance.values);
        if (!table) return table.status();
        Instance dense = instance;
        dense.values.tables = example.weighted ? decltype(dense.values.tables)() : instance.values.tables;
        dense.values.tables["keep"] = *table;
        return dense;
    };
    auto timed = with_table(outcome.timed);
    if (!timed) return timed.status();
    auto checked = with_table(outcome.checked);
    if (!checked) return checked.status();
    const Mask keep = trace_mask([](Index, Index, Index q, Index kv) { return table("keep", Type::boolean)(q, kv); });
    // A score mod that only hides pairs is in the table already.
    const ScoreMod score_mod = example.weighted ? ScoreMod() : example.score_mod.value;
    return run({"vkattn, dense mask as a table", keep, score_mod, Schedule::dense, *timed, *checked}, expected,
               outcome.pairs);
}

Result<Outcome> AttentionBench::measure(const Example& example) {
    Outcome outcome;
    outcome.example = &example;
    outcome.timed = example.instance(sizes_.length, sizes_.heads);
    outcome.checked = example.instance(std::min(sizes_.check_length, sizes_.length), sizes_.heads);
    const Shape shape = shape_of(outcome.timed);
    const auto failed = [&](const Status& status) { return said_of(example.title, status); };

    auto mask_from_text = parse_mask(example.mask_text, declarations_of(example.mask.value.tree()));
    if (!mask_from_text) return failed(mask_from_text.status());
    auto score_from_text = parse_score_mod(example.score_text, declarations_of(example.score_mod.value.tree()));
    if (!score_from_text) return failed(score_from_text.status());
    auto expected = reference(*mask_from_text, *score_from_text, outcome.checked);
    if (!expected) return failed(expected.status());

    auto blocks = create_block_mask(example.mask.value, shape, outcome.timed.values,
                                    {.block_q = block_size, .block_kv = block_size});
    if (!blocks) return failed(blocks.status());
    outcome.blocks = *std::move(blocks);
    auto pairs = count_pairs(example.pairs(), shape, outcome.timed.values);
    if (!pairs) return failed(pairs.status());
    outcome.pairs = *pairs;
    const double all = static_cast<double>(shape.q_heads) * shape.q_len * shape.kv_len;
    outcome.attending = 100.0 * static_cast<double>(*pairs) / all;

    auto schedule = schedule_for(example.mask.value, example.score_mod.value);
    if (!schedule) return failed(schedule.status());
    auto ours = run({"vkattn", example.mask.value, example.score_mod.value, *schedule, outcome.timed, outcome.checked},
                    *expected, *pairs);
    if (!ours) return failed(ours.status());
    auto causal_row = run_causal(outcome.timed, outcome.checked);
    if (!causal_row) return failed(causal_row.status());
    auto dense = run_dense(example, outcome, *expected);
    if (!dense) return failed(dense.status());
    outcome.rows = {*std::move(ours), *std::move(causal_row), *std::move(dense)};
    return outcome;
}

}  // namespace flex_notebook
