#include "recorder.h"

#include <algorithm>

namespace vkattn {
namespace {

// Tiles are one flat axis: ((b * kv_heads + kv_head) * head_tiles + head_tile) * q_tiles + q_tile (tile_rows.glsl), each with
// `parts` workgroups. A window is a stretch of head tiles whose tensors are reached through one set of dynamic offsets.
struct Window {
    uint64_t first = 0, end = 0;             // flat head tiles
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
        const uint64_t tiles = head_tiles() * params.q_tiles;
        const uint64_t begin = tiles * slice.index / slice.count;
        const uint64_t end = tiles * (slice.index + 1) / slice.count;
        if (begin == end) return;

        write_params();
        if (plan_.widen_pipeline != VK_NULL_HANDLE && params.kv_len > 0)
            widen(first_head(begin / params.q_tiles), first_head((end - 1) / params.q_tiles));
        begin_kernel(plan_.variant.module.kernel.c_str(), plan_.pipeline);
        const uint64_t step = workgroups_per_dispatch(plan_, params.kv_len);
        for_each_window(begin, end, [&](const Window& window, uint64_t first, uint64_t last) {
            dispatch_range(window, first * plan_.parts, last * plan_.parts, step, 1);
        });
        end_kernel();
        if (plan_.merge_pipeline != VK_NULL_HANDLE) merge(begin, end);
    }

    void record_lists() {
        const AttentionParams& params = args_.params;
        const uint64_t rows = uint64_t{params.list_planes} * params.list_rows;
        if (rows == 0) return;
        write_params();
        if (plan_.problem.addressing == Addressing::binding) bind_set(binding_.set, {});
        begin_kernel("classify_blocks", plan_.classify_pipeline);
        dispatch_range({}, 0, rows * params.list_columns, blocks_per_dispatch(plan_), 1);
        end_kernel();
        barrier(barrier_classified, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, VK_ACCESS_SHADER_WRITE_BIT,
                VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT);
        dispatched_ = false;
        begin_kernel("compact_blocks", plan_.compact_pipeline);
        dispatch_range({}, 0, rows, uint64_t{plan_.engine->capabilities.max_workgroups} * plan_.compact_rows,
                       plan_.compact_rows);
        end_kernel();
        // What follows needs no barrier of its own: record() begins with two, and they wait for these writes, too.
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
        begin_kernel("widen", plan_.widen_pipeline);
        if (plan_.problem.addressing == Addressing::binding) bind_set(binding_.widen_set, {});
        const uint64_t kv_len = static_cast<uint64_t>(params.kv_len);
        dispatch_range({}, kv_head(first) * kv_len, (kv_head(last) + 1) * kv_len, widen_rows_per_dispatch(plan_),
                       plan_.widen_rows);
        end_kernel();
        barrier(barrier_widened, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, VK_ACCESS_SHADER_WRITE_BIT,
                VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, VK_ACCESS_SHADER_READ_BIT);
        dispatched_ = false;  // barrier_widened orders the next one
    }

    void bind_set(VkDescriptorSet set, const std::array<uint32_t, 4>& offset_bytes) {
        f_.vkCmdBindDescriptorSets(cmd_, VK_PIPELINE_BIND_POINT_COMPUTE, plan_.engine->pipeline_layout, 0, 1, &set, 4,
                                   offset_bytes.data());
    }

    // o of the tiles [begin, end) from their partials.
    void merge(uint64_t begin, uint64_t end) {
        // Writes, too: attention's module can write o and lse, whether or not this pipeline does.
        barrier(barrier_partials, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, VK_ACCESS_SHADER_WRITE_BIT,
                VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT);
        dispatched_ = false;  // barrier_partials orders the next one
        begin_kernel("merge_splits", plan_.merge_pipeline);
        const uint64_t items = merge_items_of_tile(plan_), step = merge_items_per_dispatch(plan_);
        for_each_window(begin, end, [&](const Window& window, uint64_t first, uint64_t last) {
            dispatch_range(window, first * items, last * items, step, plan_.merge_items);
        });
        end_kernel();
    }

