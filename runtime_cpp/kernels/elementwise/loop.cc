#include "kernels/elementwise/loop.h"

namespace edgec {

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
  rank_ = std::max(rank + inner, 2);
  for (int i = 0; i < rank_; ++i) {
    const int source = rank_ - 1 - i - inner;  // index into the innermost-first arrays
    const bool real = source >= 0 && source < rank;
    dims_[i] = real ? dims[source] : 1;
    for (int k = 0; k < count; ++k) strides_[k][i] = real ? merged[k][source] : source < 0 ? 1 : 0;
  }

  const int64_t columns = dims_[rank_ - 1], rows = dims_[rank_ - 2];
  constexpr int64_t kTaskElements = 4096;  // 16 KiB of f32 per operand: several of them fit the L1 cache
  task_columns_ = std::min(columns, kTaskElements);
  task_rows_ = columns == 0 ? 1
                            : std::clamp<int64_t>(kTaskElements / std::max<int64_t>(task_columns_, 1), 1,
                                                  std::max<int64_t>(rows, 1));
  if (out.elements() == 0) return;
  tasks_ = (columns + task_columns_ - 1) / task_columns_ * ((rows + task_rows_ - 1) / task_rows_);
  for (int i = 0; i < rank_ - 2; ++i) tasks_ *= dims_[i];
}

void BroadcastLoop::locate(int64_t task, int64_t* offsets, int64_t* rows, int64_t* columns) const {
  const int64_t column_tasks = (dims_[rank_ - 1] + task_columns_ - 1) / task_columns_;
  const int64_t row_tasks = (dims_[rank_ - 2] + task_rows_ - 1) / task_rows_;
  const int64_t column = task % column_tasks * task_columns_;
  task /= column_tasks;
  const int64_t row = task % row_tasks * task_rows_;
  task /= row_tasks;
  *rows = std::min(task_rows_, dims_[rank_ - 2] - row);
  *columns = std::min(task_columns_, dims_[rank_ - 1] - column);
  for (int k = 0; k < operands_; ++k)
    offsets[k] = row * strides_[k][rank_ - 2] + column * strides_[k][rank_ - 1];
  for (int i = rank_ - 3; i >= 0; --i) {
    const int64_t index = task % dims_[i];
    task /= dims_[i];
    for (int k = 0; k < operands_; ++k) offsets[k] += index * strides_[k][i];
  }
}

}  // namespace edgec
