// Compiled once per ISA. The transforms of winograd.h, channels in the lanes.
#include "kernels/simd/simd.h"
#include "kernels/winograd/winograd.h"

namespace edgec {
namespace EDGEC_ISA_NS {
namespace {

constexpr float kA = 1.41421356237309505f, kB = 0.70710678118654752f;  // the points; kA kB = 1

// B^T d: rows are the polynomials that vanish at all points but one.
EDGEC_INLINE void input_transform(const f32v (&d)[6], f32v (&t)[6]) {
  const f32v sum(-2.5f), minus_half(-0.5f), minus_two(-2.0f), a(kA), b(kB);
  t[0] = fma(sum, d[2], d[0] + d[4]);
  const f32v even_a = fma(minus_half, d[2], d[4]), odd_a = fma(a, d[3], -(b * d[1]));
  t[1] = even_a + odd_a;
  t[2] = even_a - odd_a;
  const f32v even_b = fma(minus_two, d[2], d[4]), odd_b = fma(b, d[3], -(a * d[1]));
  t[3] = even_b + odd_b;
  t[4] = even_b - odd_b;
  t[5] = fma(sum, d[3], d[1] + d[5]);
}

// A^T m: powers of the points.
EDGEC_INLINE void output_transform(const f32v (&m)[6], f32v (&y)[4]) {
  const f32v a(kA), b(kB), two(2.0f), half(0.5f), a3(2 * kA), b3(0.5f * kB);
  const f32v sum_a = m[1] + m[2], sum_b = m[3] + m[4], difference_a = m[1] - m[2], difference_b = m[3] - m[4];
  y[0] = m[0] + sum_a + sum_b;
  y[1] = fma(a, difference_a, b * difference_b);
  y[2] = fma(two, sum_a, half * sum_b);
  y[3] = fma(a3, difference_a, fma(b3, difference_b, m[5]));
}

// G g: the points' powers over the derivative of the polynomial through all points.
EDGEC_INLINE void filter_transform(const f32v (&g)[3], f32v (&u)[6]) {
  const f32v sixth(1.0f / 6), third_a(kA / 6), third(2.0f / 6);
  const f32v two_thirds(-1.0f / 1.5f), two_thirds_b(-kB / 1.5f), minus_third(-0.5f / 1.5f);
  u[0] = g[0];
  const f32v even_a = fma(third, g[2], sixth * g[0]), odd_a = third_a * g[1];
  u[1] = even_a + odd_a;
  u[2] = even_a - odd_a;
  const f32v even_b = fma(minus_third, g[2], two_thirds * g[0]), odd_b = two_thirds_b * g[1];
  u[3] = even_b + odd_b;
  u[4] = even_b - odd_b;
  u[5] = g[2];
}

void input(const WinogradInput& in) {
  for_lanes<kF32>(in.channels, [&](int64_t c, auto n) {
    f32v t[6][6];
#pragma GCC unroll 6
    for (int j = 0; j < 6; ++j) {
      f32v d[6], column[6];
#pragma GCC unroll 6
      for (int i = 0; i < 6; ++i) d[i] = load<float, kF32>(in.pixels + i * in.row + j * in.pixel + c, n);
      input_transform(d, column);
#pragma GCC unroll 6
      for (int i = 0; i < 6; ++i) t[i][j] = column[i];
    }
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i) {
      f32v row[6];
      input_transform(t[i], row);
#pragma GCC unroll 6
      for (int j = 0; j < 6; ++j) store(in.v + (i * 6 + j) * in.point + c, row[j], n);
    }
  });
}

void output(const WinogradOutput& out) {
  const f32v minimum(out.minimum), maximum(out.maximum);
  for_lanes<kF32>(out.channels, [&](int64_t c, auto n) {
    f32v t[4][6];
#pragma GCC unroll 6
    for (int j = 0; j < 6; ++j) {
      f32v m[6], column[4];
#pragma GCC unroll 6
      for (int i = 0; i < 6; ++i) m[i] = load<float, kF32>(out.m + (i * 6 + j) * out.point + c, n);
      output_transform(m, column);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) t[i][j] = column[i];
    }
    const f32v bias = out.bias != nullptr ? load<float, kF32>(out.bias + c, n) : f32v(0.0f);
    for (int64_t i = 0; i < out.rows; ++i) {
      f32v y[4];
      output_transform(t[i], y);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        if (j >= out.columns) break;
        f32v value = y[j] + bias;
        if (out.residual != nullptr)
          value =
              value + load<float, kF32>(out.residual + i * out.residual_row + j * out.residual_pixel + c, n);
        // Operand order keeps NaN (simd.h: the second operand when either is NaN).
        store(out.c + i * out.row + j * out.pixel + c, min(maximum, max(minimum, value)), n);
      }
    }
  });
}

void filter(const float* weight, int64_t channels, float* u, int64_t point) {
  for_lanes<kF32>(channels, [&](int64_t c, auto n) {
    f32v t[6][3];
    for (int j = 0; j < 3; ++j) {
      f32v g[3], column[6];
      for (int i = 0; i < 3; ++i) g[i] = load<float, kF32>(weight + (i * 3 + j) * channels + c, n);
      filter_transform(g, column);
      for (int i = 0; i < 6; ++i) t[i][j] = column[i];
    }
    for (int i = 0; i < 6; ++i) {
      f32v row[6];
      filter_transform(t[i], row);
      for (int j = 0; j < 6; ++j) store(u + (i * 6 + j) * point + c, row[j], n);
    }
  });
}

#define EDGEC_WINOGRAD_TEXT2(x) #x
#define EDGEC_WINOGRAD_TEXT(x) EDGEC_WINOGRAD_TEXT2(x)

}  // namespace

extern const WinogradKernels kWinograd;
const WinogradKernels kWinograd = {"winograd_f32_4x4_3x3_" EDGEC_WINOGRAD_TEXT(EDGEC_ISA_NS), input, output,
                                   filter};

}  // namespace EDGEC_ISA_NS
}  // namespace edgec
