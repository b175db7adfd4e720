#include <algorithm>

#include "ops/rows.h"

namespace edgec {
namespace {

constexpr int64_t kColumns = 64;

Status axis_of(const NodeContext& ctx, int64_t* axis) {
  *axis = ctx.attr_int("axis");
  if (ctx.has_input(1)) {
    std::vector<int64_t> values;
    EDGEC_TRY(ctx.value_ints(1, &values));
    if (values.size() != 1)
      return ctx.fail(StatusCode::kShape, "input 1 ('axis') has %zu elements, expected 1", values.size());
    *axis = values[0];
  }
  const int rank = ctx.input(0).shape.rank();
  if (*axis < -std::max(rank, 1) || *axis >= std::max(rank, 1))
    return ctx.fail(StatusCode::kInvalidArgument, "axis %lld is outside [%d, %d)",
                    static_cast<long long>(*axis), -rank, rank);
  return ok_status();
}

Status infer(InferContext& ctx) {
  EDGEC_TRY(
      ctx.want_dtype(0, {DType::kF32, DType::kF64, DType::kI32, DType::kI64, DType::kU32, DType::kU64}));
  int64_t axis = 0;
  EDGEC_TRY(axis_of(ctx, &axis));
  return ctx.set_output(0, ctx.input(0).dtype, ctx.input(0).shape);
}

// f32 adds up in double precision: a running sum in f32 loses a digit every few thousand elements.
template <class T>
struct Cumulative {
  using Sum = std::conditional_t<std::is_floating_point_v<T>, double, uint64_t>;
  AxisSplit split;
  bool exclusive, reverse, product;

  Status operator()(const StepArgs& args) const {
    const T* x = args.inputs[0]->as<const T>();
    T* y = args.outputs[0]->as<T>();
    const int64_t chunks = (split.inner + kColumns - 1) / kColumns;
    const double cost = static_cast<double>(split.size * std::min(split.inner, kColumns)) * 2;
    args.pool.parallel_for(split.outer * chunks, cost, [&](int64_t begin, int64_t end, int) {
      for (int64_t task = begin; task < end; ++task) {
        const int64_t first = task % chunks * kColumns, columns = std::min(kColumns, split.inner - first);
        Sum sum[kColumns];
        std::fill_n(sum, kColumns, static_cast<Sum>(product ? 1 : 0));
        for (int64_t i = 0; i < split.size; ++i) {
          const int64_t row = task / chunks * split.size + (reverse ? split.size - 1 - i : i);
          const int64_t offset = row * split.inner + first;
          for (int64_t c = 0; c < columns; ++c) {
            const Sum before = sum[c];
            const Sum value = static_cast<Sum>(x[offset + c]);
            sum[c] = product ? before * value : before + value;
            y[offset + c] = static_cast<T>(exclusive ? before : sum[c]);
          }
        }
      }
    });
    return ok_status();
  }
};

template <class T>
Status set_typed(PrepareContext& ctx, const AxisSplit& split) {
  ctx.set_step(make_step("cumulative", Cumulative<T>{split, ctx.attr_bool("exclusive"),
                                                     ctx.attr_bool("reverse"), ctx.op().name == "CumProd"}));
  return ok_status();
}

Status prepare(PrepareContext& ctx) {
  int64_t axis = 0;
  EDGEC_TRY(axis_of(ctx, &axis));
  const AxisSplit split = split_at(ctx.input(0).shape, axis);
  switch (ctx.input(0).dtype) {
    case DType::kF64:
      return set_typed<double>(ctx, split);
    case DType::kI32:
      return set_typed<int32_t>(ctx, split);
    case DType::kI64:
      return set_typed<int64_t>(ctx, split);
    case DType::kU32:
      return set_typed<uint32_t>(ctx, split);
    case DType::kU64:
      return set_typed<uint64_t>(ctx, split);
    default:
      return set_typed<float>(ctx, split);
  }
}

}  // namespace

EDGEC_REGISTER(cumsum) {
  for (const char* name : {"CumSum", "CumProd"})
    registry.add(name)
        .doc("Running sum (or product) along an axis.")
        .input("x", "f32, f64, i32, i64, u32, u64")
        .optional("axis", "i32 or i64, one element, known before the run; wins over the attribute")
        .output("y")
        .attr("axis", 0)
        .attr("exclusive", 0, "1: an element does not count for its own result")
        .attr("reverse", 0, "1: from the last to the first")
        .inplace(0)
        .infer(infer)
        .prepare(prepare);
}

}  // namespace edgec
