// QuantizedConv2d, QuantizedConvTranspose2d and QuantizedMatMul as a session prepares them, against naive
// loops: equal on every ISA, with 1 to 3 threads, with every stored form of every activation, pitched and in
// place. Memory is exactly as long as the views say, so that AddressSanitizer sees a read or write beyond it.
#include <algorithm>
#include <functional>

#include "harness.h"
#include "support/op_runner.h"

using namespace edgec;
using namespace edgec::test;

namespace {

// An i8 tensor as stored: pitched, and possibly as u8 = i8 + 128.
struct Stored {
  TensorType type;
  std::vector<int8_t> values;
  std::vector<uint8_t> memory;
  TensorView view;

  void set(const Shape& shape, bool excess, int64_t extra_pitch, Random& random, bool extreme) {
    type = {excess ? DType::kU8 : DType::kI8, shape, nullptr, excess};
    values.resize(static_cast<size_t>(shape.elements()));
    for (int8_t& v : values)
      v = static_cast<int8_t>(extreme ? (random.integer(0, 1) ? 127 : -128) : random.integer(-128, 127));
    place(shape.back() + extra_pitch);
  }
  void place(int64_t pitch) {
    const int64_t length = type.shape.back(), rows = type.shape.elements() / length;
    memory.assign(static_cast<size_t>((rows - 1) * pitch + length), 0x5A);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t i = 0; i < length; ++i)
        memory[static_cast<size_t>(r * pitch + i)] =
            static_cast<uint8_t>(values[static_cast<size_t>(r * length + i)] + (type.excess128 ? 128 : 0));
    view = dense_view(type, memory.data());
    view.pitch = pitch;
  }
};

struct Case {
  const char* op = "QuantizedConv2d";
  AttrList attrs;
  Shape x, weight, y;
  bool b_is_activation = false, bias = true, residual = false, in_place = false, extreme = false;
  int64_t x_pitch = 0, y_pitch = 0;
  int x_zero = 0, b_zero = 0, y_zero = 0, residual_zero = 0, minimum = -128, maximum = 127;
  std::string text;
};

// sum of (x - zero) * w for output element `at`.
using Accumulate = std::function<int64_t(const Stored& x, const Stored& weight, int64_t at)>;

