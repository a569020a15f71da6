// Random masks and score mods of every operator, and values for them: one generator for all property tests.
// Reproducible everywhere: the same seed gives the same tree (no std:: distributions, whose results differ between
// libraries).
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "vkattn/bindings.h"
#include "vkattn/mask.h"

namespace vkattn::test {

// splitmix64
class Rng {
  public:
    explicit Rng(uint64_t seed) : state_(seed) {}
    uint64_t next() {
        uint64_t z = (state_ += 0x9e3779b97f4a7c15ull);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
        return z ^ (z >> 31);
    }
    int32_t below(int32_t n) { return static_cast<int32_t>(next() % static_cast<uint64_t>(n)); }
    int32_t between(int32_t low, int32_t high) { return low + below(high - low + 1); }  // inclusive
    bool chance(int32_t percent) { return below(100) < percent; }
    float unit() { return static_cast<float>(next() >> 40) * 0x1p-24f; }  // [0, 1)

  private:
    uint64_t state_;
};

struct RandomTreeOptions {
    bool floats = true;            // f32 operators also in masks
    bool transcendentals = true;   // exp ... sigmoid, whose results differ between devices; floor and sign stay
    bool names = true;             // params and tables
    bool extreme_literals = true;  // INT_MIN, INT_MAX, inf and the like among the literals
};

// Grows pools of i32, f32 and bool expressions by `size_budget` random operators over their (mostly recent) members,
// so that sub-expressions are shared as in real masks.
class RandomTrees {
  public:
    RandomTrees(Rng& rng, const RandomTreeOptions& options) : rng_(rng), options_(options) {}

    Mask mask(int size_budget) {
        return trace_mask([&](Index b, Index h, Index q, Index kv) {
            start({b, h, q, kv});
            if (options_.floats) floats_ = {float_literal(), to_float(q - kv)};
            grow(size_budget);
            if (rng_.chance(4)) return pick(ints_);
            const Expr &x = conditions_.back(), &y = pick(conditions_);
            const Expr last =
                !floats_.empty() && rng_.chance(40) ? floats_.back() <= pick(floats_) : ints_.back() < pick(ints_);
            switch (rng_.below(6)) {
            case 0: return x && last;
            case 1: return x || last;
            case 2: return select(last, x, y);
            case 3: return x == (last && y);
            case 4: return last;
            default: return x;
            }
        });
    }

    ScoreMod score_mod(int size_budget) {
        return trace_score_mod([&](Expr score, Index b, Index h, Index q, Index kv) {
            start({b, h, q, kv});
            floats_ = {float_literal(), to_float(q - kv), score};
            grow(size_budget);
            if (rng_.chance(4)) return pick(ints_);
            const Expr &x = floats_.back(), &y = pick(floats_);
            switch (rng_.below(5)) {
            case 0: return select(conditions_.back(), x, y);
            case 1: return x + y;
            case 2: return max(x, y) - to_float(ints_.back());
            default: return x;
            }
        });
    }

  private:
    void start(std::vector<Expr> indices) {
        ints_ = std::move(indices);
        conditions_ = {ints_[3] <= ints_[2], Expr(rng_.chance(50))};
        const Expr lengths[] = {q_len(), kv_len(), q_heads(), kv_heads()};
        ints_.push_back(lengths[rng_.below(4)]);
        ints_.push_back(int_literal());
    }

    // Mostly one of the latest, so that depth grows.
    const Expr& pick(const std::vector<Expr>& pool) {
        const auto n = static_cast<int32_t>(pool.size());
        int32_t back = rng_.below(n);
        if (rng_.chance(60)) back = back < 3 ? back : rng_.below(n < 3 ? n : 3);
        return pool[static_cast<size_t>(n - 1 - back)];
    }

    Expr int_literal() {
        static constexpr int32_t extremes[] = {std::numeric_limits<int32_t>::min(),
                                               std::numeric_limits<int32_t>::max(),
                                               -1,
                                               0,
                                               1,
                                               31,
                                               32,
                                               65535,
                                               -65536,
                                               1 << 30};
        if (options_.extreme_literals && rng_.chance(15)) return extremes[rng_.below(10)];
        return rng_.chance(80) ? rng_.between(0, 9) : rng_.between(-100, 1000);
    }

    Expr float_literal() {
        static constexpr float extremes[] = {0.0f,
                                             -0.0f,
                                             std::numeric_limits<float>::infinity(),
                                             -std::numeric_limits<float>::infinity(),
                                             3.4028235e38f,
                                             1e-45f,
                                             -1.0f,
                                             16777217.0f};
        if (options_.extreme_literals && rng_.chance(15)) return extremes[rng_.below(8)];
        if (rng_.chance(50)) return static_cast<float>(rng_.between(-8, 8)) * 0.5f;
        return (rng_.unit() - 0.5f) * 20.0f;
    }

