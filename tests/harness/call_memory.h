// All buffers of one call as bytes of the host, each between guards: what is uploaded before a run and held against what is
// there after it. No device.
#pragma once

#include <array>

#include "inputs.h"

namespace vkattn_tests {

enum Room : size_t { room_q, room_k, room_v, room_o, room_lse, room_work, room_tables, n_rooms };
constexpr std::array<const char*, n_rooms> room_names = {"q", "k", "v", "o", "lse", "work", "tables"};

class CallMemory {
  public:
    CallMemory(const AttentionCase& attention_case, const Inputs& inputs, uint64_t tables_bytes,
               uint64_t workspace_bytes);

    // What make_args put together. `free_from`: bytes of the tables from here on are the device's to write (lists that it makes).
    void write_tables(std::span<const uint8_t> bytes, uint64_t free_from = UINT64_MAX);
    // Empty for k and v of a packed case: they lie in q's.
    const GuardedBytes& room(size_t i) const { return rooms_[i]; }
    // The engine's view; handles in the order of Room.
    vkattn::Buffers ranges(const std::array<VkBuffer, n_rooms>& handles) const;
    // From the bytes of the room after the run.
    Values read_o(const uint8_t* bytes) const;
    std::vector<float> read_lse(const uint8_t* bytes) const;
    // Lists of ListEncoding::indices, from the bytes of room_tables.
    vkattn::PaddedBlocks read_lists(const vkattn::ListLayout& layout, const uint8_t* bytes) const;

  private:
    AttentionCase case_;
    TensorPlacements at_;
    bool packed_;  // q, k and v in one buffer
    std::array<GuardedBytes, n_rooms> rooms_;
    Values o_shape_;
    uint64_t lse_bytes_ = 0;
};

}  // namespace vkattn_tests
