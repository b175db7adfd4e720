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

// y[k] = table[k * stride + x[k]] for eight bytes; y may be x.
EDGEC_INLINE void lookup_eight(const uint8_t* table, int64_t stride, const uint8_t* x, uint8_t* y) {
  uint64_t in, out = 0;
  std::memcpy(&in, x, sizeof in);
#pragma GCC unroll 8
  for (int k = 0; k < 8; ++k)
    out |= static_cast<uint64_t>(table[k * stride + static_cast<int64_t>((in >> (8 * k)) & 255)]) << (8 * k);
  std::memcpy(y, &out, sizeof out);
}

// y[i] = table[x[i]] for 256 entries; y may be x.
EDGEC_INLINE void lookup_bytes(const uint8_t* table, const uint8_t* x, int64_t count, uint8_t* y) {
  int64_t i = 0;
#if defined(__AVX512BW__)
  // Pairs of bytes as 128 words in four registers: word x / 2, then its low or high byte.
  __m512i words[4];
  for (int k = 0; k < 4; ++k) words[k] = _mm512_loadu_si512(table + 64 * k);
  const __m512i one = _mm512_set1_epi16(1), upper = _mm512_set1_epi16(64);
  for (; i + 32 <= count; i += 32) {
    const __m512i index = _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + i)));
    const __m512i word = _mm512_srli_epi16(index, 1);
    const __m512i first = _mm512_permutex2var_epi16(words[0], word, words[1]);
    const __m512i second = _mm512_permutex2var_epi16(words[2], word, words[3]);
    const __m512i pair = _mm512_mask_mov_epi16(first, _mm512_test_epi16_mask(word, upper), second);
    const __m512i shift = _mm512_slli_epi16(_mm512_and_si512(index, one), 3);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(y + i),
                        _mm512_cvtepi16_epi8(_mm512_srlv_epi16(pair, shift)));
  }
#endif
  for (; i + 8 <= count; i += 8) lookup_eight(table, 0, x + i, y + i);
  for (; i < count; ++i) y[i] = table[x[i]];
}

}  // namespace EDGEC_ISA_NS
}  // namespace edgec
