// Milliseconds and GOP/s of QuantizedConv2d beside Conv2d, in turns, on layers of well-known networks; one
// thread or more. The last columns: how many times faster, and the fraction of the dot instruction's rate on
// data in L1. Usage: bench_quantized [threads [isa [part of the layers' names]]]
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "core/memory.h"
#include "core/planner.h"
#include "kernels/quantized_dot/quantized_dot.h"

namespace {

using namespace edgec;

struct Layer {
  const char* name;
  int64_t size, channels, out, kernel, stride, pad, group;
  bool residual = false;
  int repeat = 1;  // how often the network has it
};
const Layer kLayers[] = {
    {"r50 stem", 224, 3, 64, 7, 2, 3, 1},
    {"r50 s1 64-64", 56, 64, 64, 1, 1, 0, 1},
    {"r50 s1 3x3", 56, 64, 64, 3, 1, 1, 1, false, 3},
    {"r50 s1 64-256", 56, 64, 256, 1, 1, 0, 1, false, 1},
    {"r50 s1 64-256 +", 56, 64, 256, 1, 1, 0, 1, true, 3},
    {"r50 s1 256-64", 56, 256, 64, 1, 1, 0, 1, false, 2},
    {"r50 s2 256-128", 56, 256, 128, 1, 1, 0, 1},
    {"r50 s2 3x3/2", 56, 128, 128, 3, 2, 1, 1},
    {"r50 s2 down 256-512/2", 56, 256, 512, 1, 2, 0, 1},
    {"r50 s2 3x3", 28, 128, 128, 3, 1, 1, 1, false, 3},
    {"r50 s2 512-128", 28, 512, 128, 1, 1, 0, 1, false, 3},
    {"r50 s2 128-512 +", 28, 128, 512, 1, 1, 0, 1, true, 4},
    {"r50 s3 512-256", 28, 512, 256, 1, 1, 0, 1},
    {"r50 s3 3x3/2", 28, 256, 256, 3, 2, 1, 1},
    {"r50 s3 down 512-1024/2", 28, 512, 1024, 1, 2, 0, 1},
    {"r50 s3 3x3", 14, 256, 256, 3, 1, 1, 1, false, 5},
    {"r50 s3 1024-256", 14, 1024, 256, 1, 1, 0, 1, false, 5},
    {"r50 s3 256-1024 +", 14, 256, 1024, 1, 1, 0, 1, true, 6},
    {"r50 s4 1024-512", 14, 1024, 512, 1, 1, 0, 1},
    {"r50 s4 3x3/2", 14, 512, 512, 3, 2, 1, 1},
    {"r50 s4 down 1024-2048/2", 14, 1024, 2048, 1, 2, 0, 1},
    {"r50 s4 3x3", 7, 512, 512, 3, 1, 1, 1, false, 2},
    {"r50 s4 2048-512", 7, 2048, 512, 1, 1, 0, 1, false, 2},
    {"r50 s4 512-2048 +", 7, 512, 2048, 1, 1, 0, 1, true, 3},
    {"r50 fc", 1, 2048, 1000, 1, 1, 0, 1},
    {"mb stem", 224, 3, 32, 3, 2, 1, 1},
    {"mb 32-16", 112, 32, 16, 1, 1, 0, 1},
    {"mb 16-96", 112, 16, 96, 1, 1, 0, 1},
    {"mb 96-24", 56, 96, 24, 1, 1, 0, 1},
    {"mb 24-144", 56, 24, 144, 1, 1, 0, 1},
    {"mb 192-32 +", 28, 192, 32, 1, 1, 0, 1, true},
    {"mb 384-64", 14, 384, 64, 1, 1, 0, 1},
    {"mb 960-160", 7, 960, 160, 1, 1, 0, 1},
    {"mb 320-1280", 7, 320, 1280, 1, 1, 0, 1},
    {"mb dw 32", 112, 32, 32, 3, 1, 1, 32},
    {"mb dw 96/2", 112, 96, 96, 3, 2, 1, 96},
    {"mb dw 144", 56, 144, 144, 3, 1, 1, 144},
    {"mb dw 384", 14, 384, 384, 3, 1, 1, 384},
    {"mb dw 960", 7, 960, 960, 3, 1, 1, 960},
    {"mb3 dw 5x5 120", 28, 120, 120, 5, 1, 2, 120},
    {"sq squeeze 96-16", 55, 128, 16, 1, 1, 0, 1},
    {"sq expand 16-64", 55, 16, 64, 1, 1, 0, 1},
    {"sq expand 3x3 16-64", 55, 16, 64, 3, 1, 1, 1},
    {"sq expand 3x3 48-192", 13, 48, 192, 3, 1, 1, 1},
    {"sq 512-1000", 13, 512, 1000, 1, 1, 0, 1},
    {"resnext 3x3 g32", 56, 128, 128, 3, 1, 1, 32},
    {"resnet8 3x3 16", 32, 16, 16, 3, 1, 1, 1},
};

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// One prepared convolution with its memory.
struct Convolution {
  TensorType types[5], out_type;
  AlignedBlock blocks[6], scratch;
  TensorView views[6];
  SharedPacked shared;
  PlanPacked packed{&shared, 0};
  PreparedNode prepared;
  TensorView *in[5] = {}, *out[1] = {};
  double best = 1e30;

