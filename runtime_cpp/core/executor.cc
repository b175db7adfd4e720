#include "core/executor.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "core/control.h"

namespace edgec {
namespace {

// Shapes that alternate (two image sizes, prompt and single token) do not plan again; arenas are the price.
constexpr size_t kPlansKept = 4;

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(Clock::now() - begin_).count(); }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point begin_ = Clock::now();
};

Status named(const NodeInfo& node, Status status) {
  if (status.ok()) return status;
  const std::string prefix = node.op->name + " '" + node.name + "'";
  if (std::strncmp(status.message(), prefix.c_str(), prefix.size()) == 0) return status;
  return std::move(status).with_context(prefix);
}

}  // namespace

class ControlRun final : public ControlContext {
 public:
  ControlRun(Executor* executor, const NodeInfo& node) : executor_(*executor), info_(node) {
    node_ = {node.op, &node.attrs, node.name.c_str()};
    for (int t : node.inputs) {
      views_.push_back(t == kAbsent ? TensorView() : executor_.value_of(t));
      types_.push_back(nullptr);
      values_.push_back(views_.back().data);
    }
    for (size_t i = 0; i < views_.size(); ++i)
      if (node.inputs[i] != kAbsent) types_[i] = &views_[i].type;
    input_count_ = static_cast<int>(views_.size());
    output_count_ = static_cast<int>(node.outputs.size());
    input_types_ = types_.data();
    input_values_ = values_.data();
  }
  TensorView input_view(int i) const override { return views_[static_cast<size_t>(i)]; }
  size_t max_memory() const override { return executor_.state_.options.max_memory; }
  bool cancelled() const override { return executor_.state_.cancelled.load(std::memory_order_relaxed); }
  void set_output(int i, HostTensor value) override {
    if (i < output_count_ && info_.outputs[static_cast<size_t>(i)] != kAbsent)
      executor_.eager_[static_cast<size_t>(info_.outputs[static_cast<size_t>(i)])] = std::move(value);
  }
  Status run_graph(int64_t graph, const std::vector<TensorView>& inputs,
                   std::vector<HostTensor>* outputs) override {
    Executor& child = executor_.child(graph);
    const Graph& sub = child.graph();
    if (inputs.size() != sub.inputs.size())
      return fail(StatusCode::kInvalidArgument, "sub-graph '%s' wants %zu inputs, got %zu", sub.name.c_str(),
                  sub.inputs.size(), inputs.size());
    std::vector<Shape> shapes;
    for (size_t i = 0; i < inputs.size(); ++i) {
      const TensorInfo& want = sub.tensors[static_cast<size_t>(sub.inputs[i])];
      if (want.dtype != inputs[i].dtype())
        return fail(StatusCode::kShape, "sub-graph input '%s' is %s, got %s", want.name.c_str(),
                    dtype_name(want.dtype), inputs[i].type.to_string().c_str());
      shapes.push_back(inputs[i].shape());
    }
    EDGEC_TRY(child.prepare(shapes));
    static std::byte empty;
    for (size_t i = 0; i < inputs.size(); ++i)
      child.bind_input(static_cast<int>(i), inputs[i].data ? inputs[i].data : &empty);
    EDGEC_TRY(child.run());
    outputs->clear();
    outputs->resize(sub.outputs.size());
    for (size_t i = 0; i < sub.outputs.size(); ++i) {
      HostTensor& out = (*outputs)[i];
      out.type = child.output_type(static_cast<int>(i));
      out.type.quantization = nullptr;
      const auto* data = static_cast<const std::byte*>(child.own_output(static_cast<int>(i)));
      if (data == nullptr && out.type.bytes() != 0)
        return fail(StatusCode::kOutOfMemory, "%zu bytes for a sub-graph's output are not available",
                    out.type.bytes());
      out.data.assign(data, data + out.type.bytes());
    }
    return ok_status();
  }

 private:
  Executor& executor_;
  const NodeInfo& info_;
  std::vector<TensorView> views_;
  std::vector<const TensorType*> types_;
  std::vector<const void*> values_;
};

void Executor::bind(Port* port, void* data) {
  port->data = data;
  for (const auto& [view, offset] : port->views) view->data = static_cast<std::byte*>(data) + offset;
}

