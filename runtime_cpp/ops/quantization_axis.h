// Which scale belongs to which element: one per tensor, one per index of an axis, or one per block of an
// axis.
#pragma once
#include <cstdint>

#include "core/op.h"
#include "kernels/elementwise/convert.h"

namespace edgec {

// Elements that are converted and computed together, so that the block stays in the first-level cache.
inline constexpr int64_t kQuantizationChunk = 256;

// Element i of a scale or zero point of any type.
inline float element_as_float(const TensorView& view, int64_t i) {
  float value;
  load_as(view.dtype(), view.as<const char>() + static_cast<size_t>(i) * dtype_size(view.dtype()), 1, &value);
  return value;
}

// A zero point as the model means it, also where it is stored as u8 = i8 + 128.
inline float zero_point_value(const TensorView& view, int64_t i) {
  return element_as_float(view, i) - (view.type.excess128 ? 128.0f : 0.0f);
}

struct QuantizationAxis {
  int64_t outer = 1, length = 1, inner = 1;  // the tensor as [outer, length, inner], length = the axis
  int64_t block = 0;                         // elements of the axis per scale; 0 = one scale for the tensor
  bool blocked = false;                      // scales have the tensor's shape but for the axis

  int64_t runs() const { return outer * length; }
  // Run r is inner neighbouring elements; element i of it has scale index first(r) + i * step().
  int64_t first(int64_t r) const {
    if (block == 0) return 0;
    const int64_t o = r / length, a = r % length;
    if (!blocked) return a;
    const int64_t blocks = (length + block - 1) / block;
    return (o * blocks + a / block) * inner;
  }
  int64_t step() const { return blocked ? 1 : 0; }
};

// Checks scale (input 1) and zero point (input 2, if any) against x (input 0), attributes axis and
// block_size.
inline Status quantization_axis(const NodeContext& ctx, QuantizationAxis* out) {
  const Shape &x = ctx.input(0).shape, &scale = ctx.input(1).shape;
  const auto wrong = [&](const char* expected) {
    return ctx.fail(StatusCode::kShape, "input 1 ('scale') %s does not fit input 0 %s: expected %s",
                    scale.to_string().c_str(), x.to_string().c_str(), expected);
  };
  if (ctx.has_input(2) && ctx.input(2).shape.elements() != scale.elements())
    return ctx.fail(StatusCode::kShape, "input 2 ('zero_point') has shape %s, 'scale' has %s",
                    ctx.input(2).shape.to_string().c_str(), scale.to_string().c_str());
  QuantizationAxis result;
  if (scale.elements() == 1 && ctx.attr_int("block_size") == 0) {
    result.inner = x.elements();
    *out = result;
    return ok_status();
  }
  const int64_t given = ctx.attr_int("axis");
  if (given < -x.rank() || given >= x.rank())
    return ctx.fail(StatusCode::kInvalidArgument, "axis %lld is outside the dimensions of %s",
                    static_cast<long long>(given), x.to_string().c_str());
  const int axis = static_cast<int>(given < 0 ? given + x.rank() : given);
  result.outer = x.product(0, axis);
  result.length = x[axis];
  result.inner = x.product(axis + 1, x.rank());
  const int64_t block = ctx.attr_int("block_size");
  if (block == 0) {
    if (scale.rank() != 1 || scale[0] != x[axis]) return wrong("one scale per index of the axis");
    result.block = 1;
    *out = result;
    return ok_status();
  }
  if (block < 0 || scale.rank() != x.rank()) return wrong("one scale per block");
  for (int i = 0; i < x.rank(); ++i)
    if (scale[i] != (i == axis ? (x[i] + block - 1) / block : x[i])) return wrong("one scale per block");
  result.block = block;
  result.blocked = true;
  *out = result;
  return ok_status();
}

}  // namespace edgec
