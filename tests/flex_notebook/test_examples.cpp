// The notebook's masks: both forms are one mask, and the masks whose ids the sample makes keep the pairs that it says.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>

#include "flex_notebook/examples.h"
#include "vkattn/classify.h"
#include "vkattn/evaluate.h"
#include "vkattn/normalise.h"

using namespace vkattn;
using flex_notebook::Example;
using flex_notebook::Instance;

namespace {

template <class T>
std::string structure(const T& mask) {
    auto tree = normalise(mask);
    REQUIRE_MESSAGE(tree.ok(), tree.status().message);
    return structure_hash(*tree);
}

const Example& example(const std::vector<Example>& examples, const std::string& title) {
    for (const Example& one : examples)
        if (one.title == title) return one;
    FAIL("no example is called " << title);
    return examples.front();
}

template <class Keeps>
void check_pairs(const Example& one, int32_t length, const Keeps& keeps) {
    const Instance instance = one.instance(length, 3);
    const Shape shape{1, 3, 3, instance.q_len, instance.kv_len};
    auto evaluator = Evaluator::make(one.pairs(), shape, instance.values);
    REQUIRE_MESSAGE(evaluator.ok(), evaluator.status().message);
    int64_t kept = 0;
    for (int32_t q = 0; q < shape.q_len; ++q)
        for (int32_t kv = 0; kv < shape.kv_len; ++kv) {
            INFO(one.title, " q ", q, " kv ", kv);
            const bool expected = keeps(instance, q, kv);
            REQUIRE(evaluator->mask(0, 1, q, kv) == expected);
            kept += expected ? 3 : 0;
        }
    auto pairs = count_pairs(one.pairs(), shape, instance.values);
    REQUIRE(pairs.ok());
    CHECK(*pairs == kept);
}

int32_t scalar(const Instance& instance, const char* name) {
    return std::get<int32_t>(instance.values.scalars.at(name));
}

}  // namespace

TEST_CASE("examples: the C++ and the text are one mask, with values for every name at any length") {
    const std::vector<Example> examples = flex_notebook::notebook_examples();
    CHECK(examples.size() == 14);
    for (const Example& one : examples) {
        INFO(one.title);
        auto mask = parse_mask(one.mask_text, declarations_of(one.mask.value.tree()));
        REQUIRE_MESSAGE(mask.ok(), mask.status().message);
        CHECK(structure(*mask) == structure(one.mask.value));
        auto score_mod = parse_score_mod(one.score_text, declarations_of(one.score_mod.value.tree()));
        REQUIRE_MESSAGE(score_mod.ok(), score_mod.status().message);
        CHECK(structure(*score_mod) == structure(one.score_mod.value));
        CHECK(!one.mask.cpp.empty());
        for (const int32_t length : {16, 17, 200, 999}) {
            const Instance instance = one.instance(length, 3);
            const Shape shape{1, 3, 3, instance.q_len, instance.kv_len};
            CHECK(instance.q_len >= 1);
            CHECK(instance.q_len <= length);
            CHECK(instance.kv_len <= length);
            CHECK(resolve(one.mask.value.tree(), instance.values, shape).ok());
            CHECK(resolve(one.score_mod.value.tree(), instance.values, shape).ok());
        }
    }
}

TEST_CASE("examples: windows, prefixes and documents keep the pairs that they say") {
    const std::vector<Example> examples = flex_notebook::notebook_examples();
    for (const int32_t length : {16, 100}) {
        check_pairs(example(examples, "No mask"), length, [](const Instance&, int32_t, int32_t) { return true; });
        for (const char* title : {"Causal, as a mask", "Causal, as a score mod", "Tanh soft-capping, causal"})
            check_pairs(example(examples, title), length,
                        [](const Instance&, int32_t q, int32_t kv) { return kv <= q; });
        check_pairs(example(examples, "Sliding window, causal"), length,
                    [&](const Instance&, int32_t q, int32_t kv) { return kv <= q && q - kv <= length / 8; });
        check_pairs(example(examples, "Prefix LM"), length,
                    [&](const Instance&, int32_t q, int32_t kv) { return kv <= length / 4 || kv <= q; });
        const auto sequence_of = [&](int32_t position) {
            constexpr int32_t ends[] = {13, 18, 39, 41, 50, 67, 70, 81, 82, 89, 108, 112};  // of 112
            return std::find_if(std::begin(ends), std::end(ends),
                                [&](int32_t end) { return position < length * end / 112; }) -
                   std::begin(ends);
        };
        check_pairs(example(examples, "Documents, causal"), length, [&](const Instance&, int32_t q, int32_t kv) {
            return kv <= q && sequence_of(q) == sequence_of(kv);
        });
        check_pairs(example(examples, "Nested jagged sequences"), length,
                    [&](const Instance& instance, int32_t q, int32_t kv) {
                        int32_t begin = kv;
                        while (begin > 0 && sequence_of(begin - 1) == sequence_of(kv)) --begin;
                        return sequence_of(q) == sequence_of(kv) &&
                               (kv - begin <= scalar(instance, "prefix_length") || kv <= q);
                    });
    }
}

TEST_CASE("examples: pictures keep neighbours on the canvas, and text sees the last picture") {
    const std::vector<Example> examples = flex_notebook::notebook_examples();
    constexpr int32_t length = 158;  // a canvas of 12 x 13
    check_pairs(example(examples, "Stand-alone self-attention"), length,
                [](const Instance& instance, int32_t q, int32_t kv) {
                    REQUIRE(instance.q_len == 12 * 13);
                    return std::abs(q % 12 - kv % 12) <= 1 && std::abs(q / 12 - kv / 12) <= 1;
                });
    check_pairs(example(examples, "NATTEN"), length, [](const Instance& instance, int32_t q, int32_t kv) {
        REQUIRE(scalar(instance, "kernel") == 3);
        const auto near = [](int32_t x, int32_t key, int32_t size) {
            const int32_t centre = std::clamp(x, 1, size - 2);
            return std::abs(centre - key) <= 1;
        };
        return near(q % 12, kv % 12, 12) && near(q / 12, kv / 12, 13);
    });
    check_pairs(example(examples, "Flamingo cross-attention"), 160,
                [](const Instance& instance, int32_t q, int32_t kv) {
                    REQUIRE(instance.kv_len == 80);
                    // Pictures of 20 patches stand before tokens 17, 53, 88 and 124 of 160.
                    const int32_t seen = q < 17 ? 0 : q < 53 ? 1 : q < 88 ? 2 : q < 124 ? 3 : 4;
                    return seen > 0 && kv / 20 == seen - 1;
                });
}
