// Python's Session: argument checking, zero-copy binding and the lock that makes one session safe for many
// threads.
#pragma once
#include <pybind11/pybind11.h>

namespace edgec::python {

void register_session(pybind11::module_& module);

}  // namespace edgec::python
