// flex_notebook: PyTorch's FlexAttention notebook, mask by mask, on vkattn.
//
// Reading order: examples.cpp (the masks), attention_bench.cpp (problem, plan, args, binding, record), page.cpp.
#include <cstdio>

#include <CLI/CLI.hpp>

#include "attention_bench.h"
#include "page.h"
#include "support/file.h"
#include "vkattn/picture.h"

namespace {

using namespace flex_notebook;
using vkattn::Status;

constexpr int32_t picture_rows = 16, picture_columns = 32;  // a terminal's cells are about twice as high as wide

struct Options {
    Sizes sizes;
    std::string device, html;
};

int fail(const Status& status, int exit) {
    std::fprintf(stderr, "flex_notebook: %s\n", status.message.c_str());
    return exit;
}

Status print_example(const Outcome& outcome) {
    const Example& example = *outcome.example;
    auto blocks = picture_blocks(example, outcome.timed, picture_rows, picture_columns);
    if (!blocks) return blocks.status();
    std::printf("\n== %s\n%s\n\n  mask       %s\n  score mod  %s\n", example.title.c_str(), example.meaning.c_str(),
                example.mask_text.c_str(), example.score_text.c_str());
    const std::string values = values_text(outcome.timed.values);
    if (!values.empty()) std::printf("  values     %s\n", values.c_str());
    std::printf("\n%s\nblocks  %s\n", vkattn::terminal_picture(*blocks).c_str(), sparsity_text(outcome).c_str());
    std::printf("check   %s, %s\n\n", outcome.ok() ? "passed" : "WRONG", check_text(outcome).c_str());
    std::printf("  %-30s %12s %17s   schedule\n", "operation", "forward ms", "forward GFLOP/s");
    for (const Row& row : outcome.rows)
        std::printf("  %-30s %12.3f %17.1f   %s\n", row.operation.c_str(), row.forward_ms, row.gflops,
                    row.schedule.c_str());
    std::fflush(stdout);
    return {};
}

int walk(const Options& options) {
    auto bench = AttentionBench::create(options.device, options.sizes);
    if (!bench)
        return fail(bench.status(), bench.status().code == vkattn::Code::invalid_argument ? exit_usage : exit_failed);
    const vkattn::DeviceInfo& info = (*bench)->capabilities().device;
    PageFacts facts;
    facts.device = info.name + " (" + info.driver + ")";
    facts.sizes = options.sizes;
    std::printf(
        "device  %s\nsizes   %d heads, D = Dv = %d, length %d, f32, forward; median of %d runs\n"
        "GFLOP/s counts 2 (D + Dv) for every pair that attends, whatever a kernel visits. The dense mask keeps the "
        "same\npairs as vkattn's, so the ratio of the two is that of their times; causal counts the causal pairs.\n",
        facts.device.c_str(), options.sizes.heads, options.sizes.dim, options.sizes.length, options.sizes.repeats);

    const std::vector<Example> examples = notebook_examples();
    std::vector<Outcome> outcomes;
    for (const Example& example : examples) {
        auto outcome = (*bench)->measure(example);
        if (!outcome) return fail(outcome.status(), exit_failed);
        if (Status status = print_example(*outcome); !status.ok()) return fail(status, exit_failed);
        outcomes.push_back(*std::move(outcome));
    }
    facts.pipelines = (*bench)->pipelines_created();
    facts.device_clock = (*bench)->device_clock();
    std::printf("\n%llu pipelines for %zu examples; the checked and the timed instance of a row share one\n",
                static_cast<unsigned long long>(facts.pipelines), outcomes.size());
    if (!options.html.empty()) {
        auto page = html_page(facts, outcomes);
        if (!page) return fail(page.status(), exit_failed);
        if (Status status = vkattn::support::write_file(options.html, *page); !status.ok())
            return fail(status, exit_failed);
        std::printf("the page is %s\n", options.html.c_str());
    }
    for (const Outcome& outcome : outcomes)
        if (!outcome.ok())
            std::fprintf(stderr, "flex_notebook: %s is WRONG (%s)\n", outcome.example->title.c_str(),
                         facts.device.c_str());
    return exit_status(outcomes);
}

}  // namespace

int main(int argc, char** argv) {
    Options options;
    CLI::App app("Walks through PyTorch's FlexAttention notebook: no mask, causal, sliding windows, prefix LM, "
                 "documents, pictures "
                 "(stand-alone self-attention, NATTEN), ALiBi, soft-capping, jagged sequences, cross-attention. For "
                 "each mask it "
                 "prints a picture, how sparse it is, a check against attention in float64, and times: vkattn with the "
                 "mask, vkattn "
                 "causal, and vkattn given the dense mask as a table of booleans.",
                 "flex_notebook");
    app.get_formatter()->enable_footer_formatting(false);
    app.footer(
        "How to read the table:\n"
        "  GFLOP/s counts 2 (D + Dv) for every pair that attends. Work on pairs that do not attend is not counted, so\n"
        "  a kernel that visits them has less. Both ways of giving a mask have the same pairs: their ratio is that of\n"
        "  their times. The row 'vkattn causal' counts the causal pairs of the same lengths.\n"
        "  schedule says how the kernel finds its keys: interval (a range a row, from the scalars), list (block\n"
        "  lists), dense (every key, the mask asked for each).\n"
        "\nExamples:\n"
        "  flex_notebook\n"
        "  flex_notebook --html notebook.html\n"
        "  flex_notebook --device gpu --length 8192 --heads 16 --repeat 20 --html notebook.html\n"
        "\nExit codes: 0 right; 1 a check was wrong, or something failed; 2 bad usage.");
    app.add_option("--length", options.sizes.length, "Queries and keys of the timed instances")
        ->type_name("N")
        ->check(CLI::Range(16, 16384))
        ->capture_default_str();
    app.add_option("--heads", options.sizes.heads, "Heads")
        ->type_name("N")
        ->check(CLI::Range(1, 64))
        ->capture_default_str();
    app.add_option("--dim", options.sizes.dim, "D and Dv, a multiple of 4")
        ->type_name("N")
        ->check(CLI::Range(4, 576))
        ->capture_default_str();
    app.add_option("--repeat", options.sizes.repeats, "Timed runs after one that is not timed; the median counts")
        ->type_name("N")
        ->check(CLI::Range(1, 10000))
        ->capture_default_str();
    app.add_option("--device", options.device,
                   "A device by index, kind (gpu, cpu) or part of its name; default: the best")
        ->type_name("N|NAME");
    app.add_option("--html", options.html, "Write everything as one HTML page, pictures inside")->type_name("F");
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& e) { return app.exit(e) == 0 ? exit_right : exit_usage; }
    if (options.sizes.dim % 4 != 0)
        return fail(
            {vkattn::Code::invalid_argument, 0, "--dim: " + std::to_string(options.sizes.dim) + " is no multiple of 4"},
            exit_usage);
    if (int64_t{options.sizes.length} * options.sizes.heads * options.sizes.dim > int64_t{1} << 28)
        return fail({vkattn::Code::limit_exceeded, 0,
                     "--length x --heads x --dim is more than 2^28 numbers; take a smaller one of them"},
                    exit_usage);
    return walk(options);
}
