// QuantizedAdd, QuantizedSub and QuantizedMul.
#include "kernels/elementwise/loop.h"
#include "ops/quantized_bytes.h"

namespace edgec {
namespace {

Status infer(InferContext& ctx) {
  for (int i = 0; i < 2; ++i) EDGEC_TRY(ctx.want_dtype(i, {DType::kI8}));
  EDGEC_TRY(check_quantizations(ctx, DType::kI8, "a", "b"));
  Shape shape;
  EDGEC_TRY(ctx.broadcast(ctx.input(0).shape, ctx.input(1).shape, &shape));
  return ctx.set_output(0, DType::kI8, shape);
}

Status prepare(PrepareContext& ctx) {
  const std::string& name = ctx.op().name;
  const bool product = name == "QuantizedMul";
  const double a_scale = scale_of(ctx, "a"), b_scale = scale_of(ctx, "b"), y_scale = scale_of(ctx, "y");
  QuantizedBinaryRun prepared;
  const double a_factor = product ? static_cast<float>(a_scale * b_scale) : a_scale;
  EDGEC_TRY(round_multiplier(ctx, a_factor / y_scale, &prepared.a_multiplier));
  EDGEC_TRY(round_multiplier(ctx, b_scale / y_scale, &prepared.b_multiplier));
  if (name == "QuantizedSub") prepared.b_multiplier = -prepared.b_multiplier;
  prepared.a_form = stored_form(ctx.input(0), zero_point_of(ctx, "a"));
  prepared.b_form = stored_form(ctx.input(1), zero_point_of(ctx, "b"));
  prepared.rounding = output_rounding(ctx);
  const BroadcastOperand operands[] = {{ctx.output(0).shape, ctx.output_pitch(0)},
                                       {ctx.input(0).shape, ctx.input_pitch(0)},
                                       {ctx.input(1).shape, ctx.input_pitch(1)}};
  const BroadcastLoop loop(operands, 3);
  prepared.y_plane = loop.plane_stride(0);
  prepared.y_row = loop.row_stride(0);
  prepared.a_plane = loop.plane_stride(1);
  prepared.a_row = loop.row_stride(1);
  prepared.b_plane = loop.plane_stride(2);
  prepared.b_row = loop.row_stride(2);
  prepared.a_step = loop.step(1);
  prepared.b_step = loop.step(2);
  const QuantizedKernels& kernels = quantized_kernels(ctx.isa());
  const auto kernel = product ? kernels.multiply : kernels.add;
  ctx.set_step(make_step(product ? "quantized_multiply" : "quantized_add", [=](const StepArgs& step) {
    loop.run(step.pool, 1, [&](const int64_t* offsets, int64_t planes, int64_t rows, int64_t columns) {
      QuantizedBinaryRun run = prepared;
      run.y = step.outputs[0]->as<uint8_t>() + offsets[0];
      run.a = step.inputs[0]->as<uint8_t>() + offsets[1];
      run.b = step.inputs[1]->as<uint8_t>() + offsets[2];
      run.planes = planes;
      run.rows = rows;
      run.columns = columns;
      kernel(run);
    });
    return ok_status();
  }));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(quantized_add) {
  for (const char* name : {"QuantizedAdd", "QuantizedSub", "QuantizedMul"}) {
    OpBuilder op = registry.add(name);
    op.doc("The f32 operator of this name on i8 numbers with a scale and a zero point each.");
    op.input("a", "i8").input("b", "i8").output("y", "i8");
    quantization_attrs(op, "a");
    quantization_attrs(op, "b");
    quantization_attrs(op, "y");
    limit_attrs(op);
    op.flags(kElementwise | kPitchedInputs | kPitchedOutputs | kRequantizes).inplace(0).inplace(1);
    op.infer(infer).prepare(prepare);
  }
}

}  // namespace edgec
