// The vec layer: the only place with intrinsics. Included by kernel families inside a translation unit
// that defines EDGEC_ISA_NS (the ISA's name, used as a namespace) and compiles with that ISA's flags.
//
// vec<T,N> is a struct around a GCC/Clang vector of N lanes. Arithmetic, comparison and selection are
// the compiler's own and work for every N: wider than the machine means recursive halves. Only what
// the compiler cannot express (fma, IEEE min/max, rounding, masked memory, dot products) is spelled
// per ISA below. Tails use the run-time-length load/store; no kernel reads or writes out of bounds.
#pragma once
#include <cstdint>
#include <cstring>
#include <type_traits>
#if defined(__AVX2__)
// GCC 12 warns about its own _mm512_undefined_ps() inside these headers.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#define EDGEC_INLINE [[gnu::always_inline]] inline

namespace edgec {
namespace EDGEC_ISA_NS {

// Bytes of a native register.
#if defined(__AVX512F__)
inline constexpr int kVectorBytes = 64;
inline constexpr int kVectorRegisters = 32;
#elif defined(__AVX2__)
inline constexpr int kVectorBytes = 32;
inline constexpr int kVectorRegisters = 16;
#elif defined(__aarch64__)
inline constexpr int kVectorBytes = 16;
inline constexpr int kVectorRegisters = 32;
#else
inline constexpr int kVectorBytes = 16;
inline constexpr int kVectorRegisters = 16;
#endif
template <class T>
inline constexpr int lanes = kVectorBytes / static_cast<int>(sizeof(T));

// A struct of its own: GCC drops a dependent vector_size when it compares overloads.
template <class T, int N>
struct native_vector {
  typedef T type __attribute__((vector_size(sizeof(T) * N)));
};

template <class T, int N>
struct vec {
  using native = typename native_vector<T, N>::type;
  native v;
  vec() = default;
  EDGEC_INLINE vec(native x) : v(x) {}
  EDGEC_INLINE explicit vec(T x) : v(x - native{}) {}
  EDGEC_INLINE T operator[](int i) const { return v[i]; }
};

using f32v = vec<float, lanes<float>>;
using i32v = vec<int32_t, lanes<int32_t>>;
inline constexpr int kF32 = lanes<float>;

// Integer lanes as wide as T: what a comparison yields (all ones = true).
template <class T>
using mask_of = std::conditional_t<
    sizeof(T) == 4, int32_t,
    std::conditional_t<sizeof(T) == 2, int16_t, std::conditional_t<sizeof(T) == 1, int8_t, int64_t>>>;

#define EDGEC_VEC_BINARY(op)                                     \
  template <class T, int N>                                      \
  EDGEC_INLINE vec<T, N> operator op(vec<T, N> a, vec<T, N> b) { \
    return {a.v op b.v};                                         \
  }
EDGEC_VEC_BINARY(+)
EDGEC_VEC_BINARY(-)
EDGEC_VEC_BINARY(*)
EDGEC_VEC_BINARY(/)
EDGEC_VEC_BINARY(&)
EDGEC_VEC_BINARY(|)
EDGEC_VEC_BINARY(^)
#undef EDGEC_VEC_BINARY
#define EDGEC_VEC_COMPARE(op)                                             \
  template <class T, int N>                                               \
  EDGEC_INLINE vec<mask_of<T>, N> operator op(vec<T, N> a, vec<T, N> b) { \
    return {(typename vec<mask_of<T>, N>::native)(a.v op b.v)};           \
  }
EDGEC_VEC_COMPARE(<)
EDGEC_VEC_COMPARE(<=)
EDGEC_VEC_COMPARE(>)
EDGEC_VEC_COMPARE(>=)
EDGEC_VEC_COMPARE(==)
EDGEC_VEC_COMPARE(!=)
#undef EDGEC_VEC_COMPARE
template <class T, int N>
EDGEC_INLINE vec<T, N> operator-(vec<T, N> a) {
  return {-a.v};
}
template <class T, int N>
EDGEC_INLINE vec<T, N> operator<<(vec<T, N> a, int n) {
  return {a.v << n};
}
template <class T, int N>
EDGEC_INLINE vec<T, N> operator>>(vec<T, N> a, int n) {
  return {a.v >> n};
}

template <class T, int N>
EDGEC_INLINE vec<T, N> select(vec<mask_of<T>, N> mask, vec<T, N> yes, vec<T, N> no) {
  return {mask.v ? yes.v : no.v};
}
template <class U, class T, int N>
EDGEC_INLINE vec<U, N* static_cast<int>(sizeof(T)) / static_cast<int>(sizeof(U))> bit_cast(vec<T, N> a) {
  return {(typename vec<U, N * sizeof(T) / sizeof(U)>::native) a.v};
}
// Value conversion lane by lane; float to integer truncates (use round() first for nearest even).
template <class U, class T, int N>
EDGEC_INLINE vec<U, N> convert(vec<T, N> a) {
  return {__builtin_convertvector(a.v, typename vec<U, N>::native)};
}

// -- memory ---------------------------------------------------------------------------------------
template <class T, int N = lanes<T>>
EDGEC_INLINE vec<T, N> load(const T* p) {
  vec<T, N> r;
  std::memcpy(&r.v, p, sizeof r.v);
  return r;
}
template <class T, int N>
EDGEC_INLINE void store(T* p, vec<T, N> a) {
  std::memcpy(p, &a.v, sizeof a.v);
}
// The first n lanes (0 <= n <= N) from memory, zero in the rest.
template <class T, int N = lanes<T>>
EDGEC_INLINE vec<T, N> load(const T* p, int64_t n) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4 && N == 16)
    return {(typename vec<T, N>::native)_mm512_maskz_loadu_epi32(static_cast<__mmask16>((1u << n) - 1), p)};
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4 && N == 8) {
    const __m256i mask =
        _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    return {(typename vec<T, N>::native)_mm256_maskload_epi32(reinterpret_cast<const int*>(p), mask)};
  }
