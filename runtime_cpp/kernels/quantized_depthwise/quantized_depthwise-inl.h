// Compiled once per ISA. Every input column of a row of outputs is interleaved once, four kernel rows to a
// word, and serves all outputs that it reaches: a 3x3 filter is three dot4 per vector, whatever its stride
// and dilation.
#include <algorithm>

#include "kernels/quantized_depthwise/quantized_depthwise.h"
#include "kernels/simd/dot4.h"

namespace edgec {
namespace EDGEC_ISA_NS {
namespace {

// Outputs that share loaded weights; with four sums each, what the registers hold.
constexpr int kOutputs = kVectorRegisters >= 32 ? 4 : 2;

struct Block {
  const uint8_t* weights;
  f32v multiplier[4];
  i32v bias[4];
  int64_t n;  // channels
};

// Input columns [first, first + columns) of `quads` times four kernel rows, whose pixel 0 is rows[i] (rows of
// padding have no step).
void interleave_columns(const QuantizedDepthwiseRun& run, const uint8_t* const* rows, int64_t kernel_rows,
                        int64_t first, int64_t columns, int64_t n, uint32_t* buffer) {
  const int64_t width = run.geometry->input_width;
  for (int64_t i = first; i < first + columns; ++i) {
    const bool inside = static_cast<uint64_t>(i) < static_cast<uint64_t>(width);
    for (int64_t r = 0; r < kernel_rows; r += 4) {
      byte_block x[4];
#pragma GCC unroll 4
      for (int l = 0; l < 4; ++l) {
        // Weights of rows beyond the kernel are 0.
        if (l > 0 && r + l >= kernel_rows) {
          x[l] = x[0];
          continue;
        }
        const uint8_t* row = rows[r + l];
        x[l] = load_block(inside && row != run.padding ? row + i * run.input_pitch : run.padding, n);
      }
      u32v words[4];
      interleave(x[0], x[1], x[2], x[3], words);
#pragma GCC unroll 4
      for (int q = 0; q < 4; ++q) store(buffer + q * kF32, words[q]);
      buffer += 4 * kF32;
    }
  }
}

// kOutputs outputs, of which `valid` exist; column[w] begins the window of output w.
void outputs(const QuantizedDepthwiseRun& run, const Block& block, const uint32_t* const (&column)[kOutputs],
             int64_t quads, uint8_t* y, const uint8_t* residual, int valid) {
  const DepthwiseGeometry& g = *run.geometry;
  u32v sum[kOutputs][4];
#pragma GCC unroll 4
  for (int q = 0; q < 4; ++q) {
#pragma GCC unroll 4
    for (int w = 0; w < kOutputs; ++w) sum[w][q] = bit_cast<uint32_t>(block.bias[q]);
  }
  const int64_t step = quads * 4 * kF32;
  const uint8_t* weights = block.weights;
  for (int64_t kx = 0; kx < g.kernel_width; ++kx) {
    for (int64_t at = kx * g.dilation_width * step, end = at + step; at < end; at += 4 * kF32) {
#pragma GCC unroll 4
      for (int q = 0; q < 4; ++q) {
        const WeightFour weight = weight_four(bit_cast<uint32_t>(load<uint8_t, kBlock>(weights)));
        weights += kBlock;
#pragma GCC unroll 4
        for (int w = 0; w < kOutputs; ++w)
          sum[w][q] = dot4(sum[w][q], activation_four(load(column[w] + at + q * kF32)), weight);
      }
    }
  }
  const f32v low(run.rounding.low), high(run.rounding.high);
  const i32v zero(run.rounding.zero);
#pragma GCC unroll 4
  for (int w = 0; w < kOutputs; ++w) {
    if (w >= valid) break;
    f32v v[4];
#pragma GCC unroll 4
    for (int q = 0; q < 4; ++q) v[q] = convert<float>(bit_cast<int32_t>(sum[w][q])) * block.multiplier[q];
    if (residual != nullptr) {
      u32v r[4];
      const byte_block nothing(uint8_t{0});
      interleave(load_block(residual + w * run.residual_pitch, block.n) ^ byte_block(run.residual_form.flip),
                 nothing, nothing, nothing, r);
#pragma GCC unroll 4
      for (int q = 0; q < 4; ++q)
        v[q] = v[q] + convert<float>(bit_cast<int32_t>(r[q]) - i32v(run.residual_form.zero)) *
                          f32v(run.residual_multiplier);
    }
    i32v integers[4];
#pragma GCC unroll 4
    for (int q = 0; q < 4; ++q) integers[q] = nearest(min(max(v[q], low), high)) + zero;
    store_block(y + w * run.output_pitch, pack_lanes(integers) ^ byte_block(run.output_flip), block.n);
  }
}

void run_rows(const QuantizedDepthwiseRun& run, int64_t begin, int64_t end, void* scratch) {
  const DepthwiseGeometry& g = *run.geometry;
  const int64_t quads = (g.kernel_height + 3) / 4, step = quads * 4 * kF32;
  const int64_t segment = quantized_depthwise_segment(g, step * 4);
  auto** rows = static_cast<const uint8_t**>(scratch);
  auto* buffer = reinterpret_cast<uint32_t*>(static_cast<char*>(scratch) +
                                             (static_cast<size_t>(4 * quads) * sizeof(void*) + 63) / 64 * 64);
  const uint8_t* packed = run.packed;
  // Channels outside, rows inside: an input row is fetched into L1 once for all the outputs that use it.
  for (int64_t c = 0; c < g.channels; c += kBlock) {
    Block block;
    for (int q = 0; q < 4; ++q) {
      block.bias[q] = load(reinterpret_cast<const int32_t*>(packed) + q * kF32);
      block.multiplier[q] = load(reinterpret_cast<const float*>(packed) + kBlock + q * kF32);
    }
    block.weights = packed + 8 * kBlock;
    packed += (8 + 4 * quads * g.kernel_width) * kBlock;
    block.n = std::min<int64_t>(kBlock, g.channels - c);
    for (int64_t y = begin; y < end; ++y) {
      for (int64_t ky = 0; ky < g.kernel_height; ++ky) {
        const int64_t iy = y * g.stride_height - g.pad_top + ky * g.dilation_height;
        rows[ky] = static_cast<uint64_t>(iy) < static_cast<uint64_t>(g.input_height)
                       ? run.input + iy * g.input_width * run.input_pitch + c
                       : run.padding;
      }
      for (int64_t x = 0; x < g.output_width; x += segment) {
        const int64_t count = std::min(segment, g.output_width - x);
        const int64_t columns = (count - 1) * g.stride_width + (g.kernel_width - 1) * g.dilation_width + 1;
        interleave_columns(run, rows, g.kernel_height, x * g.stride_width - g.pad_left, columns, block.n,
                           buffer);
        for (int64_t i = 0; i < count; i += kOutputs) {
          const uint32_t* column[kOutputs];
          for (int w = 0; w < kOutputs; ++w)
            column[w] = buffer + std::min(i + w, count - 1) * g.stride_width * step;
          const int64_t pixel = y * g.output_width + x + i;
          outputs(run, block, column, quads, run.output + pixel * run.output_pitch + c,
                  run.residual != nullptr ? run.residual + pixel * run.residual_pitch + c : nullptr,
                  static_cast<int>(std::min<int64_t>(kOutputs, count - i)));
        }
      }
    }
  }
}

}  // namespace

extern const QuantizedDepthwiseKernels kQuantizedDepthwise;
const QuantizedDepthwiseKernels kQuantizedDepthwise = {
    kExcess != 0 ? "depthwise_u8s8s32" : "depthwise_s8s8s32", kBlock, run_rows};

}  // namespace EDGEC_ISA_NS
}  // namespace edgec
