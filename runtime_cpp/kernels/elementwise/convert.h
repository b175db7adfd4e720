// Conversion between data types.
#pragma once
#include <cstdint>

#include "core/tensor.h"
#include "kernels/elementwise/small_float.h"

namespace edgec {

float f16_to_f32(uint16_t bits);
uint16_t f64_to_f16(double value);   // to nearest, ties to even; also right for a float
uint16_t f64_to_bf16(double value);  // likewise
inline float bf16_to_f32(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  __builtin_memcpy(&value, &wide, sizeof value);
  return value;
}

// n elements of any type to and from one of the types in which edgec computes. Floats become integers
// by truncation towards zero, saturating, NaN as 0; integers narrow modulo 2^bits; bool is != 0. Small
// floats follow `rules`.
template <class T>  // float, double, int64_t, uint64_t
void load_as(DType from, const void* source, int64_t n, T* destination);
template <class T>
void store_as(DType to, const T* source, int64_t n, void* destination, const SmallFloatRules& rules = {});

// n elements from any type to any other.
void convert_elements(DType from, const void* source, DType to, void* destination, int64_t n,
                      const SmallFloatRules& rules = {});

}  // namespace edgec
