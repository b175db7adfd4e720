// Compiled once per ISA; the tiles come from dot.def.
#include <array>

#include "kernels/dot/dot.h"
#include "kernels/simd/simd.h"

namespace edgec {
namespace EDGEC_ISA_NS {
namespace {

using FullVector = std::integral_constant<int, kF32>;

template <int MR, int NV, class Last>
EDGEC_INLINE void store_tile(const DotTile& t, f32v (&acc)[MR][NV], Last last) {
  const f32v minimum(t.minimum), maximum(t.maximum);
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
    float* c = t.c + i * t.c_pitch;
    if (t.residual != nullptr) {
      const float* r = t.residual + i * t.residual_pitch;
#pragma GCC unroll 8
      for (int j = 0; j < NV - 1; ++j) acc[i][j] = acc[i][j] + load(r + j * kF32);
      acc[i][NV - 1] = acc[i][NV - 1] + load<float, kF32>(r + (NV - 1) * kF32, last);
    }
    // Operand order keeps NaN (simd.h: the second operand when either is NaN).
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) acc[i][j] = min(maximum, max(minimum, acc[i][j]));
#pragma GCC unroll 8
    for (int j = 0; j < NV - 1; ++j) store(c + j * kF32, acc[i][j]);
    store(c + (NV - 1) * kF32, acc[i][NV - 1], last);
  }
}

// One k of a tile: lane L of what was loaded of each row of A.
template <int L, int MR, int NV>
EDGEC_INLINE void multiply_lane(const f32v (&x)[MR], const float* b, f32v (&acc)[MR][NV]) {
#pragma GCC unroll 8
  for (int j = 0; j < NV; ++j) {
    const f32v column = load(b + j * kF32);
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) acc[i][j] = fma_lane<L>(x[i], column, acc[i][j]);
  }
}

template <int MR, int NV>
void tile(const DotTile& t) {
  f32v acc[MR][NV];
  const int64_t last = t.n - (NV - 1) * kF32;  // columns of the last vector
  if (t.accumulate) {
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 8
      for (int j = 0; j < NV - 1; ++j) acc[i][j] = load(t.c + i * t.c_pitch + j * kF32);
      acc[i][NV - 1] = load<float, kF32>(t.c + i * t.c_pitch + (NV - 1) * kF32, last);
    }
  } else {
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) {
      const f32v start = t.bias != nullptr ? load(t.bias + j * kF32) : f32v(0.0f);
#pragma GCC unroll 16
      for (int i = 0; i < MR; ++i) acc[i][j] = start;
    }
  }
  const float* b = t.b;
  // An integer, for it may run past the end of what is fetched.
  auto prefetch = reinterpret_cast<uintptr_t>(t.prefetch != nullptr ? t.prefetch : t.b);
  const int64_t b_step = t.b_step;
  const float* const* pointers = t.a;
  // Sums of finished chunks; touched only when there is more than one.
  alignas(64) float finished[MR * NV * kF32];
  bool chunked = false;
  int64_t left = kDotChunk;
  for (int64_t tap = 0; tap < t.taps; ++tap, pointers += MR) {
    const float* a[MR];
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) a[i] = pointers[i];
    for (int64_t k = 0; k < t.k;) {
      if (left == 0) {
#pragma GCC unroll 16
        for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 8
          for (int j = 0; j < NV; ++j) {
            float* sum = finished + (i * NV + j) * kF32;
            store(sum, chunked ? load(sum) + acc[i][j] : acc[i][j]);
            acc[i][j] = f32v(0.0f);
          }
        }
        chunked = true;
        left = kDotChunk;
      }
      const int64_t k_end = t.k - k < left ? t.k : k + left;
      left -= k_end - k;
      if constexpr (kFmaTakesLane) {
        static_assert(!kFmaTakesLane || kF32 == 4, "four lanes below");
        for (; k + kF32 <= k_end; k += kF32) {
          f32v x[MR];
#pragma GCC unroll 16
          for (int i = 0; i < MR; ++i) x[i] = load(a[i] + k);
          multiply_lane<0>(x, b, acc);
          multiply_lane<1>(x, b + b_step, acc);
          multiply_lane<2>(x, b + 2 * b_step, acc);
          multiply_lane<3>(x, b + 3 * b_step, acc);
          b += 4 * b_step;
        }
      }
      for (; k < k_end; ++k) {
        f32v column[NV];
#pragma GCC unroll 8
        for (int j = 0; j < NV; ++j) column[j] = load(b + j * kF32);
#pragma GCC unroll 16
        for (int i = 0; i < MR; ++i) {
          const f32v x(a[i][k]);
#pragma GCC unroll 8
          for (int j = 0; j < NV; ++j) acc[i][j] = fma(x, column[j], acc[i][j]);
        }
        b += b_step;
        __builtin_prefetch(reinterpret_cast<const void*>(prefetch), 0, 2);
        prefetch += 64;
      }
    }
  }
  if (chunked) {
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) acc[i][j] = load(finished + (i * NV + j) * kF32) + acc[i][j];
    }
  }
  if (last == kF32)
    store_tile<MR, NV>(t, acc, FullVector{});
  else
    store_tile<MR, NV>(t, acc, last);
}

