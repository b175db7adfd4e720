// MatMul against a naive loop in double precision.
#include "core/session.h"
#include "harness.h"
#include "ops/matmul_shapes.h"
#include "support/op_runner.h"

using namespace edgec;
using namespace edgec::test;

namespace {

struct Case {
  Shape a, b;
  bool ta = false, tb = false, constant = false, bias = false, residual = false, after = false;
  const char* activation = "none";
  int64_t in_pitch = 0, out_pitch = 0;
  std::string text() const {
    return "a " + a.to_string() + (ta ? "T" : "") + " b " + b.to_string() + (tb ? "T" : "") +
           (constant ? " constant" : "") + (bias ? " bias" : "") + (residual ? " residual" : "") +
           (after ? " after " : " ") + activation + " pitch +" + std::to_string(in_pitch) + "+" +
           std::to_string(out_pitch);
  }
};

std::vector<float> reference(const Case& t, const OpRun& run, double* k_out) {
  const std::vector<float>&a = run.inputs[0].values, &b = run.inputs[1].values;
  const bool av = t.a.rank() == 1, bv = t.b.rank() == 1, ta = t.ta && !av, tb = t.tb && !bv;
  const int64_t m = av ? 1 : t.a[t.a.rank() - (ta ? 1 : 2)], k = av ? t.a[0] : t.a[t.a.rank() - (ta ? 2 : 1)];
  const int64_t n = bv ? 1 : t.b[t.b.rank() - (tb ? 2 : 1)];
  const Shape& out = run.out_shape;
  const int kept = out.rank() - !av - !bv;
  const Shape batch(out.data(), kept), ab(t.a.data(), av ? 0 : t.a.rank() - 2),
      bb(t.b.data(), bv ? 0 : t.b.rank() - 2);
  const std::vector<int64_t> ai = batch_indices(batch, ab), bi = batch_indices(batch, bb);
  *k_out = static_cast<double>(k);
  std::vector<float> y;
  for (int64_t p = 0; p < batch.elements(); ++p)
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) {
        double sum = t.bias ? run.inputs[2].values[static_cast<size_t>(j)] : 0;
        for (int64_t l = 0; l < k; ++l)
          sum += double(a[static_cast<size_t>(ai[size_t(p)] * m * k + (ta ? l * m + i : i * k + l))]) *
                 b[static_cast<size_t>(bi[size_t(p)] * k * n + (tb ? j * k + l : l * n + j))];
        const double residual = t.residual ? run.inputs[3].values[y.size()] : 0;
        if (!t.after) sum += residual;
        if (std::string(t.activation) == "relu") sum = std::max(sum, 0.0);
        if (std::string(t.activation) == "tanh") sum = std::tanh(sum);
        if (t.after) sum += residual;
        y.push_back(static_cast<float>(sum));
      }
  return y;
}

void check(const Case& t, Isa isa, Random& random) {
  OpRun run;
  run.op = "MatMul";
  run.isa = isa;
  run.attrs = {{"transpose_a", t.ta ? 1 : 0},
               {"transpose_b", t.tb ? 1 : 0},
               {"residual_mode", t.after ? "after" : "before"},
               {"activation", t.activation}};
  run.extra_output_pitch = t.out_pitch;
  auto input = [&](const Shape& shape, bool constant) {
    OpInput i;
    i.shape = shape;
    i.values = random.floats(static_cast<size_t>(shape.elements()));
    i.constant = constant;
    i.extra_pitch = t.in_pitch;
    run.inputs.push_back(i);
  };
  input(t.a, false);
  input(t.b, t.constant);
  TensorType type;
  const std::string what = t.text() + " " + isa_name(isa);
  const Status status = run.infer(&type);
  expect_ok(status, what.c_str(), __FILE__, __LINE__);
  if (!status.ok()) return;
  const int64_t n = t.b.rank() == 1 ? 1 : t.b[t.b.rank() - (t.tb ? 2 : 1)];
  input({n}, t.constant);
  run.inputs[2].absent = !t.bias;
  input(type.shape, false);
  run.inputs[3].absent = !t.residual;
  const Status ran = run.run();
  expect_ok(ran, what.c_str(), __FILE__, __LINE__);
  if (!ran.ok()) return;
  double k = 0;
  const std::vector<float> expected = reference(t, run, &k);
  EXPECT_EQ(run.out.size(), expected.size());
  if (run.out.size() != expected.size()) return;
  // |a|, |b| <= 1; bias and residual add two terms, tanh at most three units in the last place.
  expect_close(run.out.data(), expected.data(), expected.size(),
               (k + 5) * std::numeric_limits<float>::epsilon() * 2, (what + " " + run.kernel).c_str(),
               __FILE__, __LINE__);
  if (t.residual && t.in_pitch == t.out_pitch) {
    OpRun over = run;
    over.in_place_input = 3;
    EXPECT_OK(over.run());
    if (over.out.size() == run.out.size())
      expect_same_bytes(over.out.data(), run.out.data(), run.out.size(), (what + " in place").c_str(),
                        __FILE__, __LINE__);
  }
  OpRun two = run;
  two.threads = 2;
  EXPECT_OK(two.run());
  if (two.out.size() == run.out.size())
    expect_same_bytes(two.out.data(), run.out.data(), run.out.size(), (what + " with 2 threads").c_str(),
                      __FILE__, __LINE__);
}

}  // namespace

