// Compiled once per ISA.
#include "kernels/resize/resize.h"
#include "kernels/simd/simd.h"

namespace edgec {
namespace EDGEC_ISA_NS {
namespace {

// y[i] = sum over taps of w[t] * x[index[t] * step + i]. Taps > 0: unrolled.
template <int Taps>
EDGEC_INLINE void combine(const float* x, float* y, int64_t step, int64_t n, int taps, const int32_t* index,
                          const float* w) {
  if constexpr (Taps > 0) {
    const float* row[Taps];
    f32v weight[Taps];
    for (int t = 0; t < Taps; ++t) {
      row[t] = x + index[t] * step;
      weight[t] = f32v(w[t]);
    }
    for_lanes<kF32>(n, [&](int64_t i, auto m) {
      f32v sum = load(row[0] + i, m) * weight[0];
      for (int t = 1; t < Taps; ++t) sum = fma(load(row[t] + i, m), weight[t], sum);
      store(y + i, sum, m);
    });
  } else {
    for_lanes<kF32>(n, [&](int64_t i, auto m) {
      f32v sum = load(x + index[0] * step + i, m) * f32v(w[0]);
      for (int t = 1; t < taps; ++t) sum = fma(load(x + index[t] * step + i, m), f32v(w[t]), sum);
      store(y + i, sum, m);
    });
  }
}

template <int Taps>
void outputs(const ResizePass& p, int64_t begin, int64_t end) {
  const int taps = Taps > 0 ? Taps : p.taps;
  for (int64_t o = begin; o < end; ++o) {
    const int32_t* index = p.indices + o * taps;
    const float* w = p.weights + o * taps;
    for (int64_t b = 0; b < p.blocks; ++b) {
      float* y = p.y + o * p.y_step + b * p.y_block;
      if (p.outside != nullptr && p.outside[o] != 0) {
        for (int64_t i = 0; i < p.n; ++i) y[i] = p.extrapolation;
        continue;
      }
      const float* x = p.x + b * p.x_block;
      if (p.n == 1) {
        // Through fma as in the vectors, so that a pixel's bits do not depend on how it is reached.
        using V = vec<float, 4>;
        V sum(x[index[0] * p.x_step] * w[0]);
        for (int t = 1; t < taps; ++t) sum = fma(V(x[index[t] * p.x_step]), V(w[t]), sum);
        y[0] = sum[0];
      } else {
        combine<Taps>(x, y, p.x_step, p.n, taps, index, w);
      }
    }
  }
}

void interpolate(const ResizePass& pass, int64_t begin, int64_t end) {
  switch (pass.taps) {
    case 2:
      return outputs<2>(pass, begin, end);
    case 4:
      return outputs<4>(pass, begin, end);
    default:
      return outputs<0>(pass, begin, end);
  }
}

}  // namespace

extern const ResizeKernels kResize;
const ResizeKernels kResize = {interpolate};

}  // namespace EDGEC_ISA_NS
}  // namespace edgec
