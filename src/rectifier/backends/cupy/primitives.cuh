// What a formula is made of.
//
// CuPy compiles with -ftz=true, and then an operator on float32, a cast or a comparison takes a subnormal number for 0.
// An instruction that is written out does not. Comparisons of float64 are written out because NVRTC 12.9 otherwise
// makes min.f64 of `x < 0.0 ? x : 0.0`, and that has another result for -0.0; it would lose a NaN elsewhere.
#ifndef INSTRUCTION_1 // a host has its own
#define INSTRUCTION_1(name, R, r, A, a, text)                                                                          \
    __device__ __forceinline__ R name(const A x) {                                                                     \
        R z;                                                                                                           \
        asm(text " %0, %1;" : r(z) : a(x));                                                                            \
        return z;                                                                                                      \
    }
#define INSTRUCTION_2(name, R, r, A, a, text)                                                                          \
    __device__ __forceinline__ R name(const A x, const A y) {                                                          \
        R z;                                                                                                           \
        asm(text " %0, %1, %2;" : r(z) : a(x), a(y));                                                                  \
        return z;                                                                                                      \
    }
#define INSTRUCTION_3(name, R, r, A, a, text)                                                                          \
    __device__ __forceinline__ R name(const A x, const A y, const A z) {                                               \
        R w;                                                                                                           \
        asm(text " %0, %1, %2, %3;" : r(w) : a(x), a(y), a(z));                                                        \
        return w;                                                                                                      \
    }
#define CONDITION(name, A, a, text)                                                                                    \
    __device__ __forceinline__ bool name(const A x, const A y) {                                                       \
        int c;                                                                                                         \
        asm("{ .reg .pred p; " text " p, %1, %2; selp.s32 %0, 1, 0, p; }" : "=r"(c) : a(x), a(y));                     \
        return c != 0;                                                                                                 \
    }
#endif

