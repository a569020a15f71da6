// 16-bit floats on the CPU: IEEE half (f16) and bfloat16, rounded to nearest even; NaN stays NaN.
#pragma once

#include <bit>
#include <cstdint>

namespace vkattn::support {

inline float bf16_to_f32(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

inline uint16_t f32_to_bf16(float value) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x0040u);  // quiet NaN
    return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

inline float f16_to_f32(uint16_t half) {
    const uint32_t sign = uint32_t{half & 0x8000u} << 16;
    const uint32_t exponent = (half >> 10) & 0x1fu;
    const uint32_t fraction = half & 0x3ffu;
    if (exponent == 0x1fu) return std::bit_cast<float>(sign | 0x7f800000u | (fraction << 13));
    if (exponent != 0u) return std::bit_cast<float>(sign | ((exponent + 112u) << 23) | (fraction << 13));
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;  // exact: subnormal halves are normal floats
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
}

inline uint16_t f32_to_f16(float value) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    const uint32_t sign = (bits >> 16) & 0x8000u;
    const uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
    if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);  // 65520 and more round to infinity
    if (magnitude < 0x33000001u) return static_cast<uint16_t>(sign);             // 2^-25 and less round to zero
    if (magnitude < 0x38800000u) {                                               // subnormal half: unit 2^-24
        const uint32_t shift = 126u - (magnitude >> 23);
        const uint32_t fraction = (magnitude & 0x7fffffu) | 0x800000u;
        const uint32_t rest = fraction & ((1u << shift) - 1u);
        const uint32_t middle = 1u << (shift - 1u);
        uint32_t half = fraction >> shift;
        if (rest > middle || (rest == middle && (half & 1u) != 0u)) half++;
        return static_cast<uint16_t>(sign | half);
    }
    const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
    return static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

}  // namespace vkattn::support
