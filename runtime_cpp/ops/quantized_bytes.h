// What the integer operators that are no products share: their attributes and how their tensors are stored.
// Defined in requantize.cc, once for all of them.
#pragma once
#include <cmath>
#include <string>

#include "core/op.h"
#include "kernels/quantized/quantized.h"

namespace edgec {

// Multipliers beyond this would overflow f32 with some accumulator; no model has them.
inline constexpr double kGreatestMultiplier = 18446744073709551616.0;

// Attribute <prefix>_scale in f64.
double scale_of(const NodeContext& ctx, const char* prefix);
int32_t zero_point_of(const NodeContext& ctx, const char* prefix);

// Refuses scales that are not finite and positive and zero points outside the type of the values.
Status check_quantization(const NodeContext& ctx, const char* prefix, DType dtype);

// The quantization of output 0, and of inputs 0 and 1 under the prefixes given (null: not there).
Status check_quantizations(const NodeContext& ctx, DType y, const char* first, const char* second = nullptr);

StoredBytes stored_form(const TensorType& type, int32_t zero_point);
// Limits are those of the graph's type, i8 unless the tensor is a plain u8.
ByteRounding rounding_of(const TensorType& type, int32_t zero_point, int64_t minimum, int64_t maximum);
// Attributes minimum and maximum where the operator has them, cut to the range of i8.
ByteRounding output_rounding(const PrepareContext& ctx);

// A multiplier of docs/numerics.md: computed in f64, rounded to f32 once.
Status round_multiplier(const NodeContext& ctx, double value, float* out);

OpBuilder& quantization_attrs(OpBuilder& op, const char* prefix);
OpBuilder& limit_attrs(OpBuilder& op);

}  // namespace edgec
