// Depthwise convolution over NHWC images: one filter per channel, vectorised over channels.
#pragma once
#include <cstddef>
#include <cstdint>
#include <limits>

#include "core/cpu.h"

namespace edgec {

// One image. Any kernel, stride, dilation and padding; output pixels whose window lies entirely in the
// padding are the bias. Channel multiplier 1: input and output channels agree.
struct DepthwiseGeometry {
  int64_t input_height = 1, input_width = 1;
  int64_t output_height = 1, output_width = 1;
  int64_t channels = 1;
  int64_t kernel_height = 1, kernel_width = 1;
  int64_t stride_height = 1, stride_width = 1;
  int64_t dilation_height = 1, dilation_width = 1;
  int64_t pad_top = 0, pad_left = 0;  // what hangs over at the bottom and right follows from the sizes
};

struct DepthwiseRun {
  const DepthwiseGeometry* geometry = nullptr;
  const float* input = nullptr;  // channel 0 of pixel (0, 0) of the image
  int64_t input_pitch = 0;       // elements from one pixel to the next
  float* output = nullptr;
  int64_t output_pitch = 0;
  const float* packed = nullptr;  // from depthwise_pack_f32 for the same ISA
  // Applied in registers; covers none, relu and clip. NaN passes through.
  float minimum = -std::numeric_limits<float>::infinity();
  float maximum = std::numeric_limits<float>::infinity();
  // What registers do not cover (residual, other activations): called once for each finished output row
  // while it is still in the cache; `row` is pixel (y, 0), pixels are output_pitch apart. May be null.
  void (*finish_row)(const void* context, int64_t y, float* row) = nullptr;
  const void* finish_context = nullptr;
};

struct DepthwiseKernels {
  const char* name;
  int tile;  // channels per packed block
  // Output rows [begin, end). Each element's arithmetic is independent of the range.
  void (*run_f32)(const DepthwiseRun& run, int64_t begin, int64_t end);
};

const DepthwiseKernels& depthwise_kernels(Isa isa);

// Packed: per block of `tile` channels the biases and then the taps in (ky, kx) order, tail channels 0.
size_t depthwise_packed_floats(const DepthwiseGeometry& geometry, Isa isa);
// weight: [C, kh, kw, 1]; bias: [C] or null.
void depthwise_pack_f32(const DepthwiseGeometry& geometry, Isa isa, const float* weight, const float* bias,
                        float* packed);

// Multiply-adds of one output row, for ThreadPool::parallel_for.
double depthwise_row_cost(const DepthwiseGeometry& geometry);

}  // namespace edgec
