#include "kernels/reduce/reduce.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/reduce/plan.h"
#include "ops/rows.h"

namespace edgec {
namespace {

enum class Finish { kNone, kMean, kSquareRoot, kLog, kLogPlusShift };

struct Row {
  const char* name;
  Reduction reduction;
  Finish finish;
  const char* doc;
};
constexpr Row kRows[] = {
    {"ReduceSum", Reduction::kSum, Finish::kNone, "Sum over axes."},
    {"ReduceMean", Reduction::kSum, Finish::kMean, "Mean over axes; integers truncate."},
    {"ReduceMax", Reduction::kMax, Finish::kNone, "Maximum over axes; NaN wins."},
    {"ReduceMin", Reduction::kMin, Finish::kNone, "Minimum over axes; NaN wins."},
    {"ReduceProd", Reduction::kProduct, Finish::kNone, "Product over axes."},
    {"ReduceL1", Reduction::kSumAbs, Finish::kNone, "Sum of absolute values over axes."},
    {"ReduceL2", Reduction::kSumSquare, Finish::kSquareRoot, "Square root of the sum of squares over axes."},
    {"ReduceLogSum", Reduction::kSum, Finish::kLog, "Logarithm of the sum over axes."},
    {"ReduceLogSumExp", Reduction::kSumExp, Finish::kLogPlusShift,
     "log(sum(exp(x))) over axes, without overflow."},
    {"ReduceSumSquare", Reduction::kSumSquare, Finish::kNone, "Sum of squares over axes."},
};

const Row& row_of(const NodeContext& ctx) {
  for (const Row& row : kRows)
    if (ctx.op().name == row.name) return row;
  return kRows[0];
}

// Bit i: axis i is reduced. Axes were checked by inference.
uint32_t axes_mask(const NodeContext& ctx, const std::vector<int64_t>& axes) {
  const int rank = ctx.input(0).shape.rank();
  uint32_t mask = 0;
  for (int64_t a : axes) mask |= 1u << (a < 0 ? a + rank : a);
  return axes.empty() && ctx.attr_string("no_axes") == "all" ? (1u << rank) - 1 : mask;
}

Status infer(InferContext& ctx) {
  const Reduction reduction = row_of(ctx).reduction;
  if (reduction == Reduction::kMax || reduction == Reduction::kMin)
    EDGEC_TRY(ctx.want_dtype(0, {DType::kF32, DType::kF64, DType::kI32, DType::kI64, DType::kU32, DType::kU64,
                                 DType::kI8, DType::kU8, DType::kBool}));
  else
    EDGEC_TRY(
        ctx.want_dtype(0, {DType::kF32, DType::kF64, DType::kI32, DType::kI64, DType::kU32, DType::kU64}));
  const Shape& x = ctx.input(0).shape;
  std::vector<int64_t> axes;
  EDGEC_TRY(ctx.ints_of("axes", 1, &axes));
  for (int64_t a : axes) {
    int axis = 0;
    EDGEC_TRY(ctx.normalize_axis(a, x.rank(), &axis));
  }
  const uint32_t mask = axes_mask(ctx, axes);
  Shape y;
  for (int i = 0; i < x.rank(); ++i) {
    const bool reduced = (mask >> i) & 1;
    if (!reduced || ctx.attr_bool("keepdims")) y.push_back(reduced ? 1 : x[i]);
  }
  return ctx.set_output(0, ctx.input(0).dtype, y);
}

double finish_value(Finish finish, double value, double count, double shift) {
  switch (finish) {
    case Finish::kNone:
      return value;
    case Finish::kMean:
      return value / count;
    case Finish::kSquareRoot:
      return std::sqrt(value);
    case Finish::kLog:
      return std::log(value);
    case Finish::kLogPlusShift:
      return std::log(value) + shift;
  }
  return value;
}

struct ReduceF32 {
  const ReduceKernels& kernels;
  ReducePlan plan;
  Row row;

