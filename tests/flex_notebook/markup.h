// What a page must be so that it shows the same everywhere: well-formed, and nothing loaded from elsewhere.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace vkattn::test {

inline size_t count_of(std::string_view text, std::string_view part) {
    size_t n = 0;
    for (size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + part.size())) ++n;
    return n;
}

// XML's rules as far as a page needs them: tags are closed in order, attributes are quoted, & and < are escaped. Empty: well-formed.
inline std::string malformed(std::string_view page) {
    constexpr std::string_view doctype = "<!DOCTYPE html>\n", name_end = " />\n";
    if (page.substr(0, doctype.size()) != doctype) return "no doctype";
    page.remove_prefix(doctype.size());
    std::vector<std::string_view> open;
    for (size_t at = 0; at < page.size();) {
        const auto shown = [&] { return std::string(page.substr(at, 60)); };
        if (page[at] == '&') {
            const std::string_view rest = page.substr(at, 6);
            if (!rest.starts_with("&lt;") && !rest.starts_with("&gt;") && !rest.starts_with("&amp;") &&
                rest != "&quot;")
                return "bare & at " + shown();
        }
        if (page[at] == '>') return "bare > at " + shown();
        if (page[at] != '<') {
            if (open.empty() && page[at] != '\n') return "text outside of the page: " + shown();
            ++at;
            continue;
        }
        const bool closing = page.substr(at, 2) == "</";
        const size_t name_at = at + (closing ? 2 : 1);
        const std::string_view name = page.substr(name_at, page.find_first_of(name_end, name_at) - name_at);
        size_t end = name_at + name.size();
        while (end < page.size() && page[end] != '>') {
            if (page[end] == '<') return "< in a tag: " + shown();
            if (page[end] == '"') end = page.find('"', end + 1);
            if (end == std::string_view::npos) return "open quote: " + shown();
            ++end;
        }
        if (end >= page.size() || name.empty()) return "no tag: " + shown();
        const std::string_view attributes = page.substr(name_at + name.size(), end - name_at - name.size());
        if (count_of(attributes, "=\"") * 2 != count_of(attributes, "\"")) return "attribute: " + shown();
        if (closing) {
            if (open.empty() || open.back() != name) return "closes what is not open: " + shown();
            open.pop_back();
        } else if (page[end - 1] != '/') {
            if (open.empty() && name != "html") return "a second root: " + shown();
            open.push_back(name);
        }
        at = end + 1;
    }
    return open.empty() ? std::string() : "not closed: " + std::string(open.back());
}

// The first thing that would be loaded or led to from elsewhere; empty: none.
inline std::string external(std::string_view page) {
    for (const std::string_view loads :
         {"src=", "url(", "@import", "<script", "<link", "<iframe", "<img", "<object", "<base"})
        if (page.find(loads) != std::string_view::npos) return std::string(loads);
    constexpr std::string_view name_space = "xmlns=\"http://www.w3.org/2000/svg\"";  // a name, not an address
    if (count_of(page, "://") != count_of(page, name_space)) return "an address";
    for (size_t at = page.find("href=\""); at != std::string_view::npos; at = page.find("href=\"", at + 1)) {
        const size_t begin = at + 6;
        const std::string_view target = page.substr(begin, page.find('"', begin) - begin);
        if (target.empty() || target[0] != '#') return std::string(target);
        if (page.find("id=\"" + std::string(target.substr(1)) + "\"") == std::string_view::npos)
            return "no place is called " + std::string(target);
    }
    return {};
}

}  // namespace vkattn::test
