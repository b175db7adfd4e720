// Padding and cropping at both ends of every dimension.
#pragma once
#include <cstddef>
#include <cstdint>

#include "core/tensor.h"
#include "core/thread_pool.h"

namespace edgec {

enum class PadMode { kConstant, kReflect, kEdge, kWrap };

// Where element `i` (from -before to size + after - 1) of a padded dimension comes from; -1: the constant.
int64_t pad_source(PadMode mode, int64_t i, int64_t size);

// dims before the innermost padded one are walked through tables; what lies inside is one wide element.
struct PadPlan {
  PadMode mode = PadMode::kConstant;
  int rank = 0;  // dimensions up to the innermost padded one
  int64_t in[kMaxRank], out[kMaxRank], before[kMaxRank];
  size_t element = 0;              // bytes of what lies inside: a multiple of the data type
  size_t fill = 0;                 // bytes of one constant
  const int64_t* table[kMaxRank];  // source index per output index of each dimension

  // before and after may be negative (crop).
  PadPlan(const Shape& in, const int64_t* before, const int64_t* after, size_t element_bytes, PadMode mode);
  int64_t table_entries() const;
  void fill_tables(int64_t* memory);
  // value: one element, read for kConstant only.
  void run(ThreadPool& pool, const void* source, const void* value, void* destination) const;
};

}  // namespace edgec
