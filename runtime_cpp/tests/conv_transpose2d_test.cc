// ConvTranspose2d against a naive scatter in double precision.
#include "harness.h"
#include "support/op_runner.h"

using namespace edgec;
using namespace edgec::test;

namespace {

// few: channels for which results are scattered; else mostly computed by phases.
void check_random(Random& random, bool few) {
  const int64_t group = random.integer(0, 2) == 0 ? random.integer(1, 4) : 1;
  const int64_t n = random.integer(1, 2), h = random.integer(1, 6), w = random.integer(1, 20);
  const int64_t cg = few ? random.integer(13, 40) : random.integer(1, 12),
                og = random.integer(1, few ? 3 : 37), c = cg * group, o = og * group;
  const int64_t kh = random.integer(1, 5), kw = random.integer(1, 5), sh = random.integer(1, 4),
                sw = random.integer(1, 4);
  const int64_t dh = random.integer(1, 2), dw = random.integer(1, 3);
  int64_t pads[4];
  for (int64_t& p : pads) p = random.integer(0, 2);
  const int64_t eh = random.integer(0, std::max(sh, dh) - 1), ew = random.integer(0, std::max(sw, dw) - 1);
  const int64_t oh = (h - 1) * sh - pads[0] - pads[2] + (kh - 1) * dh + 1 + eh;
  const int64_t ow = (w - 1) * sw - pads[1] - pads[3] + (kw - 1) * dw + 1 + ew;
  if (oh < 1 || ow < 1) return;
  const bool bias = random.integer(0, 1) == 0, constant = random.integer(0, 2) != 0;
  const bool relu = random.integer(0, 1) == 0, prelu = !relu && random.integer(0, 1) == 0;
  OpRun run;
  run.op = "ConvTranspose2d";
  run.attrs = {{"strides", std::vector<int64_t>{sh, sw}},
               {"dilations", std::vector<int64_t>{dh, dw}},
               {"pads", std::vector<int64_t>(pads, pads + 4)},
               {"output_padding", std::vector<int64_t>{eh, ew}},
               {"group", group},
               {"activation", relu    ? "relu"
                              : prelu ? "prelu"
                                      : "none"}};
  auto input = [&](const Shape& shape, bool is_constant, bool absent, int64_t pitch) {
    OpInput i;
    i.shape = shape;
    i.values = random.floats(static_cast<size_t>(shape.elements()));
    i.constant = is_constant;
    i.absent = absent;
    i.extra_pitch = pitch;
    run.inputs.push_back(i);
  };
  input({n, h, w, c}, false, false, random.integer(0, 3));
  input({o, kh, kw, cg}, constant, false, 0);
  input({o}, constant, !bias, 0);
  input({o}, true, !prelu, 0);
  run.extra_output_pitch = random.integer(0, 3);

  const std::vector<float>&x = run.inputs[0].values, &weight = run.inputs[1].values;
  std::vector<double> sums(static_cast<size_t>(n * oh * ow * o));
  for (size_t i = 0; i < sums.size(); ++i)
    sums[i] = bias ? run.inputs[2].values[i % static_cast<size_t>(o)] : 0;
  for (int64_t b = 0; b < n; ++b)
    for (int64_t iy = 0; iy < h; ++iy)
      for (int64_t ix = 0; ix < w; ++ix)
        for (int64_t ky = 0; ky < kh; ++ky)
          for (int64_t kx = 0; kx < kw; ++kx) {
            const int64_t y = iy * sh - pads[0] + ky * dh, xx = ix * sw - pads[1] + kx * dw;
            if (y < 0 || xx < 0 || y >= oh || xx >= ow) continue;
            for (int64_t r = 0; r < o; ++r)
              for (int64_t l = 0; l < cg; ++l)
                sums[static_cast<size_t>(((b * oh + y) * ow + xx) * o + r)] +=
                    double(x[static_cast<size_t>(((b * h + iy) * w + ix) * c + r / og * cg + l)]) *
                    weight[static_cast<size_t>(((r * kh + ky) * kw + kx) * cg + l)];
          }
  std::vector<float> expected;
  for (size_t i = 0; i < sums.size(); ++i) {
    double v = sums[i];
    if (relu) v = std::max(v, 0.0);
    if (prelu && v < 0) v *= run.inputs[3].values[i % static_cast<size_t>(o)];
    expected.push_back(static_cast<float>(v));
  }
  char what[200];
  std::snprintf(what, sizeof what,
                "n%d h%d w%d c%d o%d k%dx%d g%d s%d,%d d%d,%d p%d,%d,%d,%d extra %d,%d constant%d", int(n),
                int(h), int(w), int(c), int(o), int(kh), int(kw), int(group), int(sh), int(sw), int(dh),
                int(dw), int(pads[0]), int(pads[1]), int(pads[2]), int(pads[3]), int(eh), int(ew), constant);
  for (Isa isa : supported_isas()) {
    run.isa = isa;
    run.threads = 1;
    const Status status = run.run();
    expect_ok(status, what, __FILE__, __LINE__);
    if (!status.ok()) return;
    EXPECT_EQ(run.out_shape.to_string(), (Shape{n, oh, ow, o}).to_string());
    expect_close(run.out.data(), expected.data(), expected.size(),
                 static_cast<double>(kh * kw * cg + 2) * std::numeric_limits<float>::epsilon() * 2, what,
                 __FILE__, __LINE__);
    const std::vector<float> alone = run.out;
    run.threads = 2;
    EXPECT_OK(run.run());
    expect_same_bytes(run.out.data(), alone.data(), alone.size(), what, __FILE__, __LINE__);
  }
}

}  // namespace

TEST(random_geometries) {
  Random random(1);
  for (int i = 0; i < 300 && failures() < 5; ++i) check_random(random, i % 2 == 0);
}

TEST(clear_errors) {
  OpRun run;
  run.op = "ConvTranspose2d";
  OpInput x, w;
  x.shape = {1, 2, 2, 3};
  w.shape = {4, 3, 3, 3};
  run.inputs = {x, w};
  TensorType type;
  run.attrs = {{"output_padding", std::vector<int64_t>{1, 0}}};
  EXPECT_ERROR(run.infer(&type), StatusCode::kInvalidArgument, "output_padding [1,0] must be smaller");
  run.attrs = {{"pads", std::vector<int64_t>{2, 2, 2, 2}}};
  EXPECT_ERROR(run.infer(&type), StatusCode::kShape, "leave nothing of the output");
}
