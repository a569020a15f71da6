// Every named mask and score mod of the public headers, each in every way that it can be used: by C++ and by text,
// printed and read back, as block lists that are exact, as pictures that tell full from partial. The headers are read,
// so that a constructor that is missing here is noticed; of the sources' constructors also that a golden case stands
// behind each. What the masks mean is proven by those cases.
#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <fstream>
#include <map>
#include <memory>
#include <regex>
#include <set>
#include <sstream>

#include "masks/tree_equality.h"
#include "sources/golden.h"
#include "vkattn/classify.h"
#include "vkattn/create_mask.h"
#include "vkattn/evaluate.h"
#include "vkattn/named.h"
#include "vkattn/normalise.h"
#include "vkattn/picture.h"
#include "vkattn/sources/attention_gym.h"
#include "vkattn/sources/flash_attention.h"
#include "vkattn/sources/flash_mask.h"
#include "vkattn/sources/flashinfer.h"
#include "vkattn/sources/hugging_face.h"
#include "vkattn/sources/llama_cpp.h"
#include "vkattn/sources/nanogpt.h"
#include "vkattn/sources/penzai.h"
#include "vkattn/sources/pytorch.h"
#include "vkattn/sources/xformers.h"
#include "vkattn/unattended_rows.h"

using namespace vkattn;
using namespace vkattn::test;

