// What the integer operators that are no products share: their attributes and how their tensors are stored.
#pragma once
#include <cmath>
#include <string>

#include "core/op.h"
#include "kernels/quantized/quantized.h"

// One copy in the library instead of one per operator.
#define EDGEC_SHARED [[gnu::noinline]]

namespace edgec {

// Multipliers beyond this would overflow f32 with some accumulator; no model has them.
inline constexpr double kGreatestMultiplier = 18446744073709551616.0;

// Attribute <prefix>_scale in f64.
EDGEC_SHARED inline double scale_of(const NodeContext& ctx, const char* prefix) {
  return static_cast<double>(ctx.attr_float((std::string(prefix) + "_scale").c_str()));
}
EDGEC_SHARED inline int32_t zero_point_of(const NodeContext& ctx, const char* prefix) {
  return static_cast<int32_t>(ctx.attr_int((std::string(prefix) + "_zero_point").c_str()));
}

// Refuses scales that are not finite and positive and zero points outside the type of the values.
EDGEC_SHARED inline Status check_quantization(const NodeContext& ctx, const char* prefix, DType dtype) {
  const double scale = scale_of(ctx, prefix);
  if (!(scale > 0) || !std::isfinite(scale))
    return ctx.fail(StatusCode::kInvalidArgument, "attribute '%s_scale' is %g, expected a positive number",
                    prefix, scale);
  const int64_t zero = ctx.attr_int((std::string(prefix) + "_zero_point").c_str());
  const bool wide = dtype == DType::kI16 || dtype == DType::kI32;
  const int64_t low = dtype == DType::kU8 ? 0 : wide ? -32768 : -128;
  const int64_t high = dtype == DType::kU8 ? 255 : wide ? 32767 : 127;
  if (zero < low || zero > high)
    return ctx.fail(StatusCode::kInvalidArgument, "attribute '%s_zero_point' is %lld, expected %lld to %lld",
                    prefix, static_cast<long long>(zero), static_cast<long long>(low),
                    static_cast<long long>(high));
  return ok_status();
}

// The quantization of output 0, and of inputs 0 and 1 under the prefixes given (null: not there).
EDGEC_SHARED inline Status check_quantizations(const NodeContext& ctx, DType y, const char* first,
                                               const char* second = nullptr) {
  EDGEC_TRY(check_quantization(ctx, "y", y));
  if (first != nullptr) EDGEC_TRY(check_quantization(ctx, first, ctx.input(0).dtype));
  return second == nullptr ? ok_status() : check_quantization(ctx, second, ctx.input(1).dtype);
}

EDGEC_SHARED inline StoredBytes stored_form(const TensorType& type, int32_t zero_point) {
  StoredBytes form;
  form.flip = type.dtype == DType::kI8 ? 0x80 : 0;
  form.zero = zero_point + (type.dtype == DType::kI8 || type.excess128 ? 128 : 0);
  return form;
}
// Limits are those of the graph's type, i8 unless the tensor is a plain u8.
EDGEC_SHARED inline ByteRounding rounding_of(const TensorType& type, int32_t zero_point, int64_t minimum,
                                             int64_t maximum) {
  ByteRounding rounding;
  rounding.low = static_cast<float>(minimum - zero_point);
  rounding.high = static_cast<float>(maximum - zero_point);
  rounding.zero = zero_point + (type.excess128 ? 128 : 0);
  return rounding;
}
// Attributes minimum and maximum where the operator has them, cut to the range of i8.
EDGEC_SHARED inline ByteRounding output_rounding(const PrepareContext& ctx) {
  const bool limited = ctx.op().find_attr("minimum") != nullptr;
  const TensorType& y = ctx.output(0);
  const bool is_u8 = y.dtype == DType::kU8 && !y.excess128;
  const int64_t least = is_u8 ? 0 : -128, greatest = is_u8 ? 255 : 127;
  const int64_t low = limited && !is_u8 ? std::max(least, ctx.attr_int("minimum")) : least;
  const int64_t high = limited && !is_u8 ? std::min(greatest, ctx.attr_int("maximum")) : greatest;
  return rounding_of(y, zero_point_of(ctx, "y"), low, high);
}

// A multiplier of docs/numerics.md: computed in f64, rounded to f32 once.
EDGEC_SHARED inline Status round_multiplier(const NodeContext& ctx, double value, float* out) {
  *out = static_cast<float>(value);
  if (value <= kGreatestMultiplier) return ok_status();
  return ctx.fail(StatusCode::kInvalidArgument, "its scales make the factor %g, expected at most 2^64",
                  value);
}

EDGEC_SHARED inline OpBuilder& quantization_attrs(OpBuilder& op, const char* prefix) {
  // The registry keeps the names.
  op.attr((std::string(prefix) + "_scale").c_str(), 1.0, "real = (q - zero_point) * scale");
  return op.attr((std::string(prefix) + "_zero_point").c_str(), 0);
}
EDGEC_SHARED inline OpBuilder& limit_attrs(OpBuilder& op) {
  return op.attr("minimum", -128, "least result: a fused relu or clip").attr("maximum", 127);
}

}  // namespace edgec
