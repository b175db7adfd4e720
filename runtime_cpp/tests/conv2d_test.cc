// Conv2d against a naive loop in double precision.
#include "harness.h"
#include "kernels/activation/activation.h"
#include "support/op_runner.h"

using namespace edgec;
using namespace edgec::test;

namespace {

double reference_activation(const std::string& name, double x, double alpha, double beta, double slope) {
  if (name == "relu") return std::max(x, 0.0);
  if (name == "clip") return std::min(std::max(x, alpha), beta);
  if (name == "leaky_relu") return x < 0 ? alpha * x : x;
  if (name == "prelu") return x < 0 ? slope * x : x;
  if (name == "hardswish") return x * std::min(std::max(x / 6 + 0.5, 0.0), 1.0);
  if (name == "hardsigmoid") return std::min(std::max(alpha * x + beta, 0.0), 1.0);
  if (name == "silu") return x / (1 + std::exp(-x));
  if (name == "gelu") return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
  if (name == "gelu_tanh") return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  if (name == "sigmoid") return 1 / (1 + std::exp(-x));
  if (name == "tanh") return std::tanh(x);
  if (name == "elu") return x < 0 ? alpha * std::expm1(x) : x;
  if (name == "softplus") return std::log1p(std::exp(x));
  if (name == "mish") return x * std::tanh(std::log1p(std::exp(x)));
  return x;
}

struct Case {
  int64_t n = 1, h = 5, w = 5, c = 3, o = 4, kh = 3, kw = 3, group = 1;
  int64_t sh = 1, sw = 1, dh = 1, dw = 1, pt = 0, pl = 0, pb = 0, pr = 0;
  bool bias = true, residual = false, after = false, constant = true;
  std::string activation = "none";
  int64_t in_pitch = 0, out_pitch = 0;

