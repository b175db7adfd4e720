// Geometry of 2-D convolutions, checked, and what Conv2d and ConvTranspose2d share.
#pragma once
#include <algorithm>

#include "core/op.h"
#include "kernels/depthwise/depthwise.h"
#include "ops/window.h"

namespace edgec {

struct ConvGeometry {
  int64_t batch = 0, height = 0, width = 0, channels = 0;           // input
  int64_t out_height = 0, out_width = 0, out_channels = 0;          // output
  int64_t kernel_height = 0, kernel_width = 0, group_channels = 0;  // weight[O,kh,kw,C/g]
  int64_t stride_height = 1, stride_width = 1, dilation_height = 1, dilation_width = 1;
  int64_t pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;
  int64_t group = 1;
  int64_t taps() const { return kernel_height * kernel_width; }
  int64_t out_group_channels() const { return out_channels / group; }
  bool depthwise() const { return group > 1 && group == channels && group == out_channels; }
};

// Everything but the output size. integers: the operator checks the types itself.
inline Status conv_geometry(const NodeContext& ctx, ConvGeometry* g, bool integers = false) {
  const TensorType &x = ctx.input(0), &w = ctx.input(1);
  for (int i = 0; i < 2; ++i) {
    const TensorType& t = ctx.input(i);
    if (t.shape.rank() != 4)
      return ctx.fail(StatusCode::kShape, "input '%s' wants 4 dimensions %s, got %s", i == 0 ? "x" : "weight",
                      i == 0 ? "[N,H,W,C]" : "[O,kh,kw,C/group]", t.to_string().c_str());
    if (!integers && t.dtype != DType::kF32)
      return ctx.fail(StatusCode::kUnsupported, "input '%s' has type %s, supported: f32",
                      i == 0 ? "x" : "weight", t.to_string().c_str());
  }
  const int64_t *strides = nullptr, *dilations = nullptr, *pads = nullptr;
  EDGEC_TRY(window_attribute(ctx, "strides", 2, 1, &strides));
  EDGEC_TRY(window_attribute(ctx, "dilations", 2, 1, &dilations));
  EDGEC_TRY(window_attribute(ctx, "pads", 4, 0, &pads));
  g->group = ctx.attr_int("group");
  g->batch = x.shape[0];
  g->height = x.shape[1];
  g->width = x.shape[2];
  g->channels = x.shape[3];
  g->out_channels = w.shape[0];
  g->kernel_height = w.shape[1];
  g->kernel_width = w.shape[2];
  g->group_channels = w.shape[3];
  g->stride_height = strides[0];
  g->stride_width = strides[1];
  g->dilation_height = dilations[0];
  g->dilation_width = dilations[1];
  g->pad_top = pads[0];
  g->pad_left = pads[1];
  g->pad_bottom = pads[2];
  g->pad_right = pads[3];
  for (int i = 0; i < 4; ++i)
    if (w.shape[i] < 1) return ctx.fail(StatusCode::kShape, "weight %s is empty", w.to_string().c_str());
  if (x.shape[1] < 1 || x.shape[2] < 1)
    return ctx.fail(StatusCode::kShape, "the image of input 'x' %s is empty", x.to_string().c_str());
  if (g->group < 1 || g->channels % g->group != 0 || g->out_channels % g->group != 0)
    return ctx.fail(StatusCode::kShape, "group %lld must divide the %lld input and the %lld output channels",
                    static_cast<long long>(g->group), static_cast<long long>(g->channels),
                    static_cast<long long>(g->out_channels));
  if (g->group_channels != g->channels / g->group) {
    const bool nchw = x.shape[1] == g->group_channels * g->group;
    return ctx.fail(
        StatusCode::kShape,
        "weight %s has %lld input channels per group, but input 'x' %s has %lld channels in %lld group(s); "
        "images are NHWC and weights OHWI%s",
        w.to_string().c_str(), static_cast<long long>(g->group_channels), x.to_string().c_str(),
        static_cast<long long>(g->channels), static_cast<long long>(g->group),
        nchw ? ": this image looks like NCHW, transpose it with perm [0,2,3,1]" : "");
  }
  for (int64_t size : {g->height, g->width, g->kernel_height, g->kernel_width, g->channels, g->out_channels})
    if (size > (int64_t{1} << 30))
      return ctx.fail(StatusCode::kShape, "dimensions above 2^30 are not supported: %s, %s",
                      x.to_string().c_str(), w.to_string().c_str());
  return ok_status();
}

// floor((size + pads - window) / stride) + 1, 0 when the window does not fit.
inline int64_t conv_output_size(int64_t size, int64_t pads, int64_t kernel, int64_t stride,
                                int64_t dilation) {
  const int64_t span = size + pads - ((kernel - 1) * dilation + 1);
  return span < 0 ? 0 : span / stride + 1;
}

inline Status conv2d_geometry(const NodeContext& ctx, ConvGeometry* g, bool integers = false) {
  EDGEC_TRY(conv_geometry(ctx, g, integers));
  g->out_height = conv_output_size(g->height, g->pad_top + g->pad_bottom, g->kernel_height, g->stride_height,
                                   g->dilation_height);
  g->out_width = conv_output_size(g->width, g->pad_left + g->pad_right, g->kernel_width, g->stride_width,
                                  g->dilation_width);
  if (g->out_height < 1 || g->out_width < 1)
    return ctx.fail(StatusCode::kShape,
                    "a %lldx%lld kernel with dilations [%lld,%lld] is larger than the padded image %lldx%lld",
                    static_cast<long long>(g->kernel_height), static_cast<long long>(g->kernel_width),
                    static_cast<long long>(g->dilation_height), static_cast<long long>(g->dilation_width),
                    static_cast<long long>(g->height + g->pad_top + g->pad_bottom),
                    static_cast<long long>(g->width + g->pad_left + g->pad_right));
  return ok_status();
}

inline DepthwiseGeometry depthwise_geometry(const ConvGeometry& g) {
  DepthwiseGeometry d;
  d.input_height = g.height;
  d.input_width = g.width;
  d.output_height = g.out_height;
  d.output_width = g.out_width;
  d.channels = g.channels;
  d.kernel_height = g.kernel_height;
  d.kernel_width = g.kernel_width;
  d.stride_height = g.stride_height;
  d.stride_width = g.stride_width;
  d.dilation_height = g.dilation_height;
  d.dilation_width = g.dilation_width;
  d.pad_top = g.pad_top;
  d.pad_left = g.pad_left;
  return d;
}

// Floats behind a 64-byte aligned size, for parts of one scratch block.
inline size_t round_up_bytes(size_t bytes) { return (bytes + 63) / 64 * 64; }

}  // namespace edgec
