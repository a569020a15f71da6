#include "recorder.h"

#include <algorithm>

namespace vkattn {
namespace {

// Tiles are one flat axis: ((b * q_heads + h) / heads_per_tile * q_tiles + tile). A window is a stretch of (b, h) whose tensors are
// reached through one set of dynamic offsets; plans with several heads a tile use addresses and have one window.
struct Window {
    uint64_t first_head = 0, end_head = 0;   // flat b * q_heads + h
    std::array<uint32_t, 4> offset_bytes{};  // dynamic offsets of q, k, v, o
    std::array<uint32_t, 4> shift_elems{};   // the same in elements
};

class Recorder {
  public:
    Recorder(const PlanImpl& plan, VkCommandBuffer command_buffer, const BindingImpl& binding, const ArgsImpl& args,
             const RecordFaults& faults)
        : plan_(plan),
          f_(plan.engine->functions),
          cmd_(command_buffer),
          binding_(binding),
          args_(args),
          faults_(faults) {}

    void record(Slice slice) {
        const AttentionParams& params = args_.params;
        const uint64_t heads =
            static_cast<uint64_t>(params.batch) * static_cast<uint64_t>(params.q_heads) / plan_.heads_per_tile;
        const uint64_t tiles = heads * params.q_tiles;
        const uint64_t begin = tiles * slice.index / slice.count;
        const uint64_t end = tiles * (slice.index + 1) / slice.count;
        if (begin == end) return;

        begin_label(plan_.variant.module.kernel.c_str());
        write_params();
        if (plan_.widen_pipeline != VK_NULL_HANDLE && params.kv_len > 0)
            widen(begin / params.q_tiles * plan_.heads_per_tile, (end - 1) / params.q_tiles * plan_.heads_per_tile);
        f_.vkCmdBindPipeline(cmd_, VK_PIPELINE_BIND_POINT_COMPUTE, plan_.pipeline);
        for (uint64_t head = begin / params.q_tiles; head * params.q_tiles < end;) {
            const Window window = window_from(head, heads);
            const uint64_t window_begin = std::max(begin, window.first_head * params.q_tiles);
            const uint64_t window_end = std::min(end, window.end_head * params.q_tiles);
            record_window(window, window_begin, window_end);
            head = window.end_head;
        }
        end_label();
    }

    void record_lists() {
        const AttentionParams& params = args_.params;
        const uint64_t rows = uint64_t{params.list_planes} * params.list_rows;
        if (rows == 0) return;
        begin_label("block lists");
        write_params();
        if (plan_.problem.addressing == Addressing::binding) bind_set(binding_.set, {});
        f_.vkCmdBindPipeline(cmd_, VK_PIPELINE_BIND_POINT_COMPUTE, plan_.classify_pipeline);
        dispatch_range(0, rows * params.list_columns, blocks_per_dispatch(plan_), 1);
        barrier(barrier_classified, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, VK_ACCESS_SHADER_WRITE_BIT,
                VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT);
        dispatched_ = false;
        f_.vkCmdBindPipeline(cmd_, VK_PIPELINE_BIND_POINT_COMPUTE, plan_.compact_pipeline);
        dispatch_range(0, rows, uint64_t{plan_.engine->capabilities.max_workgroups} * plan_.compact_rows,
                       plan_.compact_rows);
        // What follows needs no barrier of its own: record() begins with two, and they wait for these writes, too.
        end_label();
    }

  private:
    void barrier(InternalBarrier kind, VkPipelineStageFlags from, VkAccessFlags written, VkPipelineStageFlags to,
                 VkAccessFlags wanted) {
        if (faults_.drop_barrier == kind) return;
        VkMemoryBarrier memory{};
        memory.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER;
        memory.srcAccessMask = written;
        memory.dstAccessMask = wanted;
        f_.vkCmdPipelineBarrier(cmd_, from, to, 0, 1, &memory, 0, nullptr, 0, nullptr);
    }

