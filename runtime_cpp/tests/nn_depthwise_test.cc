// Depthwise kernels against a loop in double precision: geometries around every special case and border.
#include <algorithm>
#include <limits>

#include "harness.h"
#include "kernels/depthwise/depthwise.h"

namespace edgec::test {
namespace {

struct Case {
  DepthwiseGeometry g;
  int64_t input_pitch, output_pitch;
  std::vector<float> input, weight, bias;
  size_t output_floats() const {
    return static_cast<size_t>((g.output_height * g.output_width - 1) * output_pitch + g.channels);
  }
};

bool make_case(Random& random, int64_t tile, Case* c) {
  const int64_t kernels[] = {1, 2, 3, 3, 3, 5, 5, 7};
  DepthwiseGeometry& g = c->g;
  g.kernel_height = kernels[random.integer(0, 7)];
  g.kernel_width = random.integer(0, 3) > 0 ? g.kernel_height : kernels[random.integer(0, 7)];
  g.stride_height = random.integer(1, 3);
  g.stride_width = random.integer(0, 3) > 0 ? g.stride_height : random.integer(1, 3);
  g.dilation_height = random.integer(0, 2) > 0 ? 1 : random.integer(1, 3);
  g.dilation_width = random.integer(0, 3) > 0 ? g.dilation_height : random.integer(1, 3);
  g.pad_top = random.integer(0, 4);
  g.pad_left = random.integer(0, 4);
  g.input_height = random.integer(1, 12);
  g.input_width = random.integer(1, 40);
  g.channels = random.integer(1, 2 * tile + 1);
  const int64_t height =
      g.input_height + g.pad_top + random.integer(0, 4) - (g.kernel_height - 1) * g.dilation_height - 1;
  const int64_t width =
      g.input_width + g.pad_left + random.integer(0, 4) - (g.kernel_width - 1) * g.dilation_width - 1;
  if (height < 0 || width < 0) return false;
  g.output_height = height / g.stride_height + 1;
  g.output_width = width / g.stride_width + 1;
  c->input_pitch = g.channels + random.integer(0, 3);
  c->output_pitch = g.channels + random.integer(0, 3);
  c->input =
      random.floats(static_cast<size_t>((g.input_height * g.input_width - 1) * c->input_pitch + g.channels));
  c->weight = random.floats(static_cast<size_t>(g.channels * g.kernel_height * g.kernel_width));
  c->bias = random.floats(static_cast<size_t>(g.channels));
  return true;
}

double oracle(const Case& c, int64_t y, int64_t x, int64_t channel) {
  const DepthwiseGeometry& g = c.g;
  double sum = static_cast<double>(c.bias[static_cast<size_t>(channel)]);
  for (int64_t ky = 0; ky < g.kernel_height; ++ky)
    for (int64_t kx = 0; kx < g.kernel_width; ++kx) {
      const int64_t iy = y * g.stride_height - g.pad_top + ky * g.dilation_height;
      const int64_t ix = x * g.stride_width - g.pad_left + kx * g.dilation_width;
      if (iy < 0 || ix < 0 || iy >= g.input_height || ix >= g.input_width) continue;
      sum += static_cast<double>(
                 c.input[static_cast<size_t>((iy * g.input_width + ix) * c.input_pitch + channel)]) *
             static_cast<double>(
                 c.weight[static_cast<size_t>((channel * g.kernel_height + ky) * g.kernel_width + kx)]);
    }
  return sum;
}

std::vector<float> run(const Case& c, Isa isa, float minimum, int64_t split) {
  std::vector<float> packed(depthwise_packed_floats(c.g, isa));
  depthwise_pack_f32(c.g, isa, c.weight.data(), c.bias.data(), packed.data());
  std::vector<float> out(c.output_floats(), -1e30f);
  DepthwiseRun run;
  run.geometry = &c.g;
  run.input = c.input.data();
  run.input_pitch = c.input_pitch;
  run.output = out.data();
  run.output_pitch = c.output_pitch;
  run.packed = packed.data();
  run.minimum = minimum;
  const DepthwiseKernels& kernels = depthwise_kernels(isa);
  kernels.run_f32(run, split, c.g.output_height);
  kernels.run_f32(run, 0, split);
  return out;
}

TEST(depthwise_agrees_with_double_precision) {
  for (int i = 0; i < kIsaCount; ++i) {
    const Isa isa = static_cast<Isa>(i);
    if (!isa_supported(isa)) continue;
    Random random(static_cast<uint64_t>(i));
    for (int round = 0; round < 400 && failures() < 5; ++round) {
      Case c;
      if (!make_case(random, depthwise_kernels(isa).tile, &c)) continue;
      const DepthwiseGeometry& g = c.g;
      const float minimum = random.integer(0, 1) ? -0.5f : -std::numeric_limits<float>::infinity();
      const std::vector<float> out = run(c, isa, minimum, random.integer(0, g.output_height));
      // Every value is below 1 in magnitude; each of the taps rounds a product and a sum.
      const double taps = static_cast<double>(g.kernel_height * g.kernel_width);
      const double tolerance =
          (taps + 1) * (taps + 1) * static_cast<double>(std::numeric_limits<float>::epsilon());
      for (size_t at = 0; at < out.size(); ++at) {
        const int64_t pixel = static_cast<int64_t>(at) / c.output_pitch,
                      channel = static_cast<int64_t>(at) % c.output_pitch;
        if (channel >= g.channels) {
          EXPECT_EQ(out[at], -1e30f);
          continue;
        }
        const double expected = std::max(oracle(c, pixel / g.output_width, pixel % g.output_width, channel),
                                         static_cast<double>(minimum));
        if (std::fabs(static_cast<double>(out[at]) - expected) <= tolerance) continue;
        fail(__FILE__, __LINE__,
             "%s: kernel %dx%d stride %d,%d dilation %d,%d pixel %d channel %d: got %g, expected %g",
             isa_name(isa), static_cast<int>(g.kernel_height), static_cast<int>(g.kernel_width),
             static_cast<int>(g.stride_height), static_cast<int>(g.stride_width),
             static_cast<int>(g.dilation_height), static_cast<int>(g.dilation_width), static_cast<int>(pixel),
             static_cast<int>(channel), static_cast<double>(out[at]), expected);
        break;
      }
    }
  }
}

TEST(depthwise_rows_do_not_depend_on_the_range) {
  Random random(99);
  for (int round = 0; round < 100; ++round) {
    Case c;
    if (!make_case(random, depthwise_kernels(best_isa()).tile, &c)) continue;
    const std::vector<float> whole = run(c, best_isa(), -1, 0);
    for (int64_t split = 1; split < c.g.output_height; ++split) {
      const std::vector<float> parts = run(c, best_isa(), -1, split);
      EXPECT_SAME(parts.data(), whole.data(), whole.size());
    }
  }
}

TEST(depthwise_finishes_each_row_once_after_the_clamp) {
  Random random(7);
  Case c;
  while (!make_case(random, 16, &c) || c.g.output_height < 4) {
  }
  std::vector<float> packed(depthwise_packed_floats(c.g, best_isa()));
  depthwise_pack_f32(c.g, best_isa(), c.weight.data(), nullptr, packed.data());
  std::vector<float> out(c.output_floats());
  struct Finish {
    const Case& c;
    std::vector<int> seen;
  } finish{c, std::vector<int>(static_cast<size_t>(c.g.output_height))};
  DepthwiseRun run;
  run.geometry = &c.g;
  run.input = c.input.data();
  run.input_pitch = c.input_pitch;
  run.output = out.data();
  run.output_pitch = c.output_pitch;
  run.packed = packed.data();
  run.minimum = 0;
  run.finish_context = &finish;
  run.finish_row = [](const void* context, int64_t y, float* row) {
    auto* f = const_cast<Finish*>(static_cast<const Finish*>(context));
    ++f->seen[static_cast<size_t>(y)];
    for (int64_t x = 0; x < f->c.g.output_width; ++x)
      for (int64_t k = 0; k < f->c.g.channels; ++k) {
        float& v = row[x * f->c.output_pitch + k];
        EXPECT(v >= 0);
        v = -1 - v;
      }
  };
  depthwise_kernels(best_isa()).run_f32(run, 1, c.g.output_height);
  for (size_t y = 0; y < finish.seen.size(); ++y) EXPECT_EQ(finish.seen[y], y == 0 ? 0 : 1);
  EXPECT(out[static_cast<size_t>(c.g.output_width * c.output_pitch)] <= -1);
}

TEST(depthwise_clamp_keeps_nan) {
  DepthwiseGeometry g;
  g.channels = 3;
  const float weight[3] = {1, 1, 1}, input[3] = {NAN, 5, -5};
  float out[3] = {};
  std::vector<float> packed(depthwise_packed_floats(g, best_isa()));
  depthwise_pack_f32(g, best_isa(), weight, nullptr, packed.data());
  DepthwiseRun run;
  run.geometry = &g;
  run.input = input;
  run.output = out;
  run.input_pitch = run.output_pitch = 3;
  run.packed = packed.data();
  run.minimum = -1;
  run.maximum = 2;
  depthwise_kernels(best_isa()).run_f32(run, 0, 1);
  EXPECT(std::isnan(out[0]));
  EXPECT_EQ(out[1], 2.0f);
  EXPECT_EQ(out[2], -1.0f);
}

}  // namespace
}  // namespace edgec::test
