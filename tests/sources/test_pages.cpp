// docs/sources/*.md: every text in a table is one that the parser takes.
#include <doctest/doctest.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "vkattn/mask.h"

using namespace vkattn;

namespace {

std::string file_text(const std::string& path) {
    std::ifstream file(path);
    REQUIRE_MESSAGE(file.good(), path);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

// The cells of a table's line; \| is a bar inside a cell.
std::vector<std::string> cells_of(const std::string& line) {
    std::vector<std::string> cells = {""};
    for (size_t i = 1; i < line.size(); ++i) {
        if (line[i] == '\\' && i + 1 < line.size() && line[i + 1] == '|') cells.back() += line[++i];
        else if (line[i] == '|') cells.emplace_back();
        else cells.back() += line[i];
    }
    cells.pop_back();
    return cells;
}

std::vector<std::string> in_backticks(const std::string& cell) {
    std::vector<std::string> found;
    for (size_t at = cell.find('`'); at != std::string::npos; at = cell.find('`', at + 1)) {
        const size_t end = cell.find('`', at + 1);
        REQUIRE_MESSAGE(end != std::string::npos, cell);
        found.push_back(cell.substr(at + 1, end - at - 1));
        at = end;
    }
    return found;
}

}  // namespace

TEST_CASE("the pages of the sources: every text parses") {
    int texts = 0;
    for (const char* page : {"attention_gym", "flash_attention", "flash_mask", "flashinfer", "flex_attention",
                             "hugging_face", "llama_cpp", "modded_nanogpt", "penzai", "xformers"}) {
        CAPTURE(page);
        std::istringstream lines(file_text(std::string(VKATTN_TEST_SOURCE_DIR "/docs/sources/") + page + ".md"));
        bool in_text_table = false;
        for (std::string line; std::getline(lines, line);) {
            if (line.empty() || line.front() != '|') {
                in_text_table = false;
                continue;
            }
            const std::vector<std::string> cells = cells_of(line);
            REQUIRE_MESSAGE(cells.size() >= 2, line);
            if (cells.back().find(" text") == 0) in_text_table = true;
            if (!in_text_table || cells.back().find(" text") == 0 || cells.back().find("---") == 0) continue;
            for (const std::string& text : in_backticks(cells.back())) {
                const bool goes_on =
                    text.rfind("&&", 0) == 0 || text.rfind("||", 0) == 0;  // from the head or a line above
                if (text.find("...") != std::string::npos || text.size() <= 2 * size_t{goes_on}) continue;
                if (text == "b h q kv") continue;  // the indices' names
                CAPTURE(text);
                const auto mask = parse_mask((goes_on ? "true " : "") + text);
                const auto score_mod = parse_score_mod(text);
                CHECK_MESSAGE((mask.ok() || score_mod.ok()), mask.status().message);
                ++texts;
            }
        }
    }
    CHECK(texts > 90);
}
