// The text front end: precedence, round trips, limits, and what hostile text gets.
#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "masks/random_tree.h"
#include "masks/tree_equality.h"
#include "vkattn/evaluate.h"
#include "vkattn/named.h"

using namespace vkattn;
using namespace vkattn::test;

namespace {

std::string mask_error(std::string_view text, const Declarations& declarations = {}, const TextLimits& limits = {}) {
    const auto mask = parse_mask(text, declarations, limits);
    if (mask.ok()) return "accepted";
    return mask.status().code == Code::invalid_text ? mask.status().message : "wrong code: " + mask.status().message;
}
std::string score_error(std::string_view text, const Declarations& declarations = {}) {
    const auto mod = parse_score_mod(text, declarations);
    return mod.ok() ? "accepted" : mod.status().message;
}
bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

TextLimits wide_limits() {
    TextLimits limits;
    limits.text_bytes = size_t{1} << 22;
    limits.depth = 1000000;
    limits.nodes = 1000000;
    return limits;
}

// The value of text over the ints x, y, z (of a condition: 0 or 1).
int32_t value_of(const std::string& text, int32_t x, int32_t y, int32_t z) {
    const auto mask = parse_mask("int(" + text + ") == 0");
    REQUIRE_MESSAGE(mask.ok(), text << ": " << mask.status().message);
    auto evaluator = Evaluator::make(*mask, Shape{1, 1, 1, 1, 1}, Bindings{{{"x", x}, {"y", y}, {"z", z}}, {}});
    REQUIRE_MESSAGE(evaluator.ok(), evaluator.status().message);
    (void)evaluator->mask(0, 0, 0, 0);
    return static_cast<int32_t>(evaluator->node_bits(mask->tree().nodes.back().args[0]));
}

}  // namespace

// The same tokens read by the C++ compiler and by parse_mask.
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wparentheses"
#endif
#define SAME_IN_CPP(expression)                                                                          \
    {                                                                                                    \
#expression, [](int x, int y, int z) { (void)x, (void)y, (void)z; return static_cast<int>(expression); } \
    }

TEST_CASE("precedence and associativity are C's") {
    struct Case {
        const char* text;
        int (*expected)(int x, int y, int z);
    };
    static const Case cases[] = {
        // clang-format off
        SAME_IN_CPP(x + y * z), SAME_IN_CPP(x * y + z), SAME_IN_CPP(x - y - z), SAME_IN_CPP(x - (y - z)),
        SAME_IN_CPP(x * y % z), SAME_IN_CPP(x * y / z), SAME_IN_CPP(x * 60 / y / z), SAME_IN_CPP(x % y * z),
        SAME_IN_CPP(x << y + z), SAME_IN_CPP(x + y << z), SAME_IN_CPP(x << y >> z), SAME_IN_CPP(x << y - 1 << z),
        SAME_IN_CPP(x & y + z), SAME_IN_CPP(x & y << z), SAME_IN_CPP(x ^ y & z), SAME_IN_CPP(x | y ^ z),
        SAME_IN_CPP(x | y & z), SAME_IN_CPP(x & y | z & 5), SAME_IN_CPP(x ^ y | z ^ 3), SAME_IN_CPP(x < y == y < z),
        SAME_IN_CPP(x == y != z < x), SAME_IN_CPP(x != y == z > x), SAME_IN_CPP(x + y < z * 2),
        SAME_IN_CPP(x << 1 <= y + z), SAME_IN_CPP(x < y & y < z), SAME_IN_CPP(x == y & y == z),
        SAME_IN_CPP(x < y ^ y < z), SAME_IN_CPP(x < y | y < z ^ x == z), SAME_IN_CPP(x > y || y > z && z > x),
        SAME_IN_CPP(x > y && y > z || z > x), SAME_IN_CPP(x < y | y < z && z < x), SAME_IN_CPP(x || y && z),
        SAME_IN_CPP(x < y ? y < z ? x : y : z), SAME_IN_CPP(x > y || y > z ? x : y + z),
        SAME_IN_CPP(x + (y > z ? y : z)), SAME_IN_CPP(x > y ? x - y : y - x), SAME_IN_CPP(-x * y), SAME_IN_CPP(-x - -y),
        SAME_IN_CPP(x - -y), SAME_IN_CPP(~x + y), SAME_IN_CPP(- -x), SAME_IN_CPP(-~x), SAME_IN_CPP(!x || y),
        SAME_IN_CPP(!!x), SAME_IN_CPP(!(x > y)), SAME_IN_CPP(!(x > y) == (y < z)), SAME_IN_CPP(((x))),
        SAME_IN_CPP(x > 5 ? y : z > 5 ? x : y), SAME_IN_CPP(x > 3 ? y > 3 ? 1 : 2 : z > 3 ? 3 : 4),
        SAME_IN_CPP((x + y) * (y - z)), SAME_IN_CPP(x*y+z), SAME_IN_CPP(0x1F & x), SAME_IN_CPP(x >= y),
        // clang-format on
    };
    Rng rng(1);
    for (const Case& c : cases) {
        for (int i = 0; i < 20; ++i) {
            const int32_t x = rng.between(1, 9), y = rng.between(1, 9), z = rng.between(1, 9);
            CAPTURE(std::string(c.text));
            CAPTURE(x);
            CAPTURE(y);
            CAPTURE(z);
            CHECK(value_of(c.text, x, y, z) == c.expected(x, y, z));
        }
    }
}
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

