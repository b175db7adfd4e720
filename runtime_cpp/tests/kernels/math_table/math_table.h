// The functions of kernels/simd/math.h behind plain pointers, one table per ISA, for math_test.
#pragma once
#include <cstddef>

namespace edgec {
struct MathFunction {
  const char* name;
  void (*apply)(const float* x, float* y, size_t count);  // count a multiple of 16
};
inline constexpr int kMathFunctions = 8;
struct MathTable {
  MathFunction functions[kMathFunctions];
};
}  // namespace edgec
