#include "packed_sequences.h"

#include <algorithm>
#include <utility>

namespace vkattn::packed {
namespace {

Status bad(std::string message) { return error(Code::invalid_argument, std::move(message)); }

}  // namespace

TableExpr captured_i32(const std::string& name, std::vector<int32_t> data) {
    TableData table_data;
    table_data.dims = {static_cast<int64_t>(data.size())};
    table_data.i32 = std::move(data);
    return table(name, std::move(table_data));
}

Result<std::vector<Range>> from_offsets(std::string_view what, std::span<const int32_t> offsets) {
    const std::string name(what);
    if (offsets.empty() || offsets.front() != 0) return bad(name + " must start with 0");
    std::vector<Range> ranges;
    for (size_t i = 1; i < offsets.size(); ++i) {
        if (offsets[i] < offsets[i - 1]) {
            return bad(name + ": offset " + std::to_string(i) + " is " + std::to_string(offsets[i]) +
                       ", less than the one before it (" + std::to_string(offsets[i - 1]) + ")");
        }
        ranges.push_back({offsets[i - 1], offsets[i]});
    }
    return ranges;
}

Result<std::vector<Range>> from_lengths(std::string_view what, std::span<const int32_t> lengths) {
    std::vector<Range> ranges;
    int64_t end = 0;
    for (size_t i = 0; i < lengths.size(); ++i) {
        const int64_t begin = end;
        end += lengths[i];
        if (lengths[i] < 0 || end >= INT32_MAX) {
            return bad(std::string(what) + ": length " + std::to_string(i) + " is " + std::to_string(lengths[i]) +
                       "; lengths are at least 0, and all together below 2^31 - 1");
        }
        ranges.push_back({static_cast<int32_t>(begin), static_cast<int32_t>(end)});
    }
    return ranges;
}

Mask mask(std::string_view name, const std::vector<Range>& q, const std::vector<Range>& kv, Align align, int32_t left,
          int32_t right) {
    if (q.size() != kv.size()) {
        return Mask::broken(bad(std::to_string(q.size()) + " sequences of queries and " + std::to_string(kv.size()) +
                                " of keys; their numbers must be equal"));
    }
    if (left < unlimited || right < unlimited) {
        return Mask::broken(bad("the window is (" + std::to_string(left) + ", " + std::to_string(right) +
                                "); each side is at least 0, or -1 for no limit"));
    }
    const int32_t q_end = q.empty() ? 0 : q.back().end;
    if (q_end == INT32_MAX) return Mask::broken(bad("2^31 - 1 query positions are too many"));
    // One entry more: an index past the table is clamped to it, and it attends to nothing.
    const auto length = static_cast<size_t>(q_end) + 1;
    std::vector<int32_t> begin(length, 0), end(length, 0), diagonal(length, 0);
    for (size_t i = 0; i < q.size(); ++i) {
        const int32_t shift = align == Align::upper_left ? kv[i].begin - q[i].begin : kv[i].end - q[i].end;
        std::fill(begin.begin() + q[i].begin, begin.begin() + q[i].end, kv[i].begin);
        std::fill(end.begin() + q[i].begin, end.begin() + q[i].end, kv[i].end);
        std::fill(diagonal.begin() + q[i].begin, diagonal.begin() + q[i].end, shift);
    }
    const std::string prefix(name);
    const TableExpr first = captured_i32(prefix + "_begin", std::move(begin)),
                    after = captured_i32(prefix + "_end", std::move(end)),
                    aligned = captured_i32(prefix + "_diagonal", std::move(diagonal));
    return trace_mask([&](Index, Index, Index at, Index key) {
        Expr result = first(at) <= key && key < after(at);
        if (left != unlimited) result = result && at + aligned(at) - key <= left;
        if (right != unlimited) result = result && key - (at + aligned(at)) <= right;
        return result;
    });
}

}  // namespace vkattn::packed
