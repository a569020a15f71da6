#include "page.h"

#include <algorithm>
#include <cstdio>

#include "support/html.h"
#include "vkattn/classify.h"
#include "vkattn/picture.h"

namespace flex_notebook {

using vkattn::Result;
using vkattn::support::html_escaped;

namespace {

constexpr int32_t picture_cells = 64;

constexpr const char* style = R"(
body{max-width:60rem;margin:2rem auto;padding:0 1rem;font:16px/1.5 system-ui,sans-serif;color:#222;background:#fff}
h1,h2{line-height:1.2} h2{margin-top:3rem;border-top:1px solid #ddd;padding-top:1rem}
.example{display:flex;flex-wrap:wrap;gap:1.5rem} .picture{flex:0 0 16rem} .words{flex:1 1 28rem;min-width:0}
.picture svg{width:100%;height:auto;border:1px solid #ccc}
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:#f6f6f4;padding:.6rem;margin:.3rem 0 .8rem;font-size:.85rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums} th,td{padding:.15rem .8rem;text-align:right}
th:first-child,td:first-child{text-align:left} th{border-bottom:1px solid #888} .first td{border-top:1px solid #ddd}
.note{color:#555;font-size:.9rem} .wrong{color:#b00020;font-weight:bold}
.key{display:inline-block;width:.8em;height:.8em;border:1px solid #ccc}
)";

template <class... Values>
std::string text(const char* format, Values... values) {
    char line[256];
    std::snprintf(line, sizeof line, format, values...);
    return line;
}

std::string rows_of(const Outcome& outcome, const std::string& first_cell) {
    std::string html;
    for (const Row& row : outcome.rows) {
        const bool first = &row == outcome.rows.data();
        html += first ? "<tr class=\"first\">" : "<tr>";
        if (!first_cell.empty()) html += "<td>" + (first ? first_cell : std::string()) + "</td>";
        html += "<td>" + html_escaped(row.operation) + "</td><td>" + text("%.3f", row.forward_ms) + "</td><td>" +
                text("%.1f", row.gflops) + "</td><td>" + html_escaped(row.schedule) + "</td></tr>\n";
    }
    return html;
}

std::string anchor(size_t i) { return "example-" + std::to_string(i + 1); }

std::string code(const char* title, const std::string& mask, const std::string& score_mod) {
    return std::string("<div class=\"note\">") + title + "</div><pre>mask       " + html_escaped(mask) +
           "\nscore mod  " + html_escaped(score_mod) + "</pre>\n";
}

std::string with_values(const Instance& instance) {
    const std::string values = values_text(instance.values);
    return values.empty() ? std::string() : "; " + html_escaped(values);
}

Result<std::string> section(const Outcome& outcome, size_t i) {
    const Example& example = *outcome.example;
    auto blocks = picture_blocks(example, outcome.timed, picture_cells, picture_cells);
    if (!blocks) return blocks.status();
    auto pairs = picture_blocks(example, outcome.checked, outcome.checked.q_len, outcome.checked.kv_len);
    if (!pairs) return pairs.status();
    std::string html = "<h2 id=\"" + anchor(i) + "\">" + html_escaped(example.title) + "</h2>\n<p>" +
                       html_escaped(example.meaning) + "</p>\n<div class=\"example\"><div class=\"picture\">" +
                       vkattn::svg_picture(*pairs) +
                       text("<p class=\"note\">Every pair of the checked instance, %d x %d", outcome.checked.q_len,
                            outcome.checked.kv_len) +
                       with_values(outcome.checked) + "</p>\n" + vkattn::svg_picture(*blocks) +
                       text("<p class=\"note\">The timed instance, %d x %d, in blocks of %d x %d", outcome.timed.q_len,
                            outcome.timed.kv_len, blocks->block_q, blocks->block_kv) +
                       with_values(outcome.timed) + "</p></div>\n<div class=\"words\">";
    html += code("C++", example.mask.cpp, example.score_mod.cpp);
    html += code("text", example.mask_text, example.score_text);
    html += "<table><tr><th>operation</th><th>forward ms</th><th>forward GFLOP/s</th><th>schedule</th></tr>\n" +
            rows_of(outcome, {}) + "</table>\n<p class=\"note\">lists: " + html_escaped(sparsity_text(outcome)) +
            "</p>\n<p class=\"note\">check " + (outcome.ok() ? "passed, " : "<span class=\"wrong\">WRONG</span>, ") +
            html_escaped(check_text(outcome)) + "</p></div></div>\n";
    return html;
}

}  // namespace

Result<vkattn::BlockMask> picture_blocks(const Example& example, const Instance& instance, int32_t rows,
                                         int32_t columns) {
    const auto block = [](int32_t length, int32_t cells) { return std::max(1, (length + cells - 1) / cells); };
    vkattn::Shape shape;
    shape.q_len = instance.q_len;
    shape.kv_len = instance.kv_len;
    return vkattn::create_block_mask(
        example.mask.value, shape, instance.values,
        {.block_q = block(instance.q_len, rows), .block_kv = block(instance.kv_len, columns)});
}

std::string sparsity_text(const Outcome& outcome) {
    const vkattn::BlockMask& blocks = outcome.blocks;
    const auto full = static_cast<long long>(blocks.full_blocks()),
               partial = static_cast<long long>(blocks.partial_blocks());
    const long long all = static_cast<long long>(blocks.rows()) * blocks.columns();
    return text(
        "%lld full, %lld partial, %lld empty of %lld blocks of %d x %d: %.1f %% sparse; %.1f %% of the pairs attend",
        full, partial, all - full - partial, all, blocks.block_q, blocks.block_kv, blocks.sparsity(),
        outcome.attending);
}

std::string check_text(const Outcome& outcome) {
    std::string errors;
    for (const Row& row : outcome.rows)
        errors +=
            (errors.empty() ? "" : "; ") + row.operation + text(" %.1e of %.1e", row.check.worst, row.check.bound);
    return text("%d x %d, worst row error of what is allowed: ", outcome.checked.q_len, outcome.checked.kv_len) +
           errors;
}

Result<std::string> html_page(const PageFacts& facts, const std::vector<Outcome>& outcomes) {
    std::string html =
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\n<title>FlexAttention's notebook on "
        "vkattn</title>\n<meta name=\"viewport\" content=\"width=device-width\"/>\n<style>";
    html += style;
    html +=
        "</style></head><body>\n<h1>FlexAttention's notebook on vkattn</h1>\n<p>" + html_escaped(facts.device) +
        text("; %d heads, D = Dv = %d, length %d, f32, forward; median of %d runs by the %s clock.", facts.sizes.heads,
             facts.sizes.dim, facts.sizes.length, facts.sizes.repeats, facts.device_clock ? "device's" : "host's") +
        "</p>\n<p>In the pictures rows are queries and columns are keys: "
        "<span class=\"key\" style=\"background:#1f4e79\"></span> all pairs attend, "
        "<span class=\"key\" style=\"background:#f2a93b\"></span> some, "
        "<span class=\"key\" style=\"background:#f4f4f1\"></span> none.</p>\n"
        "<p>GFLOP/s counts 2 (D + Dv) for every pair that attends, whatever a kernel visits. The dense mask keeps the "
        "same "
        "pairs as vkattn's, so the ratio of the two is that of their times; the causal rows count the causal pairs. "
        "Score "
        "mods cost time and are not counted. Each row is checked on a small instance against attention in float64 that "
        "follows the text form; the device runs the C++ form.</p>\n"
        "<table><tr><th>example</th><th>operation</th><th>forward ms</th><th>forward "
        "GFLOP/s</th><th>schedule</th></tr>\n";
    for (size_t i = 0; i < outcomes.size(); ++i)
        html +=
            rows_of(outcomes[i], "<a href=\"#" + anchor(i) + "\">" + html_escaped(outcomes[i].example->title) + "</a>");
    html += "</table>\n<p class=\"note\">" + std::to_string(facts.pipelines) +
            " pipelines for all of it; the checked and the timed instance of a row share one.</p>\n";
    for (size_t i = 0; i < outcomes.size(); ++i) {
        auto part = section(outcomes[i], i);
        if (!part) return part;
        html += *part;
    }
    return html + "</body></html>\n";
}

}  // namespace flex_notebook
