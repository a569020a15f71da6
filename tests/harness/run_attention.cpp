#include "run_attention.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>

#include <doctest/doctest.h>

#include "numbers.h"

#ifdef VKATTN_TEST_WITH_COMPILER
#include "vkattn/shaderc_compiler.h"
#endif

namespace vkattn_tests {
namespace {

using vkattn::BufferRange;
using vkattn::element_bytes;
using vkattn::ElementType;

// Bytes from the start of the buffer to the end of the tensor.
uint64_t end_bytes(const Placement& p, ElementType type, const Values& v) {
    if (v.at.empty()) return static_cast<uint64_t>(p.first) * element_bytes(type);
    const int64_t last =
        p.first + (v.batch - 1) * p.strides.b + (v.heads - 1) * p.strides.h + (v.length - 1) * p.strides.l + v.width;
    return static_cast<uint64_t>(last) * element_bytes(type);
}

// All of a buffer from the tensor on; the guard before it is inside the descriptor's range because offsets are aligned down.
BufferRange range_of(const GuardedBuffer& guarded, uint64_t offset) {
    return {guarded.buffer.handle, offset, guarded.buffer.size_bytes - offset};
}

BufferRange range_of(const GuardedBuffer& guarded, const Placement& p, ElementType type) {
    return range_of(guarded, static_cast<uint64_t>(p.first) * element_bytes(type));
}

bool shares_one_buffer(const AttentionCase& c) {
    return c.layout == Layout::packed && c.q_type == c.k_type && c.k_type == c.v_type;
}

CommandLog sum(const CommandLog& a, const CommandLog& b) {
    CommandLog s = a;
    s.dispatches += b.dispatches;
    s.barriers += b.barriers;
    s.updates += b.updates;
    s.pipeline_binds += b.pipeline_binds;
    s.push_constant_bytes = std::max(a.push_constant_bytes, b.push_constant_bytes);
    for (int i = 0; i < 3; i++) s.largest_groups[i] = std::max(a.largest_groups[i], b.largest_groups[i]);
    s.own_news += b.own_news;
    s.host_allocations += b.host_allocations;
    return s;
}

}  // namespace

const vkattn::ShaderCompiler* test_compiler() {
#ifdef VKATTN_TEST_WITH_COMPILER
    static const std::unique_ptr<vkattn::ShaderCompiler> made = vkattn::make_shaderc_compiler();
    return made.get();
#else
    return nullptr;
#endif
}

vkattn::HostDevice host_device(VulkanContext& context) {
    vkattn::HostDevice host;
    host.instance = context.instance;
    host.physical_device = context.physical_device;
    host.device = context.device;
    host.get_instance_proc_addr = spy_get_instance_proc_addr;
    host.allocator = counting_allocator();
    host.enabled = context.enabled;
    return host;
}

std::unique_ptr<vkattn::Engine> make_engine(VulkanContext& context, const vkattn::LimitOverrides& limits,
                                            const vkattn::ShaderCompiler* compiler,
                                            const std::string& cache_directory) {
    vkattn::EngineOptions options;
    options.compiler = compiler;
    options.limits = limits;
    options.cache_directory = cache_directory;
    auto engine = vkattn::Engine::create(host_device(context), options);
    if (!engine) FAIL("Engine::create: " << engine.status().message);
    return *std::move(engine);
}

vkattn::Engine& shared_engine() {
    VulkanContext& context = VulkanContext::shared();  // first: it is destroyed last
    static const std::unique_ptr<vkattn::Engine> engine = make_engine(context);
    return *engine;
}

std::string replay_line(const AttentionCase& c, const VulkanContext& context) {
    const char* wanted = std::getenv("VKATTN_TEST_DEVICE");
    return "replay: VKATTN_TEST_DEVICE=" + std::string(wanted == nullptr ? "lavapipe" : wanted) + " VKATTN_REPLAY='" +
           to_text(c) + "' build/bin/vkattn-test-engine -tc=replay   # " + context.properties.deviceName + ", " +
           context.driver;
}

struct Call::Memory {
    Memory(VulkanContext& context, const AttentionCase& c, const Inputs& inputs, const RunOptions& options,
           uint64_t tables_bytes, uint64_t workspace_bytes);
    void check_untouched() const;

