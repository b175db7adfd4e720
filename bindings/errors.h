// Status -> Python exception. The classes live in edgec/errors.py; the native module raises those very
// classes.
#pragma once
#include <pybind11/pybind11.h>

#include "core/status.h"

namespace edgec::python {

void register_errors(pybind11::module_& module);

// Throws the exception of the status' code.
[[noreturn]] void raise(const Status& status);
[[noreturn]] void raise(StatusCode code, const std::string& message);

inline void check(const Status& status) {
  if (!status.ok()) raise(status);
}

}  // namespace edgec::python
