// The operator registry as Python sees it: schemas, type inference and evaluation of single nodes.
#pragma once
#include <pybind11/pybind11.h>

#include "core/attributes.h"

namespace edgec::python {

void register_reflection(pybind11::module_& module);
pybind11::object attribute_to_python(const AttrValue& value);

}  // namespace edgec::python
