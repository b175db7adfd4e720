// Resize of whole tensors: which axes change, in which order, and how one pass walks a pitched tensor.
#pragma once
#include <algorithm>
#include <cstring>
#include <vector>

#include "core/tensor.h"
#include "core/thread_pool.h"
#include "kernels/quantized/quantized.h"
#include "kernels/resize/resize.h"

namespace edgec {

// One axis that changes; the table stands in memory of the plan.
struct ResizedAxis {
  int dim = 0;
  int64_t input = 1, output = 1;
  int taps = 1;
  const int32_t* indices = nullptr;
  const float* weights = nullptr;
  const uint8_t* outside = nullptr;  // null: never
};

// Linear and cubic, f32. The first axes make dense intermediate tensors; the last two are fused row by
// row, so that an image needs one row of scratch per thread.
class Interpolation {
 public:
  Interpolation(const ResizeKernels& kernels, const Shape& x, std::vector<ResizedAxis> axes,
                float extrapolation, int threads);
  size_t scratch_bytes() const {
    return (stage_floats_[0] + stage_floats_[1] + row_floats_ * threads_) * sizeof(float);
  }
  void run(const TensorView& x, const TensorView& y, std::byte* scratch, ThreadPool& pool) const;

 private:
  struct Layout;
  void one_axis(const float* x, const Layout& x_layout, float* y, const Layout& y_layout,
                const ResizedAxis& axis, ThreadPool& pool) const;
  void two_axes(const float* x, const Layout& x_layout, float* y, const Layout& y_layout,
                const ResizedAxis& outer, const ResizedAxis& inner, float* rows, ThreadPool& pool) const;

  const ResizeKernels& kernels_;
  Shape x_shape_;
  std::vector<ResizedAxis> axes_;  // outermost first; may be empty
  float extrapolation_;
  size_t threads_;
  size_t stage_floats_[2] = {0, 0};
  size_t row_floats_ = 0;
};

// Nearest: copies elements of any type.
class NearestCopy {
 public:
  // extrapolation: one element.
  NearestCopy(const Shape& x, std::vector<ResizedAxis> axes, size_t element, const void* extrapolation);
  void run(const TensorView& x, const TensorView& y, ThreadPool& pool) const;

 private:
  void fill(std::byte* y, int64_t count) const;
  Shape x_shape_;
  std::vector<ResizedAxis> axes_;
  size_t element_;
  std::byte extrapolation_[8];
};

// Linear, on 8-bit integers, along at most two axes.
class QuantizedInterpolation {
 public:
  // prepared: everything but places and weights.
  QuantizedInterpolation(const QuantizedKernels& kernels, const Shape& x, std::vector<ResizedAxis> axes,
                         const QuantizedLerp& prepared)
      : kernels_(kernels), x_shape_(x), axes_(std::move(axes)), prepared_(prepared) {}
  void run(const TensorView& x, const TensorView& y, ThreadPool& pool) const;

 private:
  const QuantizedKernels& kernels_;
  Shape x_shape_;
  std::vector<ResizedAxis> axes_;  // outermost first; may be empty
  QuantizedLerp prepared_;
};

}  // namespace edgec
