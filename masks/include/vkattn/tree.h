// The expression tree behind every mask and score mod: a flat, typed, immutable tape in topological order.
//
// Both front ends (traced C++ in expr.h, text in mask.h) end here, and every pass (evaluate, classify, normalise,
// emit, print) is one switch over Op, compiled with -Werror=switch-enum. Nothing recurses over the tape, so depth is
// no hazard.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace vkattn {

enum class Type : uint8_t { boolean, i32, f32 };

// Semantics (design.md, section 4): i32 wraps; div and mod round toward minus infinity and give 0 for a zero divisor
// (INT_MIN / -1 wraps to INT_MIN, INT_MIN % -1 is 0); shift counts are taken & 31, shr is arithmetic; to_i32 saturates,
// NaN gives 0. f32 is IEEE, a step a node: mod is a - b * floor(a / b), min is (b < a ? b : a), max (a < b ? b : a),
// sign of 0 and NaN is 0.
// clang-format off: the groups are what is to be read
enum class Op : uint8_t {
    // leaves
    b,
    h,
    q,
    kv,     // i32 indices; h is always the query head
    score,  // f32, in a score mod only
    q_len,
    kv_len,
    q_heads,
    kv_heads,  // i32
    literal,   // payload = the bits of the value (bool: 0 or 1; NaN: 0x7fc00000)
    param,     // payload = index into Tree::params
    slot,      // after normalise: payload = index into Tree::slots (a lifted literal or param)
    table,     // payload = index into Tree::tables; 1 to 4 i32 arguments, each clamped to its dimension
    // i32 and f32: operand type = result type
    add,
    sub,
    mul,
    div,
    mod,
    neg,
    abs,
    min,
    max,
    // i32; bit_and, bit_or, bit_xor also on bool
    bit_and,
    bit_or,
    bit_xor,
    bit_not,
    shl,
    shr,
    // bool
    logical_and,
    logical_or,
    logical_not,
    // operands of one type (eq, ne also bool); result bool. Greater-than is written with swapped operands.
    lt,
    le,
    eq,
    ne,
    select,  // args: bool, then, otherwise (one type)
    to_f32,  // i32 -> f32, round to nearest even
    to_i32,  // f32 -> i32, toward zero
    // f32
    exp,
    exp2,
    log,
    log2,
    pow,
    sqrt,
    rsqrt,
    sin,
    cos,
    tanh,
    sigmoid,
    floor,
    sign,
};
// clang-format on

struct Node {
    Op op = Op::literal;
    Type type = Type::boolean;
    uint8_t n_args = 0;
    uint32_t payload = 0;
    int32_t args[4] = {-1, -1, -1, -1};  // earlier positions of the tape

    bool operator==(const Node&) const = default;
};

// A table's data: row-major, 1 to 4 dimensions. i32 and f32 take a 32-bit word an element, bool one byte (0 or 1).
struct TableData {
    Type type = Type::i32;
    std::vector<int64_t> dims;
    std::vector<int32_t> i32;
    std::vector<float> f32;
    std::vector<uint8_t> boolean;

    int64_t count() const {
        int64_t n = 1;
        for (int64_t d : dims) n *= d;
        return n;
    }
};

// A table or scalar that the tree names. `captured` data or `value` travel with the mask; Bindings override them.
struct TableRef {
    std::string name;
    Type type = Type::i32;
    uint8_t n_dims = 1;
    std::shared_ptr<const TableData> captured;
};

struct ParamRef {
    std::string name;
    Type type = Type::i32;  // i32 or f32
    bool has_default = false;
    uint32_t default_bits = 0;
};

// What normalise made of a literal or a param. `specialised`: a divisor, modulus or shift count that is a literal; it
// becomes a specialization constant, the others live in AttentionParams. Two trees that differ only in slot values
// are one structure.
struct SlotRef {
    Type type = Type::i32;
    bool specialised = false;
    int32_t param = -1;  // index into Tree::params, or -1: the value is `bits`
    uint32_t bits = 0;
};

struct Tree {
    // The last node is the result; every node is reachable from it and unique. Depth-first post-order, arguments left
    // to right.
    std::vector<Node> nodes;
    std::vector<ParamRef> params;  // in order of first use; no two of one name
    std::vector<TableRef> tables;  // likewise
    std::vector<SlotRef> slots;    // empty unless normalised
};

}  // namespace vkattn
