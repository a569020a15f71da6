// plan: check, normalise, emit, choose, compile. Every decision of a problem is made here and reported.
#include <algorithm>
#include <bit>
#include <cmath>

#include "engine_impl.h"
#include "recorder.h"
#include "tuning.h"

namespace vkattn {
namespace {

constexpr int32_t max_dim = 576;

Status check_problem(const Problem& problem) {
    if (Status status = check(problem.max_shape); !status.ok())
        return error(status.code, "Problem::max_shape: " + status.message);
    auto check_dim = [](const char* name, int32_t dim) -> Status {
        if (dim >= 1 && dim <= max_dim) return {};
        return error(Code::invalid_argument, std::string("Problem::") + name + " is " + std::to_string(dim) +
                                                 "; 1 to " + std::to_string(max_dim) + " is supported");
    };
    if (Status status = check_dim("head_dim", problem.head_dim); !status.ok()) return status;
    if (Status status = check_dim("value_dim", problem.value_dim); !status.ok()) return status;
    if (problem.block_q < 0 || problem.block_kv < 0 || (problem.block_q == 0) != (problem.block_kv == 0))
        return error(Code::invalid_argument, "Problem::block_q and block_kv are both given (at least 1) or both 0");
    if (problem.build_lists && (problem.list_encoding != ListEncoding::indices || problem.block_q == 0))
        return error(Code::invalid_argument,
                     "Problem::build_lists needs ListEncoding::indices, and block_q and block_kv (128 x 128, say)");
    if (problem.splits < 0 || problem.splits > 1024)
        return error(Code::invalid_argument, "Problem::splits is " + std::to_string(problem.splits) +
                                                 "; 0 (automatic) to 1024 are supported, 1 does not split");
    if (!(problem.max_dispatch_ms > 0.0))
        return error(Code::invalid_argument, "Problem::max_dispatch_ms must be positive");
    if (!problem.mask.status().ok()) return problem.mask.status();
    if (!problem.score_mod.status().ok()) return problem.score_mod.status();
    return {};
}

uint64_t table_bytes(Type type, int64_t count) {
    const uint64_t bytes = static_cast<uint64_t>(count) * (type == Type::boolean ? 1u : 4u);
    return (bytes + 3u) / 4u * 4u;
}

bool depends_on(const Tree& tree, Op index) {
    return std::any_of(tree.nodes.begin(), tree.nodes.end(), [&](const Node& node) { return node.op == index; });
}

// Room for all tables and lists: as the problem says, else from captured tables, bounds, the block grid and the tiles' order.
Result<uint64_t> tables_capacity(const Problem& problem, const Tree& mask, const Tree& score_mod,
                                 const Choice& choice) {
    if (problem.max_tables_bytes != 0) return problem.max_tables_bytes;
    uint64_t bytes = 0;
    for (const Tree* tree : {&mask, &score_mod}) {
        for (const TableRef& table : tree->tables) {
            const auto bound = std::find_if(problem.tables.begin(), problem.tables.end(),
                                            [&](const TableBound& b) { return b.name == table.name; });
            int64_t count = 1;
            if (bound != problem.tables.end()) {
                for (int64_t dim : bound->dims) count *= dim;
            } else if (table.captured != nullptr) {
                count = table.captured->count();
            } else {
                return error(
                    Code::invalid_argument,
                    "table '" + table.name +
                        "' has no bound: give its dims in Problem::tables, or Problem::max_tables_bytes for all");
            }
            bytes += table_bytes(table.type, count);
        }
    }
    if (choice.schedule == Schedule::list) {
        const Shape& s = problem.max_shape;
        const uint64_t rows = (static_cast<uint64_t>(s.q_len) + static_cast<uint64_t>(problem.block_q) - 1) /
                              static_cast<uint64_t>(problem.block_q);
        const uint64_t columns = (static_cast<uint64_t>(s.kv_len) + static_cast<uint64_t>(problem.block_kv) - 1) /
                                 static_cast<uint64_t>(problem.block_kv);
        const uint64_t head_rows = choice.tile_rows / choice.heads_per_tile;
        const uint64_t q_tiles = (static_cast<uint64_t>(s.q_len) + head_rows - 1) / head_rows;
        const uint64_t lists = static_cast<uint64_t>(s.batch) * static_cast<uint64_t>(s.q_heads);
        if (problem.list_encoding == ListEncoding::indices) {
            const uint64_t planes = (depends_on(mask, Op::b) ? static_cast<uint64_t>(s.batch) : 1) *
                                    (depends_on(mask, Op::h) ? static_cast<uint64_t>(s.q_heads) : 1);
            return bytes + (2 * planes * rows * (1 + columns) + q_tiles) * sizeof(int32_t);
        }
        // 64 runs a row on average: masks in use need one to four, and a list that needs more says so (max_tables_bytes).
        bytes = (bytes + (rows * lists + 1) * 4 + 7) / 8 * 8;  // runs are pairs of words, aligned as such
        bytes += rows * lists * std::min<uint64_t>(columns, 64) * sizeof(BlockRun) + q_tiles * 4;
    }
    return bytes;
}

void set_addressing(ModuleKey& module, Addressing addressing, const Capabilities& capabilities) {
    module.addressing = addressing;
    module.address_int64 = addressing == Addressing::address && capabilities.features.int64_addresses;
}

void add_hook_constants(Variant& variant, const Tree& mask, const Tree& score_mod, const EmittedHook& hook) {
    for (size_t i = 0; i < hook.specialised.size(); i++) {
        const uint32_t slot = hook.specialised[i];
        const SlotRef& ref = slot < mask.slots.size() ? mask.slots[slot] : score_mod.slots[slot - mask.slots.size()];
        variant.constants.emplace_back(SPEC_MASK_FIRST + static_cast<uint32_t>(i), ref.bits);
    }
}

Variant make_variant(const Capabilities& capabilities, const Problem& problem, const Choice& choice, const Tree& mask,
                     const Tree& score_mod, const EmittedHook& hook) {
    Variant variant;
    ModuleKey& module = variant.module;
    const bool matrix = choice.path != Path::scalar;
    module.kernel = "attention_" + std::string(matrix ? to_string(choice.path) : to_string(choice.skeleton));
    set_addressing(module, choice.addressing, capabilities);
    module.q_type = problem.q_type;
    module.k_type = problem.k_type;
    module.v_type = problem.v_type;
    module.o_type = problem.o_type;
    module.q_vec4 = problem.q_aligned;
    module.k_vec4 = problem.k_aligned;
    module.v_vec4 = problem.v_aligned;
    module.o_vec4 = problem.o_aligned;
    if (choice.widen) {
        module.k_type = module.v_type = ElementType::f32;
        module.k_vec4 = module.v_vec4 = true;
    }
    module.subgroup_reduce = choice.subgroup_reduce;
    module.workgroup_matrices = choice.workgroup_matrices;
    module.hook_hash = hook.hash;

    variant.full_subgroups = matrix || (choice.subgroup_reduce && choice.skeleton != Skeleton::rows);
    variant.subgroup_size = choice.subgroup_size;
    // The decode skeleton leaves o to merge_splits: its module is the same for all types of o.
    if (choice.skeleton == Skeleton::decode) {
        module.o_type = ElementType::f32;
        module.o_vec4 = true;
    }

    const uint32_t schedule = choice.schedule == Schedule::dense               ? SCHEDULE_DENSE
                              : choice.schedule == Schedule::interval          ? SCHEDULE_INTERVAL
                              : problem.list_encoding == ListEncoding::indices ? SCHEDULE_INDICES
                                                                               : SCHEDULE_LIST;
    variant.constants = {
        {SPEC_WORKGROUP_SIZE, choice.workgroup_size},
        {SPEC_HEAD_DIM, static_cast<uint32_t>(problem.head_dim)},
        {SPEC_VALUE_DIM, static_cast<uint32_t>(problem.value_dim)},
        {SPEC_SCHEDULE, schedule},
        {SPEC_STEP_KEYS, choice.step_keys},
        {SPEC_THREADS_X, choice.threads_x},
        {SPEC_MICRO_ROWS, choice.micro_rows},
        {SPEC_MICRO_COLS, choice.micro_cols},
        {SPEC_TILE_ROWS, choice.tile_rows},
        {SPEC_HEADS_PER_TILE, choice.heads_per_tile},
        {SPEC_SPLITS, choice.splits},
        {SPEC_UNIFORM_LOADS, capabilities.software ? 1u : 0u},
    };
    if (matrix) {
        const std::pair<uint32_t, uint32_t> sizes[] = {
            {SPEC_MATRIX_M, choice.matrix.m}, {SPEC_MATRIX_N, choice.matrix.n}, {SPEC_MATRIX_K, choice.matrix.k},
            {SPEC_SCOPE_SIZE, choice.lanes},  {SPEC_QK_CHUNK, choice.qk_chunk}, {SPEC_VALUE_CHUNK, choice.value_chunk},
        };
        variant.constants.insert(variant.constants.end(), std::begin(sizes), std::end(sizes));
        if (choice.literal_sizes) module.literals.swap(variant.constants);
    }
    add_hook_constants(variant, mask, score_mod, hook);
    return variant;
}

// widen.comp reads the caller's k and v; it has no hook, and q and o are not its business.
Variant make_widen_variant(const Capabilities& capabilities, const Problem& problem, uint32_t rows) {
    Variant variant;
    ModuleKey& module = variant.module;
    module.kernel = "widen";
    set_addressing(module, problem.addressing, capabilities);
    module.k_type = problem.k_type;
    module.v_type = problem.v_type;
    module.k_vec4 = problem.k_aligned;
    module.v_vec4 = problem.v_aligned;
    variant.constants = {
        {SPEC_WORKGROUP_SIZE, rows},
        {SPEC_HEAD_DIM, static_cast<uint32_t>(problem.head_dim)},
        {SPEC_VALUE_DIM, static_cast<uint32_t>(problem.value_dim)},
    };
    return variant;
}

// merge_splits.comp writes o; it has no hook, and q, k and v are not its business.
Variant make_merge_variant(const Capabilities& capabilities, const Problem& problem, const Choice& choice,
                           bool natural_scores, uint32_t items) {
    Variant variant;
    ModuleKey& module = variant.module;
    module.kernel = "merge_splits";
    set_addressing(module, choice.addressing, capabilities);
    module.o_type = problem.o_type;
    module.o_vec4 = problem.o_aligned;
    variant.constants = {
        {SPEC_WORKGROUP_SIZE, items},       {SPEC_VALUE_DIM, static_cast<uint32_t>(problem.value_dim)},
        {SPEC_TILE_ROWS, choice.tile_rows}, {SPEC_HEADS_PER_TILE, choice.heads_per_tile},
        {SPEC_SPLITS, choice.splits},       {SPEC_NATURAL_SCORES, natural_scores ? 1u : 0u},
    };
    return variant;
}

Status make_list_pipelines(PlanImpl& plan, PipelineCost& cost) {
    const uint32_t invocations = std::min(64u, std::bit_floor(plan.engine->capabilities.max_invocations));
    Variant classify;
    classify.module.kernel = "classify_blocks";
    set_addressing(classify.module, plan.problem.addressing, plan.engine->capabilities);
    classify.module.hook_hash = plan.hook.hash;
    classify.constants = {{SPEC_WORKGROUP_SIZE, invocations}};
    add_hook_constants(classify, *plan.mask, *plan.score_mod, plan.hook);
    auto pipeline = plan.engine->pipeline(classify, plan.hook, &cost);
    if (!pipeline) return pipeline.status();
    plan.classify_pipeline = *pipeline;

    Variant compact;
    compact.module.kernel = "compact_blocks";
    set_addressing(compact.module, plan.problem.addressing, plan.engine->capabilities);
    compact.constants = {{SPEC_WORKGROUP_SIZE, invocations}};
    pipeline = plan.engine->pipeline(compact, EmittedHook{}, &cost);
    if (!pipeline) return pipeline.status();
    plan.compact_pipeline = *pipeline;
    plan.compact_rows = invocations;
    return {};
}

// Of several modules the one that took most work names where a plan's shaders came from.
std::string_view origin_name(const PipelineCost& cost) {
    if (cost.compile_ms == 0.0) return "there already";
    switch (cost.origin) {
    case ModuleOrigin::ahead_of_time: return "ahead of time";
    case ModuleOrigin::disk_cache: return "disk cache";
    case ModuleOrigin::compiled: return "compiled";
    }
    return "?";
}

// What the mask and the score mod come to; the problem is checked and its value_dim settled.
Status describe(PlanImpl& plan) {
    auto mask = normalise(plan.problem.mask);
    if (!mask) return mask.status();
    auto score_mod = normalise(plan.problem.score_mod);
    if (!score_mod) return score_mod.status();
    plan.mask = std::make_shared<const Tree>(*std::move(mask));
    plan.score_mod = std::make_shared<const Tree>(*std::move(score_mod));
    plan.mask_hash = structure_hash(*plan.mask);
    plan.lists_by_batch = depends_on(*plan.mask, Op::b);
    plan.lists_by_head = depends_on(*plan.mask, Op::h);
    auto hook = emit_hook(*plan.mask, *plan.score_mod);
    if (!hook) return hook.status();
    plan.hook = *std::move(hook);
    if (plan.hook.n_slots > PARAMS_MAX_SLOTS || plan.hook.n_tables > PARAMS_MAX_TABLES)
        return error(Code::limit_exceeded, "the mask and score mod use " + std::to_string(plan.hook.n_slots) +
                                               " values and " + std::to_string(plan.hook.n_tables) +
                                               " tables; at most " + std::to_string(PARAMS_MAX_SLOTS) + " and " +
                                               std::to_string(PARAMS_MAX_TABLES) + " fit");
    return {};
}

}  // namespace

Result<std::vector<KernelSizes>> plan_neighbours(const EngineImpl& engine, const Problem& problem,
                                                 const KernelSizes& from) {
    PlanImpl plan;
    plan.problem = problem;
    if (plan.problem.value_dim == 0) plan.problem.value_dim = plan.problem.head_dim;
    if (Status status = check_problem(plan.problem); !status.ok()) return status;
    if (Status status = describe(plan); !status.ok()) return status;
    return neighbours_of(engine.capabilities, plan.problem, plan.hook, from);
}

Result<Plan> make_plan(const std::shared_ptr<EngineImpl>& engine, const Problem& requested) {
    auto plan = std::make_shared<PlanImpl>();
    plan->engine = engine;
    plan->problem = requested;
    Problem& problem = plan->problem;
    if (problem.value_dim == 0) problem.value_dim = problem.head_dim;
    if (Status status = check_problem(problem); !status.ok()) return status;

    if (Status status = describe(*plan); !status.ok()) return status;

    ChooseOptions options;
    if (engine->tuning_mismatch.empty()) options.table = engine->options.tuning.get();
    auto choice = choose(engine->capabilities, problem, plan->hook, options);
    if (!choice) return choice.status();
    const auto variant_of = [&] {
        return make_variant(engine->capabilities, problem, *choice, *plan->mask, *plan->score_mod, plan->hook);
    };
    if (choice->skeleton == Skeleton::decode && problem.skeleton == Skeleton::automatic && !problem.sizes &&
        engine->options.compiler == nullptr && !is_ahead_of_time(variant_of().module)) {
        options.decode_shipped = false;
        choice = choose(engine->capabilities, problem, plan->hook, options);
        if (!choice) return choice.status();
        choice->why += "not decode: its module for this mask is not built ahead of time, and there is no compiler; ";
    }
    problem.schedule = choice->schedule;
    if (problem.build_lists && problem.schedule != Schedule::list)
        return error(Code::invalid_argument, "Problem::build_lists needs the list schedule, this plan was asked for " +
                                                 std::string(to_string(problem.schedule)));
    auto capacity = tables_capacity(problem, *plan->mask, *plan->score_mod, *choice);
    if (!capacity) return capacity.status();
    plan->tables_capacity_bytes = *capacity;
    plan->variant = variant_of();

    PipelineCost cost;
    auto pipeline = engine->pipeline(plan->variant, plan->hook, &cost);
    if (!pipeline && choice->by_table) {  // a module that there is no compiler for, or a driver that refuses
        const std::string why = pipeline.status().message.substr(0, pipeline.status().message.find('\n'));
        options.table = nullptr;
        choice = choose(engine->capabilities, problem, plan->hook, options);
        if (!choice) return choice.status();
        choice->tuning = "the table's entry is not used: " + why;
        plan->variant = variant_of();
        pipeline = engine->pipeline(plan->variant, plan->hook, &cost);
    }
    if (!pipeline && requested.path == Path::automatic && !requested.sizes && choice->path != Path::scalar) {
        // The matrix path was an offer: there may be no compiler and no shipped module, or a compiler without the extension.
        const std::string why = pipeline.status().message.substr(0, pipeline.status().message.find('\n'));
        const Choice offered = *choice;
        problem.path = Path::scalar;
        options.table = nullptr;
        choice = choose(engine->capabilities, problem, plan->hook, options);
        if (!choice) return choice.status();
        choice->tuning = offered.tuning;
        choice->key = offered.key;
        choice->why = "path scalar: " + why + "; " + choice->why;
        plan->variant = variant_of();
        pipeline = engine->pipeline(plan->variant, plan->hook, &cost);
    }
    if (!pipeline) return pipeline.status();
    plan->pipeline = *pipeline;
    problem.addressing = choice->addressing;
    problem.skeleton = choice->skeleton;
    problem.path = choice->path;
    plan->gflops_estimate = choice->gflops_estimate;

    PlanReport& report = plan->report;
    if (choice->widen) {
        plan->widen_rows = std::min(plan->widen_rows, std::bit_floor(engine->capabilities.max_invocations));
        auto widen =
            engine->pipeline(make_widen_variant(engine->capabilities, problem, plan->widen_rows), EmittedHook{}, &cost);
        if (!widen) return widen.status();
        plan->widen_pipeline = *widen;
        plan->wide = wide_region(problem);
    }
    plan->partials_offset =
        choice->widen ? (plan->wide.end() + 255) / 256 * 256 : work_params_bytes + work_scratch_bytes;
    plan->partials_bytes = partials_bytes(problem, *choice);
    if (plan->partials_bytes > 0) {
        plan->merge_items = std::min(plan->merge_items, std::bit_floor(engine->capabilities.max_invocations));
        auto merge = engine->pipeline(
            make_merge_variant(engine->capabilities, problem, *choice, plan->hook.has_score_mod, plan->merge_items),
            EmittedHook{}, &cost);
        if (!merge) return merge.status();
        plan->merge_pipeline = *merge;
    }
    if (problem.build_lists)
        if (Status status = make_list_pipelines(*plan, cost); !status.ok()) return status;
    report.compile_ms = cost.compile_ms;
    report.module = origin_name(cost);
    report.widened = choice->widen;
    report.path = to_string(problem.path);
    report.skeleton = choice->path != Path::scalar ? "matrix" : to_string(problem.skeleton);
    report.schedule = to_string(problem.schedule);
    report.addressing = to_string(problem.addressing);
    report.why = choice->why;
    report.tuning_key = choice->key;
    report.sizes = sizes_of(*choice, choice->key);
    report.tuning =
        engine->tuning_mismatch.empty() ? choice->tuning : "the table is not used: " + engine->tuning_mismatch;
    report.tile_q = static_cast<int32_t>(choice->tile_rows / choice->heads_per_tile);
    report.splits = static_cast<int32_t>(choice->splits);
    plan->heads_per_tile = choice->heads_per_tile;
    plan->tile_rows = choice->tile_rows;
    plan->parts = parts_of_tile(*choice);
    const bool tiles = choice->path == Path::scalar && choice->skeleton == Skeleton::tiles;
    report.tile_kv = static_cast<int32_t>(tiles ? choice->threads_x * choice->micro_cols : choice->step_keys);
    report.subgroup_size = choice->subgroup_size;
    report.shared_bytes = choice->shared_bytes;
    report.tables_bytes = plan->tables_capacity_bytes;
    report.workspace_bytes = plan->partials_bytes > 0 ? plan->partials_offset + plan->partials_bytes
                             : choice->widen          ? plan->wide.end()
                                                      : work_params_bytes + work_scratch_bytes;
    const Shape& s = problem.max_shape;
    const double pairs = static_cast<double>(s.batch) * s.q_heads * static_cast<double>(s.q_len) * s.kv_len;
    report.estimated_ms = 2.0 * (problem.head_dim + problem.value_dim) * pairs / plan->gflops_estimate * 1e-6;
    report.dispatches = count_dispatches(*plan, s);
    return Plan(plan);
}

const PlanReport& Plan::report() const { return impl_->report; }

Result<Args> Plan::make_args(const ArgsInfo& info) const { return make_plan_args(impl_, info); }
Result<Binding> Plan::bind(const Buffers& buffers) const { return make_binding(impl_, buffers); }
Status Plan::check(const Binding& binding, const Args& args) const { return check_spans(binding.impl(), args.impl()); }

void Plan::record(VkCommandBuffer command_buffer, const Binding& binding, const Args& args, Slice slice) const {
    record_with_faults(*impl_, command_buffer, binding.impl(), args.impl(), slice, RecordFaults{});
}

Status Plan::record_block_lists(VkCommandBuffer command_buffer, const Binding& binding, const Args& args) const {
    if (impl_->classify_pipeline == VK_NULL_HANDLE)
        return error(Code::invalid_argument, "record_block_lists: the plan was made without Problem::build_lists");
    if (args.impl().padded_blocks != nullptr)
        return error(Code::invalid_argument,
                     "record_block_lists: these args bring block lists of their own (ArgsInfo::padded_blocks)");
    record_lists_with_faults(*impl_, command_buffer, binding.impl(), args.impl(), RecordFaults{});
    return {};
}

}  // namespace vkattn
