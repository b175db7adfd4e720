// Size and structure of a transposed convolution.
#pragma once
#include <vector>

#include "ops/conv.h"

namespace edgec {

inline int64_t conv_transpose_output_size(int64_t size, int64_t pads, int64_t kernel, int64_t stride,
                                          int64_t dilation, int64_t extra) {
  return (size - 1) * stride - pads + (kernel - 1) * dilation + 1 + extra;
}

inline Status conv_transpose2d_geometry(const NodeContext& ctx, ConvGeometry* g, bool integers = false) {
  EDGEC_TRY(conv_geometry(ctx, g, integers));
  const int64_t* extra = nullptr;
  EDGEC_TRY(window_attribute(ctx, "output_padding", 2, 0, &extra));
  if (extra[0] >= std::max(g->stride_height, g->dilation_height) ||
      extra[1] >= std::max(g->stride_width, g->dilation_width))
    return ctx.fail(StatusCode::kInvalidArgument,
                    "output_padding [%lld,%lld] must be smaller than the stride or the dilation",
                    static_cast<long long>(extra[0]), static_cast<long long>(extra[1]));
  g->out_height = conv_transpose_output_size(g->height, g->pad_top + g->pad_bottom, g->kernel_height,
                                             g->stride_height, g->dilation_height, extra[0]);
  g->out_width = conv_transpose_output_size(g->width, g->pad_left + g->pad_right, g->kernel_width,
                                            g->stride_width, g->dilation_width, extra[1]);
  if (g->out_height < 1 || g->out_width < 1)
    return ctx.fail(StatusCode::kShape, "pads [%lld,%lld,%lld,%lld] leave nothing of the output",
                    static_cast<long long>(g->pad_top), static_cast<long long>(g->pad_left),
                    static_cast<long long>(g->pad_bottom), static_cast<long long>(g->pad_right));
  return ok_status();
}

// Output positions with the same remainder modulo the stride see the same taps at the same offsets: along one
// axis, position phase + stride * i takes kernel index tap[t] from input position i + offset[t].
struct AxisPhase {
  int64_t phase = 0, count = 0;  // outputs: phase, phase + stride, ...
  std::vector<int64_t> tap, offset;
};

inline std::vector<AxisPhase> axis_phases(int64_t out, int64_t kernel, int64_t stride, int64_t dilation,
                                          int64_t pad) {
  std::vector<AxisPhase> phases;
  for (int64_t p = 0; p < std::min(stride, out); ++p) {
    AxisPhase axis;
    axis.phase = p;
    axis.count = (out - p + stride - 1) / stride;
    for (int64_t t = 0; t < kernel; ++t) {
      const int64_t distance = p + pad - t * dilation;
      if (distance % stride != 0) continue;
      axis.tap.push_back(t);
      axis.offset.push_back(distance / stride);
    }
    phases.push_back(std::move(axis));
  }
  return phases;
}

}  // namespace edgec