TEST_CASE("literals") {
    CHECK(value_of("-2147483648", 0, 0, 0) == std::numeric_limits<int32_t>::min());
    CHECK(value_of("2147483647", 0, 0, 0) == std::numeric_limits<int32_t>::max());
    CHECK(value_of("0xffffffff", 0, 0, 0) == -1);
    CHECK(value_of("007", 0, 0, 0) == 7);  // decimal, not octal
    const auto bits = [](const char* text) {
        const auto mod = parse_score_mod(text);
        REQUIRE_MESSAGE(mod.ok(), mod.status().message);
        REQUIRE(mod->tree().nodes.size() == 1);
        return std::bit_cast<float>(mod->tree().nodes[0].payload);
    };
    CHECK(bits("1.5") == 1.5f);
    CHECK(bits("1.") == 1.0f);
    CHECK(bits(".25") == 0.25f);
    CHECK(bits("2e3") == 2000.0f);
    CHECK(bits("2.5E-3") == 2.5e-3f);
    CHECK(bits("1e-45") == 1e-45f);
    CHECK(bits("0e99") == 0.0f);
    CHECK(bits("3.4028235e38") == std::numeric_limits<float>::max());
    CHECK(bits("inf") == std::numeric_limits<float>::infinity());
    CHECK(bits("-inf") == -std::numeric_limits<float>::infinity());
    CHECK(std::signbit(bits("-0.0")));
    CHECK(std::isnan(bits("nan")));
    CHECK(std::bit_cast<uint32_t>(bits("-nan")) == std::bit_cast<uint32_t>(bits("nan")));
    const float payload = std::bit_cast<float>(0xffc01234u);
    const Mask traced = trace_mask([&](Index, Index, Index q, Index) { return payload < q; });
    CHECK(same_tree(parse_mask("nan < q")->tree(), traced.tree()));
    CHECK(bits("0.1") == 0.1f);
    CHECK(bits("16777217.0") == 16777216.0f);  // to nearest even
    CHECK(bits("7") == 7.0f);
}

