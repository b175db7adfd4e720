#include <algorithm>
#include <cmath>

#include "core/op.h"

namespace edgec {
namespace {

enum class Mode { kNearest, kLinear, kCubic };
enum class Padding { kZeros, kBorder, kReflection };
constexpr int kMaxSpatial = 3;

struct Sampler {
  Mode mode;
  Padding padding;
  bool align_corners;
  int spatial;
  int64_t size[kMaxSpatial];

  // From [-1, 1] to the index of a sample; with align_corners the ends are the centres of the border samples.
  double unnormalize(double x, int64_t n) const {
    return align_corners ? (x + 1) / 2 * static_cast<double>(n - 1)
                         : ((x + 1) * static_cast<double>(n) - 1) / 2;
  }
  double reflect(double x, int64_t n) const {
    const double low = align_corners ? 0 : -0.5;
    const double high = align_corners ? static_cast<double>(n - 1) : static_cast<double>(n) - 0.5;
    const double range = high - low;
    if (range <= 0) return 0;
    if (!std::isfinite(x)) return low;
    double d = x < low ? low - x : x > high ? x - high : 0;
    if (d == 0) return x;
    const double times = std::floor(d / range), rest = d - times * range;
    const bool even = std::fmod(times, 2) == 0;
    return (x < low) == even ? low + rest : high - rest;
  }
  double pad(double x, int64_t n) const {
    if (padding == Padding::kBorder) return std::clamp(x, 0.0, static_cast<double>(n - 1));
    if (padding == Padding::kReflection) return reflect(x, n);
    return x;
  }
  // The sample at integer coordinates, padded; NaN coordinates count as outside.
  float at(const float* image, const int64_t* index) const {
    int64_t offset = 0;
    for (int d = 0; d < spatial; ++d) {
      int64_t i = index[d];
      if (i < 0 || i >= size[d]) {
        if (padding == Padding::kZeros) return 0;
        i = std::clamp<int64_t>(std::llround(pad(static_cast<double>(i), size[d])), 0, size[d] - 1);
      }
      offset = offset * size[d] + i;
    }
    return image[offset];
  }
  static void cubic(double t, double* w) {
    constexpr double a = -0.75;
    const auto inner = [](double x) { return ((a + 2) * x - (a + 3)) * x * x + 1; };
    const auto outer = [](double x) { return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a; };
    w[0] = outer(t + 1);
    w[1] = inner(t);
    w[2] = inner(1 - t);
    w[3] = outer(2 - t);
  }

  // `point` holds x first (the last dimension), as the grid stores it.
  float sample(const float* image, const float* point) const {
    double x[kMaxSpatial];
    for (int d = 0; d < spatial; ++d) {
      const int64_t n = size[d];
      x[d] = unnormalize(static_cast<double>(point[spatial - 1 - d]), n);
      if (mode != Mode::kCubic) x[d] = pad(x[d], n);
      // Keeps every index below in int64; far outside is outside.
      if (!(std::fabs(x[d]) < 1e9)) x[d] = -1e9;
    }
    int64_t index[kMaxSpatial];
    if (mode == Mode::kNearest) {
      for (int d = 0; d < spatial; ++d) index[d] = static_cast<int64_t>(std::nearbyint(x[d]));
      return at(image, index);
    }
    const int taps = mode == Mode::kLinear ? 2 : 4, before = mode == Mode::kLinear ? 0 : 1;
    double weight[kMaxSpatial][4];
    int64_t base[kMaxSpatial];
    int total = 1;
    for (int d = 0; d < spatial; ++d) {
      const double floor = std::floor(x[d]), t = x[d] - floor;
      base[d] = static_cast<int64_t>(floor) - before;
      if (mode == Mode::kLinear) {
        weight[d][0] = 1 - t;
        weight[d][1] = t;
      } else {
        cubic(t, weight[d]);
      }
      total *= taps;
    }
    double sum = 0;
    for (int k = 0; k < total; ++k) {
      double w = 1;
      int rest = k;
      for (int d = spatial - 1; d >= 0; --d) {
        const int tap = rest % taps;
        rest /= taps;
        index[d] = base[d] + tap;
        w *= weight[d][tap];
      }
      if (w != 0) sum += w * static_cast<double>(at(image, index));
    }
    return static_cast<float>(sum);
  }
};

Status infer(InferContext& ctx) {
  EDGEC_TRY(ctx.want_dtype(0, {DType::kF32}));
  EDGEC_TRY(ctx.want_dtype(1, {DType::kF32}));
  const Shape &x = ctx.input(0).shape, &grid = ctx.input(1).shape;
  const int spatial = x.rank() - 2;
  if (spatial < 1 || spatial > kMaxSpatial || grid.rank() != x.rank() || grid.back() != spatial ||
      grid[0] != x[0])
    return ctx.fail(StatusCode::kShape, "input %s wants a grid [%lld, ..., %d] of %d dimensions, got %s",
                    x.to_string().c_str(), static_cast<long long>(x.rank() ? x[0] : 0), spatial, x.rank(),
                    grid.to_string().c_str());
  for (int d = 2; d < x.rank(); ++d)
    if (x[d] == 0) return ctx.fail(StatusCode::kShape, "input %s has no samples", x.to_string().c_str());
  Shape y{x[0], x[1]};
  for (int d = 1; d <= spatial; ++d) y.push_back(grid[d]);
  return ctx.set_output(0, DType::kF32, y);
}

Status prepare(PrepareContext& ctx) {
  Sampler sampler{};
  const std::string &mode = ctx.attr_string("mode"), &padding = ctx.attr_string("padding_mode");
  sampler.mode = mode == "nearest" ? Mode::kNearest : mode == "cubic" ? Mode::kCubic : Mode::kLinear;
  sampler.padding = padding == "border"       ? Padding::kBorder
                    : padding == "reflection" ? Padding::kReflection
                                              : Padding::kZeros;
  sampler.align_corners = ctx.attr_bool("align_corners");
  const Shape x = ctx.input(0).shape;
  sampler.spatial = x.rank() - 2;
  for (int d = 0; d < sampler.spatial; ++d) sampler.size[d] = x[d + 2];
  const int64_t pixels = x.product(2, x.rank()), channels = x[1];
  const int64_t points = ctx.output(0).shape.product(2, x.rank());
  ctx.set_step(make_step("grid_sample", [=](const StepArgs& args) {
    const float *image = args.inputs[0]->as<const float>(), *grid = args.inputs[1]->as<const float>();
    float* y = args.outputs[0]->as<float>();
    args.pool.parallel_for(
        x[0] * channels, 60.0 * static_cast<double>(points), [&](int64_t begin, int64_t end, int) {
          for (int64_t plane = begin; plane < end; ++plane)
            for (int64_t p = 0; p < points; ++p)
              y[plane * points + p] = sampler.sample(
                  image + plane * pixels, grid + (plane / channels * points + p) * sampler.spatial);
        });
    return ok_status();
  }));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(grid_sample) {
  registry.add("GridSample")
      .doc(
          "Samples [N, C, spatial...] at the points of a grid with coordinates in [-1, 1] (ONNX, torch "
          "grid_sample).")
      .input("x", "f32[N, C, H, W], one to three spatial dimensions")
      .input("grid", "f32[N, out..., spatial], x first")
      .output("y")
      .attr("mode", "linear", "", "nearest|linear|cubic")
      .attr("padding_mode", "zeros", "", "zeros|border|reflection")
      .attr("align_corners", 0)
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
