#include "core/op.h"
#include "kernels/elementwise/convert.h"

namespace edgec {
namespace {

bool is_non_zero(DType dtype, const void* data, int64_t i) {
  bool result = false;
  convert_elements(dtype, static_cast<const char*>(data) + static_cast<size_t>(i) * dtype_size(dtype),
                   DType::kBool, &result, 1);
  return result;
}

Status infer(InferContext& ctx) {
  const TensorType& x = ctx.input(0);
  if (ctx.value(0) == nullptr)
    return ctx.fail(StatusCode::kNeedsValue,
                    "the number of non-zero elements depends on the data of input 'x'");
  int64_t count = 0;
  for (int64_t i = 0; i < x.shape.elements(); ++i) count += is_non_zero(x.dtype, ctx.value(0), i);
  return ctx.set_output(0, DType::kI64, Shape{x.shape.rank(), count});
}

Status prepare(PrepareContext& ctx) {
  const Shape shape = ctx.input(0).shape;
  const int64_t count = ctx.output(0).shape[1];
  const DType dtype = ctx.input(0).dtype;
  ctx.set_step(make_step("non zero", [=](const StepArgs& args) {
    int64_t* y = args.outputs[0]->as<int64_t>();
    int64_t found = 0;
    for (int64_t i = 0; i < shape.elements() && found < count; ++i) {
      if (!is_non_zero(dtype, args.inputs[0]->data, i)) continue;
      int64_t left = i;
      for (int d = shape.rank() - 1; d >= 0; --d) {
        y[d * count + found] = left % shape[d];
        left /= shape[d];
      }
      ++found;
    }
    return ok_status();
  }));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(non_zero) {
  registry.add("NonZero")
      .doc("The indices of the elements that are not zero, in row-major order.")
      .input("x")
      .output("indices", "i64[rank, n]")
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
