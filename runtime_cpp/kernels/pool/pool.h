// Maximum and average over windows of NHWC images, vectorised over channels.
#pragma once
#include <algorithm>
#include <cstdint>

#include "core/cpu.h"

namespace edgec {

struct PoolGeometry {
  int64_t input_height = 1, input_width = 1;
  int64_t output_height = 1, output_width = 1;
  int64_t channels = 1;
  int64_t kernel_height = 1, kernel_width = 1;
  int64_t stride_height = 1, stride_width = 1;
  int64_t dilation_height = 1, dilation_width = 1;
  int64_t pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;
  // Averages divide by the taps that lie inside the padded image instead of inside the image.
  bool count_include_pad = false;
};

// One axis of a window: taps [begin, end) lie inside the image, `counted` of them divide an average.
struct PoolTaps {
  int64_t begin, end, counted;
};

inline PoolTaps pool_taps(int64_t start, int64_t kernel, int64_t dilation, int64_t size, int64_t pad_end,
                          bool include_pad) {
  const auto below = [&](int64_t limit) {
    return limit <= start ? 0 : std::min((limit - start + dilation - 1) / dilation, kernel);
  };
  PoolTaps t;
  t.begin = below(0);
  t.end = std::max(t.begin, below(size));
  // In ceil mode the last window may reach beyond even the padding; what lies there never counts.
  t.counted = include_pad ? below(size + pad_end) : t.end - t.begin;
  return t;
}

struct PoolRun {
  const PoolGeometry* geometry = nullptr;
  const void* input = nullptr;  // channel 0 of pixel (0, 0) of one image
  int64_t input_pitch = 0;      // elements from one pixel to the next
  void* output = nullptr;
  int64_t output_pitch = 0;
};

// Output rows [begin, end) of one image.
using PoolFunction = void (*)(const PoolRun& run, int64_t begin, int64_t end);

struct PoolKernels {
  PoolFunction max_f32;  // NaN in a window gives NaN
  PoolFunction max_i8;
  PoolFunction max_u8;
  PoolFunction average_f32;
};

const PoolKernels& pool_kernels(Isa isa);

}  // namespace edgec