namespace {

constexpr Shape shape{2, 4, 2, 37, 43};

TableData ints(std::vector<int64_t> dims, const std::function<int32_t(int32_t i)>& value) {
    TableData data;
    data.dims = std::move(dims);
    for (int32_t i = 0; i < data.count(); ++i) data.i32.push_back(value(i));
    return data;
}
TableData floats(std::vector<int64_t> dims) {
    TableData data;
    data.type = Type::f32;
    data.dims = std::move(dims);
    for (int32_t i = 0; i < data.count(); ++i) data.f32.push_back(static_cast<float>(i * 7 % 19 - 9) / 8);
    return data;
}
TableData bools(std::vector<int64_t> dims, const std::function<bool(int32_t i)>& value) {
    TableData data;
    data.type = Type::boolean;
    data.dims = std::move(dims);
    for (int32_t i = 0; i < data.count(); ++i) data.boolean.push_back(value(i) ? 1 : 0);
    return data;
}

std::vector<int32_t> parents() {
    std::vector<int32_t> all = {-1};
    for (int32_t i = 1; i < shape.q_len; ++i) all.push_back((i * 5 + 2) % i);
    return all;
}

// Whatever the texts name. No two masks take one name for different things.
Bindings bindings_of_all() {
    Bindings all;
    all.scalars = {{"w", 5}, {"l", 6}, {"r", 2}, {"n", 10}, {"p", 4}, {"s", 3}, {"d", 2}, {"cap", 2.0f}};
    const auto put = [&](const char* name, TableData data) {
        all.tables[name] = std::make_shared<const TableData>(std::move(data));
    };
    put("ids", ints({44}, [](int32_t i) { return i / 11; }));
    put("kv_ids", ints({44}, [](int32_t i) { return i / 9; }));
    put("ids_batched", ints({2, 44}, [](int32_t i) { return i / 13 - 1; }));
    put("lengths", ints({2}, [](int32_t i) { return 17 + 20 * i; }));
    put("keep", bools({2, 44}, [](int32_t i) { return i % 44 > 6 + i / 44; }));
    put("is_global", bools({44}, [](int32_t i) { return i % 17 == 3; }));
    put("ancestor", *attention_gym::tree_ancestors_of(parents()));
    put("begin", ints({37}, [](int32_t i) { return i / 9 * 7; }));
    put("end", ints({37}, [](int32_t i) { return i / 9 * 7 + 12; }));
    put("image", ints({43}, [](int32_t i) { return i / 15; }));
    put("intervals", ints({3, 2}, [](int32_t i) { return i / 2 * 11 + i % 2 * 14; }));
    put("offsets", ints({5}, [](int32_t i) { return i * 11; }));
    put("seq_idx", ints({44}, [](int32_t i) { return i / 11; }));
    put("left", ints({2}, [](int32_t i) { return 1 + 3 * i; }));
    put("qp", ints({37}, [](int32_t i) { return 42 - i; }));
    put("kvp", ints({43}, [](int32_t i) { return i % 9 == 4 ? -1 : (i + 13) % 43; }));
    put("qp_batched", ints({2, 37}, [](int32_t i) { return i % 37 + 5; }));
    put("kvp_batched", ints({2, 43}, [](int32_t i) { return (i * 3) % 43 - 2; }));
    put("tile_keep", bools({2, 4, 5, 6}, [](int32_t i) { return i % 3 != 1; }));
    put("sizes", ints({6}, [](int32_t i) { return 8 - i % 3; }));
    put("rows", bools({1, 1, 37}, [](int32_t i) { return i < 5; }));
    put("slope", floats({4}));
    put("bias", floats({4, 37, 43}));
    put("bias_batched", floats({2, 4, 37, 43}));
    put("relative", floats({4, 11}));
    put("buckets", floats({4, 5}));
    put("distance", ints({2, 43, 43}, [](int32_t i) { return i % 5; }));
    put("edge_bias", floats({4, 2, 3}));
    put("types", ints({2, 43, 43, 2}, [](int32_t i) { return i % 3; }));
    put("path", ints({2, 43, 43}, [](int32_t i) { return i % 4; }));
    put("query_rope", floats({2, 4, 37, 2}));
    put("key_rope", floats({2, 1, 43, 2}));
    return all;
}

struct Entry {
    const char* header;  // below vkattn/
    const char* name;    // as declared there
    Mask mask;
    std::string text;
    std::string proof;  // FILE/CASE of tests/golden, for the sources'
};
struct ScoreEntry {
    const char* header;
    const char* name;
    ScoreMod score_mod;
    std::string text;
    std::string proof;
};

TableExpr i32(const char* name) { return table(name, Type::i32); }
TableExpr boolean(const char* name) { return table(name, Type::boolean); }
TableExpr f32(const char* name) { return table(name, Type::f32); }
std::string printed(const Mask& mask) { return *to_text(mask); }

void add_named(std::vector<Entry>& all) {
    const char* h = "named.h";
    const Expr w = param("w");
    const Mask from_offsets = document_from_offsets("packed", {0, 9, 20, 31}, 40);
    all.insert(
        all.end(),
        {{h, "full", full(), "full()", ""},
         {h, "causal", causal(), "causal()", ""},
         {h, "causal", causal(w), "causal(w)", ""},
         {h, "causal_lower_right", causal_lower_right(), "causal_lower_right()", ""},
         {h, "window", window(param("l"), param("r")), "window(l, r)", ""},
         {h, "sliding_window", sliding_window(w), "sliding_window(w)", ""},
         {h, "last_n_keys", last_n_keys(w), "last_n_keys(w)", ""},
         {h, "prefix", prefix(w), "prefix(w)", ""},
         {h, "prefix", prefix(i32("lengths")), "prefix(lengths)", ""},
         {h, "document", document(i32("ids")), "document(ids)", ""},
         {h, "document", document(i32("ids"), i32("kv_ids")), "document(ids, kv_ids)", ""},
         {h, "document_batched", document_batched(i32("ids_batched")), "document_batched(ids_batched)", ""},
         {h, "document_from_offsets", from_offsets, "document(packed, packed_kv)", ""},
         {h, "padding", padding(i32("lengths")), "padding(lengths)", ""},
         {h, "padding_mask", padding_mask(boolean("keep")), "padding_mask(keep)", ""},
         {h, "stand_alone_self_attention", stand_alone_self_attention(7, 2), "stand_alone_self_attention(7, 2)", ""},
         {h, "natten", natten(7, 6, 4, 3), "natten(7, 6, 4, 3)", ""},
         {h, "dilated_window", dilated_window(9, 3), "dilated_window(9, 3)", ""},
         {h, "global_tokens", global_tokens(w), "global_tokens(w)", ""},
         {h, "tree_ancestors", tree_ancestors(boolean("ancestor"), 6), "tree_ancestors(ancestor, 6)", ""},
         {h, "cross_attention_intervals", cross_attention_intervals(i32("begin"), i32("end")),
          "cross_attention_intervals(begin, end)", ""},
         {h, "offset", offset(sliding_window(w), 7), "offset(sliding_window(w), 7)", ""},
         {h, "lower_right", lower_right(sliding_window(w)), "lower_right(sliding_window(w))", ""},
         {"unattended_rows.h", "unmask_unattended", unmask_unattended(padding(i32("lengths")), boolean("rows")),
          "padding(lengths) || rows[b, h, q]", "hugging_face/converter/to_4d_left"}});
}

void add_pytorch(std::vector<Entry>& all) {
    const char* h = "sources/pytorch.h";
    const Expr w = param("w");
    const std::string same_sequence = " && seq_idx[q] == seq_idx[kv]";
    const std::string interval = "intervals[image[kv], ";
    all.insert(
        all.end(),
        {{h, "noop_mask", pytorch::noop_mask(), "true", "flex_attention/noop"},
         {h, "causal_mask", pytorch::causal_mask(), "causal()", "flex_attention/causal"},
         {h, "sliding_window_causal_mask", pytorch::sliding_window_causal_mask(w), "sliding_window(w)",
          "flex_attention/sliding_window"},
         {h, "prefix_lm_causal_mask", pytorch::prefix_lm_causal_mask(w), "kv <= w || causal()",
          "flex_attention/prefix_lm"},
         {h, "document_causal_mask", pytorch::document_causal_mask(i32("ids")), "causal() && document(ids)",
          "flex_attention/document_causal"},
         {h, "sasa_mask", pytorch::sasa_mask(7, 2), "stand_alone_self_attention(7, 2)", "flex_attention/sasa"},
         {h, "natten_mask", pytorch::natten_mask(7, 6, 4, 3), "natten(7, 6, 4, 3)", "flex_attention/natten_square"},
         {h, "create_njt_wrapper", pytorch::create_njt_wrapper(causal(), i32("offsets"), i32("seq_idx")),
          "q - offsets[seq_idx[q]] >= kv - offsets[seq_idx[kv]]" + same_sequence, "flex_attention/jagged_causal"},
         {h, "vision_x_attention_mask", pytorch::vision_x_attention_mask(i32("image"), i32("intervals")),
          "q >= " + interval + "0] && q < " + interval + "1]", "flex_attention/vision_x_attention"},
         {h, "and_masks", pytorch::and_masks({causal(), document(i32("ids"))}), "causal() && document(ids)",
          "flex_attention/document_prefix"},
         {h, "or_masks", pytorch::or_masks({causal(), prefix(w)}), "causal() || prefix(w)",
          "flex_attention/document_prefix"}});
}

void add_hugging_face(std::vector<Entry>& all) {
    namespace hf = hugging_face;
    const char* h = "sources/hugging_face.h";
    const Expr w = param("w");
    const std::string chunk = "(kv - left[b]) / w == (q - left[b]) / w";
    const std::string same_block = "ids_batched[b, q] == ids_batched[b, kv] && ids_batched[b, q] >= 0";
    all.insert(
        all.end(),
        {{h, "to_causal_4d", hf::AttentionMaskConverter(true, w).to_causal_4d(), "lower_right(sliding_window(w))",
          "hugging_face/converter/to_causal_4d_window"},
         {h, "to_4d", hf::AttentionMaskConverter(true, w).to_4d(boolean("keep")),
          "lower_right(sliding_window(w)) && padding_mask(keep)", "hugging_face/converter/to_4d_window_left"},
         {h, "causal_mask_function", hf::causal_mask_function(), "causal()", "hugging_face/causal_mask_function"},
         {h, "bidirectional_mask_function", hf::bidirectional_mask_function(), "full()",
          "hugging_face/bidirectional_mask_function"},
         {h, "sliding_window_overlay", hf::sliding_window_overlay(w), "kv > q - w",
          "hugging_face/sliding_window_overlay"},
         {h, "sliding_window_causal_mask_function", hf::sliding_window_causal_mask_function(w), "last_n_keys(w)",
          "hugging_face/sliding_window_causal_mask_function"},
         {h, "sliding_window_bidirectional_overlay", hf::sliding_window_bidirectional_overlay(w), "abs(q - kv) <= w",
          "hugging_face/sliding_window_bidirectional_mask_function"},
         {h, "sliding_window_bidirectional_mask_function", hf::sliding_window_bidirectional_mask_function(w),
          "abs(q - kv) <= w", "hugging_face/sliding_window_bidirectional_mask_function"},
         {h, "chunked_overlay", hf::chunked_overlay(w, i32("left")), chunk,
          "hugging_face/chunked_causal_mask_function"},
         {h, "chunked_causal_mask_function", hf::chunked_causal_mask_function(w, i32("left")), chunk + " && causal()",
          "hugging_face/chunked_causal_mask_function"},
         {h, "blockwise_overlay", hf::blockwise_overlay(i32("ids_batched")), same_block,
          "hugging_face/blockwise_overlay"},
         {h, "padding_mask_function", hf::padding_mask_function(boolean("keep")), "padding_mask(keep)",
          "hugging_face/padding_mask_function"},
         {h, "packed_sequence_mask_function", hf::packed_sequence_mask_function(i32("ids_batched")),
          "document_batched(ids_batched)", "hugging_face/packed_sequence_mask_function"},
         {h, "add_offsets_to_mask_function",
          hf::add_offsets_to_mask_function(hf::sliding_window_causal_mask_function(w), 9, 4),
          "kv + 4 <= q + 9 && q + 9 - (kv + 4) < w", "hugging_face/add_offsets_to_mask_function"}});
}

void add_positions(std::vector<Entry>& all) {
    const char* h = "sources/penzai.h";
    const Expr w = param("w");
    const std::string own = "qp[q] >= kvp[kv] && kvp[kv] >= 0", near = " && qp[q] - kvp[kv] < w";
    const std::string batched = "qp_batched[b, q] >= kvp_batched[b, kv] && kvp_batched[b, kv] >= 0",
                      batched_near = " && qp_batched[b, q] - kvp_batched[b, kv] < w";
    const TableExpr qp = i32("qp"), kvp = i32("kvp"), qpb = i32("qp_batched"), kvpb = i32("kvp_batched");
    llama_cpp::Cells cells;
    llama_cpp::Tokens tokens;
    for (int i = 0; i < 40; ++i) {
        cells.positions.push_back(i % 9 == 4 ? -1 : (i * 7) % 40);
        cells.sequences.push_back({i % 2, 40});
    }
    for (int i = 0; i < 35; ++i) {
        tokens.positions.push_back(i + 3);
        tokens.sequences.push_back(i % 3 == 2 ? 40 : i % 3);
    }
    all.insert(
        all.end(),
        {{h, "apply_causal_attention_mask", penzai::apply_causal_attention_mask(qp, kvp), own,
          "penzai/causal_shuffled"},
         {h, "apply_causal_sliding_window_attention_mask",
          penzai::apply_causal_sliding_window_attention_mask(qp, kvp, w), own + near, "penzai/window_shuffled"},
         {h, "apply_causal_attention_mask_batched", penzai::apply_causal_attention_mask_batched(qpb, kvpb), batched,
          "penzai/causal_batched"},
         {h, "apply_causal_sliding_window_attention_mask_batched",
          penzai::apply_causal_sliding_window_attention_mask_batched(qpb, kvpb, w), batched + batched_near,
          "penzai/window_batched"},
         {"sources/llama_cpp.h", "kv_cells", llama_cpp::kv_cells(cells, tokens, true, llama_cpp::Window::standard, 12),
          "(kv_cell_seq[kv_seq[q] / 32, kv] >> kv_seq[q] % 32 & 1) == 1 && kv_cell_pos[kv] >= 0 && "
          "kv_cell_pos[kv] <= kv_pos[q] && kv_pos[q] - kv_cell_pos[kv] < 12",
          "llama_cpp/standard_causal"},
         {"sources/nanogpt.h", "document_causal", modded_nanogpt::document_causal(i32("ids")),
          "causal() && document(ids)", "modded_nanogpt/few"},
         {"sources/nanogpt.h", "document_causal_window",
          modded_nanogpt::document_causal_window(i32("ids"), param("r"), 8),
          "causal() && document(ids) && q / 8 - kv / 8 < max(r, 1)", "modded_nanogpt/few"}});
}

void add_attention_gym(std::vector<Entry>& all) {
    namespace gym = attention_gym;
    const char* h = "sources/attention_gym.h";
    const Expr w = param("w"), n = param("n"), p = param("p"), s = param("s");
    const std::vector<int32_t> offsets = {0, 9, 9, 30, 36}, prefixes = {0, 0, 0, 2};
    const Mask tiled = gym::tiled_natten(8, 6, 3, 4, 2, 3), morton = gym::morton_natten(7, 6, 3, 4),
               plane = gym::sliding_tile_attention(gym::Size2{6, 6}, gym::Size2{4, 3}, gym::Size2{2, 3}, 5),
               space = gym::sliding_tile_attention(gym::Size3{2, 4, 4}, gym::Size3{1, 4, 2}, gym::Size3{1, 2, 2}, 5);
    all.insert(
        all.end(),
        {{h, "dilated_sliding_window", gym::dilated_sliding_window(w, param("d")), "dilated_window(w, d)",
          "attention_gym/dilated"},
         {h, "global_sliding_window", gym::global_sliding_window(w, boolean("is_global")),
          "window(w, w) || is_global[q] || is_global[kv]", "attention_gym/global"},
         {h, "batchify", gym::batchify(causal(), n), "q / n == kv / n && kv % n <= q % n",
          "attention_gym/batchify_causal"},
         {h, "documents", gym::documents(prefix(3), offsets),
          "doc_begin[q] <= kv && kv < doc_end[q] && (kv - doc_begin[q] < 3 || kv <= q)",
          "attention_gym/documents_prefix"},
         {h, "packed_causal_documents", gym::packed_causal_documents(offsets), "doc_begin[q] <= kv && kv <= q",
          "attention_gym/packed_causal_documents"},
         {h, "shared_prefix", gym::shared_prefix(offsets, prefixes),
          "doc_begin[q] <= kv && kv <= q || cross_attention_intervals(doc_prefix_begin, doc_prefix_end)",
          "attention_gym/shared_prefix"},
         {h, "block_diffusion", gym::block_diffusion(20, s),
          "q % 20 / s == kv % 20 / s && (q < 20) == (kv < 20) || kv >= 20 && "
          "(q < 20 ? q % 20 / s > kv % 20 / s : q % 20 / s >= kv % 20 / s)",
          "attention_gym/block_diffusion"},
         {h, "jetspec_tree", gym::jetspec_tree(boolean("ancestor"), 6), "tree_ancestors(ancestor, 6)",
          "attention_gym/jetspec_tree"},
         {h, "jetspec_training", gym::jetspec_training(p, s),
          "kv < p || q / s == (kv - p) / s && (kv - p) % s <= q % s", "attention_gym/jetspec_training"},
         // Their texts in full are held against attention-gym's own code in test_attention_gym.cpp.
         {h, "tiled_natten", tiled, printed(tiled), "attention_gym/tiled_natten"},
         {h, "morton_natten", morton, printed(morton), "attention_gym/morton_natten"},
         {h, "sliding_tile_attention", plane, printed(plane), "attention_gym/sta_2d"},
         {h, "sliding_tile_attention", space, printed(space), "attention_gym/sta_3d"},
         {h, "svg_spatial", gym::svg_spatial(p, n, 1, true, s), "kv < p + n || q < p || abs(q - kv) < n / s * s",
          "attention_gym/svg_spatial_sink"},
         {h, "svg_temporal", gym::svg_temporal(p, 4, n, param("d")),
          "kv < p || q < p || abs((q - p) % n - (kv - p) % n) < d * n / 4", "attention_gym/svg_temporal"},
         {h, "vsa", gym::vsa(boolean("tile_keep"), i32("sizes"), 8),
          "tile_keep[b, h, q / 8, kv / 8] && kv % 8 < sizes[kv / 8]", "attention_gym/vsa"},
         {h, "vsa_padding", gym::vsa_padding(i32("sizes"), 8), "kv % 8 < sizes[kv / 8]", "attention_gym/vsa_padding"}});
}

void add_packed(std::vector<Entry>& all) {
    const char* fa = "sources/flash_attention.h";
    const char* xf = "sources/xformers.h";
    const std::vector<int32_t> q_offsets = {0, 9, 9, 33}, kv_offsets = {0, 12, 15, 40}, q_lens = {9, 0, 24},
                               kv_lens = {12, 3, 25};
    const auto keys = xformers::packed_keys(kv_lens), pages_of = xformers::padded_keys(kv_lens, 25);
    const std::vector<int32_t> page_table = {7, 2, 4, 0, 0, 1, 0, 0, 0, 0, 3, 5, 0, 8, 6};
    const std::string place = "page_of[page_seq[q], kv / 5]", key = "(" + place + " * 5 + kv % 5)";
    const std::string inside = "cross_attention_intervals(seq_begin, seq_end)",
                      before = " && q + seq_diagonal[q] - kv <= ", after = " && kv - (q + seq_diagonal[q]) <= ";
    const TableData rows = ints({1, 2, 43, 2}, [](int32_t i) { return i % 2 == 0 ? i % 31 : i % 31 + 8; });
    std::vector<uint8_t> bits;
    for (int i = 0; i < 200; ++i) bits.push_back(static_cast<uint8_t>(i < 60 ? i * 37 : i < 80 ? 255 : 0));
    all.insert(
        all.end(),
        {{fa, "window", flash_attention::window(6, 2), "lower_right(window(6, 2))", "flash_attention/window"},
         {fa, "causal", flash_attention::causal(), "causal_lower_right()", "flash_attention/causal"},
         {fa, "varlen", flash_attention::varlen(q_offsets, kv_offsets, 6, 2), inside + before + "6" + after + "2",
          "flash_attention/varlen_window"},
         {"sources/flash_mask.h", "startend_row_indices", flash_mask::startend_row_indices(rows, true),
          "causal_lower_right() && (q < rows[0, h / (q_heads / kv_heads), kv, 0] || "
          "q >= rows[0, h / (q_heads / kv_heads), kv, 1])",
          "flash_mask/causal_blockwise"},
         {"sources/flashinfer.h", "packed_custom_mask",
          flashinfer::packed_custom_mask(bits, std::vector<int32_t>{0, 9, 30}, std::vector<int32_t>{0, 12, 40}),
          "cross_attention_intervals(custom_begin, custom_end) && "
          "(custom_words[(custom_row[q] + kv) / 32] >> (custom_row[q] + kv) % 32 & 1) == 1",
          "flashinfer/packed_custom_mask"},
         {xf, "lower_triangular", xformers::lower_triangular(), "causal()", "xformers/LowerTriangularMask"},
         {xf, "lower_triangular_from_bottom_right", xformers::lower_triangular_from_bottom_right(),
          "causal_lower_right()", "xformers/LowerTriangularFromBottomRightMask"},
         {xf, "lower_triangular_from_bottom_right_local_attention",
          xformers::lower_triangular_from_bottom_right_local_attention(5), "lower_right(last_n_keys(5))",
          "xformers/LowerTriangularFromBottomRightLocalAttentionMask"},
         {xf, "local_attention_from_bottom_right", xformers::local_attention_from_bottom_right(6, 2),
          "lower_right(window(6, 2))", "xformers/LocalAttentionFromBottomRightMask"},
         {xf, "block_diagonal", xformers::block_diagonal(q_lens, keys), inside, "xformers/BlockDiagonalMask"},
         {xf, "block_diagonal_causal", xformers::block_diagonal_causal(q_lens, keys), inside + after + "0",
          "xformers/BlockDiagonalCausalMask"},
         {xf, "block_diagonal_causal_from_bottom_right",
          xformers::block_diagonal_causal_from_bottom_right(q_lens, keys), inside + after + "0",
          "xformers/BlockDiagonalCausalFromBottomRightMask"},
         {xf, "block_diagonal_causal_local_attention", xformers::block_diagonal_causal_local_attention(q_lens, keys, 5),
          inside + before + "4" + after + "0", "xformers/BlockDiagonalCausalLocalAttentionMask"},
         {xf, "block_diagonal_causal_local_attention_from_bottom_right",
          xformers::block_diagonal_causal_local_attention_from_bottom_right(q_lens, keys, 5),
          inside + before + "4" + after + "0", "xformers/BlockDiagonalCausalLocalAttentionFromBottomRightMask"},
         {xf, "make_paged", xformers::make_paged(xformers::block_diagonal(q_lens, pages_of), q_lens, page_table, 5),
          place + " >= 0 && seq_begin[q] <= " + key + " && " + key + " < seq_end[q]",
          "xformers/PagedBlockDiagonalPaddedKeysMask"},
         {xf, "block_diagonal_local_attention", xformers::block_diagonal_local_attention(q_lens, keys, 6, 2),
          inside + before + "6" + after + "2", "xformers/BlockDiagonalLocalAttentionPaddedKeysMask"}});
}

std::vector<Entry> masks() {
    std::vector<Entry> all;
    add_named(all);
    add_pytorch(all);
    add_hugging_face(all);
    add_positions(all);
    add_attention_gym(all);
    add_packed(all);
    return all;
}

std::vector<ScoreEntry> score_mods() {
    namespace gym = attention_gym;
    const char* h = "named.h";
    const char* pt = "sources/pytorch.h";
    const char* ag = "sources/attention_gym.h";
    const std::string edge_0 = "(0 < path[b, q, kv] ? edge_bias[h, 0, types[b, q, kv, 0]] : 0.0)",
                      edge_1 = "(1 < path[b, q, kv] ? edge_bias[h, 1, types[b, q, kv, 1]] : 0.0)";
    return {
        {h, "alibi", alibi(f32("slope")), "alibi(slope)", ""},
        {h, "alibi", alibi(), "alibi()", ""},
        {h, "softcap", softcap(param("cap")), "softcap(cap)", ""},
        {h, "relative_bias", relative_bias(f32("relative"), 5), "relative_bias(relative, 5)", ""},
        {h, "dense_bias", dense_bias(f32("bias")), "dense_bias(bias)", ""},
        {h, "dense_bias_batched", dense_bias_batched(f32("bias_batched")), "dense_bias_batched(bias_batched)", ""},
        {h, "head_scale", head_scale(f32("slope")), "head_scale(slope)", ""},
        {"unattended_rows.h", "uniform_unattended", uniform_unattended(boolean("rows")), "rows[b, h, q] ? 0.0 : score",
         "hugging_face/converter/to_4d_left"},
        {pt, "causal_bias", pytorch::causal_bias(), "q >= kv ? score : -inf", "flex_attention/score/causal_bias"},
        {pt, "checkerboard", pytorch::checkerboard(), "abs(kv - q) % 2 == 1 ? score * 0.5 : score * 2.0",
         "flex_attention/score/checkerboard"},
        {pt, "alibi_and_causal_closure", pytorch::alibi_and_causal_closure(f32("slope")), "alibi(slope)",
         "flex_attention/score/alibi_closure"},
        {pt, "alibi_and_causal_functional", pytorch::alibi_and_causal_functional(), "alibi()",
         "flex_attention/score/alibi_functional"},
        {pt, "tanh_soft_cap", pytorch::tanh_soft_cap(param("cap")), "softcap(cap)",
         "flex_attention/score/tanh_soft_cap"},
        {ag, "sandwich", gym::sandwich(4, 43, 16), "score + sandwich[abs(q - kv)] * sandwich_scale[h]",
         "attention_gym/score/sandwich"},
        {ag, "graphormer_spatial", gym::graphormer_spatial(f32("buckets"), i32("distance")),
         "score + buckets[h, distance[b, q, kv]]", "attention_gym/score/graphormer_spatial"},
        {ag, "graphormer_edges", gym::graphormer_edges(f32("edge_bias"), i32("types"), i32("path"), 2),
         "score + (" + edge_0 + " + " + edge_1 + ") / float(max(path[b, q, kv], 1))",
         "attention_gym/score/graphormer_edges"},
        {ag, "mla_rope", gym::mla_rope(f32("query_rope"), f32("key_rope"), 2, 4, 0.4f),
         "score + 0.4 * (query_rope[b, h, q, 0] * key_rope[b, h / 4, kv, 0] + query_rope[b, h, q, 1] * "
         "key_rope[b, h / 4, kv, 1])",
         "attention_gym/score/mla_rope"},
        {ag, "activation", gym::activation([](Expr x) { return max(x, 0.0f); }), "log(max(score, 0.0) + 1.0)",
         "attention_gym/score/activation_relu"},
    };
}

// The tables that a tree captures are bound by name for the text, which only names them.
Bindings with_captured(Bindings bindings, const Tree& tree) {
    for (const TableRef& each : tree.tables)
        if (each.captured) bindings.tables[each.name] = each.captured;
    return bindings;
}

// Empty, full or partial, counted over the elements; then the list and the pictures say the same of every block.
void check_blocks(const std::vector<uint8_t>& dense, const BlockMask& blocks) {
    const char* const glyphs[] = {"·", "▒", "█"};
    int wrong = 0;
    for (int32_t b = 0; b < shape.batch; ++b) {
        for (int32_t h = 0; h < shape.q_heads; ++h) {
            std::string picture;
            for (int32_t row = 0; row < blocks.rows(); ++row) {
                for (int32_t column = 0; column < blocks.columns(); ++column) {
                    int kept = 0, n = 0;
                    for (int32_t q = row * blocks.block_q; q < std::min((row + 1) * blocks.block_q, shape.q_len); ++q) {
                        for (int32_t kv = column * blocks.block_kv;
                             kv < std::min((column + 1) * blocks.block_kv, shape.kv_len); ++kv, ++n) {
                            const int64_t pair =
                                ((int64_t{b} * shape.q_heads + h) * shape.q_len + q) * shape.kv_len + kv;
                            kept += dense[static_cast<size_t>(pair)];
                        }
                    }
                    const BlockKind kind = kept == 0   ? BlockKind::empty
                                           : kept == n ? BlockKind::full
                                                       : BlockKind::partial;
                    wrong += blocks.kind(b, h, row, column) != kind;
                    picture += glyphs[static_cast<int>(kind)];
                }
                picture += "\n";
            }
            PictureOptions options;
            options.b = b;
            options.h = h;
            CHECK(terminal_picture(blocks, options).find("\n" + picture) != std::string::npos);
        }
    }
    CHECK(wrong == 0);
    // SVG and raster: another colour for each kind that there is.
    const auto has = [](int64_t n) { return n > 0 ? 1u : 0u; };
    BlockMask first = blocks;
    if (blocks.batch * blocks.heads > 1) {  // the pictures are of one list
        const auto rows = static_cast<size_t>(blocks.rows());
        first.batch = first.heads = 1;
        first.row_offsets.resize(rows + 1);
        first.runs.resize(first.row_offsets.back());
    }
    const int64_t n_blocks = int64_t{first.rows()} * first.columns();
    const size_t kinds = has(first.full_blocks()) + has(first.partial_blocks()) +
                         has(n_blocks - first.full_blocks() - first.partial_blocks());
    const Raster raster = raster_picture(blocks);
    std::set<int> colours;
    for (size_t i = 0; i + 2 < raster.rgb.size(); i += 3)
        colours.insert(raster.rgb[i] << 16 | raster.rgb[i + 1] << 8 | raster.rgb[i + 2]);
    CHECK(colours.size() == kinds);
    const std::string svg = svg_picture(blocks);
    CHECK(svg.rfind("<svg", 0) == 0);
    CHECK(svg.find("</svg>") != std::string::npos);
}

std::string file_text(const std::string& path) {
    std::ifstream file(path);
    REQUIRE_MESSAGE(file.good(), path);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

// "sources/penzai.h apply_causal_attention_mask" -> how often it is declared.
std::map<std::string, int> declared(const char* type) {
    const std::string folder = VKATTN_TEST_SOURCE_DIR "/masks/include/vkattn/";
    std::vector<std::string> headers = {"named.h", "unattended_rows.h"};
    for (const char* each : {"attention_gym", "flash_attention", "flash_mask", "flashinfer", "hugging_face",
                             "llama_cpp", "nanogpt", "penzai", "pytorch", "xformers"})
        headers.push_back(std::string("sources/") + each + ".h");
    std::map<std::string, int> found;
    const std::regex declaration("\n *" + std::string(type) + " ([a-z_0-9]+)\\(");
    for (const std::string& header : headers) {
        const std::string text = file_text(folder + header);
        for (std::sregex_iterator at(text.begin(), text.end(), declaration), end; at != end; ++at)
            ++found[header + " " + (*at)[1].str()];
    }
    return found;
}

template <class AnyEntry>
void check_complete(const std::vector<AnyEntry>& entries, const char* type, size_t at_least) {
    std::map<std::string, int> here;
    for (const AnyEntry& each : entries) ++here[std::string(each.header) + " " + each.name];
    const std::map<std::string, int> there = declared(type);
    CHECK(there.size() >= at_least);
    for (const auto& each : there) {
        const int n = here[each.first];
        CHECK_MESSAGE(n >= each.second, each.first << " is declared " << each.second << " times, here it is " << n);
    }
    for (const auto& each : here) CHECK_MESSAGE(there.count(each.first) == 1, each.first << " is not declared");

    std::map<std::string, std::unique_ptr<GoldenFile>> files;
    for (const AnyEntry& each : entries) {
        CAPTURE(each.name);
        if (std::string_view(each.header) == "named.h") continue;
        const size_t slash = each.proof.find('/');
        REQUIRE(slash != std::string::npos);
        auto& file = files[each.proof.substr(0, slash)];
        if (!file) file = std::make_unique<GoldenFile>(each.proof.substr(0, slash));
        CHECK_MESSAGE(!file->names_under(each.proof.substr(slash + 1) + "/").empty(), each.proof);
    }
}

}  // namespace

TEST_SUITE("catalogue") {
    TEST_CASE("no mask and no score mod of the headers is missing, and each source's has a golden case") {
        check_complete(masks(), "Mask", 70);
        check_complete(score_mods(), "ScoreMod", 15);
        // Every source's header is read.
        std::set<std::string> sources;
        for (const auto& each : declared("Mask"))
            if (each.first.rfind("sources/", 0) == 0) sources.insert(each.first.substr(0, each.first.find(' ')));
        CHECK(sources.size() == 10);
    }

    TEST_CASE("every mask: C++ and text, printed and read back, exact lists, pictures") {
        const Bindings all = bindings_of_all();
        for (const Entry& each : masks()) {
            CAPTURE(each.header);
            CAPTURE(each.name);
            REQUIRE_MESSAGE(each.mask.status().ok(), each.mask.status().message);
            const auto text = parsed_mask(each.text, each.mask);
            REQUIRE_MESSAGE(text.ok(), each.text << ": " << text.status().message);
            const auto print = to_text(each.mask);
            REQUIRE(print.ok());
            const auto again = parsed_mask(*print, each.mask);
            REQUIRE_MESSAGE(again.ok(), *print << ": " << again.status().message);
            CHECK(same_tree(again->tree(), each.mask.tree()));

            const Bindings bindings = with_captured(all, each.mask.tree());
            const auto dense = create_mask(each.mask, shape, bindings);
            REQUIRE_MESSAGE(dense.ok(), dense.status().message);
            check_dense(*dense, *text, shape, bindings);
            // Not all alike, but for those that are: else nothing above could fail.
            const bool trivial = std::string_view(each.text) == "true" || std::string_view(each.text) == "full()";
            CHECK((std::count(dense->begin(), dense->end(), 0) == 0) == trivial);
            CHECK(std::count(dense->begin(), dense->end(), 1) > 0);

            ClassifyOptions options;
            options.block_q = 5;
            options.block_kv = 6;
            const auto blocks = create_block_mask(each.mask, shape, bindings, options);
            REQUIRE_MESSAGE(blocks.ok(), blocks.status().message);
            check_blocks(*dense, *blocks);
            CHECK(create_block_mask(*text, shape, bindings, options)->runs == blocks->runs);
        }
    }

    TEST_CASE("every score mod: C++ and text give the same bits, printed and read back") {
        const Bindings all = bindings_of_all();
        for (const ScoreEntry& each : score_mods()) {
            CAPTURE(each.name);
            REQUIRE_MESSAGE(each.score_mod.status().ok(), each.score_mod.status().message);
            const Declarations declarations = declarations_of(each.score_mod.tree());
            const auto text = parse_score_mod(each.text, declarations);
            REQUIRE_MESSAGE(text.ok(), each.text << ": " << text.status().message);
            const auto print = to_text(each.score_mod);
            REQUIRE(print.ok());
            const auto again = parse_score_mod(*print, declarations);
            REQUIRE_MESSAGE(again.ok(), *print << ": " << again.status().message);
            CHECK(same_tree(again->tree(), each.score_mod.tree()));

            const Bindings bindings = with_captured(all, each.score_mod.tree());
            auto ours = Evaluator::make(each.score_mod, shape, bindings);
            auto theirs = Evaluator::make(*text, shape, bindings);
            REQUIRE_MESSAGE(ours.ok(), ours.status().message);
            REQUIRE_MESSAGE(theirs.ok(), theirs.status().message);
            int wrong = 0, changed = 0;
            for (int32_t b = 0; b < shape.batch; ++b)
                for (int32_t h = 0; h < shape.q_heads; ++h)
                    for (int32_t q = 0; q < shape.q_len; ++q)
                        for (int32_t kv = 0; kv < shape.kv_len; ++kv) {
                            const float score = static_cast<float>((q * 7 + kv * 5 + h) % 23) / 8 - 1;
                            const float value = ours->score(score, b, h, q, kv);
                            wrong += std::bit_cast<uint32_t>(value) !=
                                     std::bit_cast<uint32_t>(theirs->score(score, b, h, q, kv));
                            changed += value != score;
                        }
            CHECK(wrong == 0);
            CHECK(changed > 0);
        }
    }
}
