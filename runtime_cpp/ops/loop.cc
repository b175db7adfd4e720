#include <cstring>

#include "core/control.h"

namespace edgec {
namespace {

Status infer_loop(InferContext& context) {
  return context.fail(StatusCode::kNeedsValue, "the outputs follow from the iterations");
}

Status prepare_loop(PrepareContext& context) {
  return context.fail(StatusCode::kInternal, "control flow is run by the executor");
}

HostTensor copy_of(const TensorView& view) {
  HostTensor tensor;
  tensor.type = view.type;
  tensor.type.quantization = nullptr;
  const auto* data = view.as<const std::byte>();
  if (data != nullptr) tensor.data.assign(data, data + view.type.bytes());
  return tensor;
}

HostTensor scalar(DType dtype, const void* value) {
  HostTensor tensor;
  tensor.type.dtype = dtype;
  const auto* data = static_cast<const std::byte*>(value);
  tensor.data.assign(data, data + dtype_size(dtype));
  return tensor;
}

// Appends one iteration's value to a stacked output whose first dimension counts iterations.
Status append(ControlContext& context, const HostTensor& value, HostTensor* stacked) {
  if (stacked->type.dtype == DType::kNone) {
    if (value.type.shape.rank() >= kMaxRank)
      return context.fail(StatusCode::kShape, "a stacked output would have more than %d dimensions",
                          kMaxRank);
    stacked->type.dtype = value.type.dtype;
    stacked->type.shape = Shape{0};
    for (int64_t d : value.type.shape) stacked->type.shape.push_back(d);
  }
  Shape expected;
  for (int i = 1; i < stacked->type.shape.rank(); ++i) expected.push_back(stacked->type.shape[i]);
  if (value.type.dtype != stacked->type.dtype || value.type.shape != expected)
    return context.fail(StatusCode::kShape, "a stacked output changes from %s to %s between iterations",
                        expected.to_string().c_str(), value.type.to_string().c_str());
  if (context.max_memory() != 0 && stacked->data.size() + value.data.size() > context.max_memory())
    return context.fail(StatusCode::kOutOfMemory, "a stacked output needs more than max_memory, %zu bytes",
                        context.max_memory());
  stacked->type.shape[0] += 1;
  stacked->data.insert(stacked->data.end(), value.data.begin(), value.data.end());
  return ok_status();
}

Status run_loop(ControlContext& context) {
  const int64_t carried = context.attr_int("carried");
  const int64_t captured = context.input_count() - 2 - carried;
  const int64_t stacked_count = context.output_count() - carried;
  if (carried < 0 || captured < 0 || stacked_count < 0)
    return context.fail(StatusCode::kBadFile, "%lld carried values do not fit %d inputs and %d outputs",
                        static_cast<long long>(carried), context.input_count(), context.output_count());
  int64_t trips = INT64_MAX;
  bool go_on = true;
  if (context.has_input(0)) {
    const TensorView limit = context.input_view(0);
    if (limit.dtype() != DType::kI64 || limit.elements() != 1)
      return context.fail(StatusCode::kShape, "the trip count must be one i64, got %s",
                          limit.type.to_string().c_str());
    trips = *limit.as<const int64_t>();
  }
  if (context.has_input(1)) {
    const TensorView condition = context.input_view(1);
    if (condition.dtype() != DType::kBool || condition.elements() != 1)
      return context.fail(StatusCode::kShape, "the condition must be one bool, got %s",
                          condition.type.to_string().c_str());
    go_on = *condition.as<const uint8_t>() != 0;
  }
  std::vector<HostTensor> state(static_cast<size_t>(carried));
  for (size_t i = 0; i < state.size(); ++i) state[i] = copy_of(context.input_view(static_cast<int>(i) + 2));
  std::vector<HostTensor> stacked(static_cast<size_t>(stacked_count));
  std::vector<HostTensor> results;
  for (int64_t iteration = 0; iteration < trips && go_on; ++iteration) {
    if (context.cancelled()) return error(StatusCode::kCancelled, "the run was cancelled");
    const uint8_t condition = 1;
    const HostTensor counter = scalar(DType::kI64, &iteration), flag = scalar(DType::kBool, &condition);
    std::vector<TensorView> inputs = {view_of(counter), view_of(flag)};
    for (const HostTensor& value : state) inputs.push_back(view_of(value));
    for (int64_t i = 0; i < captured; ++i)
      inputs.push_back(context.input_view(static_cast<int>(2 + carried + i)));
    EDGEC_TRY(context.run_graph(context.attr_int("body"), inputs, &results));
    if (results.size() != 1 + state.size() + stacked.size())
      return context.fail(StatusCode::kBadFile, "the body gives %zu outputs, expected %zu", results.size(),
                          1 + state.size() + stacked.size());
    if (results[0].type.dtype != DType::kBool || results[0].data.size() != 1)
      return context.fail(StatusCode::kShape, "the body's condition must be one bool, got %s",
                          results[0].type.to_string().c_str());
    go_on = results[0].data[0] != std::byte{0};
    for (size_t i = 0; i < state.size(); ++i) state[i] = std::move(results[1 + i]);
    for (size_t i = 0; i < stacked.size(); ++i)
      EDGEC_TRY(append(context, results[1 + state.size() + i], &stacked[i]));
  }
  for (size_t i = 0; i < state.size(); ++i) context.set_output(static_cast<int>(i), std::move(state[i]));
  for (size_t i = 0; i < stacked.size(); ++i) {
    if (stacked[i].type.dtype == DType::kNone) {  // no iteration: nothing tells the element's shape
      stacked[i].type.dtype = DType::kF32;
      stacked[i].type.shape = Shape{0};
    }
    context.set_output(static_cast<int>(carried + static_cast<int64_t>(i)), std::move(stacked[i]));
  }
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(loop) {
  registry.add("Loop")
      .doc(
          "Repeats a sub-graph. Its inputs are the iteration (i64), the condition (bool), the carried values "
          "and "
          "the captured ones; its outputs the next condition, the carried values and one value per stacked "
          "output.")
      .optional("trip_count", "i64, one element; absent = until the condition is false")
      .optional("condition", "bool, one element; absent = true")
      .variadic("values", "`carried` initial values, then the captured tensors")
      .variadic_output("outputs", "final carried values, then values stacked over the iterations")
      .required("body", AttrType::kGraph, "sub-graph of one iteration")
      .required("carried", AttrType::kInt, "number of carried values")
      .flags(kControlFlow | kNotFoldable)
      .infer(infer_loop)
      .prepare(prepare_loop)
      .run_control(run_loop);
}

}  // namespace edgec
