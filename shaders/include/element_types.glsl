// Elements as they lie in memory, to and from f32. 16-bit elements are packed in 32-bit words, the lower half first.
#ifndef VKATTN_ELEMENT_TYPES_GLSL
#define VKATTN_ELEMENT_TYPES_GLSL

vec4 decode_f16(uvec2 words) { return vec4(unpackHalf2x16(words.x), unpackHalf2x16(words.y)); }
float decode_f16(uint half_word) { return unpackHalf2x16(half_word).x; }
vec2 decode_f16_pair(uint word) { return unpackHalf2x16(word); }

vec4 decode_bf16(uvec2 words) {
    return uintBitsToFloat(uvec4(words.x << 16, words.x & 0xffff0000u, words.y << 16, words.y & 0xffff0000u));
}
float decode_bf16(uint half_word) { return uintBitsToFloat(half_word << 16); }
vec2 decode_bf16_pair(uint word) { return uintBitsToFloat(uvec2(word << 16, word & 0xffff0000u)); }

// Rounded to nearest even, overflow to infinity, NaN kept. In integers: packHalf2x16 leaves rounding and NaN to the driver.
uint encode_f16(float value) {
    uint bits = floatBitsToUint(value);
    uint sign = (bits >> 16) & 0x8000u;
    uint magnitude = bits & 0x7fffffffu;
    uint normal = (magnitude + 0xfffu + ((magnitude >> 13) & 1u) - (112u << 23)) >> 13;
    // Below 2^-14 the result counts steps of 2^-24. Bits that leave the significand decide the rounding.
    uint shift = uint(clamp(126 - int(magnitude >> 23), 1, 25));
    uint significand = (magnitude & 0x7fffffu) | 0x800000u;
    uint subnormal = (significand + (1u << (shift - 1u)) - 1u + ((significand >> shift) & 1u)) >> shift;
    uint half_bits = magnitude < (113u << 23) ? subnormal : min(normal, 0x7c00u);
    return sign | (magnitude > 0x7f800000u ? 0x7e00u : half_bits);
}

uint encode_bf16(float value) {
    uint bits = floatBitsToUint(value);
    bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
    return is_nan ? (bits >> 16) | 0x40u : (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
}

#endif
