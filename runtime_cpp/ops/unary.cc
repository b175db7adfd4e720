// One operator per EDGEC_UNARY row of kernels/elementwise/elementwise.def.
#include <cmath>
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
  const char* alpha;
  double alpha_default;
  const char* beta;
  double beta_default;
  const char* doc;
};
constexpr auto kSame = ElementwiseResult::kSame;
constexpr auto kBoolean = ElementwiseResult::kBoolean;
constexpr Row kRows[] = {
#define EDGEC_UNARY(op, types, result, cost, alpha, alpha_default, beta, beta_default, doc) \
  {#op, types, result, cost, alpha, alpha_default, beta, beta_default, doc},
#include "kernels/elementwise/elementwise.def"
};

int row_of(const NodeContext& ctx) {
  int i = 0;
  while (ctx.op().name != kRows[i].name) ++i;  // every operator that uses this file comes from kRows
  return i;
}

Status infer(InferContext& ctx) {
  const Row& row = kRows[row_of(ctx)];
  const TensorType& x = ctx.input(0);
  if (!in_types(x.dtype, row.types))
    return ctx.fail(StatusCode::kUnsupported, "input 'x' is %s, for which it is not defined",
                    x.to_string().c_str());
  return ctx.set_output(0, row.result == kBoolean ? DType::kBool : x.dtype, x.shape);
}

void read_parameters(const PrepareContext& ctx, const Row& row, ElementwiseArgs* args) {
  if (row.alpha[0]) args->alpha = ctx.attr(row.alpha).f;
  if (row.beta[0]) args->beta = ctx.attr(row.beta).f;
  if (std::strcmp(row.name, "Gelu") == 0) args->alpha = ctx.attr_string("approximate") == "tanh" ? 1 : 0;
  if (std::strcmp(row.name, "IsInf") == 0) {
    args->alpha = ctx.attr_bool("detect_negative") ? -kInfinity : std::nan("");
    args->beta = ctx.attr_bool("detect_positive") ? kInfinity : std::nan("");
  }
}

Status prepare(PrepareContext& ctx) {
  const int index = row_of(ctx);
  const Row& row = kRows[index];
  ElementwiseTyping typing;
  typing.a = ctx.input(0).dtype;
  typing.y = ctx.output(0).dtype;
  typing.compute = compute_type(typing.a);
  ElementwiseArgs prepared;
  read_parameters(ctx, row, &prepared);
  const BroadcastOperand operands[] = {{ctx.output(0).shape, ctx.output_pitch(0)},
                                       {ctx.input(0).shape, ctx.input_pitch(0)}};
  const BroadcastLoop loop(operands, 2);
  prepared.y_plane = loop.plane_stride(0);
  prepared.y_row = loop.row_stride(0);
  prepared.a_plane = loop.plane_stride(1);
  prepared.a_row = loop.row_stride(1);
  const ElementwiseKernel kernel = elementwise_kernels(typing.compute, ctx.isa()).unary[index];
  const size_t x_size = dtype_size(typing.a), y_size = dtype_size(typing.y);
  ctx.set_step(make_step(row.name, [=, cost = row.cost](const StepArgs& step) {
    loop.run(step.pool, cost, [&](const int64_t* offsets, int64_t planes, int64_t rows, int64_t columns) {
      ElementwiseArgs args = prepared;
      args.y = step.outputs[0]->as<char>() + static_cast<size_t>(offsets[0]) * y_size;
      args.a = step.inputs[0]->as<char>() + static_cast<size_t>(offsets[1]) * x_size;
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

EDGEC_REGISTER(unary) {
  for (const Row& row : kRows) {
    OpBuilder op = registry.add(row.name);
    op.doc(row.doc).input("x").output("y").infer(infer).prepare(prepare);
    op.flags(kElementwise | kPitchedInputs | kPitchedOutputs).inplace(0);
    if (row.alpha[0]) op.attr(row.alpha, row.alpha_default);
    if (row.beta[0]) op.attr(row.beta, row.beta_default);
    if (std::strcmp(row.name, "Gelu") == 0)
      op.attr("approximate", "none", "tanh: the approximation with tanh, else exact", "none|tanh");
    if (std::strcmp(row.name, "IsInf") == 0)
      op.attr("detect_negative", 1, "report -infinity").attr("detect_positive", 1, "report +infinity");
  }
}

}  // namespace edgec
