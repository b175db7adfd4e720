// Bytes beside i32 and f32 vectors of as many lanes: what 8-bit kernels load, narrow and store. Part of the
// vec layer.
#pragma once
#include "kernels/simd/simd.h"

namespace edgec {
namespace EDGEC_ISA_NS {

// As many bytes as a register has floats.
using bytes = vec<uint8_t, kF32>;

// The first n (1 <= n <= lanes) bytes, zero in the rest.
EDGEC_INLINE bytes load_bytes(const uint8_t* p, int64_t n) {
#if defined(__AVX512BW__) && defined(__AVX512VL__)
  return {(bytes::native)_mm_maskz_loadu_epi8(static_cast<__mmask16>((1u << n) - 1), p)};
#else
  bytes r;
  if (n == kF32) {
    std::memcpy(&r.v, p, sizeof r.v);
    return r;
  }
  uint64_t word = 0;
  for (int64_t i = n - 1; i >= 0; --i) word = word << 8 | p[i];
  static_assert(sizeof r.v <= sizeof word);
  std::memcpy(&r.v, &word, sizeof r.v);
  return r;
#endif
}

EDGEC_INLINE void store_bytes(uint8_t* p, bytes a, int64_t n) {
#if defined(__AVX512BW__) && defined(__AVX512VL__)
  _mm_mask_storeu_epi8(p, static_cast<__mmask16>((1u << n) - 1), (__m128i)a.v);
#else
  if (n == kF32) {
    std::memcpy(p, &a.v, sizeof a.v);
    return;
  }
  uint64_t word = 0;
  std::memcpy(&word, &a.v, sizeof a.v);
  for (int64_t i = 0; i < n; ++i, word >>= 8) p[i] = static_cast<uint8_t>(word);
#endif
}

// The low byte of every lane.
EDGEC_INLINE bytes low_bytes(i32v a) {
#if defined(__AVX512F__)
  return {(bytes::native)_mm512_cvtepi32_epi8((__m512i)a.v)};
#elif defined(__AVX2__)
  const __m256i first = _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 4, 8,
                                         12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
  const __m256i packed = _mm256_shuffle_epi8((__m256i)a.v, first);
  const __m128i both =
      _mm_unpacklo_epi32(_mm256_castsi256_si128(packed), _mm256_extracti128_si256(packed, 1));
  bytes r;
  const int64_t word = _mm_cvtsi128_si64(both);
  std::memcpy(&r.v, &word, sizeof r.v);
  return r;
#else
  return convert<uint8_t>(a);
#endif
}

}  // namespace EDGEC_ISA_NS
}  // namespace edgec
