#include "kernels/recurrent/recurrent.h"

namespace edgec {
namespace {

Status infer(InferContext& ctx) {
  RecurrentShape shape;
  EDGEC_TRY(infer_recurrent(ctx, 1, &shape));
  std::vector<RowActivation> unused;
  return read_activations(ctx, Isa::scalar, 1, shape.directions, &unused);
}

// h = f(x W + h R + biases)
class RnnStep final : public RecurrentStep {
 public:
  Status prepare(PrepareContext& ctx) {
    RecurrentShape shape;
    EDGEC_TRY(read_recurrent_shape(ctx, 1, &shape));
    EDGEC_TRY(read_activations(ctx, ctx.isa(), 1, shape.directions, &activations_));
    clip_ = ctx.attr_float("clip");
    return RecurrentStep::prepare(ctx, shape, false, false, 0);
  }

 private:
  void cell(const StepArgs&, const Row& row) const override {
    rows_.apply(rows_.add, row.z, row.xw, row.h, s_.hidden);
    rows_.limit(row.h, clip_, s_.hidden);
    activations_[static_cast<size_t>(row.direction)].apply(row.h, s_.hidden);
  }

  std::vector<RowActivation> activations_;
  float clip_ = 0;
};

Status prepare(PrepareContext& ctx) {
  auto step = std::make_unique<RnnStep>();
  EDGEC_TRY(step->prepare(ctx));
  ctx.set_step(std::move(step));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(rnn) {
  OpBuilder op = registry.add("RNN");
  op.doc("The simple recurrent layer of ONNX: h = f(x W + h R + biases) over time.")
      .input("x", "f32[steps, batch, inputs]; layout 1: [batch, steps, inputs]")
      .input("W", "f32[directions, hidden, inputs]")
      .input("R", "f32[directions, hidden, hidden]")
      .optional("B", "f32[directions, 2 hidden]: of W, then of R")
      .optional("sequence_lens", "i32[batch]; default: all steps")
      .optional("initial_h", "f32[directions, batch, hidden]; layout 1: [batch, directions, hidden]")
      .optional_output("Y", "f32[steps, directions, batch, hidden]")
      .optional_output("Y_h", "the last state, like initial_h");
  add_recurrent_schema(op, "Tanh").infer(infer).prepare(prepare);
}

}  // namespace edgec
