#include <algorithm>

#include "core/op.h"

namespace edgec {
namespace {

// Python's slice of the dimensions: out of range is clamped, never an error.
void slice_of(const NodeContext& ctx, int rank, int* begin, int* end) {
  const auto clamp = [rank](int64_t i) {
    if (i < 0) i = i < -rank ? 0 : i + rank;
    return static_cast<int>(std::min<int64_t>(i, rank));
  };
  *begin = clamp(ctx.attr_int("start"));
  *end = std::max(*begin, clamp(ctx.attr_int("end")));
}

Status infer(InferContext& ctx) {
  int begin = 0, end = 0;
  slice_of(ctx, ctx.input(0).shape.rank(), &begin, &end);
  return ctx.set_output(0, DType::kI64, Shape{end - begin});
}

Status prepare(PrepareContext& ctx) {
  int begin = 0, end = 0;
  const Shape shape = ctx.input(0).shape;
  slice_of(ctx, shape.rank(), &begin, &end);
  ctx.set_step(make_step("shape", [=](const StepArgs& args) {
    std::copy(shape.begin() + begin, shape.begin() + end, args.outputs[0]->as<int64_t>());
    return ok_status();
  }));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(shape) {
  registry.add("Shape")
      .doc("The dimensions [start, end) of its input as i64.")
      .input("x")
      .output("shape")
      .attr("start", 0)
      .attr("end", INT64_MAX)
      .flags(kShapeOnly)
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
