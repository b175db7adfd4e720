#include "core/session.h"

#include <utility>

#include "core/executor.h"

namespace edgec {

struct Session::Impl {
  ExecutionState state;
  std::unique_ptr<Executor> main;

  const Graph& graph() const { return state.model->graph(); }
};

namespace {

const std::string& tensor_name(const Graph& graph, int32_t t) {
  return graph.tensors[static_cast<size_t>(t)].name;
}

Status check_port(const char* kind, int i, int count) {
  if (i >= 0 && i < count) return ok_status();
  return error(StatusCode::kInvalidArgument, "there is no %s %d, the model has %d", kind, i, count);
}

Status check_binding(const char* kind, const std::string& name, const TensorType& type, const void* data,
                     size_t bytes) {
  if (bytes != type.bytes())
    return error(StatusCode::kShape, "%s '%s': got %zu bytes, expected %zu for %s", kind, name.c_str(), bytes,
                 type.bytes(), type.to_string().c_str());
  if (data == nullptr && bytes != 0)
    return error(StatusCode::kInvalidArgument, "%s '%s': the pointer is null", kind, name.c_str());
  const size_t size = dtype_size(type.dtype);
  if (size != 0 && reinterpret_cast<uintptr_t>(data) % size != 0)
    return error(StatusCode::kInvalidArgument,
                 "%s '%s': the pointer is not a multiple of %zu, the size of %s", kind, name.c_str(), size,
                 dtype_name(type.dtype));
  return ok_status();
}

// What a null pointer to zero bytes is bound to.
std::byte empty_tensor;

}  // namespace

Session::Session() : impl_(std::make_unique<Impl>()) {}
Session::~Session() = default;

Status Session::create(std::shared_ptr<const Model> model, const SessionOptions& options,
                       std::unique_ptr<Session>* out) {
  if (options.threads < 0 || options.threads > 256)
    return error(StatusCode::kInvalidArgument, "threads must be 0 (all usable CPUs) to 256, got %d",
                 options.threads);
  if (!isa_supported(options.isa))
    return error(StatusCode::kUnsupported, "this CPU does not support the instruction set %s",
                 isa_name(options.isa));
  std::unique_ptr<Session> session(new Session());
  ExecutionState& state = session->impl_->state;
  state.model = std::move(model);
  state.options = options;
  if (state.options.threads == 0) state.options.threads = usable_cpus();
  const Graph& graph = state.model->graph();
  session->impl_->main = std::make_unique<Executor>(&state, graph);
  std::vector<Shape> shapes = options.input_shapes;
  if (shapes.empty()) {
    for (int32_t t : graph.inputs) {
      Shape shape = graph.tensors[static_cast<size_t>(t)].shape;
      for (int d = 0; d < shape.rank(); ++d)
        if (shape[d] < 0) shape[d] = state.model->symbols[static_cast<size_t>(-shape[d] - 1)].min;
      shapes.push_back(shape);
    }
  }
  EDGEC_TRY(session->prepare(shapes));
  state.pool = std::make_unique<ThreadPool>(state.options.threads);
  *out = std::move(session);
  return ok_status();
}

Status Session::prepare(const std::vector<Shape>& input_shapes) { return impl_->main->prepare(input_shapes); }

int Session::input_count() const { return static_cast<int>(impl_->graph().inputs.size()); }
int Session::output_count() const { return static_cast<int>(impl_->graph().outputs.size()); }
const std::string& Session::input_name(int i) const {
  return tensor_name(impl_->graph(), impl_->graph().inputs[static_cast<size_t>(i)]);
}
const std::string& Session::output_name(int i) const {
  return tensor_name(impl_->graph(), impl_->graph().outputs[static_cast<size_t>(i)]);
}
const TensorType& Session::input_type(int i) const {
  const Plan& plan = impl_->main->plan();
  return plan.views[static_cast<size_t>(plan.input_tensors[static_cast<size_t>(i)])].type;
}
bool Session::output_is_dynamic(int i) const { return impl_->main->output_is_dynamic(i); }
const TensorType& Session::output_type(int i) const { return impl_->main->output_type(i); }

Status Session::bind_input(int i, const void* data, size_t bytes) {
  EDGEC_TRY(check_port("input", i, input_count()));
  EDGEC_TRY(check_binding("input", input_name(i), input_type(i), data, bytes));
  impl_->main->bind_input(i, data ? const_cast<void*>(data) : &empty_tensor);
  return ok_status();
}

Status Session::bind_output(int i, void* data, size_t bytes) {
  EDGEC_TRY(check_port("output", i, output_count()));
  if (output_is_dynamic(i))
    return error(StatusCode::kUnsupported,
                 "output '%s' has a shape that depends on the data; read it after the run",
                 output_name(i).c_str());
  EDGEC_TRY(check_binding("output", output_name(i), output_type(i), data, bytes));
  impl_->main->bind_output(i, data ? data : &empty_tensor);
  return ok_status();
}

void* Session::input_data(int i) { return i < 0 || i >= input_count() ? nullptr : impl_->main->own_input(i); }
void* Session::output_data(int i) {
  return i < 0 || i >= output_count() ? nullptr : impl_->main->own_output(i);
}

Status Session::run() {
  impl_->state.cancelled.store(false, std::memory_order_relaxed);
  return impl_->main->run();
}

Status Session::profile(std::vector<double>* seconds) {
  impl_->state.cancelled.store(false, std::memory_order_relaxed);
  const Plan& plan = impl_->main->plan();
  seconds->resize(plan.steps.size() + plan.eager_nodes.size(), 0.0);
  return impl_->main->run(seconds);
}

void Session::cancel() { impl_->state.cancelled.store(true, std::memory_order_relaxed); }

Status Session::tensor(const std::string& name, TensorView* out) const {
  const Graph& graph = impl_->graph();
  for (size_t t = 0; t < graph.tensors.size(); ++t) {
    if (graph.tensors[t].name != name) continue;
    if (impl_->main->tensor(static_cast<int>(t), out)) return ok_status();
    return error(
        StatusCode::kUnsupported,
        "tensor '%s' has no value: run first, and create the session with keep_all for intermediate ones",
        name.c_str());
  }
  return error(StatusCode::kInvalidArgument, "the model has no tensor '%s'", name.c_str());
}

std::vector<std::string> Session::tensor_names() const {
  std::vector<std::string> names;
  const Plan& plan = impl_->main->plan();
  for (size_t t = 0; t < impl_->graph().tensors.size(); ++t)
    if (plan.tensors[t].home != Home::kNone || plan.tensors[t].eager)
      names.push_back(impl_->graph().tensors[t].name);
  return names;
}

const PlanStats& Session::stats() const { return impl_->main->plan().stats; }
const Model& Session::model() const { return *impl_->state.model; }

std::vector<StepInfo> Session::steps() const {
  std::vector<StepInfo> infos;
  const Plan& plan = impl_->main->plan();
  for (const PlannedStep& step : plan.steps) {
    StepInfo info{nullptr, step.step->kernel_name(), {}, {}, step.is_view, false};
    if (step.node >= 0) info.node = &impl_->graph().nodes[static_cast<size_t>(step.node)];
    for (const TensorView* v : step.inputs) info.inputs.push_back(v ? v->type : TensorType());
    for (const TensorView* v : step.outputs) info.outputs.push_back(v ? v->type : TensorType());
    infos.push_back(std::move(info));
  }
  for (int n : plan.eager_nodes) {
    StepInfo info{&impl_->graph().nodes[static_cast<size_t>(n)], "eager", {}, {}, false, true};
    for (int t : info.node->inputs)
      info.inputs.push_back(t == kAbsent ? TensorType() : plan.views[static_cast<size_t>(t)].type);
    info.outputs.resize(info.node->outputs.size());
    infos.push_back(std::move(info));
  }
  return infos;
}

}  // namespace edgec