TEST_CASE("both front ends make equal trees") {
    const auto same = [](const char* text, const Mask& mask) {
        const auto parsed = parse_mask(text);
        REQUIRE_MESSAGE(parsed.ok(), text << ": " << parsed.status().message);
        REQUIRE_MESSAGE(mask.status().ok(), mask.status().message);
        CAPTURE(text);
        CHECK(same_tree(parsed->tree(), mask.tree()));
    };
    const auto traced = [](const std::function<Expr(Expr b, Expr h, Expr q, Expr kv)>& f) { return trace_mask(f); };
    same("q >= kv && q - kv <= window",
         traced([](Expr, Expr, Expr q, Expr kv) { return q >= kv && q - kv <= param("window"); }));
    same("causal() && sliding_window(1023) && document(doc)",
         causal() && sliding_window(1023) && document(table("doc")));
    same("q >= kv && doc[q] == doc[kv]",
         traced([](Expr, Expr, Expr q, Expr kv) { return q >= kv && table("doc")(q) == table("doc")(kv); }));
    same("!causal() || window(left, -3)", !causal() || window(param("left"), -3));
    same("offset(causal() && document(doc), 5)", offset(causal() && document(table("doc")), 5));
    same("lower_right(offset(sliding_window(w), 2 * n))",
         lower_right(offset(sliding_window(param("w")), 2 * param("n"))));
    same("offset(kv <= q, 5)", offset(causal(), 5));
    same("offset(full(), q_len)", offset(full(), q_len()));
    same("offset(h == b && q < kv, 1)",
         offset(traced([](Expr b, Expr h, Expr q, Expr kv) { return h == b && q < kv; }), 1));
    same("tree_ancestors(anc, n)", tree_ancestors(table("anc"), param("n")));
    same("prefix(n)", prefix(param("n")));
    same("select(q < kv, b, h)", traced([](Expr b, Expr h, Expr q, Expr kv) { return select(q < kv, b, h); }));
    same("bias[h, q - kv] > 0.5",
         traced([](Expr, Expr h, Expr q, Expr kv) { return table("bias")(h, q - kv) > 0.5f; }));
    same("clamp(q, 1, kv) == min(q, max(kv, q_heads)) ",
         traced([](Expr, Expr, Expr q, Expr kv) { return clamp(q, 1, kv) == min(q, max(kv, q_heads())); }));
    Declarations lengths;
    lengths.tables.push_back({"lengths", Type::i32, 1});
    CHECK(same_tree(parse_mask("prefix(lengths)", lengths)->tree(), prefix(table("lengths")).tree()));

    const auto same_score = [](const char* text, const ScoreMod& mod) {
        const auto parsed = parse_score_mod(text);
        REQUIRE_MESSAGE(parsed.ok(), text << ": " << parsed.status().message);
        CAPTURE(text);
        CHECK(same_tree(parsed->tree(), mod.tree()));
    };
    same_score("softcap(20)", softcap(20));
    same_score("softcap(20, alibi(slopes))", then(alibi(table("slopes")), softcap(20)));
    same_score("alibi(softcap(cap))", then(softcap(param("cap")), alibi()));
    same_score("head_scale(s, alibi() * 2)",
               then(trace_score_mod([](Expr score, Expr, Expr h, Expr q, Expr kv) {
                        return (score + exp2(-8.0f * to_float(h + 1) / to_float(q_heads())) * to_float(kv - q)) * 2;
                    }),
                    head_scale(table("s"))));
    same_score("relative_bias(bias, d)", relative_bias(table("bias"), param("d")));
    same_score("sliding_window(w) ? score : -inf", trace_score_mod([](Expr score, Expr b, Expr h, Expr q, Expr kv) {
                   return select(embed(sliding_window(param("w")), b, h, q, kv), score,
                                 -std::numeric_limits<float>::infinity());
               }));
    same_score("document(doc) ? score : 0", trace_score_mod([](Expr score, Expr b, Expr h, Expr q, Expr kv) {
                   return select(embed(document(table("doc")), b, h, q, kv), score, 0);
               }));
}

