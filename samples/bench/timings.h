// Repeated measurements, summed up.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
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

// The peer's time over ours: 2 is half of the peer's time.
struct Ratio {
    double median = 0.0, spread = 0.0;  // of the rounds' own ratios: what slows a round down slows both
    double of_least = 0.0;              // least time over least time
};

// Ours and the peer's milliseconds, round by round; rounds that only one of them has do not count.
inline Ratio ratio_of(std::span<const double> ours_ms, std::span<const double> peers_ms) {
    std::vector<double> ratios;
    Ratio ratio;
    double our_least = 0.0, peers_least = 0.0;
    for (size_t i = 0; i < std::min(ours_ms.size(), peers_ms.size()); i++) {
        if (!(ours_ms[i] > 0.0)) continue;
        our_least = ratios.empty() ? ours_ms[i] : std::min(our_least, ours_ms[i]);
        peers_least = ratios.empty() ? peers_ms[i] : std::min(peers_least, peers_ms[i]);
        ratios.push_back(peers_ms[i] / ours_ms[i]);
    }
    if (ratios.empty()) return ratio;
    const Timings rounds = summarise(std::move(ratios));
    ratio.median = rounds.median;
    ratio.spread = rounds.spread;
    ratio.of_least = peers_least / our_least;
    return ratio;
}

}  // namespace vkattn::bench
