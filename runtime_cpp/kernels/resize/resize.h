// Interpolation along one axis from a precomputed table; several axes are several passes.
#pragma once
#include <cstdint>
#include <vector>

#include "core/cpu.h"

namespace edgec {

enum class ResizeMode { kNearest, kLinear, kCubic };
enum class ResizeCoordinate {
  kHalfPixel,
  kAsymmetric,
  kAlignCorners,
  kPytorchHalfPixel,
  kHalfPixelSymmetric,
  kTfCropAndResize,
};
enum class ResizeNearest { kRoundPreferFloor, kRoundPreferCeil, kFloor, kCeil };

struct ResizeOptions {
  ResizeMode mode = ResizeMode::kNearest;
  ResizeCoordinate coordinate = ResizeCoordinate::kHalfPixel;
  ResizeNearest nearest = ResizeNearest::kRoundPreferFloor;
  double cubic_coefficient = -0.75;
  bool exclude_outside = false;
  bool antialias = false;
};

struct ResizeAxis {
  int64_t input = 1, output = 1;
  float scale = 1;                    // output / input unless the model says otherwise
  bool exact = true;                  // scale is output / input: use the integers, not their rounded quotient
  double roi_start = 0, roi_end = 1;  // kTfCropAndResize, relative to the input
};

// Output index o is the sum over t of weights[o * taps + t] * x[indices[o * taps + t]]; where outside[o],
// it is the extrapolation value. Nearest: one tap of weight 1.
struct ResizeTable {
  int taps = 1;
  std::vector<int32_t> indices;
  std::vector<float> weights;
  std::vector<uint8_t> outside;
  bool identity = false;  // every output is the input of the same index
};
ResizeTable make_resize_table(const ResizeOptions& options, const ResizeAxis& axis);

// Outputs [begin, end) along one axis, each `blocks` runs of n contiguous floats. index and weights point
// at the taps of output 0.
struct ResizePass {
  const float* x = nullptr;
  float* y = nullptr;
  int64_t x_step = 0, y_step = 0;    // from one index of the axis to the next
  int64_t x_block = 0, y_block = 0;  // from one run to the next
  int64_t n = 0, blocks = 1;
  int taps = 1;
  const int32_t* indices = nullptr;
  const float* weights = nullptr;
  const uint8_t* outside = nullptr;  // null: never
  float extrapolation = 0;
};

struct ResizeKernels {
  void (*interpolate)(const ResizePass& pass, int64_t begin, int64_t end);
};

const ResizeKernels& resize_kernels(Isa isa);

}  // namespace edgec
