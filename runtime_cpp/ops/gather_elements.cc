#include <cstring>

#include "core/op.h"
#include "kernels/layout/strides.h"

namespace edgec {
namespace {

Status infer(InferContext& ctx) {
  EDGEC_TRY(ctx.want_dtype(1, {DType::kI32, DType::kI64}));
  const Shape &data = ctx.input(0).shape, &indices = ctx.input(1).shape;
  int axis = 0;
  EDGEC_TRY(ctx.normalize_axis(ctx.attr_int("axis"), data.rank(), &axis));
  bool fits = indices.rank() == data.rank();
  for (int i = 0; fits && i < data.rank(); ++i) fits = i == axis || indices[i] <= data[i];
  if (!fits)
    return ctx.fail(StatusCode::kShape,
                    "'indices' %s must have the rank of input 'x' %s and, beside axis %d, at most "
                    "its dimensions",
                    indices.to_string().c_str(), data.to_string().c_str(), axis);
  return ctx.set_output(0, ctx.input(0).dtype, indices);
}

Status prepare(PrepareContext& ctx) {
  const Shape data = ctx.input(0).shape, shape = ctx.input(1).shape;
  int64_t axis = ctx.attr_int("axis");
  if (axis < 0) axis += data.rank();
  const int a = static_cast<int>(axis);
  const int64_t size = data[a], count = shape.elements();
  const size_t element = dtype_size(ctx.input(0).dtype);
  const DType type = ctx.input(1).dtype;
  const std::string node = ctx.node_name();
  ctx.set_step(make_step("gather elements", [=](const StepArgs& args) -> Status {
    const void* indices = args.inputs[1]->data;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t index = index_at(type, indices, i);
      if (index < -size || index >= size)
        return error(
            StatusCode::kInvalidArgument,
            "GatherElements '%s': indices[%lld] (flat) is %lld, expected at least %lld and below %lld "
            "(dimension %d of input 'x' %s)",
            node.c_str(), static_cast<long long>(i), static_cast<long long>(index),
            static_cast<long long>(-size), static_cast<long long>(size), a, data.to_string().c_str());
    }
    const char* x = args.inputs[0]->as<char>();
    char* y = args.outputs[0]->as<char>();
    int64_t strides[kMaxRank];
    strides_of(data, strides);
    const int64_t axis_stride = strides[a];
    strides[a] = 0;
    args.pool.parallel_for(count, 60.0, [&](int64_t begin, int64_t end, int) {
      Odometer at(shape.data(), strides, shape.rank(), begin);
      for (int64_t i = begin; i < end; ++i, at.next()) {
        int64_t index = index_at(type, indices, i);
        if (index < 0) index += size;
        std::memcpy(y + static_cast<size_t>(i) * element,
                    x + static_cast<size_t>(at.offset() + index * axis_stride) * element, element);
      }
    });
    return ok_status();
  }));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(gather_elements) {
  registry.add("GatherElements")
      .doc("y[i][j][k] = x[indices[i][j][k]][j][k] for axis 0, and likewise for others.")
      .input("x")
      .input("indices", "i32 or i64 of x's rank; negative ones count from the end")
      .output("y")
      .attr("axis", 0)
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
