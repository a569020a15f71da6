// Plots as SVG text, for pages that need nothing else.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace vkattn::bench {

struct Series {
    std::string label;
    std::vector<std::pair<double, double>> points;  // positive, ascending in x
};
// Lines over two logarithmic axes; x has a tick at each power of two, y at each power of ten.
std::string line_plot(const std::string& x_title, const std::string& y_title, const std::vector<Series>& series);

struct Bar {
    std::string label;
    double value = 0.0;
    std::string text;  // behind the bar
};
// Bars side by side from 0 on; a line marks `mark` where it is positive.
std::string bar_plot(const std::vector<Bar>& bars, double mark);

}  // namespace vkattn::bench
