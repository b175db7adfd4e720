// Products of 8-bit matrices with 32-bit sums on register tiles. As in kernels/dot, rows of A are read
// through pointers, one per tap and row, so that a convolution needs no im2col, and B is one linear stream of
// packed columns. Sums of integers wrap and have no order, so every ISA, blocking and thread count gives the
// same bits.
#pragma once
#include <cstddef>
#include <cstdint>

#include "core/cpu.h"
#include "kernels/quantized/quantized.h"

namespace edgec {

enum class ProductResult { kBytes, kF32, kI32 };

// What happens to the sums (docs/numerics.md); multipliers are packed beside B.
struct QuantizedFinish {
  ProductResult result = ProductResult::kBytes;
  ByteRounding rounding;
  StoredBytes residual;
  float residual_multiplier = 0;
  bool bounded = false;     // no result before rounding reaches 2^30, whatever the sums
  uint8_t output_flip = 0;  // bytes are in the kernel's form before this
};

// c[i][j] = finish(bias[j] + row_start[i] + sum over taps t, k of a[t][i][k] b[t k][j]).
struct QuantizedTile {
  const uint8_t* const* a = nullptr;  // taps x rows pointers, tap after tap; bytes are i8 + excess
  int64_t taps = 1;
  int64_t k = 0;                       // bytes behind each pointer
  const uint8_t* a_end = nullptr;      // a group may be read whole if it ends here or before
  const uint8_t* b = nullptr;          // per tap k / KR groups, rounded up, of NR x KR bytes
  const uint8_t* prefetch = nullptr;   // one cache line per group from here on is fetched into L2; null = b
  const int32_t* bias = nullptr;       // whole vectors
  const float* multiplier = nullptr;   // whole vectors
  const int32_t* row_start = nullptr;  // may be null
  int height = 1;                      // the kernel's: rows of A
  int skip = 0, rows = 1;              // rows of the tile that are not stored, and those behind them that are
  void* c = nullptr;                   // of the first row stored; so are residual and row_start
  int64_t c_pitch = 0;                 // elements
  int64_t n = 0;  // columns of c that exist: all of the vectors but possibly a part of the last
  const uint8_t* residual = nullptr;  // may be null, may be c
  int64_t residual_pitch = 0;
  const QuantizedFinish* finish = nullptr;
};
using QuantizedDotKernel = void (*)(const QuantizedTile&);

inline constexpr int kQuantizedHeightCount = 7;
inline constexpr int kQuantizedHeights[kQuantizedHeightCount] = {1, 2, 4, 6, 8, 10, 12};
inline constexpr int kQuantizedMaxVectors = 2;

// The row of quantized_dot.def of one ISA.
struct QuantizedDotKernels {
  const char* name;  // "dot_u8s8s32_12x32x4_avx512vnni"
  int mr, nr, kr, lanes;
  int excess;  // bytes of A are i8 + excess: 128 or 0
  QuantizedDotKernel kernels[kQuantizedHeightCount]
                            [kQuantizedMaxVectors];  // [height][vectors - 1], null above mr
  // y = x ^ 0x80: the other stored form.
  void (*flip)(const uint8_t* x, int64_t n, uint8_t* y);
  // Sum of n bytes in the kernel's form.
  int32_t (*sum)(const uint8_t* x, int64_t n);
};
const QuantizedDotKernels& quantized_dot_kernels(Isa isa);

// -- packed B ------------------------------------------------------------------------------------------
// Blocks of nr columns, the last one as many vectors as it needs: biases, multipliers, then groups of kr
// bytes of each column.
struct QuantizedPacking {
  int nr = 0, kr = 4, lanes = 0;
  int64_t n = 0, k = 0, taps = 1;  // k bytes per tap
  int64_t groups() const { return (k + kr - 1) / kr * taps; }
  int64_t blocks() const { return (n + nr - 1) / nr; }
  // Columns of block i, padding included.
  int64_t width(int64_t i) const {
    const int64_t left = n - i * nr;
    return left >= nr ? nr : (left + lanes - 1) / lanes * lanes;
  }
  int64_t column_bytes() const { return 8 + groups() * kr; }
  int64_t offset(int64_t i) const { return i * nr * column_bytes(); }
  int64_t bytes() const { return n == 0 ? 0 : offset(blocks() - 1) + width(blocks() - 1) * column_bytes(); }
};
QuantizedPacking quantized_packing(const QuantizedDotKernels& kernels, int64_t n, int64_t k, int64_t taps);

// B and what belongs to its columns: element (k of all taps, column j) is b[k * k_step + j * n_step] ^ flip.
struct QuantizedColumns {
  const uint8_t* b = nullptr;
  int64_t k_step = 1, n_step = 0;
  uint8_t flip = 0;
  int32_t a_zero = 0;             // zero point of A as its bytes are stored
  int32_t b_zero = 0;             // of B as i8; not 0: row_start must hold quantized_row_start of each row
  const int32_t* bias = nullptr;  // may be null
  const float* multiplier = nullptr;  // one per column
};
void quantized_pack(const QuantizedPacking& packing, const QuantizedColumns& columns, uint8_t* packed);
// The part of a sum that depends on the row of A alone.
int32_t quantized_row_start(const QuantizedDotKernels& kernels, const uint8_t* row, int64_t k,
                            int32_t b_zero);

// -- whole products --------------------------------------------------------------------------------------
// Where the rows of A lie when they are not evenly spaced; see DotRows. Memory of theirs that is not A's
// (padding, patches) must be readable for kr bytes behind each row.
struct QuantizedDotRows {
  virtual int64_t fill(int64_t m, int count, int64_t k_begin, int64_t k_end, const uint8_t** pointers,
                       uint8_t* patches, int64_t* k) const = 0;

