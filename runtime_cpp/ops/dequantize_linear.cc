#include <algorithm>

#include "core/op.h"
#include "kernels/elementwise/convert.h"
#include "ops/quantization_axis.h"
#include "ops/quantized_bytes.h"

namespace edgec {
namespace {

Status infer(InferContext& ctx) {
  EDGEC_TRY(ctx.want_dtype(1, {DType::kF32, DType::kF16, DType::kBF16, DType::kF64, DType::kF8E8M0}));
  QuantizationAxis axis;
  EDGEC_TRY(quantization_axis(ctx, &axis));
  const std::string& to = ctx.attr_string("to");
  const DType wanted = to.empty() ? ctx.input(1).dtype : dtype_from_name(to.c_str());
  if (wanted == DType::kNone || is_small_float(wanted))
    return ctx.fail(StatusCode::kInvalidArgument, "attribute 'to' is '%s', expected a float type",
                    to.c_str());
  return ctx.set_output(0, wanted, ctx.input(0).shape);
}

struct Dequantize {
  QuantizationAxis axis;
  DType from, to;
  double stored_shift;  // 128 where i8 is stored as u8

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
            double values[kQuantizationChunk];  // i32 minus its zero point is exact
            load_as(from, x.as<const char>() + static_cast<size_t>(at) * dtype_size(from), n, values);
            const int64_t first = axis.first(r) + start * axis.step();
            for (int64_t i = 0; i < n; ++i) {
              const int64_t k = first + i * axis.step();
              const double offset =
                  (zero == nullptr ? 0.0 : static_cast<double>(zero_point_value(*zero, k))) + stored_shift;
              values[i] =
                  static_cast<double>(static_cast<float>(values[i] - offset) * element_as_float(scale, k));
            }
            store_as(to, values, n, y.as<char>() + static_cast<size_t>(at) * dtype_size(to));
          }
        });
    return ok_status();
  }
};

// 8 bits with one scale to f32.
Status prepare_bytes(PrepareContext& ctx, const QuantizedKernels& kernels) {
  const TensorType x = ctx.input(0);
  const int64_t count = x.shape.elements();
  ctx.set_step(make_step("dequantize_bytes", [x, count, &kernels](const StepArgs& args) {
    const float scale = element_as_float(*args.inputs[1], 0);
    const auto zero =
        args.inputs[2] == nullptr ? 0 : static_cast<int32_t>(zero_point_value(*args.inputs[2], 0));
    const StoredBytes form = stored_form(x, zero);
    constexpr int64_t kBlock = 4096;
    args.pool.parallel_for((count + kBlock - 1) / kBlock, kBlock / 2, [&](int64_t begin, int64_t end, int) {
      const int64_t first = begin * kBlock;
      kernels.dequantize(args.inputs[0]->as<const uint8_t>() + first, std::min(count, end * kBlock) - first,
                         form, scale, args.outputs[0]->as<float>() + first);
    });
    return ok_status();
  }));
  return ok_status();
}

Status prepare(PrepareContext& ctx) {
  Dequantize dequantize{};
  EDGEC_TRY(quantization_axis(ctx, &dequantize.axis));
  dequantize.from = ctx.input(0).dtype;
  dequantize.to = ctx.output(0).dtype;
  if (dequantize.axis.block == 0 && dequantize.to == DType::kF32 &&
      (dequantize.from == DType::kI8 || dequantize.from == DType::kU8))
    return prepare_bytes(ctx, quantized_kernels(ctx.isa()));
  dequantize.stored_shift = ctx.input(0).excess128 ? 128 : 0;
  ctx.set_step(make_step("dequantize_linear", dequantize));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(dequantize_linear) {
  registry.add("DequantizeLinear")
      .doc("y = f32(x - zero_point) * scale. docs/numerics.md.")
      .input("x", "any integer or small float type")
      .input("scale", "one value, one per index of the axis, or one per block")
      .optional("zero_point", "same shape as scale")
      .output("y")
      .attr("to", "", "output type; empty: that of the scale")
      .attr("axis", 1, "of the scales")
      .attr("block_size", 0, "elements of the axis that share a scale; 0: not blocked")
      .flags(kRequantizes)
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
