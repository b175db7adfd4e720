#include "core/op.h"
#include "kernels/layout/strided_copy.h"
#include "kernels/layout/strides.h"

namespace edgec {
namespace {

Status infer(InferContext& ctx) {
  const TensorType& first = ctx.input(0);
  int axis = 0;
  EDGEC_TRY(ctx.normalize_axis(ctx.attr_int("axis"), first.shape.rank(), &axis));
  Shape out = first.shape;
  for (int i = 1; i < ctx.input_count(); ++i) {
    const TensorType& type = ctx.input(i);
    bool fits = type.dtype == first.dtype && type.shape.rank() == out.rank();
    for (int d = 0; fits && d < out.rank(); ++d) fits = d == axis || type.shape[d] == out[d];
    if (!fits)
      return ctx.fail(StatusCode::kShape, "input %d is %s, which does not join input 0 %s along axis %d", i,
                      type.to_string().c_str(), first.to_string().c_str(), axis);
    if (__builtin_add_overflow(out[axis], type.shape[axis], &out[axis]))
      return ctx.fail(StatusCode::kShape, "the joined dimension exceeds 2^63");
  }
  return ctx.set_output(0, first.dtype, out);
}

int axis_of(const NodeContext& ctx) {
  const int64_t axis = ctx.attr_int("axis");
  return static_cast<int>(axis < 0 ? axis + ctx.output(0).shape.rank() : axis);
}

void view_parts(const NodeContext& ctx, std::vector<ViewPart>* parts) {
  const int axis = axis_of(ctx);
  int64_t offset = 0;
  for (int i = 0; i < ctx.input_count(); ++i) {
    parts->push_back({i, axis, offset});
    offset += ctx.input(i).shape[axis];
  }
}

struct Part {
  int input;
  size_t offset;  // bytes into the output
  StridedCopy copy;
};

Status prepare(PrepareContext& ctx) {
  const int axis = axis_of(ctx);
  const Shape& out = ctx.output(0).shape;
  const size_t element = dtype_size(ctx.output(0).dtype);
  int64_t to[kMaxRank], from[kMaxRank];
  strides_of(out, ctx.output_pitch(0), to);
  std::vector<Part> parts;
  int64_t offset = 0;
  for (int i = 0; i < ctx.input_count(); ++i) {
    const Shape& shape = ctx.input(i).shape;
    const int64_t start = offset * to[axis];
    offset += shape[axis];
    if (i < 64 && ctx.part_placed(i)) continue;
    strides_of(shape, ctx.input_pitch(i), from);
    CopyDim dims[kMaxRank];
    for (int d = 0; d < out.rank(); ++d) dims[d] = {shape[d], from[d], to[d]};
    parts.push_back(
        {i, static_cast<size_t>(start) * element, StridedCopy(element, dims, out.rank(), ctx.isa())});
  }
  const char* kernel = parts.empty() ? "view" : parts[0].copy.kernel_name();
  ctx.set_step(make_step(kernel, [parts = std::move(parts)](const StepArgs& args) {
    for (const Part& part : parts)
      part.copy.run(args.pool, args.inputs[part.input]->data, args.outputs[0]->as<char>() + part.offset);
    return ok_status();
  }));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(concat) {
  registry.add("Concat")
      .doc("Its inputs joined along `axis`; all other dimensions and the data type are the same.")
      .variadic("inputs")
      .output("y")
      .required("axis", AttrType::kInt)
      .flags(kPitchedInputs | kPitchedOutputs | kSignAgnostic)
      .views(true, view_parts)
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
