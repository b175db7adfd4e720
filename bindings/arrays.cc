#include "arrays.h"

#include <cstring>

#include "errors.h"

namespace edgec::python {
namespace py = pybind11;
namespace {

// NumPy's type numbers are the C types'; `long` and `long long` are distinct numbers of one size.
DType dtype_of_number(int number, int size) {
  switch (number) {
    case py::detail::npy_api::NPY_BOOL_:
      return DType::kBool;
    case py::detail::npy_api::NPY_BYTE_:
      return DType::kI8;
    case py::detail::npy_api::NPY_UBYTE_:
      return DType::kU8;
    case py::detail::npy_api::NPY_SHORT_:
      return DType::kI16;
    case py::detail::npy_api::NPY_USHORT_:
      return DType::kU16;
    case py::detail::npy_api::NPY_INT_:
    case py::detail::npy_api::NPY_LONG_:
    case py::detail::npy_api::NPY_LONGLONG_:
      return size == 8 ? DType::kI64 : DType::kI32;
    case py::detail::npy_api::NPY_UINT_:
    case py::detail::npy_api::NPY_ULONG_:
    case py::detail::npy_api::NPY_ULONGLONG_:
      return size == 8 ? DType::kU64 : DType::kU32;
    case py::detail::npy_api::NPY_FLOAT_:
      return DType::kF32;
    case py::detail::npy_api::NPY_DOUBLE_:
      return DType::kF64;
    case 23:  // NPY_HALF
      return DType::kF16;
    default:
      return DType::kNone;
  }
}

// Types of the package ml_dtypes (onnx installs it). Without it such arrays come as their bits.
struct ExtensionType {
  DType dtype;
  const char* name;
  const char* bits;
};
constexpr ExtensionType kExtensionTypes[] = {
    {DType::kBF16, "bfloat16", "uint16"},
    {DType::kF8E4M3FN, "float8_e4m3fn", "uint8"},
    {DType::kF8E4M3FNUZ, "float8_e4m3fnuz", "uint8"},
    {DType::kF8E5M2, "float8_e5m2", "uint8"},
    {DType::kF8E5M2FNUZ, "float8_e5m2fnuz", "uint8"},
    {DType::kF8E8M0, "float8_e8m0fnu", "uint8"},
    {DType::kF4E2M1, "float4_e2m1fn", "uint8"},
    {DType::kI4, "int4", "int8"},
    {DType::kU4, "uint4", "uint8"},
    {DType::kI2, "int2", "int8"},
    {DType::kU2, "uint2", "uint8"},
};

py::dtype extension_dtype(const ExtensionType& type) {
  try {
    return py::dtype::from_args(py::module_::import("ml_dtypes").attr(type.name));
  } catch (py::error_already_set&) {
    return py::dtype(type.bits);
  }
}

}  // namespace

DType dtype_of(const py::dtype& dtype) {
  const char order = dtype.byteorder();
  if (order == '>') return DType::kNone;
  const DType known = dtype_of_number(dtype.num(), static_cast<int>(dtype.itemsize()));
  if (known != DType::kNone) return known;
  // ml_dtypes registers its types at run time, so that only their name says what they are.
  const std::string name = py::str(dtype.attr("name"));
  for (const ExtensionType& type : kExtensionTypes)
    if (name == type.name) return type.dtype;
  return DType::kNone;
}

py::dtype numpy_dtype(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return py::dtype("float32");
    case DType::kF16:
      return py::dtype("float16");
    case DType::kI8:
      return py::dtype("int8");
    case DType::kU8:
      return py::dtype("uint8");
    case DType::kI32:
      return py::dtype("int32");
    case DType::kI64:
      return py::dtype("int64");
    case DType::kBool:
      return py::dtype("bool");
    case DType::kF64:
      return py::dtype("float64");
    case DType::kI16:
      return py::dtype("int16");
    case DType::kU16:
      return py::dtype("uint16");
    case DType::kU32:
      return py::dtype("uint32");
    case DType::kU64:
      return py::dtype("uint64");
    default:
      for (const ExtensionType& type : kExtensionTypes)
        if (type.dtype == dtype) return extension_dtype(type);
  }
  raise(StatusCode::kInternal, "a tensor has no data type");
}

