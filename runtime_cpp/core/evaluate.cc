// Inference and evaluation of a single node: folding in the runtime and in the converter.
#include <algorithm>

#include "core/executor.h"
#include "core/memory.h"
#include "core/planner.h"

namespace edgec {
namespace {

NodeView view_of(const NodeInfo& node) { return {node.op, &node.attrs, node.name.c_str()}; }

}  // namespace

Status infer(const NodeInfo& node, const std::vector<const TensorType*>& inputs,
             const std::vector<const void*>& values, std::vector<TensorType>* outputs) {
  outputs->assign(node.outputs.size(), TensorType());
  std::vector<TensorType*> pointers(outputs->size());
  for (size_t i = 0; i < pointers.size(); ++i)
    pointers[i] = node.outputs[i] == kAbsent ? nullptr : &(*outputs)[i];
  InferContext context(view_of(node), static_cast<int>(inputs.size()), inputs.data(), values.data(),
                       static_cast<int>(pointers.size()), pointers.data());
  EDGEC_TRY(node.op->infer(context));
  for (size_t i = 0; i < pointers.size(); ++i)
    if (pointers[i] && pointers[i]->dtype == DType::kNone)
      return context.fail(StatusCode::kInternal, "inference left output %zu without a type", i);
  return ok_status();
}

Status infer_node(const NodeInfo& node, const std::vector<const TensorType*>& inputs,
                  const std::vector<const void*>& values, std::vector<TensorType>* outputs) {
  EDGEC_TRY(validate_node(node));
  return infer(node, inputs, values, outputs);
}

Status evaluate_node(const NodeInfo& node, const std::vector<const TensorType*>& inputs,
                     const std::vector<const void*>& values, std::vector<HostTensor>* outputs) {
  EDGEC_TRY(validate_node(node));
  return evaluate(node, inputs, values, EvaluateOptions(), outputs);
}

Status evaluate(const NodeInfo& node, const std::vector<const TensorType*>& inputs,
                const std::vector<const void*>& values, const EvaluateOptions& options,
                std::vector<HostTensor>* outputs) {
  std::vector<TensorType> types;
  EDGEC_TRY(infer(node, inputs, values, &types));

  for (size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i] && values[i] == nullptr && inputs[i]->bytes() != 0 && !(node.op->flags & kShapeOnly))
      return error(StatusCode::kInvalidArgument, "%s '%s': input %zu has no value", node.op->name.c_str(),
                   node.name.c_str(), i);
  SharedPacked own_packed;
  PlanPacked packed(options.packed ? options.packed : &own_packed, options.max_bytes);
  // Before prepare: tables may grow with an output that nobody has memory for.
  for (size_t i = 0; i < types.size(); ++i)
    if (options.max_bytes != 0 && node.outputs[i] != kAbsent && types[i].bytes() > options.max_bytes)
      return error(StatusCode::kOutOfMemory, "%s '%s': output %zu is %s, %zu bytes, the limit is %zu",
                   node.op->name.c_str(), node.name.c_str(), i, types[i].to_string().c_str(),
                   types[i].bytes(), options.max_bytes);
  Planner::Request request;
  request.node = view_of(node);
  request.input_types = inputs;
  request.input_values = values;
  request.isa = options.isa;
  request.threads = options.pool ? options.pool->threads() : 1;
  request.packed = &packed;
  outputs->clear();
  outputs->resize(types.size());
  std::vector<TensorView> views(inputs.size() + types.size());
  std::vector<TensorView*> in(std::max(inputs.size(), node.op->inputs.size()));
  std::vector<TensorView*> out(std::max(types.size(), node.op->outputs.size()));
  for (size_t i = 0; i < inputs.size(); ++i) {
    request.input_pitches.push_back(0);
    if (inputs[i] == nullptr) continue;
    views[i] = dense_view(*inputs[i], const_cast<void*>(values[i]));
    request.input_pitches[i] = views[i].pitch;
    in[i] = &views[i];
  }
  std::vector<AlignedBlock> blocks(types.size());
  for (size_t i = 0; i < types.size(); ++i) {
    const bool present = node.outputs[i] != kAbsent;
    request.output_types.push_back(present ? &types[i] : nullptr);
    request.output_pitches.push_back(0);
    if (!present) continue;
    if (!blocks[i].allocate(types[i].bytes()))
      return error(StatusCode::kOutOfMemory, "%s '%s': %zu bytes for output %zu are not available",
                   node.op->name.c_str(), node.name.c_str(), types[i].bytes(), i);
    TensorView& view = views[inputs.size() + i];
    view = dense_view(types[i], blocks[i].data());
    request.output_pitches[i] = view.pitch;
    out[i] = &view;
  }
  PreparedNode prepared;
  EDGEC_TRY(Planner::prepare(request, &prepared));
  AlignedBlock scratch;
  if (!scratch.allocate(prepared.scratch_bytes))
    return error(StatusCode::kOutOfMemory, "%s '%s': %zu bytes of scratch are not available",
                 node.op->name.c_str(), node.name.c_str(), prepared.scratch_bytes);
  ThreadPool alone(1);
  EDGEC_TRY(prepared.step->run(
      StepArgs{in.data(), out.data(), scratch.data(), options.pool ? *options.pool : alone}));
  for (size_t i = 0; i < types.size(); ++i) {
    if (out[i] == nullptr) continue;
    HostTensor& tensor = (*outputs)[i];
    tensor.type = out[i]->type;
    tensor.data.assign(blocks[i].data(), blocks[i].data() + tensor.type.bytes());
  }
  return ok_status();
}

Status Planner::prepare(const Request& request, PreparedNode* out) {
  bool nothing = true;
  for (const TensorType* type : request.output_types)
    nothing = nothing && (!type || type->shape.elements() == 0);
  if (nothing) {  // no operator has to think about loops over a dimension beside a dimension of size 0
    out->step = make_step("nothing", [](const StepArgs&) { return ok_status(); });
    return ok_status();
  }
  PrepareContext context;
  context.node_ = request.node;
  context.input_count_ = static_cast<int>(request.input_types.size());
  context.output_count_ = static_cast<int>(request.output_types.size());
  context.input_types_ = request.input_types.data();
  context.input_values_ = request.input_values.data();
  context.output_types_ = request.output_types.data();
  context.input_pitches_ = request.input_pitches.data();
  context.output_pitches_ = request.output_pitches.data();
  context.aliased_input_ = request.aliased_input;
  context.placed_parts_ = request.placed_parts;
  context.isa_ = request.isa;
  context.threads_ = request.threads;
  context.packed_ = request.packed;
  EDGEC_TRY(request.node.op->prepare(context));
  if (!context.step_) return context.fail(StatusCode::kInternal, "prepare made no step");
  out->step = std::move(context.step_);
  out->scratch_bytes = context.scratch_bytes_;
  out->released_inputs = context.released_inputs_;
  return ok_status();
}

}  // namespace edgec
