#include <algorithm>

#include "core/op.h"
#include "kernels/layout/strided_copy.h"
#include "kernels/layout/strides.h"

namespace edgec {
namespace {

struct Range {
  int64_t start, step, count;
};

// Python's rules: negative positions count from the end, positions out of range are clamped.
Range resolve(int64_t start, int64_t end, int64_t step, int64_t size) {
  // No step beyond the dimension reaches a second element; limiting it keeps the arithmetic below in range.
  step = std::clamp(step, -std::max<int64_t>(size, 1), std::max<int64_t>(size, 1));
  if (start < 0) start = start < -size ? (step > 0 ? 0 : -1) : start + size;
  if (end < 0) end = end < -size ? (step > 0 ? 0 : -1) : end + size;
  if (step > 0) {
    start = std::min(start, size);
    end = std::min(end, size);
    return {start, step, end > start ? (end - start + step - 1) / step : 0};
  }
  start = std::min(start, size - 1);
  end = std::min(end, size - 1);
  return {start, step, start > end ? (start - end - step - 1) / -step : 0};
}

Status resolve_all(const NodeContext& ctx, Range* ranges) {
  const Shape& shape = ctx.input(0).shape;
  for (int i = 0; i < shape.rank(); ++i) ranges[i] = {0, 1, shape[i]};
  std::vector<int64_t> starts, ends, axes, steps;
  EDGEC_TRY(ctx.value_ints(1, &starts));
  EDGEC_TRY(ctx.value_ints(2, &ends));
  if (ctx.has_input(3)) EDGEC_TRY(ctx.value_ints(3, &axes));
  if (ctx.has_input(4)) EDGEC_TRY(ctx.value_ints(4, &steps));
  if (ends.size() != starts.size() || (ctx.has_input(3) && axes.size() != starts.size()) ||
      (ctx.has_input(4) && steps.size() != starts.size()) ||
      starts.size() > static_cast<size_t>(shape.rank()))
    return ctx.fail(
        StatusCode::kShape,
        "'starts' %zu, 'ends' %zu, 'axes' %zu, 'steps' %zu entries: expected as many of each, at most the "
        "%d dimensions of input 'x' %s",
        starts.size(), ends.size(), axes.size(), steps.size(), shape.rank(), shape.to_string().c_str());
  bool seen[kMaxRank] = {};
  for (size_t k = 0; k < starts.size(); ++k) {
    const int64_t axis = axes.empty()  ? static_cast<int64_t>(k)
                         : axes[k] < 0 ? axes[k] + shape.rank()
                                       : axes[k];
    if (axis < 0 || axis >= shape.rank() || seen[axis])
      return ctx.fail(StatusCode::kInvalidArgument, "axis %lld is repeated or outside input 'x' %s",
                      static_cast<long long>(axes[k]), shape.to_string().c_str());
    seen[axis] = true;
    const int64_t step = steps.empty() ? 1 : steps[k];
    if (step == 0)
      return ctx.fail(StatusCode::kInvalidArgument, "'steps'[%zu] is 0, expected any other number", k);
    ranges[axis] = resolve(starts[k], ends[k], step, shape[static_cast<int>(axis)]);
  }
  return ok_status();
}

Status infer(InferContext& ctx) {
  Range ranges[kMaxRank];
  EDGEC_TRY(resolve_all(ctx, ranges));
  Shape out = ctx.input(0).shape;
  for (int i = 0; i < out.rank(); ++i) out[i] = ranges[i].count;
  return ctx.set_output(0, ctx.input(0).dtype, out);
}

void view_parts(const NodeContext& ctx, std::vector<ViewPart>* parts) {
  Range ranges[kMaxRank];
  if (!resolve_all(ctx, ranges).ok()) return;
  int axis = -1;
  for (int i = 0; i < ctx.input(0).shape.rank(); ++i) {
    if (ranges[i].count == ctx.input(0).shape[i] && ranges[i].step > 0) continue;
    if (axis >= 0 || ranges[i].step != 1) return;
    axis = i;
  }
  if (axis >= 0) parts->push_back({0, axis, ranges[axis].start});
}

Status prepare(PrepareContext& ctx) {
  if (ctx.part_placed(0)) {
    ctx.set_step(make_step("view", [](const StepArgs&) { return ok_status(); }));
    return ok_status();
  }
  Range ranges[kMaxRank];
  EDGEC_TRY(resolve_all(ctx, ranges));
  const Shape &in = ctx.input(0).shape, &out = ctx.output(0).shape;
  const size_t element = dtype_size(ctx.input(0).dtype);
  int64_t from[kMaxRank], to[kMaxRank];
  strides_of(in, ctx.input_pitch(0), from);
  strides_of(out, ctx.output_pitch(0), to);
  CopyDim dims[kMaxRank];
  int64_t offset = 0;
  for (int i = 0; i < in.rank(); ++i) {
    if (out[i] > 0) offset += ranges[i].start * from[i];
    dims[i] = {out[i], out[i] > 1 ? ranges[i].step * from[i] : 0, to[i]};
  }
  const size_t start = static_cast<size_t>(offset) * element;
  const StridedCopy copy(element, dims, in.rank(), ctx.isa());
  ctx.set_step(make_step(copy.kernel_name(), [=](const StepArgs& args) {
    copy.run(args.pool, args.inputs[0]->as<char>() + start, args.outputs[0]->data);
    return ok_status();
  }));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(slice) {
  registry.add("Slice")
      .doc("x[start:end:step] along some axes, with Python's rules for negative and large positions.")
      .input("x")
      .input("starts", "i64[n] or i32[n], as the three that follow")
      .input("ends")
      .optional("axes", "default: the first n")
      .optional("steps", "default: 1; negative ones go backwards")
      .output("y")
      .flags(kPitchedInputs | kPitchedOutputs | kSignAgnostic)
      .views(false, view_parts)
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
