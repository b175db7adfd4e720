// The loop over a broadcast: dimensions that every operand walks in one stride are merged, and what is
// left is cut into blocks of planes of rows for the threads.
#pragma once
#include <algorithm>
#include <cstdint>

#include "core/tensor.h"
#include "core/thread_pool.h"

namespace edgec {

struct BroadcastOperand {
  Shape shape;
  int64_t pitch;  // elements between rows of the last dimension
};

class BroadcastLoop {
 public:
  static constexpr int kMaxOperands = 4;
  // operands[0] is the output; the others broadcast to it.
  BroadcastLoop(const BroadcastOperand* operands, int count);

  int64_t plane_stride(int operand) const { return strides_[operand][rank_ - 3]; }
  int64_t row_stride(int operand) const { return strides_[operand][rank_ - 2]; }
  int step(int operand) const { return static_cast<int>(strides_[operand][rank_ - 1]); }

  // body(offsets[operand], planes, rows, columns); offsets in elements from the start of each operand.
  template <class Body>
  void run(ThreadPool& pool, double cost_per_element, const Body& body) const {
    if (tasks_ == 0) return;
    pool.parallel_for(tasks_,
                      cost_per_element * static_cast<double>(task_planes_ * task_rows_ * task_columns_),
                      [&](int64_t begin, int64_t end, int) {
                        int64_t offsets[kMaxOperands];
                        for (int64_t t = begin; t < end; ++t) {
                          int64_t planes, rows, columns;
                          locate(t, offsets, &planes, &rows, &columns);
                          body(offsets, planes, rows, columns);
                        }
                      });
  }

 private:
  void locate(int64_t task, int64_t* offsets, int64_t* planes, int64_t* rows, int64_t* columns) const;

  int operands_;
  int rank_ = 0;  // at least 3
  int64_t dims_[kMaxRank + 3];
  int64_t strides_[kMaxOperands][kMaxRank + 3];
  int64_t task_planes_ = 1, task_rows_ = 1, task_columns_ = 1, tasks_ = 0;
};

}  // namespace edgec
