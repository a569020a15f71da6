#include "support/html.h"

namespace vkattn::support {

std::string html_escaped(std::string_view text) {
    std::string out;
    for (const char c : text) {
        switch (c) {
        case '&': out += "&amp;"; break;
        case '<': out += "&lt;"; break;
        case '>': out += "&gt;"; break;
        case '"': out += "&quot;"; break;
        default: out += static_cast<unsigned char>(c) < 0x20 && c != '\n' ? ' ' : c;
        }
    }
    return out;
}

std::string html_table(const std::vector<std::string>& head, const std::vector<std::vector<std::string>>& rows) {
    const auto line = [](const std::vector<std::string>& cells, const char* cell) {
        std::string text = "<tr>";
        for (const std::string& content : cells)
            text += std::string("<") + cell + ">" + html_escaped(content) + "</" + cell + ">";
        return text + "</tr>\n";
    };
    std::string text = "<table>\n" + line(head, "th");
    for (const std::vector<std::string>& row : rows) text += line(row, "td");
    return text + "</table>\n";
}

}  // namespace vkattn::support
