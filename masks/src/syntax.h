// Syntax: what both front ends build. An untyped, append-only tape; `finish` types it and makes the Tree.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "vkattn/expr.h"
#include "vkattn/result.h"
#include "vkattn/tree.h"

namespace vkattn::detail {

constexpr int type_by_context = -1;  // a Type, or this: i32 in a mask or where an int is needed, else f32

enum class Form : uint8_t {
    op,
    swapped,       // lt or le, written as > or >= with the operands the other way round
    int_argument,  // args[0] itself, which must be an i32: argument `payload` of a named mask
};

struct SyntaxNode {
    Op op = Op::literal;
    Form form = Form::op;
    Type literal_type = Type::boolean;
    uint8_t n_args = 0;
    uint32_t payload = 0;  // as in Node; params and tables are indices into Syntax
    int32_t args[4] = {-1, -1, -1, -1};
    int32_t column = 0;  // of the text, from 1; 0: traced in C++
};

struct SyntaxParam {
    std::string name;
    int type = type_by_context;
    bool has_default = false;
    uint32_t default_bits = 0;

    bool operator==(const SyntaxParam&) const = default;
};

struct SyntaxTable {
    std::string name;
    int type = type_by_context;
    std::shared_ptr<const TableData> captured;

    bool operator==(const SyntaxTable&) const = default;
};

// One name may have several entries here (declared differently in different places); finish unifies or refuses them.
struct Syntax {
    std::vector<SyntaxNode> nodes;
    std::vector<SyntaxParam> params;
    std::vector<SyntaxTable> tables;
    Status failure;  // of a broken mask that was embedded, or of an invalid Expr

    int32_t push(const SyntaxNode& node);
    int32_t leaf(Op op);
    int32_t literal(Type type, uint32_t bits);
    int32_t param(const SyntaxParam& param);
    int32_t table(const SyntaxTable& table, const int32_t* args, uint8_t n_args);

    // Appends the first `count` nodes of `other`; its node i is then i + the returned offset.
    int32_t append(const Syntax& other, size_t count);
    // Appends a typed tree whose leaves b, h, q, kv and score are nodes of this tape (-1: themselves); returns its
    // result.
    int32_t append(const Tree& tree, const int32_t (&leaves)[5]);
    void fail(const Status& status);

  private:
    uint32_t param_index(const SyntaxParam& param);
    uint32_t table_index(const SyntaxTable& table);

    std::multimap<std::string, uint32_t, std::less<>> params_by_name_;
    std::multimap<std::string, uint32_t, std::less<>> tables_by_name_;
};

// The position of b, h, q, kv, score in `leaves` above, or -1 for other operators.
int leaf_index(Op op);

enum class Context : uint8_t { mask, score_mod };

// Type-checks what `root` needs, inserts conversions, shares equal nodes. One pass in tape order; nothing recurses.
Result<Tree> finish(const Syntax& syntax, int32_t root, Context context);

// `expr` as a node of `home`'s tape, appended to it where it lives on another one.
int32_t bring_into(Syntax& home, const Expr& expr);
// The longest of the tapes that `args` live on: appending the shorter ones to it keeps long chains linear.
std::shared_ptr<Syntax> longest_tape(const Expr* const* args, uint8_t n_args);
// A node over `args`, on the longest of their tapes; the shorter ones are appended to it.
Expr make_expr(SyntaxNode node, const Expr* const* args, uint8_t n_args);
Expr int_argument(const Expr& expr, uint32_t which);
// "argument 'left' of window(left, right)", for messages; `which` as build_named numbered it.
std::string argument_text(uint32_t which);

// The operator's symbol ("+") or function name ("min"), as in text.
std::string_view op_text(Op op);
bool is_identifier(std::string_view name);
// Whether the text grammar has a meaning of its own for this word, so that no param or table can have it.
bool is_reserved(std::string_view name);

}  // namespace vkattn::detail
