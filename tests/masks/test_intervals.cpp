// Key ranges against brute force: outside [lo_any, hi_any) no key is kept, inside [lo_all, hi_all) every key is, and where the
// structure says "exact" both are the same interval and the mask is it.
#include <memory>

#include <doctest/doctest.h>

#include "../../masks/src/intervals.h"
#include "masks/random_tree.h"
#include "vkattn/mask.h"
#include "vkattn/named.h"
#include "vkattn/normalise.h"

using namespace vkattn;
using namespace vkattn::test;
using detail::RangeProgram;
using detail::RowRange;

namespace {

struct Found {
    RangeProgram program;
    int64_t rows = 0;
    int64_t tight =
        0;  // rows whose range is the hull of the kept keys, and whose all-part is no smaller than it could be
};

// Checks every row of the shape. `what` replays a failure.
Found check_ranges(const Mask& mask, const Shape& shape, const Bindings& bindings, const std::string& what) {
    Result<Tree> tree = normalise(mask);
    REQUIRE_MESSAGE(tree.ok(), what << ": " << tree.status().message);
    const auto shared = std::make_shared<const Tree>(std::move(*tree));
    const Result<ResolvedBindings> resolved = resolve(*shared, bindings, shape);
    REQUIRE_MESSAGE(resolved.ok(), what << ": " << resolved.status().message);
    Result<Evaluator> evaluator = Evaluator::make(shared, shape, *resolved);
    REQUIRE(evaluator.ok());
    Found found{detail::range_program(*shared)};
    const int32_t n = shape.kv_len;
    for (int32_t b = 0; b < shape.batch; ++b) {
        for (int32_t h = 0; h < shape.q_heads; ++h) {
            for (int32_t q = 0; q < shape.q_len; ++q) {
                std::vector<bool> kept;
                for (int32_t kv = 0; kv < n; ++kv) kept.push_back(evaluator->mask(b, h, q, kv));
                const RowRange r = detail::row_range(found.program, *evaluator, shape);
                const bool inside = r.lo_any >= 0 && r.hi_any <= n && r.lo_all >= 0 && r.hi_all <= n;
                bool sound = inside;
                int32_t first = n, last = -1, longest = 0, run = 0;
                for (int32_t kv = 0; kv < n && sound; ++kv) {
                    const bool keep = kept[static_cast<size_t>(kv)];
                    const bool any = kv >= r.lo_any && kv < r.hi_any;
                    const bool all = kv >= r.lo_all && kv < r.hi_all;
                    sound = (any || !keep) && (!all || (keep && any)) && (!found.program.exact || any == keep);
                    if (keep) {
                        first = std::min(first, kv);
                        last = kv;
                    }
                    run = keep ? run + 1 : 0;
                    longest = std::max(longest, run);
                }
                if (found.program.exact)
                    sound = sound && (r.hi_any <= r.lo_any || (r.lo_any == r.lo_all && r.hi_any == r.hi_all));
                REQUIRE_MESSAGE(sound, what << ": b " << b << " h " << h << " q " << q << " of q_len " << shape.q_len
                                            << " kv_len " << n << ": any [" << r.lo_any << ", " << r.hi_any << ") all ["
                                            << r.lo_all << ", " << r.hi_all << ")");
                const bool any_tight = last < 0 ? r.hi_any <= r.lo_any : r.lo_any == first && r.hi_any == last + 1;
                const bool all_tight = std::max(r.hi_all - r.lo_all, 0) >= longest;
                ++found.rows;
                found.tight += any_tight && all_tight;
            }
        }
    }
    return found;
}

Mask parsed(const std::string& text) {
    Result<Mask> mask = parse_mask(text);
    REQUIRE_MESSAGE(mask.ok(), text << ": " << mask.status().message);
    return *mask;
}

constexpr int32_t lengths[][2] = {{1, 1}, {7, 19}, {19, 7}, {13, 13}, {5, 1}, {5, 0}, {1, 33}};

enum class Expect { exact, tight, informative, unknown };

void check_everywhere(const Mask& mask, const std::string& what, Expect expect) {
    for (const auto& length : lengths) {
        const Shape shape{.batch = 2, .q_heads = 6, .kv_heads = 3, .q_len = length[0], .kv_len = length[1]};
        Rng rng(static_cast<uint64_t>(length[0] * 100 + length[1]));
        const Found found = check_ranges(mask, shape, random_bindings(rng, {&mask.tree()}), what);
        CHECK_MESSAGE(found.program.exact == (expect == Expect::exact), what);
        CHECK_MESSAGE(found.program.informative == (expect != Expect::unknown), what);
        if (expect == Expect::tight || expect == Expect::exact) {
            CHECK_MESSAGE(found.tight == found.rows, what << " at " << length[0] << " x " << length[1]);
        }
    }
}

}  // namespace

