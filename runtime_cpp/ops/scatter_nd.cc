#include "core/op.h"
#include "kernels/layout/copy.h"
#include "kernels/layout/scatter.h"
#include "kernels/layout/tuples.h"

namespace edgec {
namespace {

Status infer(InferContext& ctx) {
  EDGEC_TRY(ctx.want_dtype(1, {DType::kI32, DType::kI64}));
  const TensorType &x = ctx.input(0), &updates = ctx.input(2);
  const Shape& indices = ctx.input(1).shape;
  if (indices.rank() == 0 || indices.back() > x.shape.rank())
    return ctx.fail(StatusCode::kShape,
                    "the last dimension of 'indices' %s addresses more than the %d dimensions of "
                    "input 'x' %s",
                    indices.to_string().c_str(), x.shape.rank(), x.shape.to_string().c_str());
  Shape expected;
  for (int i = 0; i + 1 < indices.rank(); ++i) expected.push_back(indices[i]);
  for (int i = static_cast<int>(indices.back()); i < x.shape.rank(); ++i) expected.push_back(x.shape[i]);
  if (updates.dtype != x.dtype || updates.shape != expected)
    return ctx.fail(StatusCode::kShape, "input 'updates' is %s, expected %s%s", updates.to_string().c_str(),
                    dtype_name(x.dtype), expected.to_string().c_str());
  return ctx.set_output(0, x.dtype, x.shape);
}

Status prepare(PrepareContext& ctx) {
  const IndexTuples tuples(ctx, 0);
  Combine combine;
  EDGEC_TRY(Combine::make(ctx, ctx.attr_string("reduction"), ctx.input(0).dtype, ctx.isa(), &combine));
  const size_t bytes = ctx.input(0).bytes();
  ctx.set_step(make_step("scatter nd", [=](const StepArgs& args) -> Status {
    const void* indices = args.inputs[1]->data;
    EDGEC_TRY(tuples.check(indices));
    copy_bytes(args.pool, args.outputs[0]->data, args.inputs[0]->data, bytes);
    // One after the other: rows may address the same place, and then the last one stands.
    const size_t element = combine.element_bytes();
    char* y = args.outputs[0]->as<char>();
    const char* updates = args.inputs[2]->as<char>();
    for (int64_t t = 0; t < tuples.count; ++t)
      combine.apply(y + static_cast<size_t>(tuples.offset(indices, t)) * element,
                    updates + static_cast<size_t>(t * tuples.slice) * element, tuples.slice);
    return ok_status();
  }));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(scatter_nd) {
  registry.add("ScatterND")
      .doc("x with the slices that the rows of indices address replaced by, or combined with, updates.")
      .input("x")
      .input("indices", "i32 or i64 [n..., k]; negative ones count from the end")
      .input("updates", "[n..., the last rank(x) - k dimensions of x]")
      .output("y")
      .attr("reduction", "none", "how an update meets the old value", kReductions)
      .inplace(0)
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
