#include "vkattn/sources/flash_attention.h"

#include <string>

#include "packed_sequences.h"
#include "vkattn/named.h"

namespace vkattn::flash_attention {

Mask window(int32_t left, int32_t right) {
    if (left < -1 || right < -1) {
        return Mask::broken(error(Code::invalid_argument, "flash_attention::window: (" + std::to_string(left) + ", " +
                                                              std::to_string(right) +
                                                              "); each side is at least 0, or -1 for no limit"));
    }
    if (left < 0 && right < 0) return full();
    if (left < 0) return lower_right(vkattn::causal(right));
    if (right < 0) return lower_right(trace_mask([left](Index, Index, Index q, Index kv) { return q - kv <= left; }));
    return lower_right(vkattn::window(left, right));
}

Mask causal() { return causal_lower_right(); }

Mask varlen(std::span<const int32_t> cu_seqlens_q, std::span<const int32_t> cu_seqlens_k, int32_t left, int32_t right,
            std::string_view name) {
    const auto q = packed::from_offsets("cu_seqlens_q", cu_seqlens_q),
               kv = packed::from_offsets("cu_seqlens_k", cu_seqlens_k);
    if (!q.ok()) return Mask::broken(q.status());
    if (!kv.ok()) return Mask::broken(kv.status());
    return packed::mask(name, *q, *kv, packed::Align::lower_right, left, right);
}

}  // namespace vkattn::flash_attention
