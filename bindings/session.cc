#include "session.h"

#include <pybind11/gil_safe_call_once.h>
#include <pybind11/stl.h>

#include <mutex>
#include <optional>

#include "arrays.h"
#include "core/session.h"
#include "errors.h"
#include "model.h"

namespace edgec::python {
namespace py = pybind11;
namespace {

Isa isa_from_name(const std::string& name) {
  if (name.empty()) return best_isa();
  std::string known;
  for (int i = 0; i < kIsaCount; ++i) {
    const Isa isa = static_cast<Isa>(i);
    if (isa_supported(isa)) known += std::string(known.empty() ? "" : " ") + isa_name(isa);
    if (name != isa_name(isa)) continue;
    if (!isa_supported(isa))
      raise(StatusCode::kUnsupported, "isa '" + name + "' is not supported by this CPU");
    return isa;
  }
  raise(StatusCode::kInvalidArgument, "unknown isa '" + name + "'; this CPU has: " + known);
}

class PySession {
 public:
  PySession(const ModelHandle& model, int threads, size_t max_memory, bool keep_all, const std::string& isa,
            const py::object& shapes)
      : model_(model.model) {
    SessionOptions options;
    if (threads < 0) raise(StatusCode::kInvalidArgument, "threads is negative; 0 means all usable CPUs");
    options.threads = threads;
    options.max_memory = max_memory;
    options.keep_all = keep_all_ = keep_all;
    options.isa = isa_from_name(isa);
    const Graph& graph = model_->graph();
    for (const int32_t i : graph.inputs) {
      const TensorInfo& t = graph.tensors[static_cast<size_t>(i)];
      inputs_.push_back({&t, py::reinterpret_steal<py::object>(PyUnicode_InternFromString(t.name.c_str()))});
    }
    if (!shapes.is_none()) {
      if (py::len(shapes) != inputs_.size())
        raise(StatusCode::kInvalidArgument, "shapes has " + std::to_string(py::len(shapes)) +
                                                " entries, the model has " + std::to_string(inputs_.size()) +
                                                " inputs");
      size_t i = 0;
      for (const py::handle shape : shapes) {
        options.input_shapes.push_back(shape_from_python(shape, inputs_[i].info->name.c_str()));
        check_input_shape(i, options.input_shapes.back());
        ++i;
      }
    }
    Status status;
    {
      const py::gil_scoped_release release;
      status = Session::create(model_, options, &session_);
    }
    check(status);
    for (int i = 0; i < session_->output_count(); ++i)
      output_names_.append(py::str(session_->output_name(i)));
    threads_ = threads == 0 ? usable_cpus() : threads;
    isa_ = isa_name(options.isa);
  }

  // Outputs in model order as a tuple of new arrays. Arguments: arrays in input order, or by name, or one
  // dict.
  py::tuple run(const py::args& args, const py::kwargs& kwargs) {
    const Feeds feeds = parse(args, kwargs);
    const Guard guard(mutex_);
    return run_locked(feeds);
  }

  // Runs `count` times with per-step clocks: seconds per step, summed.
  std::vector<double> profile(const py::dict& by_name, int count) {
    const Feeds feeds = parse_dict(by_name);
    const Guard guard(mutex_);
    bind_inputs(feeds);
    const py::tuple outputs = bind_outputs();
    keep(feeds, outputs);
    std::vector<double> seconds;
    Status status;
    {
      const py::gil_scoped_release release;
      for (int i = 0; i < count && status.ok(); ++i) status = session_->profile(&seconds);
    }
    check(status);
    has_run_ = has_run_ || count > 0;
    return seconds;
  }

  void prepare(const py::dict& by_name) {
    std::vector<Shape> shapes;
    const Guard guard(mutex_);
    for (size_t i = 0; i < inputs_.size(); ++i) {
      Shape shape = session_->input_type(static_cast<int>(i)).shape;
      if (by_name.contains(inputs_[i].name)) {
        shape = shape_from_python(by_name[inputs_[i].name], inputs_[i].info->name.c_str());
        check_input_shape(i, shape);
      }
      shapes.push_back(shape);
    }
    for (const auto& item : by_name) find_input(item.first);
    prepare_locked(shapes);
  }