    // One name has one type, number of dimensions and default everywhere.
    Expr int_param() {
        const int32_t i = rng_.below(3);
        return param("p" + std::to_string(i), 3 * i + 1);
    }
    Expr float_param() {
        const int32_t i = rng_.below(3);
        return param("f" + std::to_string(i), 0.75f * static_cast<float>(i) - 0.5f);
    }
    Expr lookup(Type type) {
        static constexpr const char* letters[] = {"m", "t", "x"};
        const int32_t n_dims = rng_.chance(60) ? 1 : rng_.between(1, 4);
        const TableExpr named = table(letters[static_cast<int>(type)] + std::to_string(n_dims), type);
        const Expr &i = pick(ints_), &j = pick(ints_), &k = pick(ints_), &l = pick(ints_);
        if (n_dims == 1) return named(i);
        if (n_dims == 2) return named(i, j);
        return n_dims == 3 ? named(i, j, k) : named(i, j, k, l);
    }

    void grow(int steps) {
        for (int i = 0; i < steps; ++i) {
            const int32_t kind = rng_.below(floats_.empty() ? 10 : 14);
            if (kind < 6) {
                ints_.push_back(random_int());
            } else if (kind < 10) {
                conditions_.push_back(random_condition());
            } else {
                floats_.push_back(random_float());
            }
        }
    }

    Expr random_int() {
        const Expr &a = pick(ints_), &b = pick(ints_);
        switch (rng_.below(22)) {
        case 0: return a + b;
        case 1: return a - b;
        case 2: return a * b;
        case 3: return a / b;
        case 4: return a % b;
        case 5: return -a;
        case 6: return abs(a);
        case 7: return min(a, b);
        case 8: return max(a, b);
        case 9: return clamp(a, b, pick(ints_));
        case 10: return a & b;
        case 11: return a | b;
        case 12: return a ^ b;
        case 13: return ~a;
        case 14: return a << b;
        case 15: return a >> b;
        case 16: return select(pick(conditions_), a, b);
        case 17: return to_int(pick(conditions_));
        case 18: return floats_.empty() ? a - b : to_int(pick(floats_));
        case 19: return options_.names ? int_param() : int_literal();
        case 20: return options_.names ? lookup(Type::i32) : a + 1;
        default: return int_literal();
        }
    }

    Expr random_condition() {
        const bool on_floats = !floats_.empty() && rng_.chance(35);
        const Expr &a = on_floats ? pick(floats_) : pick(ints_), &b = on_floats ? pick(floats_) : pick(ints_);
        const Expr &x = pick(conditions_), &y = pick(conditions_);
        switch (rng_.below(19)) {
        case 0: return a < b;
        case 1: return a <= b;
        case 2: return a > b;
        case 3: return a >= b;
        case 4: return a == b;
        case 5: return a != b;
        case 6: return x && y;
        case 7: return x || y;
        case 8: return !x;
        case 9: return x == y;
        case 10: return x != y;
        case 11: return x & y;
        case 12: return x | y;
        case 13: return x ^ y;
        case 14: return select(x, y, pick(conditions_));
        case 15: return x && pick(ints_);
        case 16: return options_.names ? lookup(Type::boolean) : !x;
        default: return a <= b;
        }
    }

    Expr random_float() {
        const Expr &a = pick(floats_), &b = pick(floats_);
        switch (rng_.below(options_.transcendentals ? 31 : 20)) {
        case 0: return a + b;
        case 1: return a - b;
        case 2: return a * b;
        case 3: return a / b;
        case 4: return a % b;
        case 5: return -a;
        case 6: return abs(a);
        case 7: return min(a, b);
        case 8: return max(a, b);
        case 9: return clamp(a, b, pick(floats_));
        case 10: return select(pick(conditions_), a, b);
        case 11: return to_float(pick(ints_));
        case 12: return to_float(pick(conditions_));
        case 13: return floor(a);
        case 14: return sign(a);
        case 15: return a + pick(ints_);
        case 16: return options_.names ? float_param() : float_literal();
        case 17: return options_.names ? lookup(Type::f32) : a * 2;
        case 18:
        case 19: return float_literal();
        case 20: return exp(a);
        case 21: return exp2(a);
        case 22: return log(a);
        case 23: return log2(a);
        case 24: return pow(a, b);
        case 25: return sqrt(a);
        case 26: return rsqrt(a);
        case 27: return sin(a);
        case 28: return cos(a);
        case 29: return tanh(a);
        default: return sigmoid(a);
        }
    }

    Rng& rng_;
    RandomTreeOptions options_;
    std::vector<Expr> ints_, floats_, conditions_;
};

inline Mask random_mask(Rng& rng, int size_budget, const RandomTreeOptions& options = {}) {
    return RandomTrees(rng, options).mask(size_budget);
}
inline ScoreMod random_score_mod(Rng& rng, int size_budget, const RandomTreeOptions& options = {}) {
    return RandomTrees(rng, options).score_mod(size_budget);
}

// What masks are usually made of: comparisons of q and kv, of their quotients and remainders, of ids and lengths; joined
// by && || !. Unlike random trees, most of these have both true and false pairs.
class RandomTerms {
  public:
    RandomTerms(Rng& rng, Expr b, Expr h, Expr q, Expr kv) : rng_(rng), b_(b), h_(h), q_(q), kv_(kv) {}

