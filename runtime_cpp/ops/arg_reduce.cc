#include <algorithm>

#include "ops/rows.h"

namespace edgec {
namespace {

// Columns whose best values and indices one task keeps on its stack.
constexpr int64_t kArgColumns = 32;

Status infer(InferContext& ctx) {
  EDGEC_TRY(ctx.want_dtype(0, {DType::kF32, DType::kF64, DType::kI32, DType::kI64, DType::kI8, DType::kU8}));
  const Shape& x = ctx.input(0).shape;
  int axis = 0;
  Shape y;
  if (x.rank() > 0) {
    EDGEC_TRY(ctx.normalize_axis(ctx.attr_int("axis"), x.rank(), &axis));
    if (x[axis] == 0)
      return ctx.fail(StatusCode::kShape, "input 'x' %s has no element along axis %d", x.to_string().c_str(),
                      axis);
    for (int i = 0; i < x.rank(); ++i)
      if (i != axis || ctx.attr_bool("keepdims")) y.push_back(i == axis ? 1 : x[i]);
  }
  return ctx.set_output(0, DType::kI64, y);
}

// Is b better than a? NaN is better than any number; the first of equals stays unless `last`.
template <class T>
bool better(T a, T b, bool largest, bool last) {
  if (b != b) return a == a || last;
  if (a != a) return false;
  if (a == b) return last;
  return largest ? b > a : b < a;
}

template <class T>
struct ArgColumns {
  AxisSplit split;
  bool largest, last;

  Status operator()(const StepArgs& args) const {
    const T* x = args.inputs[0]->as<const T>();
    int64_t* y = args.outputs[0]->as<int64_t>();
    const int64_t chunks = (split.inner + kArgColumns - 1) / kArgColumns;
    const double cost = static_cast<double>(split.size * std::min(split.inner, kArgColumns)) * 2;
    args.pool.parallel_for(split.outer * chunks, cost, [&](int64_t begin, int64_t end, int) {
      for (int64_t task = begin; task < end; ++task) {
        const int64_t outer = task / chunks, first = task % chunks * kArgColumns;
        const int64_t columns = std::min(kArgColumns, split.inner - first);
        const T* p = x + outer * split.size * split.inner + first;
        T best[kArgColumns];
        int64_t* index = y + outer * split.inner + first;
        for (int64_t c = 0; c < columns; ++c) {
          best[c] = p[c];
          index[c] = 0;
        }
        for (int64_t r = 1; r < split.size; ++r) {
          p += split.inner;
          for (int64_t c = 0; c < columns; ++c)
            if (better(best[c], p[c], largest, last)) {
              best[c] = p[c];
              index[c] = r;
            }
        }
      }
    });
    return ok_status();
  }
};

template <class T>
Status set_columns(PrepareContext& ctx, const AxisSplit& split, bool largest, bool last) {
  ctx.set_step(make_step("arg_columns", ArgColumns<T>{split, largest, last}));
  return ok_status();
}

Status prepare(PrepareContext& ctx) {
  const bool largest = ctx.op().name == "ArgMax", last = ctx.attr_bool("select_last_index");
  const AxisSplit split = split_at(ctx.input(0).shape, ctx.attr_int("axis"));
  switch (ctx.input(0).dtype) {
    case DType::kF64:
      return set_columns<double>(ctx, split, largest, last);
    case DType::kI32:
      return set_columns<int32_t>(ctx, split, largest, last);
    case DType::kI64:
      return set_columns<int64_t>(ctx, split, largest, last);
    case DType::kI8:
      return set_columns<int8_t>(ctx, split, largest, last);
    case DType::kU8:
      return set_columns<uint8_t>(ctx, split, largest, last);
    default:
      break;
  }
  if (split.inner != 1) return set_columns<float>(ctx, split, largest, last);
  const ReduceKernels& kernels = reduce_kernels(ctx.isa());
  ctx.set_step(make_step("arg_rows", [=, &kernels](const StepArgs& args) {
    const float* x = args.inputs[0]->as<const float>();
    int64_t* y = args.outputs[0]->as<int64_t>();
    args.pool.parallel_for(split.outer, static_cast<double>(split.size + 16),
                           [&](int64_t begin, int64_t end, int) {
                             for (int64_t r = begin; r < end; ++r)
                               y[r] = kernels.arg_row(x + r * split.size, split.size, largest, last);
                           });
    return ok_status();
  }));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(arg_reduce) {
  for (const char* name : {"ArgMax", "ArgMin"})
    registry.add(name)
        .doc(name[3] == 'M' && name[4] == 'a'
                 ? "Index of the greatest element along an axis, i64; the first NaN wins over numbers."
                 : "Index of the least element along an axis, i64; the first NaN wins over numbers.")
        .input("x", "f32, f64, i32, i64, i8, u8")
        .output("y", "i64")
        .attr("axis", 0)
        .attr("keepdims", 1)
        .attr("select_last_index", 0, "1: the last of equal elements")
        .flags(kSignAgnostic)
        .infer(infer)
        .prepare(prepare);
}

}  // namespace edgec