  py::array tensor(const std::string& name) {
    const Guard guard(mutex_);
    // Without keep_all the memory of the last inputs and outputs may be gone: it belongs to the caller.
    if (!keep_all_)
      raise(StatusCode::kInvalidArgument,
            "tensor '" + name + "' is not kept. What to do: Session(..., keep_all=True)");
    if (!has_run_)
      raise(StatusCode::kInvalidArgument,
            "tensor '" + name + "' has no value: nothing has run with these shapes yet");
    TensorView view;
    check(session_->tensor(name, &view));
    return array_from_view(view);
  }

  std::vector<std::string> tensor_names() {
    const Guard guard(mutex_);
    return session_->tensor_names();
  }

  void cancel() { session_->cancel(); }

  py::dict stats() {
    const Guard guard(mutex_);
    const PlanStats& s = session_->stats();
    py::dict d;
    d["arena_bytes"] = s.arena_bytes;
    d["activation_peak"] = s.activation_peak;
    d["packed_bytes"] = s.packed_bytes;
    d["mapped_weight_bytes"] = s.mapped_weight_bytes;
    d["folded_bytes"] = s.folded_bytes;
    return d;
  }

  py::list steps() {
    const Guard guard(mutex_);
    py::list out;
    for (const StepInfo& s : session_->steps()) {
      py::dict d;
      d["name"] = s.node ? s.node->name : "output";
      d["op"] = s.node ? s.node->op->name : "Copy";
      d["kernel"] = s.kernel;
      d["inputs"] = types(s.inputs);
      d["outputs"] = types(s.outputs);
      d["is_view"] = s.is_view;
      d["is_eager"] = s.is_eager;
      out.append(d);
    }
    return out;
  }

  // [(name, dtype, shape)] for the shapes prepared now.
  py::list input_types() {
    const Guard guard(mutex_);
    py::list out;
    for (int i = 0; i < session_->input_count(); ++i)
      out.append(named(session_->input_name(i), session_->input_type(i)));
    return out;
  }
  py::list output_types() {
    const Guard guard(mutex_);
    py::list out;
    for (int i = 0; i < session_->output_count(); ++i)
      out.append(named(session_->output_name(i), session_->output_type(i)));
    return out;
  }

  py::list output_names() const { return output_names_; }
  int threads() const { return threads_; }
  const std::string& isa() const { return isa_; }

 private:
  struct Input {
    const TensorInfo* info;
    py::object name;
  };
  using Feeds = std::vector<py::array>;

  // Waiting for the session never happens with the interpreter's lock held: its owner may need that lock to
  // finish.
  class Guard {
   public:
    explicit Guard(std::mutex& mutex) : lock_(mutex, std::try_to_lock) {
      if (lock_.owns_lock()) return;
      const py::gil_scoped_release release;
      lock_.lock();
    }

   private:
    std::unique_lock<std::mutex> lock_;
  };

  static py::tuple named(const std::string& name, const TensorType& type) {
    return py::make_tuple(name, dtype_name(type.dtype), shape_to_python(type.shape));
  }
  // A type that only the run knows has dtype "none".
  static py::list types(const std::vector<TensorType>& list) {
    py::list out;
    for (const TensorType& t : list)
      out.append(py::make_tuple(dtype_name(t.dtype), shape_to_python(t.shape)));
    return out;
  }

  std::string expected_dims(size_t i) const {
    std::string text = py::str(dims_to_python(*model_, inputs_[i].info->shape));
    for (char& c : text)
      if (c == '\'') c = ' ';
    std::string tight;
    for (const char c : text)
      if (c != ' ') tight += c;
    return tight;
  }

  void check_input_shape(size_t i, const Shape& got) const {
    const Shape& want = inputs_[i].info->shape;
    bool fits = got.rank() == want.rank();
    for (int d = 0; fits && d < want.rank(); ++d) fits = want[d] < 0 ? got[d] >= 0 : want[d] == got[d];
    if (fits) return;
    raise(StatusCode::kShape, "input '" + inputs_[i].info->name + "': got shape " +
                                  std::string(py::str(shape_to_python(got))) + ", expected " +
                                  expected_dims(i));
  }

