// Sums of four products of bytes per 32-bit lane, the heart of integer products. Part of the vec layer.
//
// dot4(sum, a, w): sum + a0 w0 + a1 w1 + a2 w2 + a3 w3, modulo 2^32, exact on every ISA. The bytes of a are
// i8 + kExcess; those of w are i8. One instruction with VNNI. Without, vpmaddubsw would saturate: both
// operands are split into their even and odd bytes, widened to 16 bits, and each half is one vpmaddwd.
#pragma once
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

// The first n (1 <= n <= kBlock) bytes, zero in the rest.
EDGEC_INLINE byte_block load_block(const uint8_t* p, int64_t n) {
#if defined(__AVX512BW__)
  const auto mask = static_cast<__mmask64>(~uint64_t{0} >> (64 - n));
  return {(byte_block::native)_mm512_maskz_loadu_epi8(mask, p)};
#else
  if (n == kBlock) return load<uint8_t, kBlock>(p);
  alignas(kBlock) uint8_t copy[kBlock] = {};
  for (int64_t i = 0; i < n; ++i) copy[i] = p[i];
  return load<uint8_t, kBlock>(copy);
#endif
}
EDGEC_INLINE void store_block(uint8_t* p, byte_block a, int64_t n) {
  if (n == kBlock) return store(p, a);
#if defined(__AVX512BW__)
  _mm512_mask_storeu_epi8(p, static_cast<__mmask64>(~uint64_t{0} >> (64 - n)), (__m512i)a.v);
#else
  alignas(kBlock) uint8_t copy[kBlock];
  store(copy, a);
  for (int64_t i = 0; i < n; ++i) p[i] = copy[i];
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

// The way back: values of 0 to 255, or low bytes where kExcess is 0.
EDGEC_INLINE byte_block pack_lanes(const i32v (&a)[4]) {
#if defined(__AVX512BW__)
  const __m512i low = _mm512_packs_epi32((__m512i)a[0].v, (__m512i)a[1].v),
                high = _mm512_packs_epi32((__m512i)a[2].v, (__m512i)a[3].v);
  return {(byte_block::native)_mm512_packus_epi16(low, high)};
#elif defined(__AVX2__)
  const __m256i low = _mm256_packs_epi32((__m256i)a[0].v, (__m256i)a[1].v),
                high = _mm256_packs_epi32((__m256i)a[2].v, (__m256i)a[3].v);
  return {(byte_block::native)_mm256_packus_epi16(low, high)};
#elif defined(__SSE2__)
  const __m128i byte = _mm_set1_epi32(255);  // signed or not: the low byte
  const __m128i low = _mm_packs_epi32((__m128i)a[0].v & byte, (__m128i)a[1].v & byte),
                high = _mm_packs_epi32((__m128i)a[2].v & byte, (__m128i)a[3].v & byte);
  return {(byte_block::native)_mm_packus_epi16(low, high)};
#else
  byte_block r;
  for (int q = 0; q < 4; ++q)
    for (int j = 0; j < kF32; ++j) r.v[j / 4 * 16 + 4 * q + j % 4] = static_cast<uint8_t>(a[q].v[j]);
  return r;
#endif
}

}  // namespace EDGEC_ISA_NS
}  // namespace edgec
