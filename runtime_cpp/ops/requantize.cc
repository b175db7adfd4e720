#include <algorithm>
#include <cmath>

#include "kernels/elementwise/convert.h"
#include "ops/quantized_bytes.h"

namespace edgec {

// Of quantized_bytes.h.
double scale_of(const NodeContext& ctx, const char* prefix) {
  return static_cast<double>(ctx.attr_float((std::string(prefix) + "_scale").c_str()));
}

int32_t zero_point_of(const NodeContext& ctx, const char* prefix) {
  return static_cast<int32_t>(ctx.attr_int((std::string(prefix) + "_zero_point").c_str()));
}

Status check_quantization(const NodeContext& ctx, const char* prefix, DType dtype) {
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

Status check_quantizations(const NodeContext& ctx, DType y, const char* first, const char* second) {
  EDGEC_TRY(check_quantization(ctx, "y", y));
  const char* prefixes[] = {first, second};
  float multiplier;
  for (int i = 0; i < 2 && prefixes[i] != nullptr; ++i) {
    EDGEC_TRY(check_quantization(ctx, prefixes[i], ctx.input(i).dtype));
    EDGEC_TRY(round_multiplier(ctx, scale_of(ctx, prefixes[i]) / scale_of(ctx, "y"), &multiplier));
  }
  return ok_status();
}

StoredBytes stored_form(const TensorType& type, int32_t zero_point) {
  StoredBytes form;
  form.flip = type.dtype == DType::kI8 ? 0x80 : 0;
  form.zero = zero_point + (type.dtype == DType::kI8 || type.excess128 ? 128 : 0);
  return form;
}

ByteRounding rounding_of(const TensorType& type, int32_t zero_point, int64_t minimum, int64_t maximum) {
  ByteRounding rounding;
  rounding.low = static_cast<float>(minimum - zero_point);
  rounding.high = static_cast<float>(maximum - zero_point);
  rounding.zero = zero_point + (type.excess128 ? 128 : 0);
  return rounding;
}

ByteRounding output_rounding(const PrepareContext& ctx) {
  const bool limited = ctx.op().find_attr("minimum") != nullptr;
  const TensorType& y = ctx.output(0);
  const bool is_u8 = y.dtype == DType::kU8 && !y.excess128;
  const int64_t least = is_u8 ? 0 : -128, greatest = is_u8 ? 255 : 127;
  const int64_t low = limited && !is_u8 ? std::max(least, ctx.attr_int("minimum")) : least;
  const int64_t high = limited && !is_u8 ? std::min(greatest, ctx.attr_int("maximum")) : greatest;
  return rounding_of(y, zero_point_of(ctx, "y"), low, high);
}

Status round_multiplier(const NodeContext& ctx, double value, float* out) {
  *out = static_cast<float>(value);
  if (value <= kGreatestMultiplier) return ok_status();
  return ctx.fail(StatusCode::kInvalidArgument, "its scales make the factor %g, expected at most 2^64",
                  value);
}

OpBuilder& quantization_attrs(OpBuilder& op, const char* prefix) {
  // The registry keeps the names.
  op.attr((std::string(prefix) + "_scale").c_str(), 1.0, "real = (q - zero_point) * scale");
  return op.attr((std::string(prefix) + "_zero_point").c_str(), 0);
}

OpBuilder& limit_attrs(OpBuilder& op) {
  return op.attr("minimum", -128, "least result: a fused relu or clip").attr("maximum", 127);
}

namespace {
// Elements that one task takes.
constexpr int64_t kBlock = 4096;

Status infer(InferContext& ctx) {
  EDGEC_TRY(ctx.want_dtype(0, {DType::kI8, DType::kU8, DType::kI16, DType::kI32}));
  const DType to = dtype_from_name(ctx.attr_string("to").c_str());
  EDGEC_TRY(check_quantizations(ctx, to, "x"));
  return ctx.set_output(0, to, ctx.input(0).shape);
}

// i16 and i32, which differ from their zero point by more than f32 holds exactly: rounded once, as
// everywhere.
void requantize_wide(DType from, const void* x, int64_t n, int32_t zero, float multiplier,
                     const ByteRounding& r, uint8_t* y) {
  for (int64_t i = 0; i < n; ++i) {
    const int64_t value =
        from == DType::kI16 ? static_cast<const int16_t*>(x)[i] : static_cast<const int32_t*>(x)[i];
    const float v = static_cast<float>(value - zero) * multiplier;
    y[i] = static_cast<uint8_t>(static_cast<int32_t>(std::nearbyint(std::min(std::max(v, r.low), r.high))) +
                                r.zero);
  }
}

Status prepare(PrepareContext& ctx) {
  float multiplier = 1;
  EDGEC_TRY(round_multiplier(ctx, scale_of(ctx, "x") / scale_of(ctx, "y"), &multiplier));
  const DType from = ctx.input(0).dtype;
  const int32_t zero = zero_point_of(ctx, "x");
  const StoredBytes form = stored_form(ctx.input(0), zero);
  const ByteRounding rounding = output_rounding(ctx);
  const QuantizedKernels& kernels = quantized_kernels(ctx.isa());
  const int64_t count = ctx.output(0).shape.elements();
  ctx.set_step(make_step("requantize", [=, &kernels](const StepArgs& args) {
    const char* x = args.inputs[0]->as<char>();
    uint8_t* y = args.outputs[0]->as<uint8_t>();
    args.pool.parallel_for((count + kBlock - 1) / kBlock, kBlock / 2, [&](int64_t begin, int64_t end, int) {
      const int64_t first = begin * kBlock, n = std::min(count, end * kBlock) - first;
      const void* source = x + first * static_cast<int64_t>(dtype_size(from));
      if (dtype_size(from) == 1)
        kernels.requantize(static_cast<const uint8_t*>(source), n, form, multiplier, rounding, y + first);
      else
        requantize_wide(from, source, n, zero, multiplier, rounding, y + first);
    });
    return ok_status();
  }));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(requantize) {
  OpBuilder op = registry.add("Requantize");
  op.doc("The same numbers with another scale, zero point and type.")
      .input("x", "i8, u8, i16 or i32")
      .output("y");
  quantization_attrs(op, "x");
  quantization_attrs(op, "y");
  limit_attrs(op);
  op.attr("to", "i8", "type of the result; u8 has the limits of its type", "i8|u8");
  op.flags(kElementwise | kRequantizes).inplace(0).infer(infer).prepare(prepare);
}

}  // namespace edgec
