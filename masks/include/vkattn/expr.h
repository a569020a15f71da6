// The C++ front end: expressions that are traced into a Tree.
//
//   Mask window = trace_mask([](Index b, Index h, Index q, Index kv) { return q >= kv && q - kv <= param("window"); });
//
// An Expr is a cheap handle; operators build syntax, types are checked when trace_mask or trace_score_mod finishes it.
// Thread class: an Expr belongs to one thread; the Mask made of it is immutable and shared freely.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "vkattn/tree.h"

namespace vkattn {

namespace detail {
struct Syntax;  // the untyped tape under construction (masks/src/syntax.h)
}

class Expr {
  public:
    Expr(int value);  // NOLINT: literals mix freely with expressions
    Expr(float value);
    Expr(double value);  // rounded to f32
    Expr(bool value);
    Expr(std::shared_ptr<detail::Syntax> syntax, int32_t node) : syntax_(std::move(syntax)), node_(node) {}

    const std::shared_ptr<detail::Syntax>& syntax() const { return syntax_; }
    int32_t node() const { return node_; }

  private:
    std::shared_ptr<detail::Syntax> syntax_;
    int32_t node_ = -1;
};
using Index = Expr;

// A scalar by name. Without a declared type it is i32 in a mask; in a score mod f32, unless only an int will do where
// it stands (table indices, shifts, conditions, int arguments of named masks). With a default, the default's type.
Expr param(std::string_view name);
Expr param(std::string_view name, int default_value);
Expr param(std::string_view name, float default_value);

// A table by name: table("bias")(h, q - kv), 1 to 4 indices, each clamped to its dimension.
// Element type: the captured data's, or the one given, else as for param().
class TableExpr {
  public:
    Expr operator()(Expr i) const;
    Expr operator()(Expr i, Expr j) const;
    Expr operator()(Expr i, Expr j, Expr k) const;
    Expr operator()(Expr i, Expr j, Expr k, Expr l) const;

    std::string name;
    int type = -1;  // a Type, or -1: by context
    std::shared_ptr<const TableData> captured;
};
TableExpr table(std::string_view name);
TableExpr table(std::string_view name, Type type);
TableExpr table(std::string_view name, TableData captured);

Expr q_len();
Expr kv_len();
Expr q_heads();
Expr kv_heads();

Expr operator+(Expr a, Expr b);
Expr operator-(Expr a, Expr b);
Expr operator*(Expr a, Expr b);
Expr operator/(Expr a, Expr b);
Expr operator%(Expr a, Expr b);
Expr operator-(Expr a);
Expr operator&(Expr a, Expr b);
Expr operator|(Expr a, Expr b);
Expr operator^(Expr a, Expr b);
Expr operator~(Expr a);
Expr operator<<(Expr a, Expr b);
Expr operator>>(Expr a, Expr b);
Expr operator&&(Expr a, Expr b);  // no short circuit: an expression has no side effects
Expr operator||(Expr a, Expr b);
Expr operator!(Expr a);
Expr operator<(Expr a, Expr b);
Expr operator<=(Expr a, Expr b);
Expr operator>(Expr a, Expr b);
Expr operator>=(Expr a, Expr b);
Expr operator==(Expr a, Expr b);
Expr operator!=(Expr a, Expr b);

Expr select(Expr condition, Expr then, Expr otherwise);
Expr abs(Expr x);
Expr min(Expr a, Expr b);
Expr max(Expr a, Expr b);
Expr clamp(Expr x, Expr low, Expr high);  // min(max(x, low), high)
Expr exp(Expr x);
Expr exp2(Expr x);
Expr log(Expr x);
Expr log2(Expr x);
Expr pow(Expr x, Expr y);
Expr sqrt(Expr x);
Expr rsqrt(Expr x);
Expr sin(Expr x);
Expr cos(Expr x);
Expr tanh(Expr x);
Expr sigmoid(Expr x);
Expr floor(Expr x);
Expr sign(Expr x);
Expr to_float(Expr x);
Expr to_int(Expr x);

}  // namespace vkattn
