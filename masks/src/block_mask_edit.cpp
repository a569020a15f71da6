// Editing of block lists: row by row over the runs, never over single blocks.
#include <algorithm>

#include "block_mask_rows.h"
#include "vkattn/block_mask.h"

namespace vkattn {

using namespace block_rows;

namespace {

std::string text(const Shape& shape) {
    return std::to_string(shape.batch) + " x " + std::to_string(shape.q_heads) + " heads (" +
           std::to_string(shape.kv_heads) + " key heads) x " + std::to_string(shape.q_len) + " x " +
           std::to_string(shape.kv_len);
}

std::string size(int32_t a, int32_t b) { return std::to_string(a) + " x " + std::to_string(b); }

Status check_same(const BlockMask& a, const BlockMask& b) {
    if (Status status = check(a); !status.ok()) return status;
    if (Status status = check(b); !status.ok()) return status;
    if (!(a.shape == b.shape)) return bad("lists of unequal shapes, " + text(a.shape) + " and " + text(b.shape));
    if (a.block_q != b.block_q || a.block_kv != b.block_kv) {
        return bad("lists of unequal block sizes, " + size(a.block_q, a.block_kv) + " and " +
                   size(b.block_q, b.block_kv));
    }
    return {};
}

Status too_many_runs() { return error(Code::limit_exceeded, "block mask: more than 2^32 - 1 runs"); }

// Ends the row that is being written.
bool end_row(BlockMask& block_mask) {
    block_mask.row_offsets.push_back(static_cast<uint32_t>(block_mask.runs.size()));
    return block_mask.runs.size() <= ~0u;
}

// The kinds of one row, from left to right.
class Walk {
  public:
    explicit Walk(std::span<const BlockRun> runs) : runs_(runs) {}
    BlockKind kind_at(uint32_t column) {
        while (next_ < runs_.size() && runs_[next_].first() + runs_[next_].n_blocks <= column) ++next_;
        if (next_ == runs_.size() || runs_[next_].first() > column) return BlockKind::empty;
        return runs_[next_].full() ? BlockKind::full : BlockKind::partial;
    }
    uint32_t change_after(uint32_t column, uint32_t columns) const {  // after kind_at(column)
        if (next_ == runs_.size()) return columns;
        return runs_[next_].first() > column ? runs_[next_].first() : runs_[next_].first() + runs_[next_].n_blocks;
    }

