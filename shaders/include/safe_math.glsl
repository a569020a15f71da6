// Operators of mask and score mod expressions, defined for every operand. Pure functions of their arguments.
//
// What GLSL and SPIR-V leave undefined never happens here: a zero divisor is replaced before dividing, division and modulo run on
// unsigned magnitudes (negative operands of %, INT_MIN / -1), shift counts are masked, a float is tested by its bits before it
// becomes an int. int + - * wrap in SPIR-V and need no help. Where the outcome is an infinity or NaN it is written by bits;
// tests for them look at bits, because Vulkan lets compilers assume that neither exists.
// Both sides of every ?: are variables: glslang makes a select of that, and a branch of anything longer.
#ifndef VKATTN_SAFE_MATH_GLSL
#define VKATTN_SAFE_MATH_GLSL

const uint FLOAT_INF_BITS = 0x7f800000u;
const uint FLOAT_NAN_BITS = 0x7fc00000u;
const int INT_LOWEST = int(0x80000000u);
const int INT_HIGHEST = 0x7fffffff;

// |x| as uint: right for INT_LOWEST.
uint magnitude_i32(int x) {
    uint same = uint(x);
    uint negated = 0u - same;
    return x < 0 ? negated : same;
}

// INT_LOWEST gives INT_LOWEST.
int abs_i32(int x) { return int(magnitude_i32(x)); }

// Toward minus infinity; 0 for a zero divisor; INT_LOWEST / -1 wraps to INT_LOWEST.
int div_i32(int a, int b) {
    uint divisor = magnitude_i32(b);
    divisor = divisor == 0u ? 1u : divisor;
    uint dividend = magnitude_i32(a);
    uint quotient = dividend / divisor;
    // floor(-x) = -ceil(x)
    uint ceiling = quotient + uint(quotient * divisor != dividend);
    uint negated = 0u - ceiling;
    int result = int((a < 0) != (b < 0) ? negated : quotient);
    return b == 0 ? 0 : result;
}

// a - floor(a / b) * b, with the sign of b; 0 for a zero divisor.
int mod_i32(int a, int b) {
    int rest = a - div_i32(a, b) * b;
    return b == 0 ? 0 : rest;
}

int shl_i32(int a, int count) { return int(uint(a) << (uint(count) & 31u)); }
int shr_i32(int a, int count) { return a >> (uint(count) & 31u); }  // arithmetic

// The first operand wins where neither is less: as in evaluate().
float min_f32(float a, float b) { return b < a ? b : a; }
float max_f32(float a, float b) { return a < b ? b : a; }

float mod_f32(float a, float b) {
    precise float quotient = floor(a / b);
    precise float product = b * quotient;
    precise float rest = a - product;
    return rest;
}

// Toward zero; saturates; 0 for NaN.
int to_i32(float x) {
    uint bits = floatBitsToUint(x);
    bool is_nan = (bits & 0x7fffffffu) > FLOAT_INF_BITS;
    bool fits = ((bits >> 23) & 0xffu) < 158u;                      // |x| < 2^31
    int limit = (bits >> 31) != 0u ? INT_LOWEST : INT_HIGHEST;
    float in_range = fits ? x : 0.0;
    int whole = int(in_range);
    int saturated = fits ? whole : limit;
    return is_nan ? 0 : saturated;
}

// `result`, but x where x is NaN: a NaN score must stay one, and some drivers' exp makes infinity of it.
float keep_nan(float x, float result) {
    bool is_nan = (floatBitsToUint(x) & 0x7fffffffu) > FLOAT_INF_BITS;
    return is_nan ? x : result;
}

float exp_f32(float x) { return keep_nan(x, exp(x)); }
float exp2_f32(float x) { return keep_nan(x, exp2(x)); }
float sin_f32(float x) { return keep_nan(x, sin(x)); }
float cos_f32(float x) { return keep_nan(x, cos(x)); }

// log, pow and the roots are undefined in GLSL outside their domain.
float log2_f32(float x) {
    float result = log2(x > 0.0 ? x : 1.0);
    float outside = uintBitsToFloat(x == 0.0 ? 0xff800000u : FLOAT_NAN_BITS);
    return x > 0.0 ? result : outside;
}
float log_f32(float x) {
    float result = log(x > 0.0 ? x : 1.0);
    float outside = uintBitsToFloat(x == 0.0 ? 0xff800000u : FLOAT_NAN_BITS);
    return x > 0.0 ? result : outside;
}
float sqrt_f32(float x) {
    float result = sqrt(x > 0.0 ? x : 0.0);
    float outside = uintBitsToFloat(FLOAT_NAN_BITS);
    return x >= 0.0 ? result : outside;
}
float rsqrt_f32(float x) {
    float result = inversesqrt(x > 0.0 ? x : 1.0);
    uint of_zero = FLOAT_INF_BITS | (floatBitsToUint(x) & 0x80000000u);
    float outside = uintBitsToFloat(x == 0.0 ? of_zero : FLOAT_NAN_BITS);
    return x > 0.0 ? result : outside;
}

// x^y as std::pow: x^0 = 1, a negative x only with a whole y.
float pow_f32(float x, float y) {
    float size = abs(x);
    float power = exp2(y * log2(size > 0.0 ? size : 1.0));
    bool whole = floor(y) == y;
    float half_y = 0.5 * y;
    bool odd = whole && floor(half_y) != half_y;
    float of_zero = uintBitsToFloat(y > 0.0 ? 0u : FLOAT_INF_BITS);
    float result = size > 0.0 ? power : of_zero;
    bool negate = odd && (floatBitsToUint(x) >> 31) != 0u;
    float negated = -result;
    result = negate ? negated : result;
    bool outside = !whole && x < 0.0;
    float nan = uintBitsToFloat(FLOAT_NAN_BITS);
    result = outside ? nan : result;
    bool one = y == 0.0 || x == 1.0;
    return one ? 1.0 : result;
}

// exp(-|x|) is at most 1, so nothing overflows. Near zero (1 - e) / (1 + e) would lose its leading digits: there the odd
// polynomial through tanh's values at five Chebyshev points of [0, 0.64] (relative error 9e-8 in f32).
float tanh_f32(float x) {
    float size = abs(x);
    float square = x * x;
    float series = -5.992961254e-3;
    series = series * square + 2.092414818e-2;
    series = series * square - 5.383514126e-2;
    series = series * square + 1.333266348e-1;
    series = series * square - 3.333332786e-1;
    float e = exp2(-2.88539008 * size);                             // 2 log2(e)
    float large = (1.0 - e) / (1.0 + e);
    float small = x + x * square * series;
    float negated = -large;
    large = x < 0.0 ? negated : large;
    float result = size < 0.625 ? small : large;
    return keep_nan(x, result);
}

float sigmoid_f32(float x) {
    float e = exp(-abs(x));
    float upper = 1.0 / (1.0 + e);
    float lower = e * upper;
    float result = x < 0.0 ? lower : upper;
    return keep_nan(x, result);
}

float sign_f32(float x) {
    float below = x < 0.0 ? -1.0 : 0.0;
    return x > 0.0 ? 1.0 : below;
}

#endif