namespace rectifier {

INSTRUCTION_2(add, float, "=f", float, "f", "add.rn.f32")
INSTRUCTION_2(sub, float, "=f", float, "f", "sub.rn.f32")
INSTRUCTION_2(mul, float, "=f", float, "f", "mul.rn.f32")
INSTRUCTION_2(div, float, "=f", float, "f", "div.rn.f32")
INSTRUCTION_3(fma, float, "=f", float, "f", "fma.rn.f32")
INSTRUCTION_1(sqrt, float, "=f", float, "f", "sqrt.rn.f32")
INSTRUCTION_1(neg, float, "=f", float, "f", "neg.f32")
INSTRUCTION_1(abs, float, "=f", float, "f", "abs.f32")
INSTRUCTION_1(nearly_reciprocal, float, "=f", float, "f", "rcp.approx.ftz.f32")
INSTRUCTION_2(sign_onto, float, "=f", float, "f", "copysign.f32")
INSTRUCTION_2(larger, float, "=f", float, "f", "max.f32") // the other one of NaN
CONDITION(lt, float, "f", "setp.lt.f32")
CONDITION(le, float, "f", "setp.le.f32")
CONDITION(gt, float, "f", "setp.gt.f32")
CONDITION(ge, float, "f", "setp.ge.f32")
CONDITION(eq, float, "f", "setp.eq.f32")
CONDITION(ne, float, "f", "setp.neu.f32")
CONDITION(lt, double, "d", "setp.lt.f64")
CONDITION(le, double, "d", "setp.le.f64")
CONDITION(gt, double, "d", "setp.gt.f64")
CONDITION(ge, double, "d", "setp.ge.f64")
CONDITION(eq, double, "d", "setp.eq.f64")
CONDITION(ne, double, "d", "setp.neu.f64")
INSTRUCTION_1(widen, double, "=d", float, "f", "cvt.f64.f32")
INSTRUCTION_1(narrow, float, "=f", double, "d", "cvt.rn.f32.f64")
INSTRUCTION_1(from_float16, float, "=f", unsigned short, "h", "cvt.f32.f16")
INSTRUCTION_1(round_to_float16, unsigned short, "=h", float, "f", "cvt.rn.f16.f32")

// The instructions of rcp.rn.f32 and div.rn.f32 but those that look for numbers beyond 2^126 in either direction. Here
// y is from 1/2 to 2^100, and 0 keeps its sign. P. Markstein, "Computation of elementary functions on the IBM RISC
// System/6000 processor", IBM J. Res. Dev. 34 (1990).
__device__ __forceinline__ float reciprocal(const float y) {
    const float r = nearly_reciprocal(y);
    return fma(r, fma(neg(y), r, 1.0f), r);
}
__device__ __forceinline__ float quotient(const float x, const float y) {
    const float r = reciprocal(y), q = mul(x, r);
    return fma(neg(fma(q, y, neg(x))), r, q);
}
__device__ __forceinline__ float copysign(const float x, const float y) { return sign_onto(y, x); }
__device__ __forceinline__ double add(const double x, const double y) { return x + y; }
__device__ __forceinline__ double sub(const double x, const double y) { return x - y; }
__device__ __forceinline__ double mul(const double x, const double y) { return x * y; }
__device__ __forceinline__ double div(const double x, const double y) { return x / y; }
__device__ __forceinline__ double neg(const double x) { return -x; }
__device__ __forceinline__ double abs(const double x) { return ::fabs(x); }
__device__ __forceinline__ double sqrt(const double x) { return ::sqrt(x); }
__device__ __forceinline__ double copysign(const double x, const double y) { return ::copysign(x, y); }
__device__ __forceinline__ double fma(const double x, const double y, const double z) { return ::fma(x, y, z); }
__device__ __forceinline__ int to_bits(const float x) { return int(__float_as_uint(x)); }
__device__ __forceinline__ float from_bits_of_float(const int n) { return __uint_as_float(unsigned(n)); }
__device__ __forceinline__ long long to_bits(const double x) { return __double_as_longlong(x); }
__device__ __forceinline__ double from_bits(const long long n) { return __longlong_as_double(n); }

__device__ __forceinline__ double larger_or_nan(const double x, const double y) { return lt(x, y) || ne(y, y) ? y : x; }
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
__device__ __forceinline__ float larger_or_nan(const float x, const float y) { return lt(x, y) || ne(y, y) ? y : x; }
#else
INSTRUCTION_2(larger_or_nan, float, "=f", float, "f", "max.NaN.f32")
#endif

// Integers wrap; in C++ only those without a sign do.
typedef unsigned long long Unsigned;
template <typename N> __device__ __forceinline__ N add(const N x, const N y) { return N(Unsigned(x) + Unsigned(y)); }
template <typename N> __device__ __forceinline__ N sub(const N x, const N y) { return N(Unsigned(x) - Unsigned(y)); }
template <typename N> __device__ __forceinline__ N mul(const N x, const N y) { return N(Unsigned(x) * Unsigned(y)); }
template <typename N> __device__ __forceinline__ N neg(const N x) { return N(-Unsigned(x)); }
template <typename N> __device__ __forceinline__ N abs(const N x) { return x < 0 ? neg(x) : x; }
template <typename N> __device__ __forceinline__ N shl(const N x, const int k) { return N(Unsigned(x) << k); }
template <typename N> __device__ __forceinline__ N shr(const N x, const int k) { return x >> k; }
template <typename N> __device__ __forceinline__ bool lt(const N x, const N y) { return x < y; }
template <typename N> __device__ __forceinline__ bool le(const N x, const N y) { return x <= y; }
template <typename N> __device__ __forceinline__ bool gt(const N x, const N y) { return x > y; }
template <typename N> __device__ __forceinline__ bool ge(const N x, const N y) { return x >= y; }
template <typename N> __device__ __forceinline__ bool eq(const N x, const N y) { return x == y; }
template <typename N> __device__ __forceinline__ bool ne(const N x, const N y) { return x != y; }

// Round to 24 bits, an inexact result to the odd neighbour: a second rounding takes it for the exact one. S. Boldo and
// G. Melquiond, "Emulation of FMA and correctly rounded sums", IEEE Trans. Computers 57 (2008).
__device__ __forceinline__ float round_to_odd(const double x) {
    const long long lost = (1LL << 29) - 1, bits = to_bits(x);
    return narrow(from_bits((bits | ((bits & lost) + lost)) & ~lost));
}

__device__ __forceinline__ float from_bfloat16(const unsigned short x) { return __uint_as_float(unsigned(x) << 16); }
__device__ __forceinline__ float from_float32(const float x) { return x; }
__device__ __forceinline__ double from_float64(const double x) { return x; }

__device__ __forceinline__ unsigned short to_float16(const float x) { return round_to_float16(x); }
__device__ __forceinline__ unsigned short to_float16(const double x) { return round_to_float16(round_to_odd(x)); }
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
INSTRUCTION_1(to_bfloat16, unsigned short, "=h", float, "f", "cvt.rn.bf16.f32")
#else
__device__ __forceinline__ unsigned short to_bfloat16(const float x) {
    const unsigned bits = __float_as_uint(x);
    // The NaN of a GPU, 0x7fffffff, would be rounded to -0.0.
    return (bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}
#endif
__device__ __forceinline__ unsigned short to_bfloat16(const double x) { return to_bfloat16(round_to_odd(x)); }
__device__ __forceinline__ float to_float32(const float x) { return x; }
__device__ __forceinline__ float to_float32(const double x) { return narrow(x); }
__device__ __forceinline__ double to_float64(const double x) { return x; }

} // namespace rectifier
