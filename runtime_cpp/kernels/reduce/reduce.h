// Reductions, softmax and normalisations. Sums of f32 run in blocks of bounded length whose results are
// added in double precision, in an order that follows from the shape alone.
#pragma once
#include <cstdint>

#include "core/cpu.h"

namespace edgec {

enum class Reduction : int {
  kSum,
  kSumAbs,
  kSumSquare,
  kSumExp,             // of x - shift
  kSumCenteredSquare,  // of x - shift
  kProduct,
  kMax,  // NaN wins in both
  kMin,
};
inline constexpr int kReductionCount = 8;

// What a reduction of nothing gives, and how partial results combine.
double reduction_start(Reduction reduction);
double reduction_combine(Reduction reduction, double a, double b);

// Columns that one call of reduce_columns may take: its partial results live on the caller's stack.
inline constexpr int kColumnChunk = 64;
// Rows after which a column's partial sum goes to double precision.
inline constexpr int kRowBlock = 128;

// Rows of n elements, `x_pitch` and `y_pitch` apart.
struct RowsRun {
  const float* x = nullptr;
  float* y = nullptr;
  int64_t rows = 0, n = 0, x_pitch = 0, y_pitch = 0;
};

struct ReduceKernels {
  // Over n contiguous elements.
  double (*row)(Reduction reduction, const float* x, int64_t n, float shift);
  // out[c] = over `rows` (at most kRowBlock) rows that lie `stride` apart; columns <= kColumnChunk; shift[c].
  void (*columns)(Reduction reduction, const float* x, int64_t rows, int64_t stride, int64_t columns,
                  const float* shift, float* out);
  // Each row: exp(x - max) / sum, or its logarithm. In place is fine in everything below.
  void (*softmax_rows)(const RowsRun& run, bool logarithm);
  // The same down the columns of one [rows, n] matrix, for columns [begin, end).
  void (*softmax_columns)(const RowsRun& run, int64_t begin, int64_t end, bool logarithm);
  // (x - mean) / sqrt(variance + epsilon) * scale + bias; rms: mean 0. scale and bias [n] may be null.
  void (*layer_norm_rows)(const RowsRun& run, float epsilon, bool rms, const float* scale, const float* bias);
  // (x - mean[c]) * scale[c] + bias[c].
  void (*affine_rows)(const RowsRun& run, const float* mean, const float* scale, const float* bias);
  // x / (bias + alpha / size * sum of squares over channels [c - (size-1)/2, c + size/2])^beta.
  // scratch: n + size floats per thread. Not in place.
  void (*local_response_rows)(const RowsRun& run, int64_t size, float alpha, float beta, float bias,
                              float* scratch);
  // Index of the first (or last) greatest element (or least, if !largest) of n contiguous ones; NaN wins.
  int64_t (*arg_row)(const float* x, int64_t n, bool largest, bool last);
};

const ReduceKernels& reduce_kernels(Isa isa);

}  // namespace edgec
