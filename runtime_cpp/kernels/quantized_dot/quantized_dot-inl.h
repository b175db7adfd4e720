// Compiled once per ISA; the tile comes from quantized_dot.def.
#include <algorithm>

#include "kernels/quantized_dot/quantized_dot.h"
#include "kernels/simd/dot4.h"

namespace edgec {
namespace EDGEC_ISA_NS {
namespace {

// Sums to results, [rows][vectors] vectors. One copy for all tiles: it costs a store and a load per vector of
// sums.
[[gnu::noinline]] void finish_words(const QuantizedTile& t, const uint32_t* sums) {
  const int vectors = static_cast<int>((t.n + kF32 - 1) / kF32);
  const int64_t last = t.n - (vectors - 1) * kF32;
  for (int i = 0; i < t.rows; ++i)
    for (int j = 0; j < vectors; ++j, sums += kF32) {
      const int64_t n = j == vectors - 1 ? last : kF32, at = i * t.c_pitch + j * kF32;
      u32v sum = load(sums);
      if (t.row_start != nullptr) sum = sum + u32v(static_cast<uint32_t>(t.row_start[i]));
      const i32v integers = bit_cast<int32_t>(sum);
      if (t.finish->result == ProductResult::kI32)
        store(static_cast<int32_t*>(t.c) + at, integers, n);
      else
        store(static_cast<float*>(t.c) + at, convert<float>(integers) * load(t.multiplier + j * kF32), n);
    }
}

// The same for bytes, four vectors at a time.
template <int NV>
[[gnu::noinline]] void finish_bytes(const QuantizedTile& t, const uint32_t* sums) {
  constexpr int kRows = 4 / NV, kColumns = NV * kF32;
  const QuantizedFinish& f = *t.finish;
  const ByteResult to_bytes(f.rounding, f.bounded);
  const byte_block flip(f.output_flip);
  f32v multiplier[NV];
  for (int j = 0; j < NV; ++j) multiplier[j] = load(t.multiplier + j * kF32);
  for (int i = 0; i < t.rows; i += kRows) {
    f32v v[4];
#pragma GCC unroll 4
    for (int e = 0; e < 4; ++e) {
      const int row = std::min(i + e / NV, t.rows - 1), j = e % NV;
      u32v sum = load(sums + (row * NV + j) * kF32);
      if (t.row_start != nullptr) sum = sum + u32v(static_cast<uint32_t>(t.row_start[row]));
      v[e] = convert<float>(bit_cast<int32_t>(sum)) * multiplier[j];
      if (t.residual != nullptr) {
        const int64_t n = j < NV - 1 ? kF32 : t.n - j * kF32;
        const bytes r =
            load_bytes(t.residual + row * t.residual_pitch + j * kF32, n) ^ bytes(f.residual.flip);
        v[e] =
            v[e] + convert<float>(convert<int32_t>(r) - i32v(f.residual.zero)) * f32v(f.residual_multiplier);
      }
    }
    const byte_block block = gather_lanes(to_bytes(v)) ^ flip;
    uint8_t* c = static_cast<uint8_t*>(t.c) + i * t.c_pitch;
    if (t.n == kColumns) {
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r)
        if (i + r < t.rows)
          std::memcpy(c + r * t.c_pitch, reinterpret_cast<const char*>(&block) + r * kColumns, kColumns);
    } else {
      alignas(64) uint8_t copy[kBlock];
      store(copy, block);
      for (int r = 0; r < kRows && i + r < t.rows; ++r)
        for (int j = 0; j < NV; ++j) {
          const int64_t n = j < NV - 1 ? kF32 : t.n - j * kF32;
          store_bytes(c + r * t.c_pitch + j * kF32, load<uint8_t, kF32>(copy + r * kColumns + j * kF32), n);
        }
    }
  }
}

template <bool Residual, int MR>
EDGEC_INLINE void finish_registers(const QuantizedTile& t, const u32v (&acc)[MR][2]) {
  const QuantizedFinish& f = *t.finish;
  const ByteResult to_bytes(f.rounding, f.bounded);
  const byte_block flip(f.output_flip);
  const f32v multiplier[2] = {load(t.multiplier), load(t.multiplier + kF32)};
  auto* c = static_cast<uint8_t*>(t.c);
#pragma GCC unroll 8
  for (int i = 0; i < MR; i += 2, c += 2 * t.c_pitch) {
    f32v v[4];
#pragma GCC unroll 4
    for (int e = 0; e < 4; ++e) {
      v[e] = convert<float>(bit_cast<int32_t>(acc[i + e / 2][e % 2])) * multiplier[e % 2];
      if constexpr (Residual) {
        const uint8_t* p = t.residual + (i + e / 2) * t.residual_pitch + e % 2 * kF32;
        const i32v r = convert<int32_t>(load<uint8_t, kF32>(p) ^ bytes(f.residual.flip));
        v[e] = v[e] + convert<float>(r - i32v(f.residual.zero)) * f32v(f.residual_multiplier);
      }
    }
    const byte_block block = gather_lanes(to_bytes(v)) ^ flip;
    store(c, low(block));
    store(c + t.c_pitch, high(block));
  }
}

EDGEC_INLINE uint32_t load_four(const uint8_t* p) {
  uint32_t four;
  std::memcpy(&four, p, sizeof four);
  return four;
}

// The last 1 to 3 bytes of each row; what is read behind them meets weights that are 0.
[[gnu::noinline]] void load_rests(const QuantizedTile& t, int64_t tap, uint32_t* rests,
                                  const uint8_t** pointers) {
  const int rows = t.height;
  const int64_t rest = t.k & 3;
  for (int i = 0; i < rows; ++i) {
    const uint8_t* p = t.a[tap * rows + i] + t.k - rest;
    if (reinterpret_cast<uintptr_t>(p) + 4 <= reinterpret_cast<uintptr_t>(t.a_end)) {
      pointers[i] = p;
      continue;
    }
    uint32_t four = 0;
    for (int64_t l = rest - 1; l >= 0; --l) four = four << 8 | p[l];
    rests[i] = four;
    pointers[i] = reinterpret_cast<const uint8_t*>(rests + i);
  }
}

template <int MR, int NV>
EDGEC_INLINE void add_group(u32v (&sums)[MR][NV], const uint8_t* const (&a)[MR], int64_t k,
                            const uint8_t* b) {
  WeightFour column[NV];
#pragma GCC unroll 2
  for (int j = 0; j < NV; ++j)
    column[j] = weight_four(bit_cast<uint32_t>(load<uint8_t, 4 * kF32>(b + j * kF32 * 4)));
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
    const ActivationFour x = activation_four(u32v(load_four(a[i] + k)));
#pragma GCC unroll 2
    for (int j = 0; j < NV; ++j) sums[i][j] = dot4(sums[i][j], x, column[j]);
  }
}

template <int MR, int NV>
void tile(const QuantizedTile& t) {
  // Few rows leave too few sums to hide the latency of the dot instruction: several chains along k.
  constexpr int kChains = MR * NV >= 8 ? 1 : MR * NV >= 4 ? 2 : 4;
  constexpr int64_t kStep = NV * kF32 * 4;
  u32v acc[kChains][MR][NV];
#pragma GCC unroll 2
  for (int j = 0; j < NV; ++j) {
    const u32v start = bit_cast<uint32_t>(load(t.bias + j * kF32));
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
      acc[0][i][j] = start;
#pragma GCC unroll 4
      for (int c = 1; c < kChains; ++c) acc[c][i][j] = u32v(0u);
    }
  }
  const uint8_t* b = t.b;
  // An integer, for it may run past the end of what is fetched.
  auto prefetch = reinterpret_cast<uintptr_t>(t.prefetch != nullptr ? t.prefetch : t.b);
  const uint8_t* const* pointers = t.a;
  // The last, partial group of a row is a run of its own, of one group that lies in `rests`.
  const int64_t rest = t.k & 3;
  uint32_t rests[MR];
  const uint8_t* rest_pointers[MR];
  bool in_rest = false;
  int64_t tap = 0;
  do {
    const uint8_t* a[MR];
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) a[i] = pointers[i];
    int64_t end = in_rest ? 4 : t.k - rest, k = 0;
    for (; k + 4 * kChains <= end; k += 4 * kChains, b += kChains * kStep) {
#pragma GCC unroll 4
      for (int c = 0; c < kChains; ++c) add_group<MR, NV>(acc[c], a, k + 4 * c, b + c * kStep);
      __builtin_prefetch(reinterpret_cast<const void*>(prefetch), 0, 2);
      prefetch += 64;
    }
    if constexpr (kChains > 1)
      for (; k < end; k += 4, b += kStep) add_group<MR, NV>(acc[0], a, k, b);
    if (rest != 0 && !in_rest) {
      load_rests(t, tap, rests, rest_pointers);
      pointers = rest_pointers;
      in_rest = true;
    } else {
      in_rest = false;
      ++tap;
      pointers = t.a + tap * MR;
    }
  } while (tap < t.taps);
  if constexpr (MR * NV == 24) {
    // The tile that does nearly all the work of the ISA with most registers, in the common case: no sum
    // leaves them. Half of the time of layers with few channels.
    if (t.finish->result == ProductResult::kBytes && t.row_start == nullptr && t.rows == MR &&
        t.n == NV * kF32) {
      if (t.residual == nullptr)
        finish_registers<false, MR>(t, acc[0]);
      else
        finish_registers<true, MR>(t, acc[0]);
      return;
    }
  }
  alignas(64) uint32_t sums[MR * NV * kF32];
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < NV; ++j) {
#pragma GCC unroll 4
      for (int c = 1; c < kChains; ++c) acc[0][i][j] = acc[0][i][j] + acc[c][i][j];
      store(sums + (i * NV + j) * kF32, acc[0][i][j]);
    }
  }
  (t.finish->result == ProductResult::kBytes ? finish_bytes<NV> : finish_words)(t, sums + t.skip * NV * kF32);
}

