#include <cstring>

#include "core/op.h"
#include "kernels/elementwise/convert.h"

namespace edgec {
namespace {

Status infer(InferContext& ctx) {
  const Shape& indices = ctx.input(0).shape;
  if (ctx.value(1) == nullptr)
    return ctx.fail(StatusCode::kNeedsValue,
                    "input 'depth' must be known before the run, but it depends on input data");
  if (ctx.input(1).shape.elements() != 1 || ctx.input(2).shape != Shape{2})
    return ctx.fail(StatusCode::kShape, "inputs 'depth' %s and 'values' %s must have one and [2] elements",
                    ctx.input(1).to_string().c_str(), ctx.input(2).to_string().c_str());
  int64_t depth = 0;
  convert_elements(ctx.input(1).dtype, ctx.value(1), DType::kI64, &depth, 1);
  if (depth < 0)
    return ctx.fail(StatusCode::kInvalidArgument, "'depth' is %lld", static_cast<long long>(depth));
  if (indices.rank() == kMaxRank)
    return ctx.fail(StatusCode::kUnsupported, "'indices' %s has no room for another of at most %d dimensions",
                    indices.to_string().c_str(), kMaxRank);
  int axis = 0;
  EDGEC_TRY(ctx.normalize_axis(ctx.attr_int("axis"), indices.rank() + 1, &axis));
  Shape out;
  for (int i = 0, next = 0; i <= indices.rank(); ++i) out.push_back(i == axis ? depth : indices[next++]);
  return ctx.set_output(0, ctx.input(2).dtype, out);
}

Status prepare(PrepareContext& ctx) {
  const Shape out = ctx.output(0).shape;
  int64_t axis = ctx.attr_int("axis");
  if (axis < 0) axis += out.rank();
  const int a = static_cast<int>(axis);
  const int64_t depth = out[a], outer = out.product(0, a), inner = out.product(a + 1, out.rank());
  const size_t element = dtype_size(ctx.output(0).dtype);
  const DType type = ctx.input(0).dtype;
  const size_t index_size = dtype_size(type);
  ctx.set_step(make_step("one hot", [=](const StepArgs& args) {
    const char* values = args.inputs[2]->as<char>();
    char* y = args.outputs[0]->as<char>();
    args.pool.parallel_for(
        outer, 2.0 * static_cast<double>(depth * inner), [&](int64_t begin, int64_t end, int) {
          for (int64_t o = begin; o < end; ++o) {
            char* block = y + static_cast<size_t>(o * depth * inner) * element;
            for (int64_t i = 0; i < depth * inner; ++i)
              std::memcpy(block + static_cast<size_t>(i) * element, values, element);
            for (int64_t i = 0; i < inner; ++i) {
              int64_t index = 0;
              convert_elements(type,
                               args.inputs[0]->as<char>() + static_cast<size_t>(o * inner + i) * index_size,
                               DType::kI64, &index, 1);
              if (index < 0) index += depth;
              if (index < 0 || index >= depth) continue;  // ONNX: such rows have no hot element
              std::memcpy(block + static_cast<size_t>(index * inner + i) * element, values + element,
                          element);
            }
          }
        });
    return ok_status();
  }));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(one_hot) {
  registry.add("OneHot")
      .doc("values[1] at the place along a new `axis` that each index names, values[0] elsewhere.")
      .input("indices", "any numeric type; negative ones count from the end, others outside name no place")
      .input("depth", "one element: the size of the new dimension")
      .input("values", "[2]: off and on")
      .output("y")
      .attr("axis", -1)
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
