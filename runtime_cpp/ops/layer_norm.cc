#include "ops/rows.h"

namespace edgec {
namespace {

Status infer(InferContext& ctx) {
  EDGEC_TRY(ctx.want_dtype(0, {DType::kF32}));
  const Shape& x = ctx.input(0).shape;
  int axis = 0;
  EDGEC_TRY(ctx.normalize_axis(ctx.attr_int("axis"), x.rank(), &axis));
  const int64_t n = x.product(axis, x.rank());
  for (int i = 1; i < ctx.input_count(); ++i) EDGEC_TRY(want_row_parameter(ctx, i, n));
  return ctx.set_output(0, DType::kF32, x);
}

Status prepare(PrepareContext& ctx) {
  const bool rms = ctx.op().name == "RMSNorm";
  const ReduceKernels& kernels = reduce_kernels(ctx.isa());
  const AxisSplit split = split_at(ctx.input(0).shape, ctx.attr_int("axis"));
  const int64_t n = split.size * split.inner;
  const bool last = ctx.input(0).shape.back() == n;
  const bool scaled = ctx.has_input(1), biased = ctx.has_input(2);
  const float epsilon = ctx.attr_float("epsilon");
  ctx.set_step(make_step(rms ? "rms_norm_rows" : "layer_norm_rows", [=, &kernels](const StepArgs& args) {
    const TensorView& x = *args.inputs[0];
    TensorView& y = *args.outputs[0];
    const float* scale = optional_floats(args, scaled, 1);
    const float* bias = optional_floats(args, biased, 2);
    for_rows(args.pool, x, y, n == 0 ? 0 : split.outer, n, last ? x.pitch : n, last ? y.pitch : n, 6,
             [&](const RowsRun& run, int) { kernels.layer_norm_rows(run, epsilon, rms, scale, bias); });
    return ok_status();
  }));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(layer_norm) {
  registry.add("LayerNorm")
      .doc("(x - mean) / sqrt(variance + epsilon) * scale + bias over the dimensions axis and after it.")
      .input("x", "f32")
      .optional("scale", "f32, as many elements as the normalised dimensions")
      .optional("bias", "f32, the same")
      .output("y")
      .attr("axis", -1)
      .attr("epsilon", 1e-5)
      .inplace(0)
      .infer(infer)
      .prepare(prepare);
  registry.add("RMSNorm")
      .doc("x / sqrt(mean(x * x) + epsilon) * scale over the dimensions axis and after it.")
      .input("x", "f32")
      .optional("scale", "f32, as many elements as the normalised dimensions")
      .output("y")
      .attr("axis", -1)
      .attr("epsilon", 1e-5)
      .inplace(0)
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
