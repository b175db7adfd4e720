#include <algorithm>

#include "ops/rows.h"

namespace edgec {
namespace {

// exp and the division, in multiply-adds.
constexpr double kCostPerElement = 16;

Status infer(InferContext& ctx) {
  EDGEC_TRY(ctx.want_dtype(0, {DType::kF32}));
  const Shape& x = ctx.input(0).shape;
  int axis = 0;
  if (x.rank() > 0) EDGEC_TRY(ctx.normalize_axis(ctx.attr_int("axis"), x.rank(), &axis));
  return ctx.set_output(0, DType::kF32, x);
}

Status prepare(PrepareContext& ctx) {
  const bool logarithm = ctx.op().name == "LogSoftmax";
  const ReduceKernels& kernels = reduce_kernels(ctx.isa());
  const AxisSplit split = split_at(ctx.input(0).shape, ctx.attr_int("axis"));
  if (ctx.input(0).shape.elements() == 0) {
    ctx.set_step(make_step("nothing", [](const StepArgs&) { return ok_status(); }));
    return ok_status();
  }
  if (split.inner == 1) {
    // Dimensions of size 1 may follow the axis; then the tensor is dense.
    const bool last = ctx.input(0).shape.rank() > 0 && ctx.input(0).shape.back() == split.size;
    ctx.set_step(make_step("softmax_rows", [=, &kernels](const StepArgs& args) {
      const TensorView& x = *args.inputs[0];
      TensorView& y = *args.outputs[0];
      for_rows(args.pool, x, y, split.outer, split.size, last ? x.pitch : split.size,
               last ? y.pitch : split.size, kCostPerElement,
               [&](const RowsRun& run, int) { kernels.softmax_rows(run, logarithm); });
      return ok_status();
    }));
    return ok_status();
  }
  const int64_t chunks = (split.inner + kColumnChunk - 1) / kColumnChunk;
  ctx.set_step(make_step("softmax_columns", [=, &kernels](const StepArgs& args) {
    const float* x = args.inputs[0]->as<const float>();
    float* y = args.outputs[0]->as<float>();
    const double cost = static_cast<double>(split.size * std::min<int64_t>(kColumnChunk, split.inner));
    args.pool.parallel_for(
        split.outer * chunks, cost * kCostPerElement, [&](int64_t begin, int64_t end, int) {
          for (int64_t task = begin; task < end; ++task) {
            const int64_t offset = task / chunks * split.size * split.inner,
                          first = task % chunks * kColumnChunk;
            RowsRun run;
            run.x = x + offset;
            run.y = y + offset;
            run.rows = split.size;
            run.x_pitch = run.y_pitch = split.inner;
            kernels.softmax_columns(run, first, std::min(first + kColumnChunk, split.inner), logarithm);
          }
        });
    return ok_status();
  }));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(softmax) {
  for (const char* name : {"Softmax", "LogSoftmax"})
    registry.add(name)
        .doc(name[0] == 'S' ? "exp(x - max) / sum(exp(x - max)) along one axis."
                            : "x - max - log(sum(exp(x - max))) along one axis.")
        .input("x", "f32")
        .output("y")
        .attr("axis", -1)
        .inplace(0)
        .infer(infer)
        .prepare(prepare);
}

}  // namespace edgec
