// Classification: a mask over boxes of the q x kv plane, without ever making the dense array.
//
// Abstract domain: a value over a box is a q + c kv + [lo, hi]; comparisons range the difference, x % n stays affine
// where the quotient is constant, tables answer by a min/max pyramid. Soundness first: EMPTY and FULL are proofs.
// Ambiguous blocks are settled by witnesses, then by exact descent when `refine` is host: then every verdict on a mask
// without floats is exact. Floats are decided only where every device must agree; an undecided element makes its
// block partial.
//
// Time: of the order of the runs and of the changes between them. Where a mask repeats along rows, columns or the
// diagonal (it depends on q - kv, or on remainders by constants) one period is classified and copied. What neither has
// large uniform boxes nor a period costs time of the order of the blocks; and where its blocks are uniform though
// nothing but their elements shows it, of the order of the plane. The lists do not depend on the number of threads.
#pragma once

#include "vkattn/bindings.h"
#include "vkattn/block_mask.h"
#include "vkattn/mask.h"

namespace vkattn {

enum class Refine : uint8_t { none, host };

struct ClassifyOptions {
    int32_t block_q = 128;  // >= 1
    int32_t block_kv = 128;
    Refine refine = Refine::host;  // none: an ambiguous block is partial
    int32_t threads = 1;           // the library starts that many at most, and joins them before it returns
    uint64_t max_runs = 1u << 28;  // beyond: Code::limit_exceeded
};

// Lists for every batch entry and head that the mask tells apart (batch / heads 1 where it does not depend on b / h).
Result<BlockMask> create_block_mask(const Mask& mask, const Shape& shape, const Bindings& bindings = {},
                                    const ClassifyOptions& options = {});

// `block_mask`, made of this mask by create_block_mask or by growing, for a shape with more queries, keys or both: what
// it says of whole blocks is kept, the others are classified. The same list as create_block_mask's for `grown`, in
// time of the new blocks (and a copy of the runs). Errors: other block sizes, batch or heads, lengths that shrink, a
// mask that reads a length that grows, a list of another mask, other values or other tables.
// same_where_read is the caller's word that tables gained entries, or changed where no old row or column reads them.
enum class OldTables : uint8_t { same, same_where_read };
Result<BlockMask> grow_block_mask(const BlockMask& block_mask, const Mask& mask, const Shape& grown,
                                  const Bindings& bindings = {}, const ClassifyOptions& options = {},
                                  OldTables tables = OldTables::same);

// The number of true pairs, exactly, over all batch entries and query heads.
Result<int64_t> count_pairs(const Mask& mask, const Shape& shape, const Bindings& bindings = {});

}  // namespace vkattn
