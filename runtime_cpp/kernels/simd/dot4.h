// Sums of four products of bytes per 32-bit lane, the heart of integer products. Part of the vec layer.
//
// dot4(sum, a, w): sum + a0 w0 + a1 w1 + a2 w2 + a3 w3, modulo 2^32, exact on every ISA. The bytes of a are
// i8 + kExcess; those of w are i8. One instruction with VNNI. Without, vpmaddubsw would saturate: both
// operands are split into their even and odd bytes, widened to 16 bits, and each half is one vpmaddwd.
#pragma once
#include "kernels/quantized/quantized.h"
#include "kernels/simd/bytes.h"
#if defined(__SSE2__) && !defined(__AVX2__)
#include <emmintrin.h>
#endif

namespace edgec {
namespace EDGEC_ISA_NS {

using u32v = vec<uint32_t, kF32>;

#if defined(__AVX2__)
inline constexpr int kExcess = 128;
#else
inline constexpr int kExcess = 0;
#endif

#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
using ActivationFour = u32v;
using WeightFour = u32v;
EDGEC_INLINE ActivationFour activation_four(u32v raw) { return raw; }
EDGEC_INLINE WeightFour weight_four(u32v raw) { return raw; }
EDGEC_INLINE u32v dot4(u32v sum, ActivationFour a, WeightFour w) {
#if defined(__AVX512VNNI__)
  return {(u32v::native)_mm512_dpbusd_epi32((__m512i)sum.v, (__m512i)a.v, (__m512i)w.v)};
#else
  return {(u32v::native)_mm256_dpbusd_avx_epi32((__m256i)sum.v, (__m256i)a.v, (__m256i)w.v)};
#endif
}

#elif defined(__AVX2__) || defined(__SSE2__)
struct EvenOdd {
  vec<int16_t, 2 * kF32> even, odd;
};
using ActivationFour = EvenOdd;
using WeightFour = EvenOdd;
EDGEC_INLINE EvenOdd signed_halves(u32v raw) {
  const auto words = bit_cast<int16_t>(raw);
  return {bit_cast<int16_t>(bit_cast<uint16_t>(raw) << 8) >> 8, words >> 8};
}
EDGEC_INLINE ActivationFour activation_four(u32v raw) {
  if constexpr (kExcess == 0) return signed_halves(raw);
  const auto words = bit_cast<uint16_t>(raw);
  return {bit_cast<int16_t>(words & vec<uint16_t, 2 * kF32>(255)), bit_cast<int16_t>(words >> 8)};
}
EDGEC_INLINE WeightFour weight_four(u32v raw) { return signed_halves(raw); }
EDGEC_INLINE u32v multiply_add_pairs(vec<int16_t, 2 * kF32> a, vec<int16_t, 2 * kF32> b) {
#if defined(__AVX512BW__)
  return {(u32v::native)_mm512_madd_epi16((__m512i)a.v, (__m512i)b.v)};
#elif defined(__AVX2__)
  return {(u32v::native)_mm256_madd_epi16((__m256i)a.v, (__m256i)b.v)};
#else
  return {(u32v::native)_mm_madd_epi16((__m128i)a.v, (__m128i)b.v)};
#endif
}
EDGEC_INLINE u32v dot4(u32v sum, ActivationFour a, WeightFour w) {
  return sum + multiply_add_pairs(a.even, w.even) + multiply_add_pairs(a.odd, w.odd);
}

#else
struct Four {
  u32v part[4];
};
using ActivationFour = Four;
using WeightFour = Four;
EDGEC_INLINE Four signed_four(u32v raw) {
  Four f;
  for (int i = 0; i < 4; ++i) f.part[i] = bit_cast<uint32_t>(bit_cast<int32_t>(raw << (24 - 8 * i)) >> 24);
  return f;
}
EDGEC_INLINE ActivationFour activation_four(u32v raw) { return signed_four(raw); }
EDGEC_INLINE WeightFour weight_four(u32v raw) { return signed_four(raw); }
EDGEC_INLINE u32v dot4(u32v sum, ActivationFour a, WeightFour w) {
  for (int i = 0; i < 4; ++i) sum = sum + a.part[i] * w.part[i];
  return sum;
}
#endif

// To the nearest integer, ties to even, of values within +-2^22.
EDGEC_INLINE i32v nearest(f32v a) {
#if defined(__AVX512F__)
  return {(i32v::native)_mm512_cvtps_epi32((__m512)a.v)};
#elif defined(__AVX2__)
  return {(i32v::native)_mm256_cvtps_epi32((__m256)a.v)};
#elif defined(__SSE2__)
  return {(i32v::native)_mm_cvtps_epi32((__m128)a.v)};
#else
  // 1.5 * 2^23: the sum's last bit is worth 1.
  return bit_cast<int32_t>(a + f32v(12582912.0f)) - i32v(0x4B400000);
#endif
}

// -- blocks of 4 x kF32 bytes and their 32-bit values
// -------------------------------------------------------- Shuffles stay within lanes of 16 bytes: vector q
// of four holds bytes 4q to 4q+3 of every lane.
using byte_block = vec<uint8_t, 4 * kF32>;
inline constexpr int kBlock = 4 * kF32;

#if !defined(__AVX512BW__)
// Out of line: 8 copies of them would be a third of a kernel.
[[gnu::noinline]] inline byte_block load_partial_block(const uint8_t* p, int64_t n) {
  alignas(kBlock) uint8_t copy[kBlock] = {};
  std::memcpy(copy, p, static_cast<size_t>(n));
  return load<uint8_t, kBlock>(copy);
}
[[gnu::noinline]] inline void store_partial_block(uint8_t* p, byte_block a, int64_t n) {
  alignas(kBlock) uint8_t copy[kBlock];
  store(copy, a);
  std::memcpy(p, copy, static_cast<size_t>(n));
}
#endif

// The first n (1 <= n <= kBlock) bytes, zero in the rest.
EDGEC_INLINE byte_block load_block(const uint8_t* p, int64_t n) {
#if defined(__AVX512BW__)
  const auto mask = static_cast<__mmask64>(~uint64_t{0} >> (64 - n));
  return {(byte_block::native)_mm512_maskz_loadu_epi8(mask, p)};
#else
  return n == kBlock ? load<uint8_t, kBlock>(p) : load_partial_block(p, n);
#endif
}
EDGEC_INLINE void store_block(uint8_t* p, byte_block a, int64_t n) {
  if (n == kBlock) return store(p, a);
#if defined(__AVX512BW__)
  _mm512_mask_storeu_epi8(p, static_cast<__mmask64>(~uint64_t{0} >> (64 - n)), (__m512i)a.v);
#else
  store_partial_block(p, a, n);
#endif
}

// Lane j of out[q]: the bytes of a, b, c, d at the place that belongs to it, lowest first.
EDGEC_INLINE void interleave(byte_block a, byte_block b, byte_block c, byte_block d, u32v (&out)[4]) {
#if defined(__AVX512BW__)
#define EDGEC_UNPACK(half, size, x, y) _mm512_unpack##half##_epi##size((__m512i)(x), (__m512i)(y))
#elif defined(__AVX2__)
#define EDGEC_UNPACK(half, size, x, y) _mm256_unpack##half##_epi##size((__m256i)(x), (__m256i)(y))
#elif defined(__SSE2__)
#define EDGEC_UNPACK(half, size, x, y) _mm_unpack##half##_epi##size((__m128i)(x), (__m128i)(y))
#endif
#if defined(EDGEC_UNPACK)
  const auto low_ab = EDGEC_UNPACK(lo, 8, a.v, b.v), low_cd = EDGEC_UNPACK(lo, 8, c.v, d.v);
  const auto high_ab = EDGEC_UNPACK(hi, 8, a.v, b.v), high_cd = EDGEC_UNPACK(hi, 8, c.v, d.v);
  out[0] = {(u32v::native)EDGEC_UNPACK(lo, 16, low_ab, low_cd)};
  out[1] = {(u32v::native)EDGEC_UNPACK(hi, 16, low_ab, low_cd)};
  out[2] = {(u32v::native)EDGEC_UNPACK(lo, 16, high_ab, high_cd)};
  out[3] = {(u32v::native)EDGEC_UNPACK(hi, 16, high_ab, high_cd)};
#undef EDGEC_UNPACK
#else
  for (int q = 0; q < 4; ++q)
    for (int j = 0; j < kF32; ++j) {
      const int i = j / 4 * 16 + 4 * q + j % 4;
      out[q].v[j] = static_cast<uint32_t>(a.v[i]) | static_cast<uint32_t>(b.v[i]) << 8 |
                    static_cast<uint32_t>(c.v[i]) << 16 | static_cast<uint32_t>(d.v[i]) << 24;
    }
#endif
}

// q(v) of docs/numerics.md for four vectors, packed the way back from `interleave`.
struct ByteResult {
  // |v| < 2^30 always: integers then saturate where they are packed, and bytes are clamped instead of floats.
  bool bounded;
  f32v low, high;
  vec<int16_t, 2 * kF32> zero;
  byte_block least, greatest;

