// A mask or score mod against a rule written from its definition, in every way that it can be used: as C++, as text,
// printed and parsed back, classified, drawn.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "masks/tree_equality.h"
#include "vkattn/classify.h"
#include "vkattn/evaluate.h"
#include "vkattn/picture.h"

namespace vkattn::test {

using MaskRule = std::function<bool(int b, int h, int q, int kv)>;
using ScoreRule = std::function<double(double score, int b, int h, int q, int kv)>;

// The lists of small, uneven blocks: each kind is what the rule says of its elements.
inline void check_lists(const std::string& text, const Mask& mask, const Shape& shape, const Bindings& bindings,
                        const MaskRule& rule) {
    ClassifyOptions options;
    options.block_q = 3;
    options.block_kv = 5;
    const auto list = create_block_mask(mask, shape, bindings, options);
    REQUIRE_MESSAGE(list.ok(), text << ": " << list.status().message);
    for (int b = 0; b < shape.batch; ++b) {
        for (int h = 0; h < shape.q_heads; ++h) {
            for (int row = 0; row < list->rows(); ++row) {
                for (int column = 0; column < list->columns(); ++column) {
                    bool any_true = false, any_false = false;
                    for (int q = 3 * row; q < std::min(3 * row + 3, shape.q_len); ++q) {
                        for (int kv = 5 * column; kv < std::min(5 * column + 5, shape.kv_len); ++kv)
                            (rule(b, h, q, kv) ? any_true : any_false) = true;
                    }
                    const BlockKind wanted = any_true && any_false ? BlockKind::partial
                                             : any_true            ? BlockKind::full
                                                                   : BlockKind::empty;
                    CHECK_MESSAGE(list->kind(b, h, row, column) == wanted,
                                  text << " b " << b << " h " << h << " row " << row << " column " << column);
                }
            }
        }
    }
    CHECK_FALSE(terminal_picture(*list, {}).empty());
}

// `text` is what a user would write for `mask`: the same tree.
inline void check_mask(const std::string& text, const Mask& mask, const Shape& shape, const MaskRule& rule,
                       const Bindings& bindings = {}) {
    REQUIRE_MESSAGE(mask.status().ok(), text << ": " << mask.status().message);
    const Declarations declarations = declarations_of(mask.tree());
    const auto parsed = parse_mask(text, declarations);
    REQUIRE_MESSAGE(parsed.ok(), text << ": " << parsed.status().message);
    CHECK_MESSAGE(same_tree(parsed->tree(), mask.tree()), text << "\n" << *to_text(mask));
    CHECK_MESSAGE(same_tree(parse_mask(*to_text(mask), declarations)->tree(), mask.tree()), text);

    auto evaluator = Evaluator::make(mask, shape, bindings);
    REQUIRE_MESSAGE(evaluator.ok(), text << ": " << evaluator.status().message);
    for (int b = 0; b < shape.batch; ++b) {
        for (int h = 0; h < shape.q_heads; ++h) {
            for (int q = 0; q < shape.q_len; ++q) {
                for (int kv = 0; kv < shape.kv_len; ++kv) {
                    if (evaluator->mask(b, h, q, kv) == rule(b, h, q, kv)) continue;
                    FAIL(text << " q_len " << shape.q_len << " kv_len " << shape.kv_len << " at b " << b << " h " << h
                              << " q " << q << " kv " << kv << ": should be " << rule(b, h, q, kv));
                }
            }
        }
    }
    check_lists(text, mask, shape, bindings, rule);
}

inline void check_score_mod(const std::string& text, const ScoreMod& mod, const Shape& shape, const ScoreRule& rule,
                            const Bindings& bindings = {}) {
    REQUIRE_MESSAGE(mod.status().ok(), text << ": " << mod.status().message);
    const Declarations declarations = declarations_of(mod.tree());
    const auto parsed = parse_score_mod(text, declarations);
    REQUIRE_MESSAGE(parsed.ok(), text << ": " << parsed.status().message);
    CHECK_MESSAGE(same_tree(parsed->tree(), mod.tree()), text << "\n" << *to_text(mod));
    CHECK_MESSAGE(same_tree(parse_score_mod(*to_text(mod), declarations)->tree(), mod.tree()), text);
    auto evaluator = Evaluator::make(mod, shape, bindings);
    REQUIRE_MESSAGE(evaluator.ok(), text << ": " << evaluator.status().message);
    for (int b = 0; b < shape.batch; ++b) {
        for (int h = 0; h < shape.q_heads; ++h) {
            for (int q = 0; q < shape.q_len; ++q) {
                for (int kv = 0; kv < shape.kv_len; ++kv) {
                    const float score = 0.37f * static_cast<float>(q - 2 * kv + h) - 1.0f;
                    const double got = evaluator->score(score, b, h, q, kv),
                                 wanted = rule(static_cast<double>(score), b, h, q, kv);
                    if (std::abs(got - wanted) <= 4e-6 * (std::abs(wanted) + 1.0)) continue;
                    FAIL(text << " at b " << b << " h " << h << " q " << q << " kv " << kv << ": " << got
                              << " should be " << wanted);
                }
            }
        }
    }
}

inline bool refused(const Mask& mask, const char* part) {
    return !mask.status().ok() && mask.status().message.find(part) != std::string::npos;
}

}  // namespace vkattn::test
