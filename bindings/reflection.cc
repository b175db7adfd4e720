#include "reflection.h"

#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "arrays.h"
#include "core/op.h"
#include "core/session.h"
#include "errors.h"

namespace edgec::python {
namespace py = pybind11;

py::object attribute_to_python(const AttrValue& value) {
  switch (value.type) {
    case AttrType::kInt:
    case AttrType::kGraph:
      return py::int_(value.i);
    case AttrType::kFloat:
      return py::float_(value.f);
    case AttrType::kString:
      return py::str(value.s);
    case AttrType::kInts:
      return py::cast(value.ints);
    case AttrType::kFloats:
      return py::cast(value.floats);
  }
  return py::none();
}

namespace {

const char* type_name(AttrType type) {
  switch (type) {
    case AttrType::kInt:
      return "int";
    case AttrType::kFloat:
      return "float";
    case AttrType::kString:
      return "string";
    case AttrType::kInts:
      return "ints";
    case AttrType::kFloats:
      return "floats";
    case AttrType::kGraph:
      return "graph";
  }
  return "invalid";
}

py::list ports_to_python(const std::vector<PortSpec>& ports) {
  py::list out;
  for (const PortSpec& port : ports) {
    py::dict d;
    d["name"] = port.name;
    d["optional"] = port.optional;
    d["variadic"] = port.variadic;
    d["doc"] = port.doc;
    out.append(d);
  }
  return out;
}

py::dict schema_to_python(const OpDef& op) {
  py::list attrs;
  for (const AttrSpec& spec : op.attrs) {
    py::dict d;
    py::list choices;
    for (size_t begin = 0; !spec.choices.empty() && begin <= spec.choices.size();) {
      const size_t end = std::min(spec.choices.find('|', begin), spec.choices.size());
      choices.append(spec.choices.substr(begin, end - begin));
      begin = end + 1;
    }
    d["name"] = spec.name;
    d["type"] = type_name(spec.default_value.type);
    d["default"] = attribute_to_python(spec.default_value);
    d["required"] = spec.required;
    d["choices"] = choices;
    d["doc"] = spec.doc;
    attrs.append(d);
  }
  py::dict d;
  d["name"] = op.name;
  d["version"] = op.version;
  d["doc"] = op.doc;
  d["inputs"] = ports_to_python(op.inputs);
  d["outputs"] = ports_to_python(op.outputs);
  d["attrs"] = attrs;
  d["pitched_inputs"] = (op.flags & kPitchedInputs) != 0;
  d["pitched_outputs"] = (op.flags & kPitchedOutputs) != 0;
  d["shape_only"] = (op.flags & kShapeOnly) != 0;
  d["view"] = (op.flags & kViewOfInput0) != 0;
  d["not_foldable"] = (op.flags & kNotFoldable) != 0;
  d["elementwise"] = (op.flags & kElementwise) != 0;
  d["control_flow"] = (op.flags & kControlFlow) != 0;
  d["inplace"] = py::cast(op.inplace_inputs);
  return d;
}

const OpDef& find_op(const std::string& name) {
  const OpDef* op = Registry::instance().find(name);
  if (op == nullptr) raise(StatusCode::kUnsupported, "operator '" + name + "' does not exist in this build");
  return *op;
}

[[noreturn]] void wrong_attribute(const OpDef& op, const std::string& name, AttrType want, py::handle got) {
  raise(StatusCode::kInvalidArgument, op.name + ": attribute '" + name + "' wants " + type_name(want) +
                                          ", got " + std::string(py::repr(got)));
}

bool is_real(py::handle v) {
  return PyFloat_Check(v.ptr()) || PyIndex_Check(v.ptr()) || py::hasattr(v, "__float__");
}
bool is_list(py::handle v) { return PySequence_Check(v.ptr()) && !PyUnicode_Check(v.ptr()); }

// Converts to the declared type; what the schema does not know keeps the type of the Python value, so that
// validate_node is the one that refuses it.
AttrValue attribute_from_python(const OpDef& op, const std::string& name, py::handle v) {
  AttrType want;
  if (const AttrSpec* spec = op.find_attr(name)) {
    want = spec->default_value.type;
  } else if (PyUnicode_Check(v.ptr())) {
    want = AttrType::kString;
  } else if (is_list(v)) {
    want = AttrType::kInts;
  } else {
    want = PyFloat_Check(v.ptr()) ? AttrType::kFloat : AttrType::kInt;
  }
  try {
    switch (want) {
      case AttrType::kInt:
      case AttrType::kGraph:
        if (!PyIndex_Check(v.ptr())) wrong_attribute(op, name, want, v);
        return want == AttrType::kInt
                   ? AttrValue(py::cast<int64_t>(py::int_(py::reinterpret_borrow<py::object>(v))))
                   : AttrValue::graph(py::cast<int64_t>(v));
      case AttrType::kFloat:
        if (PyUnicode_Check(v.ptr()) || !is_real(v)) wrong_attribute(op, name, want, v);
        return AttrValue(static_cast<double>(py::float_(py::reinterpret_borrow<py::object>(v))));
      case AttrType::kString:
        if (!PyUnicode_Check(v.ptr())) wrong_attribute(op, name, want, v);
        return AttrValue(py::cast<std::string>(v));
      case AttrType::kInts: {
        if (!is_list(v)) wrong_attribute(op, name, want, v);
        std::vector<int64_t> ints;
        for (const py::handle item : py::reinterpret_borrow<py::sequence>(v)) {
          if (!PyIndex_Check(item.ptr())) wrong_attribute(op, name, want, v);
          ints.push_back(py::cast<int64_t>(py::int_(py::reinterpret_borrow<py::object>(item))));
        }
        return AttrValue(std::move(ints));
      }
      case AttrType::kFloats: {
        if (!is_list(v)) wrong_attribute(op, name, want, v);
        std::vector<double> floats;
        for (const py::handle item : py::reinterpret_borrow<py::sequence>(v))
          floats.push_back(static_cast<double>(py::float_(py::reinterpret_borrow<py::object>(item))));
        return AttrValue(std::move(floats));
      }
    }
  } catch (py::cast_error&) {  // an integer beyond 64 bits
  } catch (py::error_already_set& e) {
    if (!e.matches(PyExc_TypeError) && !e.matches(PyExc_OverflowError)) throw;
  }
  wrong_attribute(op, name, want, v);
}

// A node made of Python values, with everything that keeps its pointers alive.
struct PythonNode {
  NodeInfo node;
  std::vector<TensorType> types;
  std::vector<const TensorType*> type_pointers;
  std::vector<py::array> arrays;  // alive and dense
  std::vector<const void*> values;

