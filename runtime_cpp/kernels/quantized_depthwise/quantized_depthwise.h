// Depthwise convolution of bytes with 32-bit sums: one filter per channel, vectorised over channels.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/depthwise/depthwise.h"
#include "kernels/quantized/quantized.h"

namespace edgec {

// One image; bytes of x and y are in the form that the ISA's integer products want
// (QuantizedDotKernels::excess).
struct QuantizedDepthwiseRun {
  const DepthwiseGeometry* geometry = nullptr;
  const uint8_t* input = nullptr;  // channel 0 of pixel (0, 0)
  int64_t input_pitch = 0;
  uint8_t* output = nullptr;
  int64_t output_pitch = 0;
  const uint8_t* packed = nullptr;
  const uint8_t* padding = nullptr;  // quantized_depthwise_block(isa) zero points
  ByteRounding rounding;
  uint8_t output_flip = 0;
  bool bounded = false;               // no result before rounding reaches 2^30
  const uint8_t* residual = nullptr;  // pixel (0, 0); may be the output
  int64_t residual_pitch = 0;
  StoredBytes residual_form;
  float residual_multiplier = 0;
};

struct QuantizedDepthwiseKernels {
  const char* name;
  int block;  // channels
  // Output rows [begin, end); scratch of quantized_depthwise_scratch bytes is the thread's own.
  void (*run)(const QuantizedDepthwiseRun& run, int64_t begin, int64_t end, void* scratch);
};
const QuantizedDepthwiseKernels& quantized_depthwise_kernels(Isa isa);

// Packed: per block of channels biases, multipliers, then for each kernel column and four kernel rows a word
// per channel; channels in the order of `interleave` (kernels/simd/dot4.h).
int64_t quantized_depthwise_packed_bytes(const DepthwiseGeometry& geometry, int block);
// weight [C,kh,kw,1] i8, zero: zero point of x as stored, bias may be null, one multiplier per channel.
void quantized_depthwise_pack(const DepthwiseGeometry& geometry, int block, const int8_t* weight,
                              int32_t zero, const int32_t* bias, const float* multiplier, uint8_t* packed);
size_t quantized_depthwise_scratch(const DepthwiseGeometry& geometry, int block);

// Outputs of a row that are computed from one buffer of interleaved columns, 16 KiB or what one output needs.
inline int64_t quantized_depthwise_segment(const DepthwiseGeometry& g, int64_t column_bytes) {
  const int64_t columns = (int64_t{16} << 10) / column_bytes,
                reach = (g.kernel_width - 1) * g.dilation_width + 1;
  return columns <= reach ? 1 : (columns - reach) / g.stride_width + 1;
}

}  // namespace edgec
