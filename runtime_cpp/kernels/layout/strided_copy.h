// Copying between two strided views: the whole of Transpose, Slice, Split, Concat, Expand and Tile.
#pragma once
#include <cstddef>
#include <cstdint>

#include "core/cpu.h"
#include "core/tensor.h"
#include "core/thread_pool.h"

namespace edgec {

// One dimension of the copy; strides in elements. A source stride of 0 repeats, a negative one reverses.
struct CopyDim {
  int64_t size, source, destination;
};

// Decided once in prepare: dimensions merge, runs that are contiguous on both sides become wider
// elements or memcpy, and a transposition becomes square blocks.
class StridedCopy {
 public:
  // Tile needs two dimensions for each of the tensor's.
  static constexpr int kMaxDims = 2 * kMaxRank;
  StridedCopy() = default;
  // dims: outermost of the destination first.
  StridedCopy(size_t element_bytes, const CopyDim* dims, int count, Isa isa);

  // Addresses of the first element; source and destination may not overlap. Does nothing when both are
  // the same place in memory with the same strides, which is how planned aliasing looks from here.
  void run(ThreadPool& pool, const void* source, void* destination) const;
  const char* kernel_name() const;

 private:
  enum class Kind { kNothing, kRows, kTranspose, kStrided };
  struct Dim {
    int64_t size, source, destination;  // strides in bytes
  };
  void run_task(int64_t task, const char* source, char* destination) const;

  Kind kind_ = Kind::kNothing;
  bool same_strides_ = true;
  Isa isa_ = Isa::scalar;
  size_t element_ = 1;
  int outer_ = 0;  // dims_[0, outer_) are walked, then one or two by the kernel
  Dim dims_[kMaxDims + 1] = {};
  Dim row_ = {1, 0, 0};  // kTranspose: contiguous in the source
  Dim column_ = {1, 0, 0};
  int64_t row_block_ = 1, column_block_ = 1, tasks_ = 0;
};

}  // namespace edgec