    GuardedBuffer q, k, v, o, lse, work, tables;
    bool one_buffer;  // q holds k and v as well (packed)
    TensorPlacements at;
    Values o_shape;
    uint64_t lse_offset = guard_bytes, work_offset = 1024, tables_offset = 1024;
    vkattn::Buffers buffers;
};

Call::Memory::Memory(VulkanContext& context, const AttentionCase& c, const Inputs& inputs, const RunOptions& options,
                     uint64_t tables_bytes, uint64_t workspace_bytes)
    : one_buffer(shares_one_buffer(c)),
      at(placements_of(c)),
      o_shape(c.shape.batch, c.shape.q_heads, c.shape.q_len, c.value_dim) {
    const uint64_t q_end = end_bytes(at.q, c.q_type, inputs.q), k_end = end_bytes(at.k, c.k_type, inputs.k),
                   v_end = end_bytes(at.v, c.v_type, inputs.v);
    if (one_buffer) {
        q = GuardedBuffer(context, (std::max({q_end, k_end, v_end}) + 3) / 4 * 4 + guard_bytes);
        q.write(c.q_type, at.q, inputs.q);
        q.write(c.k_type, at.k, inputs.k);
        q.write(c.v_type, at.v, inputs.v);
        q.upload();
        buffers.q = range_of(q, at.q, c.q_type);
        buffers.k = range_of(q, at.k, c.k_type);
        buffers.v = range_of(q, at.v, c.v_type);
    } else {
        const struct {
            GuardedBuffer& buffer;
            BufferRange& range;
            const Placement& at;
            ElementType type;
            const Values& values;
            uint64_t end;
        } tensors[] = {{q, buffers.q, at.q, c.q_type, inputs.q, q_end},
                       {k, buffers.k, at.k, c.k_type, inputs.k, k_end},
                       {v, buffers.v, at.v, c.v_type, inputs.v, v_end}};
        for (const auto& t : tensors) {
            t.buffer = GuardedBuffer(context, (t.end + 3) / 4 * 4 + guard_bytes);
            t.buffer.write(t.type, t.at, t.values);
            t.buffer.upload();
            t.range = range_of(t.buffer, t.at, t.type);
        }
    }

    o = GuardedBuffer(context, (end_bytes(at.o, c.o_type, o_shape) + 3) / 4 * 4 + guard_bytes);
    o.leave_free(c.o_type, at.o, o_shape);
    o.upload();
    buffers.o = range_of(o, at.o, c.o_type);
    const uint64_t lse_bytes = 4ull * static_cast<uint64_t>(c.shape.batch) * static_cast<uint64_t>(c.shape.q_heads) *
                               static_cast<uint64_t>(c.shape.q_len);
    lse = GuardedBuffer(context, lse_offset + lse_bytes + guard_bytes);
    lse.leave_free(lse_offset, lse_bytes);
    lse.upload();
    buffers.lse = range_of(lse, lse_offset);
    work = GuardedBuffer(context, work_offset + workspace_bytes + guard_bytes);
    work.leave_free(work_offset, workspace_bytes);
    work.upload();
    buffers.work = range_of(work, work_offset);
    tables = GuardedBuffer(context, tables_offset + (tables_bytes + 3) / 4 * 4 + guard_bytes);
    buffers.tables = range_of(tables, tables_offset);

    if (options.k) {
        const Elsewhere& there = *options.k;
        for (int32_t b = 0; b < inputs.k.batch; b++)
            for (int32_t h = 0; h < inputs.k.heads; h++)
                for (int32_t l = 0; l < inputs.k.length; l++)
                    for (int32_t d = 0; d < c.head_dim; d++)
                        store_element(c.k_type,
                                      there.buffer->data + there.element(b, h, l, d) * element_bytes(c.k_type),
                                      inputs.k.row(b, h, l)[d]);
        buffers.k = there.range(c.k_type);
    }
    if (options.o) buffers.o = options.o->range(c.o_type);
}

void Call::Memory::check_untouched() const {
    const struct {
        const GuardedBuffer& buffer;
        const char* name;
    } all[] = {{q, "q"}, {k, "k"}, {v, "v"}, {o, "o"}, {lse, "lse"}, {work, "work"}, {tables, "tables"}};
    for (const auto& one : all) {
        const std::string damage = one.buffer.damage(one.name);
        CHECK_MESSAGE(damage.empty(), damage);
    }
}

Call::Call(const AttentionCase& c, const Inputs& inputs, const RunOptions& options, Call* shared_work)
    : case_(c),
      options_(options),
      context_(options.context != nullptr ? *options.context : VulkanContext::shared()),
      engine_(options.engine != nullptr ? *options.engine : shared_engine()) {
    vkattn::Problem problem = problem_of(c, inputs);
    problem.max_dispatch_ms = options.max_dispatch_ms;
    problem.build_lists = options.build_lists;
    // k and v may be null where no call has keys.
    if (c.shape.kv_len == 0) problem.max_shape.kv_len = 0;
    if (options.k) problem.k_aligned = options.k->at.aligned;
    if (options.o) problem.o_aligned = options.o->at.aligned;
    auto plan = engine_.plan(problem);
    if (!plan) {
        refuse("plan", plan.status());
        return;
    }
    plan_ = *std::move(plan);
    result_.report = plan_->report();
    vkattn::ArgsInfo info = args_of(c, inputs);
    info.write_lse = options.write_lse;
    info.scale = options.scale;
    if (options.k) info.k = options.k->at.strides;
    if (options.o) info.o = options.o->at.strides;
    info.block_mask_covers = options.list_covers;
    std::optional<vkattn::PaddedBlocks> padded;
    if (inputs.list && c.encoding == vkattn::ListEncoding::indices) {
        info.block_mask = nullptr;
        if (!options.build_lists) {
            info.padded_blocks = options.padded_blocks;
            if (info.padded_blocks == nullptr) info.padded_blocks = &padded.emplace(*to_padded(*inputs.list));
        }
    }
    auto args = plan_->make_args(info);
    if (!args) {
        refuse("make_args", args.status());
        return;
    }
    args_ = *std::move(args);

    memory_ =
        std::make_unique<Memory>(context_, c, inputs, options, problem.max_tables_bytes, plan_->workspace_bytes());
    std::vector<uint8_t> tables(args_->tables_bytes());
    args_->write_tables(tables);
    if (options.tables_on_device != nullptr)
        for (const auto& [name, table] : options.tables_on_device->tables)
            for (uint64_t offset : args_->table_offsets(name))
                std::memcpy(tables.data() + offset, table->i32.data(), table->i32.size() * 4);
    memory_->tables.write_bytes(memory_->tables_offset, tables);
    if (options.build_lists) {
        const uint64_t lists = args_->list_layout().num_blocks;
        memory_->tables.leave_free(memory_->tables_offset + lists, args_->tables_bytes() - lists);
    }
    memory_->tables.upload();
    vkattn::Buffers& buffers = memory_->buffers;
    if (c.shape.kv_len == 0) buffers.k = buffers.v = {};
    if (!options.write_lse) buffers.lse = {};
    if (shared_work != nullptr) buffers.work = shared_work->memory_->buffers.work;
    auto binding = plan_->bind(buffers);
    if (!binding) {
        refuse("bind", binding.status());
        return;
    }
    binding_ = *std::move(binding);
    const vkattn::Status fits = plan_->check(*binding_, *args_);
    CHECK_MESSAGE(fits.ok(), fits.message);
}

Call::~Call() = default;

void Call::refuse(const char* what, const vkattn::Status& status) {
    INFO(std::string(what) << ": " << status.message);
    CHECK_FALSE(status.message.empty());
    CHECK(options_.expect_refusal);
    result_.refused = status;
}

void Call::record(VkCommandBuffer command_buffer, vkattn::Slice slice) {
    start_command_log(std::max(options_.drop_barrier - list_barriers_, -1));
    plan_->record(command_buffer, *binding_, *args_, slice);
    result_.log = sum(result_.log, stop_command_log());
}

void Call::record_block_lists(VkCommandBuffer command_buffer) {
    start_command_log(options_.drop_barrier);
    const vkattn::Status status = plan_->record_block_lists(command_buffer, *binding_, *args_);
    const CommandLog log = stop_command_log();
    list_barriers_ = static_cast<int32_t>(log.barriers);
    result_.log = sum(result_.log, log);
    CHECK_MESSAGE(status.ok(), status.message);
}

vkattn::PaddedBlocks Call::read_lists() const {
    const vkattn::ListLayout at = args_->list_layout();
    vkattn::PaddedBlocks blocks;
    blocks.batch = at.batch;
    blocks.heads = at.heads;
    blocks.rows = at.rows;
    blocks.columns = at.columns;
    const auto counts = static_cast<size_t>(at.batch) * static_cast<size_t>(at.heads) * static_cast<size_t>(at.rows);
    const auto read = [&](uint64_t offset, size_t count) {
        std::vector<int32_t> values(count);
        if (count > 0)
            std::memcpy(values.data(), memory_->tables.buffer.data + memory_->tables_offset + offset, count * 4);
        return values;
    };
    blocks.num_blocks = read(at.num_blocks, counts);
    blocks.indices = read(at.indices, counts * static_cast<size_t>(at.columns));
    blocks.full_num_blocks = read(at.full_num_blocks, counts);
    blocks.full_indices = read(at.full_indices, counts * static_cast<size_t>(at.columns));
    return blocks;
}

RunResult Call::collect() {
    if (options_.drop_barrier >= 0) {
        result_.messages = context_.messages();
        context_.clear_messages();
        return result_;
    }
    if (options_.build_lists) result_.built = read_lists();
    CHECK_MESSAGE(context_.messages().empty(), context_.message_text());
    context_.clear_messages();
    memory_->check_untouched();
    const CommandLog& log = result_.log;
    CHECK(log.own_news == 0);
    CHECK(log.host_allocations == 0);
    CHECK(log.push_constant_bytes <= 128);
    for (uint32_t groups : log.largest_groups) CHECK(groups <= engine_.capabilities().max_workgroups);
    if (case_.shape.q_len == 0) CHECK(log.dispatches == 0);

    result_.o = memory_->o.read(case_.o_type, memory_->at.o, memory_->o_shape);
    if (options_.o)
        for (int32_t b = 0; b < result_.o.batch; b++)
            for (int32_t h = 0; h < result_.o.heads; h++)
                for (int32_t l = 0; l < result_.o.length; l++)
                    for (int32_t d = 0; d < result_.o.width; d++)
                        result_.o.row(b, h, l)[d] =
                            load_element(case_.o_type, options_.o->buffer->data + options_.o->element(b, h, l, d) *
                                                                                      element_bytes(case_.o_type));
    result_.lse.resize(static_cast<size_t>(case_.shape.batch) * static_cast<size_t>(case_.shape.q_heads) *
                       static_cast<size_t>(case_.shape.q_len));
    if (!result_.lse.empty())
        std::memcpy(result_.lse.data(), memory_->lse.buffer.data + memory_->lse_offset, result_.lse.size() * 4);
    return result_;
}

RunResult run(const AttentionCase& c, const Inputs& inputs, const RunOptions& options) {
    VulkanContext& context = options.context != nullptr ? *options.context : VulkanContext::shared();
    INFO(replay_line(c, context));
    context.clear_messages();
    Call call(c, inputs, options);
    if (!call.ran()) return call.collect_refusal();
    VkCommandBuffer cmd = VK_NULL_HANDLE;
    for (uint32_t i = 0; i < c.slices; i++) {
        if (cmd == VK_NULL_HANDLE) {
            cmd = context.begin();
            if (i == 0 && options.build_lists) call.record_block_lists(cmd);
        }
        call.record(cmd, {options.reversed_slices ? c.slices - 1 - i : i, c.slices});
        if (options.separate_submits || i + 1 == c.slices) {
            context.submit_and_wait(cmd);
            cmd = VK_NULL_HANDLE;
        }
    }
    return call.collect();
}

RunResult run_and_check(const AttentionCase& c, const RunOptions& options) {
    const Inputs inputs = make_inputs(c);
    RunResult result = run(c, inputs, options);
    if (result.ran()) check_result(c, inputs, result, options);
    return result;
}

bool same_bits(const RunResult& a, const RunResult& b) {
    const auto same = [](float x, float y) { return std::bit_cast<uint32_t>(x) == std::bit_cast<uint32_t>(y); };
    return a.o.at.size() == b.o.at.size() && a.lse.size() == b.lse.size() &&
           std::equal(a.o.at.begin(), a.o.at.end(), b.o.at.begin(), same) &&
           std::equal(a.lse.begin(), a.lse.end(), b.lse.begin(), same);
}

}  // namespace vkattn_tests
