#include "pairwise.h"

#include <algorithm>
#include <numeric>

#include "numbers.h"

namespace vkattn_tests {
namespace {

class Table {
  public:
    Table(const std::vector<int32_t>& sizes, const PairwiseOptions& options)
        : sizes_(sizes), options_(options), random_(options.seed) {
        first_.resize(sizes.size() + 1, 0);
        for (size_t i = 0; i < sizes.size(); i++) first_[i + 1] = first_[i] + sizes[i];
        missing_.assign(static_cast<size_t>(first_.back()) * static_cast<size_t>(first_.back()), 0);
        for (size_t i = 0; i < sizes.size(); i++)
            for (size_t j = i + 1; j < sizes.size(); j++)
                for (int32_t x = 0; x < sizes[i]; x++)
                    for (int32_t y = 0; y < sizes[j]; y++) at(i, x, j, y) = !is_free(i, j) && allowed(i, x, j, y);
    }

    std::vector<std::vector<int32_t>> build() {
        std::vector<std::vector<int32_t>> rows;
        for (size_t i = 0; i < sizes_.size(); i++)
            for (size_t j = i + 1; j < sizes_.size(); j++)
                for (int32_t x = 0; x < sizes_[i]; x++)
                    for (int32_t y = 0; y < sizes_[j]; y++) {
                        // Exclusions between three axes may need several tries of the values around the pair.
                        for (int tries = 0; at(i, x, j, y) && tries < 8; tries++) {
                            std::vector<int32_t> row(sizes_.size(), -1);
                            row[i] = x;
                            row[j] = y;
                            if (fill(row)) {
                                cover(row);
                                rows.push_back(std::move(row));
                            }
                        }
                    }
        return rows;
    }

  private:
    char& at(size_t i, int32_t x, size_t j, int32_t y) {
        return missing_[static_cast<size_t>(first_[i] + x) * static_cast<size_t>(first_.back()) +
                        static_cast<size_t>(first_[j] + y)];
    }
    bool is_free(size_t i, size_t j) const {
        return std::find(options_.free_pairs.begin(), options_.free_pairs.end(), std::pair<size_t, size_t>{i, j}) !=
               options_.free_pairs.end();
    }
    bool allowed(size_t i, int32_t x, size_t j, int32_t y) const {
        return !options_.allowed || options_.allowed(i, x, j, y);
    }

    bool fits(const std::vector<int32_t>& row, size_t axis, int32_t value) const {
        for (size_t k = 0; k < row.size(); k++) {
            if (row[k] < 0 || k == axis) continue;
            if (!(k < axis ? allowed(k, row[k], axis, value) : allowed(axis, value, k, row[k]))) return false;
        }
        return true;
    }

    int gain(const std::vector<int32_t>& row, size_t axis, int32_t value) {
        int covered = 0;
        for (size_t k = 0; k < row.size(); k++)
            if (row[k] >= 0 && k != axis) covered += k < axis ? at(k, row[k], axis, value) : at(axis, value, k, row[k]);
        return covered;
    }

    bool fill(std::vector<int32_t>& row) {
        std::vector<size_t> order(row.size());
        std::iota(order.begin(), order.end(), size_t{0});
        for (size_t k = order.size(); k > 1; k--)
            std::swap(order[k - 1], order[static_cast<size_t>(random_.below(static_cast<int32_t>(k)))]);
        for (size_t axis : order) {
            if (row[axis] >= 0) continue;
            int32_t best = -1;
            int best_gain = -1;
            const int32_t start = random_.below(sizes_[axis]);  // ties go round, so that free pairs are mixed as well
            for (int32_t n = 0; n < sizes_[axis]; n++) {
                const int32_t value = (start + n) % sizes_[axis];
                if (!fits(row, axis, value)) continue;
                const int g = gain(row, axis, value);
                if (g > best_gain) {
                    best_gain = g;
                    best = value;
                }
            }
            if (best < 0) return false;
            row[axis] = best;
        }
        return true;
    }

    void cover(const std::vector<int32_t>& row) {
        for (size_t i = 0; i < row.size(); i++)
            for (size_t j = i + 1; j < row.size(); j++) at(i, row[i], j, row[j]) = 0;
    }

    std::vector<int32_t> sizes_;
    const PairwiseOptions& options_;
    Random random_;
    std::vector<int32_t> first_;
    std::vector<char> missing_;
};

}  // namespace

std::vector<std::vector<int32_t>> pairwise_table(const std::vector<int32_t>& sizes, const PairwiseOptions& options) {
    return Table(sizes, options).build();
}

}  // namespace vkattn_tests