DType dtype_from_python(const std::string& name) {
  const DType dtype = dtype_from_name(name.c_str());
  if (dtype == DType::kNone)
    raise(StatusCode::kInvalidArgument, "unknown data type '" + name +
                                            "', expected one of f32 f16 bf16 f64 i8 u8 "
                                            "i16 u16 i32 u32 i64 u64 bool");
  return dtype;
}

Shape shape_from_python(py::handle dims, const char* what) {
  const py::sequence sequence = py::reinterpret_borrow<py::sequence>(dims);
  if (!PySequence_Check(dims.ptr()))
    raise(StatusCode::kInvalidArgument, std::string(what) + ": a shape is a sequence of integers, got " +
                                            std::string(py::str(py::type::of(dims).attr("__name__"))));
  const size_t rank = py::len(sequence);
  if (rank > static_cast<size_t>(kMaxRank))
    raise(StatusCode::kShape, std::string(what) + ": " + std::to_string(rank) +
                                  " dimensions, edgec supports at most " + std::to_string(kMaxRank));
  Shape shape;
  for (size_t i = 0; i < rank; ++i) {
    const py::object item = sequence[i];
    const Py_ssize_t dim = PyNumber_AsSsize_t(item.ptr(), PyExc_OverflowError);
    if (dim == -1 && PyErr_Occurred()) throw py::error_already_set();
    if (dim < 0)
      raise(StatusCode::kShape, std::string(what) + ": dimension " + std::to_string(i) + " is negative");
    shape.push_back(dim);
  }
  return shape;
}

py::tuple shape_to_python(const Shape& shape) {
  py::tuple dims(static_cast<size_t>(shape.rank()));
  for (int i = 0; i < shape.rank(); ++i) dims[static_cast<size_t>(i)] = py::int_(shape[i]);
  return dims;
}

Shape shape_of(const py::array& array) {
  if (array.ndim() > kMaxRank)
    raise(StatusCode::kShape, "an array has " + std::to_string(array.ndim()) +
                                  " dimensions, edgec supports at most " + std::to_string(kMaxRank));
  Shape shape;
  for (py::ssize_t i = 0; i < array.ndim(); ++i) shape.push_back(array.shape(i));
  return shape;
}

py::array new_array(DType dtype, const Shape& shape) {
  return py::array(numpy_dtype(dtype), std::vector<py::ssize_t>(shape.begin(), shape.end()));
}

py::array array_from_bytes(const TensorType& type, std::vector<std::byte>&& data) {
  auto* owner = new std::vector<std::byte>(std::move(data));
  // A vector without elements may have a null pointer, which NumPy takes for "allocate it yourself".
  if (owner->empty()) owner->resize(1);
  const py::capsule base(owner, [](void* p) { delete static_cast<std::vector<std::byte>*>(p); });
  return py::array(numpy_dtype(type.dtype), std::vector<py::ssize_t>(type.shape.begin(), type.shape.end()),
                   owner->data(), base);
}

py::array array_from_view(const TensorView& view) {
  py::array array = new_array(view.dtype(), view.shape());
  const size_t element = dtype_size(view.dtype());
  const size_t row = static_cast<size_t>(view.row_length()) * element;
  auto* to = static_cast<std::byte*>(array.mutable_data());
  const auto* from = static_cast<const std::byte*>(view.data);
  if (view.elements() == 0) return array;
  for (int64_t r = 0; r < view.rows(); ++r)
    std::memcpy(to + static_cast<size_t>(r) * row, from + static_cast<size_t>(r * view.pitch) * element, row);
  return array;
}

}  // namespace edgec::python
