// What LSTM, GRU and RNN share: shapes and checks, packed weights, the product of all time steps with W,
// the loop over time and directions, and lengths of sequences.
#pragma once
#include <string>
#include <vector>

#include "core/op.h"
#include "kernels/dot/dot.h"
#include "kernels/elementwise/elementwise.h"

namespace edgec {

// Inputs that all three have at the same places.
enum RecurrentInput { kX, kW, kR, kB, kSequenceLens, kInitialH };

struct RecurrentShape {
  int64_t steps, batch, inputs, hidden;
  int directions, gates;
  bool batch_major;  // layout 1: x is [batch, steps, inputs]
  bool reverse_only;
  int64_t width() const { return gates * hidden; }
  bool reversed(int direction) const { return reverse_only || direction == 1; }
};

// Schema, inference and attributes.
OpBuilder& add_recurrent_schema(OpBuilder& op, const char* default_activations);
// Checks x, W, R, B, sequence_lens, initial_h and sets Y (output 0) and Y_h (output 1).
Status infer_recurrent(InferContext& ctx, int gates, RecurrentShape* shape);
Status check_recurrent_input(const InferContext& ctx, int input, const char* name, const Shape& expected);
Shape recurrent_state_shape(const RecurrentShape& shape);  // of initial_h, Y_h, initial_c, Y_c
Status read_recurrent_shape(const NodeContext& ctx, int gates, RecurrentShape* shape);

// An activation of ONNX's list on a row of f32, as up to three elementwise kernels.
class RowActivation {
 public:
  void apply(float* x, int64_t n) const;

 private:
  friend Status read_activations(const NodeContext&, Isa, int, int, std::vector<RowActivation>*);
  struct Stage {
    ElementwiseKernel kernel;
    bool binary;  // the second operand is `constant`
    float constant;
    double alpha, beta;
  };
  int count_ = 0;
  Stage stages_[3];
};
// The `activations` attribute: `per_direction` for each direction, in ONNX's order.
Status read_activations(const NodeContext& ctx, Isa isa, int per_direction, int directions,
                        std::vector<RowActivation>* out);

// Arithmetic on rows of f32 that lie anywhere.
struct RowArithmetic {
  ElementwiseKernel add, mul, sub, clip;
  explicit RowArithmetic(Isa isa);
  static void apply(ElementwiseKernel kernel, const float* a, const float* b, float* y, int64_t n);
  void limit(float* x, float magnitude, int64_t n) const;  // 0: not at all
};

class RecurrentStep : public Step {
 public:
  // split: the last gate has a product of its own (GRU with linear_before_reset = 0).
  // recurrent_bias_apart: of the last gate, whose bias in B's second half is added to the recurrent product.
  // rows_of_scratch: rows of `hidden` floats per batch element that the operator wants beside z and h.
  Status prepare(PrepareContext& ctx, const RecurrentShape& shape, bool split, bool recurrent_bias_apart,
                 int rows_of_scratch);
  Status run(const StepArgs& args) override;
  const char* kernel_name() const override { return input_.row->name; }

 protected:
  struct Row {
    int direction;
    int64_t batch;
    float* z;      // product of the state, [gates * hidden]
    float* xw;     // product of the input; may be overwritten
    float* h;      // state, becomes the new one
    float* extra;  // rows_of_scratch * hidden
  };
  // Called for every row of a step after z = h R^T; with split, z lacks the last gate.
  virtual void cell(const StepArgs& args, const Row& row) const = 0;
  // split only: after cell(), z's last gate holds the product of the first extra row.
  virtual void finish_cell(const StepArgs& args, const Row& row) const { (void)args, (void)row; }
  virtual void start_row(const StepArgs& args, const Row& row) const { (void)args, (void)row; }
  virtual void end_row(const StepArgs& args, const Row& row) const { (void)args, (void)row; }
  // Element offset of a row of initial_h, Y_h and their like.
  int64_t state_offset(int direction, int64_t batch) const {
    return (s_.batch_major ? batch * s_.directions + direction : direction * s_.batch + batch) * s_.hidden;
  }

  RecurrentShape s_;
  RowArithmetic rows_{Isa::scalar};

 private:
  void pack(int direction, const float* w, const float* r, const float* b, float* bias, float* w_packed,
            float* r_packed) const;
  void multiply(const StepArgs& args, const DotProduct& product, const float* a, int64_t a_pitch,
                const float* packed, float* c, int64_t c_pitch) const;
  Row row_at(const StepArgs& args, int direction, int64_t batch, int64_t step, int64_t* time) const;
  int64_t length(const StepArgs& args, int64_t batch) const;
  template <class T>
  T* region(const StepArgs& args, size_t offset) const {
    return reinterpret_cast<T*>(args.scratch + offset);
  }

  bool split_ = false, bias_apart_ = false;
  int rows_of_scratch_ = 0;
  const DotKernels* kernels_ = nullptr;
  DotProduct input_, state_, last_;  // last_: split only
  const float* w_packed_ = nullptr;  // all directions; null: packed at each run
  const float* r_packed_ = nullptr;
  size_t xw_ = 0, z_ = 0, h_ = 0, extra_ = 0, bias_ = 0, w_run_ = 0, r_run_ = 0, thread_ = 0,
         thread_bytes_ = 0;
  std::string node_;
};

}  // namespace edgec