  private:
    std::span<const BlockRun> runs_;
    size_t next_ = 0;
};

Result<BlockMask> combine(const BlockMask& a, const BlockMask& b, BlockKind (*kind_of)(BlockKind, BlockKind)) {
    if (Status status = check_same(a, b); !status.ok()) return status;
    BlockMask result = like(a, a.shape);
    result.batch = std::max(a.batch, b.batch);
    result.heads = std::max(a.heads, b.heads);
    const auto columns = static_cast<uint32_t>(a.columns());
    const auto list_row = [](const BlockMask& list, int64_t batch, int64_t head, int64_t row) {
        return ((list.batch == 1 ? 0 : batch) * list.heads + (list.heads == 1 ? 0 : head)) * list.rows() + row;
    };
    for (int64_t batch = 0; batch < result.batch; ++batch) {
        for (int64_t head = 0; head < result.heads; ++head) {
            for (int64_t row = 0; row < result.rows(); ++row) {
                Walk left(runs_of(a, list_row(a, batch, head, row))), right(runs_of(b, list_row(b, batch, head, row)));
                const size_t row_begin = result.runs.size();
                for (uint32_t column = 0; column < columns;) {
                    const BlockKind kind = kind_of(left.kind_at(column), right.kind_at(column));
                    const uint32_t end =
                        std::min(left.change_after(column, columns), right.change_after(column, columns));
                    if (kind != BlockKind::empty)
                        append(result.runs, row_begin, column, end - column, kind == BlockKind::full);
                    column = end;
                }
                if (!end_row(result)) return too_many_runs();
            }
        }
    }
    return result;
}

Status check_range(const char* what, int32_t begin, int32_t end, int32_t size) {
    if (begin >= 0 && end >= begin && end <= size) return {};
    return bad(std::string(what) + " [" + std::to_string(begin) + ", " + std::to_string(end) + ") of a grid with " +
               std::to_string(size) + " " + what);
}

// Elements in blocks [begin, end) of a length.
int32_t elements_in(int32_t begin, int32_t end, int32_t block, int32_t length) {
    const int64_t first = std::min<int64_t>(int64_t{begin} * block, length);
    return static_cast<int32_t>(std::min<int64_t>(int64_t{end} * block, length) - first);
}

// At least one of `size`: a shape has no empty batch and no heads of none.
Status check_some(const char* what, int32_t begin, int32_t end, int32_t size) {
    if (begin >= 0 && end > begin && end <= size) return {};
    return bad(std::string(what) + " [" + std::to_string(begin) + ", " + std::to_string(end) + ") of " +
               std::to_string(size) + "; at least one must be left");
}

// The lists of some batch entries and heads; where one list serves all, that one.
BlockMask selected(const BlockMask& block_mask, const Shape& shape, int32_t first_b, int32_t first_h) {
    BlockMask result = like(block_mask, shape);
    if (block_mask.batch > 1) result.batch = shape.batch;
    if (block_mask.heads > 1) result.heads = shape.q_heads;
    for (int64_t b = 0; b < result.batch; ++b) {
        for (int64_t h = 0; h < result.heads; ++h) {
            const int64_t plane = (block_mask.batch == 1 ? 0 : first_b + b) * block_mask.heads +
                                  (block_mask.heads == 1 ? 0 : first_h + h);
            for (int64_t row = 0; row < block_mask.rows(); ++row) {
                const std::span<const BlockRun> runs = runs_of(block_mask, plane * block_mask.rows() + row);
                result.runs.insert(result.runs.end(), runs.begin(), runs.end());
                end_row(result);
            }
        }
    }
    return result;
}

}  // namespace

Result<BlockMask> unite(const BlockMask& a, const BlockMask& b) {
    return combine(a, b, [](BlockKind x, BlockKind y) { return std::max(x, y); });
}

Result<BlockMask> intersect(const BlockMask& a, const BlockMask& b) {
    return combine(a, b, [](BlockKind x, BlockKind y) { return std::min(x, y); });
}

Result<BlockMask> subtract(const BlockMask& a, const BlockMask& b) {
    return combine(a, b, [](BlockKind x, BlockKind y) {
        if (x == BlockKind::empty || y == BlockKind::full) return BlockKind::empty;
        return y == BlockKind::empty ? x : BlockKind::partial;
    });
}

Result<BlockMask> slice_batch(const BlockMask& block_mask, int32_t begin, int32_t end) {
    if (Status status = check(block_mask); !status.ok()) return status;
    if (Status status = check_some("batch entries", begin, end, block_mask.shape.batch); !status.ok()) return status;
    Shape shape = block_mask.shape;
    shape.batch = end - begin;
    return selected(block_mask, shape, begin, 0);
}

Result<BlockMask> slice_heads(const BlockMask& block_mask, int32_t begin, int32_t end) {
    if (Status status = check(block_mask); !status.ok()) return status;
    if (Status status = check_some("heads", begin, end, block_mask.shape.q_heads); !status.ok()) return status;
    Shape shape = block_mask.shape;
    const int32_t group = shape.q_heads / shape.kv_heads;
    const bool whole_groups = begin % group == 0 && end % group == 0;
    if (!whole_groups && begin / group != (end - 1) / group) {
        return bad("heads [" + std::to_string(begin) + ", " + std::to_string(end) + ") cut through groups of " +
                   std::to_string(group) + " that share key heads");
    }
    shape.q_heads = end - begin;
    shape.kv_heads = whole_groups ? shape.q_heads / group : 1;
    return selected(block_mask, shape, 0, begin);
}

Result<BlockMask> slice_rows(const BlockMask& block_mask, int32_t row_begin, int32_t row_end) {
    if (Status status = check(block_mask); !status.ok()) return status;
    if (Status status = check_range("rows", row_begin, row_end, block_mask.rows()); !status.ok()) return status;
    Shape shape = block_mask.shape;
    shape.q_len = elements_in(row_begin, row_end, block_mask.block_q, shape.q_len);
    BlockMask result = like(block_mask, shape);
    for (int64_t plane = 0; plane < int64_t{block_mask.batch} * block_mask.heads; ++plane) {
        for (int64_t row = row_begin; row < row_end; ++row) {
            const std::span<const BlockRun> runs = runs_of(block_mask, plane * block_mask.rows() + row);
            result.runs.insert(result.runs.end(), runs.begin(), runs.end());
            end_row(result);
        }
    }
    return result;
}

Result<BlockMask> slice_columns(const BlockMask& block_mask, int32_t column_begin, int32_t column_end) {
    if (Status status = check(block_mask); !status.ok()) return status;
    if (Status status = check_range("columns", column_begin, column_end, block_mask.columns()); !status.ok())
        return status;
    Shape shape = block_mask.shape;
    shape.kv_len = elements_in(column_begin, column_end, block_mask.block_kv, shape.kv_len);
    BlockMask result = like(block_mask, shape);
    const auto first = static_cast<uint32_t>(column_begin), after = static_cast<uint32_t>(column_end);
    for (int64_t row = 0; row < list_rows(block_mask); ++row) {
        const size_t row_begin = result.runs.size();
        for (const BlockRun& run : runs_of(block_mask, row)) {
            const uint32_t begin = std::max(run.first(), first), end = std::min(run.first() + run.n_blocks, after);
            if (begin < end) append(result.runs, row_begin, begin - first, end - begin, run.full());
        }
        end_row(result);
    }
    return result;
}

Result<BlockMask> shift(const BlockMask& block_mask, int32_t rows, int32_t columns) {
    if (Status status = check(block_mask); !status.ok()) return status;
    BlockMask result = like(block_mask, block_mask.shape);
    const int64_t n_rows = block_mask.rows(), n_columns = block_mask.columns();
    const bool ragged_row = rows < 0 && block_mask.shape.q_len % block_mask.block_q != 0;
    const bool ragged_column = columns < 0 && block_mask.shape.kv_len % block_mask.block_kv != 0;
    for (int64_t plane = 0; plane < int64_t{block_mask.batch} * block_mask.heads; ++plane) {
        for (int64_t row = 0; row < n_rows; ++row) {
            const size_t row_begin = result.runs.size();
            const int64_t from = row - rows;
            if (from >= 0 && from < n_rows) {
                const bool may_be_full = !(ragged_row && from == n_rows - 1);
                const auto place = [&](int64_t begin, int64_t end, bool full) {
                    begin = std::max<int64_t>(begin + columns, 0);
                    end = std::min<int64_t>(end + columns, n_columns);
                    if (begin >= end) return;
                    append(result.runs, row_begin, static_cast<uint32_t>(begin), static_cast<uint32_t>(end - begin),
                           full && may_be_full);
                };
                for (const BlockRun& run : runs_of(block_mask, plane * n_rows + from)) {
                    const int64_t end = int64_t{run.first()} + run.n_blocks;
                    const int64_t whole = ragged_column && end == n_columns ? end - 1 : end;
                    place(run.first(), whole, run.full());
                    place(whole, end, false);
                }
            }
            if (!end_row(result)) return too_many_runs();
        }
    }
    return result;
}

Result<BlockMask> concatenate(std::span<const BlockMask> parts) {
    if (parts.empty()) return bad("nothing to concatenate");
    int64_t batch = 0;
    int32_t heads = 1;
    for (const BlockMask& part : parts) {
        Shape one_batch = part.shape;
        one_batch.batch = parts.front().shape.batch;
        if (Status status = check(part); !status.ok()) return status;
        if (!(one_batch == parts.front().shape)) {
            return bad("lists whose shapes differ in more than the batch, " + text(parts.front().shape) + " and " +
                       text(part.shape));
        }
        if (part.block_q != parts.front().block_q || part.block_kv != parts.front().block_kv) {
            return bad("lists of unequal block sizes, " + size(parts.front().block_q, parts.front().block_kv) +
                       " and " + size(part.block_q, part.block_kv));
        }
        batch += part.shape.batch;
        heads = std::max(heads, part.heads);
    }
    if (batch > INT32_MAX) return bad("a batch of " + std::to_string(batch) + " entries");
    BlockMask result = like(parts.front(), parts.front().shape);
    result.batch = result.shape.batch = static_cast<int32_t>(batch);
    result.heads = heads;
    for (const BlockMask& part : parts) {
        for (int64_t b = 0; b < part.shape.batch; ++b) {
            for (int64_t h = 0; h < heads; ++h) {
                const int64_t plane = (part.batch == 1 ? 0 : b) * part.heads + (part.heads == 1 ? 0 : h);
                for (int64_t row = 0; row < part.rows(); ++row) {
                    const std::span<const BlockRun> runs = runs_of(part, plane * part.rows() + row);
                    result.runs.insert(result.runs.end(), runs.begin(), runs.end());
                    if (!end_row(result)) return too_many_runs();
                }
            }
        }
    }
    return result;
}

}  // namespace vkattn
