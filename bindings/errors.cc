#include "errors.h"

namespace edgec::python {
namespace py = pybind11;
namespace {

constexpr int kCodes = static_cast<int>(StatusCode::kNeedsValue) + 1;
// Borrowed for the life of the process: exceptions may be raised while the interpreter shuts down.
PyObject* exception_classes[kCodes] = {};

}  // namespace

void register_errors(py::module_& module) {
  const py::module_ errors = py::module_::import("edgec.errors");
  const py::object base = errors.attr("Error");
  const py::dict by_code = errors.attr("BY_CODE");
  for (int code = 0; code < kCodes; ++code) {
    py::object cls = base;
    if (by_code.contains(py::int_(code))) cls = by_code[py::int_(code)];
    exception_classes[code] = cls.inc_ref().ptr();
    if (!cls.is(base)) module.attr(py::str(cls.attr("__name__"))) = cls;
  }
  module.attr("Error") = base;
}

void raise(StatusCode code, const std::string& message) {
  const int index = static_cast<int>(code);
  PyObject* cls =
      exception_classes[index > 0 && index < kCodes ? index : static_cast<int>(StatusCode::kInternal)];
  // Names in a file may be any bytes; a message must never fail to decode.
  PyObject* text = PyUnicode_DecodeUTF8(message.data(), static_cast<Py_ssize_t>(message.size()), "replace");
  if (text != nullptr) {
    PyErr_SetObject(cls, text);
    Py_DECREF(text);
  }
  throw py::error_already_set();
}

void raise(const Status& status) { raise(status.code(), status.message()); }

}  // namespace edgec::python
