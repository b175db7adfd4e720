#include "model.h"

#include <pybind11/stl.h>

#include "arrays.h"
#include "errors.h"
#include "reflection.h"

namespace edgec::python {
namespace py = pybind11;

py::tuple dims_to_python(const Model& model, const Shape& shape) {
  py::tuple dims(static_cast<size_t>(shape.rank()));
  for (int i = 0; i < shape.rank(); ++i) {
    const int64_t d = shape[i];
    const auto at = static_cast<size_t>(i);
    if (d >= 0)
      dims[at] = py::int_(d);
    else
      dims[at] = py::str(model.symbols[static_cast<size_t>(-d - 1)].name);
  }
  return dims;
}

namespace {

ModelHandle open_model(const py::object& path, bool verify) {
  PyObject* encoded = nullptr;
  if (!PyUnicode_FSConverter(path.ptr(), &encoded)) throw py::error_already_set();
  const py::bytes bytes = py::reinterpret_steal<py::bytes>(encoded);
  const std::string name = bytes;
  LoadOptions options;
  options.verify_weights = verify;
  ModelHandle handle;
  Status status;
  {
    const py::gil_scoped_release release;
    status = Model::open(name.c_str(), options, &handle.model);
  }
  check(status);
  return handle;
}

ModelHandle model_from_bytes(const py::bytes& data, bool verify) {
  char* bytes = nullptr;
  Py_ssize_t size = 0;
  if (PyBytes_AsStringAndSize(data.ptr(), &bytes, &size) != 0) throw py::error_already_set();
  LoadOptions options;
  options.verify_weights = verify;
  ModelHandle handle;
  Status status;
  {
    const py::gil_scoped_release release;  // bytes are immutable and `data` keeps them alive
    // Copied: weights must lie at multiples of 64, which a bytes object does not promise.
    status = Model::from_memory(bytes, static_cast<size_t>(size), true, options, &handle.model);
  }
  check(status);
  return handle;
}

const Graph& graph_at(const ModelHandle& m, size_t index) {
  if (index >= m.model->graphs.size())
    raise(StatusCode::kInvalidArgument,
          "the model has " + std::to_string(m.model->graphs.size()) + " graphs");
  return m.model->graphs[index];
}

py::list inputs(const ModelHandle& m) {
  py::list out;
  for (const int32_t i : m.model->graph().inputs) {
    const TensorInfo& t = m.model->graph().tensors[static_cast<size_t>(i)];
    out.append(py::make_tuple(t.name, dtype_name(t.dtype), dims_to_python(*m.model, t.shape)));
  }
  return out;
}

py::list output_names(const ModelHandle& m) {
  py::list out;
  for (const int32_t i : m.model->graph().outputs)
    out.append(m.model->graph().tensors[static_cast<size_t>(i)].name);
  return out;
}

py::list tensor_names(const Graph& graph, const std::vector<int32_t>& indices) {
  py::list out;
  for (const int32_t i : indices)
    out.append(i == kAbsent ? py::object(py::none())
                            : py::object(py::str(graph.tensors[static_cast<size_t>(i)].name)));
  return out;
}

py::list nodes(const ModelHandle& m, size_t index) {
  const Graph& graph = graph_at(m, index);
  py::list out;
  for (const NodeInfo& node : graph.nodes) {
    py::dict attrs, d;
    for (const auto& [name, value] : node.attrs) attrs[py::str(name)] = attribute_to_python(value);
    d["op"] = node.op->name;
    d["name"] = node.name;
    d["inputs"] = tensor_names(graph, node.inputs);
    d["outputs"] = tensor_names(graph, node.outputs);
    d["attrs"] = attrs;
    out.append(d);
  }
  return out;
}

// (name, dtype, shape, offset of the bytes relative to the first constant); equal offsets share their bytes.
py::list constants(const ModelHandle& m, size_t index) {
  const Graph& graph = graph_at(m, index);
  const std::byte* first = nullptr;
  for (const TensorInfo& t : graph.tensors)
    if (t.kind == TensorKind::kConstant && (first == nullptr || t.data < first)) first = t.data;
  py::list out;
  for (const TensorInfo& t : graph.tensors)
    if (t.kind == TensorKind::kConstant)
      out.append(py::make_tuple(t.name, dtype_name(t.dtype), shape_to_python(t.shape), t.data - first));
  return out;
}

// A read-only array over the mapped file; the array keeps the model alive.
py::array constant(const ModelHandle& m, const std::string& name) {
  for (const TensorInfo& t : m.model->graph().tensors) {
    if (t.kind != TensorKind::kConstant || t.name != name) continue;
    const py::capsule owner(new std::shared_ptr<const Model>(m.model),
                            [](void* p) { delete static_cast<std::shared_ptr<const Model>*>(p); });
    py::array array(numpy_dtype(t.dtype), std::vector<py::ssize_t>(t.shape.begin(), t.shape.end()),
                    const_cast<std::byte*>(t.data), owner);
    py::detail::array_proxy(array.ptr())->flags &= ~py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
    return array;
  }
  raise(StatusCode::kInvalidArgument, "the model has no constant '" + name + "'");
}

}  // namespace

void register_model(py::module_& module) {
  py::class_<ModelHandle>(module, "Model", "A loaded .edge model: immutable, shared by sessions and threads.")
      .def_static("open", &open_model, py::arg("path"), py::arg("verify") = false)
      .def_static("from_bytes", &model_from_bytes, py::arg("data"), py::arg("verify") = false)
      .def_property_readonly("inputs", &inputs, "[(name, dtype, dims)], dims are ints or symbol names")
      .def_property_readonly("output_names", &output_names)
      .def_property_readonly("symbols",
                             [](const ModelHandle& m) {
                               py::list out;
                               for (const Symbol& s : m.model->symbols)
                                 out.append(py::make_tuple(s.name, s.min, s.max));
                               return out;
                             })
      .def_property_readonly("metadata",
                             [](const ModelHandle& m) {
                               py::dict out;
                               for (const auto& [key, value] : m.model->metadata)
                                 out[py::str(key)] = py::str(value);
                               return out;
                             })
      .def_property_readonly(
          "format_version",
          [](const ModelHandle& m) { return py::make_tuple(m.model->format_major, m.model->format_minor); })
      .def_property_readonly("weight_bytes", [](const ModelHandle& m) { return m.model->weight_bytes; })
      .def_property_readonly("graph_count", [](const ModelHandle& m) { return m.model->graphs.size(); })
      .def("nodes", &nodes, py::arg("graph") = 0)
      .def("constants", &constants, py::arg("graph") = 0)
      .def("constant", &constant, py::arg("name"));
}

}  // namespace edgec::python
