#include "ops/pool2d.h"
#include "ops/quantized_bytes.h"

namespace edgec {
namespace {

Status infer(InferContext& ctx) {
  EDGEC_TRY(ctx.want_dtype(0, {DType::kI8}));
  EDGEC_TRY(check_quantizations(ctx, DType::kI8, "x"));
  return infer_pool2d(ctx, true);
}

struct AveragePool {
  const QuantizedKernels& kernels;
  PoolGeometry g;
  StoredBytes form;
  ByteRounding rounding;
  double x_scale, y_scale;

  // Output row y of an image.
  void row(const uint8_t* image, int64_t x_pitch, int64_t y, uint8_t* out, int64_t y_pitch) const {
    const int64_t top = y * g.stride_height - g.pad_top;
    const PoolTaps down =
        pool_taps(top, g.kernel_height, g.dilation_height, g.input_height, g.pad_bottom, g.count_include_pad);
    for (int64_t x = 0; x < g.output_width; ++x, out += y_pitch) {
      const int64_t left = x * g.stride_width - g.pad_left;
      const PoolTaps across =
          pool_taps(left, g.kernel_width, g.dilation_width, g.input_width, g.pad_right, g.count_include_pad);
      const int64_t rows = down.end - down.begin, columns = across.end - across.begin;
      const int64_t counted = std::max<int64_t>(down.counted * across.counted, 1);
      const float multiplier = static_cast<float>(x_scale / (y_scale * static_cast<double>(counted)));
      const auto subtract =
          static_cast<int32_t>(static_cast<uint32_t>(rows * columns) * static_cast<uint32_t>(form.zero));
      const uint8_t* in = image + ((top + down.begin * g.dilation_height) * g.input_width + left +
                                   across.begin * g.dilation_width) *
                                      x_pitch;
      for (int64_t c = 0; c < g.channels; c += kQuantizedColumns) {
        const int64_t n = std::min<int64_t>(kQuantizedColumns, g.channels - c);
        int32_t sums[kQuantizedColumns] = {};
        kernels.accumulate(in + c, rows, g.dilation_height * g.input_width * x_pitch, columns,
                           g.dilation_width * x_pitch, n, form.flip, sums);
        kernels.finish_sums(sums, n, subtract, multiplier, rounding, out + c);
      }
    }
  }

  Status operator()(const StepArgs& args) const {
    const TensorView &x = *args.inputs[0], &y = *args.outputs[0];
    const double cost = static_cast<double>(g.output_width * g.channels) *
                        static_cast<double>(g.kernel_height * g.kernel_width);
    args.pool.parallel_for(x.shape()[0] * g.output_height, cost, [&](int64_t begin, int64_t end, int) {
      for (int64_t r = begin; r < end; ++r)
        row(x.as<const uint8_t>() + r / g.output_height * g.input_height * g.input_width * x.pitch, x.pitch,
            r % g.output_height, y.as<uint8_t>() + r * g.output_width * y.pitch, y.pitch);
    });
    return ok_status();
  }
};

Status prepare(PrepareContext& ctx) {
  PoolGeometry g;
  EDGEC_TRY(pool_geometry(ctx, true, &g));
  const double x_scale = scale_of(ctx, "x"), y_scale = scale_of(ctx, "y");
  float multiplier;
  EDGEC_TRY(round_multiplier(ctx, x_scale / y_scale, &multiplier));
  ctx.set_step(make_step("quantized_average", AveragePool{quantized_kernels(ctx.isa()), g,
                                                          stored_form(ctx.input(0), zero_point_of(ctx, "x")),
                                                          output_rounding(ctx), x_scale, y_scale}));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(quantized_avg_pool2d) {
  OpBuilder op = registry.add("QuantizedAvgPool2d");
  op.doc("AvgPool2d on i8 numbers with a scale and a zero point.")
      .input("x", "i8 [N,H,W,C]")
      .output("y", "i8 [N,OH,OW,C]");
  op.required("kernel", AttrType::kInts, "height, width")
      .attr("strides", std::vector<int64_t>{1, 1}, "height, width")
      .attr("pads", std::vector<int64_t>{0, 0, 0, 0}, "top, left, bottom, right")
      .attr("dilations", std::vector<int64_t>{1, 1}, "height, width")
      .attr("ceil_mode", 0,
            "1: a last, partial window counts if it starts inside the image or its leading padding")
      .attr("count_include_pad", 0);
  quantization_attrs(op, "x");
  quantization_attrs(op, "y");
  limit_attrs(op).flags(kPitchedInputs | kPitchedOutputs | kRequantizes).infer(infer).prepare(prepare);
}

}  // namespace edgec
