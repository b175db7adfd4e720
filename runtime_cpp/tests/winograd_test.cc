// Winograd's convolution against a naive loop in double precision, on every ISA.
#include "kernels/winograd/winograd.h"

#include "harness.h"
#include "support/op_runner.h"

using namespace edgec;
using namespace edgec::test;

namespace {

struct Case {
  int64_t n = 1, h = 4, w = 4, c = 16, o = 16, top = 1, left = 1, bottom = 1, right = 1;
  int64_t x_pitch = 0, y_pitch = 0;  // beyond the channels
  bool bias = true, residual = false, after = false, in_place = false;
  Activation activation = Activation::kNone;
  std::string text(Isa isa, int threads) const {
    return format_string(
        "n%d h%d w%d c%d o%d pads %d %d %d %d pitch +%d +%d bias%d residual%d after%d in_place%d %s, %s, %d "
        "threads",
        int(n), int(h), int(w), int(c), int(o), int(top), int(left), int(bottom), int(right), int(x_pitch),
        int(y_pitch), bias, residual, after, in_place, activation_name(activation), isa_name(isa), threads);
  }
};

struct Data {
  std::vector<float> x, weight, bias, residual;
  std::vector<double> expected;
};

double activate(Activation activation, double v) {
  if (activation == Activation::kRelu) return std::max(v, 0.0);
  if (activation == Activation::kSilu) return v / (1 + std::exp(-v));
  return v;
}

Data make(const Case& t, Random& random) {
  Data d;
  const int64_t oh = t.h + t.top + t.bottom - 2, ow = t.w + t.left + t.right - 2;
  d.x = random.floats(static_cast<size_t>(t.n * t.h * t.w * (t.c + t.x_pitch)));
  d.weight = random.floats(static_cast<size_t>(t.o * 9 * t.c));
  d.bias = random.floats(static_cast<size_t>(t.o));
  d.residual = random.floats(static_cast<size_t>(t.n * oh * ow * (t.o + t.y_pitch)));
  for (int64_t n = 0; n < t.n; ++n)
    for (int64_t y = 0; y < oh; ++y)
      for (int64_t x = 0; x < ow; ++x)
        for (int64_t o = 0; o < t.o; ++o) {
          double sum = t.bias ? d.bias[static_cast<size_t>(o)] : 0;
          for (int64_t i = 0; i < 3; ++i)
            for (int64_t j = 0; j < 3; ++j) {
              const int64_t iy = y - t.top + i, ix = x - t.left + j;
              if (iy < 0 || ix < 0 || iy >= t.h || ix >= t.w) continue;
              const float* a = d.x.data() + ((n * t.h + iy) * t.w + ix) * (t.c + t.x_pitch);
              const float* b = d.weight.data() + ((o * 3 + i) * 3 + j) * t.c;
              for (int64_t c = 0; c < t.c; ++c) sum += static_cast<double>(a[c]) * b[c];
            }
          const double r =
              t.residual ? d.residual[static_cast<size_t>(((n * oh + y) * ow + x) * (t.o + t.y_pitch) + o)]
                         : 0;
          d.expected.push_back(t.after ? activate(t.activation, sum) + r : activate(t.activation, sum + r));
        }
  return d;
}

std::vector<float> run(const Case& t, const Data& d, Isa isa, int threads) {
  WinogradConvolution w;
  w.batch = t.n;
  w.height = t.h;
  w.width = t.w;
  w.channels = t.c;
  w.out_height = t.h + t.top + t.bottom - 2;
  w.out_width = t.w + t.left + t.right - 2;
  w.out_channels = t.o;
  w.pad_top = t.top;
  w.pad_left = t.left;
  w.activation = t.activation;
  w.residual_after = t.after;
  winograd_plan(isa, threads, &w);
  std::vector<float> packed(w.packed_floats());
  winograd_pack(w, d.weight.data(), packed.data());
  std::vector<float> y = t.in_place ? d.residual : std::vector<float>(d.residual.size(), NAN);
  WinogradOperands o;
  o.x = d.x.data();
  o.x_pitch = t.c + t.x_pitch;
  o.packed = packed.data();
  o.bias = t.bias ? d.bias.data() : nullptr;
  o.residual = !t.residual ? nullptr : t.in_place ? y.data() : d.residual.data();
  o.residual_pitch = o.y_pitch = t.o + t.y_pitch;
  o.y = y.data();
  std::vector<std::byte> scratch(w.scratch_bytes() + 64);
  auto* aligned = reinterpret_cast<std::byte*>((reinterpret_cast<uintptr_t>(scratch.data()) + 63) / 64 * 64);
  for (int64_t task = w.tasks() - 1; task >= 0; --task) winograd_run(w, o, task, task + 1, aligned);
  std::vector<float> dense;
  for (size_t p = 0; p < y.size(); p += static_cast<size_t>(t.o + t.y_pitch))
    dense.insert(dense.end(), y.begin() + static_cast<int64_t>(p), y.begin() + static_cast<int64_t>(p) + t.o);
  return dense;
}

// Growth of the rounding errors through the three transforms: products of the largest absolute row sums of
// A^T, G and B^T, once per dimension. Errors reach a small part of it (the next test says how small).
constexpr double kGrowth = (7.4 * 1.5 * 4.5) * (7.4 * 1.5 * 4.5);

void check(const Case& t, Random& random) {
  const Data d = make(t, random);
  const double tolerance = static_cast<double>(t.c + 1) * std::numeric_limits<float>::epsilon() * kGrowth;
  for (Isa isa : supported_isas()) {
    const std::vector<float> one = run(t, d, isa, 1);
    EXPECT_EQ(one.size(), d.expected.size());
    double square = 0, error = 0;
    for (size_t i = 0; i < one.size(); ++i) {
      const double difference = one[i] - d.expected[i];
      square += d.expected[i] * d.expected[i];
      error += difference * difference;
      if (std::fabs(difference) <= tolerance) continue;
      fail(__FILE__, __LINE__, "%s: element %zu is %g, expected %g", t.text(isa, 1).c_str(), i, one[i],
           d.expected[i]);
      return;
    }
    // Independent errors add up like the root of their number: what a model sees.
    if (std::sqrt(error) > 16 * std::numeric_limits<float>::epsilon() * std::sqrt(square))
      fail(__FILE__, __LINE__, "%s: relative L2 %.2g", t.text(isa, 1).c_str(), std::sqrt(error / square));
    for (int threads : {2, 3}) {
      const std::vector<float> more = run(t, d, isa, threads);
      expect_same_bytes(more.data(), one.data(), one.size(), t.text(isa, threads).c_str(), __FILE__,
                        __LINE__);
    }
  }
}

}  // namespace

