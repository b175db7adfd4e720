#include <cstring>

#include "core/control.h"

namespace edgec {
namespace {

Status infer_scan(InferContext& context) {
  return context.fail(StatusCode::kNeedsValue, "the outputs follow from the iterations");
}

Status prepare_scan(PrepareContext& context) {
  return context.fail(StatusCode::kInternal, "control flow is run by the executor");
}

// An axis of a tensor as [outer, length, inner bytes].
struct AxisView {
  size_t outer, length, inner;
};

Status axis_view(ControlContext& context, const TensorType& type, int64_t axis, AxisView* out) {
  const int rank = type.shape.rank();
  if (axis < -rank || axis >= rank)
    return context.fail(StatusCode::kShape, "axis %lld is outside the dimensions of %s",
                        static_cast<long long>(axis), type.to_string().c_str());
  const int a = static_cast<int>(axis < 0 ? axis + rank : axis);
  out->outer = static_cast<size_t>(type.shape.product(0, a));
  out->length = static_cast<size_t>(type.shape[a]);
  out->inner = static_cast<size_t>(type.shape.product(a + 1, rank)) * dtype_size(type.dtype);
  return ok_status();
}

int64_t at_or(const std::vector<int64_t>& values, size_t i, int64_t otherwise) {
  return i < values.size() ? values[i] : otherwise;
}

Shape without_axis(const Shape& shape, int64_t axis) {
  Shape result;
  for (int i = 0; i < shape.rank(); ++i)
    if (i != (axis < 0 ? axis + shape.rank() : axis)) result.push_back(shape[i]);
  return result;
}

// Results of all iterations, stacked along `axis` of the result.
Status stack(ControlContext& context, const std::vector<HostTensor>& values, int64_t axis, bool reversed,
             HostTensor* out) {
  if (values.empty()) {
    out->type.dtype = DType::kF32;
    out->type.shape = Shape{0};
    return ok_status();
  }
  const TensorType& element = values[0].type;
  const int rank = element.shape.rank() + 1;
  if (rank > kMaxRank || axis < -rank || axis >= rank)
    return context.fail(StatusCode::kShape, "values %s cannot be stacked along axis %lld",
                        element.to_string().c_str(), static_cast<long long>(axis));
  const int a = static_cast<int>(axis < 0 ? axis + rank : axis);
  out->type.dtype = element.dtype;
  out->type.shape = Shape();
  for (int i = 0; i < rank; ++i)
    out->type.shape.push_back(i == a ? static_cast<int64_t>(values.size())
                                     : element.shape[i < a ? i : i - 1]);
  EDGEC_TRY(check_shape(out->type.dtype, out->type.shape));
  out->data.resize(out->type.bytes());
  AxisView view;
  EDGEC_TRY(axis_view(context, out->type, a, &view));
  for (size_t k = 0; k < values.size(); ++k) {
    const HostTensor& value = values[reversed ? values.size() - 1 - k : k];
    if (value.type.shape != element.shape || value.type.dtype != element.dtype)
      return context.fail(StatusCode::kShape, "a stacked output changes from %s to %s between iterations",
                          element.to_string().c_str(), value.type.to_string().c_str());
    for (size_t o = 0; o < view.outer && view.inner != 0; ++o)
      std::memcpy(out->data.data() + (o * view.length + k) * view.inner, value.data.data() + o * view.inner,
                  view.inner);
  }
  return ok_status();
}

Status run_scan(ControlContext& context) {
  const int64_t states = context.attr_int("carried"), scans = context.attr_int("scan_inputs");
  const int64_t captured = context.input_count() - states - scans;
  const int64_t stacked_count = context.output_count() - states;
  if (states < 0 || scans < 1 || captured < 0 || stacked_count < 0)
    return context.fail(StatusCode::kBadFile,
                        "%lld carried values and %lld scanned inputs do not fit %d inputs and %d outputs",
                        static_cast<long long>(states), static_cast<long long>(scans), context.input_count(),
                        context.output_count());
  std::vector<AxisView> axes(static_cast<size_t>(scans));
  std::vector<HostTensor> slices(static_cast<size_t>(scans)), state(static_cast<size_t>(states));
  for (size_t i = 0; i < axes.size(); ++i) {
    const TensorView input = context.input_view(static_cast<int>(states) + static_cast<int>(i));
    const int64_t axis = at_or(context.attr_ints("input_axes"), i, 0);
    EDGEC_TRY(axis_view(context, input.type, axis, &axes[i]));
    if (axes[i].length != axes[0].length)
      return context.fail(StatusCode::kShape, "the scanned inputs have %zu and %zu iterations",
                          axes[0].length, axes[i].length);
    slices[i].type.dtype = input.dtype();
    slices[i].type.shape = without_axis(input.shape(), axis);
    slices[i].data.resize(slices[i].type.bytes());
  }
  for (size_t i = 0; i < state.size(); ++i) {
    const TensorView view = context.input_view(static_cast<int>(i));
    state[i].type = view.type;
    state[i].data.assign(view.as<const std::byte>(), view.as<const std::byte>() + view.type.bytes());
  }
  std::vector<std::vector<HostTensor>> collected(static_cast<size_t>(stacked_count));
  std::vector<HostTensor> results;
  for (size_t iteration = 0; iteration < axes[0].length; ++iteration) {
    if (context.cancelled()) return error(StatusCode::kCancelled, "the run was cancelled");
    std::vector<TensorView> inputs;
    for (const HostTensor& value : state) inputs.push_back(view_of(value));
    for (size_t i = 0; i < slices.size(); ++i) {
      const TensorView input = context.input_view(static_cast<int>(states) + static_cast<int>(i));
      const bool reversed = at_or(context.attr_ints("input_directions"), i, 0) != 0;
      const size_t k = reversed ? axes[i].length - 1 - iteration : iteration;
      for (size_t o = 0; o < axes[i].outer && axes[i].inner != 0; ++o)
        std::memcpy(slices[i].data.data() + o * axes[i].inner,
                    input.as<const std::byte>() + (o * axes[i].length + k) * axes[i].inner, axes[i].inner);
      inputs.push_back(view_of(slices[i]));
    }
    for (int64_t i = 0; i < captured; ++i)
      inputs.push_back(context.input_view(static_cast<int>(states + scans + i)));
    EDGEC_TRY(context.run_graph(context.attr_int("body"), inputs, &results));
    if (results.size() != state.size() + collected.size())
      return context.fail(StatusCode::kBadFile, "the body gives %zu outputs, expected %zu", results.size(),
                          state.size() + collected.size());
    for (size_t i = 0; i < state.size(); ++i) state[i] = std::move(results[i]);
    for (size_t i = 0; i < collected.size(); ++i) {
      // Values of one shape: the stack is as large as one times their number, and stack() checks the shapes.
      const size_t bytes = results[state.size() + i].data.size();
      if (context.max_memory() != 0 && bytes != 0 && iteration >= context.max_memory() / bytes)
        return context.fail(StatusCode::kOutOfMemory,
                            "a stacked output needs more than max_memory, %zu bytes", context.max_memory());
      collected[i].push_back(std::move(results[state.size() + i]));
    }
  }
  for (size_t i = 0; i < state.size(); ++i) context.set_output(static_cast<int>(i), std::move(state[i]));
  for (size_t i = 0; i < collected.size(); ++i) {
    HostTensor out;
    EDGEC_TRY(stack(context, collected[i], at_or(context.attr_ints("output_axes"), i, 0),
                    at_or(context.attr_ints("output_directions"), i, 0) != 0, &out));
    context.set_output(static_cast<int>(states + static_cast<int64_t>(i)), std::move(out));
  }
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(scan) {
  registry.add("Scan")
      .doc(
          "Runs a sub-graph once per slice of the scanned inputs. Its inputs are the carried values, one "
          "slice each "
          "and the captured tensors; its outputs the carried values and one value per stacked output.")
      .variadic("values", "`carried` initial values, `scan_inputs` scanned tensors, then the captured ones")
      .variadic_output("outputs", "final carried values, then values stacked over the iterations")
      .required("body", AttrType::kGraph, "sub-graph of one iteration")
      .required("carried", AttrType::kInt, "number of carried values")
      .required("scan_inputs", AttrType::kInt, "number of scanned inputs")
      .attr("input_axes", std::vector<int64_t>{}, "axis that is scanned, per scanned input; default 0")
      .attr("input_directions", std::vector<int64_t>{}, "1 = from the end, per scanned input; default 0")
      .attr("output_axes", std::vector<int64_t>{}, "axis that is stacked, per stacked output; default 0")
      .attr("output_directions", std::vector<int64_t>{},
            "1 = last iteration first, per stacked output; default 0")
      .flags(kControlFlow | kNotFoldable)
      .infer(infer_scan)
      .prepare(prepare_scan)
      .run_control(run_scan);
}

}  // namespace edgec