void check(const Case& t, const Accumulate& accumulate, Isa isa, int threads, Random& random) {
  if (failures() >= 5) return;
  const bool can_excess = isa_stores_excess128(isa);
  const auto excess = [&] { return can_excess && random.integer(0, 1) == 1; };
  Stored x, weight, residual, y;
  const bool y_excess = excess();
  x.set(t.x, excess(), t.x_pitch, random, t.extreme);
  weight.set(t.weight, t.b_is_activation && excess(), 0, random, t.extreme);
  residual.set(t.y, t.in_place ? y_excess : excess(), t.in_place ? t.y_pitch : 2 * t.y_pitch, random,
               t.extreme);
  y.set(t.y, y_excess, t.y_pitch, random, false);
  const int64_t channels = t.y.back();
  std::vector<float> scales = random.floats(static_cast<size_t>(channels), 0.5f, 1.5f);
  std::vector<int32_t> bias(static_cast<size_t>(channels));
  for (int32_t& b : bias) b = static_cast<int32_t>(random.integer(-5000, 5000));
  const TensorType scale_type{DType::kF32, {channels}}, bias_type{DType::kI32, {channels}};
  TensorView scale_view = dense_view(scale_type, scales.data()),
             bias_view = dense_view(bias_type, bias.data());
  const float y_scale = 150.0f;
  AttrList attrs = t.attrs;
  const bool matmul = std::string(t.op) == "QuantizedMatMul";
  attrs.push_back({matmul ? "a_zero_point" : "x_zero_point", t.x_zero});
  if (matmul) attrs.push_back({"b_zero_point", t.b_zero});
  attrs.push_back({"y_scale", static_cast<double>(y_scale)});
  attrs.push_back({"y_zero_point", t.y_zero});
  attrs.push_back({"minimum", t.minimum});
  attrs.push_back({"maximum", t.maximum});
  if (t.residual) {
    attrs.push_back({"residual_scale", 55.0});
    attrs.push_back({"residual_zero_point", t.residual_zero});
  }
  Planner::Request request;
  const OpDef* op = Registry::instance().find(t.op);
  request.node = {op, &attrs, "under_test"};
  request.input_types = {&x.type, &weight.type, &scale_type};
  request.input_values = {nullptr, t.b_is_activation ? nullptr : weight.view.data, scales.data()};
  request.input_pitches = {x.view.pitch, weight.view.pitch, channels};
  std::vector<TensorView*> in(op->inputs.size()), out = {&y.view};
  in[0] = &x.view;
  in[1] = &weight.view;
  in[2] = &scale_view;
  if (t.bias || t.residual) {
    request.input_types.push_back(t.bias ? &bias_type : nullptr);
    request.input_values.push_back(t.bias ? bias.data() : nullptr);
    request.input_pitches.push_back(channels);
    in[3] = t.bias ? &bias_view : nullptr;
  }
  if (t.residual) {
    request.input_types.push_back(&residual.type);
    request.input_values.push_back(nullptr);
    request.input_pitches.push_back(residual.view.pitch);
    in[4] = &residual.view;
    if (t.in_place) {
      request.aliased_input = 4;
      y.memory = residual.memory;
      y.view.data = y.memory.data();
      residual.view.data = y.memory.data();
    }
  }
  request.output_types = {&y.type};
  request.output_pitches = {y.view.pitch};
  request.isa = isa;
  request.threads = threads;
  SharedPacked shared;
  PlanPacked packed(&shared, 0);
  request.packed = &packed;
  PreparedNode prepared;
  REQUIRE_OK(Planner::prepare(request, &prepared));
  AlignedBlock scratch;
  REQUIRE(scratch.allocate(prepared.scratch_bytes));
  std::memset(static_cast<void*>(scratch.data()), 0xEE, prepared.scratch_bytes);
  ThreadPool pool(threads);
  REQUIRE_OK(prepared.step->run(StepArgs{in.data(), out.data(), scratch.data(), pool}));
  for (int64_t i = 0; i < t.y.elements(); ++i) {
    const auto c = static_cast<size_t>(i % channels);
    const auto acc = static_cast<int32_t>(static_cast<uint32_t>(accumulate(x, weight, i)) +
                                          static_cast<uint32_t>(t.bias ? bias[c] : 0));
    float v = static_cast<float>(acc) *
              static_cast<float>(static_cast<double>(scales[c]) / static_cast<double>(y_scale));
    if (t.residual)
      v += static_cast<float>(residual.values[static_cast<size_t>(i)] - t.residual_zero) *
           static_cast<float>(55.0 / static_cast<double>(y_scale));
    const int want = std::clamp(static_cast<int>(std::nearbyint(std::clamp(v, -0x1p30f, 0x1p30f))) + t.y_zero,
                                t.minimum, t.maximum);
    const int got =
        y.memory[static_cast<size_t>(i / channels * y.view.pitch + i % channels)] - (y_excess ? 128 : 0);
    if (static_cast<int8_t>(got) == want) continue;
    fail(__FILE__, __LINE__, "%s %s, %s, %d threads, x %s y %s: element %d is %d, expected %d",
         t.text.c_str(), prepared.step->kernel_name(), isa_name(isa), threads, dtype_name(x.type.dtype),
         dtype_name(y.type.dtype), int(i), static_cast<int8_t>(got), want);
    return;
  }
  for (int64_t r = 0; r + 1 < t.y.elements() / channels; ++r)
    for (int64_t i = channels; i < y.view.pitch; ++i)
      if (y.memory[static_cast<size_t>(r * y.view.pitch + i)] != 0x5A)
        return fail(__FILE__, __LINE__, "%s: wrote outside row %d", t.text.c_str(), int(r));
}

void set_zero_points(Case* t, Random& random) {
  const auto zero = [&] { return static_cast<int>(random.integer(-128, 127)); };
  t->x_zero = zero();
  t->y_zero = zero();
  t->residual_zero = zero();
  if (random.integer(0, 2) == 0) t->minimum = static_cast<int>(random.integer(-128, 0)), t->maximum = 90;
  t->bias = random.integer(0, 3) != 0;
  t->extreme = random.integer(0, 4) == 0;
}

