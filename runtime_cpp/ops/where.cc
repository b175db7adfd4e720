#include "core/op.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/loop.h"

namespace edgec {
namespace {

Status infer(InferContext& ctx) {
  EDGEC_TRY(ctx.want_dtype(0, {DType::kBool}));
  const TensorType &x = ctx.input(1), &y = ctx.input(2);
  if (x.dtype != y.dtype)
    return ctx.fail(StatusCode::kInvalidArgument, "inputs 'x' %s and 'y' %s must have one data type",
                    x.to_string().c_str(), y.to_string().c_str());
  Shape shape;
  EDGEC_TRY(ctx.broadcast(x.shape, y.shape, &shape));
  EDGEC_TRY(ctx.broadcast(shape, ctx.input(0).shape, &shape));
  return ctx.set_output(0, x.dtype, shape);
}

Status prepare(PrepareContext& ctx) {
  const BroadcastOperand operands[] = {{ctx.output(0).shape, ctx.output_pitch(0)},
                                       {ctx.input(0).shape, ctx.input_pitch(0)},
                                       {ctx.input(1).shape, ctx.input_pitch(1)},
                                       {ctx.input(2).shape, ctx.input_pitch(2)}};
  const BroadcastLoop loop(operands, 4);
  const size_t size = dtype_size(ctx.output(0).dtype);
  ctx.set_step(make_step("where", [=](const StepArgs& step) {
    loop.run(step.pool, 3.0 * static_cast<double>(size),
             [&](const int64_t* offsets, int64_t planes, int64_t rows, int64_t columns) {
               ElementwiseArgs args;
               args.y = step.outputs[0]->as<char>() + static_cast<size_t>(offsets[0]) * size;
               args.a = step.inputs[1]->as<char>() + static_cast<size_t>(offsets[2]) * size;
               args.b = step.inputs[2]->as<char>() + static_cast<size_t>(offsets[3]) * size;
               args.planes = planes;
               args.rows = rows;
               args.columns = columns;
               args.y_plane = loop.plane_stride(0);
               args.a_plane = loop.plane_stride(2);
               args.b_plane = loop.plane_stride(3);
               args.y_row = loop.row_stride(0);
               args.a_row = loop.row_stride(2);
               args.b_row = loop.row_stride(3);
               args.a_step = loop.step(2);
               args.b_step = loop.step(3);
               select_elements(size, step.inputs[0]->as<uint8_t>() + offsets[1], loop.plane_stride(1),
                               loop.row_stride(1), loop.step(1), args);
             });
    return ok_status();
  }));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(where) {
  registry.add("Where")
      .doc("x where the condition holds, else y; all three broadcast.")
      .input("condition", "bool")
      .input("x")
      .input("y")
      .output("output")
      .flags(kElementwise | kPitchedInputs | kPitchedOutputs)
      .inplace(1)
      .inplace(2)
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
