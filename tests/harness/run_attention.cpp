#include "run_attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include <doctest/doctest.h>

#include "numbers.h"
#include "vkattn/shaderc_compiler.h"

namespace vkattn_tests {
namespace {

using vkattn::BufferRange;
using vkattn::element_bytes;
using vkattn::ElementType;

const vkattn::ShaderCompiler& compiler() {
    static const std::unique_ptr<vkattn::ShaderCompiler> made = vkattn::make_shaderc_compiler();
    REQUIRE(made != nullptr);
    return *made;
}

// Bytes from the start of the buffer to the end of the tensor.
uint64_t end_bytes(const Placement& p, ElementType type, const Values& v) {
    if (v.at.empty()) return static_cast<uint64_t>(p.first) * element_bytes(type);
    const int64_t last = p.first + (v.batch - 1) * p.strides.b + (v.heads - 1) * p.strides.h + (v.length - 1) * p.strides.l + v.width;
    return static_cast<uint64_t>(last) * element_bytes(type);
}

// All of a buffer from the tensor on; the guard before it is inside the descriptor's range because offsets are aligned down.
BufferRange range_of(const GuardedBuffer& guarded, uint64_t offset) {
    return {guarded.buffer.handle, offset, guarded.buffer.size_bytes - offset};
}

BufferRange range_of(const GuardedBuffer& guarded, const Placement& p, ElementType type) {
    return range_of(guarded, static_cast<uint64_t>(p.first) * element_bytes(type));
}

// The buffers of one run.
struct Memory {
    GuardedBuffer q, k, v, o, lse, work, tables;
    bool one_buffer = false;                // q holds k and v as well (packed)
    TensorPlacements at;
    Values o_shape;
    uint64_t lse_offset = guard_bytes, work_offset = 1024, tables_offset = 1024;
    vkattn::Buffers buffers;
};

bool shares_one_buffer(const AttentionCase& c) {
    return c.layout == Layout::packed && c.q_type == c.k_type && c.k_type == c.v_type;
}

void lay_out(Memory& m, VulkanContext& context, const AttentionCase& c, const Inputs& inputs, const vkattn::Problem& problem, uint64_t workspace_bytes) {
    m.at = placements_of(c);
    m.o_shape = Values(c.shape.batch, c.shape.q_heads, c.shape.q_len, c.value_dim);
    m.one_buffer = shares_one_buffer(c);
    const uint64_t q_end = end_bytes(m.at.q, c.q_type, inputs.q), k_end = end_bytes(m.at.k, c.k_type, inputs.k), v_end = end_bytes(m.at.v, c.v_type, inputs.v);
    if (m.one_buffer) {
        m.q = GuardedBuffer(context, (std::max({q_end, k_end, v_end}) + 3) / 4 * 4 + guard_bytes);
        m.q.write(c.q_type, m.at.q, inputs.q);
        m.q.write(c.k_type, m.at.k, inputs.k);
        m.q.write(c.v_type, m.at.v, inputs.v);
        m.q.upload();
        m.buffers.q = range_of(m.q, m.at.q, c.q_type);
        m.buffers.k = range_of(m.q, m.at.k, c.k_type);
        m.buffers.v = range_of(m.q, m.at.v, c.v_type);
    } else {
        const struct { GuardedBuffer& buffer; BufferRange& range; const Placement& at; ElementType type; const Values& values; uint64_t end; } tensors[] = {
            {m.q, m.buffers.q, m.at.q, c.q_type, inputs.q, q_end}, {m.k, m.buffers.k, m.at.k, c.k_type, inputs.k, k_end}, {m.v, m.buffers.v, m.at.v, c.v_type, inputs.v, v_end}};
        for (const auto& t : tensors) {
            t.buffer = GuardedBuffer(context, (t.end + 3) / 4 * 4 + guard_bytes);
            t.buffer.write(t.type, t.at, t.values);
            t.buffer.upload();
            t.range = range_of(t.buffer, t.at, t.type);
        }
    }

    m.o = GuardedBuffer(context, (end_bytes(m.at.o, c.o_type, m.o_shape) + 3) / 4 * 4 + guard_bytes);
    m.o.leave_free(c.o_type, m.at.o, m.o_shape);
    m.o.upload();
    m.buffers.o = range_of(m.o, m.at.o, c.o_type);
    const uint64_t lse_bytes = 4ull * static_cast<uint64_t>(c.shape.batch) * static_cast<uint64_t>(c.shape.q_heads) * static_cast<uint64_t>(c.shape.q_len);
    m.lse = GuardedBuffer(context, m.lse_offset + lse_bytes + guard_bytes);
    m.lse.leave_free(m.lse_offset, lse_bytes);
    m.lse.upload();
    m.buffers.lse = range_of(m.lse, m.lse_offset);
    m.work = GuardedBuffer(context, m.work_offset + workspace_bytes + guard_bytes);
    m.work.leave_free(m.work_offset, workspace_bytes);
    m.work.upload();
    m.buffers.work = range_of(m.work, m.work_offset);
    m.tables = GuardedBuffer(context, m.tables_offset + (problem.max_tables_bytes + 3) / 4 * 4 + guard_bytes);
    m.buffers.tables = range_of(m.tables, m.tables_offset);
}

void check_untouched(const Memory& m) {
    const struct { const GuardedBuffer& buffer; const char* name; } all[] = {{m.q, "q"}, {m.k, "k"}, {m.v, "v"}, {m.o, "o"}, {m.lse, "lse"}, {m.work, "work"}, {m.tables, "tables"}};
    for (const auto& one : all) {
        const std::string damage = one.buffer.damage(one.name);
        CHECK_MESSAGE(damage.empty(), damage);
    }
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

std::unique_ptr<vkattn::Engine> make_engine(VulkanContext& context, const vkattn::LimitOverrides& limits) {
    vkattn::HostDevice host;
    host.instance = context.instance;
    host.physical_device = context.physical_device;
    host.device = context.device;
    host.get_instance_proc_addr = spy_get_instance_proc_addr;
    host.allocator = counting_allocator();
    host.enabled = context.enabled;
    vkattn::EngineOptions options;
    options.compiler = &compiler();
    options.limits = limits;
    auto engine = vkattn::Engine::create(host, options);
    if (!engine) FAIL("Engine::create: " << engine.status().message);
    return *std::move(engine);
}

vkattn::Engine& shared_engine() {
    VulkanContext& context = VulkanContext::shared();       // first: it is destroyed last
    static const std::unique_ptr<vkattn::Engine> engine = make_engine(context);
    return *engine;
}

std::string replay_line(const AttentionCase& c, const VulkanContext& context) {
    const char* wanted = std::getenv("VKATTN_TEST_DEVICE");
    return "replay: VKATTN_TEST_DEVICE=" + std::string(wanted == nullptr ? "lavapipe" : wanted) + " VKATTN_REPLAY='" + to_text(c) +
           "' build/bin/vkattn-test-engine -tc=replay   # " + context.properties.deviceName + ", " + context.driver;
}

RunResult run(const AttentionCase& c, const Inputs& inputs, const RunOptions& options) {
    VulkanContext& context = options.context != nullptr ? *options.context : VulkanContext::shared();
    vkattn::Engine& engine = options.engine != nullptr ? *options.engine : shared_engine();
    INFO(replay_line(c, context));
    context.clear_messages();
    RunResult result;
    const auto refuse = [&](const char* what, const vkattn::Status& status) {
        INFO(what << ": " << status.message);
        CHECK_FALSE(status.message.empty());
        CHECK(options.expect_refusal);
        result.refused = status;
    };

    vkattn::Problem problem = problem_of(c, inputs);
    problem.max_dispatch_ms = options.max_dispatch_ms;
    auto plan = engine.plan(problem);
    if (!plan) return refuse("plan", plan.status()), result;
    result.report = plan->report();
    vkattn::ArgsInfo info = args_of(c, inputs);
    info.write_lse = options.write_lse;
    info.scale = options.scale;
    auto args = plan->make_args(info);
    if (!args) return refuse("make_args", args.status()), result;

    Memory m;
    lay_out(m, context, c, inputs, problem, plan->workspace_bytes());
    std::vector<uint8_t> tables(args->tables_bytes());
    args->write_tables(tables);
    m.tables.write_bytes(m.tables_offset, tables);
    m.tables.upload();
    if (c.shape.kv_len == 0) m.buffers.k = m.buffers.v = {};
    if (!options.write_lse) m.buffers.lse = {};
    // With kv_len 0 and a bound above 0 the plan asks for k and v; the promise of null k and v is about plans for no keys.
    if (c.shape.kv_len == 0 && problem.max_shape.kv_len > 0) {
        problem.max_shape.kv_len = 0;
        plan = engine.plan(problem);
        if (!plan) return refuse("plan", plan.status()), result;
        args = plan->make_args(info);
        if (!args) return refuse("make_args", args.status()), result;
    }
    auto binding = plan->bind(m.buffers);
    if (!binding) return refuse("bind", binding.status()), result;
    const vkattn::Status fits = plan->check(*binding, *args);
    CHECK_MESSAGE(fits.ok(), fits.message);

    VkCommandBuffer cmd = VK_NULL_HANDLE;
    for (uint32_t i = 0; i < c.slices; i++) {
        const uint32_t slice = options.reversed_slices ? c.slices - 1 - i : i;
        if (cmd == VK_NULL_HANDLE) cmd = context.begin();
        start_command_log(options.drop_barrier);
        plan->record(cmd, *binding, *args, {slice, c.slices});
        result.log = sum(result.log, stop_command_log());
        if (options.separate_submits || i + 1 == c.slices) {
            context.submit_and_wait(cmd);
            cmd = VK_NULL_HANDLE;
        }
    }

    if (options.drop_barrier >= 0) {
        result.messages = context.messages();
        context.clear_messages();
        return result;
    }
    CHECK_MESSAGE(context.messages().empty(), context.message_text());
    context.clear_messages();
    check_untouched(m);
    CHECK(result.log.own_news == 0);
    CHECK(result.log.host_allocations == 0);
    CHECK(result.log.push_constant_bytes <= 128);
    for (uint32_t groups : result.log.largest_groups) CHECK(groups <= std::max(1u, engine.capabilities().max_workgroups));
    if (c.shape.q_len == 0) CHECK(result.log.dispatches == 0);

    result.o = m.o.read(c.o_type, m.at.o, m.o_shape);
    result.lse.resize(static_cast<size_t>(c.shape.batch) * static_cast<size_t>(c.shape.q_heads) * static_cast<size_t>(c.shape.q_len));
    if (!result.lse.empty()) std::memcpy(result.lse.data(), m.lse.buffer.data + m.lse_offset, result.lse.size() * 4);
    return result;
}

RunResult run_and_check(const AttentionCase& c, const RunOptions& options) {
    const Inputs inputs = make_inputs(c);
    RunResult result = run(c, inputs, options);
    if (result.ran()) check_result(c, inputs, result, options);
    return result;
}

bool same_bits(const RunResult& a, const RunResult& b) {
    return a.o.at.size() == b.o.at.size() && a.lse.size() == b.lse.size() &&
           std::memcmp(a.o.at.data(), b.o.at.data(), a.o.at.size() * 4) == 0 && std::memcmp(a.lse.data(), b.lse.data(), a.lse.size() * 4) == 0;
}

}  // namespace vkattn_tests
