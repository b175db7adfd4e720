#include <algorithm>

#include "core/op.h"
#include "kernels/layout/strided_copy.h"
#include "kernels/layout/strides.h"

namespace edgec {
namespace {

int axis_of(const NodeContext& ctx) {
  const int64_t axis = ctx.attr_int("axis");
  return static_cast<int>(axis < 0 ? axis + ctx.input(0).shape.rank() : axis);
}

int64_t size_of_part(const NodeContext& ctx, const std::vector<int64_t>& sizes, int64_t whole, int part) {
  if (!sizes.empty()) return sizes[static_cast<size_t>(part)];
  // Equal parts; the last one takes what is left.
  const int64_t each = (whole + ctx.output_count() - 1) / ctx.output_count();
  return std::clamp<int64_t>(whole - each * part, 0, each);
}

Status infer(InferContext& ctx) {
  const TensorType& x = ctx.input(0);
  int axis = 0;
  EDGEC_TRY(ctx.normalize_axis(ctx.attr_int("axis"), x.shape.rank(), &axis));
  std::vector<int64_t> sizes;
  EDGEC_TRY(ctx.ints_of("sizes", 1, &sizes));
  if (!sizes.empty()) {
    if (static_cast<int>(sizes.size()) != ctx.output_count())
      return ctx.fail(StatusCode::kInvalidArgument, "list 'sizes' has %zu entries for %d outputs",
                      sizes.size(), ctx.output_count());
    int64_t left = x.shape[axis];
    for (int64_t s : sizes) {
      if (s < 0 || s > left) left = -1;
      if (left >= 0) left -= s;
    }
    if (left != 0)
      return ctx.fail(
          StatusCode::kShape, "list 'sizes' %s does not add up to dimension %d of input 'x' %s",
          Shape(sizes.data(), static_cast<int>(std::min<size_t>(sizes.size(), kMaxRank))).to_string().c_str(),
          axis, x.to_string().c_str());
  }
  for (int i = 0; i < ctx.output_count(); ++i) {
    Shape out = x.shape;
    out[axis] = size_of_part(ctx, sizes, x.shape[axis], i);
    EDGEC_TRY(ctx.set_output(i, x.dtype, out));
  }
  return ok_status();
}

void view_parts(const NodeContext& ctx, std::vector<ViewPart>* parts) {
  const int axis = axis_of(ctx);
  std::vector<int64_t> sizes;
  if (!ctx.ints_of("sizes", 1, &sizes).ok()) return;
  int64_t offset = 0;
  for (int i = 0; i < ctx.output_count(); ++i) {
    if (ctx.has_output(i)) parts->push_back({i, axis, offset});
    offset += size_of_part(ctx, sizes, ctx.input(0).shape[axis], i);
  }
}

struct Part {
  int output;
  size_t offset;  // bytes into the input
  StridedCopy copy;
};

Status prepare(PrepareContext& ctx) {
  const int axis = axis_of(ctx);
  const Shape& in = ctx.input(0).shape;
  const size_t element = dtype_size(ctx.input(0).dtype);
  int64_t from[kMaxRank], to[kMaxRank];
  strides_of(in, ctx.input_pitch(0), from);
  std::vector<int64_t> sizes;
  EDGEC_TRY(ctx.ints_of("sizes", 1, &sizes));
  std::vector<Part> parts;
  int64_t offset = 0;
  for (int i = 0; i < ctx.output_count(); ++i) {
    const int64_t start = offset * from[axis];
    offset += size_of_part(ctx, sizes, in[axis], i);
    if (!ctx.has_output(i) || (i < 64 && ctx.part_placed(i))) continue;
    const Shape& shape = ctx.output(i).shape;
    strides_of(shape, ctx.output_pitch(i), to);
    CopyDim dims[kMaxRank];
    for (int d = 0; d < in.rank(); ++d) dims[d] = {shape[d], from[d], to[d]};
    parts.push_back(
        {i, static_cast<size_t>(start) * element, StridedCopy(element, dims, in.rank(), ctx.isa())});
  }
  const char* kernel = parts.empty() ? "view" : parts[0].copy.kernel_name();
  ctx.set_step(make_step(kernel, [parts = std::move(parts)](const StepArgs& args) {
    for (const Part& part : parts)
      part.copy.run(args.pool, args.inputs[0]->as<char>() + part.offset, args.outputs[part.output]->data);
    return ok_status();
  }));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(split) {
  registry.add("Split")
      .doc("Cuts its input along `axis` into one part per output.")
      .input("x")
      .optional("sizes", "i64; in place of the attribute")
      .variadic_output("parts")
      .attr("axis", 0)
      .attr("sizes", std::vector<int64_t>{}, "of the parts; empty: equal ones, the last takes what is left")
      .flags(kPitchedInputs | kPitchedOutputs | kSignAgnostic)
      .views(false, view_parts)
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
