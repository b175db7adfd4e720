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
  ByteResult result;
};

// Input columns [first, first + columns): a word of four kernel rows for each channel, quad after quad.
void interleave_columns(const QuantizedDepthwiseRun& run, const uint8_t* const* rows, int64_t quads,
                        int64_t first, int64_t columns, int64_t n, uint32_t* buffer) {
  const int64_t width = run.geometry->input_width, step = quads * kBlock;
  const int64_t begin = std::clamp<int64_t>(-first, 0, columns),
                end = std::clamp<int64_t>(width - first, begin, columns);
  const u32v outside(*run.padding * 0x01010101u);
  const auto pad = [&](int64_t from, int64_t to) {
    for (uint32_t* p = buffer + from * step; p < buffer + to * step; p += kF32) store(p, outside);
  };
  pad(0, begin);
  pad(end, columns);
  for (int64_t quad = 0; quad < quads; ++quad) {
    const uint8_t* x[4];
    int64_t pitch[4];
    for (int l = 0; l < 4; ++l) {
      const bool padded = rows[4 * quad + l] == nullptr;
      x[l] = padded ? run.padding : rows[4 * quad + l] + (first + begin) * run.input_pitch;
      pitch[l] = padded ? 0 : run.input_pitch;
    }
    uint32_t* out = buffer + begin * step + quad * kBlock;
    for (int64_t i = begin; i < end; ++i, out += step) {
      byte_block row[4];
#pragma GCC unroll 4
      for (int l = 0; l < 4; ++l) {
        row[l] = load_block(x[l], n);
        x[l] += pitch[l];
      }
      u32v words[4];
      interleave(row[0], row[1], row[2], row[3], words);
#pragma GCC unroll 4
      for (int q = 0; q < 4; ++q) store(out + q * kF32, words[q]);
    }
  }
}

// One output pixel from its sums.
EDGEC_INLINE void store_output(const QuantizedDepthwiseRun& run, const Block& block, const u32v (&sum)[4],
                               uint8_t* y, const uint8_t* residual) {
  f32v v[4];
#pragma GCC unroll 4
  for (int q = 0; q < 4; ++q) v[q] = convert<float>(bit_cast<int32_t>(sum[q])) * block.multiplier[q];
  if (residual != nullptr) {
    u32v r[4];
    const byte_block nothing(uint8_t{0});
    interleave(load_block(residual, block.n) ^ byte_block(run.residual_form.flip), nothing, nothing, nothing,
               r);
#pragma GCC unroll 4
    for (int q = 0; q < 4; ++q)
      v[q] = v[q] + convert<float>(bit_cast<int32_t>(r[q]) - i32v(run.residual_form.zero)) *
                        f32v(run.residual_multiplier);
  }
  store_block(y, block.result(v) ^ byte_block(run.output_flip), block.n);
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
  alignas(64) uint32_t sums[kOutputs][kBlock];
#pragma GCC unroll 4
  for (int w = 0; w < kOutputs; ++w) {
#pragma GCC unroll 4
    for (int q = 0; q < 4; ++q) store(sums[w] + q * kF32, sum[w][q]);
  }
#pragma GCC unroll 1
  for (int w = 0; w < valid; ++w) {
    u32v done[4];
#pragma GCC unroll 4
    for (int q = 0; q < 4; ++q) done[q] = load(sums[w] + q * kF32);
    store_output(run, block, done, y + w * run.output_pitch,
                 residual != nullptr ? residual + w * run.residual_pitch : nullptr);
  }
}

