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

}  // namespace EDGEC_ISA_NS
}  // namespace edgec
