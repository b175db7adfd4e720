// f32 matrix products on register tiles: GEMM, GEMV and convolution read A through row pointers (one per
// tap and row, so that a convolution needs no im2col) and B as one linear stream of packed columns.
//
// Sums are taken in chunks of kDotChunk along k: ((bias + a[0] b[0]) + a[1] b[1]) + ... within the first,
// from 0 within the others, and the chunks are added in order. That is the same for every tile, blocking of m
// and n, and number of threads, so results do not depend on them; and the rounding error of a long sum grows
// with the root of the chunk, not of k (k = 4608 random terms: 1.2e-6 relative without chunks, 3.0e-7 with
// them).
#pragma once
#include <cstddef>
#include <cstdint>
#include <limits>

#include "core/cpu.h"
#include "kernels/activation/activation.h"

namespace edgec {

inline constexpr int64_t kDotChunk = 256;

// What a kernel computes: c[i][j] = clamp(start + sum over taps t, k of a[t][i][k] b[t k][j] + residual).
struct DotTile {
  const float* const* a = nullptr;  // taps x rows pointers, tap after tap
  int64_t taps = 1;
  int64_t k = 0;  // floats behind each pointer
  const float* b = nullptr;
  int64_t b_step = 0;               // floats from one k to the next
  const float* prefetch = nullptr;  // one cache line per k from here on is fetched into L2; null = b
  const float* bias = nullptr;      // one per column, whole vectors; null = zeros
  bool accumulate = false;          // start from c instead of the bias
  float* c = nullptr;
  int64_t c_pitch = 0;
  int64_t n = 0;  // columns of c that exist: all of the vectors but possibly a part of the last
  const float* residual = nullptr;  // added before the clamp; may be null, may be c
  int64_t residual_pitch = 0;
  float minimum = -std::numeric_limits<float>::infinity();
  float maximum = std::numeric_limits<float>::infinity();
};
using DotKernel = void (*)(const DotTile&);

inline constexpr int kDotMaxRows = 16;
inline constexpr int kDotMaxVectors = 8;

// One row of dot.def in one ISA.
struct DotRow {
  const char* name;  // "dot_f32_12x32_avx512"
  int mr, nr, lanes;
  DotKernel kernels[kDotMaxRows][kDotMaxVectors];  // [rows - 1][vectors - 1]
};

struct DotKernels {
  const DotRow* rows;
  int count;
  int lanes;
  // c[i][j] = clamp(bias[j] + sum_k a[i][k] b[j][k]) for B stored by columns ("transposed"), few rows of A.
  void (*columns)(const DotTile&, int64_t rows, int64_t b_pitch);
  // panel[k][j] = b[j][k] for k < count, j < n; columns j in [n, width) are 0.
  void (*transpose)(const float* b, int64_t b_pitch, int64_t count, int64_t n, int64_t width, float* panel);
};
const DotKernels& dot_kernels(Isa isa);

// The row for m x n results; m decides between tiles and matrix-vector products.
const DotRow& dot_choose(Isa isa, int64_t m, int64_t n);

// -- packed B ------------------------------------------------------------------------------------------
// Blocks of nr columns, the last one as many vectors as it needs: biases, then for each k its columns.
struct DotPacking {
  int nr = 0, lanes = 0;
  int64_t n = 0, k = 0;  // k counts all taps
  int64_t blocks() const { return (n + nr - 1) / nr; }
  // Columns of block i, padding included.
  int64_t width(int64_t i) const {
    const int64_t left = n - i * nr;
    return left >= nr ? nr : (left + lanes - 1) / lanes * lanes;
  }
  int64_t offset(int64_t i) const { return i * nr * (k + 1); }
  int64_t floats() const { return n == 0 ? 0 : offset(blocks() - 1) + width(blocks() - 1) * (k + 1); }
};
DotPacking dot_packing(const DotRow& row, int64_t n, int64_t k);
// Packs block i. B is b[k * k_step + j * n_step]; one of the steps is usually 1. bias may be null.
void dot_pack_block(const DotKernels& kernels, const DotPacking& packing, int64_t i, const float* b,
                    int64_t k_step, int64_t n_step, const float* bias, float* packed);
void dot_pack(const DotKernels& kernels, const DotPacking& packing, const float* b, int64_t k_step,
              int64_t n_step, const float* bias, float* packed);

// -- whole products --------------------------------------------------------------------------------------
// Where the rows of A lie when they are not evenly spaced.
struct DotRows {
  // For rows [m, m + count) and the part [k_begin, k_end) of k: fills pointers[t * count + i], sets *k to the
  // floats behind each pointer and returns the number of taps t. patches: memory of patch_floats for rows
  // that must be assembled.
  virtual int64_t fill(int64_t m, int count, int64_t k_begin, int64_t k_end, const float** pointers,
                       float* patches, int64_t* k) const = 0;

 protected:
  ~DotRows() = default;
};

struct DotProduct {
  const DotRow* row = nullptr;
  const ActivationKernels* activations = nullptr;
  DotPacking packing;
  int64_t m = 0;
  int64_t max_taps = 1;      // most pointers that `rows` makes per row
  int64_t patch_floats = 0;  // what `rows` wants
  // What a stage needs at once: k_block floats of k (a multiple of every tap's length if there are
  // several taps), n_block blocks of columns, m_block rows. Set by dot_plan.
  int64_t k_block = 0, n_block = 1, m_block = 0;
  Activation activation = Activation::kNone;
  float alpha = 0, beta = 0;
  bool residual_after = false;
  bool residual_is_c = false;  // residual and c are the same memory

  // Unfinished sums, or results before their activation, would overwrite a residual that is still needed.
  bool copies_residual() const { return residual_is_c && (residual_after || k_block < packing.k); }
  int64_t m_tasks() const { return (m + m_block - 1) / m_block; }
  int64_t n_tasks() const { return (packing.blocks() + n_block - 1) / n_block; }
  int64_t tasks() const { return m_tasks() * n_tasks(); }
  double cost_per_task() const {
    return static_cast<double>(m) * static_cast<double>(packing.n) * static_cast<double>(packing.k) /
           static_cast<double>(tasks() > 0 ? tasks() : 1);
  }
  size_t scratch_bytes() const;  // per thread
};

// Chooses blocks so that the columns of a stage stay in L2 and there is work for every thread.
// tap_k: floats per tap when taps may not be cut, 0 when k is one run.
void dot_plan(DotProduct* product, int64_t tap_k, int threads);

struct DotOperands {
  const DotRows* rows = nullptr;  // null: row i of A is a + i * a_pitch
  const float* a = nullptr;
  int64_t a_pitch = 0;
  const float* packed = nullptr;
  // B as it is, k by n, rows direct_step apart, for products of so few rows that packing would not pay.
  // Only a last block with padding columns is read from `packed`.
  const float* direct_b = nullptr;
  int64_t direct_step = 0;
  const float* direct_bias = nullptr;
  float* c = nullptr;
  int64_t c_pitch = 0;
  const float* residual = nullptr;
  int64_t residual_pitch = 0;
  const float* slope = nullptr;
};
// Tasks [begin, end) of tasks(); scratch is the thread's own.
void dot_run(const DotProduct& product, const DotOperands& operands, int64_t begin, int64_t end,
             void* scratch);

}  // namespace edgec