struct Convolution {
  int64_t n = 1, h = 5, w = 5, c = 3, o = 4, kh = 3, kw = 3, group = 1, stride = 1, dilation = 1, pad = 1;
  bool transposed = false;

  int64_t out(int64_t size, int64_t k) const {
    return transposed ? (size - 1) * stride - 2 * pad + (k - 1) * dilation + 1
                      : (size + 2 * pad - (k - 1) * dilation - 1) / stride + 1;
  }
  void test(Random& random, bool residual, int64_t x_pitch, int64_t y_pitch) const {
    if (out(h, kh) < 1 || out(w, kw) < 1 ||
        (!transposed && (h + 2 * pad < (kh - 1) * dilation + 1 || w + 2 * pad < (kw - 1) * dilation + 1)))
      return;
    Case t;
    t.op = transposed ? "QuantizedConvTranspose2d" : "QuantizedConv2d";
    t.attrs = {{"strides", std::vector<int64_t>{stride, stride}},
               {"dilations", std::vector<int64_t>{dilation, dilation}},
               {"pads", std::vector<int64_t>(4, pad)},
               {"group", group}};
    t.x = {n, h, w, c};
    t.weight = {o, kh, kw, c / group};
    t.y = {n, out(h, kh), out(w, kw), o};
    t.residual = residual && !transposed;
    t.in_place = t.residual && random.integer(0, 1);
    t.x_pitch = x_pitch;
    t.y_pitch = y_pitch;
    t.text = format_string("%s n%d h%d w%d c%d o%d k%dx%d g%d s%d d%d p%d residual%d pitch+%d+%d", t.op,
                           int(n), int(h), int(w), int(c), int(o), int(kh), int(kw), int(group), int(stride),
                           int(dilation), int(pad), residual, int(x_pitch), int(y_pitch));
    set_zero_points(&t, random);
    const int64_t oh = t.y[1], ow = t.y[2], cg = c / group;
    const auto accumulate = [&](const Stored& x, const Stored& weights, int64_t at) {
      const int64_t channel = at % o, ox = at / o % ow, oy = at / o / ow % oh, image = at / o / ow / oh;
      int64_t sum = 0;
      for (int64_t ky = 0; ky < kh; ++ky)
        for (int64_t kx = 0; kx < kw; ++kx) {
          int64_t iy = oy * stride - pad + ky * dilation, ix = ox * stride - pad + kx * dilation;
          if (transposed) {
            iy = oy + pad - ky * dilation;
            ix = ox + pad - kx * dilation;
            if (iy < 0 || ix < 0 || iy % stride != 0 || ix % stride != 0) continue;
            iy /= stride;
            ix /= stride;
          }
          if (iy < 0 || iy >= h || ix < 0 || ix >= w) continue;
          for (int64_t i = 0; i < cg; ++i)
            sum += (x.values[static_cast<size_t>(((image * h + iy) * w + ix) * c +
                                                 channel / (o / group) * cg + i)] -
                    t.x_zero) *
                   weights.values[static_cast<size_t>(((channel * kh + ky) * kw + kx) * cg + i)];
        }
      return sum;
    };
    for (Isa isa : supported_isas())
      check(t, accumulate, isa, static_cast<int>(random.integer(1, 3)), random);
  }
};

}  // namespace

TEST(convolutions) {
  Random random(1);
  for (int64_t c : {1, 3, 4, 5, 16, 33, 36, 67})
    for (int64_t k : {1, 2, 3, 5})
      for (int64_t stride : {1, 2})
        for (int64_t dilation : {1, 2})
          for (int64_t pad : {int64_t{0}, k / 2}) {
            Convolution v;
            v.c = c;
            v.kh = k;
            v.kw = random.integer(0, 2) ? k : 1;
            v.o = random.integer(1, 70);
            v.h = random.integer(1, 9);
            v.w = random.integer(1, 16);
            v.n = random.integer(1, 2);
            v.stride = stride;
            v.dilation = dilation;
            v.pad = pad;
            const bool pitched = random.integer(0, 2) == 0;
            v.test(random, random.integer(0, 2) == 0, pitched ? 5 : 0, pitched ? 3 : 0);
          }
}