  size_t find_input(py::handle name) const {
    for (size_t i = 0; i < inputs_.size(); ++i)
      if (inputs_[i].name.is(name)) return i;
    for (size_t i = 0; i < inputs_.size(); ++i)
      if (inputs_[i].name.equal(name)) return i;
    std::string known;
    for (const Input& input : inputs_) known += (known.empty() ? "'" : ", '") + input.info->name + "'";
    raise(StatusCode::kInvalidArgument,
          "there is no input " + std::string(py::repr(name)) + "; the inputs are " + known);
  }

  // Anything that is not an array (lists, numbers, tensors of a framework) goes through Python once.
  py::array to_array(size_t i, py::handle value) const {
    py::array array;
    if (py::isinstance<py::array>(value)) {
      array = py::reinterpret_borrow<py::array>(value);
    } else {
      PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<py::object> storage;
      const py::object& convert =
          storage
              .call_once_and_store_result([] { return py::module_::import("edgec.inputs").attr("as_array"); })
              .get_stored();
      array = convert(value, inputs_[i].name, dtype_name(inputs_[i].info->dtype));
    }
    if (dtype_of(array.dtype()) != inputs_[i].info->dtype) {
      const std::string want = py::str(numpy_dtype(inputs_[i].info->dtype));
      raise(StatusCode::kInvalidArgument, "input '" + inputs_[i].info->name + "': got " +
                                              std::string(py::str(array.dtype())) + ", expected " + want +
                                              ". What to do: pass array.astype(\"" + want + "\")");
    }
    if (!is_dense(array)) array = py::array(array.attr("copy")());  // order "C", the default of the method
    return array;
  }

  Feeds parse_dict(const py::dict& by_name) const {
    Feeds feeds(inputs_.size());
    for (const auto& item : by_name) {
      const size_t i = find_input(item.first);
      feeds[i] = to_array(i, item.second);
    }
    require_all(feeds, static_cast<size_t>(by_name.size()));
    return feeds;
  }

  Feeds parse(const py::args& args, const py::kwargs& kwargs) const {
    if (args.size() == 1 && kwargs.empty() && PyDict_Check(PyTuple_GET_ITEM(args.ptr(), 0)))
      return parse_dict(py::reinterpret_borrow<py::dict>(PyTuple_GET_ITEM(args.ptr(), 0)));
    if (args.size() > inputs_.size())
      raise(StatusCode::kInvalidArgument, "got " + std::to_string(args.size()) + " inputs, the model has " +
                                              std::to_string(inputs_.size()));
    Feeds feeds(inputs_.size());
    for (size_t i = 0; i < args.size(); ++i)
      feeds[i] = to_array(i, PyTuple_GET_ITEM(args.ptr(), static_cast<Py_ssize_t>(i)));
    for (const auto& item : kwargs) {
      const size_t i = find_input(item.first);
      if (i < args.size())
        raise(StatusCode::kInvalidArgument, "input '" + inputs_[i].info->name + "' is given twice");
      feeds[i] = to_array(i, item.second);
    }
    require_all(feeds, args.size() + kwargs.size());
    return feeds;
  }

  // Counts, because a default py::array is an empty array rather than null.
  void require_all(const Feeds&, size_t given) const {
    if (given == inputs_.size()) return;
    std::string known;
    for (const Input& input : inputs_) known += (known.empty() ? "'" : ", '") + input.info->name + "'";
    raise(StatusCode::kInvalidArgument, "got " + std::to_string(given) + " inputs, expected " +
                                            std::to_string(inputs_.size()) + ": " + known);
  }

  static bool same_shape(const py::array& array, const Shape& shape) {
    if (array.ndim() != shape.rank()) return false;
    for (int d = 0; d < shape.rank(); ++d)
      if (array.shape(d) != shape[d]) return false;
    return true;
  }

