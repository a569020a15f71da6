#include "vkattn/block_mask.h"

#include <algorithm>

#include "block_mask_rows.h"

namespace vkattn {

using namespace block_rows;

namespace {

constexpr const char* kTransposed = "transposed ";

int64_t blocks_of_kind(const BlockMask& block_mask, bool full) {
    int64_t count = 0;
    for (const BlockRun& run : block_mask.runs) count += run.full() == full ? run.n_blocks : 0;
    return count;
}

std::string at_row(const BlockMask& grid, int64_t list_row) {
    const int64_t rows = grid.rows(), plane = list_row / rows;
    return "at b " + std::to_string(plane / grid.heads) + ", h " + std::to_string(plane % grid.heads) + ", row " +
           std::to_string(list_row % rows);
}

Status check_grid(const BlockMask& block_mask) {
    if (Status status = check(block_mask.shape); !status.ok()) return status;
    if (block_mask.block_q < 1 || block_mask.block_kv < 1) return bad("block sizes must be at least 1");
    const auto fits = [](int32_t lists, int32_t shape) { return lists == 1 || lists == shape; };
    if (!fits(block_mask.batch, block_mask.shape.batch) || !fits(block_mask.heads, block_mask.shape.q_heads)) {
        return bad("lists for batch " + std::to_string(block_mask.batch) + " and heads " +
                   std::to_string(block_mask.heads) + "; each must be 1 or the shape's (" +
                   std::to_string(block_mask.shape.batch) + ", " + std::to_string(block_mask.shape.q_heads) + ")");
    }
    return {};
}

// The ragged last row and column of each plane without full blocks.
BlockMask with_partial_edges(const BlockMask& block_mask) {
    BlockMask result = like(block_mask, block_mask.shape);
    const auto columns = static_cast<uint32_t>(block_mask.columns());
    const bool ragged_column = block_mask.shape.kv_len % block_mask.block_kv != 0;
    const int64_t rows = block_mask.rows();
    for (int64_t row = 0; row < list_rows(block_mask); ++row) {
        const bool ragged_row = row % rows == rows - 1 && block_mask.shape.q_len % block_mask.block_q != 0;
        const size_t row_begin = result.runs.size();
        for (const BlockRun& run : runs_of(block_mask, row)) {
            const bool last = ragged_column && run.first() + run.n_blocks == columns;
            const uint32_t inner = run.n_blocks - (last ? 1 : 0);
            if (inner > 0) append(result.runs, row_begin, run.first(), inner, run.full() && !ragged_row);
            if (last) append(result.runs, row_begin, columns - 1, 1, false);
        }
        result.row_offsets.push_back(static_cast<uint32_t>(result.runs.size()));
    }
    return result;
}

Status size_limit(const char* what, uint64_t bytes, uint64_t max_bytes) {
    return error(Code::limit_exceeded, std::string(what) + " would take " + std::to_string(bytes) +
                                           " bytes, the limit is " + std::to_string(max_bytes) +
                                           "; keep the runs, use larger blocks or raise the limit");
}

}  // namespace

int64_t BlockMask::full_blocks() const { return blocks_of_kind(*this, true); }
int64_t BlockMask::partial_blocks() const { return blocks_of_kind(*this, false); }

double BlockMask::sparsity() const {
    const double total = static_cast<double>(list_rows(*this)) * columns();
    if (total <= 0.0) return 0.0;
    return 100.0 * (1.0 - static_cast<double>(full_blocks() + partial_blocks()) / total);
}

BlockKind BlockMask::kind(int32_t b, int32_t h, int32_t row, int32_t column) const {
    const int64_t plane = int64_t{batch == 1 ? 0 : b} * heads + (heads == 1 ? 0 : h);
    if (b < 0 || h < 0 || row < 0 || column < 0 || row >= rows() || plane >= int64_t{batch} * heads)
        return BlockKind::empty;
    const auto list_row = static_cast<size_t>(plane * rows() + row);
    const auto begin = runs.begin() + row_offsets[list_row], end = runs.begin() + row_offsets[list_row + 1];
    const auto after = std::upper_bound(begin, end, static_cast<uint32_t>(column),
                                        [](uint32_t wanted, const BlockRun& run) { return wanted < run.first(); });
    if (after == begin) return BlockKind::empty;
    const BlockRun& run = *(after - 1);
    if (static_cast<uint32_t>(column) - run.first() >= run.n_blocks) return BlockKind::empty;
    return run.full() ? BlockKind::full : BlockKind::partial;
}

Status check(const BlockMask& block_mask) {
    if (Status status = check_grid(block_mask); !status.ok()) return status;
    const int64_t rows = list_rows(block_mask);
    const auto n_columns = static_cast<uint64_t>(block_mask.columns());
    if (static_cast<int64_t>(block_mask.row_offsets.size()) != rows + 1) {
        return bad("row_offsets has " + std::to_string(block_mask.row_offsets.size()) + " entries, needs " +
                   std::to_string(rows + 1));
    }
    if (block_mask.row_offsets.front() != 0 || block_mask.row_offsets.back() != block_mask.runs.size()) {
        return bad("row_offsets must begin with 0 and end with the number of runs");
    }
    if (!std::is_sorted(block_mask.row_offsets.begin(), block_mask.row_offsets.end()))
        return bad("row_offsets must not decrease");
    for (int64_t row = 0; row < rows; ++row) {
        uint64_t free_from = 0;
        const BlockRun* previous = nullptr;
        for (uint32_t i = block_mask.row_offsets[static_cast<size_t>(row)];
             i < block_mask.row_offsets[static_cast<size_t>(row) + 1]; ++i) {
            const BlockRun& run = block_mask.runs[i];
            const uint64_t end = uint64_t{run.first()} + run.n_blocks;
            if (run.n_blocks == 0 || end > n_columns) {
                return bad("run [" + std::to_string(run.first()) + ", " + std::to_string(end) + ") " +
                           at_row(block_mask, row) + " is empty or passes the last of " + std::to_string(n_columns) +
                           " columns");
            }
            if (run.first() < free_from) return bad("runs overlap or descend " + at_row(block_mask, row));
            if (previous != nullptr && run.first() == free_from && previous->full() == run.full()) {
                return bad("two runs of one kind touch " + at_row(block_mask, row));
            }
            free_from = end;
            previous = &run;
        }
    }
    return {};
}

Result<BlockMask> from_kv_blocks(const PaddedBlocks& blocks, const Shape& shape, int32_t block_q, int32_t block_kv) {
    BlockMask result;
    result.batch = blocks.batch;
    result.heads = blocks.heads;
    result.shape = shape;
    result.block_q = block_q;
    result.block_kv = block_kv;
    if (Status status = check_grid(result); !status.ok()) return status;
    if (blocks.rows != result.rows() || blocks.columns < 0) {
        return bad("arrays of " + std::to_string(blocks.rows) + " rows and " + std::to_string(blocks.columns) +
                   " columns; q_len " + std::to_string(shape.q_len) + " in blocks of " + std::to_string(block_q) +
                   " needs " + std::to_string(result.rows()) + " rows");
    }
    const auto n_rows = static_cast<uint64_t>(list_rows(result)), width = static_cast<uint64_t>(blocks.columns);
    const bool has_full = !blocks.full_num_blocks.empty() || !blocks.full_indices.empty();
    const auto sized = [&](const char* name, const std::vector<int32_t>& array, bool per_row) -> Status {
        // Compared by division: n_rows * width may pass 64 bits in hostile input.
        const bool right =
            per_row ? array.size() == n_rows
                    : (width == 0 || n_rows == 0 ? array.empty()
                                                 : array.size() % width == 0 && array.size() / width == n_rows);
        if (right) return {};
        return bad(std::string(name) + " has " + std::to_string(array.size()) + " elements; needs [" +
                   std::to_string(blocks.batch) + ", " + std::to_string(blocks.heads) + ", " +
                   std::to_string(blocks.rows) + (per_row ? "]" : ", " + std::to_string(blocks.columns) + "]"));
    };
    if (Status status = sized("num_blocks", blocks.num_blocks, true); !status.ok()) return status;
    if (Status status = sized("indices", blocks.indices, false); !status.ok()) return status;
    if (has_full) {
        if (Status status = sized("full_num_blocks", blocks.full_num_blocks, true); !status.ok()) return status;
        if (Status status = sized("full_indices", blocks.full_indices, false); !status.ok()) return status;
    }

    const int32_t columns = result.columns();
    std::vector<uint32_t> entries;  // column * 2 + full, of one row
    result.row_offsets.assign(1, 0);
    for (uint64_t row = 0; row < n_rows; ++row) {
        entries.clear();
        for (const bool full : {false, true}) {
            if (full && !has_full) continue;
            const std::vector<int32_t>& counts = full ? blocks.full_num_blocks : blocks.num_blocks;
            const std::vector<int32_t>& indices = full ? blocks.full_indices : blocks.indices;
            const auto count = static_cast<uint64_t>(std::clamp<int32_t>(counts[row], 0, blocks.columns));
            for (uint64_t i = 0; i < count; ++i) {
                const int32_t column = indices[row * width + i];
                if (column < 0 || column >= columns) {
                    return bad(std::string(full ? "full_indices" : "indices") + " names block " +
                               std::to_string(column) + " " + at_row(result, static_cast<int64_t>(row)) +
                               ", the grid has columns 0 to " + std::to_string(columns - 1));
                }
                entries.push_back(static_cast<uint32_t>(column) * 2 + (full ? 1u : 0u));
            }
        }
        std::sort(entries.begin(), entries.end());
        const size_t row_begin = result.runs.size();
        for (size_t i = 0; i < entries.size(); ++i) {
            if (i > 0 && entries[i] / 2 == entries[i - 1] / 2) {
                const bool both = entries[i] != entries[i - 1];
                return bad("block " + std::to_string(entries[i] / 2) + " " + at_row(result, static_cast<int64_t>(row)) +
                           (both ? " is in both the partial and the full list" : " is named twice"));
            }
            append(result.runs, row_begin, entries[i] / 2, 1, (entries[i] & 1u) != 0);
        }
        if (result.runs.size() > ~0u) return error(Code::limit_exceeded, "block mask: more than 2^32 - 1 runs");
        result.row_offsets.push_back(static_cast<uint32_t>(result.runs.size()));
    }
    return result;
}

Result<PaddedBlocks> to_padded(const BlockMask& block_mask, uint64_t max_bytes, bool newest_first, bool strict_edges) {
    if (Status status = check(block_mask); !status.ok()) return status;
    if (strict_edges) return to_padded(with_partial_edges(block_mask), max_bytes, newest_first);
    const auto n_rows = static_cast<uint64_t>(list_rows(block_mask)),
               width = static_cast<uint64_t>(block_mask.columns());
    const uint64_t bytes_per_row = (1 + width) * 2 * sizeof(int32_t);
    const uint64_t bytes = n_rows > UINT64_MAX / bytes_per_row ? UINT64_MAX : n_rows * bytes_per_row;
    if (bytes > max_bytes) return size_limit("padded block lists", bytes, max_bytes);

    PaddedBlocks result{block_mask.batch, block_mask.heads, block_mask.rows(), block_mask.columns(), {}, {}, {}, {}};
    std::vector<uint8_t> taken;
    for (const bool full : {false, true}) {
        std::vector<int32_t>& counts = full ? result.full_num_blocks : result.num_blocks;
        std::vector<int32_t>& indices = full ? result.full_indices : result.indices;
        counts.reserve(n_rows);
        indices.reserve(n_rows * width);
        for (uint64_t row = 0; row < n_rows; ++row) {
            taken.assign(width, 0);
            const auto row_begin = static_cast<int64_t>(indices.size());
            for (uint32_t i = block_mask.row_offsets[row]; i < block_mask.row_offsets[row + 1]; ++i) {
                const BlockRun& run = block_mask.runs[i];
                if (run.full() != full) continue;
                for (uint32_t column = run.first(); column < run.first() + run.n_blocks; ++column) {
                    indices.push_back(static_cast<int32_t>(column));
                    taken[column] = 1;
                }
            }
            if (newest_first) std::reverse(indices.begin() + row_begin, indices.end());
            counts.push_back(static_cast<int32_t>(static_cast<int64_t>(indices.size()) - row_begin));
            for (uint64_t column = 0; column < width; ++column) {
                if (taken[column] == 0) indices.push_back(static_cast<int32_t>(column));
            }
        }
    }
    return result;
}

Result<std::vector<uint8_t>> to_dense(const BlockMask& block_mask, uint64_t max_bytes) {
    if (Status status = check(block_mask); !status.ok()) return status;
    const auto n_rows = static_cast<uint64_t>(list_rows(block_mask)),
               width = static_cast<uint64_t>(block_mask.columns());
    if (n_rows * width > max_bytes)
        return size_limit("a dense block mask", n_rows * width, max_bytes);  // < 2^33 times < 2^31
    std::vector<uint8_t> dense(n_rows * width, 0);
    for (uint64_t row = 0; row < n_rows; ++row) {
        for (uint32_t i = block_mask.row_offsets[row]; i < block_mask.row_offsets[row + 1]; ++i) {
            const BlockRun& run = block_mask.runs[i];
            std::fill_n(dense.begin() + static_cast<int64_t>(row * width + run.first()), run.n_blocks, uint8_t{1});
        }
    }
    return dense;
}

// A sweep over the columns: each run begins and ends once, and the rows' kinds at the current column are kept as a
// sorted list of pieces. Time follows the runs of both sides, not the blocks.
BlockMask transpose(const BlockMask& block_mask) {
    BlockMask result;
    result.batch = block_mask.batch;
    result.heads = block_mask.heads;
    result.shape = block_mask.shape;
    std::swap(result.shape.q_len, result.shape.kv_len);
    result.block_q = block_mask.block_kv;
    result.block_kv = block_mask.block_q;
    result.slot_values = block_mask.slot_values;
    result.tables_hash = block_mask.tables_hash;
    const std::string prefix = kTransposed;
    if (block_mask.structure_hash.starts_with(prefix))
        result.structure_hash = block_mask.structure_hash.substr(prefix.size());
    else if (!block_mask.structure_hash.empty()) result.structure_hash = prefix + block_mask.structure_hash;

    struct Change {  // from `column` on, `row` has this kind
        uint32_t column, row;
        BlockKind kind;
    };
    const auto rows = static_cast<size_t>(block_mask.rows()), columns = static_cast<size_t>(block_mask.columns());
    const size_t planes = static_cast<size_t>(block_mask.batch) * static_cast<size_t>(block_mask.heads);
    std::vector<Change> changes;
    std::vector<BlockRun> current, next;  // of the column: ascending rows, merged
    result.row_offsets.reserve(planes * columns + 1);
    result.row_offsets.push_back(0);
    for (size_t plane = 0; plane < planes; ++plane) {
        changes.clear();
        for (size_t row = 0; row < rows; ++row) {
            const uint32_t begin = block_mask.row_offsets[plane * rows + row],
                           end = block_mask.row_offsets[plane * rows + row + 1];
            for (uint32_t i = begin; i < end; ++i) {
                const BlockRun& run = block_mask.runs[i];
                const uint32_t after = run.first() + run.n_blocks;
                changes.push_back(
                    {run.first(), static_cast<uint32_t>(row), run.full() ? BlockKind::full : BlockKind::partial});
                const bool follows = i + 1 < end && block_mask.runs[i + 1].first() == after;
                if (!follows) changes.push_back({after, static_cast<uint32_t>(row), BlockKind::empty});
            }
        }
        std::sort(changes.begin(), changes.end(), [](const Change& x, const Change& y) {
            return x.column != y.column ? x.column < y.column : x.row < y.row;
        });
        current.clear();
        size_t change = 0;
        for (size_t column = 0; column < columns; ++column) {
            if (change < changes.size() && changes[change].column == column) {
                next.clear();
                size_t piece = 0;
                uint32_t done = 0;  // rows below are written
                const auto copy_until = [&](uint32_t row) {
                    while (piece < current.size()) {
                        const uint32_t first = std::max(current[piece].first(), done),
                                       end = current[piece].first() + current[piece].n_blocks;
                        if (first >= row) break;
                        if (first < end) append(next, 0, first, std::min(end, row) - first, current[piece].full());
                        if (end > row) break;
                        ++piece;
                    }
                    done = std::max(done, row);
                };
                for (; change < changes.size() && changes[change].column == column; ++change) {
                    const Change& at = changes[change];
                    copy_until(at.row);
                    if (at.kind != BlockKind::empty) append(next, 0, at.row, 1, at.kind == BlockKind::full);
                    done = at.row + 1;
                }
                copy_until(static_cast<uint32_t>(rows));
                current.swap(next);
            }
            result.runs.insert(result.runs.end(), current.begin(), current.end());
            result.row_offsets.push_back(static_cast<uint32_t>(result.runs.size()));
        }
    }
    return result;
}

}  // namespace vkattn
