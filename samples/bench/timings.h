// Repeated measurements, summed up.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace vkattn::bench {

// Milliseconds. `spread` is the distance between the quartiles: unlike the range it does not grow with the number of runs.
struct Timings {
    size_t runs = 0;
    double median = 0.0, min = 0.0, spread = 0.0;
};

inline double quantile(const std::vector<double>& sorted, double fraction) {
    if (sorted.empty()) return 0.0;
    const double place = fraction * static_cast<double>(sorted.size() - 1);
    const auto below = static_cast<size_t>(place);
    const size_t above = std::min(below + 1, sorted.size() - 1);
    return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

inline Timings summarise(std::vector<double> values_ms) {
    std::sort(values_ms.begin(), values_ms.end());
    Timings timings;
    timings.runs = values_ms.size();
    if (values_ms.empty()) return timings;
    timings.median = quantile(values_ms, 0.5);
    timings.min = values_ms.front();
    timings.spread = quantile(values_ms, 0.75) - quantile(values_ms, 0.25);
    return timings;
}

}  // namespace vkattn::bench
