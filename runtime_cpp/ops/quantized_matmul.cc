#include <memory>

#include "ops/matmul_shapes.h"
#include "ops/quantized_dot.h"

namespace edgec {
namespace {

// PrepareContext has no broadcast(): the result's shape is known then, and inference has checked it.
struct Broadcaster : InferContext {
  explicit Broadcaster(const NodeContext& ctx) : InferContext({}, 0, nullptr, nullptr, 0, nullptr) {
    static_cast<NodeContext&>(*this) = ctx;
  }
};

Status infer(InferContext& ctx) {
  MatMulShapes s;
  EDGEC_TRY(matmul_shapes(ctx, ctx.input(kQuantizedX).shape, ctx.input(kQuantizedWeight).shape, &s));
  const int64_t zero = ctx.attr_int("b_zero_point");
  if (zero < -128 || zero > 127)
    return ctx.fail(StatusCode::kInvalidArgument, "attribute 'b_zero_point' is %lld, expected -128 to 127",
                    static_cast<long long>(zero));
  return infer_quantized_product(ctx, "a", s.n, s.out);
}

struct PlainStep final : Step {
  MatMulShapes s;
  ProductEpilogue epilogue;
  StoredBytes a_form, b_form;
  std::vector<int64_t> a_index, b_index;

  Status run(const StepArgs& args) override {
    const TensorView &a = *args.inputs[kQuantizedX], &b = *args.inputs[kQuantizedWeight],
                     &y = *args.outputs[0];
    const TensorView* residual = args.inputs[kQuantizedResidual];
    const int64_t bk = s.b_vector ? 1 : s.transpose_b ? 1 : b.pitch, bn = s.transpose_b ? b.pitch : 1;
    const int64_t a_matrix = s.a_vector ? 0 : s.m * a.pitch;
    const int64_t b_matrix = s.b_vector ? 0 : (s.transpose_b ? s.n : s.k) * b.pitch;
    const auto row_of = [&](const TensorView& t, int64_t i) {
      return s.b_vector ? i / s.m * t.pitch + i % s.m : i * t.pitch;
    };
    for (int64_t i = 0; i < s.batches() * s.m; ++i) {
      const size_t batch = static_cast<size_t>(i / s.m);
      const uint8_t* row = a.as<uint8_t>() + a_index[batch] * a_matrix + i % s.m * a.pitch;
      const uint8_t* columns = b.as<uint8_t>() + b_index[batch] * b_matrix;
      for (int64_t n = 0; n < s.n; ++n) {
        uint32_t sum = 0;
        for (int64_t k = 0; k < s.k; ++k)
          sum += static_cast<uint32_t>(((row[k] ^ a_form.flip) - a_form.zero) *
                                       ((columns[k * bk + n * bn] ^ b_form.flip) - b_form.zero));
        epilogue.store(sum, n, residual ? residual->as<uint8_t>() + row_of(*residual, i) + n : nullptr, y,
                       row_of(y, i) + n);
      }
    }
    return ok_status();
  }
  const char* kernel_name() const override { return "quantized_matmul_plain"; }
};

Status prepare(PrepareContext& ctx) {
  auto step = std::make_unique<PlainStep>();
  EDGEC_TRY(matmul_shapes(Broadcaster(ctx), ctx.input(kQuantizedX).shape, ctx.input(kQuantizedWeight).shape,
                          &step->s));
  EDGEC_TRY(want_constants(ctx, false));
  EDGEC_TRY(step->epilogue.set(ctx, "a", step->s.n));
  step->a_form = stored_form(ctx.input(kQuantizedX), zero_point_of(ctx, "a"));
  step->b_form = stored_form(ctx.input(kQuantizedWeight), zero_point_of(ctx, "b"));
  step->a_index = batch_indices(step->s.batch, step->s.a_batch);
  step->b_index = batch_indices(step->s.batch, step->s.b_batch);
  ctx.set_step(std::move(step));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(quantized_matmul) {
  OpBuilder op = registry.add("QuantizedMatMul");
  op.doc(
        "MatMul of integers with 32-bit sums, requantised in the same pass (docs/numerics.md). b is a weight "
        "or "
        "another activation.")
      .input("a", "i8 [...,M,K]")
      .input("b", "i8 [...,K,N] ([...,N,K] with transpose_b)")
      .input("b_scale", "f32 [N] or [1]; a constant")
      .optional("bias", "i32 [N], scale a_scale * b_scale; a constant")
      .optional("residual", "i8 like the output, added before the limits")
      .output("y", "[...,M,N]")
      .attr("transpose_b", 0, "1: swap the last two dimensions of b first")
      .attr("b_zero_point", 0, "not 0: b is an activation");
  declare_quantized_product(op, "a", true);
  op.flags(kPitchedInputs | kPitchedOutputs | kRequantizes)
      .inplace(kQuantizedResidual)
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
