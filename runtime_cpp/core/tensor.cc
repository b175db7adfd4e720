#include "core/tensor.h"

#include <cstring>

namespace edgec {
namespace {

struct DTypeInfo {
  const char* name;
  size_t size;
};
constexpr DTypeInfo kInfo[kDTypeCount] = {
    {"none", 0},   {"f32", 4},    {"f16", 2},      {"bf16", 2},       {"i8", 1},     {"u8", 1},
    {"i32", 4},    {"i64", 8},    {"bool", 1},     {"f64", 8},        {"i16", 2},    {"u16", 2},
    {"u32", 4},    {"u64", 8},    {"f8e4m3fn", 1}, {"f8e4m3fnuz", 1}, {"f8e5m2", 1}, {"f8e5m2fnuz", 1},
    {"f8e8m0", 1}, {"f4e2m1", 1}, {"i4", 1},       {"u4", 1},         {"i2", 1},     {"u2", 1}};

}  // namespace

const char* dtype_name(DType dtype) {
  const auto i = static_cast<size_t>(dtype);
  return i < kDTypeCount ? kInfo[i].name : "invalid";
}

DType dtype_from_name(const char* name) {
  for (int i = 1; i < kDTypeCount; ++i)
    if (std::strcmp(kInfo[i].name, name) == 0) return static_cast<DType>(i);
  return DType::kNone;
}

size_t dtype_size(DType dtype) {
  const auto i = static_cast<size_t>(dtype);
  return i < kDTypeCount ? kInfo[i].size : 0;
}

std::string Shape::to_string() const {
  std::string text = "[";
  for (int i = 0; i < rank_; ++i) {
    if (i) text += ",";
    text += std::to_string(dims_[i]);
  }
  return text + "]";
}

Status check_shape(DType dtype, const Shape& shape) {
  int64_t bytes = static_cast<int64_t>(dtype_size(dtype));
  for (int i = 0; i < shape.rank(); ++i) {
    if (shape[i] < 0) return error(StatusCode::kShape, "negative dimension in %s", shape.to_string().c_str());
    // Zero counts as one here: [0, 2^62] must be refused too, a later reshape may drop the zero.
    const int64_t factor = shape[i] > 0 ? shape[i] : 1;
    if (__builtin_mul_overflow(bytes, factor, &bytes) || bytes > (int64_t{1} << 62))
      return error(StatusCode::kShape, "%s%s has more bytes than can be addressed", dtype_name(dtype),
                   shape.to_string().c_str());
  }
  return ok_status();
}

std::string TensorType::to_string() const { return std::string(dtype_name(dtype)) + shape.to_string(); }

TensorView dense_view(const TensorType& type, void* data) {
  TensorView view;
  view.type = type;
  view.data = data;
  view.pitch = view.row_length();
  return view;
}

}  // namespace edgec
