// vkattn mask: what a mask looks like, as a picture, as tensors, and for one pair in words.
#include <chrono>
#include <memory>
#include <optional>
#include <thread>

#include "attention_options.h"
#include "checks.h"
#include "command.h"
#include "description.h"
#include "explain.h"
#include "support/block_mask_file.h"
#include "support/file.h"
#include "support/png.h"
#include "terminal.h"
#include "vkattn/classify.h"
#include "vkattn/evaluate.h"
#include "vkattn/picture.h"

namespace vkattn::cli {
namespace {

constexpr uint64_t max_dense_bytes = uint64_t{1} << 30;
constexpr uint64_t max_padded_bytes = uint64_t{256} << 20;  // of PyTorch's arrays, each way

struct Options {
    DescriptionText text;
    Shape shape;
    std::string tables, block = "128x128", refine = "host", show = "0,0";
    std::string dense, blocks, png, svg, explain;
    bool newest_first = false, strict_edges = false;
};

std::vector<int64_t> shape4(int64_t b, int64_t h, int64_t rows, int64_t columns) { return {b, h, rows, columns}; }

// U8 mask [B, H, q, kv], pair by pair.
Status write_dense(const Options& options, const Description& description) {
    const Shape& shape = options.shape;
    const uint64_t row_bytes = static_cast<uint64_t>(shape.kv_len);
    const uint64_t rows = static_cast<uint64_t>(shape.batch) * static_cast<uint64_t>(shape.q_heads);
    const uint64_t plane_bytes = static_cast<uint64_t>(shape.q_len) * row_bytes;  // below 2^62
    if (plane_bytes != 0 && rows > max_dense_bytes / plane_bytes)
        return error(Code::limit_exceeded, "the dense mask would take " +
                                               fixed(static_cast<double>(rows) * static_cast<double>(plane_bytes), 0) +
                                               " bytes, more than " + std::to_string(max_dense_bytes) +
                                               "; --blocks keeps it small");
    auto evaluator = Evaluator::make(description.mask, shape, description.bindings);
    if (!evaluator) return evaluator.status();
    const Progress progress("evaluating every pair");
    std::vector<uint8_t> bytes;
    bytes.reserve(rows * plane_bytes);
    for (int32_t b = 0; b < shape.batch; b++)
        for (int32_t h = 0; h < shape.q_heads; h++)
            for (int32_t q = 0; q < shape.q_len; q++)
                for (int32_t kv = 0; kv < shape.kv_len; kv++) bytes.push_back(evaluator->mask(b, h, q, kv) ? 1 : 0);
    const support::TensorSource tensor{"mask", support::DType::u8,
                                       shape4(shape.batch, shape.q_heads, shape.q_len, shape.kv_len), bytes};
    return support::write_safetensors(options.dense, {&tensor, 1}, {{"mask", description.mask_text}});
}

std::string text_of_bytes(uint64_t bytes) {
    if (bytes < 10240) return std::to_string(bytes) + " bytes";
    const double kib = static_cast<double>(bytes) / 1024.0;
    return kib < 10240.0 ? fixed(kib, 1) + " KiB" : fixed(kib / 1024.0, 1) + " MiB";
}

uint64_t list_bytes(const BlockMask& block_mask) {
    return block_mask.row_offsets.size() * sizeof(uint32_t) + block_mask.runs.size() * sizeof(BlockRun);
}

// The lists as runs, and while they fit under PyTorch's names too: by query block, and the transposes by key block.
Status write_blocks(const Options& options, const Description& description, const BlockMask& block_mask) {
    std::vector<support::TensorSource> tensors = support::block_mask_tensors(block_mask);
    auto by_query = to_padded(block_mask, max_padded_bytes, options.newest_first, options.strict_edges);
    auto by_key = to_padded(transpose(block_mask), max_padded_bytes, options.newest_first, options.strict_edges);
    const auto add = [&](const std::string& prefix, const PaddedBlocks& blocks) {
        const std::vector<int64_t> counts = {blocks.batch, blocks.heads, blocks.rows};
        const std::vector<int64_t> indices = shape4(blocks.batch, blocks.heads, blocks.rows, blocks.columns);
        tensors.push_back({prefix + "_num_blocks", support::DType::i32, counts, support::bytes_of(blocks.num_blocks)});
        tensors.push_back({prefix + "_indices", support::DType::i32, indices, support::bytes_of(blocks.indices)});
        tensors.push_back(
            {"full_" + prefix + "_num_blocks", support::DType::i32, counts, support::bytes_of(blocks.full_num_blocks)});
        tensors.push_back(
            {"full_" + prefix + "_indices", support::DType::i32, indices, support::bytes_of(blocks.full_indices)});
    };
    if (by_query && by_key) {
        add("kv", *by_query);
        add("q", *by_key);
    } else {
        const Status& status = by_query ? by_key.status() : by_query.status();
        if (status.code != Code::limit_exceeded) return status;
        std::fprintf(stderr, "vkattn: --blocks: only the runs are written: %s\n", status.message.c_str());
    }
    std::map<std::string, std::string> metadata = metadata_of(block_mask);
    metadata["mask"] = description.mask_text;
    return support::write_safetensors(options.blocks, tensors, metadata);
}

Result<PictureOptions> picture_options(const Options& options) {
    const auto parts = split(options.show, ',');
    if (parts.size() != 2)
        return error(Code::invalid_argument, "--show " + options.show + ": b,h is wanted, as in 0,3");
    auto b = parse_integer(parts[0], 0, int64_t{options.shape.batch} - 1);
    if (!b) return about("--show b", b.status());
    auto h = parse_integer(parts[1], 0, int64_t{options.shape.q_heads} - 1);
    if (!h) return about("--show h", h.status());
    PictureOptions picture;
    picture.max_width = terminal_width();
    picture.b = static_cast<int32_t>(*b);
    picture.h = static_cast<int32_t>(*h);
    picture.colour = wants_colour();
    return picture;
}

// What is asked for besides the picture in the terminal.
Status write_files(const Options& options, const Description& description, const BlockMask& block_mask,
                   const PictureOptions& picture) {
    if (!options.dense.empty())
        if (Status status = write_dense(options, description); !status.ok()) return about("--dense", status);
    if (!options.blocks.empty())
        if (Status status = write_blocks(options, description, block_mask); !status.ok())
            return about("--blocks", status);
    if (!options.svg.empty())
        if (Status status = support::write_file(options.svg, svg_picture(block_mask, picture)); !status.ok())
            return about("--svg", status);
    if (options.png.empty()) return {};
    constexpr int32_t max_side = 1024;
    const Raster raster = raster_picture(block_mask, max_side, picture.b, picture.h);
    return about("--png", support::write_png(options.png, raster.width, raster.height, raster.rgb));
}

int draw(const Options& options) {
    if (Status status = check(options.shape); !status.ok()) return fail(status);
    auto block = parse_block_size(options.block);
    if (!block) return fail(about("--block", block.status()));
    auto picture = picture_options(options);
    if (!picture) return fail(picture.status());

    std::optional<support::Safetensors> file;
    if (!options.tables.empty()) {
        auto opened = support::Safetensors::open(options.tables);
        if (!opened) return usage_error("--tables: " + opened.status().message);
        file.emplace(std::move(*opened));
    }
    auto description = describe(options.text, file ? &*file : nullptr, {});
    if (!description) return fail(description.status());

    if (!options.explain.empty()) {
        auto pair = parse_pair(options.explain, options.shape);
        if (!pair) return fail(about("--explain", pair.status()));
        auto text = explain(description->mask, options.shape, description->bindings, *pair);
        if (!text) return fail(about("--explain", text.status()));
        std::fputs(text->c_str(), stdout);
    }
    const bool wants_files =
        !options.dense.empty() || !options.blocks.empty() || !options.png.empty() || !options.svg.empty();
    if (!options.explain.empty() && !wants_files) return exit_ok;

    ClassifyOptions classify;
    classify.block_q = block->q;
    classify.block_kv = block->kv;
    classify.refine = options.refine == "host" ? Refine::host : Refine::none;
    classify.threads = static_cast<int32_t>(std::max(1u, std::thread::hardware_concurrency()));
    std::optional<BlockMask> block_mask;
    double classify_ms = 0.0;
    {
        const Progress progress("classifying blocks");
        const auto start = std::chrono::steady_clock::now();
        auto made = create_block_mask(description->mask, options.shape, description->bindings, classify);
        if (!made) return fail(about("--mask", made.status()));
        classify_ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
        block_mask = std::move(*made);
    }
    if (options.explain.empty()) std::fputs(terminal_picture(*block_mask, *picture).c_str(), stdout);
    if (!options.blocks.empty()) {
        std::printf("classified in %s ms; %zu runs, %s\n", fixed(classify_ms, classify_ms < 10.0 ? 2 : 0).c_str(),
                    block_mask->runs.size(), text_of_bytes(list_bytes(*block_mask)).c_str());
    }
    if (Status status = write_files(options, *description, *block_mask, *picture); !status.ok()) return fail(status);
    return exit_ok;
}

}  // namespace

void add_mask(CLI::App& app, Action& action) {
    auto options = std::make_shared<Options>();
    Options& o = *options;
    o.shape.kv_heads = 1;
    CLI::App* command = app.add_subcommand("mask", "Draw a mask, write it as tensors, or explain one pair");
    command->add_option("--mask", o.text.mask, "Which pairs attend: an expression, or @file")
        ->required()
        ->type_name("TEXT");
    command->add_option("--q-len", o.shape.q_len, "Number of queries")
        ->required()
        ->check(whole_number(0, INT32_MAX))
        ->type_name("N");
    command->add_option("--kv-len", o.shape.kv_len, "Number of keys")
        ->required()
        ->check(whole_number(0, INT32_MAX))
        ->type_name("M");
    command->add_option("--batch", o.shape.batch, "Batch entries [1]")->check(whole_number(1, 1 << 20))->type_name("B");
    command->add_option("--heads", o.shape.q_heads, "Query heads [1]")->check(whole_number(1, 1 << 20))->type_name("H");
    command->add_option("--tables", o.tables, "Tensors that the mask names: a safetensors file")->type_name("F");
    add_param_option(*command, o.text.params, "A scalar that the mask names; may be repeated");
    add_block_option(*command, o.block, "Block size, queries x keys [128x128]");
    command
        ->add_option("--refine", o.refine,
                     "host: every verdict is exact; none: what is not proved quickly counts as partial [host]")
        ->check(one_of({"none", "host"}))
        ->type_name("none|host");
    command->add_option("--show", o.show, "Batch entry and head in the picture [0,0]")->type_name("b,h");
    command->add_option("--explain", o.explain, "Say which term lets a pair through or stops it")
        ->type_name("b,h,q,kv");
    command->add_option("--dense", o.dense, "Write U8 mask [B, H, q, kv] to this safetensors file")->type_name("F");
    command
        ->add_option(
            "--blocks", o.blocks,
            "Write the lists to this safetensors file: runs, and kv_num_blocks, kv_indices, full_kv_..., q_..., "
            "full_q_... as in PyTorch's BlockMask; report time and memory")
        ->type_name("F");
    command->add_flag(
        "--strict-edges", o.strict_edges,
        "In --blocks, ragged blocks at the end are partial where they would be full, as PyTorch has them");
    command->add_flag("--newest-first", o.newest_first, "In --blocks, each row's indices descend");
    command->add_option("--png", o.png, "Write the picture as PNG")->type_name("F");
    command->add_option("--svg", o.svg, "Write the picture as SVG")->type_name("F");
    command->footer([] {
        return "A mask is an expression over b, h, q, kv (batch, query head, query, key), q_len, kv_len, q_heads, "
               "kv_heads,\n"
               "numbers, scalars (--param, or tensors of one element) and tables (tensors, indexed as ids[q]), with\n"
               "C's operators, min max abs clamp select, ?:, and these named masks:\n" +
               list_of_named_masks() +
               "\nExamples:\n"
               "  vkattn mask --mask 'kv <= q && q - kv <= w' --param w=200 --q-len 1024 --kv-len 1024 --block 64x64\n"
               "  vkattn mask --mask 'document(ids)' --tables ids.safetensors --q-len 900 --kv-len 900 --png "
               "documents.png\n"
               "  vkattn mask --mask 'causal() && sliding_window(200)' --q-len 1024 --kv-len 1024 --explain "
               "0,0,900,600";
    });
    command->callback([options, &action] { action = [options] { return draw(*options); }; });
}

}  // namespace vkattn::cli
