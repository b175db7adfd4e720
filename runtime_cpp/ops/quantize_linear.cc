#include <algorithm>
#include <cmath>

#include "core/op.h"
#include "kernels/elementwise/convert.h"
#include "ops/quantization_axis.h"
#include "ops/quantized_bytes.h"

namespace edgec {
namespace {

struct Range {
  float low, high;
};

bool integer_range(DType dtype, Range* range) {
  switch (dtype) {
    case DType::kI8:
      *range = {-128, 127};
      return true;
    case DType::kU8:
      *range = {0, 255};
      return true;
    case DType::kI16:
      *range = {-32768, 32767};
      return true;
    case DType::kU16:
      *range = {0, 65535};
      return true;
    case DType::kI4:
      *range = {-8, 7};
      return true;
    case DType::kU4:
      *range = {0, 15};
      return true;
    case DType::kI2:
      *range = {-2, 1};
      return true;
    case DType::kU2:
      *range = {0, 3};
      return true;
    default:
      return false;
  }
}

DType output_type(const NodeContext& ctx) {
  if (ctx.has_input(2)) return ctx.input(2).dtype;
  return dtype_from_name(ctx.attr_string("to").c_str());
}

Status infer(InferContext& ctx) {
  const DType to = output_type(ctx);
  Range range;
  if (!integer_range(to, &range) && !is_small_float(to))
    return ctx.fail(StatusCode::kUnsupported, "cannot quantize to %s", dtype_name(to));
  EDGEC_TRY(ctx.want_dtype(0, {DType::kF32, DType::kF16, DType::kBF16, DType::kF64, DType::kI32}));
  EDGEC_TRY(
      ctx.want_dtype(1, {DType::kF32, DType::kF16, DType::kBF16, DType::kF64, DType::kI32, DType::kF8E8M0}));
  QuantizationAxis axis;
  EDGEC_TRY(quantization_axis(ctx, &axis));
  return ctx.set_output(0, to, ctx.input(0).shape);
}

struct Quantize {
  QuantizationAxis axis;
  DType from, to;
  bool is_integer;
  float stored_shift;  // 128 where i8 is stored as u8
  Range range;
  SmallFloatRules rules;

  Status operator()(const StepArgs& args) const {
    const TensorView &x = *args.inputs[0], &scale = *args.inputs[1], &y = *args.outputs[0];
    const TensorView* zero = args.inputs[2];
    const int64_t chunks = (axis.inner + kQuantizationChunk - 1) / kQuantizationChunk;
    args.pool.parallel_for(
        axis.runs() * chunks, 8 * std::min(axis.inner, kQuantizationChunk),
        [&](int64_t begin, int64_t end, int) {
          for (int64_t task = begin; task < end; ++task) {
            const int64_t r = task / chunks, start = task % chunks * kQuantizationChunk;
            const int64_t n = std::min(kQuantizationChunk, axis.inner - start), at = r * axis.inner + start;
            float values[kQuantizationChunk];
            load_as(from, x.as<const char>() + static_cast<size_t>(at) * dtype_size(from), n, values);
            const int64_t first = axis.first(r) + start * axis.step();
            for (int64_t i = 0; i < n; ++i) {
              const int64_t k = first + i * axis.step();
              const float divided = values[i] / element_as_float(scale, k);
              const float offset = zero == nullptr ? 0.0f : zero_point_value(*zero, k);
              // NaN becomes the zero point.
              values[i] =
                  !is_integer ? divided
                  : divided != divided
                      ? offset + stored_shift
                      : std::clamp(
                            std::nearbyint(std::clamp(divided, -1073741824.0f, 1073741824.0f)) + offset,
                            range.low, range.high) +
                            stored_shift;
            }
            store_as(to, values, n, y.as<char>() + static_cast<size_t>(at) * dtype_size(to), rules);
          }
        });
    return ok_status();
  }
};

// f32 to 8 bits with one scale: what every network with quantized inputs does first.
Status prepare_bytes(PrepareContext& ctx, const QuantizedKernels& kernels) {
  const TensorType y = ctx.output(0);
  const int64_t count = y.shape.elements();
  ctx.set_step(make_step("quantize_bytes", [y, count, &kernels](const StepArgs& args) {
    const float* x = args.inputs[0]->as<const float>();
    const float scale = element_as_float(*args.inputs[1], 0);
    const auto zero =
        args.inputs[2] == nullptr ? 0 : static_cast<int32_t>(zero_point_value(*args.inputs[2], 0));
    const bool is_u8 = y.dtype == DType::kU8 && !y.excess128;
    const ByteRounding rounding = rounding_of(y, zero, is_u8 ? 0 : -128, is_u8 ? 255 : 127);
    constexpr int64_t kBlock = 4096;
    args.pool.parallel_for((count + kBlock - 1) / kBlock, kBlock, [&](int64_t begin, int64_t end, int) {
      const int64_t first = begin * kBlock;
      kernels.quantize(x + first, std::min(count, end * kBlock) - first, scale, rounding,
                       args.outputs[0]->as<uint8_t>() + first);
    });
    return ok_status();
  }));
  return ok_status();
}

Status prepare(PrepareContext& ctx) {
  Quantize quantize{};
  EDGEC_TRY(quantization_axis(ctx, &quantize.axis));
  quantize.from = ctx.input(0).dtype;
  quantize.to = ctx.output(0).dtype;
  const bool excess128 = ctx.output(0).excess128;
  if (quantize.axis.block == 0 && quantize.from == DType::kF32 && dtype_size(quantize.to) == 1 &&
      (quantize.to == DType::kI8 || quantize.to == DType::kU8))
    return prepare_bytes(ctx, quantized_kernels(ctx.isa()));
  quantize.is_integer = integer_range(excess128 ? DType::kI8 : quantize.to, &quantize.range);
  quantize.stored_shift = excess128 ? 128 : 0;
  quantize.rules.saturate = ctx.attr_bool("saturate");
  ctx.set_step(make_step("quantize_linear", quantize));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(quantize_linear) {
  registry.add("QuantizeLinear")
      .doc(
          "y = clamp(rne(x / scale) + zero_point): integers; small floats are x / scale, rounded. "
          "docs/numerics.md.")
      .input("x", "f32, f16, bf16, f64 or i32")
      .input("scale", "one value, one per index of the axis, or one per block")
      .optional("zero_point", "same shape as scale; its type is the output's")
      .output("y")
      .attr("to", "i8", "output type when there is no zero_point")
      .attr("axis", 1, "of the scales")
      .attr("block_size", 0, "elements of the axis that share a scale; 0: not blocked")
      .attr("saturate", 1, "small floats: too large values become the largest finite one")
      .flags(kRequantizes)
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