void* Executor::own_memory(Port* port, size_t bytes) {
  if (port->own.data() == nullptr && !port->own.allocate(bytes)) return nullptr;
  if (port->data != port->own.data()) bind(port, port->own.data());
  return port->data;
}

void* Executor::own_input(int i) {
  const int t = plan_->input_tensors[static_cast<size_t>(i)];
  return own_memory(&inputs_[static_cast<size_t>(i)], plan_->views[static_cast<size_t>(t)].type.bytes());
}

void* Executor::own_output(int i) {
  const int t = plan_->output_tensors[static_cast<size_t>(i)];
  if (output_is_dynamic(i)) return value_of(t).data;
  Port& port = outputs_[static_cast<size_t>(i)];
  return port.data ? port.data : own_memory(&port, plan_->views[static_cast<size_t>(t)].type.bytes());
}

bool Executor::output_is_dynamic(int i) const {
  return plan_->tensors[static_cast<size_t>(plan_->output_tensors[static_cast<size_t>(i)])].eager;
}

const TensorType& Executor::output_type(int i) const {
  const auto t = static_cast<size_t>(plan_->output_tensors[static_cast<size_t>(i)]);
  return plan_->tensors[t].eager ? eager_[t].type : plan_->views[t].type;
}

void Executor::use_plan(Plan* plan) {
  plan_ = plan;
  inputs_.clear();
  outputs_.clear();
  inputs_.resize(plan->input_tensors.size());
  outputs_.resize(plan->output_tensors.size());
  eager_.clear();
  if (!plan->eager_nodes.empty()) eager_.resize(plan->tensors.size());
  for (size_t t = 0; t < plan->tensors.size(); ++t) {
    if (plan->tensors[t].home == Home::kNone) continue;
    int root = 0;
    const size_t offset = plan->offset_in_root(static_cast<int>(t), &root);
    const PlannedTensor& r = plan->tensors[static_cast<size_t>(root)];
    if (r.home == Home::kInput)
      inputs_[static_cast<size_t>(r.index)].views.emplace_back(&plan->views[t], offset);
    if (r.home == Home::kOutput)
      outputs_[static_cast<size_t>(r.index)].views.emplace_back(&plan->views[t], offset);
  }
}

Status Executor::prepare(const std::vector<Shape>& input_shapes) {
  if (plan_ && plan_->input_shapes == input_shapes) return ok_status();
  const auto known = std::find_if(plans_.begin(), plans_.end(),
                                  [&](const auto& plan) { return plan->input_shapes == input_shapes; });
  if (known != plans_.end()) {
    std::rotate(plans_.begin(), known, known + 1);
  } else {
    std::unique_ptr<Plan> plan;
    EDGEC_TRY(make_plan(*state_.model, graph_, state_.options, input_shapes, &state_.packed, &plan));
    EDGEC_TRY(plan->allocate());
    plans_.insert(plans_.begin(), std::move(plan));
    if (plans_.size() > kPlansKept) plans_.pop_back();
  }
  use_plan(plans_.front().get());
  return ok_status();
}

Status Executor::ready() {
  for (size_t i = 0; i < inputs_.size(); ++i)
    if (inputs_[i].data == nullptr)
      return error(StatusCode::kInvalidArgument, "input '%s' was given no data before the run",
                   graph_.tensors[static_cast<size_t>(graph_.inputs[i])].name.c_str());
  for (size_t i = 0; i < outputs_.size(); ++i) {
    if (outputs_[i].data != nullptr || output_is_dynamic(static_cast<int>(i))) continue;
    if (own_output(static_cast<int>(i)) == nullptr)
      return error(StatusCode::kOutOfMemory, "output %zu: %zu bytes are not available", i,
                   output_type(static_cast<int>(i)).bytes());
  }
  return ok_status();
}

Status Executor::run(std::vector<double>* seconds) {
  EDGEC_TRY(ready());
  EDGEC_TRY(run_steps(seconds));
  return plan_->eager_nodes.empty() ? ok_status() : run_eager(seconds);
}

