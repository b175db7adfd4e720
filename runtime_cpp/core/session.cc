#include "core/session.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "core/planner.h"

namespace edgec {
namespace {

// Shapes that alternate (two image sizes, prompt and single token) do not plan again; arenas are the price.
constexpr size_t kPlansKept = 4;

}  // namespace

struct Session::Impl {
  std::shared_ptr<const Model> model;
  SessionOptions options;
  std::unique_ptr<ThreadPool> pool;
  SharedPacked packed;
  std::vector<std::unique_ptr<Plan>> plans;  // most recent first
  Plan* plan = nullptr;
  struct Port {
    void* data = nullptr;   // bound by the caller or own
    AlignedBlock own;
    // What rebind() has to touch, resolved once per plan: views whose root is this port.
    std::vector<std::pair<TensorView*, size_t>> views;
  };
  std::vector<Port> inputs, outputs;
  std::atomic<bool> cancelled{false};

  const Graph& graph() const { return model->graph(); }

  Status use_plan(Plan* next) {
    plan = next;
    inputs.clear();
    outputs.clear();
    inputs.resize(plan->input_tensors.size());
    outputs.resize(plan->output_tensors.size());
    for (size_t t = 0; t < plan->tensors.size(); ++t) {
      if (plan->tensors[t].home == Home::kNone) continue;
      int root = 0;
      const size_t offset = plan->offset_in_root(static_cast<int>(t), &root);
      const PlannedTensor& r = plan->tensors[static_cast<size_t>(root)];
      if (r.home == Home::kInput) inputs[static_cast<size_t>(r.index)].views.emplace_back(&plan->views[t], offset);
      if (r.home == Home::kOutput) outputs[static_cast<size_t>(r.index)].views.emplace_back(&plan->views[t], offset);
    }
    return ok_status();
  }

  static void bind(Port* port, void* data) {
    port->data = data;
    for (const auto& [view, offset] : port->views) view->data = static_cast<std::byte*>(data) + offset;
  }

  void* own_memory(Port* port, size_t bytes) {
    if (port->own.data() == nullptr && !port->own.allocate(bytes)) return nullptr;
    if (port->data != port->own.data()) bind(port, port->own.data());
    return port->data;
  }

  Status ready() {
    for (size_t i = 0; i < inputs.size(); ++i)
      if (inputs[i].data == nullptr)
        return error(StatusCode::kInvalidArgument, "input '%s' was given no data before the run",
                     graph().tensors[static_cast<size_t>(graph().inputs[i])].name.c_str());
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (outputs[i].data != nullptr) continue;
      const size_t bytes = plan->views[static_cast<size_t>(plan->output_tensors[i])].type.bytes();
      if (own_memory(&outputs[i], bytes) == nullptr)
        return error(StatusCode::kOutOfMemory, "output %zu: %zu bytes are not available", i, bytes);
    }
    return ok_status();
  }

  Status run_step(PlannedStep& step) {
    return step.step->run(
        StepArgs{step.inputs.data(), step.outputs.data(), plan->arena.data() + step.scratch_offset, *pool});
  }

  Status step_failed(const PlannedStep& step, Status status) const {
    if (step.node < 0) return status;
    const NodeInfo& node = graph().nodes[static_cast<size_t>(step.node)];
    return std::move(status).with_context(node.op->name + " '" + node.name + "'");
  }
};

Session::Session() : impl_(std::make_unique<Impl>()) {}
Session::~Session() = default;

