// Python's view of a loaded model.
#pragma once
#include <pybind11/pybind11.h>

#include <memory>

#include "format/model.h"

namespace edgec::python {

// pybind11 holds objects as pointer to non-const; a loaded model is immutable, so it travels in this handle.
struct ModelHandle {
  std::shared_ptr<const Model> model;
};

void register_model(pybind11::module_& module);

// Dimensions as Python sees them: an int, or the name of a symbol.
pybind11::tuple dims_to_python(const Model& model, const Shape& shape);

}  // namespace edgec::python
