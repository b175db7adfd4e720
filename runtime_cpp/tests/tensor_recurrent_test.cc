// LSTM, GRU and RNN: results do not depend on threads nor on when weights are packed, and every instruction
// set computes what the scalar one does. Their values are checked in tests/ops/test_recurrent.py.
#include <algorithm>
#include <limits>

#include "harness.h"
#include "support/op_runner.h"

using namespace edgec;
using namespace edgec::test;

namespace {

OpRun layer(const char* op, int gates, int64_t steps, int64_t batch, int64_t inputs, int64_t hidden,
            Random& random) {
  OpRun run;
  run.op = op;
  run.attrs = {{"hidden_size", hidden}, {"direction", "bidirectional"}};
  const auto add = [&](Shape shape, bool constant) {
    OpInput input;
    input.shape = shape;
    input.constant = constant;
    input.values = random.floats(static_cast<size_t>(shape.elements()), -0.5f, 0.5f);
    run.inputs.push_back(input);
  };
  add({steps, batch, inputs}, false);
  add({2, gates * hidden, inputs}, true);
  add({2, gates * hidden, hidden}, true);
  add({2, 2 * gates * hidden}, true);
  return run;
}

struct Op {
  const char* name;
  int gates;
};
constexpr Op kOps[] = {{"LSTM", 4}, {"GRU", 3}, {"RNN", 1}};

}  // namespace

TEST(recurrent_is_the_same_for_any_threads_and_packing) {
  Random random(1);
  for (const Op& op : kOps) {
    for (int64_t hidden : {1, 7, 16, 33, 130}) {
      for (int64_t batch : {1, 5}) {
        OpRun run = layer(op.name, op.gates, 6, batch, 19, hidden, random);
        EXPECT_OK(run.run());
        const std::vector<float> first = run.out;
        EXPECT(!first.empty());
        run.threads = 3;
        EXPECT_OK(run.run());
        expect_same_bytes(run.out.data(), first.data(), first.size(), op.name, __FILE__, __LINE__);
        for (OpInput& input : run.inputs) input.constant = false;
        EXPECT_OK(run.run());
        expect_same_bytes(run.out.data(), first.data(), first.size(), op.name, __FILE__, __LINE__);
      }
    }
  }
}

TEST(recurrent_agrees_between_instruction_sets) {
  Random random(2);
  for (const Op& op : kOps) {
    for (int64_t hidden : {3, 32, 65}) {
      OpRun run = layer(op.name, op.gates, 4, 3, 21, hidden, random);
      run.isa = Isa::scalar;
      EXPECT_OK(run.run());
      const std::vector<float> scalar = run.out;
      for (Isa isa : supported_isas()) {
        run.isa = isa;
        EXPECT_OK(run.run());
        // Each step adds the rounding of its products to that of the state before, which the gates keep
        // below 1.
        const double allowed =
            2 * 4 * (21 + static_cast<double>(hidden) + 8) * std::numeric_limits<float>::epsilon();
        expect_close(run.out.data(), scalar.data(), scalar.size(), allowed, isa_name(isa), __FILE__,
                     __LINE__);
      }
    }
  }
}

TEST(recurrent_refuses_sizes_that_overflow) {
  OpRun run;
  run.op = "LSTM";
  run.attrs = {{"hidden_size", int64_t{1} << 30}};
  OpInput x;
  x.shape = {int64_t{1} << 28, int64_t{1} << 28, 0};
  run.inputs.push_back(x);
  x.shape = {1, int64_t{4} << 30, 0};
  run.inputs.push_back(x);
  x.shape = {1, int64_t{4} << 30, int64_t{1} << 30};
  run.inputs.push_back(x);
  TensorType type;
  EXPECT(!run.infer(&type).ok());
}
