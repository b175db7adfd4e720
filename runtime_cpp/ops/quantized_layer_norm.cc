#include "ops/quantized_bytes.h"
#include "ops/rows.h"

namespace edgec {
namespace {

Status infer(InferContext& ctx) {
  EDGEC_TRY(ctx.want_dtype(0, {DType::kI8}));
  EDGEC_TRY(check_quantizations(ctx, DType::kI8, "x"));
  const Shape& x = ctx.input(0).shape;
  int axis = 0;
  EDGEC_TRY(ctx.normalize_axis(ctx.attr_int("axis"), x.rank(), &axis));
  for (int i = 1; i < ctx.input_count(); ++i)
    EDGEC_TRY(want_row_parameter(ctx, i, x.product(axis, x.rank())));
  return ctx.set_output(0, DType::kI8, x);
}

Status prepare(PrepareContext& ctx) {
  const QuantizedKernels& kernels = quantized_kernels(ctx.isa());
  const AxisSplit split = split_at(ctx.input(0).shape, ctx.attr_int("axis"));
  QuantizedRowsRun prepared;
  prepared.n = prepared.x_pitch = prepared.y_pitch = split.size * split.inner;
  prepared.flip = stored_form(ctx.input(0), 0).flip;
  prepared.y_scale = ctx.attr_float("y_scale");
  prepared.rounding = output_rounding(ctx);
  const double x_scale = scale_of(ctx, "x");
  const double offset = static_cast<double>(ctx.attr_float("epsilon")) / (x_scale * x_scale);
  const bool scaled = ctx.has_input(1), biased = ctx.has_input(2);
  ctx.set_step(make_step("quantized_layer_norm", [=, &kernels](const StepArgs& args) {
    const uint8_t* x = args.inputs[0]->as<const uint8_t>();
    uint8_t* y = args.outputs[0]->as<uint8_t>();
    const float* scale = optional_floats(args, scaled, 1);
    const float* bias = optional_floats(args, biased, 2);
    args.pool.parallel_for(split.outer, static_cast<double>(prepared.n) * 3,
                           [&](int64_t begin, int64_t end, int) {
                             QuantizedRowsRun run = prepared;
                             run.x = x + begin * run.n;
                             run.y = y + begin * run.n;
                             run.rows = end - begin;
                             kernels.layer_norm_rows(run, offset, scale, bias);
                           });
    return ok_status();
  }));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(quantized_layer_norm) {
  OpBuilder op = registry.add("QuantizedLayerNorm");
  op.doc("LayerNorm on i8 numbers with a scale and a zero point; the statistics are exact.")
      .input("x", "i8")
      .optional("scale", "f32, as many elements as the normalised dimensions")
      .optional("bias", "f32, the same")
      .output("y", "i8")
      .attr("axis", -1)
      .attr("epsilon", 1e-5);
  quantization_attrs(op, "x");
  quantization_attrs(op, "y").flags(kRequantizes).inplace(0).infer(infer).prepare(prepare);
}

}  // namespace edgec