TEST_CASE("named masks: ranges are sound, and as tight as their structure allows") {
    check_everywhere(full(), "full", Expect::exact);
    check_everywhere(!full(), "nothing", Expect::exact);
    check_everywhere(causal(), "causal", Expect::exact);
    for (const int32_t x : {-100, -3, 0, 2, 5, 100, INT32_MAX, INT32_MIN}) {
        const std::string of = " of " + std::to_string(x);
        check_everywhere(causal(x), "causal" + of, Expect::exact);
        check_everywhere(window(x, 2), "window left" + of, Expect::exact);
        check_everywhere(window(3, x), "window right" + of, Expect::exact);
        check_everywhere(sliding_window(x), "sliding_window" + of, Expect::exact);
        check_everywhere(last_n_keys(x), "last_n_keys" + of, Expect::exact);
        check_everywhere(prefix(x), "prefix" + of, Expect::exact);
        check_everywhere(global_tokens(x), "global_tokens" + of, Expect::exact);
        check_everywhere(dilated_window(x, 2), "dilated_window" + of, Expect::informative);
        check_everywhere(lower_right(sliding_window(x)), "lower right sliding_window" + of, Expect::exact);
    }
    check_everywhere(causal_lower_right(), "causal_lower_right", Expect::exact);
    check_everywhere(padding(table("lengths")), "padding", Expect::exact);
    check_everywhere(padding(table("lengths")) && causal(), "padding and causal", Expect::exact);
    check_everywhere(prefix(table("lengths")), "prefix by table", Expect::exact);
    check_everywhere(cross_attention_intervals(table("begin"), table("end")), "cross_attention_intervals",
                     Expect::exact);
    check_everywhere(tree_ancestors(table("ancestor"), 3), "tree_ancestors", Expect::informative);
    check_everywhere(document(table("doc")), "document", Expect::unknown);
    check_everywhere(document(table("doc")) && causal(), "document and causal", Expect::informative);
    check_everywhere(padding_mask(table("keep")), "padding_mask", Expect::unknown);
    check_everywhere(stand_alone_self_attention(4, 1), "stand_alone_self_attention", Expect::informative);
    check_everywhere(natten(4, 5, 3, 3), "natten", Expect::informative);
}

TEST_CASE("forms of the key that are understood") {
    struct Row {
        const char* text;
        Expect expect;
    };
    const Row rows[] = {
        {"q - kv <= 3", Expect::exact},
        {"3 >= q - kv", Expect::exact},
        {"kv - q < 3 && kv - q > -2", Expect::exact},
        {"kv == q", Expect::exact},
        {"q - kv == 2", Expect::exact},
        {"kv != q", Expect::informative},
        {"!(kv < 5)", Expect::exact},
        {"!(kv < 5 && kv > 2)", Expect::informative},
        {"kv < 3 || kv > 9", Expect::informative},
        {"kv > 3 || kv > q", Expect::exact},
        {"abs(q - kv) <= 2", Expect::exact},
        {"abs(kv - q) < 2 && kv <= q", Expect::exact},
        {"abs(q - kv) > 2", Expect::informative},
        {"q < 4 ? kv < 3 : kv > 5", Expect::exact},
        {"q < 4 || (kv > 2 && kv < 6)", Expect::exact},
        {"h == 1 && kv <= q", Expect::exact},
        {"-kv >= -q", Expect::exact},
        {"(q + 3) - (kv - 2) <= 7", Expect::tight},
        {"kv / 4 == q / 4", Expect::tight},
        {"kv / 4 == q / 4 && kv <= q", Expect::tight},
        {"kv >> 2 < q >> 1", Expect::tight},
        {"q - kv / 3 <= 2", Expect::tight},
        {"abs((kv + 1) / 3 - q / 3) <= 1", Expect::tight},
        {"(q - kv) / 4 <= 1", Expect::tight},
        {"kv / (b - 1) < 2", Expect::informative},
        {"kv * 2 < q", Expect::unknown},
        {"kv % 4 == 0", Expect::unknown},
        {"kv < q - kv", Expect::unknown},
        {"float(kv) <= float(q)", Expect::unknown},
        {"kv % 4 == 0 && kv < 9", Expect::informative},
        {"kv % 4 == 0 || kv < 9", Expect::informative},
    };
    for (const Row& row : rows) check_everywhere(parsed(row.text), row.text, row.expect);
}

