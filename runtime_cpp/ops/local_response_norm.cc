#include <cmath>

#include "ops/rows.h"

namespace edgec {
namespace {

Status infer(InferContext& ctx) {
  EDGEC_TRY(ctx.want_dtype(0, {DType::kF32}));
  int axis = 0;
  EDGEC_TRY(ctx.normalize_axis(ctx.attr_int("axis"), ctx.input(0).shape.rank(), &axis));
  const int64_t size = ctx.attr_int("size");
  if (size < 1 || size > (int64_t{1} << 20))
    return ctx.fail(StatusCode::kInvalidArgument, "attribute 'size' is %lld, expected 1 to 2^20",
                    static_cast<long long>(size));
  return ctx.set_output(0, DType::kF32, ctx.input(0).shape);
}

// Another axis than the last one: rare (a net left in NCHW), so plain loops.
Status run_strided(const StepArgs& args, const AxisSplit& split, int64_t size, float alpha, float beta,
                   float bias) {
  const float* x = args.inputs[0]->as<const float>();
  float* y = args.outputs[0]->as<float>();
  const int64_t before = (size - 1) / 2, after = size - 1 - before;
  args.pool.parallel_for(split.outer * split.size, static_cast<double>(split.inner * (size + 40)),
                         [&](int64_t begin, int64_t end, int) {
                           for (int64_t task = begin; task < end; ++task) {
                             const int64_t c = task % split.size, first = std::max<int64_t>(0, c - before);
                             const int64_t last = std::min(split.size - 1, c + after);
                             const float* in = x + task * split.inner;
                             for (int64_t i = 0; i < split.inner; ++i) {
                               float sum = 0;
                               for (int64_t k = first; k <= last; ++k) {
                                 const float v = in[(k - c) * split.inner + i];
                                 sum += v * v;
                               }
                               y[task * split.inner + i] =
                                   in[i] * std::pow(bias + alpha / static_cast<float>(size) * sum, -beta);
                             }
                           }
                         });
  return ok_status();
}

Status prepare(PrepareContext& ctx) {
  const Shape& shape = ctx.input(0).shape;
  const AxisSplit split = split_at(shape, ctx.attr_int("axis"));
  const int64_t size = ctx.attr_int("size");
  const float alpha = ctx.attr_float("alpha"), beta = ctx.attr_float("beta"), bias = ctx.attr_float("bias");
  if (split.inner != 1 || shape.back() != split.size) {
    ctx.set_step(make_step("local_response_strided", [=](const StepArgs& args) {
      return run_strided(args, split, size, alpha, beta, bias);
    }));
    return ok_status();
  }
  const ReduceKernels& kernels = reduce_kernels(ctx.isa());
  const int64_t per_thread = split.size + size;
  ctx.request_scratch(static_cast<size_t>(per_thread * ctx.threads()) * sizeof(float));
  ctx.set_step(make_step("local_response_rows", [=, &kernels](const StepArgs& args) {
    const TensorView& x = *args.inputs[0];
    TensorView& y = *args.outputs[0];
    float* scratch = reinterpret_cast<float*>(args.scratch);
    for_rows(args.pool, x, y, split.outer, split.size, x.pitch, y.pitch, static_cast<double>(size + 40),
             [&](const RowsRun& run, int thread) {
               kernels.local_response_rows(run, size, alpha, beta, bias, scratch + thread * per_thread);
             });
    return ok_status();
  }));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(local_response_norm) {
  registry.add("LocalResponseNorm")
      .doc("x / (bias + alpha / size * s)^beta, s the sum of squares over `size` neighbours along the axis.")
      .input("x", "f32")
      .output("y")
      .required("size", AttrType::kInt, "neighbours, the element itself included")
      .attr("alpha", 1e-4)
      .attr("beta", 0.75)
      .attr("bias", 1.0)
      .attr("axis", -1)
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
