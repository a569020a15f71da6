#include "run_attention.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>

#include <doctest/doctest.h>

#include "call_memory.h"
#include "numbers.h"

#ifdef VKATTN_TEST_WITH_COMPILER
#include "vkattn/shaderc_compiler.h"
#endif

namespace vkattn_tests {
namespace {

using vkattn::element_bytes;

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

Inputs make_inputs(const AttentionCase& c) {
    auto inputs = inputs_for(c);
    if (!inputs) FAIL(inputs.status().message);
    return *std::move(inputs);
}

AttentionCase parse_case(std::string_view text) {
    auto read = read_case(text);
    if (!read) FAIL(read.status().message);
    return *read;
}

const MaskEntry& mask_entry(std::string_view name) {
    const MaskEntry* entry = find_mask(name);
    if (entry == nullptr) FAIL("the catalogue has no '" << std::string(name) << "'");
    return *entry;
}

std::string replay_line(const AttentionCase& c, const VulkanContext& context) {
    const char* wanted = std::getenv("VKATTN_TEST_DEVICE");
    return "replay: VKATTN_TEST_DEVICE=" + std::string(wanted == nullptr ? "lavapipe" : wanted) + " VKATTN_REPLAY='" +
           to_text(c) + "' build/bin/vkattn-test-engine -tc=replay   # " + context.properties.deviceName + ", " +
           context.driver;
}

// The call's buffers on the device.
struct Call::Memory {
    Memory(const AttentionCase& c, const Inputs& inputs, uint64_t tables_bytes, uint64_t workspace_bytes)
        : host(c, inputs, tables_bytes, workspace_bytes) {}
    void upload(VulkanContext& context) {
        std::array<VkBuffer, n_rooms> handles{};
        for (size_t i = 0; i < n_rooms; i++) {
            const std::span<const uint8_t> bytes = host.room(i).bytes();
            if (bytes.empty()) continue;
            device[i] = DeviceBuffer(context, bytes.size());
            std::copy(bytes.begin(), bytes.end(), device[i].data);
            handles[i] = device[i].handle;
        }
        buffers = host.ranges(handles);
    }

    CallMemory host;
    std::array<DeviceBuffer, n_rooms> device;
    vkattn::Buffers buffers;
};

Call::Call(const AttentionCase& c, const Inputs& inputs, const RunOptions& options, Call* shared_work)
    : case_(c),
      options_(options),
      context_(options.context != nullptr ? *options.context : VulkanContext::shared()),
      engine_(options.engine != nullptr ? *options.engine : shared_engine()) {
    vkattn::Problem problem = problem_of(c, inputs);
    problem.max_dispatch_ms = options.max_dispatch_ms;
    problem.sizes = options.sizes;
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

    memory_ = std::make_unique<Memory>(c, inputs, problem.max_tables_bytes, plan_->workspace_bytes());
    std::vector<uint8_t> tables(args_->tables_bytes());
    args_->write_tables(tables);
    if (options.tables_on_device != nullptr)
        for (const auto& [name, table] : options.tables_on_device->tables)
            for (uint64_t offset : args_->table_offsets(name))
                std::memcpy(tables.data() + offset, table->i32.data(), table->i32.size() * 4);
    if (options.tile_order_on_device != nullptr) {  // it is the last that make_args places
        const std::vector<uint32_t>& order = *options.tile_order_on_device;
        REQUIRE(tables.size() >= order.size() * sizeof(uint32_t));
        std::memcpy(tables.data() + tables.size() - order.size() * sizeof(uint32_t), order.data(),
                    order.size() * sizeof(uint32_t));
    }
    memory_->host.write_tables(tables, options.build_lists ? args_->list_layout().num_blocks : UINT64_MAX);
    memory_->upload(context_);
    vkattn::Buffers& buffers = memory_->buffers;
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

RunResult Call::collect() {
    if (options_.drop_barrier >= 0) {
        result_.messages = context_.messages();
        context_.clear_messages();
        return result_;
    }
    if (options_.build_lists)
        result_.built = memory_->host.read_lists(args_->list_layout(), memory_->device[room_tables].data);
    CHECK_MESSAGE(context_.messages().empty(), context_.message_text());
    context_.clear_messages();
    for (size_t i = 0; i < n_rooms; i++) {
        const std::string damage = memory_->host.room(i).damage(room_names[i], memory_->device[i].data);
        CHECK_MESSAGE(damage.empty(), damage);
    }
    const CommandLog& log = result_.log;
    CHECK(log.own_news == 0);
    CHECK(log.host_allocations == 0);
    CHECK(log.push_constant_bytes <= 128);
    for (uint32_t groups : log.largest_groups) CHECK(groups <= engine_.capabilities().max_workgroups);
    if (case_.shape.q_len == 0) CHECK(log.dispatches == 0);

    result_.o = memory_->host.read_o(memory_->device[room_o].data);
    if (options_.o)
        for (int32_t b = 0; b < result_.o.batch; b++)
            for (int32_t h = 0; h < result_.o.heads; h++)
                for (int32_t l = 0; l < result_.o.length; l++)
                    for (int32_t d = 0; d < result_.o.width; d++)
                        result_.o.row(b, h, l)[d] =
                            load_element(case_.o_type, options_.o->buffer->data + options_.o->element(b, h, l, d) *
                                                                                      element_bytes(case_.o_type));
    result_.lse = memory_->host.read_lse(memory_->device[room_lse].data);
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

void check_result(const AttentionCase& c, const Inputs& inputs, const RunResult& result, const RunOptions& options) {
    if (!result.ran()) return;  // run() has said so
    const VulkanContext& context = options.context != nullptr ? *options.context : VulkanContext::shared();
    INFO(replay_line(c, context));
    INFO("plan: " << result.report.skeleton << " " << result.report.schedule << " " << result.report.addressing
                  << ", tile " << result.report.tile_q << " x " << result.report.tile_kv);
    const Verdict verdict = Judge(c, inputs, options.scale)(result.o, options.write_lse ? &result.lse : nullptr,
                                                            result.report.path != "scalar");
    if (!verdict.ok()) FAIL_CHECK(verdict.wrong);
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
