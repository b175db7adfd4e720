// f32 kernels of elementwise.def for one instruction set.
#include "kernels/elementwise/elementwise.h"
#include "kernels/simd/math.h"
#include "kernels/simd/simd.h"

namespace edgec {
namespace EDGEC_ISA_NS {

template <int N>
EDGEC_INLINE vec<float, N> negate(vec<float, N> x) {
  return -x;
}
template <int N>
EDGEC_INLINE vec<float, N> divide(vec<float, N> a, vec<float, N> b) {
  return a / b;
}
template <int N>
EDGEC_INLINE vec<int32_t, N> both(vec<int32_t, N> a, vec<int32_t, N> b) {
  return a & b;
}
// Functions that are too rare in networks to deserve a vector version: the C library, lane by lane. Not
// inlined, because the compiler would unroll the calls at every place.
#define EDGEC_LANES(name)                                             \
  template <int N>                                                    \
  [[gnu::noinline]] vec<float, N> name(vec<float, N> x) {             \
    for (int i = 0; i < N; ++i) x.v[i] = __builtin_##name##f(x.v[i]); \
    return x;                                                         \
  }
EDGEC_LANES(sin)
EDGEC_LANES(cos)
EDGEC_LANES(tan)
EDGEC_LANES(asin)
EDGEC_LANES(acos)
EDGEC_LANES(atan)
EDGEC_LANES(sinh)
EDGEC_LANES(cosh)
EDGEC_LANES(asinh)
EDGEC_LANES(acosh)
EDGEC_LANES(atanh)
#undef EDGEC_LANES
template <int N>
[[gnu::noinline]] vec<float, N> remainder(vec<float, N> a, vec<float, N> b) {
  for (int i = 0; i < N; ++i) a.v[i] = __builtin_fmodf(a.v[i], b.v[i]);
  return a;
}
template <int N>
[[gnu::noinline]] vec<float, N> pow(vec<float, N> a, vec<float, N> b) {
  for (int i = 0; i < N; ++i) a.v[i] = __builtin_powf(a.v[i], b.v[i]);
  return a;
}

}  // namespace EDGEC_ISA_NS
}  // namespace edgec

#include "kernels/elementwise/functors.h"