#endif
  vec<T, N> r{T{}};
  std::memcpy(&r.v, p, static_cast<size_t>(n) * sizeof(T));
  return r;
}
template <class T, int N>
EDGEC_INLINE void store(T* p, vec<T, N> a, int64_t n) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4 && N == 16) {
    _mm512_mask_storeu_epi32(p, static_cast<__mmask16>((1u << n) - 1), (__m512i)a.v);
    return;
  }
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4 && N == 8) {
    const __m256i mask =
        _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    _mm256_maskstore_epi32(reinterpret_cast<int*>(p), mask, (__m256i)a.v);
    return;
  }
#endif
  std::memcpy(p, &a.v, static_cast<size_t>(n) * sizeof(T));
}

// -- what the compiler cannot express ------------------------------------------------------------
// Lane by lane through the native type of the ISA, or recursively through halves.
template <class T, int N>
EDGEC_INLINE vec<T, N / 2> low(vec<T, N> a) {
  vec<T, N / 2> r;
  std::memcpy(&r.v, &a.v, sizeof r.v);
  return r;
}
template <class T, int N>
EDGEC_INLINE vec<T, N / 2> high(vec<T, N> a) {
  vec<T, N / 2> r;
  std::memcpy(&r.v, reinterpret_cast<const char*>(&a.v) + sizeof r.v, sizeof r.v);
  return r;
}
template <class T, int N>
EDGEC_INLINE vec<T, 2 * N> join(vec<T, N> lo, vec<T, N> hi) {
  vec<T, 2 * N> r;
  std::memcpy(&r.v, &lo.v, sizeof lo.v);
  std::memcpy(reinterpret_cast<char*>(&r.v) + sizeof lo.v, &hi.v, sizeof hi.v);
  return r;
}

// a * b + c in one rounding where the ISA has it; the scalar row has not and rounds twice.
template <int N>
EDGEC_INLINE vec<float, N> fma(vec<float, N> a, vec<float, N> b, vec<float, N> c) {
#if defined(__AVX512F__)
  if constexpr (N == 16) return {(typename vec<float, N>::native)_mm512_fmadd_ps(a.v, b.v, c.v)};
#endif
#if defined(__FMA__)
  if constexpr (N == 8) return {(typename vec<float, N>::native)_mm256_fmadd_ps(a.v, b.v, c.v)};
  if constexpr (N == 4) return {(typename vec<float, N>::native)_mm_fmadd_ps(a.v, b.v, c.v)};
#elif defined(__aarch64__) || defined(__ARM_FEATURE_FMA)
  if constexpr (N == 4) return {(typename vec<float, N>::native)vfmaq_f32(c.v, a.v, b.v)};
#else
  if constexpr (N == 4) return a * b + c;
#endif
  if constexpr (N != 4) return join(fma(low(a), low(b), low(c)), fma(high(a), high(b), high(c)));
}

// a[L] * b + c. On aarch64 the multiply-add takes a lane of a register as it is; elsewhere a broadcast from
// memory is free, and kFmaTakesLane says which loop to write.
#if defined(__aarch64__)
inline constexpr bool kFmaTakesLane = true;
#else
inline constexpr bool kFmaTakesLane = false;
#endif
template <int L, int N>
EDGEC_INLINE vec<float, N> fma_lane(vec<float, N> a, vec<float, N> b, vec<float, N> c) {
#if defined(__aarch64__)
  if constexpr (N == 4) return {(typename vec<float, N>::native)vfmaq_laneq_f32(c.v, b.v, a.v, L)};
#endif
  return fma(vec<float, N>(a[L]), b, c);
}

// IEEE-less min/max: the second operand when either is NaN (x86's minps rule, on every ISA).
template <class T, int N>
EDGEC_INLINE vec<T, N> min(vec<T, N> a, vec<T, N> b) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<T, float> && N == 16)
    return {(typename vec<T, N>::native)_mm512_min_ps(a.v, b.v)};