TEST_CASE("declared names") {
    Declarations known;
    known.tables = {{"doc", Type::i32, 1}, {"bias", Type::f32, 2}, {"keep", Type::boolean, 0}};
    known.params = {{"w", Type::i32}, {"cap", Type::f32}, {"doc_offset", Type::i32}};
    known.closed = true;
    CHECK(mask_error("keep[b, q] && doc[q + doc_offset] < w && bias[h, q] < cap", known) == "accepted");
    CHECK(contains(mask_error("dok[q] == 1", known), "column 1: nothing is named 'dok'; did you mean 'doc'?"));
    CHECK(contains(mask_error("q < v", known), "column 5: nothing is named 'v'"));
    CHECK(contains(mask_error("q < v", known), "given are: "));
    CHECK(contains(mask_error("doc < w", known), "column 1: 'doc' is a table"));
    CHECK(contains(mask_error("w[q] < 3", known), "column 1: 'w' is a scalar"));
    CHECK(contains(mask_error("doc[b, q] < 3", known), "column 1: table 'doc' is indexed with 2, but has 1 dimension"));
    CHECK(contains(mask_error("document_batched(doc)", known),
                   "column 1: table 'doc' must have 2 dimensions here, but has 1"));
    CHECK(contains(mask_error("document(w)", known), "must be the name of a table"));
    CHECK(contains(mask_error("causal(doc)", known), "'q_offset' of causal(q_offset) is a value, not a table"));
    CHECK(contains(mask_error("document(dox)", known), "nothing is named 'dox'"));
    CHECK(contains(mask_error("doc(q) < 3", known), "a table is indexed with [ ]"));
    Declarations none;
    none.closed = true;
    CHECK(contains(mask_error("x < 3", none), "no table or scalar is given"));
    CHECK(mask_error("q < 3", none) == "accepted");
}