    // Calls visit(window, first tile, end of tiles) for the windows of the tiles [begin, end), their descriptors bound.
    template <class Visit>
    void for_each_window(uint64_t begin, uint64_t end, const Visit& visit) {
        const uint64_t q_tiles = args_.params.q_tiles, all = head_tiles();
        for (uint64_t head_tile = begin / q_tiles; head_tile * q_tiles < end;) {
            const Window window = window_from(head_tile, all);
            if (plan_.problem.addressing == Addressing::binding) bind_set(binding_.set, window.offset_bytes);
            visit(window, std::max(begin, window.first * q_tiles), std::min(end, window.end * q_tiles));
            head_tile = window.end;
        }
    }

    // Items [begin, end), `step` at most in a dispatch and `group` in a workgroup.
    void dispatch_range(const Window& window, uint64_t begin, uint64_t end, uint64_t step, uint64_t group) {
        for (uint64_t item = begin; item < end; item += step) {
            AttentionPush push{};
            push.tile_base = static_cast<uint32_t>(item);
            push.item_end = static_cast<uint32_t>(std::min(end, item + step));
            push.shift_q = window.shift_elems[0];
            push.shift_k = window.shift_elems[1];
            push.shift_v = window.shift_elems[2];
            push.shift_o = window.shift_elems[3];
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

    // Head tiles of the call, and the flat head (b * q_heads + h) that one begins with.
    uint64_t head_tiles_of_kv_head() const {
        return (static_cast<uint64_t>(args_.params.group) + plan_.heads_per_tile - 1) / plan_.heads_per_tile;
    }
    uint64_t head_tiles() const {
        return static_cast<uint64_t>(args_.params.batch) * static_cast<uint64_t>(args_.params.kv_heads) *
               head_tiles_of_kv_head();
    }
    uint64_t first_head(uint64_t head_tile) const {
        return head_tile / head_tiles_of_kv_head() * static_cast<uint64_t>(args_.params.group) +
               head_tile % head_tiles_of_kv_head() * plan_.heads_per_tile;
    }

    Window window_from(uint64_t head_tile, uint64_t all) const {
        Window window;
        window.first = head_tile;
        window.end = all;
        if (plan_.problem.addressing == Addressing::address) return window;
        bool all_fit = true;
        for (size_t i = 0; i < 4; i++) all_fit = all_fit && binding_.range_bytes[i] == binding_.total_bytes[i];
        if (all_fit) return window;

        // Within one batch entry, as many head tiles as every tensor's range holds.
        const uint64_t q_heads = static_cast<uint64_t>(args_.params.q_heads);
        const uint64_t b = first_head(head_tile) / q_heads;
        const uint64_t align = window_alignment(plan_.engine->capabilities);
        std::array<uint64_t, 4> offset{};
        for (size_t i = 0; i < 4; i++) {
            const uint64_t start =
                (head_start(i, b, first_head(head_tile) % q_heads) + binding_.base_elems[i]) * bytes_of(i);
            offset[i] = std::min(start / align * align, binding_.total_bytes[i] - binding_.range_bytes[i]);
        }
        const uint64_t entry_end = (b + 1) * static_cast<uint64_t>(args_.params.kv_heads) * head_tiles_of_kv_head();
        window.end = head_tile + 1;
        for (; window.end < entry_end; window.end++) {
            const uint64_t group = static_cast<uint64_t>(args_.params.group), h = first_head(window.end) % q_heads;
            const uint64_t last = std::min(h + plan_.heads_per_tile, (h / group + 1) * group) - 1;
            bool fits = true;
            for (size_t i = 0; i < 4; i++) {
                const uint64_t end = (head_start(i, b, last) + head_span(i) + binding_.base_elems[i]) * bytes_of(i);
                fits = fits && end <= offset[i] + binding_.range_bytes[i];
            }
            if (!fits) break;
        }
        for (size_t i = 0; i < 4; i++) {
            window.offset_bytes[i] = static_cast<uint32_t>(offset[i]);
            window.shift_elems[i] = static_cast<uint32_t>(offset[i] / bytes_of(i));
        }
        return window;
    }

    bool has_labels() const {
        return plan_.engine->capabilities.features.debug_utils && f_.vkCmdBeginDebugUtilsLabelEXT != nullptr &&
               f_.vkCmdEndDebugUtilsLabelEXT != nullptr;
    }

    // Binds a pipeline; its dispatches, up to end_kernel(), stand under the kernel's name in captures and profiles.
    void begin_kernel(const char* name, VkPipeline pipeline) {
        if (has_labels()) {
            VkDebugUtilsLabelEXT label{};
            label.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_LABEL_EXT;
            label.pLabelName = name;
            f_.vkCmdBeginDebugUtilsLabelEXT(cmd_, &label);
        }
        f_.vkCmdBindPipeline(cmd_, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    }

    void end_kernel() {
        if (has_labels()) f_.vkCmdEndDebugUtilsLabelEXT(cmd_);
    }

  public:
    // So many workgroups that their share of dense tiles stays under the time cap, and within the device's groups per axis.
    static uint64_t workgroups_per_dispatch(const PlanImpl& plan, int32_t kv_len) {
        const Problem& p = plan.problem;
        const double tile_ms =
            2.0 * (p.head_dim + p.value_dim) * plan.tile_rows * std::max(kv_len, 1) / plan.gflops_estimate * 1e-6;
        const double fit = std::clamp(p.max_dispatch_ms * plan.parts / tile_ms, 1.0,
                                      static_cast<double>(plan.engine->capabilities.max_workgroups));
        return static_cast<uint64_t>(fit);
    }

    static uint64_t merge_items_of_tile(const PlanImpl& plan) {
        return uint64_t{plan.tile_rows} * static_cast<uint64_t>((plan.problem.value_dim + 3) / 4);
    }

    // The same for groups of o, which take 32 operations a split.
    static uint64_t merge_items_per_dispatch(const PlanImpl& plan) {
        const double group_ms = 32.0 * plan.report.splits * plan.merge_items / plan.gflops_estimate * 1e-6;
        const double fit = std::clamp(plan.problem.max_dispatch_ms / group_ms, 1.0,
                                      static_cast<double>(plan.engine->capabilities.max_workgroups));
        return static_cast<uint64_t>(fit) * plan.merge_items;
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
    const uint64_t head_rows = plan.tile_rows / plan.heads_per_tile;
    const uint64_t group = static_cast<uint64_t>(shape.q_heads / shape.kv_heads);
    const uint64_t tiles = (static_cast<uint64_t>(shape.q_len) + head_rows - 1) / head_rows *
                           static_cast<uint64_t>(shape.batch) * static_cast<uint64_t>(shape.kv_heads) *
                           ((group + plan.heads_per_tile - 1) / plan.heads_per_tile);
    auto steps = [](uint64_t items, uint64_t step) { return (items + step - 1) / step; };
    uint64_t dispatches = steps(tiles * plan.parts, Recorder::workgroups_per_dispatch(plan, shape.kv_len));
    if (plan.widen_pipeline != VK_NULL_HANDLE && tiles > 0) {
        const uint64_t rows = static_cast<uint64_t>(shape.batch) * static_cast<uint64_t>(shape.kv_heads) *
                              static_cast<uint64_t>(shape.kv_len);
        dispatches += steps(rows, Recorder::widen_rows_per_dispatch(plan));
    }
    if (plan.merge_pipeline != VK_NULL_HANDLE)
        dispatches += steps(tiles * Recorder::merge_items_of_tile(plan), Recorder::merge_items_per_dispatch(plan));
    return static_cast<uint32_t>(dispatches);
}

}  // namespace vkattn
