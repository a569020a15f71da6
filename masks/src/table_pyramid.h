// What a table can answer over a range of indices, without looking at every element.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "affine.h"
#include "interval_f32.h"
#include "vkattn/tree.h"

namespace vkattn::analysis {

// Minimum and maximum of any flat range in time logarithmic in its length: groups of 16 elements are summarised, then
// pairs of groups, pairs of pairs ... A quarter of the table's own memory.
template <class T>
class MinMaxPyramid {
  public:
    struct Extremes {
        T min, max;
        bool nan = false;  // floats: some element is NaN (ignored by min and max; min > max when all are)
    };

    MinMaxPyramid() = default;
    explicit MinMaxPyramid(const std::vector<T>& data);
    Extremes over(const std::vector<T>& data, int64_t first, int64_t last) const;  // inclusive

  private:
    static constexpr int64_t kGroup = 16;
    std::vector<std::vector<Extremes>> levels_;
};

// A table of any type and 1 to 4 dimensions. Immutable after build, shared by threads.
class TableSummary {
  public:
    explicit TableSummary(std::shared_ptr<const TableData> data) : data_(std::move(data)) {}

    const TableData& data() const { return *data_; }
    const std::shared_ptr<const TableData>& shared_data() const { return data_; }
    void build_pyramid();  // without it every range is scanned: for tables that are asked for single elements

    // Indices are clamped to their dimensions, as on the device. Exact for 1 dimension and wherever the range is a
    // bounded number of contiguous pieces; else the pieces are enclosed by one flat range, which is sound.
    Affine integers_over(const Range* indices) const;  // i32 and bool
    IntervalF32 floats_over(const Range* indices) const;

    // The one flat range that the indices reach, if it is one (all but the last index are points, or trailing ones
    // complete).
    bool flat_range(const Range* indices, Range& flat) const;

  private:
    struct Pieces {  // flat ranges [first + i, first + i + length) over the outer indices
        Range outer[3];
        int n_outer = 0;
        int64_t stride[3] = {0, 0, 0};
        int64_t offset = 0, length = 0, count = 1;
    };
    Pieces pieces_of(const Range* indices) const;
    template <class T>
    typename MinMaxPyramid<T>::Extremes extremes(const std::vector<T>& data, const MinMaxPyramid<T>& pyramid,
                                                 const Range* indices) const;

    std::shared_ptr<const TableData> data_;
    MinMaxPyramid<int32_t> i32_;
    MinMaxPyramid<float> f32_;
    MinMaxPyramid<uint8_t> boolean_;
};

// Whether the values do not decrease along the last dimension: then minimum and maximum tell equal from unequal ids
// well.
bool ascending_rows(const TableData& table);

// Two i32 tables (perhaps one and the same) renamed together: equal values get equal labels, numbered in order of
// first appearance, so that documents with arbitrary ids become ascending where each is contiguous.
struct Labels {
    std::shared_ptr<const TableData> first, second;
};
Labels relabel(const std::shared_ptr<const TableData>& first, const std::shared_ptr<const TableData>& second);

// Whether two flat ranges of i32 tables share a value. Sorted distinct values of blocks are kept, within a bound. One
// per thread.
class SharedValues {
  public:
    static constexpr int64_t kMaxLength = 1 << 13;  // longer ranges: not asked, may share

    bool may_share(const TableData& x, Range in_x, const TableData& y, Range in_y);

  private:
    struct Key {
        const TableData* table;
        int64_t first, last;
        bool operator==(const Key&) const = default;
    };
    struct KeyHash {
        size_t operator()(const Key& key) const;
    };
    const std::vector<int32_t>& distinct(const TableData& table, Range range);

    std::unordered_map<Key, std::vector<int32_t>, KeyHash> known_;
    int64_t stored_elems_ = 0;
};

}  // namespace vkattn::analysis
