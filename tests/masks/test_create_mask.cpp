// Dense masks and rows that attend to nothing, by brute force.
#include <doctest/doctest.h>

#include <limits>

#include "vkattn/create_mask.h"
#include "vkattn/named.h"
#include "vkattn/unattended_rows.h"

using namespace vkattn;

namespace {

constexpr Shape shape{2, 3, 1, 5, 4};

// Row 1 of batch entry 1 has no keys, nor has row 4 of head 2.
Mask with_holes() {
    return trace_mask(
        [](Index b, Index h, Index q, Index kv) { return kv <= q && !(b == 1 && q == 1) && !(h == 2 && q == 4); });
}

bool attends(int32_t b, int32_t h, int32_t q, int32_t kv) {
    return kv <= q && !(b == 1 && q == 1) && !(h == 2 && q == 4);
}

}  // namespace

TEST_CASE("create_mask: [B, Hq, q_len, kv_len]") {
    const auto dense = create_mask(with_holes(), shape);
    const auto additive = additive_mask_f32(with_holes(), shape);
    const auto half = additive_mask_f16(with_holes(), shape);
    REQUIRE(dense.ok());
    REQUIRE(additive.ok());
    REQUIRE(half.ok());
    REQUIRE(dense->size() == 2 * 3 * 5 * 4);
    REQUIRE(additive->size() == dense->size());
    REQUIRE(half->size() == dense->size());
    int wrong = 0;
    size_t i = 0;
    for (int32_t b = 0; b < 2; ++b) {
        for (int32_t h = 0; h < 3; ++h) {
            for (int32_t q = 0; q < 5; ++q) {
                for (int32_t kv = 0; kv < 4; ++kv, ++i) {
                    const bool expected = attends(b, h, q, kv);
                    wrong += (*dense)[i] != (expected ? 1 : 0);
                    wrong += (*additive)[i] != (expected ? 0.0f : -std::numeric_limits<float>::max());
                    wrong += (*half)[i] != (expected ? 0 : 0xfbff);
                }
            }
        }
    }
    CHECK(wrong == 0);
}

TEST_CASE("create_mask: limits, empty shapes and broken masks") {
    CHECK(create_mask(causal(), shape, {}, 120).ok());
    CHECK(create_mask(causal(), shape, {}, 119).status().code == Code::limit_exceeded);
    CHECK(additive_mask_f16(causal(), shape, {}, 239).status().code == Code::limit_exceeded);
    CHECK(additive_mask_f32(causal(), shape, {}, 480).ok());
    constexpr int32_t most = std::numeric_limits<int32_t>::max();
    const auto huge = additive_mask_f32(causal(), {most, most, 1, most, most});
    CHECK(huge.status().code == Code::limit_exceeded);
    CHECK(create_mask(causal(), {1, 1, 1, 0, 5})->empty());
    CHECK(create_mask(causal(), {most, most, 1, 5, 0})->empty());
    CHECK(create_mask(causal(), {0, 1, 1, 5, 5}).status().code == Code::invalid_argument);
    CHECK(create_mask(document(table("missing")), shape).status().code == Code::invalid_argument);
    CHECK(create_mask(Mask::broken(error(Code::invalid_text, "x")), shape).status().code == Code::invalid_text);
}

TEST_CASE("unattended_rows: per batch entry and head, broadcast where the mask does not tell them apart") {
    const auto rows = unattended_rows(with_holes(), shape);
    REQUIRE_MESSAGE(rows.ok(), rows.status().message);
    CHECK(rows->dims == std::vector<int64_t>{2, 3, 5});
    for (int32_t b = 0; b < 2; ++b)
        for (int32_t h = 0; h < 3; ++h)
            for (int32_t q = 0; q < 5; ++q)
                CHECK((rows->boolean[static_cast<size_t>((b * 3 + h) * 5 + q)] == 1) ==
                      ((b == 1 && q == 1) || (h == 2 && q == 4)));

    const auto one = unattended_rows(offset(causal(), -2), shape);
    REQUIRE(one.ok());
    CHECK(one->dims == std::vector<int64_t>{1, 1, 5});
    CHECK(one->boolean == std::vector<uint8_t>{1, 1, 0, 0, 0});
    // The broadcast table reads the same for every batch entry and head.
    const auto dense = create_mask(unmask_unattended(offset(causal(), -2), table("rows", *one)), shape);
    REQUIRE(dense.ok());
    for (size_t i = 0; i < dense->size(); ++i) {
        const size_t q = i / 4 % 5, kv = i % 4;
        CHECK((*dense)[i] == (q < 2 || kv + 2 <= q ? 1 : 0));
    }

    CHECK(unattended_rows(causal(), {1, 1, 1, 3, 0})->boolean == std::vector<uint8_t>{1, 1, 1});
    CHECK(unattended_rows(causal(), {1, 1, 1, 0, 3}).status().code == Code::invalid_argument);
}
