// long_short_windows: modded-nanogpt's long and short sliding windows over packed documents, growing from step to step.
//
// Reading order: documents.h, windows.cpp (the mask and its lists), layer_stack.cpp (one plan, two args a step, one submit).
#include <algorithm>
#include <cstdio>

#include <CLI/CLI.hpp>

#include "documents.h"
#include "layer_stack.h"
#include "vkattn/classify.h"
#include "vkattn/picture.h"

namespace {

using namespace long_short_windows;
using vkattn::Result;
using vkattn::Status;

constexpr int exit_failed = 1, exit_usage = 2;

struct Options {
    Model model;
    int32_t length = 4096, check_length = 700, steps = 5, window = 1728,
            end_of_text = vkattn::modded_nanogpt::end_of_text;
    std::string tokens, device;
};

int fail(const Status& status, int exit) {
    std::fprintf(stderr, "long_short_windows: %s\n", status.message.c_str());
    return exit;
}

// Clamped lists visit what classification of the mask with that window finds, no more and no less.
Result<bool> same_blocks(const Documents& documents, const vkattn::BlockMask& clamped, int32_t window_blocks) {
    auto classified = create_block_mask(windowed_documents(), clamped.shape, bindings_of(documents, window_blocks),
                                        {.block_q = block_size, .block_kv = block_size});
    if (!classified) return classified.status();
    auto expected = to_dense(*classified), visited = to_dense(clamped);
    if (!expected) return expected.status();
    if (!visited) return visited.status();
    return *expected == *visited;
}

long long visited(const vkattn::BlockMask& mask) {
    return static_cast<long long>(mask.full_blocks() + mask.partial_blocks());
}

int run(const Options& options) {
    std::vector<int32_t> tokens;
    if (options.tokens.empty()) {
        tokens = made_up_tokens(options.length, options.end_of_text);
    } else {
        auto read = read_tokens(options.tokens, options.length);
        if (!read) return fail(read.status(), exit_usage);
        tokens = *std::move(read);
    }
    const auto length = static_cast<int32_t>(tokens.size());
    auto stack = LayerStack::create(options.device, options.model, length);
    if (!stack)
        return fail(stack.status(), stack.status().code == vkattn::Code::invalid_argument ? exit_usage : exit_failed);
    auto sequence = (*stack)->load(tokens, options.end_of_text, options.model.heads);
    if (!sequence) return fail(sequence.status(), exit_failed);
    const int32_t check_length = std::min(options.check_length, length);
    auto small = (*stack)->load(std::span(tokens).first(static_cast<size_t>(check_length)), options.end_of_text, 1);
    if (!small) return fail(small.status(), exit_failed);

    const vkattn::DeviceInfo& info = (*stack)->capabilities().device;
    std::printf("device    %s (%s)\n", info.name.c_str(), info.driver.c_str());
    std::printf("sequence  %d tokens, %d documents\n", length,
                sequence->documents->i32.back() - sequence->documents->i32.front() + 1);
    std::printf("layers    %s: %zu, %d heads of %d; one plan, schedule %s, tiles of %d queries\n",
                options.model.layers.c_str(), options.model.layers.size(), options.model.heads, options.model.dim,
                (*stack)->report().schedule.c_str(), (*stack)->report().tile_q);

    const Windows last = windows_at(options.steps - 1, options.steps, options.window);
    auto pictures = lists_for(sequence->lists, sequence->shape, last);
    if (!pictures) return fail(pictures.status(), exit_failed);
    std::printf("\nlong mask, last step: %d blocks\n%s\nshort mask: %d blocks\n%s", last.long_blocks,
                vkattn::terminal_picture(pictures->masks[0]).c_str(), last.short_blocks,
                vkattn::terminal_picture(pictures->masks[1]).c_str());

    std::printf("\n%4s  %14s  %14s  %9s  %9s  %9s   %s\n", "step", "window, tokens", "blocks visited", "host ms",
                "device ms", "pipelines", "check");
    // A driver compiles for its machine when a pipeline runs the first time; the check does that before the timed run.
    bool ok = true, device_clock = true;
    uint64_t pipelines = 0;
    for (int32_t step = 0; step < options.steps; ++step) {
        const Windows windows = windows_at(step, options.steps, options.window);
        auto small_times = (*stack)->step(*small, windows);
        if (!small_times) return fail(small_times.status(), exit_failed);
        auto errors = (*stack)->check(*small, windows);
        if (!errors) return fail(errors.status(), exit_failed);
        auto times = (*stack)->step(*sequence, windows);
        if (!times) return fail(times.status(), exit_failed);
        device_clock = device_clock && times->device_clock;
        auto lists = lists_for(sequence->lists, sequence->shape, windows);
        if (!lists) return fail(lists.status(), exit_failed);
        auto same_long = same_blocks(sequence->documents, lists->masks[0], windows.long_blocks);
        if (!same_long) return fail(same_long.status(), exit_failed);
        auto same_short = same_blocks(sequence->documents, lists->masks[1], windows.short_blocks);
        if (!same_short) return fail(same_short.status(), exit_failed);
        if (step == 0) pipelines = (*stack)->pipelines_created();
        const bool same_lists = *same_long && *same_short, same_pipelines = (*stack)->pipelines_created() == pipelines;
        ok = ok && errors->ok() && same_lists && same_pipelines;

        char window[32], blocks[32];
        std::snprintf(window, sizeof window, "%d / %d", windows.long_blocks * block_size,
                      windows.short_blocks * block_size);
        std::snprintf(blocks, sizeof blocks, "%lld / %lld", visited(lists->masks[0]), visited(lists->masks[1]));
        std::printf("%4d  %14s  %14s  %9.2f  %9.2f  %9llu   %s, row error %.1e of %.1e%s%s\n", step, window, blocks,
                    times->host_ms, times->device_ms, static_cast<unsigned long long>((*stack)->pipelines_created()),
                    errors->ok() ? "passed" : "WRONG", errors->worst, errors->bound,
                    same_lists ? "" : "; lists WRONG: not those of the mask",
                    same_pipelines ? "" : "; WRONG: a pipeline was made");
        std::fflush(stdout);
    }
    std::printf(
        "\nlong / short in both columns. Checked: all layers on the first %d tokens against float64, and the clamped\n"
        "lists against classification. device ms is all layers by the %s clock, host ms lists and tables of both "
        "masks.\n",
        check_length, device_clock ? "device's" : "host's");
    if (!ok) std::fprintf(stderr, "long_short_windows: a check is WRONG (%s)\n", info.driver.c_str());
    return ok ? 0 : exit_failed;
}

}  // namespace