  void prepare_locked(const std::vector<Shape>& shapes) {
    has_run_ = false;
    Status status;
    {
      const py::gil_scoped_release release;
      status = session_->prepare(shapes);
    }
    check(status);
  }

  void bind_inputs(const Feeds& feeds) {
    bool same = true;
    for (size_t i = 0; same && i < feeds.size(); ++i)
      same = same_shape(feeds[i], session_->input_type(static_cast<int>(i)).shape);
    if (!same) {
      std::vector<Shape> shapes;
      for (size_t i = 0; i < feeds.size(); ++i) {
        shapes.push_back(shape_of(feeds[i]));
        check_input_shape(i, shapes.back());
      }
      prepare_locked(shapes);
    }
    for (size_t i = 0; i < feeds.size(); ++i)
      check(
          session_->bind_input(static_cast<int>(i), feeds[i].data(), static_cast<size_t>(feeds[i].nbytes())));
  }

  py::tuple bind_outputs() {
    const int count = session_->output_count();
    py::tuple outputs(static_cast<size_t>(count));
    for (int i = 0; i < count; ++i) {
      if (session_->output_is_dynamic(i)) {  // its shape is known after the run
        outputs[static_cast<size_t>(i)] = py::none();
        continue;
      }
      const TensorType& type = session_->output_type(i);
      py::array array = new_array(type.dtype, type.shape);
      check(session_->bind_output(i, array.mutable_data(), static_cast<size_t>(array.nbytes())));
      outputs[static_cast<size_t>(i)] = std::move(array);
    }
    return outputs;
  }

  // tensor() reads inputs and outputs where they were bound, whatever became of the run.
  void keep(const Feeds& feeds, const py::tuple& outputs) {
    if (!keep_all_) return;
    kept_inputs_ = feeds;
    kept_outputs_ = py::list(outputs);
  }

  py::tuple run_locked(const Feeds& feeds) {
    bind_inputs(feeds);
    py::tuple outputs = bind_outputs();
    keep(feeds, outputs);
    Status status;
    {
      const py::gil_scoped_release release;
      status = session_->run();
    }
    check(status);
    has_run_ = true;
    for (int i = 0; i < session_->output_count(); ++i) {
      if (!session_->output_is_dynamic(i)) continue;
      outputs[static_cast<size_t>(i)] =
          array_from_view(dense_view(session_->output_type(i), session_->output_data(i)));
    }
    return outputs;
  }

  std::shared_ptr<const Model> model_;
  std::unique_ptr<Session> session_;
  std::vector<Input> inputs_;
  py::list output_names_;
  std::string isa_;
  int threads_ = 1;
  bool keep_all_ = false, has_run_ = false;
  Feeds kept_inputs_;
  py::object kept_outputs_;
  std::mutex mutex_;
};

}  // namespace

void register_session(py::module_& module) {
  py::class_<PySession>(module, "Session", "A model prepared for running; see edgec.Session.")
      .def(py::init<const ModelHandle&, int, size_t, bool, const std::string&, const py::object&>(),
           py::arg("model"), py::arg("threads") = 1, py::arg("max_memory") = 0, py::arg("keep_all") = false,
           py::arg("isa") = "", py::arg("shapes") = py::none())
      .def("run_tuple", &PySession::run, "Outputs in model order as a tuple of new arrays.")
      .def("profile", &PySession::profile, py::arg("feeds"), py::arg("count") = 1)
      .def("prepare", &PySession::prepare, py::arg("shapes"))
      .def("tensor", &PySession::tensor, py::arg("name"))
      .def_property_readonly("tensor_names", &PySession::tensor_names)
      .def("cancel", &PySession::cancel)
      .def_property_readonly("stats", &PySession::stats)
      .def_property_readonly("steps", &PySession::steps)
      .def_property_readonly("input_types", &PySession::input_types)
      .def_property_readonly("output_types", &PySession::output_types)
      .def_property_readonly("output_names", &PySession::output_names)
      .def_property_readonly("threads", &PySession::threads)
      .def_property_readonly("isa", &PySession::isa);
}

}  // namespace edgec::python
