#include "kernels/resize/resize.h"

#include <algorithm>
#include <cmath>

#define EDGEC_FAMILY_TYPE ResizeKernels
#define EDGEC_FAMILY_TABLE kResize
#define EDGEC_FAMILY_ISAS "resize_isas.inc"
#define EDGEC_FAMILY_FIND resize_kernels
#include "kernels/family_table.inc"

namespace edgec {

namespace {

// Where output index o lies on the input axis. With a scale that is no quotient of the sizes this runs in
// f32, because the scale itself is f32 and the frameworks divide by it in f32: 1 / f32(1/3) must be 3.
double source_position(const ResizeOptions& options, const ResizeAxis& a, int64_t o) {
  const auto divide = [&](double position) {
    if (a.exact) return position * static_cast<double>(a.input) / static_cast<double>(a.output);
    return static_cast<double>(static_cast<float>(position) / a.scale);
  };
  const double x = static_cast<double>(o), last = static_cast<double>(a.input - 1);
  switch (options.coordinate) {
    case ResizeCoordinate::kHalfPixel:
      return divide(x + 0.5) - 0.5;
    case ResizeCoordinate::kAsymmetric:
      return divide(x);
    case ResizeCoordinate::kAlignCorners:
      return a.output == 1 ? 0 : x * last / static_cast<double>(a.output - 1);
    case ResizeCoordinate::kPytorchHalfPixel:
      return a.output == 1 ? -0.5 : divide(x + 0.5) - 0.5;
    case ResizeCoordinate::kHalfPixelSymmetric: {
      const double exact_output = a.exact ? static_cast<double>(a.output)
                                          : static_cast<double>(a.scale) * static_cast<double>(a.input);
      const double offset =
          static_cast<double>(a.input) / 2 * (1 - static_cast<double>(a.output) / exact_output);
      return offset + divide(x + 0.5) - 0.5;
    }
    case ResizeCoordinate::kTfCropAndResize:
      if (a.output == 1) return (a.roi_start + a.roi_end) * last / 2;
      return a.roi_start * last + x * (a.roi_end - a.roi_start) * last / static_cast<double>(a.output - 1);
  }
  return 0;
}

double nearest_index(ResizeNearest mode, double position) {
  switch (mode) {
    case ResizeNearest::kRoundPreferFloor:
      return std::ceil(position - 0.5);
    case ResizeNearest::kRoundPreferCeil:
      return std::floor(position + 0.5);
    case ResizeNearest::kFloor:
      return std::floor(position);
    case ResizeNearest::kCeil:
      return std::ceil(position);
  }
  return 0;
}

double linear_weight(double distance) { return std::max(0.0, 1 - std::fabs(distance)); }

double cubic_weight(double distance, double a) {
  const double d = std::fabs(distance);
  if (d <= 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  if (d < 2) return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
  return 0;
}

}  // namespace

ResizeTable make_resize_table(const ResizeOptions& options, const ResizeAxis& axis) {
  const bool nearest = options.mode == ResizeMode::kNearest;
  const double reach = nearest ? 0 : options.mode == ResizeMode::kLinear ? 1 : 2;
  const double scale = axis.exact ? static_cast<double>(axis.output) / static_cast<double>(axis.input)
                                  : static_cast<double>(axis.scale);
  // Antialiasing stretches the filter over the input pixels that one output pixel covers.
  const double stretch = options.antialias && !nearest ? std::min(scale, 1.0) : 1.0;
  // The first tap counted from the pixel left of the position; the last is symmetric to it.
  const int64_t first = nearest ? 0 : static_cast<int64_t>(std::floor(-reach / stretch)) + 1;
  ResizeTable table;
  table.taps = nearest ? 1 : static_cast<int>(2 - 2 * first);
  const size_t total = static_cast<size_t>(axis.output) * static_cast<size_t>(table.taps);
  table.indices.resize(total);
  table.weights.resize(total);
  table.outside.resize(static_cast<size_t>(axis.output));
  table.identity = axis.input == axis.output;
  std::vector<double> weights(static_cast<size_t>(table.taps));
  const double limit = static_cast<double>(axis.input - 1);
  for (int64_t o = 0; o < axis.output; ++o) {
    const double position = source_position(options, axis, o);
    const size_t at = static_cast<size_t>(o) * static_cast<size_t>(table.taps);
    const bool outside =
        options.coordinate == ResizeCoordinate::kTfCropAndResize && !(position >= 0 && position <= limit);
    table.outside[static_cast<size_t>(o)] = outside;
    if (nearest) {
      const double index = std::min(std::max(nearest_index(options.nearest, position), 0.0), limit);
      table.indices[at] = static_cast<int32_t>(index);
      table.weights[at] = 1;
      table.identity = table.identity && !outside && table.indices[at] == o;
      continue;
    }
    // ONNX prefers the pixel left of a position that lies on a pixel: the ratio is in (0, 1].
    const double base = std::ceil(position) - 1;
    double sum = 0;
    for (int t = 0; t < table.taps; ++t) {
      const double index = base + static_cast<double>(first + t);
      const double distance = (index - position) * stretch;
      double& w = weights[static_cast<size_t>(t)];
      w = options.mode == ResizeMode::kLinear ? linear_weight(distance)
                                              : cubic_weight(distance, options.cubic_coefficient);
      if (options.exclude_outside && (index < 0 || index > limit)) w = 0;
      sum += w;
      table.indices[at + static_cast<size_t>(t)] =
          static_cast<int32_t>(std::min(std::max(index, 0.0), limit));
    }
    const bool normalize = (options.exclude_outside || options.antialias) && sum != 0;
    for (int t = 0; t < table.taps; ++t) {
      const double w = normalize ? weights[static_cast<size_t>(t)] / sum : weights[static_cast<size_t>(t)];
      table.weights[at + static_cast<size_t>(t)] = static_cast<float>(w);
      const bool here = table.indices[at + static_cast<size_t>(t)] == o;
      table.identity = table.identity && !outside && (w == 0 || (w == 1 && here));
    }
  }
  return table;
}

}  // namespace edgec