#elif defined(__AVX2__)
  if constexpr (std::is_same_v<T, float> && N == 8)
    return {(typename vec<T, N>::native)_mm256_min_ps(a.v, b.v)};
#endif
  return select(a < b, a, b);
}
template <class T, int N>
EDGEC_INLINE vec<T, N> max(vec<T, N> a, vec<T, N> b) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<T, float> && N == 16)
    return {(typename vec<T, N>::native)_mm512_max_ps(a.v, b.v)};
#elif defined(__AVX2__)
  if constexpr (std::is_same_v<T, float> && N == 8)
    return {(typename vec<T, N>::native)_mm256_max_ps(a.v, b.v)};
#endif
  return select(a > b, a, b);
}

template <int N>
EDGEC_INLINE vec<float, N> abs(vec<float, N> a) {
  return bit_cast<float>(bit_cast<int32_t>(a) & vec<int32_t, N>(0x7fffffff));
}

#define EDGEC_VEC_UNARY(name, avx512, avx, neon, scalar) \
  template <int N>                                       \
  EDGEC_INLINE vec<float, N> name(vec<float, N> a) {     \
    EDGEC_VEC_UNARY_BODY_##name vec<float, N> r;         \
    for (int i = 0; i < N; ++i) r.v[i] = scalar(a.v[i]); \
    return r;                                            \
  }
#if defined(__AVX512F__)
#define EDGEC_NATIVE(i512, i256, neon)                                  \
  if constexpr (N == 16) return {(typename vec<float, N>::native)i512}; \
  if constexpr (N == 8) return {(typename vec<float, N>::native)i256};
#elif defined(__AVX2__)
#define EDGEC_NATIVE(i512, i256, neon) \
  if constexpr (N == 8) return {(typename vec<float, N>::native)i256};
#elif defined(__aarch64__)
#define EDGEC_NATIVE(i512, i256, neon) \
  if constexpr (N == 4) return {(typename vec<float, N>::native)neon};
#else
#define EDGEC_NATIVE(i512, i256, neon)
#endif
#define EDGEC_VEC_UNARY_BODY_sqrt EDGEC_NATIVE(_mm512_sqrt_ps(a.v), _mm256_sqrt_ps(a.v), vsqrtq_f32(a.v))
#define EDGEC_VEC_UNARY_BODY_round \
  EDGEC_NATIVE(_mm512_roundscale_ps(a.v, 0x08), _mm256_round_ps(a.v, 0x08), vrndnq_f32(a.v))
#define EDGEC_VEC_UNARY_BODY_floor \
  EDGEC_NATIVE(_mm512_roundscale_ps(a.v, 0x09), _mm256_round_ps(a.v, 0x09), vrndmq_f32(a.v))
#define EDGEC_VEC_UNARY_BODY_ceil \
  EDGEC_NATIVE(_mm512_roundscale_ps(a.v, 0x0a), _mm256_round_ps(a.v, 0x0a), vrndpq_f32(a.v))
EDGEC_VEC_UNARY(sqrt, , , , __builtin_sqrtf)
EDGEC_VEC_UNARY(round, , , , __builtin_rintf)  // to nearest, ties to even
EDGEC_VEC_UNARY(floor, , , , __builtin_floorf)
EDGEC_VEC_UNARY(ceil, , , , __builtin_ceilf)
#undef EDGEC_VEC_UNARY

// Sums and extrema over the lanes, in a fixed tree order.
template <class T, int N>
EDGEC_INLINE T reduce_add(vec<T, N> a) {
  if constexpr (N == 1)
    return a.v[0];
  else
    return reduce_add(low(a) + high(a));
}
template <class T, int N>
EDGEC_INLINE T reduce_max(vec<T, N> a) {
  if constexpr (N == 1)
    return a.v[0];
  else
    return reduce_max(max(low(a), high(a)));
}
template <class T, int N>
EDGEC_INLINE T reduce_min(vec<T, N> a) {
  if constexpr (N == 1)
    return a.v[0];
  else
    return reduce_min(min(low(a), high(a)));
}

// The main loop at full width and the tail through the same body: body(i, n) with n an
// integral_constant<int, lanes> in the loop and an int64_t in the tail. Use with load/store(p, n).
template <int N, class Body>
EDGEC_INLINE void for_lanes(int64_t count, Body body) {
  int64_t i = 0;
  for (; i + N <= count; i += N) body(i, std::integral_constant<int, N>{});
  if (i < count) body(i, count - i);
}
// Full-width overloads so that the body can pass n straight through.
template <class T, int N = lanes<T>>
EDGEC_INLINE vec<T, N> load(const T* p, std::integral_constant<int, N>) {
  return load<T, N>(p);
}
template <class T, int N>
EDGEC_INLINE void store(T* p, vec<T, N> a, std::integral_constant<int, N>) {
  store(p, a);
}

}  // namespace EDGEC_ISA_NS
}  // namespace edgec