  // total[c] over everything behind `columns` neighbouring outputs.
  void accumulate(Reduction reduction, const float* x, int64_t columns, const float* shift,
                  double* total) const {
    std::fill_n(total, columns, reduction_start(reduction));
    plan.for_reduced([&](int64_t offset) {
      if (!plan.by_columns) {
        total[0] =
            reduction_combine(reduction, total[0],
                              kernels.row(reduction, x + offset, plan.rows, shift == nullptr ? 0 : shift[0]));
        return;
      }
      for (int64_t r = 0; r < plan.rows; r += kRowBlock) {
        float part[kColumnChunk];
        kernels.columns(reduction, x + offset + r * plan.row_stride,
                        std::min<int64_t>(kRowBlock, plan.rows - r), plan.row_stride, columns, shift, part);
        if (reduction == Reduction::kSum || reduction == Reduction::kSumSquare)
          for (int64_t c = 0; c < columns; ++c) total[c] += static_cast<double>(part[c]);
        else
          for (int64_t c = 0; c < columns; ++c)
            total[c] = reduction_combine(reduction, total[c], static_cast<double>(part[c]));
      }
    });
  }

  Status operator()(const StepArgs& args) const {
    const float* x = args.inputs[0]->as<const float>();
    float* y = args.outputs[0]->as<float>();
    const int64_t chunks = (plan.columns + kColumnChunk - 1) / kColumnChunk;
    // Most reductions of the last axis: nothing to combine and no shift.
    const bool single_row =
        !plan.by_columns && plan.reduced_count == 0 && row.reduction != Reduction::kSumExp;
    const double cost = static_cast<double>(plan.count * std::min<int64_t>(plan.columns, kColumnChunk) + 16) *
                        (row.reduction == Reduction::kSumExp ? 16 : 1);
    args.pool.parallel_for(plan.kept_total * chunks, cost, [&](int64_t begin, int64_t end, int) {
      for (int64_t task = begin; task < end; ++task) {
        int64_t x_offset = 0, y_offset = 0;
        plan.kept_offsets(task / chunks, &x_offset, &y_offset);
        if (single_row) {
          y[y_offset] = static_cast<float>(
              finish_value(row.finish, kernels.row(row.reduction, x + x_offset, plan.rows, 0),
                           static_cast<double>(plan.count), 0));
          continue;
        }
        const int64_t first = task % chunks * kColumnChunk;
        const int64_t columns = std::min<int64_t>(kColumnChunk, plan.columns - first);
        double total[kColumnChunk];
        float shift[kColumnChunk];
        std::fill_n(shift, columns, 0.0f);
        if (row.reduction == Reduction::kSumExp) {
          accumulate(Reduction::kMax, x + x_offset + first, columns, nullptr, total);
          // exp(x - inf) would be NaN where the sum is plainly 0 or infinite.
          for (int64_t c = 0; c < columns; ++c)
            shift[c] = std::isinf(total[c]) ? 0.0f : static_cast<float>(total[c]);
        }
        accumulate(row.reduction, x + x_offset + first, columns, shift, total);
        for (int64_t c = 0; c < columns; ++c)
          y[y_offset + first + c] = static_cast<float>(finish_value(
              row.finish, total[c], static_cast<double>(plan.count), static_cast<double>(shift[c])));
      }
    });
    return ok_status();
  }
};

// Every other type: plain loops, integers modulo 2^64 as NumPy has them modulo 2^n.
template <class T>
struct ReduceTyped {
  ReducePlan plan;
  Row row;

  template <class Sum, class Step>
  Sum walk(const T* x, Sum start, const Step& step) const {
    Sum sum = start;
    plan.for_reduced([&](int64_t offset) {
      for (int64_t r = 0; r < plan.rows; ++r) sum = step(sum, x[offset + r * plan.row_stride]);
    });
    return sum;
  }

  T extremum(const T* x, bool greatest) const {
    using Limits = std::numeric_limits<T>;
    T start = greatest ? Limits::lowest() : Limits::max();
    if (Limits::has_infinity) start = greatest ? -Limits::infinity() : Limits::infinity();
    return walk(x, start, [greatest](T a, T b) { return (greatest ? b > a : b < a) || b != b ? b : a; });
  }

  T sum_exp(const T* x) const {
    double shift = plan.count == 0 ? 0.0 : static_cast<double>(extremum(x, true));
    if (std::isinf(shift)) shift = 0;
    const double sum =
        walk(x, 0.0, [shift](double a, T b) { return a + std::exp(static_cast<double>(b) - shift); });
    return static_cast<T>(std::log(sum) + shift);
  }

