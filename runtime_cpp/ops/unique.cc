#include <algorithm>
#include <cstring>
#include <numeric>

#include "core/op.h"
#include "kernels/elementwise/convert.h"

namespace edgec {
namespace {

// The slices along `axis` (every element when the tensor is flat) in a fixed order of first occurrence or
// size.
struct Slices {
  int64_t outer = 1, count = 0, inner = 1;
  DType dtype = DType::kNone;
  const char* data = nullptr;

  const char* at(int64_t o, int64_t i) const {
    return data + static_cast<size_t>((o * count + i) * inner) * dtype_size(dtype);
  }
  template <class T>
  int compare_as(int64_t a, int64_t b) const {
    constexpr int64_t kBlock = 64;
    T left[kBlock], right[kBlock];
    for (int64_t o = 0; o < outer; ++o) {
      for (int64_t k = 0; k < inner; k += kBlock) {
        const int64_t n = std::min(kBlock, inner - k);
        const size_t skip = static_cast<size_t>(k) * dtype_size(dtype);
        load_as(dtype, at(o, a) + skip, n, left);
        load_as(dtype, at(o, b) + skip, n, right);
        for (int64_t i = 0; i < n; ++i) {
          // NaN is the largest value and equal to itself, so that the order is total.
          const bool nan_left = left[i] != left[i], nan_right = right[i] != right[i];
          if (nan_left || nan_right) {
            if (nan_left != nan_right) return nan_left ? 1 : -1;
            continue;
          }
          if (left[i] != right[i]) return left[i] < right[i] ? -1 : 1;
        }
      }
    }
    return 0;
  }
  int compare(int64_t a, int64_t b) const {
    if (dtype == DType::kI64) return compare_as<int64_t>(a, b);
    if (dtype == DType::kU64) return compare_as<uint64_t>(a, b);
    return compare_as<double>(a, b);
  }
};

struct Groups {
  std::vector<int64_t> first, inverse, counts;  // in output order
};

Groups group(const Slices& slices, bool sorted) {
  std::vector<int64_t> order(static_cast<size_t>(slices.count));
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return slices.compare(a, b) < 0; });
  Groups groups;
  groups.inverse.resize(order.size());
  for (size_t k = 0; k < order.size(); ++k) {
    if (k == 0 || slices.compare(order[k - 1], order[k]) != 0) {
      groups.first.push_back(order[k]);
      groups.counts.push_back(0);
    }
    groups.inverse[static_cast<size_t>(order[k])] = static_cast<int64_t>(groups.first.size()) - 1;
    ++groups.counts.back();
  }
  if (sorted) return groups;
  std::vector<size_t> rank(groups.first.size());
  std::iota(rank.begin(), rank.end(), size_t{0});
  std::sort(rank.begin(), rank.end(), [&](size_t a, size_t b) { return groups.first[a] < groups.first[b]; });
  Groups by_occurrence;
  std::vector<int64_t> place(rank.size());
  for (size_t k = 0; k < rank.size(); ++k) {
    by_occurrence.first.push_back(groups.first[rank[k]]);
    by_occurrence.counts.push_back(groups.counts[rank[k]]);
    place[rank[k]] = static_cast<int64_t>(k);
  }
  for (int64_t g : groups.inverse) by_occurrence.inverse.push_back(place[static_cast<size_t>(g)]);
  return by_occurrence;
}

Slices slices_of(const NodeContext& ctx, const void* data) {
  const Shape& x = ctx.input(0).shape;
  Slices slices;
  slices.dtype = ctx.input(0).dtype;
  slices.data = static_cast<const char*>(data);
  slices.count = x.elements();
  if (ctx.attr_bool("flat")) return slices;
  const int64_t given = ctx.attr_int("axis");
  const int axis = static_cast<int>(given < 0 ? given + x.rank() : given);
  slices.outer = x.product(0, axis);
  slices.count = x[axis];
  slices.inner = x.product(axis + 1, x.rank());
  return slices;
}

Status infer(InferContext& ctx) {
  const Shape& x = ctx.input(0).shape;
  int axis = 0;
  if (!ctx.attr_bool("flat")) EDGEC_TRY(ctx.normalize_axis(ctx.attr_int("axis"), x.rank(), &axis));
  if (ctx.value(0) == nullptr)
    return ctx.fail(StatusCode::kNeedsValue, "the number of distinct values depends on the data");
  const Slices slices = slices_of(ctx, ctx.value(0));
  const auto distinct = static_cast<int64_t>(group(slices, true).first.size());
  Shape y{distinct};
  if (!ctx.attr_bool("flat")) {
    y = x;
    y[axis] = distinct;
  }
  EDGEC_TRY(ctx.set_output(0, ctx.input(0).dtype, y));
  EDGEC_TRY(ctx.set_output(1, DType::kI64, Shape{distinct}));
  EDGEC_TRY(ctx.set_output(2, DType::kI64, Shape{slices.count}));
  return ctx.set_output(3, DType::kI64, Shape{distinct});
}

Status prepare(PrepareContext& ctx) {
  const Slices shape = slices_of(ctx, nullptr);
  const bool sorted = ctx.attr_bool("sorted");
  ctx.set_step(make_step("unique", [shape, sorted](const StepArgs& args) {
    Slices slices = shape;
    slices.data = args.inputs[0]->as<const char>();
    const Groups groups = group(slices, sorted);
    if (args.outputs[0] != nullptr) {
      const auto distinct = static_cast<int64_t>(groups.first.size());
      const size_t bytes = static_cast<size_t>(slices.inner) * dtype_size(slices.dtype);
      for (int64_t o = 0; o < slices.outer; ++o)
        for (int64_t k = 0; k < distinct && bytes != 0; ++k)
          std::memcpy(args.outputs[0]->as<char>() + static_cast<size_t>(o * distinct + k) * bytes,
                      slices.at(o, groups.first[static_cast<size_t>(k)]), bytes);
    }
    const std::vector<int64_t>* lists[] = {&groups.first, &groups.inverse, &groups.counts};
    for (int i = 0; i < 3; ++i)
      if (args.outputs[i + 1] != nullptr)
        std::copy(lists[i]->begin(), lists[i]->end(), args.outputs[i + 1]->as<int64_t>());
    return ok_status();
  }));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(unique) {
  registry.add("Unique")
      .doc(
          "The distinct elements, or distinct slices along an axis. The output's length depends on the data.")
      .input("x")
      .output("y")
      .optional_output("indices", "i64: first occurrence of each")
      .optional_output("inverse", "i64: which one every slice is")
      .optional_output("counts", "i64")
      .attr("flat", 1, "1: elements of the flattened tensor; 0: slices along axis")
      .attr("axis", 0)
      .attr("sorted", 1, "0: in the order of first occurrence")
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
