// NumPy arrays and data types <-> edgec tensors.
#pragma once
#include <pybind11/numpy.h>

#include <memory>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace edgec::python {

// kNone when edgec has no such type. Big-endian types have none.
DType dtype_of(const pybind11::dtype& dtype);
// The NumPy type; bf16 is ml_dtypes.bfloat16 when that package is there, else raw uint16.
pybind11::dtype numpy_dtype(DType dtype);

// Parses "f32"; raises InvalidArgumentError otherwise.
DType dtype_from_python(const std::string& name);

// Raises ShapeError when there are too many dimensions or a negative one.
Shape shape_from_python(pybind11::handle dims, const char* what);
pybind11::tuple shape_to_python(const Shape& shape);
Shape shape_of(const pybind11::array& array);

inline bool is_dense(const pybind11::array& array) {
  constexpr int kWanted =
      pybind11::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_ | pybind11::detail::npy_api::NPY_ARRAY_ALIGNED_;
  return (array.flags() & kWanted) == kWanted;
}

// A new uninitialised array; and one that takes over a buffer.
pybind11::array new_array(DType dtype, const Shape& shape);
pybind11::array array_from_bytes(const TensorType& type, std::vector<std::byte>&& data);
// A copy of a view whose rows may lie apart.
pybind11::array array_from_view(const TensorView& view);

}  // namespace edgec::python
