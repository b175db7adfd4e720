// Compiled once per ISA. A tile is one vector of channels; along a row, several output pixels live in
// registers, so that every input vector is loaded once per kernel row and feeds up to K accumulators:
// 3x3 stride 1 with 8 outputs needs 13 loads for 24 multiply-adds where pixel by pixel needs 48.
#include <algorithm>

#include "kernels/depthwise/depthwise.h"
#include "kernels/simd/simd.h"

namespace edgec {
namespace EDGEC_ISA_NS {
namespace {

constexpr int kTile = kF32;
using FullTile = std::integral_constant<int, kTile>;
// Read instead of the columns that lie in the padding.
alignas(64) constexpr float kZeros[kTile] = {};

struct Clamp {
  f32v minimum, maximum;
  explicit Clamp(const DepthwiseRun& run) : minimum(run.minimum), maximum(run.maximum) {}
  // Operand order keeps NaN (simd.h: the second operand when either is NaN).
  EDGEC_INLINE f32v operator()(f32v x) const { return min(maximum, max(minimum, x)); }
};

// What all blocks of one row have in common.
struct RowArgs {
  const float* input;   // pixel (iy, 0) of this tile, iy possibly outside the image
  const float* packed;  // biases of this tile, then taps
  float* output;        // pixel (y, 0) of this tile
  int64_t row_step;     // elements between input rows, dilation included
  int64_t input_pitch, output_pitch, input_width;
  int64_t ky_begin, ky_end;  // taps inside the image
};

// Outputs [x, x + W) of a row for a K x K kernel with stride S and no dilation. Edge: columns may lie
// outside the image, and only `valid` outputs exist.
template <int K, int S, int W, bool Edge, class Count>
void block(const RowArgs& r, const Clamp& clamp, int64_t x, int64_t ix, int64_t valid, Count n) {
  constexpr int kColumns = (W - 1) * S + K;
  f32v sum[W];
  const f32v bias = load<float, kTile>(r.packed);
  for (int w = 0; w < W; ++w) sum[w] = bias;
  for (int64_t ky = r.ky_begin; ky < r.ky_end; ++ky) {
    const float* row = r.input + ky * r.row_step;
    const float* taps = r.packed + (1 + ky * K) * kTile;
    f32v tap[K];
    for (int kx = 0; kx < K; ++kx) tap[kx] = load<float, kTile>(taps + kx * kTile);
#pragma GCC unroll 32
    for (int i = 0; i < kColumns; ++i) {
      const float* p = row + (ix + i) * r.input_pitch;
      if constexpr (Edge)
        p = static_cast<uint64_t>(ix + i) < static_cast<uint64_t>(r.input_width) ? p : kZeros;
      const f32v value = load(p, n);
#pragma GCC unroll 8
      for (int kx = 0; kx < K; ++kx) {
        const int w = (i - kx) / S;
        if (i >= kx && (i - kx) % S == 0 && w < W) sum[w] = fma(value, tap[kx], sum[w]);
      }
    }
  }
  float* out = r.output + x * r.output_pitch;
#pragma GCC unroll 8
  for (int w = 0; w < W; ++w)
    if (!Edge || w < valid) store(out + w * r.output_pitch, clamp(sum[w]), n);
}

template <int K, int S, int W, class Count>
EDGEC_INLINE void block_anywhere(const RowArgs& r, const Clamp& clamp, int64_t x, int64_t pad_left,
                                 int64_t width, Count n) {
  const int64_t ix = x * S - pad_left, valid = std::min<int64_t>(W, width - x);
  if constexpr (std::is_same_v<Count, FullTile>) {
    if (ix >= 0 && valid == W && ix + (W - 1) * S + K <= r.input_width)
      return block<K, S, W, false>(r, clamp, x, ix, valid, n);
  }
  // The last, partial tile takes this way for all its blocks: less code, and rarely run.
  block<K, S, W, true>(r, clamp, x, ix, valid, n);
}

template <int K, int S, class Count>
void special_row(const RowArgs& r, const Clamp& clamp, const DepthwiseGeometry& g, Count n) {
  // 8 accumulators + K taps + one input fit the 16 registers of AVX2 and cover the latency of fma.
  for (int64_t x = 0; x < g.output_width;) {
    if (g.output_width - x > 4) {
      block_anywhere<K, S, 8>(r, clamp, x, g.pad_left, g.output_width, n);
      x += 8;
    } else {
      block_anywhere<K, S, 4>(r, clamp, x, g.pad_left, g.output_width, n);
      x += 4;
    }
  }
}

// W neighbouring outputs with the kernel columns [kx_begin, kx_end), which are inside for all of them.
template <int W, class Count>
void generic_block(const RowArgs& r, const Clamp& clamp, const DepthwiseGeometry& g, int64_t x,
                   int64_t kx_begin, int64_t kx_end, Count n) {
  f32v sum[W];
  const f32v bias = load<float, kTile>(r.packed);
  for (int w = 0; w < W; ++w) sum[w] = bias;
  const int64_t step = g.stride_width * r.input_pitch;
  for (int64_t ky = r.ky_begin; ky < r.ky_end; ++ky) {
    const float* row = r.input + ky * r.row_step;
    const float* taps = r.packed + (1 + ky * g.kernel_width) * kTile;
    for (int64_t kx = kx_begin; kx < kx_end; ++kx) {
      const float* p = row + (x * g.stride_width - g.pad_left + kx * g.dilation_width) * r.input_pitch;
      const f32v tap = load<float, kTile>(taps + kx * kTile);
#pragma GCC unroll 8
      for (int w = 0; w < W; ++w) sum[w] = fma(load(p + w * step, n), tap, sum[w]);
    }
  }
  float* out = r.output + x * r.output_pitch;
#pragma GCC unroll 8
  for (int w = 0; w < W; ++w) store(out + w * r.output_pitch, clamp(sum[w]), n);
}

EDGEC_INLINE int64_t ceil_div(int64_t a, int64_t b) { return a <= 0 ? -(-a / b) : (a + b - 1) / b; }

template <class Count>
void generic_row(const RowArgs& r, const Clamp& clamp, const DepthwiseGeometry& g, Count n) {
  // Outputs [inside_begin, inside_end) see the whole kernel row.
  const int64_t reach = g.input_width - (g.kernel_width - 1) * g.dilation_width + g.pad_left;
  const int64_t inside_begin = std::min(ceil_div(g.pad_left, g.stride_width), g.output_width);
  const int64_t inside_end =
      std::max(inside_begin, std::min(ceil_div(std::max<int64_t>(reach, 0), g.stride_width), g.output_width));
  for (int64_t x = 0; x < g.output_width;) {
    if (x >= inside_begin && x + 8 <= inside_end) {
      generic_block<8>(r, clamp, g, x, 0, g.kernel_width, n);
      x += 8;
      continue;
    }
    const int64_t ix = x * g.stride_width - g.pad_left;
    const int64_t kx_begin = std::min(ceil_div(std::max<int64_t>(-ix, 0), g.dilation_width), g.kernel_width);
    const int64_t kx_end =
        std::min(ceil_div(std::max<int64_t>(g.input_width - ix, 0), g.dilation_width), g.kernel_width);
    generic_block<1>(r, clamp, g, x, kx_begin, kx_end, n);
    ++x;
  }
}

template <class Count>
void rows_of_tile(const DepthwiseRun& run, const float* packed, int64_t c, int64_t begin, int64_t end,
                  Count n) {
  const DepthwiseGeometry& g = *run.geometry;
  const Clamp clamp(run);
  const bool square = g.kernel_height == g.kernel_width && g.stride_height == g.stride_width &&
                      g.dilation_height == 1 && g.dilation_width == 1;
  const int special =
      square && g.stride_width <= 2 ? static_cast<int>(g.kernel_width * 2 + g.stride_width) : 0;
  RowArgs r;
  r.packed = packed;
  r.input_pitch = run.input_pitch;
  r.output_pitch = run.output_pitch;
  r.input_width = g.input_width;
  r.row_step = g.dilation_height * g.input_width * run.input_pitch;
  for (int64_t y = begin; y < end; ++y) {
    const int64_t iy = y * g.stride_height - g.pad_top;
    r.input = run.input + c + iy * g.input_width * run.input_pitch;
    r.output = run.output + c + y * g.output_width * run.output_pitch;
    r.ky_begin = std::min(ceil_div(std::max<int64_t>(-iy, 0), g.dilation_height), g.kernel_height);
    r.ky_end =
        std::min(ceil_div(std::max<int64_t>(g.input_height - iy, 0), g.dilation_height), g.kernel_height);
    switch (special) {
      case 3 * 2 + 1:
        special_row<3, 1>(r, clamp, g, n);
        break;
      case 3 * 2 + 2:
        special_row<3, 2>(r, clamp, g, n);
        break;
      case 5 * 2 + 1:
        special_row<5, 1>(r, clamp, g, n);
        break;
      case 5 * 2 + 2:
        special_row<5, 2>(r, clamp, g, n);
        break;
      default:
        generic_row(r, clamp, g, n);
    }
  }
}

void run_f32(const DepthwiseRun& run, int64_t begin, int64_t end) {
  const DepthwiseGeometry& g = *run.geometry;
  const int64_t taps = g.kernel_height * g.kernel_width;
  // Tiles outside, rows inside: an input row is fetched into L1 once for all the outputs that use it. With
  // finish_row the band is what L2 keeps until the row is finished.
  int64_t band = end - begin;
  if (run.finish_row != nullptr) {
    const int64_t row_bytes = g.output_width * run.output_pitch * static_cast<int64_t>(sizeof(float));
    band = std::max<int64_t>(1, std::min<int64_t>(band, (128 << 10) / std::max<int64_t>(row_bytes, 1)));
  }
  for (int64_t y = begin; y < end; y += band) {
    const int64_t stop = std::min(y + band, end);
    const float* packed = run.packed;
    for (int64_t c = 0; c < g.channels; c += kTile, packed += (1 + taps) * kTile) {
      if (c + kTile <= g.channels)
        rows_of_tile(run, packed, c, y, stop, FullTile{});
      else
        rows_of_tile(run, packed, c, y, stop, g.channels - c);
    }
    if (run.finish_row == nullptr) continue;
    for (int64_t row = y; row < stop; ++row)
      run.finish_row(run.finish_context, row, run.output + row * g.output_width * run.output_pitch);
  }
}

}  // namespace

extern const DepthwiseKernels kDepthwise;
const DepthwiseKernels kDepthwise = {"depthwise_f32", kTile, run_f32};

}  // namespace EDGEC_ISA_NS
}  // namespace edgec
