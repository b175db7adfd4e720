#include <algorithm>
#include <cmath>

#include "kernels/elementwise/convert.h"
#include "ops/quantized_bytes.h"

namespace edgec {
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
