// Mask: which (b, h, q, kv) pairs attend. ScoreMod: how a score changes. Both are immutable values around a Tree.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "vkattn/expr.h"
#include "vkattn/result.h"
#include "vkattn/tree.h"

namespace vkattn {

// A default-constructed Mask is `true`: every pair attends.
// Thread class: immutable; copies share the tree.
class Mask {
  public:
    Mask();
    explicit Mask(std::shared_ptr<const Tree> tree) : tree_(std::move(tree)) {}
    const Tree& tree() const { return *tree_; }

    // A mask traced in C++ may be wrong (types, conflicting tables). Then tree() is `true` and status() says why; the
    // library's other doors (normalise, classify, plan ...) return that status instead of computing with it.
    const Status& status() const;
    static Mask broken(Status status);

  private:
    std::shared_ptr<const Tree> tree_;
    std::shared_ptr<const Status> status_;
};

Mask operator&&(const Mask& a, const Mask& b);
Mask operator||(const Mask& a, const Mask& b);
Mask operator!(const Mask& a);

// A default-constructed ScoreMod is `score`: nothing changes.
class ScoreMod {
  public:
    ScoreMod();
    explicit ScoreMod(std::shared_ptr<const Tree> tree) : tree_(std::move(tree)) {}
    const Tree& tree() const { return *tree_; }
    const Status& status() const;
    static ScoreMod broken(Status status);
    bool is_identity() const;

  private:
    std::shared_ptr<const Tree> tree_;
    std::shared_ptr<const Status> status_;
};

// `second` applied to the result of `first`.
ScoreMod then(const ScoreMod& first, const ScoreMod& second);

// Tracing: the function is called once, with symbolic indices.
Mask trace_mask(const std::function<Expr(Index b, Index h, Index q, Index kv)>& mask_mod);
ScoreMod trace_score_mod(const std::function<Expr(Expr score, Index b, Index h, Index q, Index kv)>& score_mod);

// A finished mask as a sub-expression of another one, at other indices: embed(m, b, h, q + 7, kv).
Expr embed(const Mask& mask, Expr b, Expr h, Expr q, Expr kv);

// Text is untrusted: every limit below is checked before memory is spent, and nothing recurses.
struct TextLimits {
    size_t text_bytes = 4096;
    size_t depth = 256;
    size_t nodes = 4096;
    size_t tables = 16;
    size_t params = 64;
};

// What the caller knows about names in the text. A name that is not declared is i32 in a mask; in a score mod f32,
// unless only an int will do where it stands. In a call a bare name is the table or scalar that it is declared as;
// undeclared, what the call takes there, a scalar if it takes both.
struct Declarations {
    struct Table {
        std::string name;
        Type type = Type::i32;
        uint8_t n_dims = 0;  // 0: any
    };
    struct Param {
        std::string name;
        Type type = Type::i32;
    };
    std::vector<Table> tables;
    std::vector<Param> params;
    bool closed = false;  // an undeclared name is an error that lists what is declared
};

// The grammar is design.md's, section 4; also hexadecimal ints (their 32 bits), `nan`, select(c, a, b). Reserved as
// names: the indices and lengths, score, constants, functions, and named masks that are called without arguments.
// Errors: Code::invalid_text with "column N: ..." (bytes, from 1) and what would be right.
Result<Mask> parse_mask(std::string_view text, const Declarations& declarations = {}, const TextLimits& limits = {});
Result<ScoreMod> parse_score_mod(std::string_view text, const Declarations& declarations = {},
                                 const TextLimits& limits = {});

// The text of a mask or score mod; parse(to_text(x)) is x (same tree). Shared sub-expressions are written out each
// time; an expansion beyond `max_bytes` is Code::limit_exceeded.
Result<std::string> to_text(const Mask& mask, size_t max_bytes = 1u << 20);
Result<std::string> to_text(const ScoreMod& score_mod, size_t max_bytes = 1u << 20);
Result<std::string> to_text(const Tree& tree, int32_t node, size_t max_bytes = 1u << 20);

// Declarations that make parse(to_text(x)) exact: the types of x's tables and params.
Declarations declarations_of(const Tree& tree);

}  // namespace vkattn
