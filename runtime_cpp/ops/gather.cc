#include <algorithm>
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
  if (data.rank() - 1 + indices.rank() > kMaxRank)
    return ctx.fail(StatusCode::kUnsupported, "input 'x' %s and 'indices' %s make more than %d dimensions",
                    data.to_string().c_str(), indices.to_string().c_str(), kMaxRank);
  Shape out;
  for (int i = 0; i < axis; ++i) out.push_back(data[i]);
  for (int64_t d : indices) out.push_back(d);
  for (int i = axis + 1; i < data.rank(); ++i) out.push_back(data[i]);
  return ctx.set_output(0, ctx.input(0).dtype, out);
}

template <class T>
void copy_single(const char* x, const void* indices, DType type, int64_t begin, int64_t end, int64_t size,
                 char* y) {
  for (int64_t i = begin; i < end; ++i) {
    int64_t index = index_at(type, indices, i);
    if (index < 0) index += size;
    std::memcpy(y + (i - begin) * static_cast<int64_t>(sizeof(T)),
                x + index * static_cast<int64_t>(sizeof(T)), sizeof(T));
  }
}

Status prepare(PrepareContext& ctx) {
  const Shape& data = ctx.input(0).shape;
  int64_t axis = ctx.attr_int("axis");
  if (axis < 0) axis += data.rank();
  const int a = static_cast<int>(axis);
  const int64_t size = data[a], count = ctx.input(1).shape.elements(), outer = data.product(0, a);
  const int64_t inner =
      data.product(a + 1, data.rank()) * static_cast<int64_t>(dtype_size(ctx.input(0).dtype));
  const DType type = ctx.input(1).dtype;
  const std::string node = ctx.node_name();
  ctx.set_step(make_step("gather", [=](const StepArgs& args) -> Status {
    const void* indices = args.inputs[1]->data;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t index = index_at(type, indices, i);
      if (index < -size || index >= size)
        return error(StatusCode::kInvalidArgument,
                     "Gather '%s': indices[%lld] is %lld, expected at least %lld and below %lld (dimension "
                     "%d of input "
                     "'x' %s)",
                     node.c_str(), static_cast<long long>(i), static_cast<long long>(index),
                     static_cast<long long>(-size), static_cast<long long>(size), a,
                     data.to_string().c_str());
    }
    const char* x = args.inputs[0]->as<char>();
    char* y = args.outputs[0]->as<char>();
    if (inner == 0) return ok_status();
    args.pool.parallel_for(
        outer * count, static_cast<double>(inner) + 8, [&](int64_t begin, int64_t end, int) {
          while (begin < end) {
            // The part of [begin, end) that has one outer index.
            const int64_t o = begin / count, first = begin % count;
            const int64_t last = std::min(count, first + (end - begin));
            const char* from = x + o * size * inner;
            char* to = y + begin * inner;
            if (inner == 4) {
              copy_single<uint32_t>(from, indices, type, first, last, size, to);
            } else if (inner == 8) {
              copy_single<uint64_t>(from, indices, type, first, last, size, to);
            } else {
              for (int64_t i = first; i < last; ++i) {
                int64_t index = index_at(type, indices, i);
                if (index < 0) index += size;
                std::memcpy(to + (i - first) * inner, from + index * inner, static_cast<size_t>(inner));
              }
            }
            begin += last - first;
          }
        });
    return ok_status();
  }));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(gather) {
  registry.add("Gather")
      .doc("x[..., indices, ...] along `axis`: the axis is replaced by the dimensions of indices.")
      .input("x")
      .input("indices", "i32 or i64; negative ones count from the end")
      .output("y")
      .attr("axis", 0)
      .flags(kSignAgnostic)
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
