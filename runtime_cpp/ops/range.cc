#include <cmath>

#include "core/op.h"
#include "kernels/elementwise/convert.h"

namespace edgec {
namespace {

// The three scalars as f64 or, for integers, as i64: an i64 range must not lose bits.
struct Bounds {
  double f[3];
  int64_t i[3];
};

Status read_bounds(const NodeContext& ctx, Bounds* bounds) {
  for (int k = 0; k < 3; ++k) {
    const char* name = ctx.op().inputs[static_cast<size_t>(k)].name.c_str();
    if (ctx.value(k) == nullptr)
      return ctx.fail(StatusCode::kNeedsValue,
                      "input '%s' must be known before the run, but it depends on input data", name);
    if (ctx.input(k).dtype != ctx.input(0).dtype || ctx.input(k).shape.elements() != 1)
      return ctx.fail(StatusCode::kShape,
                      "input '%s' is %s, expected one element of the type of 'start' (%s)", name,
                      ctx.input(k).to_string().c_str(), dtype_name(ctx.input(0).dtype));
    convert_elements(ctx.input(k).dtype, ctx.value(k), DType::kF64, &bounds->f[k], 1);
    convert_elements(ctx.input(k).dtype, ctx.value(k), DType::kI64, &bounds->i[k], 1);
  }
  return ok_status();
}

Status infer(InferContext& ctx) {
  EDGEC_TRY(ctx.want_dtype(0, {DType::kF32, DType::kF64, DType::kI16, DType::kI32, DType::kI64}));
  Bounds b;
  EDGEC_TRY(read_bounds(ctx, &b));
  if (b.f[2] == 0 || std::isnan(b.f[2]))
    return ctx.fail(StatusCode::kInvalidArgument, "input 'delta' is %g, expected any other number", b.f[2]);
  int64_t count = 0;
  if (dtype_is_float(ctx.input(0).dtype)) {
    const double steps = std::ceil((b.f[1] - b.f[0]) / b.f[2]);
    // Beyond 2^62 set_output would refuse as well, but the conversion must be defined. NaN counts as none.
    count = steps > 0 ? static_cast<int64_t>(std::fmin(steps, 4e18)) : 0;
  } else {
    const __int128 span = static_cast<__int128>(b.i[1]) - b.i[0], delta = b.i[2];
    const __int128 steps = delta > 0 ? (span + delta - 1) / delta : (span + delta + 1) / delta;
    if (steps > INT64_MAX) return ctx.fail(StatusCode::kShape, "the range has more than 2^63 elements");
    if (span != 0 && (span > 0) == (delta > 0)) count = static_cast<int64_t>(steps);
  }
  return ctx.set_output(0, ctx.input(0).dtype, Shape{count});
}

Status prepare(PrepareContext& ctx) {
  Bounds b;
  EDGEC_TRY(read_bounds(ctx, &b));
  const DType dtype = ctx.output(0).dtype;
  const int64_t count = ctx.output(0).shape.elements();
  const size_t element = dtype_size(dtype);
  ctx.set_step(make_step("range", [=](const StepArgs& args) {
    char* y = args.outputs[0]->as<char>();
    for (int64_t i = 0; i < count; ++i) {
      if (dtype_is_float(dtype)) {
        const double value = b.f[0] + static_cast<double>(i) * b.f[2];
        convert_elements(DType::kF64, &value, dtype, y + static_cast<size_t>(i) * element, 1);
      } else {
        const int64_t value = b.i[0] + i * b.i[2];
        convert_elements(DType::kI64, &value, dtype, y + static_cast<size_t>(i) * element, 1);
      }
    }
    return ok_status();
  }));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(range) {
  registry.add("Range")
      .doc("start, start + delta, ... up to but without limit.")
      .input("start", "one element: f32, f64, i16, i32 or i64")
      .input("limit")
      .input("delta")
      .output("y")
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
