#include "vkattn/sources/xformers.h"

#include <algorithm>
#include <string>

#include "packed_sequences.h"
#include "vkattn/named.h"

namespace vkattn::xformers {
namespace {

using packed::Align;
using packed::Range;
using packed::unlimited;

Mask broken(std::string message) {
    return Mask::broken(error(Code::invalid_argument, "xformers: " + std::move(message)));
}

bool is_window_size(int32_t window_size) { return window_size > 0; }
Mask bad_window_size(int32_t window_size) {
    return broken("window_size is " + std::to_string(window_size) + ", it must be at least 1");
}

Mask bad_window(int32_t left, int32_t right) {
    return broken("the window is (" + std::to_string(left) + ", " + std::to_string(right) +
                  "), both sides must be at least 0");
}

Mask blocks(std::string_view name, std::span<const int32_t> q_seqlen, const Keys& keys, Align align, int32_t left,
            int32_t right) {
    const auto q = packed::from_lengths("xformers: q_seqlen", q_seqlen);
    if (!q.ok()) return Mask::broken(q.status());
    if (keys.starts.size() != keys.lengths.size()) {
        return broken(std::to_string(keys.starts.size()) + " starts and " + std::to_string(keys.lengths.size()) +
                      " lengths of keys; their numbers must be equal");
    }
    std::vector<Range> kv;
    for (size_t i = 0; i < keys.starts.size(); ++i) {
        const int64_t end = int64_t{keys.starts[i]} + keys.lengths[i];
        if (keys.starts[i] < 0 || keys.lengths[i] < 0 || end > INT32_MAX) {
            return broken("keys of block " + std::to_string(i) + " start at " + std::to_string(keys.starts[i]) +
                          " and are " + std::to_string(keys.lengths[i]) +
                          "; neither may be negative, and they end before 2^31");
        }
        kv.push_back({keys.starts[i], static_cast<int32_t>(end)});
    }
    return packed::mask(name, *q, kv, align, left, right);
}

}  // namespace

Mask lower_triangular() { return causal(); }
Mask lower_triangular_from_bottom_right() { return causal_lower_right(); }

Mask lower_triangular_from_bottom_right_local_attention(int32_t window_size) {
    return is_window_size(window_size) ? lower_right(last_n_keys(window_size)) : bad_window_size(window_size);
}

Mask local_attention_from_bottom_right(int32_t window_left, int32_t window_right) {
    if (window_left < 0 || window_right < 0) return bad_window(window_left, window_right);
    return lower_right(window(window_left, window_right));
}

Keys packed_keys(std::span<const int32_t> kv_seqlen) {
    Keys keys;
    int64_t start = 0;
    for (const int32_t length : kv_seqlen) {
        keys.starts.push_back(start <= INT32_MAX ? static_cast<int32_t>(start) : -1);  // -1 is refused later
        keys.lengths.push_back(length);
        start += length;
    }
    return keys;
}

Keys padded_keys(std::span<const int32_t> kv_seqlen, int32_t kv_padding) {
    Keys keys;
    for (size_t i = 0; i < kv_seqlen.size(); ++i) {
        const int64_t start = static_cast<int64_t>(i) * kv_padding;
        const bool fits = kv_seqlen[i] <= kv_padding && start <= INT32_MAX;
        keys.starts.push_back(fits ? static_cast<int32_t>(start) : -1);
        keys.lengths.push_back(kv_seqlen[i]);
    }
    return keys;
}

Keys gappy_keys(std::span<const int32_t> kv_seqstart, std::span<const int32_t> kv_seqlen) {
    // xformers ends the starts with the total length.
    if (kv_seqstart.size() == kv_seqlen.size() + 1) kv_seqstart = kv_seqstart.first(kv_seqlen.size());
    return {{kv_seqstart.begin(), kv_seqstart.end()}, {kv_seqlen.begin(), kv_seqlen.end()}};
}

Mask block_diagonal(std::span<const int32_t> q_seqlen, const Keys& keys, std::string_view name) {
    return blocks(name, q_seqlen, keys, Align::upper_left, unlimited, unlimited);
}
Mask block_diagonal_causal(std::span<const int32_t> q_seqlen, const Keys& keys, std::string_view name) {
    return blocks(name, q_seqlen, keys, Align::upper_left, unlimited, 0);
}
Mask block_diagonal_causal_from_bottom_right(std::span<const int32_t> q_seqlen, const Keys& keys,
                                             std::string_view name) {
    return blocks(name, q_seqlen, keys, Align::lower_right, unlimited, 0);
}
Mask block_diagonal_causal_local_attention(std::span<const int32_t> q_seqlen, const Keys& keys, int32_t window_size,
                                           std::string_view name) {
    if (!is_window_size(window_size)) return bad_window_size(window_size);
    return blocks(name, q_seqlen, keys, Align::upper_left, window_size - 1, 0);
}
Mask block_diagonal_causal_local_attention_from_bottom_right(std::span<const int32_t> q_seqlen, const Keys& keys,
                                                             int32_t window_size, std::string_view name) {
    if (!is_window_size(window_size)) return bad_window_size(window_size);
    return blocks(name, q_seqlen, keys, Align::lower_right, window_size - 1, 0);
}
Mask block_diagonal_local_attention(std::span<const int32_t> q_seqlen, const Keys& keys, int32_t window_left,
                                    int32_t window_right, std::string_view name) {
    if (window_left < 0 || window_right < 0) return bad_window(window_left, window_right);
    return blocks(name, q_seqlen, keys, Align::lower_right, window_left, window_right);
}

Mask make_paged(const Mask& mask, std::span<const int32_t> q_seqlen, std::span<const int32_t> block_tables,
                int32_t page_size, std::string_view name) {
    if (!mask.status().ok()) return mask;
    const auto q = packed::from_lengths("xformers: q_seqlen", q_seqlen);
    if (!q.ok()) return Mask::broken(q.status());
    const size_t n_blocks = q->size();
    if (n_blocks == 0 || block_tables.empty() || block_tables.size() % n_blocks != 0) {
        return broken(std::to_string(block_tables.size()) + " entries of block_tables for " + std::to_string(n_blocks) +
                      " blocks; every block has as many, and at least one");
    }
    const int32_t last_page = *std::max_element(block_tables.begin(), block_tables.end());
    if (*std::min_element(block_tables.begin(), block_tables.end()) < 0) return broken("a page is negative");
    const size_t n_columns = static_cast<size_t>(last_page) + 2;  // one more: keys past the last page are in none
    if (page_size < 1 || n_columns > (size_t{1} << 28) / (n_blocks + 1) ||
        block_tables.size() > static_cast<size_t>(INT32_MAX / page_size)) {
        return broken("page_size " + std::to_string(page_size) + ", " + std::to_string(last_page) +
                      " as the last page and " + std::to_string(n_blocks) +
                      " blocks; a page has at least one key, and pages times blocks are below 2^28");
    }
    TableData places;
    // One row more: queries past the last are in no block.
    places.dims = {static_cast<int64_t>(n_blocks) + 1, static_cast<int64_t>(n_columns)};
    places.i32.assign((n_blocks + 1) * n_columns, -1);
    const size_t pages = block_tables.size() / n_blocks;
    for (size_t i = 0; i < block_tables.size(); ++i) {
        int32_t& place = places.i32[i / pages * n_columns + static_cast<size_t>(block_tables[i])];
        if (place < 0) place = static_cast<int32_t>(i);
    }
    std::vector<int32_t> block_of;
    for (size_t i = 0; i < n_blocks; ++i)
        block_of.insert(block_of.end(), static_cast<size_t>((*q)[i].end - (*q)[i].begin), static_cast<int32_t>(i));
    block_of.push_back(static_cast<int32_t>(n_blocks));
    const std::string prefix(name);
    const TableExpr of = table(prefix + "_of", std::move(places)),
                    seq = packed::captured_i32(prefix + "_seq", std::move(block_of));
    return trace_mask([&](Index b, Index h, Index at, Index key) {
        const Expr place = of(seq(at), key / page_size);
        return place >= 0 && embed(mask, b, h, at, place * page_size + key % page_size);
    });
}

}  // namespace vkattn::xformers