namespace edgec {
namespace EDGEC_ISA_NS {
namespace {

// A result that is a mask is stored as bool.
template <class Length>
EDGEC_INLINE void put(void* y, int64_t i, f32v value, Length n) {
  store(static_cast<float*>(y) + i, value, n);
}
template <class Length>
EDGEC_INLINE void put(void* y, int64_t i, i32v mask, Length n) {
  store(static_cast<uint8_t*>(y) + i, convert<uint8_t>(mask & i32v(1)), n);
}
template <class F>
using binary_result = decltype(F::apply(f32v(), f32v(), Parameters<f32v>()));
template <class F>
inline constexpr size_t result_bytes = std::is_same_v<binary_result<F>, i32v> ? 1 : sizeof(float);

EDGEC_INLINE Parameters<f32v> parameters(const ElementwiseArgs& s) {
  return {f32v(static_cast<float>(s.alpha)), f32v(static_cast<float>(s.beta))};
}

// -- rows of a few elements -------------------------------------------------------------------------
// A quarter of a vector per row would waste the others: the rows are gathered into one long row. Copies of
// constant size are single moves.
constexpr int64_t kFewColumns = 8;

template <int columns>
EDGEC_INLINE void gather_rows(const float* from, int step, int64_t plane, int64_t row, int64_t rows,
                              int64_t first, int64_t count, float* to) {
  int64_t p = first / rows, r = first % rows;
  for (int64_t i = 0; i < count; ++i, to += columns) {
    const float* at = from + p * plane + r * row;
    if (step != 0)
      std::memcpy(to, at, columns * sizeof(float));
    else
      for (int c = 0; c < columns; ++c) to[c] = *at;
    if (++r == rows) {
      r = 0;
      ++p;
    }
  }
}

template <int columns>
void run_gathered(const ElementwiseArgs& s, ElementwiseKernel kernel) {
  constexpr int64_t kRows = 512 / columns;
  float a[kRows * columns], b[kRows * columns], y[kRows * columns];
  const int64_t total = s.planes * s.rows;
  const auto dense = [&](int64_t plane, int64_t row, int step) {
    return step == 1 && row == columns && (s.planes == 1 || plane == s.rows * columns);
  };
  const bool dense_a = dense(s.a_plane, s.a_row, s.a_step), dense_y = dense(s.y_plane, s.y_row, 1);
  const bool dense_b = s.b == nullptr || dense(s.b_plane, s.b_row, s.b_step);
  ElementwiseArgs block;
  block.alpha = s.alpha;
  block.beta = s.beta;
  for (int64_t first = 0; first < total; first += kRows) {
    const int64_t count = first + kRows < total ? kRows : total - first;
    const float *from_a = static_cast<const float*>(s.a), *from_b = static_cast<const float*>(s.b);
    float* to = static_cast<float*>(s.y);
    if (!dense_a) gather_rows<columns>(from_a, s.a_step, s.a_plane, s.a_row, s.rows, first, count, a);
    if (!dense_b) gather_rows<columns>(from_b, s.b_step, s.b_plane, s.b_row, s.rows, first, count, b);
    block.columns = count * columns;
    block.a = dense_a ? from_a + first * columns : a;
    block.b = s.b == nullptr ? nullptr : dense_b ? from_b + first * columns : b;
    block.y = dense_y ? to + first * columns : y;
    kernel(block);
    if (dense_y) continue;
    int64_t p = first / s.rows, r = first % s.rows;
    for (int64_t i = 0; i < count; ++i) {
      std::memcpy(to + p * s.y_plane + r * s.y_row, y + i * columns, columns * sizeof(float));
      if (++r == s.rows) {
        r = 0;
        ++p;
      }
    }
  }
}

bool gathers(const ElementwiseArgs& s) {
  return s.columns <= kFewColumns && s.columns > 0 && s.planes * s.rows >= 4;
}

void gather_and_run(const ElementwiseArgs& s, ElementwiseKernel kernel) {
  switch (s.columns) {
    case 1:
      return run_gathered<1>(s, kernel);
    case 2:
      return run_gathered<2>(s, kernel);
    case 3:
      return run_gathered<3>(s, kernel);
    case 4:
      return run_gathered<4>(s, kernel);
    case 5:
      return run_gathered<5>(s, kernel);
    case 6:
      return run_gathered<6>(s, kernel);
    case 7:
      return run_gathered<7>(s, kernel);
    default:
      return run_gathered<8>(s, kernel);
  }
}

// -- unary --------------------------------------------------------------------------------------------

template <class F>
inline constexpr bool yields_mask = std::is_same_v<decltype(F::apply(f32v(), Parameters<f32v>())), i32v>;

template <class F>
[[gnu::noinline]] void unary_rows(const ElementwiseArgs& s) {
  const Parameters<f32v> p = parameters(s);
  constexpr size_t y_bytes = yields_mask<F> ? 1 : sizeof(float);
  for (int64_t r = 0; r < s.rows; ++r) {
    const float* x = static_cast<const float*>(s.a) + r * s.a_row;
    void* y = static_cast<char*>(s.y) + static_cast<size_t>(r * s.y_row) * y_bytes;
    for_lanes<kF32>(s.columns, [&](int64_t i, auto n) { put(y, i, F::apply(load(x + i, n), p), n); });
  }
}
template <>
[[gnu::noinline]] void unary_rows<Gelu>(const ElementwiseArgs& s) {
  const Parameters<f32v> p = parameters(s);
  for (int64_t r = 0; r < s.rows; ++r) {
    const float* x = static_cast<const float*>(s.a) + r * s.a_row;
    float* y = static_cast<float*>(s.y) + r * s.y_row;
    if (s.alpha != 0)
      for_lanes<kF32>(s.columns,
                      [&](int64_t i, auto n) { put(y, i, GeluTanh::apply(load(x + i, n), p), n); });
    else
      for_lanes<kF32>(s.columns, [&](int64_t i, auto n) { put(y, i, Gelu::apply(load(x + i, n), p), n); });
  }
}
template <class F>
void unary(const ElementwiseArgs& s) {
  constexpr size_t y_bytes = yields_mask<F> ? 1 : sizeof(float);
  if (!yields_mask<F> && gathers(s)) return gather_and_run(s, unary_rows<F>);
  for_planes(s, sizeof(float), 0, y_bytes, unary_rows<F>);
}

// -- binary -------------------------------------------------------------------------------------------

template <class F>
[[gnu::noinline]] void binary_rows(const ElementwiseArgs& s) {
  const Parameters<f32v> p = parameters(s);
  for (int64_t r = 0; r < s.rows; ++r) {
    const float* a = static_cast<const float*>(s.a) + r * s.a_row;
    const float* b = static_cast<const float*>(s.b) + r * s.b_row;
    void* y = static_cast<char*>(s.y) + static_cast<size_t>(r * s.y_row) * result_bytes<F>;
    if (s.b_step == 0) {
      const f32v fixed(*b);
      for_lanes<kF32>(s.columns,
                      [&](int64_t i, auto n) { put(y, i, F::apply(load(a + i, n), fixed, p), n); });
    } else if (s.a_step == 0) {
      const f32v fixed(*a);
      for_lanes<kF32>(s.columns,
                      [&](int64_t i, auto n) { put(y, i, F::apply(fixed, load(b + i, n), p), n); });
    } else {
      for_lanes<kF32>(s.columns,
                      [&](int64_t i, auto n) { put(y, i, F::apply(load(a + i, n), load(b + i, n), p), n); });
    }
  }
}

// A vector of few channels added to many pixels: the vector is repeated until it fills registers, and
// that many dense rows become one.
template <class F>
[[gnu::noinline]] void binary_plane(const ElementwiseArgs& s) {
  constexpr int64_t kPattern = 8 * kF32;
  const bool dense_y = s.y_row == s.columns && s.a_step == 1 && s.b_step == 1;
  const bool repeat_b = dense_y && s.a_row == s.columns && s.b_row == 0;
  const bool repeat_a = dense_y && s.b_row == s.columns && s.a_row == 0;
  const int64_t repeats = s.columns > 0 ? kPattern / s.columns : 0;
  if (!(repeat_a || repeat_b) || repeats < 2 || s.rows < repeats) {
    binary_rows<F>(s);
    return;
  }
  float pattern[kPattern];
  const float* once = static_cast<const float*>(repeat_b ? s.b : s.a);
  for (int64_t i = 0; i < repeats; ++i)
    std::memcpy(pattern + i * s.columns, once, static_cast<size_t>(s.columns) * sizeof(float));
  ElementwiseArgs wide = s;
  (repeat_b ? wide.b : wide.a) = pattern;
  wide.rows = s.rows / repeats;
  wide.columns = s.columns * repeats;
  wide.y_row = wide.columns;
  (repeat_b ? wide.a_row : wide.b_row) = wide.columns;
  binary_rows<F>(wide);
  const int64_t done = wide.rows * repeats * s.columns;
  ElementwiseArgs rest = wide;
  rest.rows = 1;
  rest.columns = s.rows * s.columns - done;
  (repeat_b ? rest.a : rest.b) = static_cast<const float*>(repeat_b ? s.a : s.b) + done;
  rest.y = static_cast<char*>(s.y) + static_cast<size_t>(done) * result_bytes<F>;
  binary_rows<F>(rest);
}

// Networks square, cube and take roots; only other exponents need the general function.
struct Square {
  template <class V>
  EDGEC_INLINE static V apply(V a, V, const Parameters<V>&) {
    return a * a;
  }
};
struct Cube {
  template <class V>
  EDGEC_INLINE static V apply(V a, V, const Parameters<V>&) {
    return a * a * a;
  }
};
struct Root {
  template <class V>
  EDGEC_INLINE static V apply(V a, V, const Parameters<V>&) {
    const V infinity(__builtin_inff());
    return select(a == -infinity, infinity, sqrt(a + V(0)));  // pow(-0, 1/2) is +0
  }
};
template <>
[[gnu::noinline]] void binary_plane<Pow>(const ElementwiseArgs& s) {
  if (s.b_step == 0 && s.b_row == 0) {
    const float exponent = *static_cast<const float*>(s.b);
    if (exponent == 2.0f) return binary_rows<Square>(s);
    if (exponent == 3.0f) return binary_rows<Cube>(s);
    if (exponent == 0.5f) return binary_rows<Root>(s);
  }
  binary_rows<Pow>(s);
}

template <class F>
void binary(const ElementwiseArgs& s) {
  // One row for all rows is the repeated pattern of binary_plane, which copies nothing else.
  const bool pattern = s.planes == 1 && (s.a_row == 0 || s.b_row == 0);
  const bool constant_exponent = std::is_same_v<F, Pow> && s.b_step == 0;
  if (result_bytes<F> != 1 && !pattern && !constant_exponent && gathers(s))
    return gather_and_run(s, binary_rows<F>);
  for_planes(s, sizeof(float), sizeof(float), result_bytes<F>, binary_plane<F>);
}

template <class F, unsigned types>
constexpr ElementwiseKernel unary_kernel() {
  if constexpr ((types & kFloats) != 0)
    return unary<F>;
  else
    return nullptr;
}
template <class F, unsigned types>
constexpr ElementwiseKernel binary_kernel() {
  if constexpr ((types & kFloats) != 0)
    return binary<F>;
  else
    return nullptr;
}

}  // namespace

extern const ElementwiseKernels elementwise_f32 = {{
#define EDGEC_UNARY(op, types, ...) unary_kernel<op, (types)>(),
#include "kernels/elementwise/elementwise.def"
                                                   },
                                                   {
#define EDGEC_BINARY(op, types, ...) binary_kernel<op, (types)>(),
#include "kernels/elementwise/elementwise.def"
                                                   }};

}  // namespace EDGEC_ISA_NS
}  // namespace edgec