  std::string text() const {
    char s[256];
    std::snprintf(s, sizeof s,
                  "n%d h%d w%d c%d o%d k%dx%d g%d s%d,%d d%d,%d p%d,%d,%d,%d bias%d res%d after%d const%d %s "
                  "pitch+%d+%d",
                  int(n), int(h), int(w), int(c), int(o), int(kh), int(kw), int(group), int(sh), int(sw),
                  int(dh), int(dw), int(pt), int(pl), int(pb), int(pr), bias, residual, after, constant,
                  activation.c_str(), int(in_pitch), int(out_pitch));
    return s;
  }
};

OpRun make(const Case& t, Random& random) {
  OpRun run;
  run.op = "Conv2d";
  run.attrs = {{"strides", std::vector<int64_t>{t.sh, t.sw}},
               {"dilations", std::vector<int64_t>{t.dh, t.dw}},
               {"pads", std::vector<int64_t>{t.pt, t.pl, t.pb, t.pr}},
               {"group", t.group},
               {"residual_mode", t.after ? "after" : "before"},
               {"activation", t.activation},
               {"activation_alpha", t.activation == "clip" ? -0.4 : 0.3},
               {"activation_beta", t.activation == "clip" ? 0.7 : 0.45}};
  const int64_t oh = (t.h + t.pt + t.pb - (t.kh - 1) * t.dh - 1) / t.sh + 1;
  const int64_t ow = (t.w + t.pl + t.pr - (t.kw - 1) * t.dw - 1) / t.sw + 1;
  auto input = [&](const Shape& shape, bool constant, bool absent, int64_t pitch) {
    OpInput i;
    i.shape = shape;
    i.values = random.floats(static_cast<size_t>(shape.elements()));
    i.constant = constant;
    i.absent = absent;
    i.extra_pitch = pitch;
    run.inputs.push_back(i);
  };
  input({t.n, t.h, t.w, t.c}, false, false, t.in_pitch);
  input({t.o, t.kh, t.kw, t.c / t.group}, t.constant, false, 0);
  input({t.o}, t.constant, !t.bias, 0);
  input({t.n, oh, ow, t.o}, false, !t.residual, t.in_pitch);
  input({t.o}, true, t.activation != "prelu", 0);
  run.extra_output_pitch = t.out_pitch;
  return run;
}

std::vector<float> reference(const Case& t, const OpRun& run) {
  const int64_t oh = run.inputs[3].shape[1], ow = run.inputs[3].shape[2], cg = t.c / t.group,
                og = t.o / t.group;
  const std::vector<float>&x = run.inputs[0].values, &w = run.inputs[1].values;
  std::vector<float> y;
  for (int64_t n = 0; n < t.n; ++n)
    for (int64_t r = 0; r < oh; ++r)
      for (int64_t s = 0; s < ow; ++s)
        for (int64_t o = 0; o < t.o; ++o) {
          double sum = t.bias ? run.inputs[2].values[static_cast<size_t>(o)] : 0;
          for (int64_t i = 0; i < t.kh; ++i)
            for (int64_t j = 0; j < t.kw; ++j) {
              const int64_t iy = r * t.sh - t.pt + i * t.dh, ix = s * t.sw - t.pl + j * t.dw;
              if (iy < 0 || ix < 0 || iy >= t.h || ix >= t.w) continue;
              for (int64_t c = 0; c < cg; ++c)
                sum += double(x[static_cast<size_t>(((n * t.h + iy) * t.w + ix) * t.c + o / og * cg + c)]) *
                       w[static_cast<size_t>(((o * t.kh + i) * t.kw + j) * cg + c)];
            }
          const double residual = t.residual ? run.inputs[3].values[y.size()] : 0;
          if (!t.after) sum += residual;
          const double slope = t.activation == "prelu" ? run.inputs[4].values[static_cast<size_t>(o)] : 0;
          sum = reference_activation(t.activation, sum, t.activation == "clip" ? -0.4 : 0.3,
                                     t.activation == "clip" ? 0.7 : 0.45, slope);
          if (t.after) sum += residual;
          y.push_back(static_cast<float>(sum));
        }
  return y;
}

// Inputs lie in [-1, 1]; every activation here has a slope of at most 1.2.
double tolerance(const Case& t) {
  const double k = static_cast<double>(t.kh * t.kw * t.c / t.group);
  return (k + 3) * std::numeric_limits<float>::epsilon() * 2 * 1.2;
}

void check(const Case& t, Isa isa, Random& random) {
  OpRun run = make(t, random);
  run.isa = isa;
  const Status status = run.run();
  const std::string what = t.text() + " " + isa_name(isa);
  expect_ok(status, what.c_str(), __FILE__, __LINE__);
  if (!status.ok()) return;
  const std::vector<float> expected = reference(t, run);
  EXPECT_EQ(run.out.size(), expected.size());
  if (run.out.size() != expected.size()) return;
  expect_close(run.out.data(), expected.data(), expected.size(), tolerance(t),
               (what + " " + run.kernel).c_str(), __FILE__, __LINE__);
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

TEST(random_geometries) {
  Random random(1);
  for (int i = 0; i < 400 && failures() < 5; ++i) {
    Case t;
    t.group = random.integer(0, 2) == 0 ? random.integer(1, 6) : 1;
    t.n = random.integer(1, 3);
    t.kh = random.integer(1, 5);
    t.kw = random.integer(1, 5);
    t.c = t.group * random.integer(1, 20);
    t.o = t.group * random.integer(1, 40);
    if (random.integer(0, 5) == 0) t.o = t.c = t.group;
    t.sh = random.integer(1, 3);
    t.sw = random.integer(1, 3);
    t.dh = random.integer(1, 2);
    t.dw = random.integer(0, 2) == 0 ? 2 : 1;
    t.pt = random.integer(0, 3);
    t.pl = random.integer(0, 3);
    t.pb = random.integer(0, 3);
    t.pr = random.integer(0, 3);
    t.h = std::max<int64_t>(1, (t.kh - 1) * t.dh + 1 - t.pt - t.pb) + random.integer(0, 9);
    t.w = std::max<int64_t>(1, (t.kw - 1) * t.dw + 1 - t.pl - t.pr) + random.integer(0, 17);
    t.bias = random.integer(0, 3) != 0;
    t.residual = random.integer(0, 1) == 0;
    t.after = random.integer(0, 1) == 0;
    t.constant = random.integer(0, 3) != 0;
    t.activation = activation_name(static_cast<Activation>(random.integer(0, kActivationCount - 1)));
    t.in_pitch = random.integer(0, 1) * random.integer(1, 9);
    t.out_pitch = random.integer(0, 1) * random.integer(1, 9);
    for (Isa isa : supported_isas()) check(t, isa, random);
  }
}

TEST(every_activation_on_dense_and_depthwise) {
  Random random(2);
  for (int a = 0; a < kActivationCount; ++a)
    for (int kind = 0; kind < 4; ++kind) {
      Case t;
      t.activation = activation_name(static_cast<Activation>(a));
      t.c = 19;
      t.o = 19;
      t.group = kind & 1 ? 19 : 1;
      t.residual = (kind & 2) != 0;
      t.after = a % 2 == 0;
      t.pt = t.pl = t.pb = t.pr = 1;
      for (Isa isa : supported_isas()) check(t, isa, random);
    }
}

TEST(long_k_is_cut_into_stages) {
  Random random(3);
  for (const char* activation : {"relu", "silu"})
    for (int group : {1, 2, 3, 4}) {
      Case t;
      t.after = group > 2;
      t.group = group % 2 == 0 ? 2 : 1;
      t.c = 257 * t.group;
      t.o = 70 * t.group;
      t.h = 6;
      t.w = 7;
      t.pt = t.pl = t.pb = t.pr = 1;
      t.residual = true;
      t.activation = activation;
      for (Isa isa : supported_isas()) check(t, isa, random);
    }
}

TEST(groups_of_1x1_read_their_own_channels) {
  Random random(5);
  for (int64_t group : {2, 3, 4, 7})
    for (int64_t outputs : {1, 7, 8, 9, 16, 33})
      for (int64_t inputs : {1, 3, 8}) {
        Case t;
        t.kh = t.kw = 1;
        t.group = group;
        t.c = group * inputs;
        t.o = group * outputs;
        t.in_pitch = outputs % 2;
        for (Isa isa : supported_isas()) check(t, isa, random);
      }
}

TEST(first_layers_and_1x1) {
  Random random(4);
  for (int64_t stride : {1, 2})
    for (int64_t kernel : {1, 3, 7}) {
      Case t;
      t.h = t.w = 23;
      t.c = kernel == 1 ? 33 : 3;
      t.o = 64;
      t.kh = t.kw = kernel;
      t.sh = t.sw = stride;
      t.pt = t.pl = kernel / 2;
      t.pb = t.pr = kernel / 2;
      for (Isa isa : supported_isas()) check(t, isa, random);
    }
}

TEST(clear_errors) {
  Random random(5);
  TensorType type;
  Case t;
  OpRun run = make(t, random);
  run.inputs[0].shape = {1, 3, 5, 5};  // NCHW
  EXPECT_ERROR(run.infer(&type), StatusCode::kShape, "looks like NCHW");
  t = Case();
  run = make(t, random);
  run.attrs[2].second = AttrValue(std::vector<int64_t>{0, 0, -1, 0});
  EXPECT_ERROR(run.infer(&type), StatusCode::kInvalidArgument, "'pads' holds -1");
  run = make(t, random);
  run.attrs[0].second = AttrValue(std::vector<int64_t>{0, 1});
  EXPECT_ERROR(run.infer(&type), StatusCode::kInvalidArgument, "'strides' holds 0");
  run = make(t, random);
  run.attrs[3].second = AttrValue(int64_t{0});
  EXPECT_ERROR(run.infer(&type), StatusCode::kShape, "group 0 must divide");
  run = make(t, random);
  run.inputs[0].shape = {1, 2, 2, 3};
  EXPECT_ERROR(run.infer(&type), StatusCode::kShape, "larger than the padded image 2x2");
  run = make(t, random);
  run.attrs[1].second = AttrValue(std::vector<int64_t>{int64_t{1} << 30, 1});
  EXPECT_ERROR(run.infer(&type), StatusCode::kShape, "larger than the padded image");
  run = make(t, random);
  run.inputs[2].shape = {7};
  EXPECT_ERROR(run.infer(&type), StatusCode::kShape, "'bias' must be f32[4]");
}