    void write_params() {
        AttentionParams params = args_.params;
        TensorLayout* layouts[] = {&params.q,   &params.k,    &params.v,     &params.o,
                                   &params.lse, &params.work, &params.tables};
        for (uint32_t i = 0; i < 7; i++) {
            const uint64_t address = binding_.address[i];
            layouts[i]->address = {static_cast<uint32_t>(address), static_cast<uint32_t>(address >> 32)};
            layouts[i]->base = binding_.base_elems[i];
        }
        TensorLayout* sources[] = {&params.k_source, &params.v_source};
        for (uint32_t i = 0; i < 2; i++) {
            sources[i]->address = {static_cast<uint32_t>(binding_.source_address[i]),
                                   static_cast<uint32_t>(binding_.source_address[i] >> 32)};
            sources[i]->base = binding_.source_base_elems[i];
        }
        barrier(barrier_workspace_reuse, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT,
                VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
                VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT,
                VK_ACCESS_TRANSFER_WRITE_BIT | VK_ACCESS_SHADER_WRITE_BIT);
        f_.vkCmdUpdateBuffer(cmd_, binding_.buffers.work.buffer, binding_.buffers.work.offset, sizeof params, &params);
        barrier(barrier_params, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_ACCESS_TRANSFER_WRITE_BIT,
                VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, VK_ACCESS_SHADER_READ_BIT);
    }

    // Heads of k and v that queries of the flat heads [first, last] read, and no others: slices share the work.
    void widen(uint64_t first, uint64_t last) {
        const AttentionParams& params = args_.params;
        auto kv_head = [&](uint64_t head) {
            const uint64_t q_heads = static_cast<uint64_t>(params.q_heads);
            return head / q_heads * static_cast<uint64_t>(params.kv_heads) +
                   head % q_heads / static_cast<uint64_t>(params.group);
        };
        f_.vkCmdBindPipeline(cmd_, VK_PIPELINE_BIND_POINT_COMPUTE, plan_.widen_pipeline);
        if (plan_.problem.addressing == Addressing::binding) bind_set(binding_.widen_set, {});
        const uint64_t kv_len = static_cast<uint64_t>(params.kv_len);
        dispatch_range(kv_head(first) * kv_len, (kv_head(last) + 1) * kv_len, widen_rows_per_dispatch(plan_),
                       plan_.widen_rows);
        barrier(barrier_widened, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, VK_ACCESS_SHADER_WRITE_BIT,
                VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, VK_ACCESS_SHADER_READ_BIT);
        dispatched_ = false;  // barrier_widened orders the next one
    }

    void bind_set(VkDescriptorSet set, const std::array<uint32_t, 4>& offset_bytes) {
        f_.vkCmdBindDescriptorSets(cmd_, VK_PIPELINE_BIND_POINT_COMPUTE, plan_.engine->pipeline_layout, 0, 1, &set, 4,
                                   offset_bytes.data());
    }

    // Items [begin, end), `step` at most in a dispatch and `group` in a workgroup.
    void dispatch_range(uint64_t begin, uint64_t end, uint64_t step, uint64_t group) {
        for (uint64_t item = begin; item < end; item += step) {
            AttentionPush push{};
            push.tile_base = static_cast<uint32_t>(item);
            dispatch(push, (std::min(step, end - item) + group - 1) / group);
        }
    }

    void dispatch(AttentionPush push, uint64_t groups) {
        if (dispatched_)
            barrier(barrier_between_dispatches, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, VK_ACCESS_SHADER_WRITE_BIT,
                    VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_SHADER_READ_BIT);
        const uint64_t params_address = binding_.address[binding_params];
        push.params_address = {static_cast<uint32_t>(params_address), static_cast<uint32_t>(params_address >> 32)};
        f_.vkCmdPushConstants(cmd_, plan_.engine->pipeline_layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof push, &push);
        f_.vkCmdDispatch(cmd_, static_cast<uint32_t>(groups), 1, 1);
        dispatched_ = true;
    }

