// Lists that grow with their lengths: what is known stays, the rest is classified.
#include <algorithm>

#include "block_mask_rows.h"
#include "classify_blocks.h"
#include "vkattn/normalise.h"

namespace vkattn {

using namespace block_rows;

namespace {

bool uses(const Mask& mask, Op op) {
    const std::vector<Node>& nodes = mask.tree().nodes;
    return std::any_of(nodes.begin(), nodes.end(), [op](const Node& node) { return node.op == op; });
}

// Whole blocks of a length that grows; a ragged one gains elements, so it is no longer known.
int64_t known_blocks(int32_t old_length, int32_t length, int32_t block) {
    const int64_t whole = old_length / block;
    return old_length == length && old_length % block != 0 ? whole + 1 : whole;
}

Status check_growth(const BlockMask& block_mask, const Mask& mask, const Shape& grown, const ClassifyOptions& options) {
    const Shape& old = block_mask.shape;
    if (options.block_q != block_mask.block_q || options.block_kv != block_mask.block_kv) {
        return bad("options ask for blocks of " + std::to_string(options.block_q) + " x " +
                   std::to_string(options.block_kv) + ", the list has " + std::to_string(block_mask.block_q) + " x " +
                   std::to_string(block_mask.block_kv));
    }
    if (grown.batch != old.batch || grown.q_heads != old.q_heads || grown.kv_heads != old.kv_heads)
        return bad("batch and heads cannot change while a list grows");
    if (grown.q_len < old.q_len || grown.kv_len < old.kv_len) {
        return bad("a list of " + std::to_string(old.q_len) + " x " + std::to_string(old.kv_len) +
                   " positions cannot grow to " + std::to_string(grown.q_len) + " x " + std::to_string(grown.kv_len) +
                   "; slice_rows and slice_columns make it smaller");
    }
    const char* names[] = {"q_len", "kv_len"};
    const Op ops[] = {Op::q_len, Op::kv_len};
    const bool grows[] = {grown.q_len != old.q_len, grown.kv_len != old.kv_len};
    for (int i = 0; i < 2; ++i) {
        if (!grows[i] || !uses(mask, ops[i])) continue;
        return bad(std::string("the mask depends on ") + names[i] +
                   ", so that old rows change with it; classify again, or align by offset(mask, param(...))");
    }
    return {};
}

}  // namespace

Result<BlockMask> grow_block_mask(const BlockMask& block_mask, const Mask& mask, const Shape& grown,
                                  const Bindings& bindings, const ClassifyOptions& options, OldTables tables) {
    if (Status status = check(block_mask); !status.ok()) return status;
    if (!mask.status().ok()) return mask.status();
    if (Status status = check_growth(block_mask, mask, grown, options); !status.ok()) return status;

    KnownBlocks known;
    known.rows = known_blocks(block_mask.shape.q_len, grown.q_len, block_mask.block_q);
    known.columns = known_blocks(block_mask.shape.kv_len, grown.kv_len, block_mask.block_kv);
    Result<BlockMask> fresh = classify_blocks(mask, grown, bindings, options, known);
    if (!fresh.ok()) return fresh.status();
    if (block_mask.structure_hash != fresh->structure_hash) return bad("the list was built from another mask");
    if (block_mask.slot_values != fresh->slot_values) {
        return bad("the list was built with other values (a window, a literal or a param has changed)");
    }
    if (tables == OldTables::same && block_mask.tables_hash != fresh->tables_hash) {
        return bad("the list was built with other tables; if what the old rows and columns read is unchanged, say so "
                   "with OldTables::same_where_read");
    }

    BlockMask kept = like(*fresh, grown);
    const auto end_column = static_cast<uint32_t>(known.columns);
    for (int64_t plane = 0; plane < int64_t{kept.batch} * kept.heads; ++plane) {
        for (int64_t row = 0; row < kept.rows(); ++row) {
            const size_t row_begin = kept.runs.size();
            if (row < known.rows) {
                for (const BlockRun& run : runs_of(block_mask, plane * block_mask.rows() + row)) {
                    const uint32_t end = std::min(run.first() + run.n_blocks, end_column);
                    if (run.first() < end) append(kept.runs, row_begin, run.first(), end - run.first(), run.full());
                }
            }
            kept.row_offsets.push_back(static_cast<uint32_t>(kept.runs.size()));
        }
    }
    Result<BlockMask> result = unite(kept, *fresh);
    if (!result.ok()) return result;
    result->structure_hash = std::move(fresh->structure_hash);
    result->slot_values = std::move(fresh->slot_values);
    result->tables_hash = std::move(fresh->tables_hash);
    return result;
}

}  // namespace vkattn
