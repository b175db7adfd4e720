// The part of attention between its two matrix products: softmax of a block of scores that knows only the
// keys seen so far.
#pragma once
#include <cstdint>

#include "core/cpu.h"

namespace edgec {

// For each row r: scores = scores * scale + mask, then exp(scores - m) with m the largest score so far. What
// was summed for earlier keys must be multiplied by correction[r].
struct SoftmaxBlock {
  float* scores = nullptr;
  int64_t pitch = 0, rows = 0;
  int64_t keys = 0;                  // columns of this block
  const int64_t* visible = nullptr;  // per row: keys from here on are hidden; null = none
  float scale = 1;
  const float* const* mask = nullptr;  // per row, at the block's first key; null = none
  int64_t mask_step = 1;               // 0: one value for all keys of a row
  float* maximum = nullptr;            // per row; -infinity before the first block
  float* sum = nullptr;                // per row; 0 before the first block
  float* correction = nullptr;         // per row, out
};

struct AttentionKernels {
  void (*softmax_block)(const SoftmaxBlock&);
  // y[r][j] *= factor[r]
  void (*scale_rows)(float* y, int64_t pitch, int64_t rows, int64_t columns, const float* factor);
};
const AttentionKernels& attention_kernels(Isa isa);

}  // namespace edgec
