// Integer operators that are no products: elementwise, tables, sums, softmax, normalisation, interpolation.
// The arithmetic is that of docs/numerics.md, to the bit on every ISA.
#pragma once
#include <cstdint>

#include "core/cpu.h"

namespace edgec {

// How to read a stored 8-bit tensor: value - zero_point = int(byte ^ flip) - zero. One loop serves i8, u8 and
// i8 stored as u8 = i8 + 128.
struct StoredBytes {
  uint8_t flip = 0x80;
  int32_t zero = 128;
};

// q(v) of docs/numerics.md: the low byte of rne(clamp(v, low, high)) + zero. NaN gives the lower limit.
struct ByteRounding {
  float low = -128, high = 127;  // limits minus the zero point
  int32_t zero = 0;              // as the byte is stored
};

// A block of planes of rows; strides count elements, a step of 0 repeats one element along the row.
struct QuantizedBinaryRun {
  const uint8_t *a = nullptr, *b = nullptr;
  uint8_t* y = nullptr;
  int64_t planes = 1, rows = 1, columns = 0;
  int64_t a_plane = 0, b_plane = 0, y_plane = 0;
  int64_t a_row = 0, b_row = 0, y_row = 0;
  int a_step = 1, b_step = 1;
  StoredBytes a_form, b_form;
  float a_multiplier = 1, b_multiplier = 1;  // Mul reads the first only
  ByteRounding rounding;
};

// Rows of n bytes.
struct QuantizedRowsRun {
  const uint8_t* x = nullptr;
  uint8_t* y = nullptr;
  int64_t rows = 0, n = 0, x_pitch = 0, y_pitch = 0;
  uint8_t flip = 0x80;
  float y_scale = 1;
  ByteRounding rounding;
};

// n outputs between two (rows[0], rows[1]) or four runs of bytes: across first, then down.
struct QuantizedLerp {
  const uint8_t* rows[4] = {};
  uint8_t* y = nullptr;
  int count = 2;
  int64_t n = 0;
  StoredBytes form;
  float across = 0, down = 0, multiplier = 1;
  ByteRounding rounding;
};

struct QuantizedKernels {
  // q(a * a_multiplier + b * b_multiplier); Sub has a negative multiplier.
  void (*add)(const QuantizedBinaryRun& run);
  // q((a * b) * a_multiplier)
  void (*multiply)(const QuantizedBinaryRun& run);
  // q(x * multiplier)
  void (*requantize)(const uint8_t* x, int64_t n, StoredBytes form, float multiplier, ByteRounding rounding,
                     uint8_t* y);
  // q(x / scale); NaN gives the zero point.
  void (*quantize)(const float* x, int64_t n, float scale, ByteRounding rounding, uint8_t* y);
  // x * scale
  void (*dequantize)(const uint8_t* x, int64_t n, StoredBytes form, float scale, float* y);
  // sums[c] += byte ^ flip over outer * inner rows of n <= kQuantizedColumns bytes.
  void (*accumulate)(const uint8_t* x, int64_t outer, int64_t outer_stride, int64_t inner,
                     int64_t inner_stride, int64_t n, uint8_t flip, int32_t* sums);
  // q((sums[c] - subtract) * multiplier)
  void (*finish_sums)(const int32_t* sums, int64_t n, int32_t subtract, float multiplier,
                      ByteRounding rounding, uint8_t* y);
  // y[i] = table[x[i]] over stored bytes; in place is fine.
  void (*lookup)(const uint8_t* table, const uint8_t* x, int64_t n, uint8_t* y);
  // y[r, c] = table[256 c + x[r, c]] over rows of `channels` bytes; in place is fine.
  void (*lookup_channels)(const uint8_t* table, const uint8_t* x, int64_t rows, int64_t channels, uint8_t* y);
  // table[d], d = distance from the row's maximum.
  void (*softmax_rows)(const QuantizedRowsRun& run, const int32_t* table);
  // offset = epsilon / scale_x^2; scale and bias [n] may be null.
  void (*layer_norm_rows)(const QuantizedRowsRun& run, double offset, const float* scale, const float* bias);
  void (*lerp)(const QuantizedLerp& run);
};

// Columns that accumulate takes: its sums live on the caller's stack.
inline constexpr int kQuantizedColumns = 64;

const QuantizedKernels& quantized_kernels(Isa isa);

}  // namespace edgec