  PythonNode(const std::string& op_name, const py::dict& attrs, size_t inputs, int outputs)
      : types(inputs), type_pointers(inputs, nullptr), values(inputs, nullptr) {
    const OpDef& op = find_op(op_name);
    node.op = &op;
    node.name = op.name;
    for (const auto& item : attrs) {
      const auto name = py::cast<std::string>(item.first);
      node.attrs.emplace_back(name, attribute_from_python(op, name, item.second));
    }
    node.inputs.assign(inputs, kAbsent);
    if (outputs < 0) raise(StatusCode::kInvalidArgument, "n_outputs is negative");
    for (int i = 0; i < outputs; ++i) node.outputs.push_back(static_cast<int32_t>(inputs) + i);
  }

  void set_type(size_t i, DType dtype, const Shape& shape) {
    types[i].dtype = dtype;
    types[i].shape = shape;
    type_pointers[i] = &types[i];
    node.inputs[i] = static_cast<int32_t>(i);
  }

  void set_type(size_t i, py::handle pair) {
    if (!PyTuple_Check(pair.ptr()) || PyTuple_GET_SIZE(pair.ptr()) != 2)
      raise(StatusCode::kInvalidArgument, node.name + ": input " + std::to_string(i) +
                                              " wants (dtype, shape), got " + std::string(py::repr(pair)));
    const py::tuple t = py::reinterpret_borrow<py::tuple>(pair);
    const std::string where = node.name + ": input " + std::to_string(i);
    const DType dtype = dtype_from_python(py::cast<std::string>(t[0]));
    const Shape shape = shape_from_python(t[1], where.c_str());
    check(check_shape(dtype, shape));
    set_type(i, dtype, shape);
  }