  bool make(const Layer& l, bool quantized, Isa isa, int threads) {
    const int64_t out_size = (l.size + 2 * l.pad - l.kernel) / l.stride + 1;
    const bool excess = quantized && isa_stores_excess128(isa);
    const DType activation = !quantized ? DType::kF32 : excess ? DType::kU8 : DType::kI8;
    const TensorType x{activation, {1, l.size, l.size, l.channels}, nullptr, excess};
    const TensorType weight{quantized ? DType::kI8 : DType::kF32,
                            {l.out, l.kernel, l.kernel, l.channels / l.group}};
    out_type = {activation, {1, out_size, out_size, l.out}, nullptr, excess};
    const TensorType scale{DType::kF32, {l.out}}, bias{quantized ? DType::kI32 : DType::kF32, {l.out}};
    std::vector<TensorType> list = {x, weight};
    if (quantized) list.push_back(scale);
    list.push_back(bias);
    if (l.residual) list.push_back(out_type);
    Planner::Request request;
    const AttrList shared_attrs = {{"strides", std::vector<int64_t>{l.stride, l.stride}},
                                   {"pads", std::vector<int64_t>(4, l.pad)},
                                   {"group", l.group}};
    AttrList attrs = shared_attrs;
    if (quantized) {
      attrs.push_back({"y_scale", 1e4});
      attrs.push_back({"x_zero_point", -3});
    } else {
      attrs.push_back({"activation", "relu"});
    }
    request.node = {Registry::instance().find(quantized ? "QuantizedConv2d" : "Conv2d"), &attrs, l.name};
    for (size_t i = 0; i <= list.size(); ++i) {
      const TensorType& t = i < list.size() ? (types[i] = list[i]) : out_type;
      if (!blocks[i].allocate(t.bytes())) return false;
      views[i] = dense_view(t, blocks[i].data());
      for (int64_t j = 0; j < t.shape.elements(); ++j) {
        const auto v = static_cast<int>(j % 37 - 18);
        if (t.dtype == DType::kF32)
          views[i].as<float>()[j] = 0.01f * static_cast<float>(i == 2 ? 18 : v);
        else if (t.dtype == DType::kI32)
          views[i].as<int32_t>()[j] = v;
        else
          views[i].as<int8_t>()[j] = static_cast<int8_t>(7 * v);
      }
      if (i == list.size()) break;
      const bool constant = i > 0 && !(l.residual && i + 1 == list.size());
      request.input_types.push_back(&types[i]);
      request.input_values.push_back(constant ? views[i].data : nullptr);
      request.input_pitches.push_back(views[i].pitch);
      in[i] = &views[i];
    }
    out[0] = &views[list.size()];
    request.output_types = {&out_type};
    request.output_pitches = {l.out};
    request.isa = isa;
    request.threads = threads;
    request.packed = &packed;
    const Status status = Planner::prepare(request, &prepared);
    if (status.ok() && scratch.allocate(prepared.scratch_bytes)) return true;
    std::fprintf(stderr, "%s: %s\n", l.name, status.message());
    return false;
  }
  void run(ThreadPool& pool) {
    const double t = now();
    if (!prepared.step->run(StepArgs{in, out, scratch.data(), pool}).ok()) std::abort();
    best = std::min(best, now() - t);
  }
};

// GOP/s of the tile on data in L1.
double tile_rate(const QuantizedDotKernels& kernels) {
  QuantizedProduct p;
  p.kernels = &kernels;
  p.m = kernels.mr;
  const int64_t k = 512;
  p.packing = quantized_packing(kernels, kernels.nr, k, 1);
  quantized_plan(&p, 1);
  AlignedBlock a, b, c, scratch;
  if (!a.allocate(static_cast<size_t>(k * p.m)) || !b.allocate(static_cast<size_t>(p.packing.bytes())) ||
      !c.allocate(static_cast<size_t>(kernels.nr * p.m)) || !scratch.allocate(p.scratch_bytes()))
    return 0;
  std::memset(static_cast<void*>(a.data()), 1, static_cast<size_t>(k * p.m));
  std::memset(static_cast<void*>(b.data()), 0, static_cast<size_t>(p.packing.bytes()));
  QuantizedOperands o;
  o.a = reinterpret_cast<const uint8_t*>(a.data());
  o.a_pitch = k;
  o.a_end = o.a + k * p.m;
  o.packed = reinterpret_cast<const uint8_t*>(b.data());
  o.c = c.data();
  o.c_pitch = kernels.nr;
  double best = 1e30;
  for (int i = 0; i < 200; ++i) {
    const double t = now();
    for (int j = 0; j < 100; ++j) quantized_run(p, o, 0, 1, scratch.data());
    best = std::min(best, (now() - t) / 100);
  }
  return 2.0 * static_cast<double>(k * p.m * kernels.nr) / best / 1e9;
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  Isa isa = best_isa();
  for (int i = 0; i < kIsaCount; ++i)
    if (argc > 2 && std::strcmp(argv[2], isa_name(static_cast<Isa>(i))) == 0) isa = static_cast<Isa>(i);
  const double rate = tile_rate(quantized_dot_kernels(isa)) * threads;
  std::printf("%s: %.0f GOP/s in L1\n", quantized_dot_kernels(isa).name, rate);
  double f32_total = 0, quantized_total = 0;
  for (const Layer& l : kLayers) {
    if (argc > 3 && std::strstr(l.name, argv[3]) == nullptr) continue;
    Convolution f32, quantized;
    if (!f32.make(l, false, isa, threads) || !quantized.make(l, true, isa, threads)) return 1;
    ThreadPool pool(threads);
    const double start = now();
    for (int runs = 0; runs < 5 || now() - start < 0.3; ++runs) {
      f32.run(pool);
      for (int i = 0; i < 3; ++i) quantized.run(pool);
    }
    const Shape& y = f32.out_type.shape;
    const double ops = 2.0 * static_cast<double>(y.elements()) *
                       static_cast<double>(l.channels / l.group * l.kernel * l.kernel);
    std::printf("%-24s f32 %8.3f ms %6.0f GOP/s   int8 %8.3f ms %6.0f GOP/s   %5.2fx  %3.0f %%\n", l.name,
                f32.best * 1e3, ops / f32.best / 1e9, quantized.best * 1e3, ops / quantized.best / 1e9,
                f32.best / quantized.best, 100 * ops / quantized.best / 1e9 / rate);
    if (std::strncmp(l.name, "r50", 3) == 0) {
      f32_total += f32.best * l.repeat;
      quantized_total += quantized.best * l.repeat;
    }
  }
  if (quantized_total > 0)
    std::printf("resnet50 convolutions: f32 %.2f ms, int8 %.2f ms, %.2fx\n", f32_total * 1e3,
                quantized_total * 1e3, f32_total / quantized_total);
  return 0;
}