void flip(const uint8_t* x, int64_t n, uint8_t* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] ^ 0x80;
}

int32_t sum(const uint8_t* x, int64_t n) {
  uint32_t total = 0;
  for (int64_t i = 0; i < n; ++i)
    total += static_cast<uint32_t>(kExcess != 0 ? x[i] : static_cast<int32_t>(static_cast<int8_t>(x[i])));
  return static_cast<int32_t>(total);
}

constexpr bool same(const char* a, const char* b) {
  while (*a != 0 && *a == *b) ++a, ++b;
  return *a == *b;
}
#define EDGEC_DOT_TEXT2(x) #x
#define EDGEC_DOT_TEXT(x) EDGEC_DOT_TEXT2(x)

template <int MR, int NV, int Index = 0>
constexpr void fill_rows(QuantizedDotKernels& table) {
  if constexpr (Index < kQuantizedHeightCount) {
    constexpr int kHeight = kQuantizedHeights[Index];
    if constexpr (kHeight <= MR) {
      table.kernels[Index][0] = tile<kHeight, 1>;
      if constexpr (NV > 1) table.kernels[Index][1] = tile<kHeight, 2>;
      fill_rows<MR, NV, Index + 1>(table);
    }
  }
}

template <bool Here, int MR, int NR, int KR>
constexpr void set_row(const char* name, QuantizedDotKernels& table) {
  if constexpr (Here) {
    static_assert(NR % kF32 == 0 && NR <= kQuantizedMaxVectors * kF32 && KR == 4, "see quantized_dot.h");
    table.name = name;
    table.mr = MR;
    table.nr = NR;
    table.kr = KR;
    table.lanes = kF32;
    table.excess = kExcess;
    table.flip = flip;
    table.sum = sum;
    fill_rows<MR, NR / kF32>(table);
  }
}

constexpr QuantizedDotKernels make_table() {
  QuantizedDotKernels table{};
#define EDGEC_QUANTIZED_DOT_ROW(isa, mr, nr, kr)                    \
  set_row<same(#isa, EDGEC_DOT_TEXT(EDGEC_ISA_NS)), mr, nr, kr>(    \
      kExcess == 128 ? "dot_u8s8s32_" #mr "x" #nr "x" #kr "_" #isa  \
                     : "dot_s8s8s32_" #mr "x" #nr "x" #kr "_" #isa, \
      table);
#include "kernels/quantized_dot/quantized_dot.def"
#undef EDGEC_QUANTIZED_DOT_ROW
  return table;
}

}  // namespace

extern const QuantizedDotKernels kQuantizedDot;
const QuantizedDotKernels kQuantizedDot = make_table();

}  // namespace EDGEC_ISA_NS
}  // namespace edgec
