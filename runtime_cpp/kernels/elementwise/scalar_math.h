// What functors.h needs for double, int64_t and uint64_t. Integer arithmetic wraps: signed values go
// through unsigned ones where C++ leaves overflow undefined.
#pragma once
#include <cmath>
#include <cstdint>

#define EDGEC_INLINE [[gnu::always_inline]] inline

namespace edgec {
namespace EDGEC_ISA_NS {

template <class V>
EDGEC_INLINE V select(bool condition, V yes, V no) {
  return condition ? yes : no;
}
EDGEC_INLINE bool both(bool a, bool b) { return a && b; }
// The second operand when either is NaN, as on vectors.
template <class V>
EDGEC_INLINE V min(V a, V b) {
  return a < b ? a : b;
}
template <class V>
EDGEC_INLINE V max(V a, V b) {
  return a > b ? a : b;
}
EDGEC_INLINE double abs(double x) { return std::fabs(x); }
EDGEC_INLINE uint64_t abs(uint64_t x) { return x; }
EDGEC_INLINE double negate(double x) { return -x; }
EDGEC_INLINE uint64_t negate(uint64_t x) { return uint64_t{0} - x; }
EDGEC_INLINE double divide(double a, double b) { return a / b; }
EDGEC_INLINE uint64_t divide(uint64_t a, uint64_t b) { return b == 0 ? 0 : a / b; }
EDGEC_INLINE double remainder(double a, double b) { return std::fmod(a, b); }
EDGEC_INLINE uint64_t remainder(uint64_t a, uint64_t b) { return b == 0 ? 0 : a % b; }

// int64_t whose + - * wrap. Everything else is the built-in operator.
struct wrapping {
  int64_t v;
  wrapping() = default;
  template <class T>
  EDGEC_INLINE explicit wrapping(T x) : v(static_cast<int64_t>(x)) {}
  EDGEC_INLINE static wrapping of(uint64_t x) { return wrapping(static_cast<int64_t>(x)); }
  EDGEC_INLINE uint64_t u() const { return static_cast<uint64_t>(v); }
};
EDGEC_INLINE wrapping operator+(wrapping a, wrapping b) { return wrapping::of(a.u() + b.u()); }
EDGEC_INLINE wrapping operator-(wrapping a, wrapping b) { return wrapping::of(a.u() - b.u()); }
EDGEC_INLINE wrapping operator*(wrapping a, wrapping b) { return wrapping::of(a.u() * b.u()); }
EDGEC_INLINE wrapping operator&(wrapping a, wrapping b) { return wrapping(a.v & b.v); }
EDGEC_INLINE wrapping operator|(wrapping a, wrapping b) { return wrapping(a.v | b.v); }
EDGEC_INLINE wrapping operator^(wrapping a, wrapping b) { return wrapping(a.v ^ b.v); }
EDGEC_INLINE wrapping operator~(wrapping a) { return wrapping(~a.v); }
EDGEC_INLINE wrapping operator<<(wrapping a, wrapping b) { return wrapping::of(a.u() << b.u()); }
EDGEC_INLINE wrapping operator>>(wrapping a, wrapping b) { return wrapping(a.v >> b.v); }
EDGEC_INLINE bool operator<(wrapping a, wrapping b) { return a.v < b.v; }
EDGEC_INLINE bool operator<=(wrapping a, wrapping b) { return a.v <= b.v; }
EDGEC_INLINE bool operator>(wrapping a, wrapping b) { return a.v > b.v; }
EDGEC_INLINE bool operator>=(wrapping a, wrapping b) { return a.v >= b.v; }
EDGEC_INLINE bool operator==(wrapping a, wrapping b) { return a.v == b.v; }
EDGEC_INLINE bool operator!=(wrapping a, wrapping b) { return a.v != b.v; }
EDGEC_INLINE wrapping negate(wrapping a) { return wrapping::of(uint64_t{0} - a.u()); }
EDGEC_INLINE wrapping abs(wrapping a) { return a.v < 0 ? negate(a) : a; }
// INT64_MIN / -1 traps on x86.
EDGEC_INLINE wrapping divide(wrapping a, wrapping b) {
  return b.v == 0 ? wrapping(0) : b.v == -1 ? negate(a) : wrapping(a.v / b.v);
}
EDGEC_INLINE wrapping remainder(wrapping a, wrapping b) {
  return b.v == 0 || b.v == -1 ? wrapping(0) : wrapping(a.v % b.v);
}

template <class U>
EDGEC_INLINE U power_by_squaring(U base, uint64_t exponent) {
  U result(1);
  for (; exponent != 0; exponent >>= 1) {
    if (exponent & 1) result = result * base;
    base = base * base;
  }
  return result;
}
EDGEC_INLINE double pow(double a, double b) { return std::pow(a, b); }
EDGEC_INLINE uint64_t pow(uint64_t a, uint64_t b) { return power_by_squaring(a, b); }
// Negative powers: the reciprocal, truncated.
EDGEC_INLINE wrapping pow(wrapping a, wrapping b) {
  if (b.v >= 0) return power_by_squaring(a, b.u());
  return a.v == 1 ? wrapping(1) : a.v == -1 ? wrapping(b.v & 1 ? -1 : 1) : wrapping(0);
}

#define EDGEC_FORWARD(name) \
  EDGEC_INLINE double name(double x) { return std::name(x); }
EDGEC_FORWARD(exp)
EDGEC_FORWARD(expm1)
EDGEC_FORWARD(log)
EDGEC_FORWARD(sqrt)
EDGEC_FORWARD(erf)
EDGEC_FORWARD(tanh)
EDGEC_FORWARD(floor)
EDGEC_FORWARD(ceil)
EDGEC_FORWARD(sin)
EDGEC_FORWARD(cos)
EDGEC_FORWARD(tan)
EDGEC_FORWARD(asin)
EDGEC_FORWARD(acos)
EDGEC_FORWARD(atan)
EDGEC_FORWARD(sinh)
EDGEC_FORWARD(cosh)
EDGEC_FORWARD(asinh)
EDGEC_FORWARD(acosh)
EDGEC_FORWARD(atanh)
#undef EDGEC_FORWARD
EDGEC_INLINE double round(double x) { return std::nearbyint(x); }
EDGEC_INLINE double sigmoid(double x) {
  const double z = std::exp(-std::fabs(x));
  return (x < 0 ? z : 1) / (1 + z);
}
EDGEC_INLINE double softplus(double x) { return max(0.0, x) + std::log1p(std::exp(-std::fabs(x))); }

}  // namespace EDGEC_ISA_NS
}  // namespace edgec
