// GFLOP/s of the f32 matrix product on layers of well-known networks, beside the peak of its own register
// tile on data in L1. Usage: bench_dot [isa [row]]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "kernels/dot/dot.h"

namespace {

using namespace edgec;

struct Layer {
  const char* name;
  int64_t m, k, n;
};
// 1x1 and unrolled KxK convolutions and fully connected layers; batch 1.
const Layer kLayers[] = {
    {"resnet50 stem 7x7/2", 12544, 147, 64}, {"resnet50 s1 1x1 64-64", 3136, 64, 64},
    {"resnet50 s1 3x3 64", 3136, 576, 64},   {"resnet50 s1 1x1 64-256", 3136, 64, 256},
    {"resnet50 s2 3x3 128", 784, 1152, 128}, {"resnet50 s2 1x1 512-128", 784, 512, 128},
    {"resnet50 s3 3x3 256", 196, 2304, 256}, {"resnet50 s3 1x1 256-1024", 196, 256, 1024},
    {"resnet50 s4 3x3 512", 49, 4608, 512},  {"resnet50 s4 1x1 2048-512", 49, 2048, 512},
    {"resnet50 fc", 1, 2048, 1000},          {"mobilenetv2 stem", 12544, 27, 32},
    {"mobilenetv2 32-16", 12544, 32, 16},    {"mobilenetv2 16-96", 12544, 16, 96},
    {"mobilenetv2 96-24", 3136, 96, 24},     {"mobilenetv2 24-144", 3136, 24, 144},
    {"mobilenetv2 192-32", 784, 192, 32},    {"mobilenetv2 384-64", 196, 384, 64},
    {"mobilenetv2 576-96", 196, 576, 96},    {"mobilenetv2 960-160", 49, 960, 160},
    {"mobilenetv2 320-1280", 49, 320, 1280}, {"vit-tiny qkv", 197, 192, 576},
    {"vit-tiny mlp", 197, 768, 192},         {"llm gemv", 1, 4096, 4096},
    {"llm 4 rows", 4, 1024, 4096},           {"square 1024", 1024, 1024, 1024},
};

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Best of several runs: the machine may be busy with something else in any one of them.
template <class F>
double best_seconds(const F& f) {
  double best = 1e30, start = now();
  int runs = 0;
  while (runs < 5 || (now() - start < 0.15 && runs < 2000)) {
    const double t = now();
    f();
    best = std::min(best, now() - t);
    ++runs;
  }
  return best;
}

float* aligned(std::vector<float>& store, size_t floats) {
  store.assign(floats + 16, 0.5f);
  const auto address = reinterpret_cast<uintptr_t>(store.data());
  return store.data() + (64 - address % 64) % 64 / sizeof(float);
}

double peak(const DotRow& row) {
  std::vector<float> b_store, a_store, c_store;
  const int64_t k = 64;
  float* b = aligned(b_store, static_cast<size_t>(k * row.nr));
  float* a = aligned(a_store, static_cast<size_t>(k * row.mr));
  float* c = aligned(c_store, static_cast<size_t>(row.mr * row.nr));
  const float* pointers[kDotMaxRows];
  for (int i = 0; i < row.mr; ++i) pointers[i] = a + i * k;
  DotTile t;
  t.a = pointers;
  t.k = k;
  t.b = b;
  t.b_step = row.nr;
  t.c = c;
  t.c_pitch = row.nr;
  t.n = row.nr;
  const int repeats = 1000;
  const double seconds = best_seconds([&] {
    for (int i = 0; i < repeats; ++i) row.kernels[row.mr - 1][row.nr / row.lanes - 1](t);
  });
  return 2.0 * repeats * static_cast<double>(k * row.mr * row.nr) / seconds / 1e9;
}

double layer_gflops(Isa isa, const DotRow& row, const Layer& l) {
  DotProduct p;
  p.row = &row;
  p.activations = &activation_kernels(isa);
  p.packing = dot_packing(row, l.n, l.k);
  p.m = l.m;
  dot_plan(&p, 0, 1);
  std::vector<float> a, b, packed, c, scratch;
  float* a_data = aligned(a, static_cast<size_t>(l.m * l.k));
  float* packed_data = aligned(packed, static_cast<size_t>(p.packing.floats()));
  float* c_data = aligned(c, static_cast<size_t>(l.m * l.n));
  float* scratch_data = aligned(scratch, p.scratch_bytes() / sizeof(float));
  DotOperands o;
  o.a = a_data;
  o.a_pitch = l.k;
  o.packed = packed_data;
  o.c = c_data;
  o.c_pitch = l.n;
  p.activation = Activation::kRelu;
  const double seconds = best_seconds([&] { dot_run(p, o, 0, p.tasks(), scratch_data); });
  return 2.0 * static_cast<double>(l.m * l.n * l.k) / seconds / 1e9;
}

}  // namespace

int main(int argc, char** argv) {
  Isa isa = best_isa();
  for (int i = 0; i < kIsaCount; ++i)
    if (argc > 1 && std::strcmp(argv[1], isa_name(static_cast<Isa>(i))) == 0) isa = static_cast<Isa>(i);
  const DotKernels& kernels = dot_kernels(isa);
  double best = 0;
  for (int i = 0; i < kernels.count; ++i) {
    const double p = peak(kernels.rows[i]);
    std::printf("%-24s %7.1f GFLOP/s in L1\n", kernels.rows[i].name, p);
    best = std::max(best, p);
  }
  for (const Layer& l : kLayers) {
    const DotRow* row = &dot_choose(isa, l.m, l.n);
    for (int i = 0; i < kernels.count; ++i)
      if (argc > 2 && std::strcmp(argv[2], kernels.rows[i].name) == 0) row = &kernels.rows[i];
    const double g = layer_gflops(isa, *row, l);
    std::printf("%-26s %6lld x %5lld x %5lld  %-20s %7.1f GFLOP/s  %3.0f %%\n", l.name,
                static_cast<long long>(l.m), static_cast<long long>(l.k), static_cast<long long>(l.n),
                row->name, g, 100 * g / best);
  }
  return 0;
}
