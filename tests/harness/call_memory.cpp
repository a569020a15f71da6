#include "call_memory.h"

#include <algorithm>
#include <cstring>

namespace vkattn_tests {
namespace {

using vkattn::BufferRange;
using vkattn::element_bytes;
using vkattn::ElementType;

constexpr uint64_t lse_offset = guard_bytes, work_offset = 1024, tables_offset = 1024;

uint64_t first_byte(const Placement& p, ElementType type) {
    return static_cast<uint64_t>(p.first) * element_bytes(type);
}

// Bytes from the start of the buffer to the end of the tensor, in whole words.
uint64_t end_bytes(const Placement& p, ElementType type, const Values& v) {
    if (v.at.empty()) return (first_byte(p, type) + 3) / 4 * 4;
    const int64_t last =
        p.first + (v.batch - 1) * p.strides.b + (v.heads - 1) * p.strides.h + (v.length - 1) * p.strides.l + v.width;
    return (static_cast<uint64_t>(last) * element_bytes(type) + 3) / 4 * 4;
}

}  // namespace

CallMemory::CallMemory(const AttentionCase& c, const Inputs& inputs, uint64_t tables_bytes, uint64_t workspace_bytes)
    : case_(c),
      at_(placements_of(c)),
      packed_(c.layout == Layout::packed && c.q_type == c.k_type && c.k_type == c.v_type),
      o_shape_(c.shape.batch, c.shape.q_heads, c.shape.q_len, c.value_dim) {
    const uint64_t q_end = end_bytes(at_.q, c.q_type, inputs.q), k_end = end_bytes(at_.k, c.k_type, inputs.k),
                   v_end = end_bytes(at_.v, c.v_type, inputs.v);
    rooms_[room_q] = GuardedBytes((packed_ ? std::max({q_end, k_end, v_end}) : q_end) + guard_bytes);
    if (!packed_) rooms_[room_k] = GuardedBytes(k_end + guard_bytes);
    if (!packed_) rooms_[room_v] = GuardedBytes(v_end + guard_bytes);
    rooms_[room_q].write(c.q_type, at_.q, inputs.q);
    rooms_[packed_ ? room_q : room_k].write(c.k_type, at_.k, inputs.k);
    rooms_[packed_ ? room_q : room_v].write(c.v_type, at_.v, inputs.v);

    rooms_[room_o] = GuardedBytes(end_bytes(at_.o, c.o_type, o_shape_) + guard_bytes);
    rooms_[room_o].leave_free(c.o_type, at_.o, o_shape_);
    lse_bytes_ = 4ull * static_cast<uint64_t>(c.shape.batch) * static_cast<uint64_t>(c.shape.q_heads) *
                 static_cast<uint64_t>(c.shape.q_len);
    rooms_[room_lse] = GuardedBytes(lse_offset + lse_bytes_ + guard_bytes);
    rooms_[room_lse].leave_free(lse_offset, lse_bytes_);
    rooms_[room_work] = GuardedBytes(work_offset + workspace_bytes + guard_bytes);
    rooms_[room_work].leave_free(work_offset, workspace_bytes);
    rooms_[room_tables] = GuardedBytes(tables_offset + (tables_bytes + 3) / 4 * 4 + guard_bytes);
}

void CallMemory::write_tables(std::span<const uint8_t> bytes, uint64_t free_from) {
    rooms_[room_tables].write_bytes(tables_offset, bytes);
    if (free_from < bytes.size()) rooms_[room_tables].leave_free(tables_offset + free_from, bytes.size() - free_from);
}

vkattn::Buffers CallMemory::ranges(const std::array<VkBuffer, n_rooms>& handles) const {
    // All of a buffer from the tensor on; the guard before it is inside the descriptor's range because offsets are aligned down.
    const auto range = [&](Room room, uint64_t offset) {
        return BufferRange{handles[room], offset, rooms_[room].bytes().size() - offset};
    };
    vkattn::Buffers buffers;
    buffers.q = range(room_q, first_byte(at_.q, case_.q_type));
    buffers.k = range(packed_ ? room_q : room_k, first_byte(at_.k, case_.k_type));
    buffers.v = range(packed_ ? room_q : room_v, first_byte(at_.v, case_.v_type));
    if (case_.shape.kv_len == 0) buffers.k = buffers.v = {};
    buffers.o = range(room_o, first_byte(at_.o, case_.o_type));
    buffers.lse = range(room_lse, lse_offset);
    buffers.work = range(room_work, work_offset);
    buffers.tables = range(room_tables, tables_offset);
    return buffers;
}

Values CallMemory::read_o(const uint8_t* bytes) const { return read_values(case_.o_type, at_.o, o_shape_, bytes); }

std::vector<float> CallMemory::read_lse(const uint8_t* bytes) const {
    std::vector<float> lse(lse_bytes_ / 4);
    if (!lse.empty()) std::memcpy(lse.data(), bytes + lse_offset, lse_bytes_);
    return lse;
}

vkattn::PaddedBlocks CallMemory::read_lists(const vkattn::ListLayout& layout, const uint8_t* bytes) const {
    vkattn::PaddedBlocks blocks;
    blocks.batch = layout.batch;
    blocks.heads = layout.heads;
    blocks.rows = layout.rows;
    blocks.columns = layout.columns;
    const auto counts =
        static_cast<size_t>(layout.batch) * static_cast<size_t>(layout.heads) * static_cast<size_t>(layout.rows);
    const auto read = [&](uint64_t offset, size_t count) {
        std::vector<int32_t> values(count);
        if (count > 0) std::memcpy(values.data(), bytes + tables_offset + offset, count * 4);
        return values;
    };
    blocks.num_blocks = read(layout.num_blocks, counts);
    blocks.indices = read(layout.indices, counts * static_cast<size_t>(layout.columns));
    blocks.full_num_blocks = read(layout.full_num_blocks, counts);
    blocks.full_indices = read(layout.full_indices, counts * static_cast<size_t>(layout.columns));
    return blocks;
}

}  // namespace vkattn_tests