// Rows of a kernel three wide and at most four high, without dilation across: columns are interleaved in
// registers and added to the outputs that are under way, one for each stride up to the kernel's width.
template <int Stride>
void narrow_row(const QuantizedDepthwiseRun& run, const Block& block, const uint8_t* const* rows, uint8_t* y,
                const uint8_t* residual) {
  const DepthwiseGeometry& g = *run.geometry;
  const uint8_t* x[4];
  int64_t pitch[4];
  for (int l = 0; l < 4; ++l) {
    x[l] = rows[l] == nullptr ? run.padding : rows[l];
    pitch[l] = rows[l] == nullptr ? 0 : run.input_pitch;
  }
  WeightFour weight[3][4];
#pragma GCC unroll 3
  for (int kx = 0; kx < 3; ++kx) {
#pragma GCC unroll 4
    for (int q = 0; q < 4; ++q)
      weight[kx][q] =
          weight_four(bit_cast<uint32_t>(load<uint8_t, kBlock>(block.weights + (kx * 4 + q) * kBlock)));
  }
  u32v bias[4], older[4], newer[4], column[4];
#pragma GCC unroll 4
  for (int q = 0; q < 4; ++q) older[q] = newer[q] = bias[q] = bit_cast<uint32_t>(block.bias[q]);
  const u32v outside(*run.padding * 0x01010101u);
  const int64_t columns = (g.output_width - 1) * Stride + 3;
  for (int64_t c = 0; c < columns; ++c) {
    if (static_cast<uint64_t>(c - g.pad_left) < static_cast<uint64_t>(g.input_width)) {
      byte_block row[4];
#pragma GCC unroll 4
      for (int l = 0; l < 4; ++l) {
        row[l] = load_block(x[l], block.n);
        x[l] += pitch[l];
      }
      interleave(row[0], row[1], row[2], row[3], column);
    } else {
#pragma GCC unroll 4
      for (int q = 0; q < 4; ++q) column[q] = outside;
    }
    if (Stride == 2 && c % 2 != 0) {
#pragma GCC unroll 4
      for (int q = 0; q < 4; ++q) older[q] = dot4(older[q], activation_four(column[q]), weight[1][q]);
      continue;
    }
    u32v done[4];
#pragma GCC unroll 4
    for (int q = 0; q < 4; ++q) {
      const ActivationFour four = activation_four(column[q]);
      done[q] = dot4(older[q], four, weight[2][q]);
      if (Stride == 1) {
        older[q] = dot4(newer[q], four, weight[1][q]);
        newer[q] = dot4(bias[q], four, weight[0][q]);
      } else {
        older[q] = dot4(bias[q], four, weight[0][q]);
      }
    }
    if (c < 2) continue;
    store_output(run, block, done, y, residual);
    y += run.output_pitch;
    if (residual != nullptr) residual += run.residual_pitch;
  }
}

void run_rows(const QuantizedDepthwiseRun& run, int64_t begin, int64_t end, void* scratch) {
  const DepthwiseGeometry& g = *run.geometry;
  const int64_t quads = (g.kernel_height + 3) / 4, step = quads * 4 * kF32;
  const int64_t segment = quantized_depthwise_segment(g, step * 4);
  const bool narrow = g.kernel_width == 3 && quads == 1 && g.dilation_width == 1 && g.stride_width <= 2;
  auto** rows = static_cast<const uint8_t**>(scratch);
  auto* buffer = reinterpret_cast<uint32_t*>(static_cast<char*>(scratch) +
                                             (static_cast<size_t>(4 * quads) * sizeof(void*) + 63) / 64 * 64);
  const uint8_t* packed = run.packed;
  // Channels outside, rows inside: an input row is fetched into L1 once for all the outputs that use it.
  for (int64_t c = 0; c < g.channels; c += kBlock) {
    Block block{nullptr, {}, {}, 0, ByteResult(run.rounding, run.bounded)};
    for (int q = 0; q < 4; ++q) {
      block.bias[q] = load(reinterpret_cast<const int32_t*>(packed) + q * kF32);
      block.multiplier[q] = load(reinterpret_cast<const float*>(packed) + kBlock + q * kF32);
    }
    block.weights = packed + 8 * kBlock;
    packed += (8 + 4 * quads * g.kernel_width) * kBlock;
    block.n = std::min<int64_t>(kBlock, g.channels - c);
    for (int64_t y = begin; y < end; ++y) {
      for (int64_t ky = 0; ky < 4 * quads; ++ky) {
        // Weights of rows behind the kernel are 0: any row that exists will do.
        const int64_t iy =
            y * g.stride_height - g.pad_top + std::min(ky, g.kernel_height - 1) * g.dilation_height;
        rows[ky] = static_cast<uint64_t>(iy) < static_cast<uint64_t>(g.input_height)
                       ? run.input + iy * g.input_width * run.input_pitch + c
                       : nullptr;
      }
      if constexpr (kVectorRegisters >= 32) {
        if (narrow) {
          const int64_t pixel = y * g.output_width;
          (g.stride_width == 1
               ? narrow_row<1>
               : narrow_row<2>)(run, block, rows, run.output + pixel * run.output_pitch + c,
                                run.residual != nullptr ? run.residual + pixel * run.residual_pitch + c
                                                        : nullptr);
          continue;
        }
      }
      for (int64_t x = 0; x < g.output_width; x += segment) {
        const int64_t count = std::min(segment, g.output_width - x);
        const int64_t columns = (count - 1) * g.stride_width + (g.kernel_width - 1) * g.dilation_width + 1;
        interleave_columns(run, rows, quads, x * g.stride_width - g.pad_left, columns, block.n, buffer);
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
