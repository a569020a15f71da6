#include "table_pyramid.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

namespace vkattn::analysis {
namespace {

template <class T>
typename MinMaxPyramid<T>::Extremes nothing() {
    if constexpr (std::is_floating_point_v<T>) {
        return {std::numeric_limits<T>::infinity(), -std::numeric_limits<T>::infinity(), false};
    } else {
        return {std::numeric_limits<T>::max(), std::numeric_limits<T>::lowest(), false};
    }
}

template <class E>
void join(E& into, const E& more) {
    into.min = std::min(into.min, more.min);
    into.max = std::max(into.max, more.max);
    into.nan = into.nan || more.nan;
}

template <class T>
typename MinMaxPyramid<T>::Extremes scan(const T* data, int64_t count) {
    auto result = nothing<T>();
    for (int64_t i = 0; i < count; ++i) {
        if constexpr (std::is_floating_point_v<T>) result.nan = result.nan || std::isnan(data[i]);
        result.min = data[i] < result.min ? data[i] : result.min;  // a NaN compares false and is passed over
        result.max = data[i] > result.max ? data[i] : result.max;
    }
    return result;
}

}  // namespace

template <class T>
MinMaxPyramid<T>::MinMaxPyramid(const std::vector<T>& data) {
    const auto count = static_cast<int64_t>(data.size());
    if (count <= 2 * kGroup) return;
    std::vector<Extremes> level;
    level.reserve(static_cast<size_t>((count + kGroup - 1) / kGroup));
    for (int64_t i = 0; i < count; i += kGroup) level.push_back(scan(data.data() + i, std::min(kGroup, count - i)));
    while (true) {
        levels_.push_back(std::move(level));
        const std::vector<Extremes>& below = levels_.back();
        if (below.size() <= 2) break;
        level = {};
        level.reserve((below.size() + 1) / 2);
        for (size_t i = 0; i < below.size(); i += 2) {
            level.push_back(below[i]);
            if (i + 1 < below.size()) join(level.back(), below[i + 1]);
        }
    }
}

template <class T>
typename MinMaxPyramid<T>::Extremes MinMaxPyramid<T>::over(const std::vector<T>& data, int64_t first,
                                                           int64_t last) const {
    if (levels_.empty() || last - first < 2 * kGroup) return scan(data.data() + first, last - first + 1);
    int64_t lo = (first + kGroup - 1) / kGroup, hi = (last + 1) / kGroup;  // whole groups [lo, hi)
    auto result = scan(data.data() + first, lo * kGroup - first);
    join(result, scan(data.data() + hi * kGroup, last + 1 - hi * kGroup));
    for (size_t k = 0; lo < hi; ++k) {
        const std::vector<Extremes>& level = levels_[k];
        if (k + 1 == levels_.size()) {
            for (; lo < hi; ++lo) join(result, level[static_cast<size_t>(lo)]);
            break;
        }
        if ((lo & 1) != 0) join(result, level[static_cast<size_t>(lo++)]);
        if ((hi & 1) != 0) join(result, level[static_cast<size_t>(--hi)]);
        lo >>= 1;
        hi >>= 1;
    }
    return result;
}

template class MinMaxPyramid<int32_t>;
template class MinMaxPyramid<float>;
template class MinMaxPyramid<uint8_t>;

void TableSummary::build_pyramid() {
    switch (data_->type) {
    case Type::i32: i32_ = MinMaxPyramid<int32_t>(data_->i32); break;
    case Type::f32: f32_ = MinMaxPyramid<float>(data_->f32); break;
    case Type::boolean: boolean_ = MinMaxPyramid<uint8_t>(data_->boolean); break;
    }
}

TableSummary::Pieces TableSummary::pieces_of(const Range* indices) const {
    const size_t n = data_->dims.size();
    Range clamped[4];
    int64_t strides[4];
    int64_t stride = 1;
    for (size_t i = n; i-- > 0;) {
        const int64_t end = data_->dims[i] - 1;
        clamped[i] = {std::clamp<int64_t>(indices[i].lo, 0, end), std::clamp<int64_t>(indices[i].hi, 0, end)};
        strides[i] = stride;
        stride *= data_->dims[i];
    }
    Pieces pieces;
    size_t inner = n - 1;  // a complete dimension joins the next outer one
    while (inner > 0 && clamped[inner].lo == 0 && clamped[inner].hi == data_->dims[inner] - 1) --inner;
    pieces.length = (clamped[inner].hi - clamped[inner].lo + 1) * strides[inner];
    pieces.offset = clamped[inner].lo * strides[inner];
    for (size_t i = 0; i < inner; ++i) {
        if (clamped[i].point()) {
            pieces.offset += clamped[i].lo * strides[i];
            continue;
        }
        pieces.outer[pieces.n_outer] = clamped[i];
        pieces.stride[pieces.n_outer++] = strides[i];
        pieces.count *= clamped[i].hi - clamped[i].lo + 1;
    }
    return pieces;
}

template <class T>
typename MinMaxPyramid<T>::Extremes TableSummary::extremes(const std::vector<T>& data, const MinMaxPyramid<T>& pyramid,
                                                           const Range* indices) const {
    constexpr int64_t max_pieces = 128;
    const Pieces pieces = pieces_of(indices);
    if (pieces.count == 1) return pyramid.over(data, pieces.offset, pieces.offset + pieces.length - 1);
    int64_t first = pieces.offset, last = pieces.offset + pieces.length - 1;
    for (int i = 0; i < pieces.n_outer; ++i) {
        first += pieces.outer[i].lo * pieces.stride[i];
        last += pieces.outer[i].hi * pieces.stride[i];
    }
    if (pieces.count > max_pieces) return pyramid.over(data, first, last);
    auto result = nothing<T>();
    int64_t step[3] = {0, 0, 0};  // an odometer over the outer indices
    while (true) {
        int64_t at = first;
        for (int i = 0; i < pieces.n_outer; ++i) at += step[i] * pieces.stride[i];
        join(result, pyramid.over(data, at, at + pieces.length - 1));
        if (std::is_same_v<T, uint8_t> && result.min == 0 && result.max != 0) return result;
        int i = pieces.n_outer - 1;
        while (i >= 0 && pieces.outer[i].lo + step[i] == pieces.outer[i].hi) step[i--] = 0;
        if (i < 0) return result;
        ++step[i];
    }
}

Affine TableSummary::integers_over(const Range* indices) const {
    if (data_->type == Type::boolean) {
        const auto found = extremes(data_->boolean, boolean_, indices);
        return boolean(found.min != 0, found.max != 0);
    }
    const auto found = extremes(data_->i32, i32_, indices);
    return plain(found.min, found.max);
}

IntervalF32 TableSummary::floats_over(const Range* indices) const {
    const auto found = extremes(data_->f32, f32_, indices);
    return hull_f32(found.min, found.max, found.nan);
}

bool TableSummary::flat_range(const Range* indices, Range& flat) const {
    const Pieces pieces = pieces_of(indices);
    flat = {pieces.offset, pieces.offset + pieces.length - 1};
    return pieces.count == 1;
}

bool ascending_rows(const TableData& table) {
    const int64_t width = table.dims.empty() ? 0 : table.dims.back();
    if (width <= 0) return true;
    for (auto row = table.i32.begin(); row != table.i32.end(); row += width) {
        if (!std::is_sorted(row, row + width)) return false;
    }
    return true;
}

Labels relabel(const std::shared_ptr<const TableData>& first, const std::shared_ptr<const TableData>& second) {
    std::unordered_map<int32_t, int32_t> labels;
    const auto renamed = [&labels](const TableData& table) {
        auto result = std::make_shared<TableData>();
        result->dims = table.dims;
        result->i32.reserve(table.i32.size());
        int32_t value = 0, label = -1;  // neighbours are mostly equal: look a value up only when it changes
        for (const int32_t id : table.i32) {
            if (label < 0 || id != value) {
                value = id;
                label = labels.try_emplace(id, static_cast<int32_t>(labels.size())).first->second;
            }
            result->i32.push_back(label);
        }
        return result;
    };
    Labels result;
    result.first = renamed(*first);
    result.second = first == second ? result.first : renamed(*second);
    return result;
}

size_t SharedValues::KeyHash::operator()(const Key& key) const {
    auto mixed = static_cast<uint64_t>(key.first) * 0x9e3779b97f4a7c15u ^ static_cast<uint64_t>(key.last);
    mixed ^= static_cast<uint64_t>(reinterpret_cast<uintptr_t>(key.table)) * 0xff51afd7ed558ccdu;
    return static_cast<size_t>(mixed ^ (mixed >> 29));
}

const std::vector<int32_t>& SharedValues::distinct(const TableData& table, Range range) {
    const auto [entry, added] = known_.try_emplace({&table, range.lo, range.hi});
    if (added) {
        std::vector<int32_t>& values = entry->second;
        values.assign(table.i32.begin() + range.lo, table.i32.begin() + range.hi + 1);
        if (!std::is_sorted(values.begin(), values.end())) std::sort(values.begin(), values.end());
        values.erase(std::unique(values.begin(), values.end()), values.end());
        values.shrink_to_fit();
        stored_elems_ += static_cast<int64_t>(values.size()) + 16;  // and the node
    }
    return entry->second;
}

bool SharedValues::may_share(const TableData& x, Range in_x, const TableData& y, Range in_y) {
    constexpr int64_t by_hand = 256, max_stored = 1 << 22;
    const int64_t n_x = in_x.hi - in_x.lo + 1, n_y = in_y.hi - in_y.lo + 1;
    if (n_x > kMaxLength || n_y > kMaxLength) return true;
    if (n_x * n_y <= by_hand) {
        for (int64_t i = in_x.lo; i <= in_x.hi; ++i) {
            const int32_t value = x.i32[static_cast<size_t>(i)];
            for (int64_t j = in_y.lo; j <= in_y.hi; ++j) {
                if (y.i32[static_cast<size_t>(j)] == value) return true;
            }
        }
        return false;
    }
    if (stored_elems_ > max_stored) {
        known_.clear();
        stored_elems_ = 0;
    }
    const std::vector<int32_t>& a = distinct(x, in_x);
    const std::vector<int32_t>& b = distinct(y, in_y);  // node-based map: `a` stays where it is
    auto i = a.begin();
    auto j = b.begin();
    while (i != a.end() && j != b.end()) {
        if (*i == *j) return true;
        if (*i < *j) ++i;
        else ++j;
    }
    return false;
}

}  // namespace vkattn::analysis
