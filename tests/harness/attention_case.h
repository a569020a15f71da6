// One attention call as a value: a line of text and back, so that every failure can be replayed.
//
//   VKATTN_REPLAY='mask=causal d=64 lq=65 ...' build/bin/vkattn-test-engine -tc=replay
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "vkattn/bindings.h"
#include "vkattn/result.h"
#include "vkattn/types.h"

namespace vkattn_tests {

// How a tensor [B, H, L, D] lies in its buffer.
//   bhld       contiguous, the default strides
//   blhd       [B, L, H, D]
//   packed     q, k and v in one buffer, a row is q heads, k heads, v heads
//   broadcast  k shared by all batch entries, v by all heads (strides of 0), q and o contiguous
//   padded     rows a multiple of four elements apart with a gap that holds NaN
//   odd        rows D + 1 or D + 3 elements apart and a first element at an odd index: nothing is aligned
enum class Layout : uint8_t { bhld, blhd, packed, broadcast, padded, odd };

// What stands in rows of K and V.
//   unattended  rows that nobody attends to hold NaN and infinity (the default: it must never show)
//   partial     besides, some rows that only some queries attend to hold NaN and infinity: those queries show it, no other
enum class Poison : uint8_t { none, unattended, partial };

struct AttentionCase {
    // What makes a pipeline.
    std::string mask = "full";
    std::string score = "none";
    vkattn::ElementType q_type = vkattn::ElementType::f32, k_type = vkattn::ElementType::f32,
                        v_type = vkattn::ElementType::f32, o_type = vkattn::ElementType::f32;
    int32_t head_dim = 64, value_dim = 64;
    vkattn::Schedule schedule = vkattn::Schedule::automatic;
    vkattn::Path path = vkattn::Path::automatic;
    vkattn::Skeleton skeleton = vkattn::Skeleton::automatic;
    vkattn::Addressing addressing = vkattn::Addressing::automatic;
    vkattn::Widen widen = vkattn::Widen::automatic;
    vkattn::ListEncoding encoding = vkattn::ListEncoding::runs;
    int32_t splits = 0;
    // What does not.
    vkattn::Shape shape{1, 1, 1, 64, 64};
    Layout layout = Layout::bhld;
    Poison poison = Poison::unattended;
    int32_t block_q = 0, block_kv = 0;  // 0: 128 x 128 when the schedule is list
    uint32_t slices = 1;
    uint64_t seed = 1;
};

std::string to_text(const AttentionCase& attention_case);
// The same text, of anybody: an error names the field and what would be right. Fields that are not named keep their defaults;
// tensors, tables and pairs of one case stay below 2^28 elements.
vkattn::Result<AttentionCase> read_case(std::string_view text);

}  // namespace vkattn_tests