TEST_CASE("errors say what is wrong, in which column, and what would be right") {
    struct Case {
        std::string_view text;
        int column;
        const char* part;
    };
    using namespace std::string_view_literals;
    const std::vector<Case> cases = {
        {"", 1, "ends where a value is needed"},
        {"   ", 4, "ends where a value is needed"},
        {"q <", 4, "ends where a value is needed"},
        {"(q < kv", 8, "'(' of column 1 is not closed by ')'"},
        {"q < kv)", 7, "has no '(' before it"},
        {"doc[q < 3", 10, "'doc' of column 1 is not closed by ']'"},
        {"doc[q) < 3", 6, "close it with ']'"},
        {"min(q] < 3", 6, "close it with ')'"},
        {"q]", 2, "has no '['"},
        {"()", 2, "a value is needed"},
        {"doc[] < 3", 5, "a value is needed"},
        {"min(q, ) < 3", 8, "a value is needed"},
        {"min(, q) < 3", 5, "a value is needed"},
        {"(q, kv)", 3, "',' stands only"},
        {"q, kv", 2, "',' stands only"},
        {"q kv", 3, "an operator is needed before 'kv'"},
        {"q and kv", 3, "&&"},
        {"not q", 1, "&&"},
        {"q = kv", 3, "equality is =="},
        {"q ! kv", 3, "inequality is !="},
        {"q ? kv", 3, "has no ':'"},
        {"(q ? kv) : 3", 4, "has no ':'"},
        {"q : kv", 3, "has no '?'"},
        {"+q", 1, "sign + is left out"},
        {"q ** 2 < 3", 4, "a value is needed here, not '*'"},
        {"(q)(kv)", 4, "only a function's name"},
        {"(q)[kv]", 4, "only a table's name"},
        {"[q]", 1, "name of a table before it"},
        {"causal", 1, "call it: causal(...)"},
        {"min < 3", 1, "call it: min(...)"},
        {"q[kv]", 1, "built-in name and cannot be a table"},
        {"casual()", 1, "did you mean 'causal'?"},
        {"sliding_windw(3)", 1, "did you mean 'sliding_window'?"},
        {"frobnicate(q)", 1, "'frobnicate' is not a function"},
        {"min(q) < 3", 1, "called with 1 argument; write min(a, b)"},
        {"clamp(q, 1) < 3", 1, "clamp(x, low, high)"},
        {"abs() < 3", 1, "called with 0 arguments; write abs(x)"},
        {"window(1)", 1, "called with 1 argument; write window(left, right)"},
        {"causal(1, 2)", 1, "write causal() or causal(q_offset)"},
        {"document(q)", 1, "must be the name of a table"},
        {"document(doc[q])", 1, "must be the name of a table"},
        {"window(1.5, 2)", 8, "argument 'left' of window(left, right) is a float"},
        {"doc[q, kv, b, h, q] < 3", 1, "1 to 4 dimensions"},
        {"doc[q] < doc[b, q]", 10, "indexed with 1 and with 2"},
        {"doc < doc[q]", 7, "both as a table and as a scalar"},
        {"softcap(3) < 1", 1, "score mod"},
        {"score < 1", 1, "only known in a score mod"},
        {"q < kv < 3", 8, "a < b && b < c"},
        {"q + (q < kv) < 3", 3, "right side of '+'"},
        {"exp(q)", 1, "this is a float"},
        {"2147483648 < q", 1, "does not fit 32 bits"},
        {"-(2147483648) < q", 3, "does not fit 32 bits"},
        {"2147483649 < q", 1, "does not fit 32 bits"},
        {"-2147483649 < q", 2, "does not fit 32 bits"},
        {"3 - 2147483648 < q", 5, "does not fit 32 bits"},
        {"99999999999999999999999999 < q", 1, "does not fit 32 bits"},
        {"0x100000000 < q", 1, "more than 32 bits"},
        {"0x < q", 1, "hexadecimal digits"},
        {"1e39 < q", 1, "outside the range of f32"},
        {"1e-60 < q", 1, "outside the range of f32"},
        {"1.0f < q", 1, "write 1.0"},
        {"3q < 1", 1, "runs into 'q'"},
        {"1.2.3 < q", 1, "runs into '.'"},
        {"q @ kv", 3, "the character '@'"},
        {"q < \"kv\"", 5, "the character '\"'"},
        {"q; kv", 2, "the character ';'"},
        {"q <\0kv"sv, 4, "control character 0x00"},
        {"q <\x1b[31m kv"sv, 4, "control character 0x1b"},
        {"q < \xc3\xa4"sv, 5, "the byte 0xc3 is not ASCII"},
        {"q \xe2\x89\xa4 kv"sv, 3, "not ASCII"},
        {"\xff", 1, "not ASCII"},
    };
    for (const Case& c : cases) {
        const std::string message = mask_error(c.text);
        CAPTURE(message);
        CAPTURE(c.column);
        CAPTURE(c.part);
        CHECK(message.rfind("column " + std::to_string(c.column) + ": ", 0) == 0);
        CHECK(contains(message, c.part));
    }
    CHECK(contains(score_error("softcap(1, 2, 3)"), "optional last argument"));
    CHECK(contains(score_error("q < kv"), "condition ? score : -inf"));
    CHECK(contains(score_error("score * (q < kv)"), "column 7: the right side of '*'"));
    CHECK(contains(score_error("table_of_floats[scale]  + bias[score]"),
                   "column 27: the first index of table 'bias' is a float"));
    CHECK(score_error("softcap(20, x)") == "accepted");
}

