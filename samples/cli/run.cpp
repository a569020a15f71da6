// vkattn run: attention on tensors from a file, timed, checked and reported.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include <nlohmann/json.hpp>

#include "attention_options.h"
#include "attention_run.h"
#include "checks.h"
#include "command.h"
#include "description.h"
#include "run_time_compiler.h"
#include "support/file.h"
#include "tensors.h"
#include "tuning_file.h"
#include "vkattn/classify.h"
#include "vkattn/reference.h"
#include "vkattn/simplify.h"

namespace vkattn::cli {
namespace {

struct Options {
    DescriptionText text;
    ElementType type = ElementType::f32;  // of random
    Path path = Path::automatic;
    Schedule schedule = Schedule::automatic;
    std::string in, out, random, device, block = "128x128", json, cache, tuning;
    std::optional<float> scale;
    bool check = false;
    int32_t repeats = 1;
    std::string splits = "auto";
};

// What --check found.
struct CheckResult {
    RowErrors rows;
    double lse_error = 0.0;  // worst |lse - reference| / (1 + |reference|); infinite where one is no number
    bool ok() const { return rows.ok() && lse_error <= lse_bound; }
    static constexpr double lse_bound = 1e-3;
};

struct Outcome {
    std::vector<std::string> simplified;  // terms of the mask that did not matter here
    RunResult run;
    BlockMask block_mask;
    double classify_ms = 0.0;
    int64_t pairs = 0;  // that attend
    std::optional<CheckResult> check;
};

Status classify(const Description& description, const Shape& shape, BlockSize block, Outcome& outcome) {
    const Progress progress("classifying blocks");
    const auto start = std::chrono::steady_clock::now();
    ClassifyOptions options;
    options.block_q = block.q;
    options.block_kv = block.kv;
    options.threads = static_cast<int32_t>(std::max(1u, std::thread::hardware_concurrency()));
    auto block_mask = create_block_mask(description.mask, shape, description.bindings, options);
    if (!block_mask) return block_mask.status();
    outcome.classify_ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    outcome.block_mask = std::move(*block_mask);
    auto pairs = count_pairs(description.mask, shape, description.bindings);
    if (!pairs) return pairs.status();
    outcome.pairs = *pairs;
    return {};
}

double worst_lse_error(const std::vector<double>& reference, const std::vector<float>& lse) {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    if (reference.size() != lse.size()) return infinity;
    double worst = 0.0;
    for (size_t i = 0; i < lse.size(); i++) {
        const double wanted = reference[i], got = double{lse[i]};
        if (wanted == got || (std::isnan(wanted) && std::isnan(got))) continue;
        const double distance = std::abs(wanted - got) / (1.0 + std::abs(wanted));
        worst = std::max(worst, std::isfinite(distance) ? distance : infinity);
    }
    return worst;
}

Result<CheckResult> check_result(const AttentionTensors& tensors, const Description& description,
                                 const std::optional<float>& scale, const Outcome& outcome) {
    const Progress progress("checking against the reference (float64, on the CPU)");
    const auto q = widened(tensors.q.bytes, tensors.q.type);
    const auto k = widened(tensors.k.bytes, tensors.k.type);
    const auto v = widened(tensors.v.bytes, tensors.v.type);
    ReferenceInput input;
    input.shape = tensors.shape;
    input.head_dim = tensors.head_dim;
    input.value_dim = tensors.value_dim;
    // The device multiplies by an f32.
    input.scale = double{scale.value_or(1.0f / std::sqrt(static_cast<float>(tensors.head_dim)))};
    input.q = q.data();
    input.k = k.data();
    input.v = v.data();
    input.block_mask = outcome.run.report.schedule == "list" ? &outcome.block_mask : nullptr;
    if (outcome.run.report.path != "scalar") input.weight_unit = ulp_at_one(tensors.v.type) / 2.0;
    auto reference = reference_attention(description.mask, description.score_mod, description.bindings, input);
    if (!reference) return reference.status();
    const auto o = widened(outcome.run.o, tensors.q.type);
    CheckResult result;
    result.rows = compare_rows(*reference, o.data(), static_cast<int64_t>(outcome.run.lse.size()), tensors.value_dim,
                               ulp_at_one(tensors.q.type));
    result.lse_error = worst_lse_error(reference->lse, outcome.run.lse);
    return result;
}

Status write_output(const Options& options, const AttentionTensors& tensors, const Description& description,
                    const RunResult& run) {
    const Shape& s = tensors.shape;
    const support::TensorSource outputs[] = {
        {"o", dtype_of(tensors.q.type), {s.batch, s.q_heads, s.q_len, tensors.value_dim}, run.o},
        {"lse", support::DType::f32, {s.batch, s.q_heads, s.q_len}, support::bytes_of(run.lse)},
    };
    return support::write_safetensors(options.out, outputs,
                                      {{"mask", description.mask_text}, {"score", description.score_text}});
}

double gflops(const AttentionTensors& tensors, const Outcome& outcome) {
    const double ms = median(outcome.run.times_ms);
    return ms > 0.0 ? 2.0 * (tensors.head_dim + tensors.value_dim) * static_cast<double>(outcome.pairs) / ms * 1e-6
                    : 0.0;
}

int64_t total_blocks(const BlockMask& mask) { return int64_t{mask.batch} * mask.heads * mask.rows() * mask.columns(); }

std::string tensor_text(const char* name, int32_t b, int32_t h, int32_t l, int32_t d, ElementType type) {
    return std::string(name) + " [" + std::to_string(b) + ", " + std::to_string(h) + ", " + std::to_string(l) + ", " +
           std::to_string(d) + "] " + std::string(to_string(type));
}

void print_summary(const support::Device& device, const AttentionTensors& tensors, const Description& description,
                   const Outcome& outcome) {
    const Shape& s = tensors.shape;
    const PlanReport& report = outcome.run.report;
    const BlockMask& mask = outcome.block_mask;
    const int64_t full = mask.full_blocks(), partial = mask.partial_blocks(), total = total_blocks(mask);
    const auto line = [](const char* label, const std::string& text) { std::printf("%-9s %s\n", label, text.c_str()); };
    line("device", device.info().name + " (" + device.info().driver + ")");
    line("tensors", tensor_text("q", s.batch, s.q_heads, s.q_len, tensors.head_dim, tensors.q.type) + ", " +
                        tensor_text("k", s.batch, s.kv_heads, s.kv_len, tensors.head_dim, tensors.k.type) + ", " +
                        tensor_text("v", s.batch, s.kv_heads, s.kv_len, tensors.value_dim, tensors.v.type));
    line("mask",
         description.mask_text + (description.score_text == "score" ? "" : "   score: " + description.score_text));
    for (const std::string& reason : outcome.simplified) line("simpler", reason);
    line("path", report.path + ", schedule " + report.schedule + ", " + report.skeleton + " by " + report.addressing +
                     ", tiles of " + std::to_string(report.tile_q) + (report.tile_q == 1 ? " query" : " queries") +
                     (report.splits == 1 ? "" : ", keys in " + std::to_string(report.splits) + " parts"));
    line("why", report.why.ends_with("; ") ? report.why.substr(0, report.why.size() - 2) : report.why);
    if (!report.tuning.empty()) line("tuning", report.tuning);
    line("blocks", std::to_string(full) + " full, " + std::to_string(partial) + " partial, " +
                       std::to_string(total - full - partial) + " empty of " + std::to_string(total) + " (" +
                       std::to_string(mask.block_q) + "x" + std::to_string(mask.block_kv) + "), " +
                       fixed(mask.sparsity(), 1) + " % sparse; " + std::to_string(outcome.pairs) + " pairs attend");
    const std::vector<double>& times = outcome.run.times_ms;
    line("time", fixed(median(times), 3) + " ms median, " + fixed(*std::min_element(times.begin(), times.end()), 3) +
                     " ms least of " + std::to_string(times.size()) + (times.size() == 1 ? " run" : " runs") +
                     (outcome.run.device_clock ? " (device's clock)" : " (host's clock)") + ", " +
                     fixed(gflops(tensors, outcome), 1) + " GFLOP/s");
    line("host", "classify " + fixed(outcome.classify_ms, 1) + " ms, plan " + fixed(outcome.run.plan_ms, 1) +
                     " ms (compile " + fixed(report.compile_ms, 1) + " ms, " + report.module + "), bind " +
                     fixed(outcome.run.bind_us, 1) + " us, record " + fixed(outcome.run.record_us, 1) + " us");
    if (!outcome.check) return;
    line("check", std::string(outcome.check->ok() ? "passed" : "FAILED") + ": worst row error " +
                      scientific(outcome.check->rows.worst) + ", bound " + scientific(outcome.check->rows.bound) +
                      " (row " + std::to_string(outcome.check->rows.worst_row) + "); worst lse error " +
                      scientific(outcome.check->lse_error) + ", bound " + scientific(CheckResult::lse_bound));
}

Status write_json(const Options& options, const support::Device& device, const AttentionTensors& tensors,
                  const Outcome& outcome) {
    // JSON has no infinity: an unbounded error is the largest double.
    const auto finite = [](double value) { return std::isfinite(value) ? value : std::numeric_limits<double>::max(); };
    const std::vector<double>& times = outcome.run.times_ms;
    nlohmann::ordered_json json = {
        {"device", device.info().name},
        {"driver", device.info().driver},
        {"path", outcome.run.report.path},
        {"schedule", outcome.run.report.schedule},
        {"ms_median", median(times)},
        {"ms_min", *std::min_element(times.begin(), times.end())},
        {"gflops", gflops(tensors, outcome)},
        {"blocks_full", outcome.block_mask.full_blocks()},
        {"blocks_partial", outcome.block_mask.partial_blocks()},
        {"blocks_total", total_blocks(outcome.block_mask)},
        {"worst_row_error", nullptr},
        {"row_error_bound", nullptr},
        {"pipelines_created", outcome.run.pipelines_created},
        {"compile_ms", outcome.run.report.compile_ms},
        {"plan_ms", outcome.run.plan_ms},
        {"bind_us", outcome.run.bind_us},
        {"record_us", outcome.run.record_us},
        {"classify_ms", outcome.classify_ms},
        {"sparsity", outcome.block_mask.sparsity()},
        {"pairs", outcome.pairs},
        {"clock", outcome.run.device_clock ? "device" : "host"},
        {"module", outcome.run.report.module},
        {"skeleton", outcome.run.report.skeleton},
        {"splits", outcome.run.report.splits},
        {"simplified", outcome.simplified},
        {"sizes", to_text(outcome.run.report.sizes)},
        {"tuning", nullptr},
    };
    if (!outcome.run.report.tuning.empty()) json["tuning"] = outcome.run.report.tuning;
    if (outcome.check) {
        json["worst_row_error"] = finite(outcome.check->rows.worst);
        json["row_error_bound"] = finite(outcome.check->rows.bound);
    }
    return support::write_file(options.json,
                               json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

Status check_options(const Options& options) {
    const auto bad = [](const char* message) { return error(Code::invalid_argument, message); };
    if (options.in.empty() && options.random.empty())
        return bad("--in is missing: a safetensors file with q, k and v (or --random 1x8x1024x64 for made-up ones)");
    if (options.out.empty() && options.random.empty())
        return bad("--out is missing: the safetensors file to write o and lse to");
    if (options.scale && !std::isfinite(*options.scale)) return bad("--scale must be finite");
    return {};
}

// The engine names its own fields; a user of this program knows flags and tensors.
Status in_users_words(Status status) {
    constexpr std::pair<std::string_view, std::string_view> words[] = {{"Problem::block_q and block_kv", "--block"},
                                                                       {"Problem::block_q", "--block:"},
                                                                       {"Problem::head_dim", "D (of q and k)"},
                                                                       {"Problem::value_dim", "Dv (of v)"},
                                                                       {"Problem::max_shape", "the shape"},
                                                                       {"Problem::splits is", "--splits:"},
                                                                       {"ArgsInfo::shape", "the shape"},
                                                                       {"ArgsInfo::scale", "--scale"}};
    for (const auto& [theirs, ours] : words)
        if (const size_t at = status.message.find(theirs); at != std::string::npos)
            status.message.replace(at, theirs.size(), ours);
    return status;
}

int run(const Options& options) {
    if (Status status = check_options(options); !status.ok()) return fail(status);
    auto block = parse_block_size(options.block);
    if (!block) return fail(about("--block", block.status()));
    int32_t splits = 0;
    if (options.splits != "auto") {
        auto parsed = parse_integer(options.splits, 1, 1024);
        if (!parsed) return fail(about("--splits", parsed.status()));
        splits = static_cast<int32_t>(*parsed);
    }

    std::shared_ptr<const TuningTable> tuning;
    if (!options.tuning.empty()) {
        auto table = read_tuning_table(options.tuning);
        if (!table) return fail(about("--tuning", table.status()));
        tuning = std::make_shared<const TuningTable>(std::move(*table));
    }

    std::optional<support::Safetensors> file;
    if (!options.in.empty()) {
        auto opened = support::Safetensors::open(options.in);
        if (!opened) return usage_error("--in: " + opened.status().message);
        file.emplace(std::move(*opened));
    }
    auto tensors = options.random.empty() ? find_tensors(*file) : random_tensors(options.random, options.type);
    if (!tensors) return fail(about(options.random.empty() ? "--in" : "--random", tensors.status()));
    constexpr std::string_view qkv[] = {"q", "k", "v"};
    auto description = describe(options.text, file ? &*file : nullptr, qkv);
    if (!description) return fail(description.status());

    auto device = support::Device::create(options.device);
    if (!device) return fail(about("--device", device.status()));
    const auto compiler = make_run_time_compiler();

    // What is run is the mask without the terms that do not matter here; what --check compares with is the mask as given.
    const Description given = *description;
    Outcome outcome;
    auto simplified = simplify_for(description->mask, tensors->shape, description->bindings);
    if (!simplified) return fail(about("--mask", simplified.status()));
    description->mask = simplified->mask;
    outcome.simplified = std::move(simplified->reasons);
    if (Status status = classify(*description, tensors->shape, *block, outcome); !status.ok())
        return fail(about("--mask", status));
    RunWishes wishes;
    wishes.scale = options.scale;
    wishes.path = options.path;
    wishes.schedule = options.schedule;
    wishes.splits = splits;
    wishes.repeats = options.repeats;
    wishes.tuning = std::move(tuning);
    wishes.cache_directory = cache_directory(options.cache);
    auto result = run_attention(**device, compiler.get(), *tensors, *description, outcome.block_mask, wishes);
    if (!result) return fail(in_users_words(result.status()));
    outcome.run = std::move(*result);

    if (!options.out.empty())
        if (Status status = write_output(options, *tensors, *description, outcome.run); !status.ok())
            return fail(about("--out", status));
    if (options.check) {
        auto checked = check_result(*tensors, given, options.scale, outcome);
        if (!checked) return fail(about("--check", checked.status()));
        outcome.check = *checked;
    }
    print_summary(**device, *tensors, *description, outcome);
    if (!options.json.empty())
        if (Status status = write_json(options, **device, *tensors, outcome); !status.ok())
            return fail(about("--json", status));
    return outcome.check && !outcome.check->ok() ? exit_failed : exit_ok;
}

}  // namespace

void add_run(CLI::App& app, Action& action) {
    auto options = std::make_shared<Options>();
    Options& o = *options;
    CLI::App* command = app.add_subcommand("run", "Run attention on a device, time it, check it");
    command
        ->add_option(
            "--in", o.in,
            "safetensors file with q [B, Hq, Lq, D], k [B, Hkv, Lkv, D], v [B, Hkv, Lkv, Dv] as F32, F16 or BF16, and "
            "the tables that the texts name")
        ->type_name("F");
    command
        ->add_option("--out", o.out,
                     "Write o [B, Hq, Lq, Dv] (q's type) and lse [B, Hq, Lq] (F32) to this safetensors file")
        ->type_name("F");
    command->add_option("--random", o.random, "Made-up q, k and v of this size instead of those in --in")
        ->type_name("BxHxLxD | BxHqxHkvxLqxLkvxD");
    add_type_option(*command, o.type, "Type of --random's tensors [f32]");
    command->add_option("--mask", o.text.mask, "Which pairs attend: an expression, or @file [true]")->type_name("TEXT");
    command->add_option("--score", o.text.score, "How a score changes: an expression, or @file [score]")
        ->type_name("TEXT");
    add_param_option(*command, o.text.params, "A scalar that a text names; may be repeated");
    command->add_option("--scale", o.scale, "Factor of q . k [1/sqrt(D)]")->type_name("X");
    add_device_option(*command, o.device);
    add_path_option(*command, o.path, "Kernel family [auto]");
    add_schedule_option(*command, o.schedule, "How the kernel learns which keys to visit [auto]");
    command
        ->add_option("--splits", o.splits,
                     "Parts that the keys of a tile of queries are cut into, merged in the end; 1: none [auto]")
        ->type_name("auto|N");
    add_block_option(*command, o.block, "Block size of the lists, queries x keys [128x128]");
    command->add_flag("--check", o.check, "Compare with a float64 reference on the CPU; exit code 1 beyond the bound");
    command->add_option("--repeat", o.repeats, "Timed runs, after one warm-up [1]")
        ->check(whole_number(1, 1000000))
        ->type_name("N");
    add_tuning_option(*command, o.tuning);
    command->add_option("--json", o.json, "Also write the figures to this file")->type_name("F");
    add_cache_option(*command, o.cache);
    command->footer([] {
        return "A tensor of --in that a text names is a table: I32, I64 (range-checked) and U8 become i32, BOOL bool, "
               "F32, F16\n"
               "and BF16 f32; one with a single element may be a scalar. Other tensors are ignored.\n"
               "\nNamed masks:\n" +
               list_of_named_masks() + "\nNamed score mods:\n" + list_of_named_score_mods() +
               "\nExamples:\n"
               "  vkattn run --in qkv.safetensors --out o.safetensors --mask 'causal()' --check\n"
               "  vkattn run --in qkv.safetensors --out o.safetensors --mask 'causal() && document(ids)' --score "
               "'softcap(20)'\n"
               "  vkattn run --random 1x8x1024x64 --mask 'q - kv <= w && kv <= q' --param w=256 --repeat 10 --json "
               "figures.json";
    });
    command->callback([options, &action] { action = [options] { return run(*options); }; });
}

}  // namespace vkattn::cli