  // Returns the array made dense, whose type must be the one of `expected` when that is given.
  void set_value(size_t i, py::handle value, bool takes_type) {
    py::array array = py::array::ensure(value, py::array::c_style);
    if (!array) {
      PyErr_Clear();
      raise(StatusCode::kInvalidArgument, node.name + ": input " + std::to_string(i) + " is not an array");
    }
    if (!is_dense(array)) array = py::array(array.attr("copy")());
    const DType dtype = dtype_of(array.dtype());
    if (dtype == DType::kNone)
      raise(StatusCode::kInvalidArgument, node.name + ": input " + std::to_string(i) +
                                              " has the NumPy type " + std::string(py::str(array.dtype())) +
                                              ", which edgec does not have");
    const Shape shape = shape_of(array);
    if (takes_type) {
      set_type(i, dtype, shape);
    } else if (type_pointers[i] == nullptr || types[i].dtype != dtype || types[i].shape != shape) {
      raise(StatusCode::kInvalidArgument,
            node.name + ": the value of input " + std::to_string(i) + " is " +
                TensorType{dtype, shape}.to_string() + ", its declared type is " +
                (type_pointers[i] ? types[i].to_string() : std::string("absent")));
    }
    values[i] = array.data();
    arrays.push_back(std::move(array));
  }
};

py::list infer(const std::string& op, const py::dict& attrs, const py::sequence& in_types,
               const py::sequence& in_values, int n_outputs) {
  const size_t inputs = py::len(in_types);
  if (py::len(in_values) != inputs)
    raise(StatusCode::kInvalidArgument, op + ": in_types and in_values differ in length");
  PythonNode n(op, attrs, inputs, n_outputs);
  for (size_t i = 0; i < inputs; ++i) {
    const py::object type = in_types[i], value = in_values[i];
    if (!type.is_none()) n.set_type(i, type);
    if (!value.is_none()) n.set_value(i, value, false);
  }
  check(validate_node(n.node));
  std::vector<TensorType> outputs(static_cast<size_t>(n_outputs));
  check(infer_node(n.node, n.type_pointers, n.values, &outputs));
  py::list result;
  for (const TensorType& t : outputs)
    result.append(py::make_tuple(dtype_name(t.dtype), shape_to_python(t.shape)));
  return result;
}

py::list evaluate(const std::string& op, const py::dict& attrs, const py::sequence& inputs, int n_outputs) {
  const size_t count = py::len(inputs);
  PythonNode n(op, attrs, count, n_outputs);
  for (size_t i = 0; i < count; ++i) {
    const py::object value = inputs[i];
    if (value.is_none()) continue;
    if (!PyTuple_Check(value.ptr())) {
      n.set_value(i, value, true);
    } else if ((n.node.op->flags & kShapeOnly) != 0) {
      n.set_type(i, value);
    } else {
      raise(StatusCode::kInvalidArgument, op + ": evaluating needs the value of input " + std::to_string(i) +
                                              "; a type alone is enough for Shape and Size only");
    }
  }
  check(validate_node(n.node));
  std::vector<HostTensor> outputs;
  Status status;
  {
    const py::gil_scoped_release release;
    status = evaluate_node(n.node, n.type_pointers, n.values, &outputs);
  }
  check(status);
  py::list result;
  for (HostTensor& t : outputs) result.append(array_from_bytes(t.type, std::move(t.data)));
  return result;
}

}  // namespace

void register_reflection(py::module_& module) {
  module.def(
      "registry",
      [] {
        py::list out;
        for (const auto& op : Registry::instance().all()) out.append(schema_to_python(*op));
        return out;
      },
      "Schemas of every operator of this build, sorted by name.");
  // The converter asks for schemas once per node; they never change while the process lives.
  static PyObject* cache = PyDict_New();
  module.def(
      "schema",
      [](const py::str& op) -> py::object {
        const py::dict known = py::reinterpret_borrow<py::dict>(cache);
        if (!known.contains(op)) known[op] = schema_to_python(find_op(py::cast<std::string>(op)));
        return known[op];
      },
      py::arg("op"),
      "Schema of one operator; shared, not to be changed. Raises UnsupportedError for an unknown name.");
  module.def("infer", &infer, py::arg("op"), py::arg("attrs"), py::arg("in_types"), py::arg("in_values"),
             py::arg("n_outputs"), "Types of a node's outputs as [(dtype, shape)].");
  module.def("evaluate", &evaluate, py::arg("op"), py::arg("attrs"), py::arg("inputs"), py::arg("n_outputs"),
             "Runs one operator on arrays (or on (dtype, shape) where only the type is needed).");
  module.def(
      "dtype_name",
      [](const py::object& dtype) {
        const py::dtype d = py::dtype::from_args(dtype);
        const DType known = dtype_of(d);
        if (known == DType::kNone)
          raise(StatusCode::kInvalidArgument,
                "edgec has no data type for NumPy's " + std::string(py::str(d)));
        return std::string(dtype_name(known));
      },
      py::arg("dtype"), "edgec's name of a NumPy data type: float32 -> \"f32\".");
  module.def(
      "numpy_dtype", [](const std::string& name) { return numpy_dtype(dtype_from_python(name)); },
      py::arg("name"), "NumPy's data type for edgec's name: \"f32\" -> float32.");
}

}  // namespace edgec::python
