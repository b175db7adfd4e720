// Milliseconds and GFLOP/s of whole Conv2d steps on layers of well-known networks, one thread or more.
// Usage: bench_conv [threads [isa]]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "core/memory.h"
#include "core/planner.h"

namespace {

using namespace edgec;

struct Layer {
  const char* name;
  int64_t size, channels, out, kernel, stride, pad, group;
};
const Layer kLayers[] = {
    {"r50 stem", 224, 3, 64, 7, 2, 3, 1},
    {"r50 s1 3x3", 56, 64, 64, 3, 1, 1, 1},
    {"r50 s1 64-256", 56, 64, 256, 1, 1, 0, 1},
    {"r50 s1 256-64", 56, 256, 64, 1, 1, 0, 1},
    {"r50 s2 3x3/2", 56, 128, 128, 3, 2, 1, 1},
    {"r50 s2 3x3", 28, 128, 128, 3, 1, 1, 1},
    {"r50 s2 512-128", 28, 512, 128, 1, 1, 0, 1},
    {"r50 s3 3x3", 14, 256, 256, 3, 1, 1, 1},
    {"r50 s3 1024-256", 14, 1024, 256, 1, 1, 0, 1},
    {"r50 s4 3x3", 7, 512, 512, 3, 1, 1, 1},
    {"r50 s4 512-2048", 7, 512, 2048, 1, 1, 0, 1},
    {"r50 down 256-512/2", 56, 256, 512, 1, 2, 0, 1},
    {"mb stem", 224, 3, 32, 3, 2, 1, 1},
    {"mb 32-16", 112, 32, 16, 1, 1, 0, 1},
    {"mb 16-96", 112, 16, 96, 1, 1, 0, 1},
    {"mb 96-24", 56, 96, 24, 1, 1, 0, 1},
    {"mb 192-32", 28, 192, 32, 1, 1, 0, 1},
    {"mb 384-64", 14, 384, 64, 1, 1, 0, 1},
    {"mb 960-160", 7, 960, 160, 1, 1, 0, 1},
    {"mb dw 3x3 96", 112, 96, 96, 3, 2, 1, 96},
    {"mb dw 144", 56, 144, 144, 3, 1, 1, 144},
    {"resnext 3x3 g32", 56, 128, 128, 3, 1, 1, 32},
    {"shufflenet 1x1 g4", 28, 200, 200, 1, 1, 0, 4},
};

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

bool time_layer(const Layer& l, int threads, Isa isa) {
  const int64_t out_size = (l.size + 2 * l.pad - l.kernel) / l.stride + 1;
  const TensorType types[] = {{DType::kF32, {1, l.size, l.size, l.channels}, nullptr},
                              {DType::kF32, {l.out, l.kernel, l.kernel, l.channels / l.group}, nullptr},
                              {DType::kF32, {l.out}, nullptr}};
  TensorType out_type{DType::kF32, {1, out_size, out_size, l.out}, nullptr};
  AlignedBlock blocks[4], scratch;
  TensorView views[4];
  for (int i = 0; i < 4; ++i) {
    const TensorType& t = i < 3 ? types[i] : out_type;
    if (!blocks[i].allocate(t.bytes())) return false;
    views[i] = dense_view(t, blocks[i].data());
    for (int64_t j = 0; j < t.shape.elements(); ++j)
      views[i].as<float>()[j] = 0.01f * static_cast<float>(j % 37 - 18);
  }
  const AttrList attrs = {{"strides", std::vector<int64_t>{l.stride, l.stride}},
                          {"pads", std::vector<int64_t>(4, l.pad)},
                          {"group", l.group},
                          {"activation", "relu"}};
  Planner::Request request;
  request.node = {Registry::instance().find("Conv2d"), &attrs, l.name};
  request.input_types = {&types[0], &types[1], &types[2]};
  request.input_values = {nullptr, views[1].data, views[2].data};
  request.input_pitches = {l.channels, l.channels / l.group, l.out};
  request.output_types = {&out_type};
  request.output_pitches = {l.out};
  request.isa = isa;
  request.threads = threads;
  SharedPacked shared;
  PlanPacked packed(&shared, 0);
  request.packed = &packed;
  PreparedNode prepared;
  const Status status = Planner::prepare(request, &prepared);
  if (!status.ok() || !scratch.allocate(prepared.scratch_bytes)) {
    std::fprintf(stderr, "%s: %s\n", l.name, status.message());
    return false;
  }
  ThreadPool pool(threads);
  TensorView* in[] = {&views[0], &views[1], &views[2], nullptr, nullptr};
  TensorView* out[] = {&views[3]};
  double best = 1e30;
  const double start = now();
  for (int runs = 0; runs < 5 || now() - start < 0.3; ++runs) {
    const double t = now();
    if (!prepared.step->run(StepArgs{in, out, scratch.data(), pool}).ok()) return false;
    best = std::min(best, now() - t);
  }
  const double flops = 2.0 * static_cast<double>(out_size * out_size * l.out) *
                       static_cast<double>(l.channels / l.group * l.kernel * l.kernel);
  std::printf("%-22s %8.3f ms %7.1f GFLOP/s  %s\n", l.name, best * 1e3, flops / best / 1e9,
              prepared.step->kernel_name());
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  Isa isa = best_isa();
  for (int i = 0; i < kIsaCount; ++i)
    if (argc > 2 && std::strcmp(argv[2], isa_name(static_cast<Isa>(i))) == 0) isa = static_cast<Isa>(i);
  for (const Layer& l : kLayers)
    if (!time_layer(l, threads, isa)) return 1;
  return 0;
}
