#include "core/op.h"
#include "kernels/layout/copy.h"
#include "kernels/layout/scatter.h"
#include "kernels/layout/strides.h"

namespace edgec {
namespace {

Status infer(InferContext& ctx) {
  EDGEC_TRY(ctx.want_dtype(1, {DType::kI32, DType::kI64}));
  const TensorType &x = ctx.input(0), &updates = ctx.input(2);
  const Shape& indices = ctx.input(1).shape;
  int axis = 0;
  EDGEC_TRY(ctx.normalize_axis(ctx.attr_int("axis"), x.shape.rank(), &axis));
  bool fits = indices.rank() == x.shape.rank();
  for (int i = 0; fits && i < x.shape.rank(); ++i) fits = i == axis || indices[i] <= x.shape[i];
  if (!fits)
    return ctx.fail(StatusCode::kShape,
                    "'indices' %s must have the rank of input 'x' %s and, beside axis %d, at most "
                    "its dimensions",
                    indices.to_string().c_str(), x.to_string().c_str(), axis);
  if (updates.dtype != x.dtype || updates.shape != indices)
    return ctx.fail(StatusCode::kShape, "input 'updates' is %s, expected %s%s", updates.to_string().c_str(),
                    dtype_name(x.dtype), indices.to_string().c_str());
  return ctx.set_output(0, x.dtype, x.shape);
}

Status prepare(PrepareContext& ctx) {
  const Shape data = ctx.input(0).shape, shape = ctx.input(1).shape;
  int64_t axis = ctx.attr_int("axis");
  if (axis < 0) axis += data.rank();
  const int a = static_cast<int>(axis);
  Combine combine;
  EDGEC_TRY(Combine::make(ctx, ctx.attr_string("reduction"), ctx.input(0).dtype, ctx.isa(), &combine));
  const DType type = ctx.input(1).dtype;
  const size_t bytes = ctx.input(0).bytes();
  const std::string node = ctx.node_name();
  ctx.set_step(make_step("scatter elements", [=](const StepArgs& args) -> Status {
    const void* indices = args.inputs[1]->data;
    const int64_t count = shape.elements(), size = data[a];
    for (int64_t i = 0; i < count; ++i) {
      const int64_t index = index_at(type, indices, i);
      if (index < -size || index >= size)
        return error(
            StatusCode::kInvalidArgument,
            "ScatterElements '%s': indices[%lld] (flat) is %lld, expected at least %lld and below %lld "
            "(dimension %d of input 'x' %s)",
            node.c_str(), static_cast<long long>(i), static_cast<long long>(index),
            static_cast<long long>(-size), static_cast<long long>(size), a, data.to_string().c_str());
    }
    copy_bytes(args.pool, args.outputs[0]->data, args.inputs[0]->data, bytes);
    if (count == 0) return ok_status();
    int64_t strides[kMaxRank];
    strides_of(data, strides);
    const int64_t axis_stride = strides[a];
    strides[a] = 0;
    // One after the other: several updates may meet at one place, and then their order counts.
    const size_t element = combine.element_bytes();
    Odometer at(shape.data(), strides, shape.rank(), 0);
    for (int64_t i = 0; i < count; ++i, at.next()) {
      int64_t index = index_at(type, indices, i);
      if (index < 0) index += size;
      combine.apply(
          args.outputs[0]->as<char>() + static_cast<size_t>(at.offset() + index * axis_stride) * element,
          args.inputs[2]->as<char>() + static_cast<size_t>(i) * element, 1);
    }
    return ok_status();
  }));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(scatter_elements) {
  registry.add("ScatterElements")
      .doc(
          "x with y[indices[i][j][k]][j][k] replaced by, or combined with, updates[i][j][k] (axis 0; "
          "likewise others).")
      .input("x")
      .input("indices", "i32 or i64 of x's rank; negative ones count from the end")
      .input("updates", "of the shape of indices")
      .output("y")
      .attr("axis", 0)
      .attr("reduction", "none", "how an update meets the old value", kReductions)
      .inplace(0)
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
