// One operator per EDGEC_BINARY row of kernels/elementwise/elementwise.def.
#include <cstring>

#include "core/op.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/loop.h"

namespace edgec {
namespace {

struct Row {
  const char* name;
  unsigned types;
  ElementwiseResult result;
  double cost;
  const char* doc;
};
constexpr auto kSame = ElementwiseResult::kSame;
constexpr auto kBoolean = ElementwiseResult::kBoolean;
constexpr Row kRows[] = {
#define EDGEC_BINARY(op, types, result, cost, doc) {#op, types, result, cost, doc},
#include "kernels/elementwise/elementwise.def"
};

int row_of(const NodeContext& ctx) {
  int i = 0;
  while (ctx.op().name != kRows[i].name) ++i;  // every operator that uses this file comes from kRows
  return i;
}

Status infer(InferContext& ctx) {
  const int index = row_of(ctx);
  const Row& row = kRows[index];
  const TensorType &a = ctx.input(0), &b = ctx.input(1);
  if (!in_types(a.dtype, row.types))
    return ctx.fail(StatusCode::kUnsupported, "input 'a' is %s, for which it is not defined",
                    a.to_string().c_str());
  // Pow alone takes an exponent of another type.
  const bool mixed = index == static_cast<int>(BinaryFunction::kPow) && in_types(b.dtype, row.types);
  if (a.dtype != b.dtype && !mixed)
    return ctx.fail(StatusCode::kInvalidArgument, "inputs 'a' %s and 'b' %s must have one data type",
                    a.to_string().c_str(), b.to_string().c_str());
  Shape shape;
  EDGEC_TRY(ctx.broadcast(a.shape, b.shape, &shape));
  return ctx.set_output(0, row.result == kBoolean ? DType::kBool : a.dtype, shape);
}

Status prepare(PrepareContext& ctx) {
  const int index = row_of(ctx);
  const Row& row = kRows[index];
  ElementwiseTyping typing;
  typing.a = ctx.input(0).dtype;
  typing.b = ctx.input(1).dtype;
  typing.y = ctx.output(0).dtype;
  typing.compute = compute_type(typing.a);
  // 3 to the power of 0.5 is not 3 to the power of 0: the exponent's fraction counts before the result is
  // truncated.
  if (dtype_is_float(typing.b) && !dtype_is_float(typing.a)) typing.compute = DType::kF64;
  ElementwiseArgs prepared;
  if (std::strcmp(row.name, "Mod") == 0) prepared.alpha = static_cast<double>(ctx.attr_int("fmod"));
  if (std::strcmp(row.name, "BitShift") == 0) prepared.alpha = ctx.attr_string("direction") == "LEFT" ? 1 : 0;
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
  const ElementwiseKernel kernel = elementwise_kernels(typing.compute, ctx.isa()).binary[index];
  const size_t a_size = dtype_size(typing.a), b_size = dtype_size(typing.b), y_size = dtype_size(typing.y);
  ctx.set_step(make_step(row.name, [=, cost = row.cost](const StepArgs& step) {
    loop.run(step.pool, cost, [&](const int64_t* offsets, int64_t planes, int64_t rows, int64_t columns) {
      ElementwiseArgs args = prepared;
      args.y = step.outputs[0]->as<char>() + static_cast<size_t>(offsets[0]) * y_size;
      args.a = step.inputs[0]->as<char>() + static_cast<size_t>(offsets[1]) * a_size;
      args.b = step.inputs[1]->as<char>() + static_cast<size_t>(offsets[2]) * b_size;
      args.planes = planes;
      args.rows = rows;
      args.columns = columns;
      run_elementwise(kernel, typing, args);
    });
    return ok_status();
  }));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(binary) {
  for (const Row& row : kRows) {
    OpBuilder op = registry.add(row.name);
    op.doc(row.doc).input("a").input("b").output("y").infer(infer).prepare(prepare);
    op.flags(kElementwise | kPitchedInputs | kPitchedOutputs).inplace(0).inplace(1);
    if (std::strcmp(row.name, "Mod") == 0)
      op.attr("fmod", 0, "1: the sign of the result is that of a, as in C");
    if (std::strcmp(row.name, "BitShift") == 0)
      op.required("direction", AttrType::kString, "which way the bits move", "LEFT|RIGHT");
  }
}

}  // namespace edgec
