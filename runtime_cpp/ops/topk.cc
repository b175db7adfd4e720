#include <algorithm>

#include "ops/rows.h"

namespace edgec {
namespace {

Status infer(InferContext& ctx) {
  EDGEC_TRY(ctx.want_dtype(0, {DType::kF32, DType::kF64, DType::kI32, DType::kI64, DType::kU32, DType::kU64,
                               DType::kI8, DType::kU8}));
  const Shape& x = ctx.input(0).shape;
  int axis = 0;
  EDGEC_TRY(ctx.normalize_axis(ctx.attr_int("axis"), x.rank(), &axis));
  std::vector<int64_t> k;
  EDGEC_TRY(ctx.value_ints(1, &k));
  if (k.size() != 1)
    return ctx.fail(StatusCode::kShape, "input 1 ('k') has %zu elements, expected 1", k.size());
  if (k[0] < 0 || k[0] > x[axis])
    return ctx.fail(
        StatusCode::kInvalidArgument, "k is %lld, expected 0 to %lld, the size of axis %d of input 'x' %s",
        static_cast<long long>(k[0]), static_cast<long long>(x[axis]), axis, x.to_string().c_str());
  Shape y = x;
  y[axis] = k[0];
  EDGEC_TRY(ctx.set_output(0, ctx.input(0).dtype, y));
  return ctx.set_output(1, DType::kI64, y);
}

template <class T>
struct TopK {
  struct Entry {
    T value;
    int64_t index;
  };
  AxisSplit split;
  int64_t k;
  bool largest, values, indices;

  // A total order: NaN counts as greater than every number, equal values come by index.
  static bool greater(const Entry& a, const Entry& b) {
    const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
    if (a_nan || b_nan) return a_nan != b_nan ? a_nan : a.index < b.index;
    return a.value != b.value ? a.value > b.value : a.index < b.index;
  }
  static bool less(const Entry& a, const Entry& b) {
    const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
    if (a_nan || b_nan) return a_nan != b_nan ? b_nan : a.index < b.index;
    return a.value != b.value ? a.value < b.value : a.index < b.index;
  }

  size_t scratch_per_thread() const {
    return (static_cast<size_t>(split.size) * sizeof(Entry) + 63) / 64 * 64;
  }

  Status operator()(const StepArgs& args) const {
    const T* x = args.inputs[0]->as<const T>();
    T* value = values ? args.outputs[0]->as<T>() : nullptr;
    int64_t* index = indices ? args.outputs[1]->as<int64_t>() : nullptr;
    const double cost = static_cast<double>(split.size) * 8;
    args.pool.parallel_for(split.outer * split.inner, cost, [&](int64_t begin, int64_t end, int thread) {
      Entry* entries =
          reinterpret_cast<Entry*>(args.scratch + static_cast<size_t>(thread) * scratch_per_thread());
      for (int64_t task = begin; task < end; ++task) {
        const int64_t outer = task / split.inner, inner = task % split.inner;
        const T* p = x + outer * split.size * split.inner + inner;
        for (int64_t i = 0; i < split.size; ++i) entries[i] = Entry{p[i * split.inner], i};
        std::partial_sort(entries, entries + k, entries + split.size, largest ? greater : less);
        for (int64_t i = 0; i < k; ++i) {
          const int64_t at = (outer * k + i) * split.inner + inner;
          if (value != nullptr) value[at] = entries[i].value;
          if (index != nullptr) index[at] = entries[i].index;
        }
      }
    });
    return ok_status();
  }
};

template <class T>
Status set_typed(PrepareContext& ctx, const AxisSplit& split, int64_t k) {
  const TopK<T> step{split, k, ctx.attr_bool("largest"), ctx.has_output(0), ctx.has_output(1)};
  ctx.request_scratch(step.scratch_per_thread() * static_cast<size_t>(ctx.threads()));
  ctx.set_step(make_step("topk", step));
  return ok_status();
}

Status prepare(PrepareContext& ctx) {
  const AxisSplit split = split_at(ctx.input(0).shape, ctx.attr_int("axis"));
  std::vector<int64_t> k;
  EDGEC_TRY(ctx.value_ints(1, &k));
  switch (ctx.input(0).dtype) {
    case DType::kF64:
      return set_typed<double>(ctx, split, k[0]);
    case DType::kI32:
      return set_typed<int32_t>(ctx, split, k[0]);
    case DType::kI64:
      return set_typed<int64_t>(ctx, split, k[0]);
    case DType::kU32:
      return set_typed<uint32_t>(ctx, split, k[0]);
    case DType::kU64:
      return set_typed<uint64_t>(ctx, split, k[0]);
    case DType::kI8:
      return set_typed<int8_t>(ctx, split, k[0]);
    case DType::kU8:
      return set_typed<uint8_t>(ctx, split, k[0]);
    default:
      return set_typed<float>(ctx, split, k[0]);
  }
}

}  // namespace

EDGEC_REGISTER(topk) {
  registry.add("TopK")
      .doc(
          "The k greatest (or least) elements along an axis, in order. Equal elements come by index; NaN "
          "counts as "
          "greater than every number.")
      .input("x", "f32, f64, i32, i64, u32, u64, i8, u8")
      .input("k", "i64, one element, known before the run")
      .output("values")
      .optional_output("indices", "i64")
      .attr("axis", -1)
      .attr("largest", 1)
      .attr("sorted", 1, "results are in order either way")
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
