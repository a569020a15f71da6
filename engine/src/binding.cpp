// bind: the one descriptor set, or the addresses, of a plan's buffers.
#include <algorithm>

#include "engine_impl.h"

namespace vkattn {
namespace {

struct Slot {
    const char* name;
    BindingSlot slot;
    const BufferRange* range;
    uint32_t element_bytes;
    bool vec4;  // offsets are multiples of four elements
};

std::vector<Slot> slots_of(const Problem& problem, const Buffers& buffers) {
    return {
        {"q", binding_q, &buffers.q, element_bytes(problem.q_type), problem.q_aligned},
        {"k", binding_k, &buffers.k, element_bytes(problem.k_type), problem.k_aligned},
        {"v", binding_v, &buffers.v, element_bytes(problem.v_type), problem.v_aligned},
        {"o", binding_o, &buffers.o, element_bytes(problem.o_type), problem.o_aligned},
        {"lse", binding_lse, &buffers.lse, 4, false},
        {"work", binding_work, &buffers.work, 4, false},
        {"tables", binding_tables, &buffers.tables, 4, false},
    };
}

Status check_offset(const Slot& slot) {
    const uint64_t unit = slot.vec4 ? 4u * slot.element_bytes : slot.element_bytes;
    if (slot.range->offset % unit == 0) return {};
    return error(
        Code::invalid_argument,
        std::string("the offset of ") + slot.name + " is " + std::to_string(slot.range->offset) +
            " bytes, not a multiple of " + std::to_string(unit) +
            (slot.vec4 ? std::string(" (four elements); set Problem::") + slot.name + "_aligned = false" : ""));
}

// Bytes from the range's offset to its end; for VK_WHOLE_SIZE what the buffer can hold at most.
uint64_t range_end(const EngineImpl& engine, const BufferRange& range) {
    VkMemoryRequirements needed{};
    engine.functions.vkGetBufferMemoryRequirements(engine.host.device, range.buffer, &needed);
    return range.size == VK_WHOLE_SIZE ? needed.size : range.offset + range.size;
}

Status check_range(const EngineImpl& engine, const Slot& slot) {
    const BufferRange& range = *slot.range;
    if (range.buffer == VK_NULL_HANDLE) return {};
    VkMemoryRequirements needed{};
    engine.functions.vkGetBufferMemoryRequirements(engine.host.device, range.buffer, &needed);
    const bool inside = range.offset < needed.size &&
                        (range.size == VK_WHOLE_SIZE || (range.size > 0 && range.size <= needed.size - range.offset));
    if (inside) return {};
    return error(Code::invalid_argument, std::string("the range of ") + slot.name + " (offset " +
                                             std::to_string(range.offset) + ") is empty or leaves its buffer of " +
                                             std::to_string(needed.size) + " bytes");
}

Status bind_addresses(const EngineImpl& engine, BindingImpl& binding, const std::vector<Slot>& slots) {
    for (const Slot& slot : slots) {
        if (slot.range->buffer == VK_NULL_HANDLE) continue;
        VkBufferDeviceAddressInfo info{};
        info.sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO;
        info.buffer = slot.range->buffer;
        const VkDeviceAddress address = engine.functions.vkGetBufferDeviceAddress(engine.host.device, &info);
        if (address == 0)
            return error(Code::invalid_argument,
                         std::string("buffer ") + slot.name +
                             " has no device address; create it with SHADER_DEVICE_ADDRESS usage");
        binding.address[slot.slot] = address + slot.range->offset;
    }
    const uint64_t work = binding.address[binding_work];
    binding.address[binding_params] = work;
    binding.address[binding_work] = work + binding.plan->partials_offset;
    if (binding.plan->widen_pipeline != VK_NULL_HANDLE) {
        const WideRegion& wide = binding.plan->wide;
        binding.source_address = {binding.address[binding_k], binding.address[binding_v]};
        binding.address[binding_k] = work + wide.k_offset;
        binding.address[binding_v] = work + wide.v_offset;
    }
    return {};
}

using DescriptorInfos = std::array<VkDescriptorBufferInfo, binding_count>;

Status make_set(const EngineImpl& engine, VkDescriptorPool pool, const DescriptorInfos& infos, VkDescriptorSet& set) {
    VkDescriptorSetAllocateInfo set_info{};
    set_info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO;
    set_info.descriptorPool = pool;
    set_info.descriptorSetCount = 1;
    set_info.pSetLayouts = &engine.set_layout;
    const VkResult result = engine.functions.vkAllocateDescriptorSets(engine.host.device, &set_info, &set);
    if (result != VK_SUCCESS) return error(Code::device_error, "vkAllocateDescriptorSets failed", result);

    std::array<VkWriteDescriptorSet, binding_count> writes{};
    for (uint32_t i = 0; i < binding_count; i++) {
        writes[i].sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET;
        writes[i].dstSet = set;
        writes[i].dstBinding = i;
        writes[i].descriptorCount = 1;
        writes[i].descriptorType =
            i <= binding_o ? VK_DESCRIPTOR_TYPE_STORAGE_BUFFER_DYNAMIC : VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
        writes[i].pBufferInfo = &infos[i];
    }
    engine.functions.vkUpdateDescriptorSets(engine.host.device, binding_count, writes.data(), 0, nullptr);
    return {};
}

Status bind_descriptors(const EngineImpl& engine, BindingImpl& binding, const std::vector<Slot>& slots) {
    const Capabilities& capabilities = engine.capabilities;
    // At least 16 bytes, so that what lies at 16 bytes of a descriptor lies at 16 bytes of memory (matrix_workgroup.glsl).
    const uint64_t alignment = window_alignment(capabilities);
    const Buffers& buffers = binding.buffers;

    DescriptorInfos infos;
    // Absent buffers stand on the workspace's scratch: no descriptor may be invalid, and nothing touches them.
    infos.fill({buffers.work.buffer, buffers.work.offset + work_params_bytes, work_scratch_bytes});
    infos[binding_params] = {buffers.work.buffer, buffers.work.offset, work_params_bytes};
    if (binding.plan->partials_bytes > 0)
        infos[binding_work] = {buffers.work.buffer, buffers.work.offset + binding.plan->partials_offset,
                               binding.plan->partials_bytes};
    for (size_t i = 0; i < 4; i++) binding.range_bytes[i] = binding.total_bytes[i] = work_scratch_bytes;

    for (const Slot& slot : slots) {
        const BufferRange& range = *slot.range;
        if (range.buffer == VK_NULL_HANDLE || slot.slot == binding_work) continue;
        const uint64_t begin = range.offset / alignment * alignment;
        binding.base_elems[slot.slot] = static_cast<uint32_t>((range.offset - begin) / slot.element_bytes);
        const uint64_t total = range_end(engine, range) - begin;
        uint64_t bytes = total;
        if (total > capabilities.max_storage_buffer_range) {
            if (slot.slot > binding_o)
                return error(Code::limit_exceeded, std::string("the range of ") + slot.name + " is " +
                                                       std::to_string(total) +
                                                       " bytes; the device's descriptors reach " +
                                                       std::to_string(capabilities.max_storage_buffer_range));
            if (range.size == VK_WHOLE_SIZE)
                return error(Code::invalid_argument, std::string("buffer ") + slot.name +
                                                         " is larger than the device's descriptor range of " +
                                                         std::to_string(capabilities.max_storage_buffer_range) +
                                                         " bytes: give BufferRange::size instead of VK_WHOLE_SIZE");
            // Windows slide in aligned steps; the rest of the division goes to the range so that the last one ends at the end.
            const uint64_t beyond = total - capabilities.max_storage_buffer_range;
            bytes = total - (beyond + window_alignment(capabilities) - 1) / window_alignment(capabilities) *
                                window_alignment(capabilities);
            if (total - bytes > 0xffffffffull)
                return error(Code::limit_exceeded,
                             std::string("the range of ") + slot.name + " is " + std::to_string(total) +
                                 " bytes; descriptors' dynamic offsets are 32-bit: use Addressing::address");
        }
        if (slot.slot <= binding_o) {
            binding.range_bytes[slot.slot] = bytes;
            binding.total_bytes[slot.slot] = total;
        }
        const bool whole = range.size == VK_WHOLE_SIZE;
        infos[slot.slot] = {range.buffer, begin, whole ? VK_WHOLE_SIZE : bytes};
    }

    DescriptorInfos widen_infos = infos;
    const bool widens = binding.plan->widen_pipeline != VK_NULL_HANDLE;
    if (widens) {
        const WideRegion& wide = binding.plan->wide;
        const VkDescriptorBufferInfo wide_k{buffers.work.buffer, buffers.work.offset + wide.k_offset, wide.k_bytes};
        const VkDescriptorBufferInfo wide_v{buffers.work.buffer, buffers.work.offset + wide.v_offset, wide.v_bytes};
        widen_infos[binding_q] = wide_k;
        widen_infos[binding_o] = wide_v;
        for (BindingSlot slot : {binding_k, binding_v}) {
            const size_t tensor = slot - binding_k;
            if (binding.range_bytes[slot] != binding.total_bytes[slot])
                return error(Code::limit_exceeded,
                             std::string("the range of ") + (slot == binding_k ? "k" : "v") + " is " +
                                 std::to_string(binding.total_bytes[slot]) +
                                 " bytes, beyond the device's descriptors: set Problem::widen to off");
            binding.source_base_elems[tensor] = binding.base_elems[slot];
            binding.base_elems[slot] = 0;
            infos[slot] = slot == binding_k ? wide_k : wide_v;
            binding.range_bytes[slot] = binding.total_bytes[slot] = infos[slot].range;
        }
    }

    const uint32_t n_sets = widens ? 2 : 1;
    const VkDescriptorPoolSize sizes[] = {{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER_DYNAMIC, 4 * n_sets},
                                          {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, (binding_count - 4) * n_sets}};
    VkDescriptorPoolCreateInfo pool_info{};
    pool_info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO;
    pool_info.maxSets = n_sets;
    pool_info.poolSizeCount = 2;
    pool_info.pPoolSizes = sizes;
    const VkResult result =
        engine.functions.vkCreateDescriptorPool(engine.host.device, &pool_info, engine.host.allocator, &binding.pool);
    if (result != VK_SUCCESS) return error(Code::device_error, "vkCreateDescriptorPool failed", result);
    Status status = make_set(engine, binding.pool, infos, binding.set);
    if (status.ok() && widens) status = make_set(engine, binding.pool, widen_infos, binding.widen_set);
    return status;
}

}  // namespace

uint64_t window_alignment(const Capabilities& capabilities) {
    return std::max<uint64_t>(capabilities.storage_offset_alignment, 16);
}

BindingImpl::~BindingImpl() {
    if (pool != VK_NULL_HANDLE)
        plan->engine->functions.vkDestroyDescriptorPool(plan->engine->host.device, pool, plan->engine->host.allocator);
}

Result<Binding> make_binding(const std::shared_ptr<const PlanImpl>& plan, const Buffers& buffers) {
    const EngineImpl& engine = *plan->engine;
    const Problem& problem = plan->problem;
    auto binding = std::make_shared<BindingImpl>();
    binding->plan = plan;
    binding->buffers = buffers;

    auto required = [](const char* name, const BufferRange& range, bool needed) -> Status {
        if (!needed || range.buffer != VK_NULL_HANDLE) return {};
        return error(Code::invalid_argument, std::string("Buffers::") + name + " is null");
    };
    const struct {
        const char* name;
        const BufferRange* range;
        bool needed;
    } needs[] = {
        {"q", &buffers.q, problem.max_shape.q_len > 0},
        {"o", &buffers.o, problem.max_shape.q_len > 0},
        {"k", &buffers.k, problem.max_shape.kv_len > 0},
        {"v", &buffers.v, problem.max_shape.kv_len > 0},
        {"work", &buffers.work, true},
        {"tables", &buffers.tables, plan->tables_capacity_bytes > 0},
    };
    for (const auto& need : needs)
        if (Status status = required(need.name, *need.range, need.needed); !status.ok()) return status;

    const std::vector<Slot> slots = slots_of(problem, binding->buffers);
    for (const Slot& slot : slots) {
        if (Status status = check_offset(slot); !status.ok()) return status;
        if (Status status = check_range(engine, slot); !status.ok()) return status;
    }
    if (buffers.work.offset % std::max<uint64_t>(engine.capabilities.storage_offset_alignment, 16) != 0)
        return error(Code::invalid_argument,
                     "the offset of work must be a multiple of " +
                         std::to_string(std::max<uint64_t>(engine.capabilities.storage_offset_alignment, 16)) +
                         " bytes, the device's storage buffer alignment or 16");
    if (range_end(engine, buffers.work) < buffers.work.offset + plan->report.workspace_bytes)
        return error(Code::invalid_argument,
                     "work has too few bytes: the plan needs " + std::to_string(plan->report.workspace_bytes));
    if (plan->tables_capacity_bytes > 0 &&
        range_end(engine, buffers.tables) < buffers.tables.offset + plan->tables_capacity_bytes)
        return error(Code::invalid_argument,
                     "tables has too few bytes: the plan has room for " + std::to_string(plan->tables_capacity_bytes));

    Status status = problem.addressing == Addressing::address ? bind_addresses(engine, *binding, slots)
                                                              : bind_descriptors(engine, *binding, slots);
    if (!status.ok()) return status;
    return Binding(binding);
}

Status check_spans(const BindingImpl& binding, const ArgsImpl& args) {
    if (binding.plan != args.plan)
        return error(Code::invalid_argument, "the binding and the args belong to different plans");
    const Problem& problem = args.plan->problem;
    const struct {
        const char* name;
        const BufferRange* range;
        ElementType type;
    } tensors[4] = {{"q", &binding.buffers.q, problem.q_type},
                    {"k", &binding.buffers.k, problem.k_type},
                    {"v", &binding.buffers.v, problem.v_type},
                    {"o", &binding.buffers.o, problem.o_type}};
    for (size_t i = 0; i < 4; i++) {
        const uint64_t needed = args.span_elems[i] * element_bytes(tensors[i].type);
        if (needed == 0) continue;
        if (tensors[i].range->buffer == VK_NULL_HANDLE)
            return error(Code::invalid_argument, std::string("Buffers::") + tensors[i].name + " is null");
        const uint64_t available = range_end(*binding.plan->engine, *tensors[i].range) - tensors[i].range->offset;
        if (needed > available)
            return error(Code::invalid_argument, std::string("this call reaches over ") + std::to_string(needed) +
                                                     " bytes of " + tensors[i].name + ", but " +
                                                     std::to_string(available) + " are bound");
    }
    if ((args.params.flags & PARAMS_WRITE_LSE) != 0) {
        const uint64_t needed = 4ull * static_cast<uint64_t>(args.params.batch) *
                                static_cast<uint64_t>(args.params.q_heads) * static_cast<uint64_t>(args.params.q_len);
        if (needed > 0 && (binding.buffers.lse.buffer == VK_NULL_HANDLE ||
                           range_end(*binding.plan->engine, binding.buffers.lse) < binding.buffers.lse.offset + needed))
            return error(Code::invalid_argument,
                         "lse is asked for: Buffers::lse needs " + std::to_string(needed) + " bytes");
    }
    return {};
}

}  // namespace vkattn