  ByteResult(const ByteRounding& r, bool is_bounded)
      : bounded(is_bounded),
        low(r.low),
        high(r.high),
        zero(static_cast<int16_t>(r.zero)),
        least(static_cast<uint8_t>(static_cast<int32_t>(r.low) + r.zero)),
        greatest(static_cast<uint8_t>(static_cast<int32_t>(r.high) + r.zero)) {}

  EDGEC_INLINE byte_block operator()(f32v (&v)[4]) const {
    if (!bounded) {
      for (int q = 0; q < 4; ++q) v[q] = min(max(v[q], low), high);
    }
#if defined(__AVX512BW__)
#define EDGEC_PACK(size, x, y) _mm512_packs_epi##size((__m512i)(x), (__m512i)(y))
#define EDGEC_ADD(x) _mm512_adds_epi16(x, (__m512i)zero.v)
    const auto bytes = _mm512_packus_epi16(
#elif defined(__AVX2__)
#define EDGEC_PACK(size, x, y) _mm256_packs_epi##size((__m256i)(x), (__m256i)(y))
#define EDGEC_ADD(x) _mm256_adds_epi16(x, (__m256i)zero.v)
    const auto bytes = _mm256_packus_epi16(
#elif defined(__SSE2__)
#define EDGEC_PACK(size, x, y) _mm_packs_epi##size((__m128i)(x), (__m128i)(y))
#define EDGEC_ADD(x) _mm_adds_epi16(x, (__m128i)zero.v)
    const auto bytes = _mm_packs_epi16(
#endif
#if defined(EDGEC_PACK)
        EDGEC_ADD(EDGEC_PACK(32, nearest(v[0]).v, nearest(v[1]).v)),
        EDGEC_ADD(EDGEC_PACK(32, nearest(v[2]).v, nearest(v[3]).v)));
#undef EDGEC_PACK
#undef EDGEC_ADD
    using Element = std::conditional_t<kExcess != 0, uint8_t, int8_t>;
    const vec<Element, kBlock> packed{(typename vec<Element, kBlock>::native)bytes};
#if defined(__AVX512BW__)
    return {(byte_block::native)_mm512_min_epu8(_mm512_max_epu8((__m512i)packed.v, (__m512i)least.v),
                                                (__m512i)greatest.v)};
#elif defined(__AVX2__)
    return {(byte_block::native)_mm256_min_epu8(_mm256_max_epu8((__m256i)packed.v, (__m256i)least.v),
                                                (__m256i)greatest.v)};
#else
    return bit_cast<uint8_t>(min(max(packed, bit_cast<Element>(least)), bit_cast<Element>(greatest)));
#endif
#else
    byte_block r;
    for (int q = 0; q < 4; ++q) {
      const i32v integers = nearest(min(max(v[q], low), high));
      for (int j = 0; j < kF32; ++j)
        r.v[j / 4 * 16 + 4 * q + j % 4] = static_cast<uint8_t>(integers.v[j] + zero.v[0]);
    }
    return r;
#endif
  }
};

// Four words of each lane of 16 bytes to four runs: what belongs to one of the four vectors of a ByteResult.
EDGEC_INLINE byte_block gather_lanes(byte_block a) {
#if defined(__AVX512BW__)
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return {(byte_block::native)_mm512_permutexvar_epi32(order, (__m512i)a.v)};
#elif defined(__AVX2__)
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  return {(byte_block::native)_mm256_permutevar8x32_epi32((__m256i)a.v, order)};
#else
  static_assert(kBlock == 16, "one lane");
  return a;
#endif
}

}  // namespace EDGEC_ISA_NS
}  // namespace edgec
