#include "vkattn/mask.h"

#include <utility>

#include "syntax.h"
#include "tree_builder.h"

namespace vkattn {

namespace {

using detail::Context;
using detail::Syntax;

std::shared_ptr<const Tree> single_node(const Node& node) {
    auto tree = std::make_shared<Tree>();
    tree->nodes.push_back(node);
    return tree;
}

const std::shared_ptr<const Tree>& tree_true() {
    static const std::shared_ptr<const Tree> tree = single_node(detail::make_literal(Type::boolean, 1));
    return tree;
}

const std::shared_ptr<const Tree>& tree_score() {
    static const std::shared_ptr<const Tree> tree = single_node(detail::make_node(Op::score, Type::f32));
    return tree;
}

const Status& status_or_ok(const std::shared_ptr<const Status>& status) {
    static const Status ok;
    return status ? *status : ok;
}

constexpr int32_t own_leaves[5] = {-1, -1, -1, -1, -1};

// A Mask or ScoreMod of the finished syntax, or a broken one.
template <class T>
T finished(const Syntax& syntax, int32_t root, Context context) {
    Result<Tree> tree = detail::finish(syntax, root, context);
    if (!tree) return T::broken(tree.status());
    return T(std::make_shared<const Tree>(std::move(*tree)));
}

template <class T>
T finished(const Expr& result, Context context) {
    if (!result.syntax()) {
        return T::broken(error(Code::invalid_argument, "the function returned an Expr that was moved from"));
    }
    return finished<T>(*result.syntax(), result.node(), context);
}

Mask combine(Op op, const Mask& a, const Mask* b) {
    if (!a.status().ok()) return Mask::broken(a.status());
    if (b && !b->status().ok()) return Mask::broken(b->status());
    Syntax syntax;
    detail::SyntaxNode node;
    node.op = op;
    node.n_args = b ? 2 : 1;
    node.args[0] = syntax.append(a.tree(), own_leaves);
    if (b) node.args[1] = syntax.append(b->tree(), own_leaves);
    const int32_t root = syntax.push(node);
    return finished<Mask>(syntax, root, Context::mask);
}

}  // namespace

Mask::Mask() : tree_(tree_true()) {}
const Status& Mask::status() const { return status_or_ok(status_); }
Mask Mask::broken(Status status) {
    Mask mask;
    mask.status_ = std::make_shared<const Status>(std::move(status));
    return mask;
}

Mask operator&&(const Mask& a, const Mask& b) { return combine(Op::logical_and, a, &b); }
Mask operator||(const Mask& a, const Mask& b) { return combine(Op::logical_or, a, &b); }
Mask operator!(const Mask& a) { return combine(Op::logical_not, a, nullptr); }

ScoreMod::ScoreMod() : tree_(tree_score()) {}
const Status& ScoreMod::status() const { return status_or_ok(status_); }
ScoreMod ScoreMod::broken(Status status) {
    ScoreMod score_mod;
    score_mod.status_ = std::make_shared<const Status>(std::move(status));
    return score_mod;
}
bool ScoreMod::is_identity() const {
    return status().ok() && tree_->nodes.size() == 1 && tree_->nodes[0].op == Op::score;
}

ScoreMod then(const ScoreMod& first, const ScoreMod& second) {
    if (!first.status().ok()) return first;
    if (!second.status().ok()) return second;
    Syntax syntax;
    const int32_t changed = syntax.append(first.tree(), own_leaves);
    const int32_t leaves[5] = {-1, -1, -1, -1, changed};
    const int32_t root = syntax.append(second.tree(), leaves);
    return finished<ScoreMod>(syntax, root, Context::score_mod);
}

Mask trace_mask(const std::function<Expr(Index b, Index h, Index q, Index kv)>& mask_mod) {
    if (!mask_mod) return Mask::broken(error(Code::invalid_argument, "trace_mask needs a function"));
    const auto syntax = std::make_shared<Syntax>();
    const auto index = [&](Op op) { return Expr(syntax, syntax->leaf(op)); };
    const Expr b = index(Op::b), h = index(Op::h), q = index(Op::q), kv = index(Op::kv);
    return finished<Mask>(mask_mod(b, h, q, kv), Context::mask);
}

ScoreMod trace_score_mod(const std::function<Expr(Expr score, Index b, Index h, Index q, Index kv)>& score_mod) {
    if (!score_mod) return ScoreMod::broken(error(Code::invalid_argument, "trace_score_mod needs a function"));
    const auto syntax = std::make_shared<Syntax>();
    const auto index = [&](Op op) { return Expr(syntax, syntax->leaf(op)); };
    const Expr score = index(Op::score), b = index(Op::b), h = index(Op::h), q = index(Op::q), kv = index(Op::kv);
    return finished<ScoreMod>(score_mod(score, b, h, q, kv), Context::score_mod);
}

Expr embed(const Mask& mask, Expr b, Expr h, Expr q, Expr kv) {
    const Expr* args[] = {&b, &h, &q, &kv};
    std::shared_ptr<Syntax> home = detail::longest_tape(args, 4);
    home->fail(mask.status());
    int32_t leaves[5] = {-1, -1, -1, -1, -1};
    for (int i = 0; i < 4; ++i) leaves[i] = detail::bring_into(*home, *args[i]);
    const int32_t node = home->append(mask.tree(), leaves);
    return Expr(std::move(home), node);
}

}  // namespace vkattn
