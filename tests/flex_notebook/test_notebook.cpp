// The program from end to end, the page it writes, and that its checks can fail.
#include <doctest/doctest.h>

#include "flex_notebook/attention_bench.h"
#include "flex_notebook/page.h"
#include "harness/command_line.h"
#include "markup.h"
#include "vkattn/named.h"

using namespace vkattn::test;
using namespace flex_notebook;

namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

constexpr Sizes small{.length = 96, .heads = 2, .dim = 16, .check_length = 50, .repeats = 1};

}  // namespace

TEST_CASE("flex_notebook: every example is drawn, checked and timed, and the page has it all in one file") {
    const TemporaryFolder folder;
    const std::string html = (folder / "page.html").string();
    const Printed printed =
        run_tested_program(folder, {"--length", "160", "--heads", "2", "--dim", "32", "--repeat", "1", "--html", html});
    REQUIRE_MESSAGE(printed.exit_code == 0, printed.command << "\n" << printed.out << printed.err);
    CHECK(count_of(printed.out, "\n== ") == 14);
    CHECK(count_of(printed.out, "\ncheck   passed") == 14);
    CHECK(!has(printed.out, "WRONG"));
    CHECK(count_of(printed.out, "\n  vkattn causal ") == 14);
    CHECK(count_of(printed.out, "\n  vkattn, dense mask as a table ") == 14);
    CHECK(has(printed.out,
              "1 full, 2 partial, 1 empty of 4 blocks of 128 x 128: 25.0 % sparse; 50.3 % of the pairs attend"));

    auto bytes = vkattn::support::read_file(html);
    REQUIRE_MESSAGE(bytes.ok(), bytes.status().message);
    const std::string page(bytes->begin(), bytes->end());
    CHECK(malformed(page) == "");
    CHECK(external(page) == "");
    CHECK(count_of(page, "<svg ") == 28);
    CHECK(count_of(page, "check passed") == 14);
    CHECK(count_of(page, "<td>vkattn causal</td>") == 28);  // the table of all, and a table each
    CHECK(has(page, "sliding_window_causal_mask(param(&quot;window&quot;))"));
    CHECK(has(page, "causal() &amp;&amp; document(document_id)"));
}

TEST_CASE("flex_notebook: bad usage is 2 and says what would be right") {
    const TemporaryFolder folder;
    const auto refused = [&](std::vector<std::string> arguments, const char* reason) {
        const Printed printed = run_tested_program(folder, arguments);
        CHECK_MESSAGE(printed.exit_code == 2, printed.command << "\n" << printed.err);
        CHECK_MESSAGE(has(printed.err, reason), printed.err);
    };
    refused({"--dim", "6"}, "--dim: 6 is no multiple of 4");
    refused({"--length", "3"}, "--length");
    refused({"--length", "16384", "--heads", "64", "--dim", "512"}, "more than 2^28 numbers");
    refused({"--device", "no such"}, "no device matches 'no such'");
    refused({"--repeats", "3"}, "--repeats");
    const Printed help = run_tested_program(folder, {"--help"});
    CHECK(help.exit_code == 0);
    CHECK(has(help.out, "How to read the table"));
}

TEST_CASE("flex_notebook: a device that computes another mask than the text's is WRONG, in words and as exit status") {
    auto bench = AttentionBench::create("", small);
    REQUIRE_MESSAGE(bench.ok(), bench.status().message);
    const std::vector<Example> examples = notebook_examples();
    const Example& causal_example = examples[3];
    auto right = (*bench)->measure(causal_example);
    REQUIRE_MESSAGE(right.ok(), right.status().message);
    CHECK(right->ok());
    CHECK(right->pairs == 2 * 96 * 97 / 2);
    for (const Row& row : right->rows) {
        CHECK(row.forward_ms > 0.0);
        CHECK(row.gflops == doctest::Approx(2.0 * 32 * 96 * 97 / row.forward_ms * 1e-6));
    }
    const uint64_t pipelines = (*bench)->pipelines_created();

    Example other = causal_example;
    other.title = "<Causal & \"more\">";
    other.mask_text = "kv <= q && !(q == 40 && kv == 3)";  // one pair
    auto wrong = (*bench)->measure(other);
    REQUIRE_MESSAGE(wrong.ok(), wrong.status().message);
    CHECK(!wrong->ok());
    CHECK(!wrong->rows[0].check.ok());
    CHECK(wrong->rows[0].check.worst_row == 40);
    CHECK(wrong->rows[1].check.ok());
    CHECK(!wrong->rows[2].check.ok());
    CHECK((*bench)->pipelines_created() == pipelines);

    const std::vector<Outcome> outcomes = {*right, *wrong};
    CHECK(exit_status({*right}) == exit_right);
    CHECK(exit_status(outcomes) == exit_failed);
    PageFacts facts;
    facts.device = "</p><script>a device & its name";
    facts.sizes = small;
    auto page = html_page(facts, outcomes);
    REQUIRE_MESSAGE(page.ok(), page.status().message);
    CHECK(malformed(*page) == "");
    CHECK(external(*page) == "");
    CHECK(count_of(*page, ">WRONG<") == 1);
    CHECK(has(*page, "&lt;Causal &amp; &quot;more&quot;&gt;"));
}

TEST_CASE("markup: the checks of the page find what is wrong") {
    const std::string head = "<!DOCTYPE html>\n";
    CHECK(malformed(head + "<html><p class=\"a\">1 &lt; 2<br/></p></html>\n") == "");
    for (const char* bad : {"<html><p></html>", "<html><p></p>", "<html>a & b</html>", "<html>1 < 2</html>",
                            "<html>2 > 1</html>", "<html a=b></html>x", "<html><p a=\"1></p></html>", "<p></p>"})
        CHECK_MESSAGE(malformed(head + bad) != "", bad);
    CHECK(external("<a href=\"#x\"></a><p id=\"x\"></p>") == "");
    for (const char* bad : {"<a href=\"#y\"></a>", "<a href=\"page\"></a>", "<img />", "see https://example.org",
                            "<style>@import 'a'</style>", "<svg xmlns=\"http://elsewhere\"/>"})
        CHECK_MESSAGE(external(bad) != "", bad);
}
