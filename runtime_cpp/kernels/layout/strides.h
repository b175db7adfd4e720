// Strides of tensors, and the small arithmetic that operators on indices share.
#pragma once
#include <cstdint>

#include "core/tensor.h"

namespace edgec {

// Element strides of a tensor whose rows (of the last dimension) lie `pitch` elements apart.
inline void strides_of(const Shape& shape, int64_t pitch, int64_t* strides) {
  int64_t stride = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    strides[i] = stride;
    stride *= i == shape.rank() - 1 ? pitch : shape[i];
  }
}
inline void strides_of(const Shape& shape, int64_t* strides) {
  strides_of(shape, shape.rank() == 0 ? 1 : shape.back(), strides);
}

// An index tensor is i32 or i64.
inline int64_t index_at(DType dtype, const void* indices, int64_t i) {
  return dtype == DType::kI64 ? static_cast<const int64_t*>(indices)[i]
                              : static_cast<const int32_t*>(indices)[i];
}

// Walks a shape in row-major order and keeps the offset that given strides have there.
class Odometer {
 public:
  Odometer(const int64_t* dims, const int64_t* strides, int rank, int64_t start) : rank_(rank) {
    for (int i = rank - 1; i >= 0; --i) {
      dims_[i] = dims[i];
      strides_[i] = strides[i];
      index_[i] = start % dims[i];
      start /= dims[i];
      offset_ += index_[i] * strides[i];
    }
  }
  int64_t offset() const { return offset_; }
  int64_t index(int i) const { return index_[i]; }
  void next() {
    for (int i = rank_ - 1; i >= 0; --i) {
      offset_ += strides_[i];
      if (++index_[i] < dims_[i]) return;
      offset_ -= index_[i] * strides_[i];
      index_[i] = 0;
    }
  }

 private:
  int rank_;
  int64_t dims_[kMaxRank], strides_[kMaxRank], index_[kMaxRank];
  int64_t offset_ = 0;
};

}  // namespace edgec
