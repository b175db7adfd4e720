#include <algorithm>
#include <cstring>

#include "kernels/recurrent/recurrent.h"

namespace edgec {
namespace {

enum { kInitialC = kInitialH + 1, kPeepholes };

Status infer(InferContext& ctx) {
  RecurrentShape s;
  EDGEC_TRY(infer_recurrent(ctx, 4, &s));
  EDGEC_TRY(check_recurrent_input(ctx, kInitialC, "initial_c", recurrent_state_shape(s)));
  EDGEC_TRY(check_recurrent_input(ctx, kPeepholes, "P", Shape{s.directions, 3 * s.hidden}));
  EDGEC_TRY(ctx.set_output(2, DType::kF32, recurrent_state_shape(s)));
  std::vector<RowActivation> unused;
  return read_activations(ctx, Isa::scalar, 3, s.directions, &unused);
}

// Gates in the order i, o, f, c:
//   i = f(. + Pi * C), f = f(. + Pf * C) or 1 - i, c = g(.), C = f * C + i * c, o = f(. + Po * C), h = o *
//   h(C)
class LstmStep final : public RecurrentStep {
 public:
  Status prepare(PrepareContext& ctx) {
    RecurrentShape shape;
    EDGEC_TRY(read_recurrent_shape(ctx, 4, &shape));
    EDGEC_TRY(read_activations(ctx, ctx.isa(), 3, shape.directions, &activations_));
    clip_ = ctx.attr_float("clip");
    cell_clip_ = ctx.attr_float("cell_clip");
    input_forget_ = ctx.attr_bool("input_forget");
    return RecurrentStep::prepare(ctx, shape, false, false, 1);
  }

 private:
  void start_row(const StepArgs& args, const Row& row) const override {
    const TensorView* initial = args.inputs[kInitialC];
    if (initial != nullptr)
      std::memcpy(row.extra, initial->as<float>() + state_offset(row.direction, row.batch), row_bytes());
    else
      std::fill(row.extra, row.extra + s_.hidden, 0.0f);
  }
  void end_row(const StepArgs& args, const Row& row) const override {
    if (args.outputs[2] != nullptr)
      std::memcpy(args.outputs[2]->as<float>() + state_offset(row.direction, row.batch), row.extra,
                  row_bytes());
  }

  void cell(const StepArgs& args, const Row& row) const override {
    const int64_t n = s_.hidden;
    float *input = row.z, *output = row.z + n, *forget = row.z + 2 * n, *candidate = row.z + 3 * n;
    float* c = row.extra;
    const RowActivation* f = &activations_[static_cast<size_t>(3 * row.direction)];
    rows_.apply(rows_.add, row.z, row.xw, row.z, 4 * n);
    const float* peephole = args.inputs[kPeepholes] != nullptr
                                ? args.inputs[kPeepholes]->as<float>() + row.direction * 3 * n
                                : nullptr;
    if (peephole != nullptr) {
      look(peephole, c, input, row.xw);
      look(peephole + 2 * n, c, forget, row.xw);
    }
    if (peephole == nullptr && !input_forget_) {
      rows_.limit(row.z, clip_, 4 * n);
      f[0].apply(row.z, 3 * n);
    } else {
      rows_.limit(input, clip_, n);
      rows_.limit(forget, clip_, 2 * n);
      f[0].apply(input, n);
      f[0].apply(forget, n);
      if (input_forget_) {
        const float one = 1;
        ElementwiseArgs a;
        a.a = &one;
        a.a_step = 0;
        a.b = input;
        a.y = forget;
        a.columns = n;
        rows_.sub(a);
      }
    }
    f[1].apply(candidate, n);
    rows_.apply(rows_.mul, c, forget, c, n);
    rows_.apply(rows_.mul, candidate, input, candidate, n);
    rows_.apply(rows_.add, c, candidate, c, n);
    rows_.limit(c, cell_clip_, n);
    if (peephole != nullptr || input_forget_) {
      if (peephole != nullptr) look(peephole + n, c, output, row.xw);
      rows_.limit(output, clip_, n);
      f[0].apply(output, n);
    }
    std::memcpy(row.h, c, row_bytes());
    f[2].apply(row.h, n);
    rows_.apply(rows_.mul, row.h, output, row.h, n);
  }
  // gate += peephole * c
  void look(const float* peephole, const float* c, float* gate, float* temporary) const {
    rows_.apply(rows_.mul, peephole, c, temporary, s_.hidden);
    rows_.apply(rows_.add, gate, temporary, gate, s_.hidden);
  }
  size_t row_bytes() const { return static_cast<size_t>(s_.hidden) * sizeof(float); }

  std::vector<RowActivation> activations_;
  float clip_ = 0, cell_clip_ = 0;
  bool input_forget_ = false;
};

Status prepare(PrepareContext& ctx) {
  auto step = std::make_unique<LstmStep>();
  EDGEC_TRY(step->prepare(ctx));
  ctx.set_step(std::move(step));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(lstm) {
  OpBuilder op = registry.add("LSTM");
  op.doc("The long short-term memory layer of ONNX over time; gates in the order i, o, f, c.")
      .input("x", "f32[steps, batch, inputs]; layout 1: [batch, steps, inputs]")
      .input("W", "f32[directions, 4 hidden, inputs]")
      .input("R", "f32[directions, 4 hidden, hidden]")
      .optional("B", "f32[directions, 8 hidden]: of W, then of R")
      .optional("sequence_lens", "i32[batch]; default: all steps")
      .optional("initial_h", "f32[directions, batch, hidden]; layout 1: [batch, directions, hidden]")
      .optional("initial_c", "like initial_h")
      .optional("P", "f32[directions, 3 hidden]: peepholes i, o, f")
      .optional_output("Y", "f32[steps, directions, batch, hidden]")
      .optional_output("Y_h", "the last state, like initial_h")
      .optional_output("Y_c", "the last cell state, like initial_h");
  add_recurrent_schema(op, "Sigmoid,Tanh,Tanh")
      .attr("input_forget", 0, "1: the forget gate is 1 - the input gate")
      .attr("cell_clip", 0.0, "limit of the magnitude of the cell state (TensorFlow Lite); 0: none")
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