TEST(depthwise) {
  Random random(2);
  for (int64_t c : {2, 15, 16, 17, 31, 32, 63, 64, 65, 130})
    for (int64_t k : {1, 2, 3, 4, 5, 7})
      for (int64_t stride : {1, 2, 3})
        for (int64_t dilation : {1, 2}) {
          Convolution v;
          v.c = v.o = v.group = c;
          v.kh = random.integer(0, 2) ? k : 3;
          v.kw = k;
          v.h = random.integer(1, 9);
          v.w = random.integer(1, 20);
          v.n = random.integer(1, 2);
          v.stride = stride;
          v.dilation = dilation;
          v.pad = random.integer(0, k - 1);
          const bool pitched = random.integer(0, 2) == 0;
          v.test(random, random.integer(0, 2) == 0, pitched ? 5 : 0, pitched ? 3 : 0);
        }
  // Longer than the buffer of interleaved columns.
  for (int64_t k : {3, 5, 200}) {
    Convolution v;
    v.c = v.o = v.group = 5;
    v.h = 1;
    v.kh = 1;
    v.kw = k;
    v.w = 700;
    v.pad = 0;
    v.test(random, false, 0, 0);
  }
}

TEST(groups) {
  Random random(3);
  for (int64_t group : {2, 3, 32})
    for (int64_t ins : {1, 3, 4, 9})
      for (int64_t outs : {1, 2, 5, 17}) {
        Convolution v;
        v.group = group;
        v.c = group * ins;
        v.o = group * outs;
        v.test(random, random.integer(0, 1), 0, random.integer(0, 2));
      }
}

TEST(transposed) {
  Random random(4);
  for (int64_t c : {1, 3, 4, 17})
    for (int64_t k : {1, 2, 3, 4})
      for (int64_t stride : {1, 2, 3})
        for (int64_t dilation : {1, 2})
          for (int64_t group : {1, 2}) {
            Convolution v;
            v.transposed = true;
            v.c = c * group;
            v.o = group * random.integer(1, 20);
            v.group = group;
            v.kh = k;
            v.kw = random.integer(1, 4);
            v.h = random.integer(1, 5);
            v.w = random.integer(1, 16);
            v.stride = stride;
            v.dilation = dilation;
            v.pad = random.integer(0, 1);
            v.test(random, false, 3 * random.integer(0, 1), 3 * random.integer(0, 1));
          }
}

TEST(products) {
  Random random(5);
  for (int64_t m : {1, 2, 3, 5, 7, 12, 13, 49})
    for (int64_t k : {1, 3, 4, 63, 64, 130})
      for (bool activation : {false, true}) {
        Case t;
        const int64_t n = random.integer(1, 70), batch = random.integer(1, 3);
        const bool transpose = random.integer(0, 1), shared = random.integer(0, 1);
        t.op = "QuantizedMatMul";
        t.attrs = {{"transpose_b", transpose ? 1 : 0}};
        t.x = {batch, m, k};
        t.weight = transpose ? Shape{shared ? 1 : batch, n, k} : Shape{shared ? 1 : batch, k, n};
        t.y = {batch, m, n};
        t.b_is_activation = activation;
        t.b_zero = activation ? static_cast<int>(random.integer(-128, 127)) : 0;
        t.residual = random.integer(0, 1);
        t.in_place = t.residual && random.integer(0, 1);
        t.x_pitch = random.integer(0, 1) * 7;
        t.y_pitch = random.integer(0, 1) * 5;
        t.text = format_string("matmul %d x %d x %d batch %d transpose %d shared %d", int(m), int(k), int(n),
                               int(batch), transpose, shared);
        set_zero_points(&t, random);
        const auto accumulate = [&](const Stored& a, const Stored& b, int64_t at) {
          const int64_t column = at % n, row = at / n % m, i = at / n / m, j = shared ? 0 : i;
          int64_t sum = 0;
          for (int64_t l = 0; l < k; ++l)
            sum += (a.values[static_cast<size_t>((i * m + row) * k + l)] - t.x_zero) *
                   (b.values[static_cast<size_t>(j * k * n + (transpose ? column * k + l : l * n + column))] -
                    t.b_zero);
          return sum;
        };
        for (Isa isa : supported_isas())
          check(t, accumulate, isa, static_cast<int>(random.integer(1, 3)), random);
      }
}