    Expr term() {
        const Expr n = number(), far = distance(), x = index(), y = index();  // drawn in this order by every compiler
        const int divisor = any_divisor();
        switch (rng_.below(11)) {
        case 0: return kv_ <= q_ + n;
        case 1: return q_ - kv_ <= n;
        case 2: return far % divisor == n % 2;
        case 3: return q_ / divisor == kv_ / n;
        case 4: return table("m1", Type::i32)(q_) == table("m1", Type::i32)(kv_);
        case 5: return table("t2", Type::boolean)(b_, kv_);
        case 6: return kv_ < table("m1", Type::i32)(b_);
        case 7: return x < y;
        case 8: return x == y;
        case 9: return abs(far) <= n + h_;
        default: return natten_axis();
        }
    }

  private:
    Expr number() { return rng_.chance(25) ? param("p" + std::to_string(rng_.below(2)), 4) : rng_.between(-2, 14); }
    int any_divisor() { return rng_.chance(70) ? 1 << rng_.below(4) : rng_.between(-3, 12); }
    Expr distance() { return rng_.chance(70) ? q_ - kv_ : rng_.chance(50) ? q_ + kv_ : kv_ - q_ * rng_.between(0, 3); }
    Expr index() {
        const Expr far = distance(), n = number();
        const Expr x = rng_.chance(40) ? q_ : rng_.chance(60) ? kv_ : far;
        const int divisor = any_divisor(), few = rng_.between(-2, 4);
        switch (rng_.below(8)) {
        case 0: return x / divisor;
        case 1: return x % divisor;
        case 2: return x >> few;
        case 3: return x & ((1 << (few & 3)) - 1);
        case 4: return max(x, n);
        case 5: return select(few > 1 ? q_ < n : kv_ < n, x, x + divisor);
        case 6: return x * few;
        default: return x + n;
        }
    }
    Expr natten_axis() {
        const int width = rng_.between(1, 12), kernel = rng_.between(1, width);
        const bool rows = rng_.chance(50);
        const Expr x = rows ? q_ / width : q_ % width, key = rows ? kv_ / width : kv_ % width;
        const Expr start = clamp(x - kernel / 2, 0, width - kernel);
        return key >= start && key < start + kernel;
    }

    Rng& rng_;
    Expr b_, h_, q_, kv_;
};

inline Mask random_mask_of_terms(Rng& rng, int n_terms) {
    return trace_mask([&](Index b, Index h, Index q, Index kv) {
        RandomTerms terms(rng, b, h, q, kv);
        Expr mask = terms.term();
        for (int i = 1; i < n_terms; ++i) {
            const Expr more = rng.chance(15) ? !terms.term() : terms.term();
            mask = rng.chance(55) ? mask && more : mask || more;
        }
        return mask;
    });
}

inline TableData random_table(Rng& rng, Type type, uint8_t n_dims) {
    TableData data;
    data.type = type;
    for (uint8_t i = 0; i < n_dims; ++i) data.dims.push_back(rng.between(1, n_dims == 1 ? 12 : 4));
    for (int64_t i = 0; i < data.count(); ++i) {
        if (type == Type::boolean) data.boolean.push_back(rng.chance(50) ? 1 : 0);
        if (type == Type::i32)
            data.i32.push_back(rng.chance(90) ? rng.between(-3, 12) : static_cast<int32_t>(rng.next()));
        if (type == Type::f32) data.f32.push_back((rng.unit() - 0.5f) * 8.0f);
    }
    return data;
}

// Values for every table of `trees`, and for most scalars (the others keep their default).
inline Bindings random_bindings(Rng& rng, const std::vector<const Tree*>& trees) {
    Bindings bindings;
    for (const Tree* tree : trees) {
        for (const ParamRef& ref : tree->params) {
            if (ref.has_default && rng.chance(20)) continue;
            if (ref.type == Type::i32) {
                bindings.scalars.emplace(ref.name, rng.between(-10, 40));
            } else {
                bindings.scalars.emplace(ref.name, (rng.unit() - 0.5f) * 10.0f);
            }
        }
        for (const TableRef& ref : tree->tables) {
            if (bindings.tables.count(ref.name) > 0) continue;
            bindings.tables.emplace(ref.name,
                                    std::make_shared<const TableData>(random_table(rng, ref.type, ref.n_dims)));
        }
    }
    return bindings;
}

// Unequal on every pair of axes, and small enough to visit every pair.
inline Shape random_shape(Rng& rng) {
    Shape shape;
    shape.batch = rng.between(1, 3);
    shape.kv_heads = rng.between(1, 2);
    shape.q_heads = shape.kv_heads * rng.between(1, 3);
    shape.q_len = rng.between(1, 12);
    shape.kv_len = shape.q_len + rng.between(1, 9);
    if (rng.chance(40)) std::swap(shape.q_len, shape.kv_len);
    return shape;
}

}  // namespace vkattn::test
