#include "svg_plot.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "../cli/command.h"
#include "support/html.h"

namespace vkattn::bench {
namespace {

// Told apart with any kind of colour vision (Okabe and Ito).
constexpr std::array<const char*, 7> colours = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                                "#e69f00", "#56b4e9", "#000000"};

std::string number(double value) { return cli::fixed(value, 1); }

std::string text_at(double x, double y, const char* anchor, const std::string& text) {
    return "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" text-anchor=\"" + anchor + "\">" +
           support::html_escaped(text) + "</text>\n";
}

std::string line(double x1, double y1, double x2, double y2, const char* colour, const char* more = "") {
    return "<line x1=\"" + number(x1) + "\" y1=\"" + number(y1) + "\" x2=\"" + number(x2) + "\" y2=\"" + number(y2) +
           "\" stroke=\"" + colour + "\"" + more + "/>\n";
}

std::string open_svg(double width, double height) {
    return "<svg viewBox=\"0 0 " + number(width) + " " + number(height) + "\" width=\"" + number(width) +
           "\" role=\"img\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n";
}

std::string tick_label(double value) {
    if (value >= 1024.0 && std::fmod(value, 1024.0) == 0.0) return cli::fixed(value / 1024.0, 0) + "k";
    return value >= 1.0 ? cli::fixed(value, 0) : cli::fixed(value, static_cast<int>(std::ceil(-std::log10(value))));
}

}  // namespace

std::string line_plot(const std::string& x_title, const std::string& y_title, const std::vector<Series>& series) {
    double x_low = HUGE_VAL, x_high = 0.0, y_low = HUGE_VAL, y_high = 0.0;
    for (const Series& s : series) {
        for (const auto& [x, y] : s.points) {
            x_low = std::min(x_low, x);
            x_high = std::max(x_high, x);
            y_low = std::min(y_low, y);
            y_high = std::max(y_high, y);
        }
    }
    if (!(x_high > 0.0) || !(y_low > 0.0)) return "";
    const double x_first = std::floor(std::log2(x_low)), x_last = std::max(std::ceil(std::log2(x_high)), x_first + 1.0);
    const double y_first = std::floor(std::log10(y_low)),
                 y_last = std::max(std::ceil(std::log10(y_high)), y_first + 1.0);
    constexpr double left = 60, top = 14, width = 520, height = 300, legend = 190;
    const auto px = [&](double x) { return left + (std::log2(x) - x_first) / (x_last - x_first) * width; };
    const auto py = [&](double y) { return top + height - (std::log10(y) - y_first) / (y_last - y_first) * height; };

    std::string svg = open_svg(left + width + legend, top + height + 46);
    for (double e = x_first; e <= x_last; e++) {
        const double at = px(std::exp2(e));
        svg += line(at, top, at, top + height, "#ddd") +
               text_at(at, top + height + 16, "middle", tick_label(std::exp2(e)));
    }
    for (double e = y_first; e <= y_last; e++) {
        const double at = py(std::pow(10.0, e));
        svg +=
            line(left, at, left + width, at, "#ddd") + text_at(left - 6, at + 4, "end", tick_label(std::pow(10.0, e)));
    }
    svg +=
        text_at(left + width / 2, top + height + 36, "middle", x_title) + text_at(left + 6, top + 12, "start", y_title);
    for (size_t i = 0; i < series.size(); i++) {
        const char* colour = colours[i % colours.size()];
        const char* dashes = i < colours.size() ? "" : " stroke-dasharray=\"5 3\"";  // each colour twice
        std::string points;
        for (const auto& [x, y] : series[i].points) {
            points += number(px(x)) + "," + number(py(y)) + " ";
            svg +=
                "<circle cx=\"" + number(px(x)) + "\" cy=\"" + number(py(y)) + "\" r=\"3\" fill=\"" + colour + "\"/>\n";
        }
        svg += "<polyline points=\"" + points + "\" fill=\"none\" stroke=\"" + colour + "\" stroke-width=\"1.5\"" +
               dashes + "/>\n";
        const double y = top + 10 + 18 * static_cast<double>(i);
        svg += line(left + width + 14, y, left + width + 34, y, colour, dashes) +
               text_at(left + width + 40, y + 4, "start", series[i].label);
    }
    return svg + "</svg>\n";
}

std::string bar_plot(const std::vector<Bar>& bars, double mark) {
    if (bars.empty()) return "";
    double largest = mark;
    for (const Bar& bar : bars) largest = std::max(largest, bar.value);
    if (!(largest > 0.0)) return "";
    constexpr double left = 330, width = 330, behind = 120, step = 20;
    const double height = step * static_cast<double>(bars.size());
    std::string svg = open_svg(left + width + behind, height + 6);
    for (size_t i = 0; i < bars.size(); i++) {
        const double y = step * static_cast<double>(i) + 4, length = bars[i].value / largest * width;
        svg += text_at(left - 8, y + 12, "end", bars[i].label) + "<rect x=\"" + number(left) + "\" y=\"" + number(y) +
               "\" width=\"" + number(length) + "\" height=\"14\" fill=\"" + colours[0] + "\"/>\n" +
               text_at(left + length + 6, y + 12, "start", bars[i].text);
    }
    if (mark > 0.0)
        svg += line(left + mark / largest * width, 0, left + mark / largest * width, height + 6, colours[1]);
    return svg + "</svg>\n";
}

}  // namespace vkattn::bench