Status Session::create(std::shared_ptr<const Model> model, const SessionOptions& options,
                       std::unique_ptr<Session>* out) {
  if (options.threads < 0 || options.threads > 256)
    return error(StatusCode::kInvalidArgument, "threads must be 0 (all usable CPUs) to 256, got %d", options.threads);
  if (!isa_supported(options.isa))
    return error(StatusCode::kUnsupported, "this CPU does not support the instruction set %s", isa_name(options.isa));
  std::unique_ptr<Session> session(new Session());
  Impl& impl = *session->impl_;
  impl.model = std::move(model);
  impl.options = options;
  if (impl.options.threads == 0) impl.options.threads = usable_cpus();
  std::vector<Shape> shapes = options.input_shapes;
  if (shapes.empty()) {
    const Graph& graph = impl.graph();
    for (int32_t t : graph.inputs) {
      Shape shape = graph.tensors[static_cast<size_t>(t)].shape;
      for (int d = 0; d < shape.rank(); ++d)
        if (shape[d] < 0) shape[d] = impl.model->symbols[static_cast<size_t>(-shape[d] - 1)].min;
      shapes.push_back(shape);
    }
  }
  EDGEC_TRY(session->prepare(shapes));
  impl.pool = std::make_unique<ThreadPool>(impl.options.threads);
  *out = std::move(session);
  return ok_status();
}

