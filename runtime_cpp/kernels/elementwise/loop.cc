#include "kernels/elementwise/loop.h"

namespace edgec {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

BroadcastLoop::BroadcastLoop(const BroadcastOperand* operands, int count) : operands_(count) {
  const Shape& out = operands[0].shape;
  // Strides of every operand for the output's dimensions; 0 where it is broadcast.
  int64_t strides[kMaxOperands][kMaxRank] = {};
  for (int k = 0; k < count; ++k) {
    const Shape& shape = operands[k].shape;
    int64_t stride = 1;
    for (int i = shape.rank() - 1; i >= 0; --i) {
      if (shape[i] != 1) strides[k][i + out.rank() - shape.rank()] = stride;
      stride *= i == shape.rank() - 1 ? operands[k].pitch : shape[i];
    }
  }
  // Innermost first: a dimension joins the one inside it when all operands step over it seamlessly.
  int64_t dims[kMaxRank];
  int64_t merged[kMaxOperands][kMaxRank];
  int rank = 0;
  for (int i = out.rank() - 1; i >= 0; --i) {
    if (out[i] == 1) continue;
    bool joins = rank > 0;
    for (int k = 0; joins && k < count; ++k) joins = strides[k][i] == merged[k][rank - 1] * dims[rank - 1];
    if (joins) {
      dims[rank - 1] *= out[i];
      continue;
    }
    dims[rank] = out[i];
    for (int k = 0; k < count; ++k) merged[k][rank] = strides[k][i];
    ++rank;
  }
  // Kernels step by 0 or 1 along a row. The last dimension always does: it is dense in every operand
  // that has it, unless it had size 1 and a pitch, and then a row of one element keeps the strides.
  bool unit = rank > 0;
  for (int k = 0; unit && k < count; ++k) unit = merged[k][0] == 0 || merged[k][0] == 1;
  const int inner = unit ? 0 : 1;
  rank_ = std::max(rank + inner, 3);
  for (int i = 0; i < rank_; ++i) {
    const int source = rank_ - 1 - i - inner;  // index into the innermost-first arrays
    const bool real = source >= 0 && source < rank;
    dims_[i] = real ? dims[source] : 1;
    for (int k = 0; k < count; ++k) strides_[k][i] = real ? merged[k][source] : source < 0 ? 1 : 0;
  }

  if (out.elements() == 0) return;
  constexpr int64_t kTaskElements = 4096;  // 16 KiB of f32 per operand: several of them fit the L1 cache
  const int64_t columns = dims_[rank_ - 1], rows = dims_[rank_ - 2], planes = dims_[rank_ - 3];
  task_columns_ = std::min(columns, kTaskElements);
  task_rows_ = std::clamp<int64_t>(kTaskElements / task_columns_, 1, rows);
  task_planes_ =
      task_rows_ < rows ? 1 : std::clamp<int64_t>(kTaskElements / (task_columns_ * rows), 1, planes);
  tasks_ = ceil_div(columns, task_columns_) * ceil_div(rows, task_rows_) * ceil_div(planes, task_planes_);
  for (int i = 0; i < rank_ - 3; ++i) tasks_ *= dims_[i];
}

void BroadcastLoop::locate(int64_t task, int64_t* offsets, int64_t* planes, int64_t* rows,
                           int64_t* columns) const {
  // Takes the innermost of the task's coordinates.
  const auto take = [&](int dim, int64_t block, int64_t* count) {
    const int64_t blocks = ceil_div(dims_[dim], block), start = task % blocks * block;
    task /= blocks;
    *count = std::min(block, dims_[dim] - start);
    for (int k = 0; k < operands_; ++k) offsets[k] += start * strides_[k][dim];
  };
  for (int k = 0; k < operands_; ++k) offsets[k] = 0;
  take(rank_ - 1, task_columns_, columns);
  take(rank_ - 2, task_rows_, rows);
  take(rank_ - 3, task_planes_, planes);
  int64_t one;
  for (int i = rank_ - 4; i >= 0; --i) take(i, 1, &one);
}

}  // namespace edgec