TEST_CASE("wrap-around never makes a range unsound") {
    const std::string extremes[] = {
        "2147483647", "-2147483647 - 1", "2147483600", "-2147483600", "1073741824", "-1073741825",
        "536870912",  "268435456",       "-268435457", "0",           "-1",         "7"};
    const char* shapes[] = {"q + X - kv <= Y",    "X - kv < Y",        "kv + X >= Y", "abs(kv + X) <= Y",
                            "abs(X - kv) > Y",    "(kv + X) / Y == q", "kv / X <= Y", "X - kv / 3 <= Y",
                            "(X - kv) >> 2 >= Y", "kv >> X == q / 5",  "-kv - X == Y"};
    for (const char* shape : shapes) {
        for (const std::string& x : extremes) {
            for (const std::string& y : extremes) {
                std::string text;
                for (const char* c = shape; *c != 0; ++c) {
                    text += *c == 'X' ? "(" + x + ")" : *c == 'Y' ? "(" + y + ")" : std::string(1, *c);
                }
                check_ranges(parsed(text), {.q_len = 6, .kv_len = 9}, {}, text);
            }
        }
    }
}

TEST_CASE("random masks: ranges are sound") {
    RandomTreeOptions options;
    options.transcendentals = false;
    int64_t informative = 0, exact = 0;
    for (uint64_t seed = 0; seed < 6000; ++seed) {
        Rng rng(seed);
        const Mask mask = random_mask(rng, rng.between(1, 20), options);
        const Shape shape = random_shape(rng);
        const Found found =
            check_ranges(mask, shape, random_bindings(rng, {&mask.tree()}), "seed " + std::to_string(seed));
        informative += found.program.informative;
        exact += found.program.exact;
    }
    CHECK(informative > 500);
    CHECK(exact > 200);
}

// Bounds around small offsets, joined by && || ! and ?: so that unions, complements and their ends are met often.
TEST_CASE("random combinations of bounds: ranges are sound") {
    int64_t exact = 0, tight = 0, rows = 0;
    for (uint64_t seed = 0; seed < 6000; ++seed) {
        Rng rng(seed + 1000000);
        const Mask mask = trace_mask([&](Index b, Index h, Index q, Index kv) {
            std::vector<Expr> pool;
            const auto bound = [&]() -> Expr {
                const Expr x = rng.between(-4, 14), y = rng.between(-4, 14);
                switch (rng.below(10)) {
                case 0: return kv <= q + x;
                case 1: return q - kv < x;
                case 2: return kv >= x;
                case 3: return kv - q == x;
                case 4: return kv != x;
                case 5: return q < x;
                case 6: return abs(kv - x) <= y;
                case 7: return kv / (x + 5) <= y;
                case 8: return (x - kv) / 3 > y - 6;
                default: return b + h == x;
                }
            };
            for (int i = 0; i < 3; ++i) pool.push_back(bound());
            for (int i = rng.between(1, 6); i > 0; --i) {
                const Expr x = pool.back(), y = rng.chance(50) ? bound() : pool[static_cast<size_t>(rng.below(3))];
                const int kind = rng.below(8);
                pool.push_back(kind < 3 ? x && y : kind < 6 ? x || y : kind == 6 ? !x : select(q < 5, x, y));
            }
            return pool.back();
        });
        const Shape shape = random_shape(rng);
        const Found found = check_ranges(mask, shape, {}, "seed " + std::to_string(seed));
        exact += found.program.exact;
        tight += found.tight;
        rows += found.rows;
    }
    CHECK(exact > 600);
    CHECK(tight > rows / 2);
}