// One row of A against columns that are contiguous in k: sums over lanes at the end.
template <int Columns>
EDGEC_INLINE void columns_of_row(const float* a, const float* b, int64_t b_pitch, int64_t k, float* sums) {
  f32v acc[Columns];
  for (int j = 0; j < Columns; ++j) acc[j] = f32v(0.0f);
  for_lanes<kF32>(k, [&](int64_t i, auto n) {
    const f32v x = load<float, kF32>(a + i, n);
#pragma GCC unroll 8
    for (int j = 0; j < Columns; ++j) acc[j] = fma(x, load<float, kF32>(b + j * b_pitch + i, n), acc[j]);
  });
  for (int j = 0; j < Columns; ++j) sums[j] = reduce_add(acc[j]);
}

void columns(const DotTile& t, int64_t rows, int64_t b_pitch) {
  constexpr int kColumns = 8;
  for (int64_t j = 0; j < t.n; j += kColumns) {
    const int64_t count = t.n - j < kColumns ? t.n - j : kColumns;
    for (int64_t i = 0; i < rows; ++i) {
      float sums[kColumns];
      const float* b = t.b + j * b_pitch;
      if (count == kColumns) {
        columns_of_row<kColumns>(t.a[i], b, b_pitch, t.k, sums);
      } else {
        for (int64_t l = 0; l < count; ++l)
          columns_of_row<1>(t.a[i], b + l * b_pitch, b_pitch, t.k, sums + l);
      }
      float* c = t.c + i * t.c_pitch + j;
      for (int64_t l = 0; l < count; ++l) {
        float x = sums[l];
        if (t.bias != nullptr) x += t.bias[j + l];
        if (t.residual != nullptr) x += t.residual[i * t.residual_pitch + j + l];
        c[l] = x < t.minimum ? t.minimum : x > t.maximum ? t.maximum : x;
      }
    }
  }
}

// Square blocks of one vector: rows of b are read and rows of the panel written whole.
void transpose(const float* b, int64_t b_pitch, int64_t count, int64_t n, int64_t width, float* panel) {
  for (int64_t j = 0; j < width; j += kF32) {
    const int64_t live = n - j < 0 ? 0 : n - j < kF32 ? n - j : kF32;
    for (int64_t k = 0; k < count; k += kF32) {
      const int64_t depth = count - k < kF32 ? count - k : kF32;
      alignas(64) float block[kF32][kF32];
      for (int64_t l = 0; l < live; ++l) {
        const f32v row = load<float, kF32>(b + (j + l) * b_pitch + k, depth);
        for (int i = 0; i < kF32; ++i) block[i][l] = row[i];
      }
      for (int64_t i = 0; i < depth; ++i) {
        for (int64_t l = live; l < kF32; ++l) block[i][l] = 0.0f;
        store(panel + (k + i) * width + j, load(&block[i][0]));
      }
    }
  }
}

constexpr bool same(const char* a, const char* b) {
  while (*a != 0 && *a == *b) ++a, ++b;
  return *a == *b;
}
#define EDGEC_DOT_TEXT2(x) #x
#define EDGEC_DOT_TEXT(x) EDGEC_DOT_TEXT2(x)
#define EDGEC_DOT_HERE(isa) same(#isa, EDGEC_DOT_TEXT(EDGEC_ISA_NS))

template <int MR, int NV>
constexpr void fill_vectors(DotRow& row) {
  row.kernels[MR - 1][NV - 1] = tile<MR, NV>;
  if constexpr (NV > 1) fill_vectors<MR, NV - 1>(row);
}
template <int MR, int NV>
constexpr void fill_rows(DotRow& row) {
  fill_vectors<MR, NV>(row);
  if constexpr (MR > 1) fill_rows<MR - 1, NV>(row);
}

constexpr int kRowCount = 0
#define EDGEC_DOT_ROW(isa, mr, nr) +(EDGEC_DOT_HERE(isa) ? 1 : 0)
#include "kernels/dot/dot.def"
#undef EDGEC_DOT_ROW
    ;

template <bool Here, int MR, int NR, class Rows>
constexpr void add_row(const char* name, Rows& rows, int& count) {
  if constexpr (Here) {
    static_assert(MR <= kDotMaxRows && NR % kF32 == 0 && NR / kF32 <= kDotMaxVectors, "see dot.h");
    DotRow& row = rows[count++];
    row.name = name;
    row.mr = MR;
    row.nr = NR;
    row.lanes = kF32;
    fill_rows<MR, NR / kF32>(row);
  }
}

constexpr std::array<DotRow, kRowCount> make_rows() {
  std::array<DotRow, kRowCount> rows{};
  int count = 0;
#define EDGEC_DOT_ROW(isa, mr, nr) \
  add_row<EDGEC_DOT_HERE(isa), mr, nr>("dot_f32_" #mr "x" #nr "_" #isa, rows, count);
#include "kernels/dot/dot.def"
#undef EDGEC_DOT_ROW
  return rows;
}

constexpr std::array<DotRow, kRowCount> kRows = make_rows();

}  // namespace

extern const DotKernels kDot;
const DotKernels kDot = {kRows.data(), kRowCount, kF32, columns, transpose};

}  // namespace EDGEC_ISA_NS
}  // namespace edgec
