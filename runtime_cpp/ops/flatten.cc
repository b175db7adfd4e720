#include "core/op.h"
#include "kernels/layout/copy.h"

namespace edgec {
namespace {

Status infer(InferContext& ctx) {
  const Shape& shape = ctx.input(0).shape;
  int64_t axis = ctx.attr_int("axis");
  // Unlike other axes this one may equal the rank: everything then goes into the first dimension.
  if (axis < -shape.rank() || axis > shape.rank())
    return ctx.fail(StatusCode::kShape, "axis %lld is outside [%d, %d] of input 'x' %s",
                    static_cast<long long>(axis), -shape.rank(), shape.rank(), shape.to_string().c_str());
  if (axis < 0) axis += shape.rank();
  const int split = static_cast<int>(axis);
  return ctx.set_output(0, ctx.input(0).dtype,
                        Shape{shape.product(0, split), shape.product(split, shape.rank())});
}

}  // namespace

EDGEC_REGISTER(flatten) {
  registry.add("Flatten")
      .doc("A matrix: dimensions before `axis` become rows, the others columns.")
      .input("x")
      .output("y")
      .attr("axis", 1)
      .flags(kViewOfInput0 | kSignAgnostic)
      .infer(infer)
      .prepare(prepare_view);
}

}  // namespace edgec
