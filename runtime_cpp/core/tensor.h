// Data types, shapes, quantization and the view through which every kernel sees a tensor.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/status.h"

namespace edgec {

// The numbers are written to .edge files (docs/format.md) and never change.
enum class DType : uint8_t {
  kNone = 0,
  kF32 = 1,
  kF16 = 2,
  kBF16 = 3,
  kI8 = 4,
  kU8 = 5,
  kI32 = 6,
  kI64 = 7,
  kBool = 8,
  kF64 = 9,
  kI16 = 10,
  kU16 = 11,
  kU32 = 12,
  kU64 = 13,
  // One byte per element, stored and converted only.
  kF8E4M3FN = 14,
  kF8E4M3FNUZ = 15,
  kF8E5M2 = 16,
  kF8E5M2FNUZ = 17,
  kF8E8M0 = 18,
  kF4E2M1 = 19,
  kI4 = 20,
  kU4 = 21,
  kI2 = 22,
  kU2 = 23,
};
inline constexpr int kDTypeCount = 24;

const char* dtype_name(DType dtype);      // "f32", "i64", "bool"...
DType dtype_from_name(const char* name);  // kNone when there is no such type
size_t dtype_size(DType dtype);           // bytes of one element, 0 for kNone
inline bool dtype_valid(uint8_t code) { return code > 0 && code < kDTypeCount; }
inline bool dtype_is_float(DType d) {
  return d == DType::kF32 || d == DType::kF16 || d == DType::kBF16 || d == DType::kF64;
}

// ONNX nets reach rank 6 (pixel shuffle) and Swin-like windows 7; eight leaves one to spare.
inline constexpr int kMaxRank = 8;

class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<int64_t> dims) {
    for (int64_t d : dims) push_back(d);
  }
  Shape(const int64_t* dims, int rank) {
    for (int i = 0; i < rank; ++i) push_back(dims[i]);
  }
  int rank() const { return rank_; }
  int64_t operator[](int i) const { return dims_[i]; }
  int64_t& operator[](int i) { return dims_[i]; }
  int64_t back() const { return dims_[rank_ - 1]; }
  const int64_t* data() const { return dims_; }
  const int64_t* begin() const { return dims_; }
  const int64_t* end() const { return dims_ + rank_; }
  // The caller checks rank() < kMaxRank first; beyond it the dimension is dropped.
  void push_back(int64_t d) {
    if (rank_ < kMaxRank) dims_[rank_++] = d;
  }
  bool operator==(const Shape& o) const {
    if (rank_ != o.rank_) return false;
    for (int i = 0; i < rank_; ++i)
      if (dims_[i] != o.dims_[i]) return false;
    return true;
  }
  bool operator!=(const Shape& o) const { return !(*this == o); }
  // Product of the dimensions [from, to); 1 for none. Only for shapes that passed check_shape.
  int64_t product(int from, int to) const {
    int64_t n = 1;
    for (int i = from; i < to; ++i) n *= dims_[i];
    return n;
  }
  int64_t elements() const { return product(0, rank_); }
  std::string to_string() const;  // "[1,224,224,3]"

 private:
  int rank_ = 0;
  int64_t dims_[kMaxRank] = {};
};

// Refuses negative dimensions and products whose byte size would overflow 2^62.
Status check_shape(DType dtype, const Shape& shape);

// real = (q - zero_point) * scale. axis -1: one scale for the tensor; else one per index of that axis.
struct Quantization {
  int axis = -1;
  std::vector<float> scale;
  std::vector<int32_t> zero_point;
};

struct TensorType {
  DType dtype = DType::kNone;
  Shape shape;
  const Quantization* quantization = nullptr;  // owned by the model
  // The graph says i8; here, between prepared steps, the values live as u8 = i8 + 128 and dtype is kU8.
  // Only operators flagged kSignAgnostic or kRequantizes ever see this.
  bool excess128 = false;
  size_t bytes() const { return static_cast<size_t>(shape.elements()) * dtype_size(dtype); }
  std::string to_string() const;  // "f32[1,224,224,3]"
};

// A tensor in memory: dense except that consecutive rows of the last dimension may lie `pitch`
// elements apart (pitch >= last dimension). That one freedom lets a channel slice and an input of
// a channel concatenation be a part of a wider NHWC tensor. Operators that do not declare
// OpFlag::kPitchedInputs / kPitchedOutputs only ever see dense views.
struct TensorView {
  TensorType type;
  void* data = nullptr;
  int64_t pitch = 0;

  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
  const Shape& shape() const { return type.shape; }
  DType dtype() const { return type.dtype; }
  int64_t elements() const { return type.shape.elements(); }
  int64_t row_length() const { return type.shape.rank() == 0 ? 1 : type.shape.back(); }
  int64_t rows() const { return type.shape.rank() == 0 ? 1 : type.shape.product(0, type.shape.rank() - 1); }
  bool dense() const { return pitch == row_length(); }
};

TensorView dense_view(const TensorType& type, void* data);

}  // namespace edgec
