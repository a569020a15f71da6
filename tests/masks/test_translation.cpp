// What is said about moving through a box holds for every element: whoever says "unchanged" wrongly copies wrong blocks.
#include <doctest/doctest.h>

#include "masks/random_tree.h"
#include "masks/src/box_program.h"
#include "vkattn/classify.h"
#include "vkattn/evaluate.h"
#include "vkattn/named.h"

using namespace vkattn;
using namespace vkattn::analysis;
using test::Rng;

TEST_CASE("random masks: unchanged means unchanged for every element, also next to the largest index") {
    int64_t claims = 0, claims_of_more_than_a_constant = 0;
    for (uint64_t seed = 1; seed <= 40000; ++seed) {
        Rng rng(seed);
        test::RandomTreeOptions options;
        options.floats = rng.chance(20);
        const Mask mask = seed % 4 == 0 ? test::random_mask(rng, rng.between(2, 12), options)
                                        : test::random_mask_of_terms(rng, rng.between(1, 3));
        REQUIRE(mask.status().ok());
        const Bindings bindings = test::random_bindings(rng, {&mask.tree()});
        const bool far = rng.chance(25);
        const Shape shape{2, 2, 1, INT32_MAX, INT32_MAX};
        const Result<ResolvedBindings> resolved = resolve(mask.tree(), bindings, shape);
        REQUIRE(resolved.ok());
        const Result<BoxProgram> program = BoxProgram::make(mask.tree(), shape, *resolved);
        Result<Evaluator> evaluator = Evaluator::make(mask, shape, bindings);
        REQUIRE((program.ok() && evaluator.ok()));
        Box box;
        box.q0 = far && rng.chance(70) ? INT32_MAX - 20 : rng.between(0, 20);
        box.kv0 = far && rng.chance(70) ? INT32_MAX - 20 : rng.between(0, 20);
        box.q1 = box.q0 + rng.between(0, 19);
        box.kv1 = box.kv0 + rng.between(0, 19);
        const int32_t b = rng.below(2), h = rng.below(2);
        BoxEvaluator boxes(*program);
        boxes.bind(b, h);
        const Verdict verdict = boxes.over(box, false);
        const int64_t steps[] = {boxes.period(), 1, 2, 3, 4, 6, 8, 12};
        for (int attempt = 0; attempt < 4; ++attempt) {
            const int64_t step = steps[rng.below(8)];
            const int direction = rng.below(3);
            const int64_t dq = direction == 0 ? 0 : step, dkv = direction == 1 ? 0 : step;
            if (dq >= box.rows() || dkv >= box.columns() || !boxes.unchanged_by(dq, dkv)) continue;
            claims += 1;
            claims_of_more_than_a_constant += verdict == Verdict::undecided ? 1 : 0;
            int64_t wrong = 0;
            for (int64_t q = box.q0; q + dq <= box.q1; ++q) {
                for (int64_t kv = box.kv0; kv + dkv <= box.kv1; ++kv) {
                    const auto at = [&](int64_t i, int64_t j) {
                        return evaluator->mask(b, h, static_cast<int32_t>(i), static_cast<int32_t>(j));
                    };
                    wrong += at(q, kv) != at(q + dq, kv + dkv) ? 1 : 0;
                }
            }
            CHECK_MESSAGE(wrong == 0, "seed ", seed, ": ", wrong, " elements change when moved by ", dq, ", ", dkv);
        }
    }
    CHECK(claims > 40000);
    CHECK(claims_of_more_than_a_constant > 8000);
}

TEST_CASE("what is unchanged, by name") {
    const auto unchanged = [](const Mask& mask, int64_t dq, int64_t dkv) {
        const Shape shape{1, 1, 1, 4096, 4096};
        const Result<ResolvedBindings> resolved = resolve(mask.tree(), {}, shape);
        REQUIRE(resolved.ok());
        const Result<BoxProgram> program = BoxProgram::make(mask.tree(), shape, *resolved);
        REQUIRE(program.ok());
        BoxEvaluator boxes(*program);
        boxes.bind(0, 0);
        REQUIRE(boxes.over({1024, 3071, 1024, 3071}, false) == Verdict::undecided);
        return boxes.unchanged_by(dq, dkv);
    };
    CHECK(unchanged(causal(), 128, 128));
    CHECK_FALSE(unchanged(causal(), 128, 0));
    CHECK_FALSE(unchanged(causal(), 0, 128));
    CHECK(unchanged(window(300, 20) && dilated_window(800, 7), 64, 64));
    CHECK(unchanged(natten(64, 64, 13, 13), 64, 64));
    CHECK_FALSE(unchanged(natten(64, 64, 13, 13), 32, 32));
    const Mask checkered = *parse_mask("(q + kv) % 2 == 0");
    CHECK(unchanged(checkered, 2, 0));
    CHECK(unchanged(checkered, 0, 4));
    CHECK(unchanged(checkered, 1, 1));
    CHECK_FALSE(unchanged(checkered, 1, 0));
}

TEST_CASE("copied blocks: the lists of a larger plane are those of a smaller one, continued") {
    // 40 x 56 blocks; every kind of repetition, with blocks that end early on both sides.
    const Shape shape{1, 1, 1, 40 * 16 - 5, 56 * 16 - 3};
    for (const char* text :
         {"(q + kv) % 2 == 0", "q % 48 < 20", "kv % 48 < 20 && kv % 48 > 2", "kv <= q && (q - kv) % 32 < 7",
          "q / 64 == kv / 64", "q / 48 >= kv / 48", "abs(q - kv) <= 70", "q < 100 || kv % 64 == 5",
          "(q * q + kv) % 7 == 0", "kv - q <= 100 && q % 32 <= kv % 32", "natten(48, 20, 5, 5)"}) {
        const Mask mask = *parse_mask(text);
        Result<Evaluator> evaluator = Evaluator::make(mask, shape);
        REQUIRE(evaluator.ok());
        for (const std::pair<int, int>& block : {std::pair{16, 16}, {8, 16}, {16, 24}, {48, 48}}) {
            ClassifyOptions options;
            options.block_q = block.first;
            options.block_kv = block.second;
            const Result<BlockMask> found = create_block_mask(mask, shape, {}, options);
            REQUIRE(found.ok());
            REQUIRE(check(*found).ok());
            int wrong = 0;
            for (int row = 0; row < found->rows(); ++row) {
                for (int column = 0; column < found->columns(); ++column) {
                    bool any_true = false, any_false = false;
                    for (int q = row * block.first; q < std::min(shape.q_len, (row + 1) * block.first); ++q) {
                        for (int kv = column * block.second; kv < std::min(shape.kv_len, (column + 1) * block.second);
                             ++kv)
                            (evaluator->mask(0, 0, q, kv) ? any_true : any_false) = true;
                    }
                    const BlockKind expected = !any_true   ? BlockKind::empty
                                               : any_false ? BlockKind::partial
                                                           : BlockKind::full;
                    wrong += found->kind(0, 0, row, column) != expected ? 1 : 0;
                }
            }
            CHECK_MESSAGE(wrong == 0, text, " in ", block.first, " x ", block.second, ": ", wrong, " blocks");
        }
    }
}
