#include <cstring>

#include "core/op.h"
#include "kernels/elementwise/convert.h"

namespace edgec {
namespace {

Status infer(InferContext& ctx) {
  EDGEC_TRY(ctx.want_rank(0, 2));
  const std::string& name = ctx.attr_string("dtype");
  const DType dtype = name.empty() ? ctx.input(0).dtype : dtype_from_name(name.c_str());
  if (dtype == DType::kNone)
    return ctx.fail(StatusCode::kInvalidArgument,
                    "attribute 'dtype' is '%s', expected a data type such as f32 or i64", name.c_str());
  return ctx.set_output(0, dtype, ctx.input(0).shape);
}

Status prepare(PrepareContext& ctx) {
  const DType dtype = ctx.output(0).dtype;
  const int64_t rows = ctx.output(0).shape[0], columns = ctx.output(0).shape[1], k = ctx.attr_int("k");
  const size_t element = dtype_size(dtype), bytes = ctx.output(0).bytes();
  const int64_t one = 1;
  uint64_t pattern = 0;
  convert_elements(DType::kI64, &one, dtype, &pattern, 1);
  ctx.set_step(make_step("eye like", [=](const StepArgs& args) {
    char* y = args.outputs[0]->as<char>();
    std::memset(y, 0, bytes);
    if (k > columns || k < -rows) return ok_status();
    for (int64_t r = 0; r < rows; ++r)
      if (r + k >= 0 && r + k < columns)
        std::memcpy(y + static_cast<size_t>(r * columns + r + k) * element, &pattern, element);
    return ok_status();
  }));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(eye_like) {
  registry.add("EyeLike")
      .doc("A matrix of x's shape with ones on diagonal k and zeros elsewhere.")
      .input("x", "only its shape, and without `dtype` its type, is used")
      .output("y")
      .attr("k", 0, "0 = the main diagonal, positive = above")
      .attr("dtype", "", "data type of the result; empty: that of x")
      .flags(kShapeOnly)
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
