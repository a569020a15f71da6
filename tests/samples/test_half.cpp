// f16 and bf16 against rounding written another way: scale so that the unit in the last place is 1, round, scale back.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <random>

#include "support/half.h"

using namespace vkattn::support;

namespace {

struct Format {
    int fraction_bits, least_exponent;
    double overflow;  // the least magnitude that rounds to infinity
};
constexpr Format f16{10, -14, 65520.0};
const Format bf16{7, -126, std::ldexp(2.0 - std::ldexp(1.0, -8), 127)};

double rounded(double value, const Format& format) {
    if (value == 0.0 || !std::isfinite(value)) return value;
    if (std::abs(value) >= format.overflow) return std::copysign(INFINITY, value);
    const int exponent = std::max(std::ilogb(value), format.least_exponent) - format.fraction_bits;
    return std::ldexp(std::nearbyint(std::ldexp(value, -exponent)), exponent);
}

bool same(float got, double wanted) {
    if (std::isnan(wanted)) return std::isnan(got);
    return static_cast<double>(got) == wanted && std::signbit(got) == std::signbit(wanted);
}

}  // namespace

TEST_SUITE("hostile_files") {

    TEST_CASE("every 16-bit float survives the way to f32 and back") {
        for (uint32_t i = 0; i < 65536; i++) {
            const auto bits = static_cast<uint16_t>(i);
            const float half = f16_to_f32(bits), brain = bf16_to_f32(bits);
            CAPTURE(i);
            if (std::isnan(half)) REQUIRE(std::isnan(f16_to_f32(f32_to_f16(half))));
            else REQUIRE(f32_to_f16(half) == bits);
            if (std::isnan(brain)) REQUIRE(std::isnan(bf16_to_f32(f32_to_bf16(brain))));
            else REQUIRE(f32_to_bf16(brain) == bits);
        }
    }

    TEST_CASE("f32 rounds to the nearest 16-bit float, ties to even") {
        std::mt19937 random(7);
        for (uint32_t i = 0; i < 400000; i++) {
            auto bits = static_cast<uint32_t>(random());
            if (i % 2 == 0)
                bits = (bits & 0x80000fffu) | ((102u + (bits >> 13) % 42u) << 23) |
                       ((bits & 0x7ffu) << 12);  // near f16's range and ties
            const float value = std::bit_cast<float>(bits);
            CAPTURE(bits);
            REQUIRE(same(f16_to_f32(f32_to_f16(value)), rounded(static_cast<double>(value), f16)));
            REQUIRE(same(bf16_to_f32(f32_to_bf16(value)), rounded(static_cast<double>(value), bf16)));
        }
    }

    TEST_CASE("the edges of f16") {
        CHECK(f32_to_f16(65504.0f) == 0x7bff);
        CHECK(f32_to_f16(65519.996f) == 0x7bff);
        CHECK(f32_to_f16(65520.0f) == 0x7c00);
        CHECK(f32_to_f16(-INFINITY) == 0xfc00);
        CHECK(f32_to_f16(0x1p-24f) == 0x0001);
        CHECK(f32_to_f16(0x1p-25f) == 0x0000);
        CHECK(f32_to_f16(0x1.8p-24f) == 0x0002);
        CHECK(f32_to_f16(-0.0f) == 0x8000);
        CHECK((f32_to_bf16(std::bit_cast<float>(0x7f800001u)) & 0x7fu) !=
              0);  // a NaN whose high bits are an infinity's
    }
}
