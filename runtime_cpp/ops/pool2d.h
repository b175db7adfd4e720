// What MaxPool2d and AvgPool2d share: the window attributes, their checks and the output size.
#pragma once
#include <algorithm>

#include "core/op.h"
#include "kernels/pool/pool.h"
#include "ops/window.h"

namespace edgec {

// Windows along one axis.
inline int64_t pool_output_size(int64_t size, int64_t pad_begin, int64_t pad_end, int64_t kernel,
                                int64_t stride, int64_t dilation, bool ceil_mode) {
  const int64_t span = size + pad_begin + pad_end - (kernel - 1) * dilation - 1;
  // In ceil mode a window larger than the image is cut to it, unless a whole stride is missing.
  if (span < 0 && (!ceil_mode || span + stride - 1 < 0)) return 0;
  int64_t out = (span + (ceil_mode ? stride - 1 : 0)) / stride + 1;
  // A window that would start in the trailing padding is dropped (ONNX and PyTorch agree).
  if (ceil_mode && (out - 1) * stride >= size + pad_begin) --out;
  return out;
}

// Fills everything from the attributes and the input shape [N, H, W, C]; refuses windows without output.
inline Status pool_geometry(const NodeContext& ctx, bool average, PoolGeometry* g) {
  const int64_t *kernel = nullptr, *strides = nullptr, *dilations = nullptr, *pads = nullptr;
  EDGEC_TRY(window_attribute(ctx, "kernel", 2, 1, &kernel));
  EDGEC_TRY(window_attribute(ctx, "strides", 2, 1, &strides));
  EDGEC_TRY(window_attribute(ctx, "dilations", 2, 1, &dilations));
  EDGEC_TRY(window_attribute(ctx, "pads", 4, 0, &pads));
  const Shape& x = ctx.input(0).shape;
  g->input_height = x[1];
  g->input_width = x[2];
  g->channels = x[3];
  g->kernel_height = kernel[0];
  g->kernel_width = kernel[1];
  g->stride_height = strides[0];
  g->stride_width = strides[1];
  g->dilation_height = dilations[0];
  g->dilation_width = dilations[1];
  g->pad_top = pads[0];
  g->pad_left = pads[1];
  g->pad_bottom = pads[2];
  g->pad_right = pads[3];
  g->count_include_pad = average && ctx.attr_bool("count_include_pad");
  const bool ceil_mode = ctx.attr_bool("ceil_mode");
  g->output_height = pool_output_size(x[1], pads[0], pads[2], kernel[0], strides[0], dilations[0], ceil_mode);
  g->output_width = pool_output_size(x[2], pads[1], pads[3], kernel[1], strides[1], dilations[1], ceil_mode);
  if (g->output_height <= 0 || g->output_width <= 0)
    return ctx.fail(StatusCode::kShape, "a %lldx%lld window does not fit into input 'x' %s with these pads",
                    static_cast<long long>(kernel[0]), static_cast<long long>(kernel[1]),
                    ctx.input(0).to_string().c_str());
  return ok_status();
}

inline Status infer_pool2d(InferContext& ctx, bool average) {
  EDGEC_TRY(ctx.want_rank(0, 4));
  PoolGeometry g;
  EDGEC_TRY(pool_geometry(ctx, average, &g));
  const TensorType& x = ctx.input(0);
  return ctx.set_output(0, x.dtype, Shape{x.shape[0], g.output_height, g.output_width, x.shape[3]});
}

inline Status prepare_pool2d(PrepareContext& ctx, const PoolGeometry& g, PoolFunction function,
                             const char* kernel) {
  const int64_t images = ctx.input(0).shape[0];
  const size_t element = dtype_size(ctx.input(0).dtype);
  const double row_cost = static_cast<double>(g.output_width * g.channels) *
                          static_cast<double>(g.kernel_height * g.kernel_width);
  ctx.set_step(make_step(kernel, [g, images, element, function, row_cost](const StepArgs& args) {
    const TensorView &x = *args.inputs[0], &y = *args.outputs[0];
    args.pool.parallel_for(images * g.output_height, row_cost, [&](int64_t begin, int64_t end, int) {
      while (begin < end) {
        const int64_t image = begin / g.output_height, first = begin % g.output_height;
        const int64_t stop = std::min(g.output_height, first + end - begin);
        PoolRun run;
        run.geometry = &g;
        run.input = x.as<const std::byte>() +
                    static_cast<size_t>(image * g.input_height * g.input_width * x.pitch) * element;
        run.output = y.as<std::byte>() +
                     static_cast<size_t>(image * g.output_height * g.output_width * y.pitch) * element;
        run.input_pitch = x.pitch;
        run.output_pitch = y.pitch;
        function(run, first, stop);
        begin += stop - first;
      }
    });
    return ok_status();
  }));
  return ok_status();
}

}  // namespace edgec