TEST_CASE("limits hold, and nesting costs no call stack") {
    const auto nested = [](size_t depth) { return std::string(depth, '(') + "q < kv" + std::string(depth, ')'); };
    CHECK(mask_error(nested(256)) == "accepted");
    CHECK(contains(mask_error(nested(257)), "column 257: the text is nested deeper than 256"));
    CHECK(contains(mask_error(nested(100000)), "limit is 4096"));
    TextLimits long_text;
    long_text.text_bytes = 1000000;
    CHECK(contains(mask_error(nested(100000), {}, long_text), "nested deeper than 256"));
    CHECK(mask_error(nested(100000), {}, wide_limits()) == "accepted");
    CHECK(contains(mask_error(std::string(100000, '('), {}, wide_limits()), "ends where a value is needed"));
    CHECK(contains(mask_error(std::string(100000, '(') + "q", {}, wide_limits()), "is not closed"));
    CHECK(contains(mask_error("q" + std::string(100000, ')'), {}, wide_limits()), "has no '('"));
    CHECK(mask_error(std::string(100000, '!') + "q", {}, wide_limits()) == "accepted");
    CHECK(contains(mask_error(std::string(300, '-') + "q"), "nested deeper"));
    std::string tables, choices, brackets, calls;
    for (int i = 0; i < 20000; ++i) {
        choices += "q < kv ? q : ";
        brackets += "t[";
        calls += "abs(";
    }
    CHECK(mask_error(choices + "kv", {}, wide_limits()) == "accepted");
    CHECK(mask_error(brackets + "q" + std::string(20000, ']'), {}, wide_limits()) == "accepted");
    CHECK(mask_error(calls + "q" + std::string(20000, ')'), {}, wide_limits()) == "accepted");
    CHECK(contains(mask_error(calls + "q" + std::string(20000, ']'), {}, wide_limits()), "close it with ')'"));

    CHECK(mask_error("q < kv" + std::string(4090, ' ')) == "accepted");
    CHECK(contains(mask_error("q < kv" + std::string(4091, ' ')),
                   "column 4097: the text has 4097 bytes, the limit is 4096"));
    std::string sum = "q";
    for (int i = 0; i < 3000; ++i) sum += "+q";
    TextLimits more_text;
    more_text.text_bytes = 10000;
    CHECK(contains(mask_error(sum, {}, more_text), "more than 4096 nodes"));
    // Each offset copies what it moves: growth stops at the limit, however deep the text.
    std::string offsets;
    for (int i = 0; i < 200; ++i) offsets += "offset(";
    offsets += "q < kv";
    for (int i = 0; i < 200; ++i) offsets += ", 1)";
    CHECK(contains(mask_error(offsets), "more than 4096 nodes"));
    for (int i = 0; i < 17; ++i) tables += (i == 0 ? "t" : " + t") + std::to_string(i) + "[q]";
    CHECK(contains(mask_error(tables), "more than 16 tables"));
    std::string scalars;
    for (int i = 0; i < 65; ++i) scalars += (i == 0 ? "p" : " + p") + std::to_string(i);
    CHECK(contains(mask_error(scalars), "more than 64 scalars"));
    CHECK(mask_error("t[q] + t[q + 1] + t[kv]") == "accepted");
}

TEST_CASE("random bytes and damaged text never crash and always get a column") {
    Rng rng(7);
    static constexpr std::string_view alphabet = "qkvbh()[],?:!~-+*/%<>=&|^ 0123456789.exf_\n";
    const std::string good = "offset(causal() && document(doc), n) ? bias[h, q - kv] * 2 < 3.5e1 : min(q, -7) >= kv";
    REQUIRE(mask_error(good) == "accepted");
    for (int i = 0; i < 20000; ++i) {
        std::string text;
        if (i % 2 == 0) {
            const int32_t length = rng.below(40);
            for (int32_t k = 0; k < length; ++k)
                text += alphabet[static_cast<size_t>(rng.below(static_cast<int32_t>(alphabet.size())))];
        } else {
            text = good;
            for (int32_t k = rng.between(1, 3); k > 0; --k) {
                const auto at = static_cast<size_t>(rng.below(static_cast<int32_t>(text.size())));
                if (rng.chance(40)) text.erase(at, 1);
                else if (rng.chance(50)) text[at] = static_cast<char>(rng.below(256));
                else
                    text.insert(at, 1, alphabet[static_cast<size_t>(rng.below(static_cast<int32_t>(alphabet.size())))]);
            }
        }
        const std::string message = mask_error(text);
        if (message != "accepted" && message.rfind("column ", 0) != 0)
            FAIL_CHECK("no column: " << message << " for " << text);
    }
    for (size_t length = 0; length < good.size(); ++length) (void)mask_error(good.substr(0, length));
}

