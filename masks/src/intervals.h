// Which keys a query row can see at all, and which it sees for certain, as one interval each: derived once from the structure of
// a mask, evaluated per row. The GLSL of it (emit.cpp) calls shaders/include/row_ranges.glsl, which has the same functions.
//
// Understood: && || ! and select over conditions of the row alone and over comparisons of the key with values of the row, where
// the key appears as +-kv + row, |+-kv + row|, or in a quotient kv / row or kv >> row. Everything else is "any key, none for
// certain". i32 arithmetic wraps, so a comparison of  row - kv  says something only while it cannot have wrapped: offsets whose
// size the structure does not bound are checked at run time.
#pragma once

#include <cstdint>
#include <vector>

#include "vkattn/evaluate.h"
#include "vkattn/tree.h"

namespace vkattn::detail {

// Lengths up to which ranges are derived; beyond, every range is unknown (KEY_RANGE_MAX_LENGTH in row_ranges.glsl).
constexpr int32_t key_range_max_length = 1 << 28;
constexpr int32_t key_range_max_offset = 1 << 30;
constexpr int32_t key_range_max_dividend = 1 << 29;

// An i32 that is constant along a query row. Arithmetic wraps.
struct RowValue {
    enum class Kind : uint8_t { zero, node, add, sub, neg };
    Kind kind = Kind::zero;
    int32_t a = -1;  // node: a position on the tape; else positions in RangeProgram::values
    int32_t b = -1;
    double bound = 0.0;  // of |value|, for lengths up to key_range_max_length
};

// sign * x + offset; sign is 1 or -1 in a finished comparison.
struct LinearKey {
    int32_t sign = 0;
    int32_t offset = -1;   // in RangeProgram::values
    bool checked = false;  // the offset's size must be checked at run time
};

enum class Relation : uint8_t { lt, le, gt, ge, eq, abs_lt, abs_le };

struct RangeStep {
    enum class Kind : uint8_t {
        unknown,
        condition,  // the bool at `node` of the tape, constant along the row
        compare,    // `outer` relation `bound`
        both,
        either,
        complement,  // of steps a (and b)
        choose,      // `node` ? a : b
    };
    Kind kind = Kind::unknown;
    int32_t a = -1;
    int32_t b = -1;
    int32_t node = -1;

    Relation relation = Relation::le;
    int32_t bound = -1;             // in RangeProgram::values
    LinearKey outer;                // of u: kv itself, or floor(inner / divisor)
    int32_t divisor = -1;           // a position on the tape, -1: u is kv
    bool divisor_is_shift = false;  // the divisor is 1 << (that value & 31)
    LinearKey inner;                // of kv
};

struct RangeProgram {
    std::vector<RowValue> values;
    std::vector<RangeStep> steps;  // the last one is the result; every step is used
    bool informative = false;      // better than "any key, none for certain" for a reason in the structure
    bool exact = false;  // the mask of every row is [lo_any, hi_any) = [lo_all, hi_all), for lengths in the limit
};

RangeProgram range_program(const Tree& normalised_mask);

// Half-open, in [0, kv_len]; empty: hi <= lo.
struct RowRange {
    int32_t lo_any = 0, hi_any = 0, lo_all = 0, hi_all = 0;

    bool operator==(const RowRange&) const = default;
};

// The range of the row that `evaluator` (of the same tree) was last asked about, with any key.
RowRange row_range(const RangeProgram& program, const Evaluator& evaluator, const Shape& shape);

}  // namespace vkattn::detail
