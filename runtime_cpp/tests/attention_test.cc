// Attention against a naive softmax in double precision.
#include "harness.h"
#include "support/op_runner.h"

using namespace edgec;
using namespace edgec::test;

namespace {

struct Case {
  int64_t b, h, hk, s, t, d, dv;
  Shape mask;
  bool causal = false;
  bool hide = false;  // mask holds -infinity for some keys
  int64_t pitch = 0;
};

void check(const Case& c, Random& random) {
  OpRun run;
  run.op = "Attention";
  run.attrs = {{"causal", c.causal ? 1 : 0}};
  auto input = [&](const Shape& shape, bool absent, float range) {
    OpInput i;
    i.shape = shape;
    i.values = random.floats(static_cast<size_t>(shape.elements()), -range, range);
    i.absent = absent;
    i.extra_pitch = c.pitch;
    run.inputs.push_back(i);
  };
  input({c.b, c.h, c.s, c.d}, false, 2);
  input({c.b, c.hk, c.t, c.d}, false, 2);
  input({c.b, c.hk, c.t, c.dv}, false, 1);
  input(c.mask, c.mask.rank() == 0, 3);
  if (c.hide)
    for (size_t i = 0; i < run.inputs[3].values.size(); ++i)
      if (i % 7 != 0) run.inputs[3].values[i] = -INFINITY;
  run.extra_output_pitch = c.pitch;

  auto at = [](const OpInput& in, int64_t i, int64_t j, int64_t k, int64_t l) {
    int64_t index[4] = {i, j, k, l}, offset = 0;
    const int skip = 4 - in.shape.rank();
    for (int dim = 0; dim < in.shape.rank(); ++dim)
      offset = offset * in.shape[dim] + (in.shape[dim] == 1 ? 0 : index[dim + skip]);
    return double(in.values[static_cast<size_t>(offset)]);
  };
  std::vector<float> expected;
  for (int64_t b = 0; b < c.b; ++b)
    for (int64_t h = 0; h < c.h; ++h)
      for (int64_t s = 0; s < c.s; ++s) {
        std::vector<double> p;
        double largest = -INFINITY, sum = 0;
        const int64_t kh = h / (c.h / c.hk);
        for (int64_t t = 0; t < c.t; ++t) {
          double score = 0;
          for (int64_t d = 0; d < c.d; ++d)
            score += at(run.inputs[0], b, h, s, d) * at(run.inputs[1], b, kh, t, d);
          score /= std::sqrt(double(c.d));
          if (c.mask.rank() > 0) score += at(run.inputs[3], b, h, s, t);
          if (c.causal && t > s) score = -INFINITY;
          p.push_back(score);
          largest = std::max(largest, score);
        }
        for (double& v : p) sum += v = std::exp(v - largest);
        for (int64_t d = 0; d < c.dv; ++d) {
          double y = 0;
          for (int64_t t = 0; t < c.t; ++t)
            y += p[static_cast<size_t>(t)] / sum * at(run.inputs[2], b, kh, t, d);
          expected.push_back(static_cast<float>(y));
        }
      }
  // A score is wrong by (d + 1) eps |q||k| / sqrt(d) plus rounding of score and mask; softmax turns an
  // absolute error of the score into a relative one of a weight, at most twice; then t sums of weights that
  // add up to 1.
  const double eps = std::numeric_limits<float>::epsilon();
  const double score_error =
      ((double(c.d) + 1) * 4 / std::sqrt(double(c.d)) + std::sqrt(double(c.d)) * 4 + 3) * eps;
  const double tolerance = 2 * score_error + (double(c.t) + 8) * eps;
  char what[200];
  std::snprintf(what, sizeof what, "b%d h%d hk%d s%d t%d d%d dv%d mask %s causal%d", int(c.b), int(c.h),
                int(c.hk), int(c.s), int(c.t), int(c.d), int(c.dv), c.mask.to_string().c_str(), c.causal);
  for (Isa isa : supported_isas()) {
    run.isa = isa;
    run.threads = 1;
    const Status status = run.run();
    expect_ok(status, what, __FILE__, __LINE__);
    if (!status.ok()) return;
    expect_close(run.out.data(), expected.data(), expected.size(), tolerance, what, __FILE__, __LINE__);
    const std::vector<float> alone = run.out;
    run.threads = 2;
    EXPECT_OK(run.run());
    expect_same_bytes(run.out.data(), alone.data(), alone.size(), what, __FILE__, __LINE__);
  }
}

}  // namespace

TEST(random_shapes) {
  Random random(1);
  for (int i = 0; i < 120 && failures() < 5; ++i) {
    Case c;
    c.b = random.integer(1, 2);
    c.hk = random.integer(1, 3);
    c.h = c.hk * random.integer(1, 3);
    c.s = random.integer(1, 70);
    c.t = random.integer(1, 150);
    c.d = random.integer(1, 40);
    c.dv = random.integer(1, 70);
    c.causal = random.integer(0, 2) == 0;
    const Shape masks[] = {{}, {c.s, c.t}, {c.b, 1, 1, c.t}, {1, c.h, c.s, c.t}, {c.b, c.h, c.s, 1}, {c.t}};
    c.mask = masks[random.integer(0, 5)];
    c.pitch = random.integer(0, 1) * random.integer(1, 5);
    check(c, random);
  }
}

TEST(one_query_over_a_long_past) {
  Random random(2);
  check({1, 4, 2, 1, 1500, 8, 8, {}, false, false, 0}, random);
  check({1, 4, 4, 1, 700, 64, 64, {1, 1, 1, 700}, false, true, 0}, random);
}

TEST(several_blocks_of_keys) {
  Random random(3);
  check({1, 2, 2, 60, 1100, 16, 16, {}, false, false, 0}, random);
  check({1, 1, 1, 600, 600, 16, 16, {}, true, false, 0}, random);
  check({1, 1, 1, 30, 1100, 16, 20, {30, 1100}, false, true, 3}, random);
}

TEST(first_keys_all_hidden) {
  Random random(4);
  // The first block of keys has only -infinity: the running maximum starts there.
  OpRun run;
  run.op = "Attention";
  const int64_t t = 1100, d = 16;
  OpInput q, k, v, mask;
  q.shape = {1, 1, 6, d};
  k.shape = {1, 1, t, d};
  v.shape = {1, 1, t, 1};
  mask.shape = {t};
  q.values = random.floats(6 * d);
  k.values = random.floats(t * d);
  v.values.assign(t, 0.25f);
  mask.values.assign(t, -INFINITY);
  mask.values[t - 3] = 0;
  run.inputs = {q, k, v, mask};
  REQUIRE_OK(run.run());
  for (float y : run.out) EXPECT_EQ(y, 0.25f);
}

TEST(clear_errors) {
  OpRun run;
  run.op = "Attention";
  OpInput q, k, v;
  q.shape = {1, 3, 4, 8};
  k.shape = {1, 2, 5, 8};
  v.shape = {1, 2, 5, 8};
  run.inputs = {q, k, v};
  TensorType type;
  EXPECT_ERROR(run.infer(&type), StatusCode::kShape, "2 key heads must divide the 3 query heads");
  run.inputs[1].shape = {1, 3, 5, 7};
  EXPECT_ERROR(run.infer(&type), StatusCode::kShape, "do not fit");
}
