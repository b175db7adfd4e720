// The arithmetic of elementwise.def, once for vec<float, N> and for the scalars double, int64_t and
// uint64_t. The includer provides the functions used here (select, exp, ...) for its types in
// EDGEC_ISA_NS: simd.h and math.h for vectors, scalar_math.h for scalars.
#pragma once
#include <cstdint>
#include <type_traits>

namespace edgec {
namespace EDGEC_ISA_NS {

template <class V>
struct Parameters {
  V alpha, beta;
};

template <class V>
inline constexpr bool is_integer = std::is_integral_v<V>;

#define EDGEC_UNARY_FUNCTOR(name, expression)                     \
  struct name {                                                   \
    template <class V>                                            \
    EDGEC_INLINE static auto apply(V x, const Parameters<V>& p) { \
      (void)p;                                                    \
      return expression;                                          \
    }                                                             \
  };
#define EDGEC_BINARY_FUNCTOR(name, expression)                         \
  struct name {                                                        \
    template <class V>                                                 \
    EDGEC_INLINE static auto apply(V a, V b, const Parameters<V>& p) { \
      (void)p;                                                         \
      return expression;                                               \
    }                                                                  \
  };

// max(constant, x) and min(constant, x) give x when it is NaN, as ONNX and NumPy want it.
EDGEC_UNARY_FUNCTOR(Abs, abs(x))
EDGEC_UNARY_FUNCTOR(Neg, negate(x))
EDGEC_UNARY_FUNCTOR(Relu, max(V(0), x))
EDGEC_UNARY_FUNCTOR(Sigmoid, sigmoid(x))
EDGEC_UNARY_FUNCTOR(Tanh, tanh(x))
EDGEC_UNARY_FUNCTOR(Exp, exp(x))
EDGEC_UNARY_FUNCTOR(Log, log(x))
EDGEC_UNARY_FUNCTOR(Sqrt, sqrt(x))
EDGEC_UNARY_FUNCTOR(Rsqrt, V(1) / sqrt(x))
EDGEC_UNARY_FUNCTOR(Reciprocal, V(1) / x)
EDGEC_UNARY_FUNCTOR(Erf, erf(x))
EDGEC_UNARY_FUNCTOR(Silu, x* sigmoid(x))
EDGEC_UNARY_FUNCTOR(HardSigmoid, min(V(1), max(V(0), p.alpha* x + p.beta)))
EDGEC_UNARY_FUNCTOR(HardSwish, x* min(V(1), max(V(0), x* V(1.0 / 6) + V(0.5))))
EDGEC_UNARY_FUNCTOR(LeakyRelu, select(x < V(0), p.alpha* x, x))
EDGEC_UNARY_FUNCTOR(Elu, select(x < V(0), p.alpha* expm1(x), x))
EDGEC_UNARY_FUNCTOR(Selu, p.beta* select(x < V(0), p.alpha* expm1(x), x))
EDGEC_UNARY_FUNCTOR(Celu, select(x < V(0), p.alpha* expm1(x / p.alpha), x))
EDGEC_UNARY_FUNCTOR(Softplus, softplus(x))
EDGEC_UNARY_FUNCTOR(Softsign, x / (V(1) + abs(x)))
EDGEC_UNARY_FUNCTOR(Mish, x* tanh(softplus(x)))
EDGEC_UNARY_FUNCTOR(Clip, min(p.beta, max(p.alpha, x)))
EDGEC_UNARY_FUNCTOR(ThresholdedRelu, select(x <= p.alpha, V(0), x))
EDGEC_UNARY_FUNCTOR(Floor, floor(x))
EDGEC_UNARY_FUNCTOR(Ceil, ceil(x))
EDGEC_UNARY_FUNCTOR(Round, round(x))
EDGEC_UNARY_FUNCTOR(Sin, sin(x))
EDGEC_UNARY_FUNCTOR(Cos, cos(x))
EDGEC_UNARY_FUNCTOR(Tan, tan(x))
EDGEC_UNARY_FUNCTOR(Asin, asin(x))
EDGEC_UNARY_FUNCTOR(Acos, acos(x))
EDGEC_UNARY_FUNCTOR(Atan, atan(x))
EDGEC_UNARY_FUNCTOR(Sinh, sinh(x))
EDGEC_UNARY_FUNCTOR(Cosh, cosh(x))
EDGEC_UNARY_FUNCTOR(Asinh, asinh(x))
EDGEC_UNARY_FUNCTOR(Acosh, acosh(x))
EDGEC_UNARY_FUNCTOR(Atanh, atanh(x))
EDGEC_UNARY_FUNCTOR(IsNaN, x != x)
// alpha: report -inf; beta: report +inf. The one not asked for is compared with NaN, which nothing equals.
EDGEC_UNARY_FUNCTOR(IsInf, (x == p.alpha) | (x == p.beta))
EDGEC_UNARY_FUNCTOR(Not, x == V(0))
EDGEC_UNARY_FUNCTOR(BitwiseNot, static_cast<V>(~x))

struct Sign {
  template <class V>
  EDGEC_INLINE static V apply(V x, const Parameters<V>&) {
    // A NaN is neither and stays what it is.
    return select(x > V(0), V(1), select(x < V(0), negate(V(1)), x));
  }
};

// alpha 0: exact, with erf; 1: the tanh approximation.
struct Gelu {
  template <class V>
  EDGEC_INLINE static V apply(V x, const Parameters<V>&) {
    return V(0.5) * x * (V(1) + erf(x * V(0.70710678118654752440)));
  }
};
struct GeluTanh {
  template <class V>
  EDGEC_INLINE static V apply(V x, const Parameters<V>&) {
    const V inner = V(0.79788456080286535588) * (x + V(0.044715) * x * x * x);
    return V(0.5) * x * (V(1) + tanh(inner));
  }
};

struct Shrink {
  template <class V>
  EDGEC_INLINE static V apply(V x, const Parameters<V>& p) {
    return select(x < negate(p.alpha), x + p.beta, select(x > p.alpha, x - p.beta, V(0)));
  }
};

EDGEC_BINARY_FUNCTOR(Add, a + b)
EDGEC_BINARY_FUNCTOR(Sub, a - b)
EDGEC_BINARY_FUNCTOR(Mul, a* b)
EDGEC_BINARY_FUNCTOR(Div, divide(a, b))
EDGEC_BINARY_FUNCTOR(Pow, pow(a, b))
EDGEC_BINARY_FUNCTOR(Min, select(a != a, a, min(a, b)))
EDGEC_BINARY_FUNCTOR(Max, select(a != a, a, max(a, b)))
EDGEC_BINARY_FUNCTOR(PRelu, select(a < V(0), a* b, a))
EDGEC_BINARY_FUNCTOR(Equal, a == b)
EDGEC_BINARY_FUNCTOR(Less, a < b)
EDGEC_BINARY_FUNCTOR(LessEqual, a <= b)
EDGEC_BINARY_FUNCTOR(Greater, a > b)
EDGEC_BINARY_FUNCTOR(GreaterEqual, a >= b)
EDGEC_BINARY_FUNCTOR(And, (a != V(0)) & (b != V(0)))
EDGEC_BINARY_FUNCTOR(Or, (a != V(0)) | (b != V(0)))
EDGEC_BINARY_FUNCTOR(Xor, (a != V(0)) ^ (b != V(0)))
EDGEC_BINARY_FUNCTOR(BitwiseAnd, a& b)
EDGEC_BINARY_FUNCTOR(BitwiseOr, a | b)
EDGEC_BINARY_FUNCTOR(BitwiseXor, a ^ b)

// alpha 1: remainder of the truncated quotient (sign of a), else of the floored one (sign of b).
struct Mod {
  template <class V>
  EDGEC_INLINE static V apply(V a, V b, const Parameters<V>& p) {
    const V r = remainder(a, b);
    if constexpr (std::is_unsigned_v<V>)
      return r;
    else {
      const auto differs = both(r != V(0), both((r < V(0)) != (b < V(0)), p.alpha == V(0)));
      return select(differs, r + b, r);
    }
  }
};

// alpha 1: to the left. Shifting by more bits than there are, or by a negative number of bits, shifts out
// everything: 0 is left, or the sign of what is shifted to the right.
struct BitShift {
  template <class V>
  EDGEC_INLINE static V apply(V a, V b, const Parameters<V>& p) {
    const bool everything = b >= V(64) || b < V(0);
    if (p.alpha != V(0)) return everything ? V(0) : a << b;
    return everything ? (a < V(0) ? ~V(0) : V(0)) : a >> b;
  }
};

#undef EDGEC_UNARY_FUNCTOR
#undef EDGEC_BINARY_FUNCTOR

}  // namespace EDGEC_ISA_NS
}  // namespace edgec
