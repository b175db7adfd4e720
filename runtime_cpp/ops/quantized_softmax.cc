#include <algorithm>

#include "ops/quantized_bytes.h"
#include "ops/rows.h"

namespace edgec {
namespace {

constexpr double kCostPerElement = 6;

Status infer(InferContext& ctx) {
  EDGEC_TRY(ctx.want_dtype(0, {DType::kI8}));
  EDGEC_TRY(ctx.want_dtype(1, {DType::kI32}));
  EDGEC_TRY(check_quantizations(ctx, DType::kI8, nullptr));
  const Shape& x = ctx.input(0).shape;
  if (ctx.input(1).shape != Shape{256})
    return ctx.fail(StatusCode::kShape, "input 'table' is %s, expected [256]",
                    ctx.input(1).to_string().c_str());
  int axis = 0;
  if (x.rank() > 0) EDGEC_TRY(ctx.normalize_axis(ctx.attr_int("axis"), x.rank(), &axis));
  return ctx.set_output(0, DType::kI8, x);
}

Status prepare(PrepareContext& ctx) {
  const QuantizedKernels& kernels = quantized_kernels(ctx.isa());
  const AxisSplit split = split_at(ctx.input(0).shape, ctx.attr_int("axis"));
  QuantizedRowsRun prepared;
  prepared.n = prepared.x_pitch = prepared.y_pitch = split.size;
  prepared.flip = stored_form(ctx.input(0), 0).flip;
  prepared.y_scale = ctx.attr_float("y_scale");
  prepared.rounding = output_rounding(ctx);
  // Columns are copied to rows and back.
  const auto buffer = static_cast<size_t>(split.inner == 1 ? 0 : split.size);
  ctx.request_scratch(buffer * static_cast<size_t>(ctx.threads()));
  ctx.set_step(make_step("quantized_softmax", [=, &kernels](const StepArgs& args) {
    const uint8_t* x = args.inputs[0]->as<const uint8_t>();
    const int32_t* table = args.inputs[1]->as<const int32_t>();
    uint8_t* y = args.outputs[0]->as<uint8_t>();
    const double cost = static_cast<double>(split.size) * kCostPerElement;
    args.pool.parallel_for(split.outer * split.inner, cost, [&](int64_t begin, int64_t end, int thread) {
      QuantizedRowsRun run = prepared;
      if (split.inner == 1) {
        run.x = x + begin * split.size;
        run.y = y + begin * split.size;
        run.rows = end - begin;
        kernels.softmax_rows(run, table);
        return;
      }
      auto* row = reinterpret_cast<uint8_t*>(args.scratch) + static_cast<size_t>(thread) * buffer;
      run.x = run.y = row;
      run.rows = 1;
      for (int64_t r = begin; r < end; ++r) {
        const int64_t start = r / split.inner * split.size * split.inner + r % split.inner;
        for (int64_t i = 0; i < split.size; ++i) row[i] = x[start + i * split.inner];
        kernels.softmax_rows(run, table);
        for (int64_t i = 0; i < split.size; ++i) y[start + i * split.inner] = row[i];
      }
    });
    return ok_status();
  }));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(quantized_softmax) {
  OpBuilder op = registry.add("QuantizedSoftmax");
  op.doc(
        "Softmax along one axis, from a table of exp(-d * scale of x) * 2^23 over the distance d from the "
        "maximum.")
      .input("x", "i8")
      .input("table", "i32 [256]")
      .output("y", "i8")
      .attr("axis", -1);
  quantization_attrs(op, "y").flags(kRequantizes).inplace(0).infer(infer).prepare(prepare);
}

}  // namespace edgec
