#include "core/control.h"

namespace edgec {
namespace {

Status infer_if(InferContext& context) {
  return context.fail(StatusCode::kNeedsValue, "the branch is chosen when the condition is known");
}

Status run_if(ControlContext& context) {
  const TensorView condition = context.input_view(0);
  if (condition.dtype() != DType::kBool || condition.elements() != 1)
    return context.fail(StatusCode::kShape, "the condition must be one bool, got %s",
                        condition.type.to_string().c_str());
  std::vector<TensorView> captured;
  for (int i = 1; i < context.input_count(); ++i) captured.push_back(context.input_view(i));
  std::vector<HostTensor> results;
  const bool chosen = *condition.as<const uint8_t>() != 0;
  EDGEC_TRY(context.run_graph(context.attr_int(chosen ? "then_branch" : "else_branch"), captured, &results));
  if (results.size() != static_cast<size_t>(context.output_count()))
    return context.fail(StatusCode::kBadFile, "the %s branch gives %zu outputs, the operator has %d",
                        chosen ? "then" : "else", results.size(), context.output_count());
  for (size_t i = 0; i < results.size(); ++i) context.set_output(static_cast<int>(i), std::move(results[i]));
  return ok_status();
}

Status prepare_if(PrepareContext& context) {
  return context.fail(StatusCode::kInternal, "control flow is run by the executor");
}

}  // namespace

EDGEC_REGISTER(if) {
  registry.add("If")
      .doc("Runs one of two sub-graphs. Both take the captured inputs, in order, and give as many outputs.")
      .input("condition", "bool, one element")
      .variadic("captured", "tensors of this graph that a branch reads")
      .variadic_output("outputs")
      .required("then_branch", AttrType::kGraph, "sub-graph for true")
      .required("else_branch", AttrType::kGraph, "sub-graph for false")
      .flags(kControlFlow | kNotFoldable)
      .infer(infer_if)
      .prepare(prepare_if)
      .run_control(run_if);
}

}  // namespace edgec
