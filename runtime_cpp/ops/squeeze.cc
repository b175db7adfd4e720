#include "core/op.h"
#include "kernels/layout/copy.h"

namespace edgec {
namespace {

Status infer(InferContext& ctx) {
  const Shape& shape = ctx.input(0).shape;
  std::vector<int64_t> axes;
  EDGEC_TRY(ctx.ints_of("axes", 1, &axes));
  bool drop[kMaxRank] = {};
  for (int64_t a : axes) {
    int axis = 0;
    EDGEC_TRY(ctx.normalize_axis(a, shape.rank(), &axis));
    if (shape[axis] != 1)
      return ctx.fail(StatusCode::kShape, "axis %lld of input 'x' %s has size %lld, expected 1",
                      static_cast<long long>(a), shape.to_string().c_str(),
                      static_cast<long long>(shape[axis]));
    drop[axis] = true;
  }
  Shape out;
  for (int i = 0; i < shape.rank(); ++i)
    if (axes.empty() ? shape[i] != 1 : !drop[i]) out.push_back(shape[i]);
  return ctx.set_output(0, ctx.input(0).dtype, out);
}

}  // namespace

EDGEC_REGISTER(squeeze) {
  registry.add("Squeeze")
      .doc("Removes dimensions of size 1.")
      .input("x")
      .optional("axes", "i64; in place of the attribute")
      .output("y")
      .attr("axes", std::vector<int64_t>{}, "which; empty: all of size 1")
      .flags(kViewOfInput0 | kSignAgnostic)
      .infer(infer)
      .prepare(prepare_view);
}

}  // namespace edgec