TEST(random_shapes) {
  Random random(1);
  const Shape batches[][2] = {{{}, {}},         {{3}, {3}},       {{3}, {}},     {{}, {3}},
                              {{2, 3}, {1, 3}}, {{2, 1}, {1, 4}}, {{2, 3}, {3}}, {{1}, {2, 2}},
                              {{2, 3}, {2, 3}}, {{1, 1}, {1}}};
  for (int i = 0; i < 600 && failures() < 5; ++i) {
    Case t;
    const int64_t sizes[] = {1, 2, 3, 4, 5, 7, 13, 17, 31, 48, 65, 131};
    const int64_t m = sizes[random.integer(0, 11)], k = sizes[random.integer(0, 11)],
                  n = sizes[random.integer(0, 11)];
    const auto& batch = batches[random.integer(0, 9)];
    t.ta = random.integer(0, 3) == 0;
    t.tb = random.integer(0, 1) == 0;
    auto operand = [](const Shape& b, int64_t rows, int64_t columns) {
      Shape s = b;
      s.push_back(rows);
      s.push_back(columns);
      return s;
    };
    t.a = random.integer(0, 9) == 0 ? Shape{k} : operand(batch[0], t.ta ? k : m, t.ta ? m : k);
    t.b = random.integer(0, 9) == 0 ? Shape{k} : operand(batch[1], t.tb ? n : k, t.tb ? k : n);
    t.constant = random.integer(0, 1) == 0;
    t.bias = random.integer(0, 2) == 0;
    t.residual = random.integer(0, 2) == 0;
    t.after = random.integer(0, 1) == 0;
    const char* activations[] = {"none", "relu", "tanh"};
    t.activation = activations[random.integer(0, 2)];
    t.in_pitch = random.integer(0, 1) * random.integer(1, 5);
    t.out_pitch = random.integer(0, 1) * random.integer(1, 5);
    for (Isa isa : supported_isas()) check(t, isa, random);
  }
}

TEST(large_k_and_wide_n) {
  Random random(2);
  for (int64_t m : {1, 3, 50})
    for (bool constant : {false, true})
      for (bool tb : {false, true}) {
        Case t;
        t.a = {m, 2309};
        t.b = tb ? Shape{523, 2309} : Shape{2309, 523};
        t.tb = tb;
        t.constant = constant;
        t.bias = true;
        for (Isa isa : supported_isas()) check(t, isa, random);
      }
}

TEST(empty_operands) {
  Random random(3);
  for (const Case& t :
       {Case{{0, 4}, {4, 3}}, Case{{2, 0}, {0, 3}}, Case{{2, 4}, {4, 0}}, Case{{0, 2, 4}, {0, 4, 3}}})
    for (Isa isa : supported_isas()) check(t, isa, random);
}

TEST(integers_wrap_and_match_exactly) {
  NodeInfo node;
  node.op = Registry::instance().find("MatMul");
  node.inputs = {0, 1};
  node.outputs = {2};
  const std::vector<int64_t> a = {1, -2, INT64_MAX, 4, 5, 6}, b = {2, 1, 1, 0, 0, 3};
  const TensorType ta{DType::kI64, {2, 3}, nullptr}, tb{DType::kI64, {3, 2}, nullptr};
  std::vector<HostTensor> out;
  REQUIRE_OK(evaluate_node(node, {&ta, &tb}, {a.data(), b.data()}, &out));
  const auto* y = reinterpret_cast<const int64_t*>(out[0].data.data());
  EXPECT_EQ(y[0], int64_t{0});
  // 1 + 0 + 3 (2^63 - 1), modulo 2^64
  EXPECT_EQ(y[1], static_cast<int64_t>(1 + 3 * static_cast<uint64_t>(INT64_MAX)));
  EXPECT_EQ(y[2], int64_t{13});
  EXPECT_EQ(y[3], int64_t{22});
}

TEST(clear_errors) {
  OpRun run;
  run.op = "MatMul";
  OpInput a, b;
  a.shape = {2, 3};
  b.shape = {4, 5};
  run.inputs = {a, b};
  TensorType type;
  EXPECT_ERROR(run.infer(&type), StatusCode::kShape, "inner dimensions differ: a [2,3] has 3, b [4,5] has 4");
  run.inputs[1].shape = {};
  EXPECT_ERROR(run.infer(&type), StatusCode::kShape, "at least one dimension");
  run.inputs[0].shape = {2, 2, 3};
  run.inputs[1].shape = {3, 3, 5};
  EXPECT_ERROR(run.infer(&type), StatusCode::kShape, "do not broadcast");
}
