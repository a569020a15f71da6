// The masks and score mods of attention-gym (github.com/meta-pytorch/attention-gym), by their names there.
//
// Where its code and the definition that it cites differ, this follows the definition: its NATTEN exchanges x and y,
// so it is right on square canvases only, and even kernels come out one too wide. Expr arguments take a literal or
// param("name"). Every one can be written as text too; the text stands in the comment.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "vkattn/block_mask.h"
#include "vkattn/mask.h"

namespace vkattn::attention_gym {

Mask dilated_sliding_window(Expr window_size, Expr dilation);  // dilated_window(window_size, dilation)

// Longformer (arXiv 2004.05150): window(w, w) || is_global[q] || is_global[kv]. is_global [L], bool.
Mask global_sliding_window(Expr window_size, TableExpr is_global);

// Groups of `size` tokens, `mask` inside each: q / size == kv / size && ..., the mask at q % size and kv % size.
Mask batchify(const Mask& mask, Expr size);

// Packed documents by their offsets [n + 1], `mask` at positions inside the document. Captured tables [offsets.back() +
// 1]: `name`_begin and `name`_end, the document of a position.
//   doc_begin[q] <= kv && kv < doc_end[q] && ..., the mask at q - doc_begin[q] and kv - doc_begin[q]
Mask documents(const Mask& mask, std::span<const int32_t> offsets, std::string_view name = "doc");
// Of these the causal one: doc_begin[q] <= kv && kv <= q. Past the last offset nothing is attended to.
Mask packed_causal_documents(std::span<const int32_t> offsets, std::string_view name = "doc");

// Continuations that share a prompt: causal inside each document, and every document sees all of its prefix document.
// prefix_document [n]: the document that stands before document i; prefixes name themselves. Captured tables:
// `name`_begin, `name`_prefix_begin, `name`_prefix_end (equal for prefixes).
//   doc_begin[q] <= kv && kv <= q || cross_attention_intervals(doc_prefix_begin, doc_prefix_end)
Mask shared_prefix(std::span<const int32_t> offsets, std::span<const int32_t> prefix_document,
                   std::string_view name = "doc");

// Block diffusion training (BD3-LM, arXiv 2503.09573, section 3.1) over 2 * seq_len positions, first the noised, then
// the clean tokens: noised see their own noised block and clean blocks before it, clean see clean blocks up to theirs.
//   q % n / size == kv % n / size && q < n == kv < n || kv >= n && (q < n ? q % n / size > kv % n / size
//                                                                         : q % n / size >= kv % n / size)
Mask block_diffusion(Expr seq_len, Expr block_size);

// JetSpec (arXiv 2606.18394). Serving: tree_ancestors(ancestor, prefix_length), with the table of
// tree_ancestors_of(parents): [n, n], true where node j is on i's path from the root, itself included. parents[i] < i;
// the root's entry, the first, is not read.
Mask jetspec_tree(TableExpr ancestor, Expr prefix_length);
Result<TableData> tree_ancestors_of(std::span<const int32_t> parents);
// Training: queries are blocks of `block_size`, keys a prefix and then the same blocks; causal inside a block.
//   kv < p || q / size == (kv - p) / size && (kv - p) % size <= q % size
Mask jetspec_training(Expr prefix_length, Expr block_size);

// NATTEN with other orders of the pixels than row by row (that one is natten()). Tiled: tiles of tile_w x tile_h, row
// by row, each row by row inside; the tile divides the canvas.
Mask tiled_natten(Expr canvas_w, Expr canvas_h, Expr kernel_w, Expr kernel_h, Expr tile_w, Expr tile_h);
// Morton: pixels in ascending order of their Morton codes (x's bits in the even places, y's in the odd ones), on any
// canvas. Captured tables `name`_x and `name`_y [canvas_w * canvas_h]. On one axis, with k = min(kernel_w, canvas_w):
//   morton_x[kv] >= clamp(morton_x[q] - k / 2, 0, canvas_w - k)
//     && morton_x[kv] < clamp(morton_x[q] - k / 2, 0, canvas_w - k) + k
// Any other order is the same text with other tables.
Mask morton_natten(int32_t canvas_w, int32_t canvas_h, Expr kernel_w, Expr kernel_h, std::string_view name = "morton");

// Sliding tile attention (arXiv 2502.04507): NATTEN over whole tiles, tokens ordered tile by tile. Sizes are in
// tokens, and the tile divides canvas and kernel; after the canvas may stand text, which sees all and is seen by all.
struct Size2 {
    int32_t h, w;
};
struct Size3 {
    int32_t t, h, w;
};
Mask sliding_tile_attention(Size2 canvas, Size2 kernel, Size2 tile, int32_t text_len = 0);
Mask sliding_tile_attention(Size3 canvas, Size3 kernel, Size3 tile, int32_t text_len = 0);

// Sparse VideoGen (arXiv 2502.01776): a prompt that all see and that sees all, then frames of n tokens each.
// Spatial: nearer than width * n, rounded down to a multiple of `round`; with `sink` all see the first frame too.
//   kv < prompt || q < prompt || abs(q - kv) < width * n / round * round         (sink: kv < prompt + n)
Mask svg_spatial(Expr prompt_len, Expr frame_tokens, Expr width, bool sink = false, Expr round = 128);
// Temporal: places inside the frame nearer than width * n / frames.
//   kv < prompt || q < prompt || abs((q - prompt) % n - (kv - prompt) % n) < width * n / frames
Mask svg_temporal(Expr prompt_len, Expr frames, Expr frame_tokens, Expr width);

// Video sparse attention (arXiv 2505.13389), the fine pass: every tile of queries sees its top-k tiles of keys; tiles
// are padded to `tile` tokens, of which sizes[i] exist.
//   keep[b, h, q / tile, kv / tile] && kv % tile < sizes[kv / tile]
// keep [B, H, Lq / tile, Lkv / tile] bool, sizes [Lkv / tile] i32.
Mask vsa(TableExpr keep, TableExpr sizes, Expr tile);
// `keep` of top-k lists [B, H, rows, k]; an index outside 0 .. columns - 1 is an error.
Result<TableData> vsa_keep(const TableData& top_k, int32_t columns);
// The same as lists, with no mask evaluated to make them: whole tiles are full, padded ones partial, to be used with
// vsa_padding: kv % tile < sizes[kv / tile]. Blocks are tile x tile; `shape` counts padded positions.
Mask vsa_padding(TableExpr sizes, Expr tile);
Result<BlockMask> vsa_block_mask(const TableData& top_k, std::span<const int32_t> sizes, const Shape& shape,
                                 int32_t tile);

// ALiBi is alibi(), tanh soft-capping softcap(cap).
// Sandwich (arXiv 2212.10356): score + sandwich[abs(q - kv)] * sandwich_scale[h], with sum over i < d_bar / 2 of
// cos(distance / 10000^(2 i / d_bar)) for distances below max_len (farther ones take the last), and scales
// q_heads / (8 (h + 1)).
ScoreMod sandwich(int32_t q_heads, int32_t max_len, int32_t d_bar = 128, std::string_view name = "sandwich");
// Graphormer (arXiv 2106.05234). Spatial: score + bias[h, distance[b, q, kv]]. Edges: the mean over the path's edges
// n < min(length, path_len) of bias[h, n, type]; types [B, N, N, path_len], lengths [B, N, N], bias [H, path_len, T].
//   score + ((0 < lengths[b, q, kv] ? bias[h, 0, types[b, q, kv, 0]] : 0.0) + ...)
//           / float(max(lengths[b, q, kv], 1))
ScoreMod graphormer_spatial(TableExpr bias, TableExpr distance);
ScoreMod graphormer_edges(TableExpr bias, TableExpr types, TableExpr lengths, int32_t path_len);
// The rope term of DeepSeek's multi-head latent attention (arXiv 2405.04434), written out: score + scale * sum over n < rope_dim of
// query_rope[b, h, q, n] * key_rope[b, h / heads_per_key, kv, n]. At most 64 elements. Longer vectors are faster and compile at
// once (docs/sources/attention_gym.md).
ScoreMod mla_rope(TableExpr query_rope, TableExpr key_rope, int32_t rope_dim, int32_t heads_per_key, const Expr& scale);

// Any activation f instead of the exponential of softmax: log(f(score) + offset), where f + offset > 0. The output o
// and lse of the attention give sum_j f(s_j) v_j  =  o exp(lse) - offset sum_j v_j over the attended keys; undo
// writes that over o. o and v_sum [rows, Dv], lse [rows]; a row that attends to nothing gives 0.
ScoreMod activation(const std::function<Expr(Expr score)>& f, float offset = 1.0f);
// F.gelu, which attention-gym takes by default: x (1 + erf(x / sqrt 2)) / 2, with erf by Abramowitz and Stegun's 7.1.26
// (absolute error below 1.5e-7).
Expr gelu(const Expr& x);
void undo_activation(std::span<float> o, std::span<const float> lse, std::span<const float> v_sum, float offset = 1.0f);

}  // namespace vkattn::attention_gym