TEST_CASE("to_text: few parentheses, exact literals") {
    const auto canonical = [](const char* text) {
        const auto mask = parse_mask(text);
        REQUIRE_MESSAGE(mask.ok(), text << ": " << mask.status().message);
        return *to_text(*mask);
    };
    CHECK(canonical("(((q)) >= ((kv)))") == "kv <= q");
    CHECK(canonical("(q - kv) - 1 < (q - (kv - 1))") == "q - kv - 1 < q - (kv - 1)");
    CHECK(canonical("-(q) * -(-kv) < - -3") == "-q * -(-kv) < 3");
    CHECK(canonical("q - -5 < -2147483648") == "q - -5 < -2147483648");
    CHECK(canonical("~-5 < q") == "~-5 < q");
    CHECK(canonical("(q < kv ? q : kv) ? (b ? q : h) : (h ? q : kv)") ==
          "((q < kv ? q : kv) != 0 ? b != 0 ? q : h : h != 0 ? q : kv) != 0");
    CHECK(canonical("!(q < kv) && !q") == "!(q < kv) && !(q != 0)");
    CHECK(canonical("0.1 < q") == "0.1 < float(q)");
    CHECK(canonical("1e30 < q") == "1e+30 < float(q)");
    CHECK(canonical("-0.0 < q && nan < inf") == "-0.0 < float(q) && nan < inf");
    CHECK(canonical("sigmoid(int(1.5)) < 1") == "sigmoid(float(int(1.5))) < 1.0");
    const Mask mask = causal() && sliding_window(9);
    CHECK(*to_text(mask.tree(), 2) == "kv <= q");
    CHECK(to_text(mask.tree(), -1).status().code == Code::invalid_argument);
    CHECK(to_text(mask.tree(), 100).status().code == Code::invalid_argument);
    CHECK(to_text(mask, 10).status().code == Code::limit_exceeded);
}

TEST_CASE("parse(to_text(x)) is x on 100,000 random trees") {
    constexpr uint64_t n_seeds = 50000;  // a mask and a score mod each
    const TextLimits limits = wide_limits();
    size_t n_same = 0, n_too_long = 0;
    const auto round_trip = [&](uint64_t seed, const auto& original, const auto& parse) {
        if (!original.status().ok()) {
            FAIL_CHECK("seed " << seed << ": " << original.status().message);
            return;
        }
        const auto text = to_text(original, size_t{1} << 18);
        if (!text.ok()) {
            ++n_too_long;
            return;
        }
        const auto parsed = parse(*text, declarations_of(original.tree()), limits);
        if (!parsed.ok()) {
            FAIL_CHECK("seed " << seed << ": " << parsed.status().message << "\n" << *text);
        } else if (!same_tree(parsed->tree(), original.tree())) {
            FAIL_CHECK("seed " << seed << ": another tree\n" << *text << "\n" << *to_text(*parsed));
        } else {
            ++n_same;
        }
    };
    for (uint64_t seed = 0; seed < n_seeds; ++seed) {
        Rng rng(seed);
        round_trip(seed, random_mask(rng, rng.between(1, 40)), parse_mask);
        round_trip(seed, random_score_mod(rng, rng.between(1, 40)), parse_score_mod);
    }
    CHECK(n_same + n_too_long == 2 * n_seeds);
    CHECK(n_too_long < n_seeds / 100);
}
