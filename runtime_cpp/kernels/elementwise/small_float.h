// Floats and integers of eight bits and less, one byte per element. Only stored and converted: edgec computes
// in wider types.
#pragma once
#include <cstdint>

#include "core/tensor.h"

namespace edgec {

// How a value that fits no code of a small float is stored (ONNX Cast).
struct SmallFloatRules {
  bool saturate = true;  // the largest finite value instead of infinity or NaN
  enum class Round : uint8_t { kNearest, kUp, kDown } round = Round::kNearest;  // f8e8m0 only
};

bool is_small_float(DType dtype);  // f8* and f4e2m1
float small_float_value(DType dtype, uint8_t code);
uint8_t small_float_code(DType dtype, double value, const SmallFloatRules& rules);

}  // namespace edgec
