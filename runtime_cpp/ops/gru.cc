#include "kernels/recurrent/recurrent.h"

namespace edgec {
namespace {

Status infer(InferContext& ctx) {
  RecurrentShape shape;
  EDGEC_TRY(infer_recurrent(ctx, 3, &shape));
  std::vector<RowActivation> unused;
  return read_activations(ctx, Isa::scalar, 2, shape.directions, &unused);
}

// Gates in the order z (update), r (reset), h (candidate):
//   z = f(.), r = f(.), c = g(x Wh + r * (h Rh + Rbh)) or, not linear before reset, g(x Wh + (r * h) Rh +
//   Rbh) h = (1 - z) * c + z * h
class GruStep final : public RecurrentStep {
 public:
  Status prepare(PrepareContext& ctx) {
    RecurrentShape shape;
    EDGEC_TRY(read_recurrent_shape(ctx, 3, &shape));
    EDGEC_TRY(read_activations(ctx, ctx.isa(), 2, shape.directions, &activations_));
    clip_ = ctx.attr_float("clip");
    linear_before_reset_ = ctx.attr_bool("linear_before_reset");
    return RecurrentStep::prepare(ctx, shape, !linear_before_reset_, linear_before_reset_, 1);
  }

 private:
  void cell(const StepArgs& args, const Row& row) const override {
    const int64_t n = s_.hidden;
    float *reset = row.z + n, *candidate = row.z + 2 * n;
    rows_.apply(rows_.add, row.z, row.xw, row.z, 2 * n);
    rows_.limit(row.z, clip_, 2 * n);
    gate(row).apply(row.z, 2 * n);
    if (linear_before_reset_) {
      rows_.apply(rows_.mul, candidate, reset, candidate, n);
      finish_cell(args, row);
    } else {
      rows_.apply(rows_.mul, reset, row.h, row.extra, n);
    }
  }
  void finish_cell(const StepArgs&, const Row& row) const override {
    const int64_t n = s_.hidden;
    float *update = row.z, *candidate = row.z + 2 * n;
    rows_.apply(rows_.add, candidate, row.xw + 2 * n, candidate, n);
    rows_.limit(candidate, clip_, n);
    activations_[static_cast<size_t>(2 * row.direction + 1)].apply(candidate, n);
    // (1 - z) c + z h = c + z (h - c)
    rows_.apply(rows_.sub, row.h, candidate, row.h, n);
    rows_.apply(rows_.mul, row.h, update, row.h, n);
    rows_.apply(rows_.add, row.h, candidate, row.h, n);
  }
  const RowActivation& gate(const Row& row) const {
    return activations_[static_cast<size_t>(2 * row.direction)];
  }

  std::vector<RowActivation> activations_;
  float clip_ = 0;
  bool linear_before_reset_ = false;
};

Status prepare(PrepareContext& ctx) {
  auto step = std::make_unique<GruStep>();
  EDGEC_TRY(step->prepare(ctx));
  ctx.set_step(std::move(step));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(gru) {
  OpBuilder op = registry.add("GRU");
  op.doc("The gated recurrent unit of ONNX over time; gates in the order z, r, h.")
      .input("x", "f32[steps, batch, inputs]; layout 1: [batch, steps, inputs]")
      .input("W", "f32[directions, 3 hidden, inputs]")
      .input("R", "f32[directions, 3 hidden, hidden]")
      .optional("B", "f32[directions, 6 hidden]: of W, then of R")
      .optional("sequence_lens", "i32[batch]; default: all steps")
      .optional("initial_h", "f32[directions, batch, hidden]; layout 1: [batch, directions, hidden]")
      .optional_output("Y", "f32[steps, directions, batch, hidden]")
      .optional_output("Y_h", "the last state, like initial_h");
  add_recurrent_schema(op, "Sigmoid,Tanh")
      .attr("linear_before_reset", 0, "1: the reset gate scales the product with R, not the state")
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