Status Session::prepare(const std::vector<Shape>& input_shapes) {
  Impl& impl = *impl_;
  if (impl.plan && impl.plan->input_shapes == input_shapes) return ok_status();
  for (size_t i = 0; i < impl.plans.size(); ++i) {
    if (impl.plans[i]->input_shapes != input_shapes) continue;
    std::rotate(impl.plans.begin(), impl.plans.begin() + static_cast<std::ptrdiff_t>(i),
                impl.plans.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    return impl.use_plan(impl.plans.front().get());
  }
  std::unique_ptr<Plan> plan;
  EDGEC_TRY(make_plan(*impl.model, impl.graph(), impl.options, input_shapes, &impl.packed, &plan));
  EDGEC_TRY(plan->allocate());
  impl.plans.insert(impl.plans.begin(), std::move(plan));
  EDGEC_TRY(impl.use_plan(impl.plans.front().get()));
  if (impl.plans.size() > kPlansKept) impl.plans.pop_back();
  return ok_status();
}

int Session::input_count() const { return static_cast<int>(impl_->graph().inputs.size()); }
int Session::output_count() const { return static_cast<int>(impl_->graph().outputs.size()); }
const std::string& Session::input_name(int i) const {
  return impl_->graph().tensors[static_cast<size_t>(impl_->graph().inputs[static_cast<size_t>(i)])].name;
}
const std::string& Session::output_name(int i) const {
  return impl_->graph().tensors[static_cast<size_t>(impl_->graph().outputs[static_cast<size_t>(i)])].name;
}
const TensorType& Session::input_type(int i) const {
  return impl_->plan->views[static_cast<size_t>(impl_->plan->input_tensors[static_cast<size_t>(i)])].type;
}
const TensorType& Session::output_type(int i) const {
  return impl_->plan->views[static_cast<size_t>(impl_->plan->output_tensors[static_cast<size_t>(i)])].type;
}

namespace {

Status check_binding(const char* kind, const std::string& name, const TensorType& type, const void* data,
                     size_t bytes) {
  if (bytes != type.bytes())
    return error(StatusCode::kShape, "%s '%s': got %zu bytes, expected %zu for %s", kind, name.c_str(), bytes,
                 type.bytes(), type.to_string().c_str());
  if (data == nullptr && bytes != 0)
    return error(StatusCode::kInvalidArgument, "%s '%s': the pointer is null", kind, name.c_str());
  const size_t size = dtype_size(type.dtype);
  if (size != 0 && reinterpret_cast<uintptr_t>(data) % size != 0)
    return error(StatusCode::kInvalidArgument, "%s '%s': the pointer is not a multiple of %zu, the size of %s", kind,
                 name.c_str(), size, dtype_name(type.dtype));
  return ok_status();
}

}  // namespace

Status Session::bind_input(int i, const void* data, size_t bytes) {
  if (i < 0 || i >= input_count())
    return error(StatusCode::kInvalidArgument, "there is no input %d, the model has %d", i, input_count());
  EDGEC_TRY(check_binding("input", input_name(i), input_type(i), data, bytes));
  static std::byte empty;
  Impl::bind(&impl_->inputs[static_cast<size_t>(i)], data ? const_cast<void*>(data) : &empty);
  return ok_status();
}

Status Session::bind_output(int i, void* data, size_t bytes) {
  if (i < 0 || i >= output_count())
    return error(StatusCode::kInvalidArgument, "there is no output %d, the model has %d", i, output_count());
  EDGEC_TRY(check_binding("output", output_name(i), output_type(i), data, bytes));
  static std::byte empty;
  Impl::bind(&impl_->outputs[static_cast<size_t>(i)], data ? data : &empty);
  return ok_status();
}

void* Session::input_data(int i) {
  if (i < 0 || i >= input_count()) return nullptr;
  return impl_->own_memory(&impl_->inputs[static_cast<size_t>(i)], input_type(i).bytes());
}

void* Session::output_data(int i) {
  if (i < 0 || i >= output_count()) return nullptr;
  Impl::Port& port = impl_->outputs[static_cast<size_t>(i)];
  return port.data ? port.data : impl_->own_memory(&port, output_type(i).bytes());
}

Status Session::run() {
  Impl& impl = *impl_;
  EDGEC_TRY(impl.ready());
  impl.cancelled.store(false, std::memory_order_relaxed);
  for (PlannedStep& step : impl.plan->steps) {
    if (step.is_view) continue;
    if (impl.cancelled.load(std::memory_order_relaxed)) return error(StatusCode::kCancelled, "the run was cancelled");
    Status status = impl.run_step(step);
    if (!status.ok()) return impl.step_failed(step, std::move(status));
  }
  return ok_status();
}

Status Session::profile(std::vector<double>* seconds) {
  Impl& impl = *impl_;
  EDGEC_TRY(impl.ready());
  seconds->resize(impl.plan->steps.size(), 0.0);
  for (size_t s = 0; s < impl.plan->steps.size(); ++s) {
    PlannedStep& step = impl.plan->steps[s];
    if (step.is_view) continue;
    const auto begin = std::chrono::steady_clock::now();
    Status status = impl.run_step(step);
    (*seconds)[s] += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    if (!status.ok()) return impl.step_failed(step, std::move(status));
  }
  return ok_status();
}

void Session::cancel() { impl_->cancelled.store(true, std::memory_order_relaxed); }

Status Session::tensor(const std::string& name, TensorView* out) const {
  const Graph& graph = impl_->graph();
  for (size_t t = 0; t < graph.tensors.size(); ++t) {
    if (graph.tensors[t].name != name) continue;
    const PlannedTensor& planned = impl_->plan->tensors[t];
    const bool lasting = planned.value != nullptr || planned.home == Home::kInput || planned.home == Home::kOutput;
    if (planned.home == Home::kNone || (!lasting && !impl_->options.keep_all))
      return error(StatusCode::kUnsupported, "tensor '%s' is not kept; create the session with keep_all", name.c_str());
    *out = impl_->plan->views[t];
    return ok_status();
  }
  return error(StatusCode::kInvalidArgument, "the model has no tensor '%s'", name.c_str());
}

std::vector<std::string> Session::tensor_names() const {
  std::vector<std::string> names;
  const Graph& graph = impl_->graph();
  for (size_t t = 0; t < graph.tensors.size(); ++t)
    if (impl_->plan->tensors[t].home != Home::kNone) names.push_back(graph.tensors[t].name);
  return names;
}

const PlanStats& Session::stats() const { return impl_->plan->stats; }
const Model& Session::model() const { return *impl_->model; }

std::vector<StepInfo> Session::steps() const {
  std::vector<StepInfo> infos;
  for (const PlannedStep& step : impl_->plan->steps) {
    StepInfo info{nullptr, step.step->kernel_name(), {}, {}, step.is_view};
    if (step.node >= 0) info.node = &impl_->graph().nodes[static_cast<size_t>(step.node)];
    for (const TensorView* v : step.inputs) info.inputs.push_back(v ? v->type : TensorType());
    for (const TensorView* v : step.outputs) info.outputs.push_back(v ? v->type : TensorType());
    infos.push_back(std::move(info));
  }
  return infos;
}

}  // namespace edgec
