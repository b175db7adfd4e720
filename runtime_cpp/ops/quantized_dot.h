// What QuantizedConv2d, QuantizedConvTranspose2d and QuantizedMatMul share: attributes, inputs, multipliers.
#pragma once
#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/quantized_dot/quantized_dot.h"
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
    // Rounded before it is divided: docs/numerics.md.
    const double product = static_cast<float>(scale_of(ctx, prefix) * static_cast<double>(scale));
    EDGEC_TRY(round_multiplier(ctx, to_i8 ? product / scale_of(ctx, "y") : product,
                               &(*multipliers)[static_cast<size_t>(c)]));
  }
  *residual = 0;
  if (!ctx.has_input(kQuantizedResidual)) return ok_status();
  return round_multiplier(ctx, scale_of(ctx, "residual") / scale_of(ctx, "y"), residual);
}

// Everything behind the sums.
inline Status prepare_finish(const PrepareContext& ctx, const QuantizedDotKernels& kernels,
                             const char* prefix, int64_t channels, std::vector<float>* multipliers,
                             QuantizedFinish* finish) {
  EDGEC_TRY(product_multipliers(ctx, prefix, channels, multipliers, &finish->residual_multiplier));
  const DType to = dtype_from_name(ctx.attr_string("to").c_str());
  finish->result = to == DType::kF32   ? ProductResult::kF32
                   : to == DType::kI32 ? ProductResult::kI32
                                       : ProductResult::kBytes;
  finish->rounding = output_rounding(ctx);
  if (to == DType::kI8 && kernels.excess != 0 && !ctx.output(0).excess128) {
    finish->rounding.zero += kernels.excess;
    finish->output_flip = 0x80;
  }
  // |f32(i32)| <= 2^31, |r - zero| <= 255.
  finish->bounded = finish->residual_multiplier <= 0x1p20f &&
                    *std::max_element(multipliers->begin(), multipliers->end()) <= 0.25f;
  if (ctx.has_input(kQuantizedResidual))
    finish->residual = stored_form(ctx.input(kQuantizedResidual), zero_point_of(ctx, "residual"));
  return ok_status();
}

// What makes packed weights different: two uses of a constant share them only if all of this agrees.
inline std::string packed_layout(const PrepareContext& ctx, const QuantizedDotKernels& kernels,
                                 const QuantizedPacking& packing, int64_t merged, int32_t zero) {
  return format_string("%s k %lld x %lld merged %lld zero %d bias %p scales %p %.9g %.9g %s", kernels.name,
                       static_cast<long long>(packing.taps), static_cast<long long>(packing.k),
                       static_cast<long long>(merged), zero, ctx.constant(kQuantizedBias),
                       ctx.constant(kQuantizedWeightScale),
                       scale_of(ctx, ctx.op().find_attr("a_scale") ? "a" : "x"), scale_of(ctx, "y"),
                       ctx.attr_string("to").c_str());
}

// Where the memory of a tensor of bytes ends.
inline const uint8_t* end_of_bytes(const TensorView& t) {
  return t.as<uint8_t>() + std::max<int64_t>(t.rows() - 1, 0) * t.pitch + t.row_length();
}

// An activation that is not stored as the kernels want it, an input of the model mostly, is copied first.
struct FlippedImage {
  int input = kQuantizedX;
  bool needed = false;
  int64_t rows = 0, length = 0;
  size_t offset = 0;  // in scratch

  // Returns the bytes of scratch behind `at` that it takes.
  size_t set(const PrepareContext& ctx, const QuantizedDotKernels& kernels, int which = kQuantizedX,
             size_t at = 0) {
    const TensorType& x = ctx.input(which);
    input = which;
    needed = x.excess128 != (kernels.excess != 0);
    if (!needed) return 0;
    offset = at;
    length = x.shape.rank() == 0 ? 1 : x.shape.back();
    rows = x.shape.elements() / std::max<int64_t>(length, 1);
    return (static_cast<size_t>(rows * length) + 63) / 64 * 64;
  }
  TensorView view(const QuantizedDotKernels& kernels, const StepArgs& args) const {
    TensorView x = *args.inputs[input];
    if (!needed) return x;
    auto* copy = reinterpret_cast<uint8_t*>(args.scratch + offset);
    if (x.dense())
      args.pool.parallel_for((rows * length + 4095) / 4096, 256, [&](int64_t begin, int64_t end, int) {
        kernels.flip(x.as<uint8_t>() + begin * 4096, std::min(rows * length, end * 4096) - begin * 4096,
                     copy + begin * 4096);
      });
    else
      args.pool.parallel_for(rows, static_cast<double>(length) / 16, [&](int64_t begin, int64_t end, int) {
        for (int64_t r = begin; r < end; ++r)
          kernels.flip(x.as<uint8_t>() + r * x.pitch, length, copy + r * length);
      });
    x.data = copy;
    x.pitch = length;
    return x;
  }
};

}  // namespace edgec