Status Executor::run_steps(std::vector<double>* seconds) {
  for (size_t s = 0; s < plan_->steps.size(); ++s) {
    PlannedStep& step = plan_->steps[s];
    if (step.is_view) continue;
    if (state_.cancelled.load(std::memory_order_relaxed))
      return error(StatusCode::kCancelled, "the run was cancelled");
    const StepArgs args{step.inputs.data(), step.outputs.data(), plan_->arena.data() + step.scratch_offset,
                        *state_.pool};
    Status status;
    if (seconds) {
      const Stopwatch watch;
      status = step.step->run(args);
      (*seconds)[s] += watch.seconds();
    } else {
      status = step.step->run(args);
    }
    if (!status.ok())
      return step.node < 0 ? std::move(status)
                           : named(graph_.nodes[static_cast<size_t>(step.node)], std::move(status));
  }
  return ok_status();
}

Status Executor::run_eager(std::vector<double>* seconds) {
  for (HostTensor& tensor : eager_) tensor = HostTensor();
  for (size_t k = 0; k < plan_->eager_nodes.size(); ++k) {
    if (state_.cancelled.load(std::memory_order_relaxed))
      return error(StatusCode::kCancelled, "the run was cancelled");
    const Stopwatch watch;
    const int n = plan_->eager_nodes[k];
    Status status = run_eager_node(n);
    if (!status.ok()) return named(graph_.nodes[static_cast<size_t>(n)], std::move(status));
    if (seconds) (*seconds)[plan_->steps.size() + k] += watch.seconds();
  }
  return ok_status();
}

TensorView Executor::value_of(int t) const {
  if (plan_->tensors[static_cast<size_t>(t)].eager) return view_of(eager_[static_cast<size_t>(t)]);
  return plan_->views[static_cast<size_t>(t)];
}

Status Executor::run_eager_node(int n) {
  const NodeInfo& node = graph_.nodes[static_cast<size_t>(n)];
  if (node.op->flags & kControlFlow) return run_control(node);
  std::vector<TensorView> views;
  std::vector<const TensorType*> types;
  std::vector<const void*> values;
  for (int t : node.inputs) views.push_back(t == kAbsent ? TensorView() : value_of(t));
  static const std::byte empty{};
  for (size_t i = 0; i < views.size(); ++i) {
    const bool present = node.inputs[i] != kAbsent;
    types.push_back(present ? &views[i].type : nullptr);
    values.push_back(!present ? nullptr : views[i].data ? views[i].data : &empty);
  }
  EvaluateOptions options;
  options.isa = state_.options.isa;
  options.pool = state_.pool.get();
  options.packed = &state_.packed;
  options.max_bytes = state_.options.max_memory;
  std::vector<HostTensor> results;
  EDGEC_TRY(evaluate(node, types, values, options, &results));
  for (size_t i = 0; i < results.size(); ++i)
    if (node.outputs[i] != kAbsent) eager_[static_cast<size_t>(node.outputs[i])] = std::move(results[i]);
  return ok_status();
}

Status Executor::run_control(const NodeInfo& node) {
  ControlRun context(this, node);
  EDGEC_TRY(node.op->run_control(context));
  for (int t : node.outputs)
    if (t != kAbsent && eager_[static_cast<size_t>(t)].type.dtype == DType::kNone)
      return error(StatusCode::kInternal, "no value for output '%s'",
                   graph_.tensors[static_cast<size_t>(t)].name.c_str());
  return ok_status();
}

Executor& Executor::child(int64_t graph) {
  for (auto& [index, executor] : children_)
    if (index == graph) return *executor;
  children_.emplace_back(
      graph, std::make_unique<Executor>(&state_, state_.model->graphs[static_cast<size_t>(graph)]));
  return *children_.back().second;
}

bool Executor::tensor(int t, TensorView* out) const {
  const PlannedTensor& planned = plan_->tensors[static_cast<size_t>(t)];
  const bool lasting =
      planned.value != nullptr || planned.home == Home::kInput || planned.home == Home::kOutput;
  if (!planned.eager && (planned.home == Home::kNone || (!lasting && !state_.options.keep_all))) return false;
  *out = value_of(t);
  return out->data != nullptr || out->type.bytes() == 0;
}

}  // namespace edgec
