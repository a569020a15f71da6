#include "vkattn/sources/attention_gym.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "../natten_axis.h"
#include "packed_sequences.h"
#include "vkattn/named.h"

namespace vkattn::attention_gym {
namespace {

using detail::natten_axis;

Status bad(const char* what, const std::string& message) {
    return error(Code::invalid_argument, std::string("attention_gym::") + what + ": " + message);
}

// x's bits in the even places, y's in the odd ones.
uint32_t morton_code(uint32_t x, uint32_t y) {
    uint32_t code = 0;
    for (uint32_t bit = 0; bit < 16; ++bit) code |= (x >> bit & 1u) << 2 * bit | (y >> bit & 1u) << (2 * bit + 1);
    return code;
}

// A vector's entries, and one more for all positions behind them.
std::vector<int32_t> per_position(const std::vector<packed::Range>& documents, int32_t behind,
                                  const std::function<int32_t(size_t document)>& value) {
    std::vector<int32_t> values;
    for (size_t i = 0; i < documents.size(); ++i)
        values.insert(values.end(), static_cast<size_t>(documents[i].end - documents[i].begin), value(i));
    values.push_back(behind);
    return values;
}

Expr is_text_pair(const Expr& q, const Expr& kv, int32_t vision_len, int32_t text_len) {
    return (q >= vision_len || kv >= vision_len) && kv < vision_len + text_len;
}

// Canvas, kernel and tile of one axis, in tokens.
Status check_axis(const char* axis, int32_t canvas, int32_t kernel, int32_t tile) {
    if (tile >= 1 && canvas >= 1 && kernel >= 1 && canvas % tile == 0 && kernel % tile == 0) return {};
    return bad("sliding_tile_attention", std::string("the tile must divide canvas and kernel; ") + axis + ": tile " +
                                             std::to_string(tile) + ", canvas " + std::to_string(canvas) + ", kernel " +
                                             std::to_string(kernel));
}

}  // namespace

Mask dilated_sliding_window(Expr window_size, Expr dilation) { return dilated_window(window_size, dilation); }

Mask global_sliding_window(Expr window_size, TableExpr is_global) {
    if (is_global.type < 0 && !is_global.captured) is_global.type = static_cast<int>(Type::boolean);
    return window(window_size, window_size) || trace_mask([&](Index, Index, Index q, Index) { return is_global(q); }) ||
           trace_mask([&](Index, Index, Index, Index kv) { return is_global(kv); });
}

Mask batchify(const Mask& mask, Expr size) {
    if (!mask.status().ok()) return mask;
    return trace_mask([&](Index b, Index h, Index q, Index kv) {
        return q / size == kv / size && embed(mask, b, h, q % size, kv % size);
    });
}

Mask documents(const Mask& mask, std::span<const int32_t> offsets, std::string_view name) {
    if (!mask.status().ok()) return mask;
    const auto ranges = packed::from_offsets("attention_gym::documents: offsets", offsets);
    if (!ranges.ok()) return Mask::broken(ranges.status());
    const std::string prefix(name);
    const auto begin_of = [&](size_t i) { return (*ranges)[i].begin; };
    const auto end_of = [&](size_t i) { return (*ranges)[i].end; };
    const TableExpr begin = packed::captured_i32(prefix + "_begin", per_position(*ranges, 0, begin_of)),
                    end = packed::captured_i32(prefix + "_end", per_position(*ranges, 0, end_of));
    return trace_mask([&](Index b, Index h, Index q, Index kv) {
        return begin(q) <= kv && kv < end(q) && embed(mask, b, h, q - begin(q), kv - begin(q));
    });
}

Mask packed_causal_documents(std::span<const int32_t> offsets, std::string_view name) {
    const auto ranges = packed::from_offsets("attention_gym::packed_causal_documents: offsets", offsets);
    if (!ranges.ok()) return Mask::broken(ranges.status());
    const TableExpr begin = packed::captured_i32(
        std::string(name) + "_begin", per_position(*ranges, INT32_MAX, [&](size_t i) { return (*ranges)[i].begin; }));
    return trace_mask([&](Index, Index, Index q, Index kv) { return begin(q) <= kv && kv <= q; });
}

Mask shared_prefix(std::span<const int32_t> offsets, std::span<const int32_t> prefix_document, std::string_view name) {
    const auto ranges = packed::from_offsets("attention_gym::shared_prefix: offsets", offsets);
    if (!ranges.ok()) return Mask::broken(ranges.status());
    const auto n = static_cast<int32_t>(ranges->size());
    if (prefix_document.size() != ranges->size()) {
        return Mask::broken(bad("shared_prefix", std::to_string(prefix_document.size()) +
                                                     " entries of prefix_document for " + std::to_string(n) +
                                                     " documents"));
    }
    for (const int32_t document : prefix_document) {
        if (document >= 0 && document < n) continue;
        return Mask::broken(bad("shared_prefix", "prefix_document names " + std::to_string(document) + " of " +
                                                     std::to_string(n) + " documents"));
    }
    const auto prefix_of = [&](size_t i) -> packed::Range {
        const auto document = static_cast<size_t>(prefix_document[i]);
        return document == i ? packed::Range{} : (*ranges)[document];
    };
    const std::string prefix(name);
    const TableExpr begin = packed::captured_i32(
        prefix + "_begin", per_position(*ranges, INT32_MAX, [&](size_t i) { return (*ranges)[i].begin; }));
    const auto begin_of = [&](size_t i) { return prefix_of(i).begin; };
    const auto end_of = [&](size_t i) { return prefix_of(i).end; };
    return trace_mask([&](Index, Index, Index q, Index kv) { return begin(q) <= kv && kv <= q; }) ||
           cross_attention_intervals(packed::captured_i32(prefix + "_prefix_begin", per_position(*ranges, 0, begin_of)),
                                     packed::captured_i32(prefix + "_prefix_end", per_position(*ranges, 0, end_of)));
}

Mask block_diffusion(Expr seq_len, Expr block_size) {
    return trace_mask([&](Index, Index, Index q, Index kv) {
        const Expr q_noised = q < seq_len, kv_noised = kv < seq_len;
        const Expr q_block = q % seq_len / block_size, kv_block = kv % seq_len / block_size;
        return (q_block == kv_block && q_noised == kv_noised) ||
               (kv >= seq_len && select(q_noised, q_block > kv_block, q_block >= kv_block));
    });
}

Mask jetspec_tree(TableExpr ancestor, Expr prefix_length) { return tree_ancestors(ancestor, prefix_length); }

Result<TableData> tree_ancestors_of(std::span<const int32_t> parents) {
    const size_t n = parents.size();
    if (n > 32768) return bad("tree_ancestors_of", std::to_string(n) + " nodes; at most 32768");
    TableData table;
    table.type = Type::boolean;
    table.dims = {static_cast<int64_t>(n), static_cast<int64_t>(n)};
    table.boolean.assign(n * n, 0);
    for (size_t i = 0; i < n; ++i) {
        if (i > 0) {
            if (parents[i] < 0 || static_cast<size_t>(parents[i]) >= i) {
                return bad("tree_ancestors_of", "node " + std::to_string(i) + " has parent " +
                                                    std::to_string(parents[i]) +
                                                    "; parents stand before their children");
            }
            const auto parent = table.boolean.begin() + static_cast<int64_t>(static_cast<size_t>(parents[i]) * n);
            std::copy(parent, parent + static_cast<int64_t>(n), table.boolean.begin() + static_cast<int64_t>(i * n));
        }
        table.boolean[i * n + i] = 1;
    }
    return table;
}

Mask jetspec_training(Expr prefix_length, Expr block_size) {
    return trace_mask([&](Index, Index, Index q, Index kv) {
        const Expr in_blocks = kv - prefix_length;
        return kv < prefix_length ||
               (q / block_size == in_blocks / block_size && in_blocks % block_size <= q % block_size);
    });
}

Mask tiled_natten(Expr canvas_w, Expr canvas_h, Expr kernel_w, Expr kernel_h, Expr tile_w, Expr tile_h) {
    return trace_mask([&](Index, Index, Index q, Index kv) {
        const Expr area = tile_w * tile_h, tiles_a_row = canvas_w / tile_w;
        const auto x = [&](const Expr& at) { return at / area % tiles_a_row * tile_w + at % area % tile_w; };
        const auto y = [&](const Expr& at) { return at / area / tiles_a_row * tile_h + at % area / tile_w; };
        return natten_axis(x(q), x(kv), canvas_w, kernel_w) && natten_axis(y(q), y(kv), canvas_h, kernel_h);
    });
}

Mask morton_natten(int32_t canvas_w, int32_t canvas_h, Expr kernel_w, Expr kernel_h, std::string_view name) {
    if (canvas_w < 1 || canvas_h < 1 || canvas_w > 65536 || canvas_h > 65536 ||
        int64_t{canvas_w} * canvas_h > int64_t{1} << 28) {
        return Mask::broken(bad("morton_natten", "a canvas of " + std::to_string(canvas_w) + " x " +
                                                     std::to_string(canvas_h) +
                                                     "; sides are 1 to 65536, pixels at most 2^28"));
    }
    std::vector<std::pair<uint32_t, uint32_t>> pixels;  // code, row-major place
    for (int32_t y = 0; y < canvas_h; ++y) {
        for (int32_t x = 0; x < canvas_w; ++x) {
            pixels.emplace_back(morton_code(static_cast<uint32_t>(x), static_cast<uint32_t>(y)),
                                static_cast<uint32_t>(y * canvas_w + x));
        }
    }
    std::sort(pixels.begin(), pixels.end());
    std::vector<int32_t> xs, ys;
    for (const auto& [code, place] : pixels) {
        xs.push_back(static_cast<int32_t>(place) % canvas_w);
        ys.push_back(static_cast<int32_t>(place) / canvas_w);
    }
    const std::string prefix(name);
    const TableExpr x = packed::captured_i32(prefix + "_x", std::move(xs)),
                    y = packed::captured_i32(prefix + "_y", std::move(ys));
    return trace_mask([&](Index, Index, Index q, Index kv) {
        return natten_axis(x(q), x(kv), canvas_w, kernel_w) && natten_axis(y(q), y(kv), canvas_h, kernel_h);
    });
}

Mask sliding_tile_attention(Size2 canvas, Size2 kernel, Size2 tile, int32_t text_len) {
    return sliding_tile_attention(Size3{1, canvas.h, canvas.w}, Size3{1, kernel.h, kernel.w}, Size3{1, tile.h, tile.w},
                                  text_len);
}

Mask sliding_tile_attention(Size3 canvas, Size3 kernel, Size3 tile, int32_t text_len) {
    for (const Status& status :
         {check_axis("time", canvas.t, kernel.t, tile.t), check_axis("height", canvas.h, kernel.h, tile.h),
          check_axis("width", canvas.w, kernel.w, tile.w)}) {
        if (!status.ok()) return Mask::broken(status);
    }
    const int64_t plane = int64_t{canvas.h} * canvas.w;
    if (plane > INT32_MAX || plane * canvas.t > INT32_MAX || text_len < 0 || plane * canvas.t + text_len > INT32_MAX) {
        return Mask::broken(bad("sliding_tile_attention", "canvas and text must have 0 to 2^31 - 1 tokens in all"));
    }
    const auto vision_len = static_cast<int32_t>(plane * canvas.t);
    const int32_t area = tile.t * tile.h * tile.w, n_h = canvas.h / tile.h, n_w = canvas.w / tile.w;
    return trace_mask([&](Index, Index, Index q, Index kv) {
        const Expr q_tile = q / area, kv_tile = kv / area;
        const auto axis = [&](const auto& place, int32_t n_tiles, int32_t n_kernel) {
            return natten_axis(place(q_tile), place(kv_tile), n_tiles, n_kernel);
        };
        const Expr near_h = axis([&](const Expr&at) { return at / n_w % n_h; }, n_h, kernel.h / tile.h),
                   near_w = axis([&](const Expr&at) { return at % n_w; }, n_w, kernel.w / tile.w);
        Expr near = near_h && near_w;
        if (canvas.t > tile.t)
            near = axis([&](const Expr& at) { return at / (n_w * n_h); }, canvas.t / tile.t, kernel.t / tile.t) && near;
        return (q < vision_len && kv < vision_len && near) || is_text_pair(q, kv, vision_len, text_len);
    });
}

Mask svg_spatial(Expr prompt_len, Expr frame_tokens, Expr width, bool sink, Expr round) {
    return trace_mask([&](Index, Index, Index q, Index kv) {
        const Expr seen_by_all = sink ? prompt_len + frame_tokens : prompt_len;
        return kv < seen_by_all || q < prompt_len || abs(q - kv) < width * frame_tokens / round * round;
    });
}

Mask svg_temporal(Expr prompt_len, Expr frames, Expr frame_tokens, Expr width) {
    return trace_mask([&](Index, Index, Index q, Index kv) {
        const Expr distance = abs((q - prompt_len) % frame_tokens - (kv - prompt_len) % frame_tokens);
        return kv < prompt_len || q < prompt_len || distance < width * frame_tokens / frames;
    });
}

Mask vsa(TableExpr keep, TableExpr sizes, Expr tile) {
    if (keep.type < 0 && !keep.captured) keep.type = static_cast<int>(Type::boolean);
    const Mask kept = trace_mask([&](Index b, Index h, Index q, Index kv) { return keep(b, h, q / tile, kv / tile); });
    return kept && vsa_padding(sizes, tile);
}

Mask vsa_padding(TableExpr sizes, Expr tile) {
    return trace_mask([&](Index, Index, Index, Index kv) { return kv % tile < sizes(kv / tile); });
}

Result<TableData> vsa_keep(const TableData& top_k, int32_t columns) {
    if (Status status = check(top_k, "top_k"); !status.ok()) return status;
    if (top_k.type != Type::i32 || top_k.dims.size() != 4) return bad("vsa_keep", "top_k is i32 [B, H, rows, k]");
    TableData keep;
    keep.type = Type::boolean;
    keep.dims = {top_k.dims[0], top_k.dims[1], top_k.dims[2], columns};
    const int64_t rows = top_k.dims[0] * top_k.dims[1] * top_k.dims[2], k = top_k.dims[3];
    if (columns < 1 || rows > INT32_MAX / columns)
        return bad("vsa_keep", std::to_string(rows) + " rows of " + std::to_string(columns) + " tiles are too many");
    keep.boolean.assign(static_cast<size_t>(rows * columns), 0);
    for (int64_t i = 0; i < rows * k; ++i) {
        const int32_t tile = top_k.i32[static_cast<size_t>(i)];
        if (tile < 0 || tile >= columns) {
            return bad("vsa_keep", "top_k names tile " + std::to_string(tile) + " of " + std::to_string(columns));
        }
        keep.boolean[static_cast<size_t>(i / k * columns + tile)] = 1;
    }
    return keep;
}

Result<BlockMask> vsa_block_mask(const TableData& top_k, std::span<const int32_t> sizes, const Shape& shape,
                                 int32_t tile) {
    const auto columns = static_cast<int32_t>(std::min<size_t>(sizes.size(), INT32_MAX));
    const Result<TableData> keep = vsa_keep(top_k, columns);
    if (!keep.ok()) return keep.status();
    for (const int32_t size : sizes) {
        if (size < 1 || size > tile) {
            return bad("vsa_block_mask", "a tile has " + std::to_string(size) + " tokens of " + std::to_string(tile));
        }
    }
    if (int64_t{columns} * tile != shape.kv_len)
        return bad("vsa_block_mask", "kv_len must be the number of tiles times " + std::to_string(tile));
    PaddedBlocks blocks;
    blocks.batch = static_cast<int32_t>(keep->dims[0]);
    blocks.heads = static_cast<int32_t>(keep->dims[1]);
    blocks.rows = static_cast<int32_t>(keep->dims[2]);
    blocks.columns = columns;
    const auto width = static_cast<size_t>(columns);
    for (size_t row = 0; row * width < keep->boolean.size(); ++row) {
        const size_t at = row * width;
        int32_t n_partial = 0, n_full = 0;
        blocks.indices.resize(at + width, 0);
        blocks.full_indices.resize(at + width, 0);
        for (size_t column = 0; column < width; ++column) {
            if (keep->boolean[at + column] == 0) continue;
            const bool whole = sizes[column] == tile;
            int32_t& count = whole ? n_full : n_partial;
            (whole ? blocks.full_indices : blocks.indices)[at + static_cast<size_t>(count++)] =
                static_cast<int32_t>(column);
        }
        blocks.num_blocks.push_back(n_partial);
        blocks.full_num_blocks.push_back(n_full);
    }
    return from_kv_blocks(blocks, shape, tile, tile);
}

ScoreMod sandwich(int32_t q_heads, int32_t max_len, int32_t d_bar, std::string_view name) {
    if (q_heads < 1 || max_len < 1 || d_bar < 2) {
        return ScoreMod::broken(bad("sandwich", "q_heads " + std::to_string(q_heads) + ", max_len " +
                                                    std::to_string(max_len) + " and d_bar " + std::to_string(d_bar) +
                                                    " must be at least 1, 1 and 2"));
    }
    TableData bias, scale;
    bias.type = scale.type = Type::f32;
    bias.dims = {max_len};
    scale.dims = {q_heads};
    for (int32_t distance = 0; distance < max_len; ++distance) {
        double sum = 0.0;
        for (int32_t i = 0; i < d_bar / 2; ++i) sum += std::cos(distance / std::pow(10000.0, 2.0 * i / d_bar));
        bias.f32.push_back(static_cast<float>(sum));
    }
    for (int32_t h = 0; h < q_heads; ++h) scale.f32.push_back(static_cast<float>(q_heads / (8.0 * (h + 1))));
    const std::string prefix(name);
    const TableExpr biases = table(prefix, std::move(bias)), scales = table(prefix + "_scale", std::move(scale));
    return trace_score_mod(
        [&](Expr score, Index, Index h, Index q, Index kv) { return score + biases(abs(q - kv)) * scales(h); });
}

ScoreMod graphormer_spatial(TableExpr bias, TableExpr distance) {
    if (distance.type < 0 && !distance.captured) distance.type = static_cast<int>(Type::i32);
    return trace_score_mod(
        [&](Expr score, Index b, Index h, Index q, Index kv) { return score + bias(h, distance(b, q, kv)); });
}

ScoreMod graphormer_edges(TableExpr bias, TableExpr types, TableExpr lengths, int32_t path_len) {
    if (path_len < 1 || path_len > 64) {
        return ScoreMod::broken(
            bad("graphormer_edges", "path_len is " + std::to_string(path_len) + "; 1 to 64 edges are written out"));
    }
    for (TableExpr* table : {&types, &lengths}) {
        if (table->type < 0 && !table->captured) table->type = static_cast<int>(Type::i32);
    }
    return trace_score_mod([&](Expr score, Index b, Index h, Index q, Index kv) {
        const Expr length = lengths(b, q, kv);
        const auto edge = [&](int32_t n) { return select(n < length, bias(h, n, types(b, q, kv, n)), 0.0f); };
        Expr sum = edge(0);
        for (int32_t n = 1; n < path_len; ++n) sum = sum + edge(n);
        return score + sum / to_float(max(length, 1));
    });
}

ScoreMod mla_rope(TableExpr query_rope, TableExpr key_rope, int32_t rope_dim, int32_t heads_per_key,
                  const Expr& scale) {
    if (rope_dim < 1 || rope_dim > 64)
        return ScoreMod::broken(
            bad("mla_rope", "rope_dim is " + std::to_string(rope_dim) + "; 1 to 64 elements are written out"));
    if (heads_per_key < 1)
        return ScoreMod::broken(
            bad("mla_rope", "heads_per_key is " + std::to_string(heads_per_key) + "; at least one head has a key"));
    return trace_score_mod([&](Expr score, Index b, Index h, Index q, Index kv) {
        const auto product = [&](int32_t n) { return query_rope(b, h, q, n) * key_rope(b, h / heads_per_key, kv, n); };
        Expr sum = product(0);
        for (int32_t n = 1; n < rope_dim; ++n) sum = sum + product(n);
        return score + scale * sum;
    });
}

ScoreMod activation(const std::function<Expr(Expr score)>& f, float offset) {
    return trace_score_mod([&](Expr score, Index, Index, Index, Index) { return log(f(score) + offset); });
}

Expr gelu(const Expr& x) {
    // erf(z) = 1 - t (a1 + t (a2 + t (a3 + t (a4 + t a5)))) exp(-z^2) with t = 1 / (1 + p z), for z = |x| / sqrt 2
    const Expr t = 1.0f / (1.0f + 0.3275911f * 0.70710678f * abs(x));
    const Expr tail =
        t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f)))) *
        exp(-0.5f * x * x);
    return 0.5f * x * (1.0f + sign(x) * (1.0f - tail));
}

void undo_activation(std::span<float> o, std::span<const float> lse, std::span<const float> v_sum, float offset) {
    const size_t value_dim = lse.empty() ? 0 : o.size() / lse.size();
    for (size_t row = 0; row < lse.size(); ++row) {
        const double sum = std::exp(static_cast<double>(lse[row]));  // of f(s) + offset; 0 where lse is -inf
        for (size_t i = row * value_dim; i < (row + 1) * value_dim; ++i) {
            const double shifted =
                static_cast<double>(o[i]) * sum - static_cast<double>(offset) * static_cast<double>(v_sum[i]);
            o[i] = static_cast<float>(shifted);
        }
    }
}

}  // namespace vkattn::attention_gym