int main(int argc, char** argv) {
    Options options;
    CLI::App app("Long and short sliding windows over packed documents, as modded-nanogpt trains with: from token ids "
                 "come document ids, "
                 "from them one list of key blocks a row, newest first; a layer attends by the long mask or the short "
                 "one, whose lists "
                 "are the first so many blocks of each row. The windows grow from step to step as a scalar and as "
                 "counts: no pipeline is "
                 "made, no mask is classified again. Every step is checked against attention in float64.",
                 "long_short_windows");
    app.get_formatter()->enable_footer_formatting(false);
    app.footer("The mask:  causal() && document(docs) && q / 128 - kv / 128 < max(window_size_blocks, 1)\n"
               "\nExamples:\n"
               "  long_short_windows\n"
               "  long_short_windows --length 16384 --heads 6 --dim 128 --steps 10\n"
               "  long_short_windows --tokens shard.safetensors --end-of-text 50256\n"
               "\nExit codes: 0 right; 1 a check was wrong, or something failed; 2 bad usage or input.");
    const auto whole = [&](const char* name, int32_t& value, int low, int high, const char* what) {
        app.add_option(name, value, what)->type_name("N")->check(CLI::Range(low, high))->capture_default_str();
    };
    whole("--length", options.length, 1, 65536, "Tokens; of a file, the first so many");
    app.add_option("--tokens", options.tokens,
                   "Token ids from this safetensors file: 'tokens' [n], I32 or I64; else made up")
        ->type_name("F");
    whole("--end-of-text", options.end_of_text, 0, INT32_MAX - 1, "The token that stands before each document");
    app.add_option("--layers", options.model.layers, "Which mask each layer takes, L long, S short")
        ->type_name("LS...")
        ->check([](const std::string& layers) {
            const bool good =
                !layers.empty() && layers.size() <= 64 && layers.find_first_not_of("LS") == std::string::npos;
            return good ? std::string() : "'" + layers + "': 1 to 64 letters, each L (long) or S (short), are wanted";
        })
        ->capture_default_str();
    whole("--heads", options.model.heads, 1, 64, "Heads");
    whole("--dim", options.model.dim, 4, 576, "D and Dv, a multiple of 4");
    whole("--steps", options.steps, 1, 1000, "Steps from a window of one block to the last one");
    whole("--window", options.window, 1, 1 << 24,
          "The long window at the last step, in tokens, rounded up to blocks of 128");
    whole("--check-length", options.check_length, 1, 4096, "Tokens of the sequence that is checked");
    app.add_option("--device", options.device,
                   "A device by index, kind (gpu, cpu) or part of its name; default: the best")
        ->type_name("N|NAME");
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& e) { return app.exit(e) == 0 ? 0 : exit_usage; }
    if (options.model.dim % 4 != 0)
        return fail(
            {vkattn::Code::invalid_argument, 0, "--dim: " + std::to_string(options.model.dim) + " is no multiple of 4"},
            exit_usage);
    constexpr int64_t most_numbers = int64_t{1} << 28;  // 1 GiB each for q, k and v
    if (int64_t{options.length} * options.model.heads * options.model.dim >
        most_numbers / static_cast<int64_t>(options.model.layers.size() + 1))
        return fail({vkattn::Code::limit_exceeded, 0,
                     "--length x --heads x --dim x layers is more than 2^28 numbers; take a smaller one of them"},
                    exit_usage);
    return run(options);
}