    // Elements from the start of tensor i to head `head` of batch entry b.
    uint64_t head_start(size_t i, uint64_t b, uint64_t h) const {
        const Strides& s = args_.strides[i];
        const uint64_t tensor_head = i == 1 || i == 2 ? h / static_cast<uint64_t>(args_.params.group) : h;
        return b * static_cast<uint64_t>(s.b) + tensor_head * static_cast<uint64_t>(s.h);
    }

    uint64_t head_span(size_t i) const {
        const Problem& problem = plan_.problem;
        const uint64_t length = static_cast<uint64_t>(i == 0 || i == 3 ? args_.params.q_len : args_.params.kv_len);
        if (length == 0) return 0;
        return (length - 1) * static_cast<uint64_t>(args_.strides[i].l) +
               static_cast<uint64_t>(i < 2 ? problem.head_dim : problem.value_dim);
    }

    uint64_t bytes_of(size_t i) const {
        const Problem& p = plan_.problem;
        if ((i == 1 || i == 2) && plan_.widen_pipeline != VK_NULL_HANDLE) return element_bytes(ElementType::f32);
        return element_bytes(i == 0 ? p.q_type : i == 1 ? p.k_type : i == 2 ? p.v_type : p.o_type);
    }

    Window window_from(uint64_t head, uint64_t heads) const {
        Window window;
        window.first_head = head;
        window.end_head = heads;
        if (plan_.problem.addressing == Addressing::address) return window;
        bool all_fit = true;
        for (size_t i = 0; i < 4; i++) all_fit = all_fit && binding_.range_bytes[i] == binding_.total_bytes[i];
        if (all_fit) return window;

        // Within one batch entry, as many heads as every tensor's range holds.
        const uint64_t q_heads = static_cast<uint64_t>(args_.params.q_heads);
        const uint64_t b = head / q_heads;
        const uint64_t first = head % q_heads;
        const uint64_t align = window_alignment(plan_.engine->capabilities);
        std::array<uint64_t, 4> offset{};
        for (size_t i = 0; i < 4; i++) {
            const uint64_t start = (head_start(i, b, first) + binding_.base_elems[i]) * bytes_of(i);
            offset[i] = std::min(start / align * align, binding_.total_bytes[i] - binding_.range_bytes[i]);
        }
        uint64_t last = first;
        for (; last + 1 < q_heads; last++) {
            bool fits = true;
            for (size_t i = 0; i < 4; i++) {
                const uint64_t end = (head_start(i, b, last + 1) + head_span(i) + binding_.base_elems[i]) * bytes_of(i);
                fits = fits && end <= offset[i] + binding_.range_bytes[i];
            }
            if (!fits) break;
        }
        window.end_head = b * q_heads + last + 1;
        for (size_t i = 0; i < 4; i++) {
            window.offset_bytes[i] = static_cast<uint32_t>(offset[i]);
            window.shift_elems[i] = static_cast<uint32_t>(offset[i] / bytes_of(i));
        }
        return window;
    }

    void record_window(const Window& window, uint64_t begin, uint64_t end) {
        if (plan_.problem.addressing == Addressing::binding) bind_set(binding_.set, window.offset_bytes);
        const uint64_t step = tiles_per_dispatch(plan_, args_.params.kv_len);
        for (uint64_t tile = begin; tile < end; tile += step) {
            AttentionPush push{};
            push.tile_base = static_cast<uint32_t>(tile);
            push.shift_q = window.shift_elems[0];
            push.shift_k = window.shift_elems[1];
            push.shift_v = window.shift_elems[2];
            push.shift_o = window.shift_elems[3];
            dispatch(push, std::min(step, end - tile));
        }
    }

    void begin_label(const char* name) {
        if (!plan_.engine->capabilities.features.debug_utils || f_.vkCmdBeginDebugUtilsLabelEXT == nullptr) return;
        VkDebugUtilsLabelEXT label{};
        label.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_LABEL_EXT;
        label.pLabelName = name;
        f_.vkCmdBeginDebugUtilsLabelEXT(cmd_, &label);
    }

