// vkattn tune: looks for kernels and sizes that are faster than plan()'s own on this device, and keeps those that are.
#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <thread>

#include "attention_options.h"
#include "attention_run.h"
#include "command.h"
#include "description.h"
#include "run_time_compiler.h"
#include "tensors.h"
#include "tuner.h"
#include "tuning_file.h"
#include "vkattn/classify.h"

namespace vkattn::cli {
namespace {

struct Options {
    DescriptionText text;
    std::vector<std::string> random;
    ElementType type = ElementType::f32;  // of random
    Path path = Path::automatic;
    Schedule schedule = Schedule::automatic;
    std::string in, device, block = "128x128", table, cache;
    double budget_s = 60.0;
    bool list = false;
};

// What is tuned: made-up tensors, since values do not matter to the time.
struct TunedCase {
    std::string size;
    ElementType type = ElementType::f32;
    DescriptionText text;
};

// Without --random: what models do most, long enough to keep the device busy.
std::vector<TunedCase> usual_cases(bool software) {
    const std::string prefill = software ? "1x8x1024x" : "1x16x4096x", decode = "1x32x8x1x16384x128";
    const char* const masks[] = {"true", "causal()", "causal() && (sliding_window(256) || kv < 64)"};
    std::vector<TunedCase> cases;
    for (const ElementType type : {ElementType::f16, ElementType::f32}) {
        for (const char* dim : {"64", "128"})
            for (const char* mask : masks) cases.push_back({prefill + dim, type, {mask, "score", {}}});
        cases.push_back({decode, type, {}});
    }
    return cases;
}

std::string padded(std::string text, size_t width) {
    text.resize(std::max(text.size(), width), ' ');
    return text;
}

void line(const std::string& label, const std::string& text) {
    std::printf("%-9s %s\n", label.c_str(), text.c_str());
    std::fflush(stdout);
}

std::string ratio_text(double ratio, double spread) { return fixed(ratio, 3) + " (spread " + fixed(spread, 3) + ")"; }

void print_attempt(const Tuned& tuned) {
    if (tuned.attempts.empty()) {
        line("own", to_text(tuned.own) + ": " + fixed(tuned.own_ms, 3) + " ms, worst row error " +
                        scientific(tuned.own_errors.worst) + ", bound " + scientific(tuned.own_errors.bound));
        return;
    }
    const Attempt& attempt = tuned.attempts.back();
    const std::string what = padded(difference(tuned.own, attempt.sizes), 34);
    const std::string times = fixed(attempt.ms, 3) + " ms, of the best " + ratio_text(attempt.ratio, attempt.spread);
    switch (attempt.verdict) {
    case Verdict::faster: line("faster", what + " " + times); break;
    case Verdict::slower: line("-", what + " " + times); break;
    case Verdict::wrong: line("WRONG", what + " " + attempt.words); break;
    case Verdict::refused: line("refused", what + " " + attempt.words); break;
    }
}

void print_verdict(const Tuned& tuned) {
    if (tuned.found)
        line("chosen", difference(tuned.own, tuned.found->sizes) + ": " +
                           fixed(double{1} * tuned.found->after_us / 1000.0, 3) + " ms instead of " +
                           fixed(double{1} * tuned.found->before_us / 1000.0, 3) + ", " +
                           ratio_text(tuned.ratio, tuned.spread));
    else if (tuned.ratio != 1.0)
        line("kept", "plan()'s own: in the last comparison the best was not faster by more than the spread, " +
                         ratio_text(tuned.ratio, tuned.spread));
    else line("kept", "plan()'s own: nothing was faster by more than the spread");
    if (tuned.untried > 0)
        line("budget", std::to_string(tuned.untried) + " more to try did not fit --budget; a larger one goes on");
}

int list_table(const Options& options, const Capabilities& capabilities) {
    auto table = read_tuning_table(options.table);
    if (!table) return fail(about("--table", table.status()));
    line("table", options.table + ": " + table->identity.device + " (" + table->identity.driver + ")");
    const std::string mismatch = tuning_mismatch(table->identity, capabilities);
    line("use", mismatch.empty() ? "yes, by 'vkattn run --tuning " + options.table + "'" : "no: " + mismatch);
    for (const auto& [key, tuned] : table->entries) {
        line("problem", to_text(key));
        line("", to_text(tuned.sizes) + ": " + fixed(double{1} * tuned.after_us / 1000.0, 3) + " ms instead of " +
                     fixed(double{1} * tuned.before_us / 1000.0, 3));
    }
    return exit_ok;
}

// The table to go on with: the file's, or an empty one.
Result<TuningTable> open_table(const Options& options, const Capabilities& capabilities) {
    TuningTable table;
    table.identity = tuning_identity(capabilities);
    if (options.table.empty()) return table;
    std::error_code none;
    if (std::filesystem::is_directory(options.table, none))
        return error(Code::invalid_argument, options.table + " is a directory; a file is wanted, " +
                                                 (std::filesystem::path(options.table) / "tuned.txt").string() +
                                                 " say");
    if (std::filesystem::exists(options.table, none)) {
        auto old = read_tuning_table(options.table);
        if (!old) return old.status();
        if (const std::string mismatch = tuning_mismatch(old->identity, capabilities); !mismatch.empty())
            return error(Code::invalid_argument,
                         options.table + " is left as it is: " + mismatch + "; name another file, or remove this one");
        table = *std::move(old);
    }
    if (Status status = check_writable(options.table, table); !status.ok()) return status;
    return table;
}

Result<Tuned> tune_case(const TunedCase& one, const Options& options, const support::Safetensors* file,
                        const support::Device& device, Engine& engine, double budget_s) {
    auto tensors = random_tensors(one.size, one.type);
    if (!tensors) return about("--random", tensors.status());
    constexpr std::string_view qkv[] = {"q", "k", "v"};
    auto description = describe(one.text, file, qkv);
    if (!description) return description.status();
    auto block = parse_block_size(options.block);
    if (!block) return about("--block", block.status());
    ClassifyOptions classify;
    classify.block_q = block->q;
    classify.block_kv = block->kv;
    classify.threads = static_cast<int32_t>(std::max(1u, std::thread::hardware_concurrency()));
    auto block_mask = create_block_mask(description->mask, tensors->shape, description->bindings, classify);
    if (!block_mask) return about("--mask", block_mask.status());
    RunWishes wishes;
    wishes.path = options.path;
    wishes.schedule = options.schedule;
    TunerLimits limits;
    limits.budget_s = budget_s;

    line("problem", one.size + " " + std::string(to_string(one.type)) + ", " + description->mask_text +
                        (description->score_text == "score" ? "" : ", score " + description->score_text));
    std::optional<Progress> progress(std::in_place, "compiling and running plan()'s own");
    auto tuned =
        tune_problem(device, engine, *tensors, *description, *block_mask, wishes, limits, [&](const Tuned& so_far) {
            progress.reset();
            print_attempt(so_far);
            progress.emplace("trying another, " + std::to_string(so_far.attempts.size()) + " done in " +
                             fixed(budget_s, 0) + " s at most");
        });
    progress.reset();
    if (tuned) print_verdict(*tuned);
    return tuned;
}

int tune(const Options& options) {
    if (options.list && options.table.empty()) return usage_error("--list: --table F is missing, the table to list");
    if (!(options.budget_s > 0.0)) return usage_error("--budget: a number of seconds above 0 is wanted");
    std::optional<support::Safetensors> file;
    if (!options.in.empty()) {
        auto opened = support::Safetensors::open(options.in);
        if (!opened) return usage_error("--in: " + opened.status().message);
        file.emplace(std::move(*opened));
    }
    auto device = support::Device::create(options.device);
    if (!device) return fail(about("--device", device.status()));
    EngineOptions engine_options;
    const auto compiler = make_run_time_compiler();
    engine_options.compiler = compiler.get();
    engine_options.cache_directory = cache_directory(options.cache);
    auto engine = Engine::create((*device)->host(), engine_options);
    if (!engine) return fail(engine.status());
    const Capabilities& capabilities = (*engine)->capabilities();
    if (options.list) return list_table(options, capabilities);

    auto table = open_table(options, capabilities);
    if (!table) return fail(about("--table", table.status()));
    line("device", table->identity.device + " (" + table->identity.driver + ")");
    line("table", options.table.empty() ? "none: --table F would keep what is found"
                                        : options.table + ", " + std::to_string(table->entries.size()) + " problems");

    std::vector<TunedCase> cases;
    for (const std::string& size : options.random) cases.push_back({size, options.type, options.text});
    if (cases.empty()) cases = usual_cases(capabilities.software);
    const auto start = std::chrono::steady_clock::now();
    size_t chosen = 0, wrong = 0;
    for (size_t i = 0; i < cases.size(); i++) {
        const double left_s =
            options.budget_s - std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        if (left_s <= 0.0) {
            line("budget", std::to_string(cases.size() - i) + " problems were not begun");
            break;
        }
        auto tuned = tune_case(cases[i], options, file ? &*file : nullptr, **device, **engine,
                               left_s / static_cast<double>(cases.size() - i));
        if (!tuned && options.random.empty() && tuned.status().code == Code::unsupported) {  // no compiler, say
            line("skipped", tuned.status().message);
            continue;
        }
        if (!tuned) return fail(tuned.status());
        for (const Attempt& attempt : tuned->attempts) wrong += attempt.verdict == Verdict::wrong ? 1 : 0;
        chosen += tuned->found ? 1 : 0;
        if (tuned->found) table->entries.insert_or_assign(tuned->key, *tuned->found);
        else table->entries.erase(tuned->key);
        if (options.table.empty()) continue;
        if (Status status = write_tuning_table(options.table, *table); !status.ok())
            return fail(about("--table", status));
    }
    line("done", std::to_string(chosen) + " of " + std::to_string(cases.size()) + " problems have a faster choice" +
                     (options.table.empty() ? "" : "; vkattn run --tuning " + options.table + " uses them"));
    if (wrong == 0) return exit_ok;
    line("WRONG", std::to_string(wrong) + " choices gave a wrong result: a bug of the driver or of vkattn, please "
                                          "report them. They are not in the table.");
    return exit_failed;
}

}  // namespace

void add_tune(CLI::App& app, Action& action) {
    auto options = std::make_shared<Options>();
    Options& o = *options;
    CLI::App* command = app.add_subcommand("tune", "Look for faster kernels and sizes on a device, and keep them");
    command
        ->add_option("--table", o.table,
                     "Keep what is found in this file; what it has for other problems stays [nothing is kept]")
        ->type_name("F");
    command->add_flag("--list", o.list, "Only show what is in --table, and whether it is for this device");
    command->add_option("--budget", o.budget_s, "Seconds for everything, compiling included [60]")
        ->check(CLI::Number)
        ->type_name("SECONDS");
    CLI::Option* random =
        command
            ->add_option(
                "--random", o.random,
                "Size of a problem's made-up tensors; may be repeated [prefill and decoding, D 64 and 128, f16 "
                "and f32]")
            ->type_name("BxHxLxD | BxHqxHkvxLqxLkvxD")
            ->allow_extra_args(false);
    // The usual problems have texts and types of their own.
    add_type_option(*command, o.type, "Type of --random's tensors [f32]")->needs(random);
    command->add_option("--mask", o.text.mask, "Which pairs attend [true]")->type_name("TEXT")->needs(random);
    command->add_option("--score", o.text.score, "How a score changes [score]")->type_name("TEXT")->needs(random);
    add_param_option(*command, o.text.params, "A scalar that a text names; may be repeated");
    command->add_option("--in", o.in, "safetensors file with the tables that the texts name")->type_name("F");
    add_device_option(*command, o.device);
    add_path_option(*command, o.path, "For calls that ask for this kernel family [auto]");
    add_schedule_option(*command, o.schedule, "For calls that ask for this schedule [auto]");
    add_block_option(*command, o.block, "Block size of the lists, queries x keys [128x128]");
    add_cache_option(*command, o.cache);
    command->footer(
        "Starts from what vkattn chooses by itself, changes one size at a time, and goes on from whatever is faster. "
        "Each\n"
        "choice is compared with a float64 reference first: a wrong one is reported and never kept. Then it runs in "
        "turns\n"
        "with the best so far, and wins when it is faster by more than the spread; in the end the winner must win "
        "again.\n"
        "The table is for this device, this driver and this version of vkattn. Nothing uses it unless it is named.\n"
        "\nExamples:\n"
        "  vkattn tune --table tuned.txt --budget 300\n"
        "  vkattn tune --table tuned.txt --random 1x32x8x4096x4096x128 --type f16 --mask 'causal()'\n"
        "  vkattn run --tuning tuned.txt --random 1x32x8x4096x4096x128 --type f16 --mask 'causal()' --repeat 10\n"
        "  vkattn tune --list --table tuned.txt");
    command->callback([options, &action] { action = [options] { return tune(*options); }; });
}

}  // namespace vkattn::cli