  T one(const T* x) const {
    using Sum = std::conditional_t<std::is_floating_point_v<T>, double, uint64_t>;
    Sum sum = 0;
    switch (row.reduction) {
      case Reduction::kMax:
        return extremum(x, true);
      case Reduction::kMin:
        return extremum(x, false);
      case Reduction::kSumExp:
        return sum_exp(x);
      case Reduction::kProduct:
        return static_cast<T>(walk(x, Sum{1}, [](Sum a, T b) { return a * static_cast<Sum>(b); }));
      case Reduction::kSumAbs:
        sum = walk(x, Sum{0},
                   [](Sum a, T b) { return b < T{0} ? a - static_cast<Sum>(b) : a + static_cast<Sum>(b); });
        break;
      case Reduction::kSumSquare:
        sum = walk(x, Sum{0}, [](Sum a, T b) { return a + static_cast<Sum>(b) * static_cast<Sum>(b); });
        break;
      default:
        sum = walk(x, Sum{0}, [](Sum a, T b) { return a + static_cast<Sum>(b); });
    }
    // The 64-bit sum with its sign back.
    using Value = std::conditional_t<std::is_floating_point_v<T>, double,
                                     std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>>;
    const Value value = static_cast<Value>(sum);
    if (row.finish == Finish::kMean) {
      if (std::is_floating_point_v<T>) return static_cast<T>(value / static_cast<Value>(plan.count));
      return plan.count == 0 ? T{0} : static_cast<T>(value / static_cast<Value>(plan.count));
    }
    if (row.finish == Finish::kNone) return static_cast<T>(value);
    return static_cast<T>(finish_value(row.finish, static_cast<double>(value), 1, 0));
  }

  Status operator()(const StepArgs& args) const {
    const T* x = args.inputs[0]->as<const T>();
    T* y = args.outputs[0]->as<T>();
    args.pool.parallel_for(plan.kept_total * plan.columns, static_cast<double>(plan.count + 16),
                           [&](int64_t begin, int64_t end, int) {
                             for (int64_t task = begin; task < end; ++task) {
                               int64_t x_offset = 0, y_offset = 0;
                               plan.kept_offsets(task / plan.columns, &x_offset, &y_offset);
                               const int64_t c = task % plan.columns;
                               y[y_offset + c] = one(x + x_offset + c);
                             }
                           });
    return ok_status();
  }
};

template <class T>
Status set_typed(PrepareContext& ctx, const ReducePlan& plan, const Row& row) {
  ctx.set_step(make_step("reduce_typed", ReduceTyped<T>{plan, row}));
  return ok_status();
}

Status prepare(PrepareContext& ctx) {
  const Row& row = row_of(ctx);
  const TensorType& x = ctx.input(0);
  if (ctx.output(0).shape.elements() == 0) {
    ctx.set_step(make_step("nothing", [](const StepArgs&) { return ok_status(); }));
    return ok_status();
  }
  std::vector<int64_t> axes;
  EDGEC_TRY(ctx.ints_of("axes", 1, &axes));
  const ReducePlan plan = ReducePlan::make(x.shape, ctx.input_pitch(0), axes_mask(ctx, axes),
                                           ctx.attr_bool("keepdims"), ctx.output_pitch(0));
  switch (x.dtype) {
    case DType::kF64:
      return set_typed<double>(ctx, plan, row);
    case DType::kI32:
      return set_typed<int32_t>(ctx, plan, row);
    case DType::kI64:
      return set_typed<int64_t>(ctx, plan, row);
    case DType::kU32:
      return set_typed<uint32_t>(ctx, plan, row);
    case DType::kU64:
      return set_typed<uint64_t>(ctx, plan, row);
    case DType::kI8:
      return set_typed<int8_t>(ctx, plan, row);
    case DType::kU8:
    case DType::kBool:
      return set_typed<uint8_t>(ctx, plan, row);
    default:
      break;
  }
  ctx.set_step(make_step(plan.by_columns ? "reduce_columns" : "reduce_rows",
                         ReduceF32{reduce_kernels(ctx.isa()), plan, row}));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(reduce) {
  for (const Row& row : kRows)
    registry.add(row.name)
        .doc(row.doc)
        .input("x", "f32, f64, i32, i64, u32, u64; maximum and minimum also i8, u8, bool")
        .optional("axes", "i64; in place of the attribute")
        .output("y")
        .attr("axes", std::vector<int64_t>{})
        .attr("no_axes", "all", "what an empty list of axes means", "all|none")
        .attr("keepdims", 1, "1: reduced dimensions stay with size 1")
        .flags(kPitchedInputs | kPitchedOutputs)
        // Only maximum and minimum take i8 at all.
        .flags(row.reduction == Reduction::kMax || row.reduction == Reduction::kMin ? kSignAgnostic : 0u)
        .infer(infer)
        .prepare(prepare);
}

}  // namespace edgec
