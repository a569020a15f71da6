// What pages have in common.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace vkattn::support {

// For HTML and SVG, text and attributes in double quotes. Control characters other than the line's end become spaces.
std::string html_escaped(std::string_view text);

// A table of texts, escaped.
std::string html_table(const std::vector<std::string>& head, const std::vector<std::vector<std::string>>& rows);

}  // namespace vkattn::support
