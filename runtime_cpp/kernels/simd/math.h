// Elementary functions on the vec layer, for every width and ISA. Errors are bounds in units in the
// last place over all finite floats, measured against double precision by tests/math_test.cc (fused
// ISAs; the scalar row rounds twice in fma and may be one ulp worse). NaN stays NaN, infinities and
// denormal results are right. Coefficients are minimax fits on the intervals given beside them.
#pragma once
#include "kernels/simd/simd.h"

namespace edgec {
namespace EDGEC_ISA_NS {

template <int N>
EDGEC_INLINE vec<float, N> copysign(vec<float, N> magnitude, vec<float, N> sign) {
  const vec<int32_t, N> bit(INT32_MIN);
  return bit_cast<float>((bit_cast<int32_t>(magnitude) & (bit ^ vec<int32_t, N>(-1))) |
                         (bit_cast<int32_t>(sign) & bit));
}

// p[0] + p[1] x + p[2] x^2 ... by Horner's rule.
template <int N, int Count>
EDGEC_INLINE vec<float, N> polynomial(vec<float, N> x, const float (&p)[Count]) {
  vec<float, N> r(p[Count - 1]);
  for (int i = Count - 2; i >= 0; --i) r = fma(r, x, vec<float, N>(p[i]));
  return r;
}

// a * 2^n for integral n in [-252, 254]. Two factors, because 2^n alone may overflow or be denormal
// when a * 2^n is neither.
template <int N>
EDGEC_INLINE vec<float, N> scale_by_power_of_two(vec<float, N> a, vec<float, N> n) {
#if defined(__AVX512F__)
  if constexpr (N == 16) return {(typename vec<float, N>::native)_mm512_scalef_ps(a.v, n.v)};
#endif
  const vec<int32_t, N> i = convert<int32_t>(n);
  const vec<int32_t, N> half = i >> 1;
  const vec<int32_t, N> bias(127);
  return a * bit_cast<float>((half + bias) << 23) * bit_cast<float>((i - half + bias) << 23);
}

// x = n ln2 + r with |r| <= ln2 / 2. The first part of ln2 has 9 significant bits, so that its product
// with n is exact even where fma rounds twice.
template <int N>
EDGEC_INLINE vec<float, N> reduce_by_ln2(vec<float, N> x, vec<float, N>* n) {
  *n = round(x * vec<float, N>(1.44269504f));
  const vec<float, N> r = fma(*n, vec<float, N>(-0.693359375f), x);
  return fma(*n, vec<float, N>(2.12194440e-4f), r);
}

// e^x, 1 ulp.
template <int N>
EDGEC_INLINE vec<float, N> exp(vec<float, N> x) {
  // Beyond these the result is 0 or infinity whatever x is; min and max let NaN through as second operand.
  x = max(vec<float, N>(-104.0f), min(vec<float, N>(89.0f), x));
  vec<float, N> n;
  const vec<float, N> r = reduce_by_ln2(x, &n);
  // (e^r - 1 - r) / r^2 on [-ln2/2, ln2/2]
  const float p[] = {0.5f, 1.666652e-01f, 4.1666206e-02f, 8.368886e-03f, 1.3950446e-03f};
  const vec<float, N> e = fma(r * r, polynomial(r, p), r) + vec<float, N>(1.0f);
  return scale_by_power_of_two(e, n);
}

// e^x - 1 without cancellation near 0, 2 ulp.
template <int N>
EDGEC_INLINE vec<float, N> expm1(vec<float, N> x) {
  const vec<float, N> one(1.0f);
  // Below -18 the result rounds to -1.
  const vec<float, N> c = max(vec<float, N>(-18.0f), min(vec<float, N>(89.0f), x));
  vec<float, N> n;
  const vec<float, N> r = reduce_by_ln2(c, &n);
  // (e^r - 1 - r - r^2/2) / r^3 on [-ln2/2, ln2/2]
  const float p[] = {1.6666667e-01f, 4.166648e-02f, 8.333282e-03f, 1.3933388e-03f, 1.9909797e-04f};
  const vec<float, N> r2 = r * r;
  const vec<float, N> tail = fma(r2 * r, polynomial(r, p), r2 * vec<float, N>(0.5f));  // e^r - 1 - r
  // 2^n (e^r - 1) + (2^n - 1); n = 128 would overflow 2^n, so one factor of 2 is applied last.
  const vec<float, N> top = select(n == vec<float, N>(128.0f), vec<float, N>(2.0f), one);
  const vec<float, N> m = select(n == vec<float, N>(128.0f), vec<float, N>(127.0f), n);
  const vec<float, N> s = scale_by_power_of_two(one, m);
  const vec<float, N> big = (fma(s, r, s - one) + s * tail) * top;
  // n = 0: s - 1 is 0 and r + tail keeps every bit, -0 included.
  return select(n == vec<float, N>(0.0f), select(c == vec<float, N>(0.0f), x, r + tail), big);
}

// Natural logarithm, 1 ulp; -inf at 0, NaN below.
template <int N>
EDGEC_INLINE vec<float, N> log(vec<float, N> x) {
  const vec<float, N> zero(0.0f), one(1.0f);
  const auto denormal = x < vec<float, N>(1.17549435e-38f);
  const vec<float, N> y = select(denormal, x * vec<float, N>(8388608.0f), x);
  // y = m 2^e with m in [sqrt(1/2), sqrt(2)): subtracting the bits of sqrt(1/2) puts the cut there.
  // Unsigned, because negative x wraps (its result is replaced below).
  const vec<uint32_t, N> cut(0x3f3504f3);
  const vec<uint32_t, N> bits = bit_cast<uint32_t>(y) - cut;
  vec<float, N> e = convert<float>(bit_cast<int32_t>(bits) >> 23);
  e = e - select(denormal, vec<float, N>(23.0f), zero);
  const vec<float, N> f = bit_cast<float>((bits & vec<uint32_t, N>(0x007fffff)) + cut) - one;
  // (log(1+f) - f + f^2/2) / f^3 on [sqrt(1/2)-1, sqrt(2)-1]
  const float p[] = {3.333331e-01f,   -2.4999987e-01f, 2.0002219e-01f,  -1.6669239e-01f, 1.421877e-01f,
                     -1.2384582e-01f, 1.18724726e-01f, -1.1788347e-01f, 6.914681e-02f};
  const vec<float, N> f2 = f * f;
  vec<float, N> r = f2 * f * polynomial(f, p);
  r = fma(e, vec<float, N>(-2.12194440e-4f), r);
  r = fma(f2, vec<float, N>(-0.5f), r);
  r = fma(e, vec<float, N>(0.693359375f), f + r);
  const vec<float, N> infinity(__builtin_inff());
  r = select(x == infinity, infinity, r);
  r = select(x == zero, -infinity, r);
  return select(x < zero, vec<float, N>(__builtin_nanf("")), select(x != x, x, r));
}

// log(1 + x) without cancellation near 0, 2 ulp.
template <int N>
EDGEC_INLINE vec<float, N> log1p(vec<float, N> x) {
  const vec<float, N> one(1.0f);
  const vec<float, N> u = one + x;
  // What rounding took from 1 + x, as a relative correction of the argument; none where u overflows.
  const vec<float, N> lost = select(abs(x) < one, x - (u - one), one - (u - x));
  const vec<float, N> y = log(u) + select(u < vec<float, N>(1e30f), lost / u, vec<float, N>(0.0f));
  const vec<float, N> r = select(u == vec<float, N>(0.0f), log(u), y);
  return select(abs(x) < vec<float, N>(5e-8f), x, r);
}

// Hyperbolic tangent, 2 ulp.
template <int N>
EDGEC_INLINE vec<float, N> tanh(vec<float, N> x) {
  const vec<float, N> one(1.0f), a = abs(x), z = x * x;
  // (tanh(x)/x - 1) / x^2 in x^2, |x| <= 0.625
  const float p[] = {-3.3333284e-01f, 1.3331494e-01f, -5.374366e-02f, 2.0651042e-02f, -5.7174945e-03f};
  const vec<float, N> small = fma(x * z, polynomial(z, p), x);
  const vec<float, N> large = one - vec<float, N>(2.0f) / (exp(a + a) + one);
  // The sign is put back in both, because fma(+0, ., -0) is +0.
  return copysign(select(a < vec<float, N>(0.625f), small, large), x);
}

// 1 / (1 + e^-x), 3 ulp, also where the result is tiny.
template <int N>
EDGEC_INLINE vec<float, N> sigmoid(vec<float, N> x) {
  const vec<float, N> one(1.0f);
  const vec<float, N> z = exp(-abs(x));
  return select(x < vec<float, N>(0.0f), z, one) / (one + z);
}

// Error function, 2 ulp.
template <int N>
EDGEC_INLINE vec<float, N> erf(vec<float, N> x) {
  const vec<float, N> one(1.0f), a = abs(x), z = x * x;
  // erf(x)/x in x^2, |x| <= 1
  const float p[] = {1.1283791e+00f, -3.7612626e-01f, 1.12836e-01f, -2.6854444e-02f,
                     5.189535e-03f,  -8.020841e-04f,  7.889119e-05f};
  // log(1 - erf(x)), 1 <= x <= 4; above, erf rounds to 1.
  const float q[] = {-3.415126e-04f, -1.1270893e+00f, -6.3814473e-01f, -1.0310682e-01f,
                     2.1838097e-02f, -2.9476667e-03f, 1.8638009e-04f};
  const vec<float, N> large = one - exp(polynomial(min(vec<float, N>(4.0f), a), q));
  return select(a < one, x * polynomial(z, p), copysign(large, x));
}

// log(1 + e^x).
template <int N>
EDGEC_INLINE vec<float, N> softplus(vec<float, N> x) {
  return max(vec<float, N>(0.0f), x) + log1p(exp(-abs(x)));
}

}  // namespace EDGEC_ISA_NS
}  // namespace edgec