    void end_label() {
        if (!plan_.engine->capabilities.features.debug_utils || f_.vkCmdEndDebugUtilsLabelEXT == nullptr) return;
        f_.vkCmdEndDebugUtilsLabelEXT(cmd_);
    }

  public:
    // So many tiles that a dense row of tiles stays under the time cap, and within the device's groups per axis.
    static uint64_t tiles_per_dispatch(const PlanImpl& plan, int32_t kv_len) {
        const Problem& p = plan.problem;
        const double tile_ms = 2.0 * (p.head_dim + p.value_dim) * plan.report.tile_q * plan.heads_per_tile *
                               std::max(kv_len, 1) / plan.gflops_estimate * 1e-6;
        const double fit =
            std::clamp(p.max_dispatch_ms / tile_ms, 1.0, static_cast<double>(plan.engine->capabilities.max_workgroups));
        return static_cast<uint64_t>(fit);
    }

    // The same for blocks that are classified. A pair counts as 64 operations of attention: a guess on the safe side, on which
    // nothing but the size of dispatches depends.
    static uint64_t blocks_per_dispatch(const PlanImpl& plan) {
        const Problem& p = plan.problem;
        const double block_ms = 64.0 * p.block_q * p.block_kv / plan.gflops_estimate * 1e-6;
        return static_cast<uint64_t>(std::clamp(p.max_dispatch_ms / block_ms, 1.0,
                                                static_cast<double>(plan.engine->capabilities.max_workgroups)));
    }

    // The same for rows of k and v, an element as 64 operations.
    static uint64_t widen_rows_per_dispatch(const PlanImpl& plan) {
        const Problem& p = plan.problem;
        const double group_ms = 64.0 * (p.head_dim + p.value_dim) * plan.widen_rows / plan.gflops_estimate * 1e-6;
        const double fit = std::clamp(p.max_dispatch_ms / group_ms, 1.0,
                                      static_cast<double>(plan.engine->capabilities.max_workgroups));
        return static_cast<uint64_t>(fit) * plan.widen_rows;
    }

  private:
    const PlanImpl& plan_;
    const DeviceFunctions& f_;
    VkCommandBuffer cmd_;
    const BindingImpl& binding_;
    const ArgsImpl& args_;
    const RecordFaults& faults_;
    bool dispatched_ = false;
};

}  // namespace

void record_with_faults(const PlanImpl& plan, VkCommandBuffer command_buffer, const BindingImpl& binding,
                        const ArgsImpl& args, Slice slice, const RecordFaults& faults) {
    Recorder(plan, command_buffer, binding, args, faults).record(slice);
}

void record_lists_with_faults(const PlanImpl& plan, VkCommandBuffer command_buffer, const BindingImpl& binding,
                              const ArgsImpl& args, const RecordFaults& faults) {
    Recorder(plan, command_buffer, binding, args, faults).record_lists();
}

uint32_t count_dispatches(const PlanImpl& plan, const Shape& shape) {
    const uint64_t tile_q = static_cast<uint64_t>(plan.report.tile_q);
    const uint64_t tiles = (static_cast<uint64_t>(shape.q_len) + tile_q - 1) / tile_q *
                           static_cast<uint64_t>(shape.batch) * static_cast<uint64_t>(shape.q_heads) /
                           plan.heads_per_tile;
    const uint64_t step = Recorder::tiles_per_dispatch(plan, shape.kv_len);
    uint64_t dispatches = (tiles + step - 1) / step;
    if (plan.widen_pipeline != VK_NULL_HANDLE && tiles > 0) {
        const uint64_t rows = static_cast<uint64_t>(shape.batch) * static_cast<uint64_t>(shape.kv_heads) *
                              static_cast<uint64_t>(shape.kv_len);
        const uint64_t widen_step = Recorder::widen_rows_per_dispatch(plan);
        dispatches += (rows + widen_step - 1) / widen_step;
    }
    return static_cast<uint32_t>(dispatches);
}

}  // namespace vkattn