 protected:
  ~QuantizedDotRows() = default;
};

struct QuantizedProduct {
  const QuantizedDotKernels* kernels = nullptr;
  QuantizedPacking packing;
  QuantizedFinish finish;
  int64_t m = 0;
  int64_t max_taps = 1;              // most pointers that `rows` makes per row
  int64_t patch_bytes = 0;           // what `rows` wants
  int64_t n_block = 1, m_block = 0;  // columns (in blocks) and rows of a task; set by quantized_plan

  int64_t m_tasks() const { return (m + m_block - 1) / m_block; }
  int64_t n_tasks() const { return (packing.blocks() + n_block - 1) / n_block; }
  int64_t tasks() const { return m_tasks() * n_tasks(); }
  // In f32 multiply-adds, which ThreadPool::parallel_for counts.
  double cost_per_task() const {
    return static_cast<double>(m) * static_cast<double>(packing.n) * static_cast<double>(packing.groups()) /
           static_cast<double>(tasks() > 0 ? tasks() : 1);
  }
  size_t scratch_bytes() const;  // per thread
};
// Chooses blocks so that the columns of a task stay in L2 and there is work for every thread.
void quantized_plan(QuantizedProduct* product, int threads);

struct QuantizedOperands {
  const QuantizedDotRows* rows = nullptr;  // null: row i of A is a + i * a_pitch
  const uint8_t* a = nullptr;
  int64_t a_pitch = 0;
  const uint8_t* a_end = nullptr;  // of the tensor that the rows lie in
  const uint8_t* packed = nullptr;
  const int32_t* row_start = nullptr;
  void* c = nullptr;
  int64_t c_pitch = 0;
  const uint8_t* residual = nullptr;
  int64_t residual_pitch = 0;
};
// Tasks [begin, end) of tasks(); scratch is the thread's own.
void quantized_run(const QuantizedProduct& product, const QuantizedOperands& operands, int64_t begin,
                   int64_t end, void* scratch);

}  // namespace edgec
