// Compiled once per ISA.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/reduce/reduce.h"
#include "kernels/simd/math.h"
#include "kernels/simd/simd.h"

namespace edgec {
namespace EDGEC_ISA_NS {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
using i32v_lanes = vec<int32_t, kF32>;

// True in the first n lanes.
EDGEC_INLINE i32v_lanes first_lanes(int64_t n) {
  alignas(64) static constexpr struct Window {
    int32_t v[2 * kF32];
    constexpr Window() : v() {
      for (int i = 0; i < kF32; ++i) v[i] = -1;
    }
  } kWindow;
  return load<int32_t, kF32>(kWindow.v + kF32 - n);
}
// Lanes beyond n replaced by `fill`; free in the main loop, where n is a constant.
EDGEC_INLINE f32v keep(f32v x, int64_t n, f32v fill) { return select(first_lanes(n), x, fill); }
EDGEC_INLINE f32v keep(f32v x, std::integral_constant<int, kF32>, f32v) { return x; }

struct Sum {
  static constexpr float kStart = 0;
  EDGEC_INLINE static f32v map(f32v x, f32v) { return x; }
  template <int N>
  EDGEC_INLINE static vec<float, N> combine(vec<float, N> a, vec<float, N> b) {
    return a + b;
  }
};
struct SumAbs : Sum {
  EDGEC_INLINE static f32v map(f32v x, f32v) { return abs(x); }
};
struct SumSquare : Sum {
  EDGEC_INLINE static f32v map(f32v x, f32v) { return x * x; }
};
struct SumExp : Sum {
  EDGEC_INLINE static f32v map(f32v x, f32v shift) { return exp(x - shift); }
};
struct SumCenteredSquare : Sum {
  EDGEC_INLINE static f32v map(f32v x, f32v shift) {
    const f32v d = x - shift;
    return d * d;
  }
};
struct Product {
  static constexpr float kStart = 1;
  EDGEC_INLINE static f32v map(f32v x, f32v) { return x; }
  template <int N>
  EDGEC_INLINE static vec<float, N> combine(vec<float, N> a, vec<float, N> b) {
    return a * b;
  }
};
struct Max {
  static constexpr float kStart = -kInfinity;
  EDGEC_INLINE static f32v map(f32v x, f32v) { return x; }
  template <int N>
  EDGEC_INLINE static vec<float, N> combine(vec<float, N> a, vec<float, N> b) {
    return select((b > a) | (b != b), b, a);
  }
};
struct Min {
  static constexpr float kStart = kInfinity;
  EDGEC_INLINE static f32v map(f32v x, f32v) { return x; }
  template <int N>
  EDGEC_INLINE static vec<float, N> combine(vec<float, N> a, vec<float, N> b) {
    return select((b < a) | (b != b), b, a);
  }
};

// A fixed tree over the lanes.
template <class Op, int N>
EDGEC_INLINE float across(vec<float, N> a) {
  if constexpr (N == 1)
    return a.v[0];
  else
    return across<Op>(Op::combine(low(a), high(a)));
}
EDGEC_INLINE double combine_scalar(double a, double b, Sum) { return a + b; }
EDGEC_INLINE double combine_scalar(double a, double b, Product) { return a * b; }
EDGEC_INLINE double combine_scalar(double a, double b, Max) { return b > a || b != b ? b : a; }
EDGEC_INLINE double combine_scalar(double a, double b, Min) { return b < a || b != b ? b : a; }

template <class Op>
double reduce_row(const float* x, int64_t n, float shift_value) {
  // 4 accumulators hide the latency; after 32 additions each goes to double precision.
  constexpr int kUnroll = 4;
  constexpr int64_t kBlock = 32 * kUnroll * kF32;
  const f32v shift(shift_value), start(Op::kStart);
  double total = Op::kStart;
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t count = std::min(kBlock, n - begin);
    const float* p = x + begin;
    f32v a[kUnroll];
    for (int k = 0; k < kUnroll; ++k) a[k] = start;
    int64_t i = 0;
    for (; i + kUnroll * kF32 <= count; i += kUnroll * kF32)
      for (int k = 0; k < kUnroll; ++k)
        a[k] = Op::combine(a[k], Op::map(load<float>(p + i + k * kF32), shift));
    for_lanes<kF32>(count - i, [&](int64_t j, auto m) {
      a[0] = Op::combine(a[0], keep(Op::map(load(p + i + j, m), shift), m, start));
    });
    const f32v sum = Op::combine(Op::combine(a[0], a[1]), Op::combine(a[2], a[3]));
    total = combine_scalar(total, across<Op>(sum), Op{});
  }
  return total;
}

template <class Op>
void reduce_columns(const float* x, int64_t rows, int64_t stride, int64_t columns, const float* shift,
                    float* out) {
  constexpr int kChunk = 4;
  int64_t c = 0;
  for (; c + kChunk * kF32 <= columns; c += kChunk * kF32) {
    f32v a[kChunk], s[kChunk];
    for (int k = 0; k < kChunk; ++k) {
      a[k] = f32v(Op::kStart);
      s[k] = shift == nullptr ? f32v(0.0f) : load<float>(shift + c + k * kF32);
    }
    const float* p = x + c;
    for (int64_t r = 0; r < rows; ++r, p += stride)
      for (int k = 0; k < kChunk; ++k) a[k] = Op::combine(a[k], Op::map(load<float>(p + k * kF32), s[k]));
    for (int k = 0; k < kChunk; ++k) store(out + c + k * kF32, a[k]);
  }
  for_lanes<kF32>(columns - c, [&](int64_t j, auto m) {
    f32v a(Op::kStart);
    const f32v s = shift == nullptr ? f32v(0.0f) : load(shift + c + j, m);
    const float* p = x + c + j;
    for (int64_t r = 0; r < rows; ++r, p += stride) a = Op::combine(a, Op::map(load(p, m), s));
    store(out + c + j, a, m);
  });
}

double row(Reduction reduction, const float* x, int64_t n, float shift) {
  switch (reduction) {
    case Reduction::kSum:
      return reduce_row<Sum>(x, n, shift);
    case Reduction::kSumAbs:
      return reduce_row<SumAbs>(x, n, shift);
    case Reduction::kSumSquare:
      return reduce_row<SumSquare>(x, n, shift);
    case Reduction::kSumExp:
      return reduce_row<SumExp>(x, n, shift);
    case Reduction::kSumCenteredSquare:
      return reduce_row<SumCenteredSquare>(x, n, shift);
    case Reduction::kProduct:
      return reduce_row<Product>(x, n, shift);
    case Reduction::kMax:
      return reduce_row<Max>(x, n, shift);
    case Reduction::kMin:
      return reduce_row<Min>(x, n, shift);
  }
  return 0;
}

void columns(Reduction reduction, const float* x, int64_t rows, int64_t stride, int64_t n, const float* shift,
             float* out) {
  switch (reduction) {
    case Reduction::kSum:
      return reduce_columns<Sum>(x, rows, stride, n, shift, out);
    case Reduction::kSumAbs:
      return reduce_columns<SumAbs>(x, rows, stride, n, shift, out);
    case Reduction::kSumSquare:
      return reduce_columns<SumSquare>(x, rows, stride, n, shift, out);
    case Reduction::kSumExp:
      return reduce_columns<SumExp>(x, rows, stride, n, shift, out);
    case Reduction::kSumCenteredSquare:
      return reduce_columns<SumCenteredSquare>(x, rows, stride, n, shift, out);
    case Reduction::kProduct:
      return reduce_columns<Product>(x, rows, stride, n, shift, out);
    case Reduction::kMax:
      return reduce_columns<Max>(x, rows, stride, n, shift, out);
    case Reduction::kMin:
      return reduce_columns<Min>(x, rows, stride, n, shift, out);
  }
}

int64_t arg_row(const float* x, int64_t n, bool largest, bool last) {
  const double best = largest ? reduce_row<Max>(x, n, 0) : reduce_row<Min>(x, n, 0);
  const float wanted = static_cast<float>(best);
  const bool nan = wanted != wanted;
  const auto matches = [&](float v) { return nan ? v != v : v == wanted; };
  if (last) {
    int64_t i = n - 1;
    while (i > 0 && !matches(x[i])) --i;
    return i;
  }
  int64_t i = 0;
  while (i < n - 1 && !matches(x[i])) ++i;
  return i;
}

}  // namespace
}  // namespace EDGEC_ISA_NS
}  // namespace edgec

#include "kernels/reduce/normalize-inl.h"
#include "kernels/reduce/softmax-inl.h"

namespace edgec {
namespace EDGEC_ISA_NS {

extern const ReduceKernels kReduce;
const ReduceKernels kReduce = {
    row, columns, softmax_rows, softmax_columns, layer_norm_rows, affine_rows, local_response_rows, arg_row};

}  // namespace EDGEC_ISA_NS
}  // namespace edgec
