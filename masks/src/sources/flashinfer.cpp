#include "vkattn/sources/flashinfer.h"

#include <algorithm>
#include <string>

#include "packed_sequences.h"

namespace vkattn::flashinfer {

Mask packed_custom_mask(std::span<const uint8_t> packed_bits, std::span<const int32_t> qo_indptr,
                        std::span<const int32_t> kv_indptr, std::string_view name) {
    const auto broken = [](const std::string& message) {
        return Mask::broken(error(Code::invalid_argument, "flashinfer::packed_custom_mask: " + message));
    };
    const auto q = packed::from_offsets("qo_indptr", qo_indptr), kv = packed::from_offsets("kv_indptr", kv_indptr);
    if (!q.ok()) return broken(q.status().message);
    if (!kv.ok()) return broken(kv.status().message);
    if (q->size() != kv->size()) {
        return broken(std::to_string(q->size()) + " requests in qo_indptr and " + std::to_string(kv->size()) +
                      " in kv_indptr");
    }
    if (packed_bits.size() > INT32_MAX / 8) return broken("2^31 bits or more");
    const int32_t q_end = qo_indptr.back();
    if (q_end == INT32_MAX) return broken("2^31 - 1 query positions are too many");

    std::vector<int32_t> row(static_cast<size_t>(q_end) + 1, 0);
    uint64_t byte = 0;
    for (size_t i = 0; i < q->size(); ++i) {
        const packed::Range queries = (*q)[i], keys = (*kv)[i];
        const auto kv_len = static_cast<uint64_t>(keys.end - keys.begin);
        const uint64_t bits = static_cast<uint64_t>(queries.end - queries.begin) * kv_len;
        if (byte + (bits + 7) / 8 > packed_bits.size()) {
            return broken("request " + std::to_string(i) + " ends at byte " + std::to_string(byte + (bits + 7) / 8) +
                          ", there are " + std::to_string(packed_bits.size()));
        }
        for (int32_t at = queries.begin; at < queries.end; ++at) {
            const uint64_t bit = byte * 8 + static_cast<uint64_t>(at - queries.begin) * kv_len;
            row[static_cast<size_t>(at)] = static_cast<int32_t>(static_cast<int64_t>(bit) - keys.begin);
        }
        byte += (bits + 7) / 8;
    }
    std::vector<int32_t> words(std::max<size_t>(1, (packed_bits.size() + 3) / 4), 0);
    for (size_t i = 0; i < packed_bits.size(); ++i) {
        words[i / 4] =
            static_cast<int32_t>(static_cast<uint32_t>(words[i / 4]) | uint32_t{packed_bits[i]} << (i % 4 * 8));
    }
    const std::string prefix(name);
    const TableExpr row_bit = packed::captured_i32(prefix + "_row", std::move(row)),
                    word = packed::captured_i32(prefix + "_words", std::move(words));
    return packed::mask(name, *q, *kv, packed::Align::upper_left, packed::unlimited, packed::unlimited) &&
           trace_mask([&](Index, Index, Index at, Index key) {
               const Expr bit = row_bit(at) + key;
               return ((word(bit / 32) >> bit % 32) & 1) == 1;
           });
}

}  // namespace vkattn::flashinfer
