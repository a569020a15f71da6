#include "block_growth.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <utility>
#include <vector>

namespace vkattn::bench {
namespace {

using Values = std::array<double, 3>;  // of the terms: a call, a query row, a block

struct Point {
    Values x{};
    double y = 0.0;
};

// Least squares of weight * (y - a . x) over the terms that are switched on; the others' factors are 0.
Values fit(std::span<const Point> points, std::array<bool, 3> on, double (*weight)(double y)) {
    std::array<std::array<double, 4>, 3> rows{};
    for (size_t i = 0; i < 3; i++) {
        if (!on[i]) {
            rows[i][i] = 1.0;
            continue;
        }
        for (const Point& point : points) {
            const double w = weight(point.y) * weight(point.y);
            for (size_t j = 0; j < 3; j++) rows[i][j] += on[j] ? w * point.x[i] * point.x[j] : 0.0;
            rows[i][3] += w * point.x[i] * point.y;
        }
    }
    // Symmetric and positive definite: no pivots needed.
    for (size_t i = 0; i < 3; i++)
        for (size_t other = 0; other < 3; other++) {
            if (other == i) continue;
            const double factor = rows[other][i] / rows[i][i];
            for (size_t j = i; j < 4; j++) rows[other][j] -= factor * rows[i][j];
        }
    return {rows[0][3] / rows[0][0], rows[1][3] / rows[1][1], rows[2][3] / rows[2][2]};
}

double relative(double y) { return 1.0 / y; }

}  // namespace

double unmasked_blocks(const CaseResult& result) {
    const Shape& s = result.bench_case.shape;
    const double in_lists = static_cast<double>(result.work.blocks_full + result.work.blocks_partial);
    return in_lists * s.batch * s.q_heads / static_cast<double>(result.work.lists);
}

std::optional<BlockGrowth> fit_block_growth(std::span<const CaseResult> cases) {
    std::vector<Point> points;
    std::set<double> rows, blocks;
    for (const CaseResult& result : cases) {
        if (result.bench_case.group != "blocks" || !result.skipped.empty() || !result.check.ok()) continue;
        const Shape& s = result.bench_case.shape;
        points.push_back(
            {{1.0, double{1} * s.batch * s.q_heads * s.q_len, unmasked_blocks(result)}, result.device.min});
        rows.insert(points.back().x[1]);
        blocks.insert(points.back().x[2]);
    }
    if (rows.size() < 2 || blocks.size() < 3) return std::nullopt;
    // A cost below 0 is noise: the term goes.
    std::array<bool, 3> on = {true, true, true};
    Values costs = fit(points, on, relative);
    for (size_t term = 0; term < 2; term++) {
        if (costs[term] >= 0.0) continue;
        on[term] = false;
        costs = fit(points, on, relative);
    }
    BlockGrowth growth;
    growth.cases = points.size();
    growth.call_ms = costs[0];
    growth.row_ns = 1e6 * costs[1];
    growth.block_us = 1e3 * costs[2];
    std::vector<Point> logarithms;  // log(above) = a + exponent * log(blocks)
    for (const Point& point : points) {
        const double above = point.y - costs[0] - costs[1] * point.x[1];
        growth.worst = std::max(growth.worst, std::abs(above / (costs[2] * point.x[2]) - 1.0));
        if (above > 0.0) logarithms.push_back({{1.0, 0.0, std::log(point.x[2])}, std::log(above)});
    }
    growth.exponent = fit(logarithms, {true, false, true}, [](double) { return 1.0; })[2];
    return growth;
}

}  // namespace vkattn::bench
