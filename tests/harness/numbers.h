// Numbers for tests: a small generator that is the same everywhere, and 16-bit floats, written apart from the library's.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "vkattn/types.h"

namespace vkattn_tests {

// SplitMix64. One seed, one sequence, on every platform.
class Random {
  public:
    explicit Random(uint64_t seed) : state_(seed) {}
    uint64_t next() {
        uint64_t z = state_ += 0x9e3779b97f4a7c15u;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return z ^ (z >> 31);
    }
    // [0, n), n >= 1.
    int32_t below(int32_t n) { return static_cast<int32_t>(next() % static_cast<uint64_t>(n)); }
    // [low, high]
    int32_t between(int32_t low, int32_t high) { return low + below(high - low + 1); }
    float uniform(float low, float high) { return low + (high - low) * static_cast<float>(next() >> 40) * 0x1p-24f; }

  private:
    uint64_t state_;
};

// Round to nearest even through the next wider arithmetic: f64 holds every f16 and every f32 midpoint exactly.
inline uint16_t to_f16_bits(float x) {
    const uint32_t sign = (std::bit_cast<uint32_t>(x) >> 16) & 0x8000u;
    const double magnitude = std::fabs(static_cast<double>(x));
    if (std::isnan(x)) return static_cast<uint16_t>(sign | 0x7e00u);
    if (magnitude == 0.0) return static_cast<uint16_t>(sign);
    if (magnitude >= 65520.0) return static_cast<uint16_t>(sign | 0x7c00u);
    int exponent = 0;
    std::frexp(magnitude, &exponent);                               // magnitude = f * 2^exponent, f in [0.5, 1)
    const int quantum = exponent - 11 < -24 ? -24 : exponent - 11;  // the last place: 2^-24 for subnormals
    const auto steps = static_cast<uint32_t>(std::nearbyint(std::ldexp(magnitude, -quantum)));
    // steps is in [1024, 2048] for normal numbers: adding it to the biased exponent - 1 carries into the exponent when it is 2048.
    const uint32_t biased = static_cast<uint32_t>(quantum + 24);
    return static_cast<uint16_t>(sign | ((biased << 10) + steps));
}

inline float from_f16_bits(uint16_t bits) {
    const int exponent = (bits >> 10) & 31;
    const int mantissa = bits & 1023;
    const float sign = (bits & 0x8000u) != 0 ? -1.0f : 1.0f;
    if (exponent == 31)
        return mantissa == 0 ? sign * std::numeric_limits<float>::infinity() : std::numeric_limits<float>::quiet_NaN();
    return sign *
           static_cast<float>(exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(mantissa + 1024, exponent - 25));
}

inline uint16_t to_bf16_bits(float x) {
    const uint32_t bits = std::bit_cast<uint32_t>(x);
    if (std::isnan(x)) return static_cast<uint16_t>((bits >> 16) | 0x40u);
    return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

inline float from_bf16_bits(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

inline void store_element(vkattn::ElementType type, uint8_t* at, float x) {
    if (type == vkattn::ElementType::f32) {
        std::memcpy(at, &x, 4);
        return;
    }
    const uint16_t bits = type == vkattn::ElementType::f16 ? to_f16_bits(x) : to_bf16_bits(x);
    std::memcpy(at, &bits, 2);
}

inline float load_element(vkattn::ElementType type, const uint8_t* at) {
    if (type == vkattn::ElementType::f32) {
        float x = 0.0f;
        std::memcpy(&x, at, 4);
        return x;
    }
    uint16_t bits = 0;
    std::memcpy(&bits, at, 2);
    return type == vkattn::ElementType::f16 ? from_f16_bits(bits) : from_bf16_bits(bits);
}

inline float rounded(vkattn::ElementType type, float x) {
    uint8_t bytes[4] = {};
    store_element(type, bytes, x);
    return load_element(type, bytes);
}

// Unit in the last place at 1.
inline double ulp_at_one(vkattn::ElementType type) {
    switch (type) {
    case vkattn::ElementType::f32: return 0x1p-23;
    case vkattn::ElementType::f16: return 0x1p-10;
    case vkattn::ElementType::bf16: return 0x1p-7;
    }
    return 0.0;
}

}  // namespace vkattn_tests
