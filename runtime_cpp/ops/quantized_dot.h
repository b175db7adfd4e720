// What QuantizedConv2d, QuantizedConvTranspose2d and QuantizedMatMul share: attributes, inputs, multipliers.
#pragma once
#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "ops/quantized_bytes.h"

namespace edgec {

// The same places in all three. `activation` and `weights` below are inputs 0 and 1.
enum QuantizedDotInput {
  kQuantizedX,
  kQuantizedWeight,
  kQuantizedWeightScale,
  kQuantizedBias,
  kQuantizedResidual
};

inline void declare_quantized_product(OpBuilder& op, const char* activation_prefix, bool has_residual) {
  quantization_attrs(op, activation_prefix);
  quantization_attrs(op, "y");
  if (has_residual) quantization_attrs(op, "residual");
  limit_attrs(op);
  op.attr("to", "i8", "type of the result; f32 and i32 (the sums) ignore y's scale, zero point and limits",
          "i8|f32|i32");
}

inline Status check_product_vector(const NodeContext& ctx, int i, const char* name, DType dtype,
                                   int64_t channels, bool or_one) {
  const TensorType& t = ctx.input(i);
  if (t.dtype == dtype && t.shape.rank() == 1 && (t.shape[0] == channels || (or_one && t.shape[0] == 1)))
    return ok_status();
  return ctx.fail(StatusCode::kShape, "input '%s' must be %s[%lld]%s, one value per output channel; got %s",
                  name, dtype_name(dtype), static_cast<long long>(channels), or_one ? " or [1]" : "",
                  t.to_string().c_str());
}

// Types and attributes, for a result of `out`; the shapes of inputs 0 and 1 are the operator's own business.
inline Status infer_quantized_product(InferContext& ctx, const char* prefix, int64_t channels,
                                      const Shape& out) {
  EDGEC_TRY(ctx.want_dtype(kQuantizedX, {DType::kI8}));
  EDGEC_TRY(ctx.want_dtype(kQuantizedWeight, {DType::kI8}));
  EDGEC_TRY(check_quantizations(ctx, DType::kI8, prefix));
  EDGEC_TRY(
      check_product_vector(ctx, kQuantizedWeightScale, "scale of the weights", DType::kF32, channels, true));
  if (ctx.has_input(kQuantizedBias))
    EDGEC_TRY(check_product_vector(ctx, kQuantizedBias, "bias", DType::kI32, channels, false));
  const int64_t low = ctx.attr_int("minimum"), high = ctx.attr_int("maximum");
  if (low < -128 || high > 127 || low > high)
    return ctx.fail(
        StatusCode::kInvalidArgument,
        "attributes 'minimum' and 'maximum' are %lld and %lld, expected a range within -128 to 127",
        static_cast<long long>(low), static_cast<long long>(high));
  const DType to = dtype_from_name(ctx.attr_string("to").c_str());
  if (ctx.has_input(kQuantizedResidual)) {
    const TensorType& r = ctx.input(kQuantizedResidual);
    if (to != DType::kI8)
      return ctx.fail(StatusCode::kUnsupported, "a residual needs a result of type i8, got %s",
                      dtype_name(to));
    EDGEC_TRY(check_quantization(ctx, "residual", DType::kI8));
    if (r.dtype != DType::kI8 || r.shape != out)
      return ctx.fail(StatusCode::kShape, "input 'residual' must be i8%s like the output, got %s",
                      out.to_string().c_str(), r.to_string().c_str());
  }
  return ctx.set_output(0, to, out);
}

// The scales of the weights and the bias are packed when the step is prepared.
inline Status want_constants(const PrepareContext& ctx, bool weights) {
  const char* names[] = {"", "weights", "scale of the weights", "bias"};
  for (int i = weights ? kQuantizedWeight : kQuantizedWeightScale; i <= kQuantizedBias; ++i)
    if (ctx.has_input(i) && ctx.constant(i) == nullptr)
      return ctx.fail(StatusCode::kUnsupported, "input '%s' must be a constant of the model", names[i]);
  return ok_status();
}

// One factor per channel (docs/numerics.md), and that of the residual.
inline Status product_multipliers(const PrepareContext& ctx, const char* prefix, int64_t channels,
                                  std::vector<float>* multipliers, float* residual) {
  const bool to_i8 = ctx.attr_string("to") == "i8";
  const auto* scales = static_cast<const float*>(ctx.constant(kQuantizedWeightScale));
  const bool one = ctx.input(kQuantizedWeightScale).shape[0] == 1;
  multipliers->resize(static_cast<size_t>(channels));
  for (int64_t c = 0; c < channels; ++c) {
    const float scale = scales[one ? 0 : c];
    if (!(scale > 0) || !std::isfinite(scale))
      return ctx.fail(StatusCode::kInvalidArgument,
                      "scale %lld of the weights is %g, expected a positive number",
                      static_cast<long long>(c), static_cast<double>(scale));
    const double product = scale_of(ctx, prefix) * static_cast<double>(scale);
    EDGEC_TRY(round_multiplier(ctx, to_i8 ? product / scale_of(ctx, "y") : product,
                               &(*multipliers)[static_cast<size_t>(c)]));
  }
  *residual = 0;
  if (!ctx.has_input(kQuantizedResidual)) return ok_status();
  return round_multiplier(ctx, scale_of(ctx, "residual") / scale_of(ctx, "y"), residual);
}

// Everything behind the sums.
struct ProductEpilogue {
  DType to = DType::kI8;
  std::vector<float> multipliers;
  std::vector<int32_t> bias;
  float residual_multiplier = 0;
  StoredBytes residual;
  ByteRounding rounding;

  Status set(const PrepareContext& ctx, const char* prefix, int64_t channels) {
    to = dtype_from_name(ctx.attr_string("to").c_str());
    EDGEC_TRY(product_multipliers(ctx, prefix, channels, &multipliers, &residual_multiplier));
    bias.assign(static_cast<size_t>(channels), 0);
    if (ctx.has_input(kQuantizedBias))
      std::memcpy(bias.data(), ctx.constant(kQuantizedBias), bias.size() * sizeof(int32_t));
    if (ctx.has_input(kQuantizedResidual))
      residual = stored_form(ctx.input(kQuantizedResidual), zero_point_of(ctx, "residual"));
    rounding = output_rounding(ctx);
    return ok_status();
  }
  void store(uint32_t sum, int64_t channel, const uint8_t* r, const TensorView& y, int64_t at) const {
    const size_t c = static_cast<size_t>(channel);
    const auto acc = static_cast<int32_t>(sum + static_cast<uint32_t>(bias[c]));
    if (to == DType::kI32) {
      y.as<int32_t>()[at] = acc;
      return;
    }
    float v = static_cast<float>(acc) * multipliers[c];
    if (to == DType::kF32) {
      y.as<float>()[at] = v;
      return;
    }
    if (r != nullptr) v += static_cast<float>((*r ^ residual.flip) - residual.zero) * residual_multiplier;
    v = std::nearbyint(std::min(std::max(v, rounding.low), rounding.high));
    y.as<uint8_t>()[at] = static_cast<uint8_t>(static_cast<int32_t>(v) + rounding.zero);
  }
};

}  // namespace edgec
