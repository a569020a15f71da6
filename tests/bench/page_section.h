// A part of the page that vkattn-bench writes.
#pragma once

#include <string>

namespace vkattn::test {

// What stands between a heading and the next one; empty: there is no such heading.
inline std::string page_section(const std::string& page, const std::string& heading) {
    const std::string element = "<h2>" + heading + "</h2>";
    const size_t start = page.find(element);
    if (start == std::string::npos) return "";
    const size_t content = start + element.size();
    return page.substr(content, page.find("<h2>", content) - content);
}

}  // namespace vkattn::test
