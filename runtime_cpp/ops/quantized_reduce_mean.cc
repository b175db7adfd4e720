#include <algorithm>

#include "kernels/reduce/plan.h"
#include "ops/quantized_bytes.h"

namespace edgec {
namespace {

Status axes_mask(const NodeContext& ctx, uint32_t* mask) {
  const int rank = ctx.input(0).shape.rank();
  *mask = 0;
  for (int64_t a : ctx.attr_ints("axes")) {
    if (a < -rank || a >= rank)
      return ctx.fail(StatusCode::kInvalidArgument, "axis %lld is outside the dimensions of %s",
                      static_cast<long long>(a), ctx.input(0).to_string().c_str());
    *mask |= 1u << (a < 0 ? a + rank : a);
  }
  if (ctx.attr_ints("axes").empty()) *mask = (1u << rank) - 1;
  return ok_status();
}

Status infer(InferContext& ctx) {
  EDGEC_TRY(ctx.want_dtype(0, {DType::kI8}));
  EDGEC_TRY(check_quantizations(ctx, DType::kI8, "x"));
  uint32_t mask = 0;
  EDGEC_TRY(axes_mask(ctx, &mask));
  const Shape& x = ctx.input(0).shape;
  Shape y;
  for (int i = 0; i < x.rank(); ++i) {
    const bool reduced = (mask >> i) & 1;
    if (!reduced || ctx.attr_bool("keepdims")) y.push_back(reduced ? 1 : x[i]);
  }
  return ctx.set_output(0, DType::kI8, y);
}

struct QuantizedMean {
  const QuantizedKernels& kernels;
  ReducePlan plan;
  StoredBytes form;
  ByteRounding rounding;
  float multiplier;
  int32_t subtract;

  // A row of contiguous elements counts as rows of kQuantizedColumns whose sums are added up at the end.
  void sum_row(const uint8_t* x, int32_t* total) const {
    int32_t sums[kQuantizedColumns] = {};
    const int64_t full = plan.rows / kQuantizedColumns, rest = plan.rows % kQuantizedColumns;
    if (full > 0) kernels.accumulate(x, 1, 0, full, kQuantizedColumns, kQuantizedColumns, form.flip, sums);
    if (rest > 0) kernels.accumulate(x + full * kQuantizedColumns, 1, 0, 1, 0, rest, form.flip, sums);
    uint32_t sum = static_cast<uint32_t>(*total);
    for (int32_t s : sums) sum += static_cast<uint32_t>(s);
    *total = static_cast<int32_t>(sum);
  }

  Status operator()(const StepArgs& args) const {
    const uint8_t* x = args.inputs[0]->as<const uint8_t>();
    uint8_t* y = args.outputs[0]->as<uint8_t>();
    const int64_t chunks = (plan.columns + kQuantizedColumns - 1) / kQuantizedColumns;
    const double cost =
        static_cast<double>(plan.count * std::min<int64_t>(plan.columns, kQuantizedColumns)) / 4 + 16;
    args.pool.parallel_for(plan.kept_total * chunks, cost, [&](int64_t begin, int64_t end, int) {
      for (int64_t task = begin; task < end; ++task) {
        int64_t x_offset = 0, y_offset = 0;
        plan.kept_offsets(task / chunks, &x_offset, &y_offset);
        const int64_t first = task % chunks * kQuantizedColumns;
        const int64_t n = std::min<int64_t>(kQuantizedColumns, plan.columns - first);
        int32_t sums[kQuantizedColumns] = {};
        plan.for_reduced([&](int64_t offset) {
          const uint8_t* p = x + x_offset + offset + first;
          if (plan.by_columns)
            kernels.accumulate(p, 1, 0, plan.rows, plan.row_stride, n, form.flip, sums);
          else
            sum_row(p, sums);
        });
        kernels.finish_sums(sums, n, subtract, multiplier, rounding, y + y_offset + first);
      }
    });
    return ok_status();
  }
};

Status prepare(PrepareContext& ctx) {
  uint32_t mask = 0;
  EDGEC_TRY(axes_mask(ctx, &mask));
  const ReducePlan plan = ReducePlan::make(ctx.input(0).shape, ctx.input_pitch(0), mask,
                                           ctx.attr_bool("keepdims"), ctx.output_pitch(0));
  const StoredBytes form = stored_form(ctx.input(0), zero_point_of(ctx, "x"));
  const double count = static_cast<double>(std::max<int64_t>(plan.count, 1));
  float multiplier = 1;
  EDGEC_TRY(round_multiplier(ctx, scale_of(ctx, "x") / (scale_of(ctx, "y") * count), &multiplier));
  const auto subtract =
      static_cast<int32_t>(static_cast<uint32_t>(plan.count) * static_cast<uint32_t>(form.zero));
  ctx.set_step(make_step("quantized_mean", QuantizedMean{quantized_kernels(ctx.isa()), plan, form,
                                                         output_rounding(ctx), multiplier, subtract}));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(quantized_reduce_mean) {
  OpBuilder op = registry.add("QuantizedReduceMean");
  op.doc("ReduceMean on i8 numbers with a scale and a zero point.").input("x", "i8").output("y", "i8");
  op.attr("axes", std::vector<int64_t>{}, "empty: all")
      .attr("keepdims", 1, "1: reduced dimensions stay with size 1");
  quantization_attrs(op, "x");
  quantization_attrs(op, "y");
  limit_attrs(op).flags(kPitchedInputs | kPitchedOutputs | kRequantizes).infer(infer).prepare(prepare);
}

}  // namespace edgec