TEST(every_size_around_the_tile) {
  Random random(1);
  for (int64_t h = 1; h <= 10; ++h)
    for (int64_t w = 1; w <= 10; ++w) {
      Case t;
      t.h = h;
      t.w = w;
      t.c = random.integer(1, 35);
      t.o = random.integer(1, 70);
      check(t, random);
    }
}

TEST(pads_pitches_residuals_activations) {
  Random random(2);
  for (int i = 0; i < 150 && failures() < 5; ++i) {
    Case t;
    t.n = random.integer(1, 3);
    t.top = random.integer(0, 3);
    t.left = random.integer(0, 3);
    t.bottom = random.integer(0, 3);
    t.right = random.integer(0, 3);
    t.h = std::max<int64_t>(1, 3 - t.top - t.bottom) + random.integer(0, 14);
    t.w = std::max<int64_t>(1, 3 - t.left - t.right) + random.integer(0, 14);
    t.c = random.integer(1, 40);
    t.o = random.integer(1, 40);
    t.x_pitch = random.integer(0, 1) * random.integer(1, 9);
    t.y_pitch = random.integer(0, 1) * random.integer(1, 9);
    t.bias = random.integer(0, 2) != 0;
    t.residual = random.integer(0, 1) == 0;
    t.after = random.integer(0, 1) == 0;
    t.in_place = random.integer(0, 1) == 0;
    const Activation activations[] = {Activation::kNone, Activation::kRelu, Activation::kSilu};
    t.activation = activations[random.integer(0, 2)];
    check(t, random);
  }
}

TEST(many_channels_and_blocks) {
  Random random(3);
  for (const auto& [size, channels, out] :
       {std::tuple<int64_t, int64_t, int64_t>{14, 256, 131}, {30, 67, 64}, {57, 16, 24}, {8, 521, 17}}) {
    Case t;
    t.h = t.w = size;
    t.c = channels;
    t.o = out;
    check(t, random);
  }
}

TEST(choice) {
  WinogradConvolution w;
  w.batch = 1;
  w.height = w.width = w.out_height = w.out_width = 56;
  w.channels = w.out_channels = 64;
  for (Isa isa : supported_isas()) {
    EXPECT(winograd_pays(isa, w));
    WinogradConvolution few = w;
    few.channels = 3;
    EXPECT(!winograd_pays(isa, few));
    WinogradConvolution small = w;  // weights would be streamed four times over for four tiles
    small.height = small.width = small.out_height = small.out_width = 7;
    small.channels = small.out_channels = 512;
    EXPECT(dot_kernels(isa).lanes < 16 || !winograd_pays(isa, small));
  }
}
