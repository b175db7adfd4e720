// Compiled once per ISA.
#include "kernels/activation/activation.h"
#include "kernels/simd/math.h"

namespace edgec {
namespace EDGEC_ISA_NS {
namespace {

struct Parameters {
  f32v alpha, beta, slope;
};
EDGEC_INLINE f32v zero() { return f32v(0.0f); }
EDGEC_INLINE f32v one() { return f32v(1.0f); }
EDGEC_INLINE f32v clamp01(f32v x) { return min(one(), max(zero(), x)); }

// Operand order in min and max keeps NaN (simd.h: the second operand when either is NaN).
struct none {
  EDGEC_INLINE f32v operator()(f32v x, const Parameters&) const { return x; }
};
struct relu {
  EDGEC_INLINE f32v operator()(f32v x, const Parameters&) const { return max(zero(), x); }
};
struct clip {
  EDGEC_INLINE f32v operator()(f32v x, const Parameters& p) const { return min(p.beta, max(p.alpha, x)); }
};
struct leaky_relu {
  EDGEC_INLINE f32v operator()(f32v x, const Parameters& p) const {
    return select(x < zero(), x * p.alpha, x);
  }
};
struct prelu {
  EDGEC_INLINE f32v operator()(f32v x, const Parameters& p) const {
    return select(x < zero(), x * p.slope, x);
  }
};
struct hardswish {
  EDGEC_INLINE f32v operator()(f32v x, const Parameters&) const {
    return x * clamp01(fma(x, f32v(1.0f / 6.0f), f32v(0.5f)));
  }
};
struct hardsigmoid {
  EDGEC_INLINE f32v operator()(f32v x, const Parameters& p) const { return clamp01(fma(x, p.alpha, p.beta)); }
};
struct silu {
  EDGEC_INLINE f32v operator()(f32v x, const Parameters&) const { return x / (one() + exp(-x)); }
};
struct gelu {
  EDGEC_INLINE f32v operator()(f32v x, const Parameters&) const {
    return x * f32v(0.5f) * (one() + erf(x * f32v(0.70710678f)));
  }
};
struct gelu_tanh {
  EDGEC_INLINE f32v operator()(f32v x, const Parameters&) const {
    // sqrt(2/pi) (x + 0.044715 x^3)
    const f32v u = f32v(0.79788456f) * fma(f32v(0.044715f) * x * x, x, x);
    return x * f32v(0.5f) * (one() + tanh(u));
  }
};
struct logistic {
  EDGEC_INLINE f32v operator()(f32v x, const Parameters&) const { return sigmoid(x); }
};
struct hyperbolic_tangent {
  EDGEC_INLINE f32v operator()(f32v x, const Parameters&) const { return tanh(x); }
};
struct elu {
  EDGEC_INLINE f32v operator()(f32v x, const Parameters& p) const {
    return select(x < zero(), p.alpha * expm1(x), x);
  }
};
struct soft_plus {
  EDGEC_INLINE f32v operator()(f32v x, const Parameters&) const { return softplus(x); }
};
struct mish {
  EDGEC_INLINE f32v operator()(f32v x, const Parameters&) const {
    // tanh(log(1 + e)) = (e^2 + 2e) / (e^2 + 2e + 2); it rounds to 1 long before e^2 overflows.
    const f32v e = exp(min(f32v(20.0f), x));
    const f32v n = e * (e + f32v(2.0f));
    return x * (n / (n + f32v(2.0f)));
  }
};

template <class Act>
void finish(const FinishTile& t) {
  Parameters p;
  p.slope = zero();
  p.alpha = f32v(t.alpha);
  p.beta = f32v(t.beta);
  for (int64_t i = 0; i < t.rows; ++i) {
    float* c = t.c + i * t.c_pitch;
    const float* before = t.before ? t.before + i * t.residual_pitch : nullptr;
    const float* after = t.after ? t.after + i * t.residual_pitch : nullptr;
    for_lanes<kF32>(t.columns, [&](int64_t j, auto n) {
      f32v x = load<float, kF32>(c + j, n);
      if (before) x = x + load<float, kF32>(before + j, n);
      if (t.slope) p.slope = load<float, kF32>(t.slope + j, n);
      x = Act()(x, p);
      if (after) x = x + load<float, kF32>(after + j, n);
      store(c + j, x, n);
    });
  }
}

}  // namespace

extern const ActivationKernels kActivation;
// In the order of EDGEC_ACTIVATIONS.
const ActivationKernels kActivation = {{
    finish<none>,
    finish<relu>,
    finish<clip>,
    finish<leaky_relu>,
    finish<prelu>,
    finish<hardswish>,
    finish<hardsigmoid>,
    finish<silu>,
    finish<gelu>,
    finish<gelu_tanh>,
    finish<logistic>,
    finish<hyperbolic_tangent>,
    finish<elu>,
    finish<soft_plus>,
    finish<mish>,
}};

}  // namespace EDGEC_ISA_NS
}  // namespace edgec
