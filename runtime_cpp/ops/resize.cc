#include "kernels/resize/resize.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/op.h"
#include "kernels/resize/plan.h"
#include "ops/quantized_bytes.h"

namespace edgec {
namespace {

// The position of a choice in the schema's list is the value of the enumeration.
constexpr char kModes[] = "nearest|linear|cubic";
constexpr char kCoordinates[] =
    "half_pixel|asymmetric|align_corners|pytorch_half_pixel|half_pixel_symmetric|tf_crop_and_resize";
constexpr char kNearestModes[] = "round_prefer_floor|round_prefer_ceil|floor|ceil";

int choice_index(const char* choices, const std::string& value) {
  int index = 0;
  for (const char* p = choices;; ++index) {
    const char* end = p;
    while (*end != '\0' && *end != '|') ++end;
    if (value.compare(0, std::string::npos, p, static_cast<size_t>(end - p)) == 0) return index;
    if (*end == '\0') return 0;
    p = end + 1;
  }
}

ResizeOptions options_of(const NodeContext& ctx) {
  ResizeOptions options;
  options.mode = static_cast<ResizeMode>(choice_index(kModes, ctx.attr_string("mode")));
  options.coordinate =
      static_cast<ResizeCoordinate>(choice_index(kCoordinates, ctx.attr_string("coordinate")));
  options.nearest = static_cast<ResizeNearest>(choice_index(kNearestModes, ctx.attr_string("nearest_mode")));
  options.cubic_coefficient = ctx.attr("cubic_coeff").f;
  options.exclude_outside = ctx.attr_bool("exclude_outside");
  options.antialias = ctx.attr_bool("antialias");
  return options;
}

// An f32 input as doubles; `out` stays as it is when the input is absent or empty.
Status value_floats(const NodeContext& ctx, int input, std::vector<double>* out) {
  if (!ctx.has_input(input) || ctx.input(input).shape.elements() == 0) return ok_status();
  const char* name = ctx.op().inputs[static_cast<size_t>(input)].name.c_str();
  if (ctx.input(input).dtype != DType::kF32)
    return ctx.fail(StatusCode::kUnsupported, "input %d ('%s') has type %s, supported: f32", input, name,
                    ctx.input(input).to_string().c_str());
  const float* values = ctx.value_as<float>(input);
  if (values == nullptr)
    return ctx.fail(StatusCode::kNeedsValue, "input %d ('%s') must be known before the run", input, name);
  out->assign(values, values + ctx.input(input).shape.elements());
  return ok_status();
}

// What the node says about sizes, one entry per dimension of x or none.
struct Request {
  std::vector<int64_t> sizes;
  std::vector<double> scales, roi;
  bool listed[kMaxRank];  // dimensions that attribute 'axes' names
};

// Values of inputs hold one entry per listed axis; the others keep their size.
template <class T, class Default>
Status spread(const NodeContext& ctx, const std::vector<int>& axes, const char* what, const Default& fallback,
              std::vector<T>* values) {
  const size_t rank = static_cast<size_t>(ctx.input(0).shape.rank());
  if (values->empty() || (axes.empty() && values->size() == rank)) return ok_status();
  if (values->size() != (axes.empty() ? rank : axes.size()))
    return ctx.fail(StatusCode::kShape, "got %zu %s for %zu dimensions of input 'x' %s", values->size(), what,
                    axes.empty() ? rank : axes.size(), ctx.input(0).to_string().c_str());
  std::vector<T> all(rank);
  for (size_t i = 0; i < rank; ++i) all[i] = fallback(static_cast<int>(i));
  for (size_t k = 0; k < axes.size(); ++k) all[static_cast<size_t>(axes[k])] = (*values)[k];
  *values = std::move(all);
  return ok_status();
}

Status read_request(const NodeContext& ctx, Request* request) {
  const Shape& x = ctx.input(0).shape;
  const int rank = x.rank();
  std::vector<int> axes;
  for (int64_t a : ctx.attr_ints("axes")) {
    if (a < -rank || a >= rank)
      return ctx.fail(StatusCode::kInvalidArgument, "axis %lld is outside [%d, %d)",
                      static_cast<long long>(a), -rank, rank);
    axes.push_back(static_cast<int>(a < 0 ? a + rank : a));
  }
  for (int i = 0; i < rank; ++i)
    request->listed[i] = axes.empty() || std::find(axes.begin(), axes.end(), i) != axes.end();
  request->sizes = ctx.attr_ints("sizes");
  request->scales = ctx.attr_floats("scales");
  request->roi = ctx.attr_floats("roi");
  if (ctx.has_input(1) && ctx.input(1).shape.elements() > 0) EDGEC_TRY(ctx.value_ints(1, &request->sizes));
  EDGEC_TRY(value_floats(ctx, 2, &request->scales));
  EDGEC_TRY(value_floats(ctx, 3, &request->roi));
  EDGEC_TRY(spread(
      ctx, axes, "sizes", [&](int i) { return x[i]; }, &request->sizes));
  EDGEC_TRY(spread(
      ctx, axes, "scales", [](int) { return 1.0; }, &request->scales));
  for (double edge : request->roi)
    if (!(std::fabs(edge) <= 1e9))
      return ctx.fail(StatusCode::kInvalidArgument,
                      "roi holds %g, expected coordinates relative to the input", edge);
  const size_t half = request->roi.size() / 2;
  std::vector<double> starts(request->roi.begin(), request->roi.begin() + static_cast<std::ptrdiff_t>(half));
  std::vector<double> ends(request->roi.begin() + static_cast<std::ptrdiff_t>(half), request->roi.end());
  EDGEC_TRY(spread(
      ctx, axes, "starts of roi", [](int) { return 0.0; }, &starts));
  EDGEC_TRY(spread(
      ctx, axes, "ends of roi", [](int) { return 1.0; }, &ends));
  request->roi = starts;
  request->roi.insert(request->roi.end(), ends.begin(), ends.end());
  if (request->sizes.empty() && request->scales.empty())
    return ctx.fail(StatusCode::kInvalidArgument, "neither sizes nor scales are given");
  return ok_status();
}

// not_larger, not_smaller: one scale for all listed axes, so that the result fits into (or covers) the sizes.
void keep_aspect(const NodeContext& ctx, Request* request) {
  const std::string& policy = ctx.attr_string("keep_aspect");
  if (policy == "stretch" || request->sizes.empty()) return;
  const Shape& x = ctx.input(0).shape;
  double ratio = 0;
  bool first = true;
  for (int i = 0; i < x.rank(); ++i) {
    if (!request->listed[i] || x[i] == 0) continue;
    const double r = static_cast<double>(request->sizes[static_cast<size_t>(i)]) / static_cast<double>(x[i]);
    ratio = first ? r : policy == "not_larger" ? std::min(ratio, r) : std::max(ratio, r);
    first = false;
  }
  request->scales.assign(static_cast<size_t>(x.rank()), 1.0);
  for (int i = 0; i < x.rank(); ++i) {
    if (!request->listed[i]) continue;
    request->scales[static_cast<size_t>(i)] = ratio;
    const double size = std::floor(static_cast<double>(x[i]) * ratio + 0.5);
    request->sizes[static_cast<size_t>(i)] = static_cast<int64_t>(std::min(std::max(size, -1.0), 4e9));
  }
}

// Output sizes and scales of all axes. Sizes win; scales beside them only map coordinates.
Status resolve_axes(const NodeContext& ctx, ResizeAxis* axes) {
  Request request;
  EDGEC_TRY(read_request(ctx, &request));
  keep_aspect(ctx, &request);
  const Shape& x = ctx.input(0).shape;
  const size_t rank = static_cast<size_t>(x.rank());
  // The crop's scale plays no part in its coordinates.
  const bool crop = ctx.attr_string("coordinate") == "tf_crop_and_resize";
  for (size_t i = 0; i < rank; ++i) {
    ResizeAxis& axis = axes[i];
    axis.input = x[static_cast<int>(i)];
    if (axis.input > std::numeric_limits<int32_t>::max())
      return ctx.fail(StatusCode::kUnsupported, "dimension %zu of input 'x' %s is beyond 2^31", i,
                      x.to_string().c_str());
    axis.roi_start = request.roi.empty() ? 0 : request.roi[i];
    axis.roi_end = request.roi.empty() ? 1 : request.roi[rank + i];
    double wanted = static_cast<double>(axis.input);
    if (!request.scales.empty()) {
      axis.scale = static_cast<float>(request.scales[i]);
      if (!(axis.scale > 0) || !std::isfinite(axis.scale))
        return ctx.fail(StatusCode::kInvalidArgument, "scale %g of dimension %zu is not positive",
                        request.scales[i], i);
      // In f32, as the frameworks do it: 10 x f32(0.7) is 7.
      wanted = static_cast<double>(static_cast<float>(axis.input) * axis.scale);
      if (crop) wanted *= axis.roi_end - axis.roi_start;
    }
    axis.output = request.sizes.empty()
                      ? static_cast<int64_t>(std::min(std::floor(std::max(wanted, 0.0)), 4e9))
                      : request.sizes[i];
    if (axis.output < 0 || axis.output > std::numeric_limits<int32_t>::max())
      return ctx.fail(StatusCode::kShape, "dimension %zu of the output would be %lld", i,
                      static_cast<long long>(axis.output));
    if (axis.output > 0 && axis.input == 0)
      return ctx.fail(StatusCode::kShape, "dimension %zu of input 'x' %s is empty, the output's is %lld", i,
                      x.to_string().c_str(), static_cast<long long>(axis.output));
    const double output = static_cast<double>(axis.output);
    axis.exact = request.scales.empty() || crop || std::fabs(wanted - output) <= 1e-6 * output;
    if (!axis.exact && (std::fabs(wanted - output) > 1 || wanted < 0.25) && axis.output > 0)
      return ctx.fail(StatusCode::kInvalidArgument,
                      "size %lld and scale %g of dimension %zu contradict each other: the input has %lld",
                      static_cast<long long>(axis.output), static_cast<double>(axis.scale), i,
                      static_cast<long long>(axis.input));
  }
  return ok_status();
}

Status infer(InferContext& ctx) {
  if (ctx.attr_string("mode") != "nearest") EDGEC_TRY(ctx.want_dtype(0, {DType::kF32}));
  ResizeAxis axes[kMaxRank];
  EDGEC_TRY(resolve_axes(ctx, axes));
  Shape y = ctx.input(0).shape;
  for (int i = 0; i < y.rank(); ++i) y[i] = axes[i].output;
  return ctx.set_output(0, ctx.input(0).dtype, y);
}

// With equal sizes and their own scale every output lies on the input of the same index.
bool interpolated(const ResizeAxis& axis) { return axis.input != axis.output || !axis.exact; }

// Two taps per axis, nothing outside: what docs/numerics.md defines.
Status infer_quantized(InferContext& ctx) {
  EDGEC_TRY(ctx.want_dtype(0, {DType::kI8}));
  EDGEC_TRY(check_quantizations(ctx, DType::kI8, "x"));
  if (ctx.attr_string("mode") != "linear" || ctx.attr_bool("antialias") || ctx.attr_bool("exclude_outside") ||
      ctx.attr_string("coordinate") == "tf_crop_and_resize")
    return ctx.fail(
        StatusCode::kUnsupported,
        "integers are interpolated linearly only, without antialias, exclude_outside or cropping");
  ResizeAxis axes[kMaxRank];
  EDGEC_TRY(resolve_axes(ctx, axes));
  Shape y = ctx.input(0).shape;
  int changed = 0;
  for (int i = 0; i < y.rank(); ++i) {
    y[i] = axes[i].output;
    changed += interpolated(axes[i]);
  }
  if (changed > 2)
    return ctx.fail(StatusCode::kUnsupported,
                    "integers are interpolated along at most two axes, here %d change", changed);
  return ctx.set_output(0, DType::kI8, y);
}

// The table in memory that the plan counts.
template <class T>
Status keep(PrepareContext& ctx, const std::vector<T>& values, const T** out) {
  const size_t bytes = values.size() * sizeof(T);
  T* memory = static_cast<T*>(ctx.allocate_packed(std::max<size_t>(bytes, 1)));
  if (memory == nullptr) return ctx.out_of_memory(bytes);
  std::copy(values.begin(), values.end(), memory);
  *out = memory;
  return ok_status();
}

template <class T>
void set_element(void* element, double value) {
  const double low = static_cast<double>(std::numeric_limits<T>::lowest());
  const double high = static_cast<double>(std::numeric_limits<T>::max());
  const T converted = std::isnan(value) ? T{0} : static_cast<T>(std::min(std::max(value, low), high));
  std::memcpy(element, &converted, sizeof converted);
}

void extrapolation_element(DType dtype, double value, void* element) {
  switch (dtype) {
    case DType::kF32:
      return set_element<float>(element, value);
    case DType::kF64:
      return set_element<double>(element, value);
    case DType::kI8:
      return set_element<int8_t>(element, value);
    case DType::kU8:
    case DType::kBool:
      return set_element<uint8_t>(element, value);
    case DType::kI32:
      return set_element<int32_t>(element, value);
    default:
      std::memset(element, 0, 8);
  }
}

Status prepare(PrepareContext& ctx) {
  const TensorType& x = ctx.input(0);
  const int rank = x.shape.rank();
  if (ctx.output(0).shape.elements() == 0) {
    ctx.set_step(make_step("nothing", [](const StepArgs&) { return ok_status(); }));
    return ok_status();
  }
  const ResizeOptions options = options_of(ctx);
  ResizeAxis axes[kMaxRank];
  EDGEC_TRY(resolve_axes(ctx, axes));
  std::vector<ResizedAxis> changed;
  for (int i = 0; i < rank; ++i) {
    const ResizeTable table = make_resize_table(options, axes[i]);
    if (table.identity) continue;
    ResizedAxis axis;
    axis.dim = i;
    axis.input = axes[i].input;
    axis.output = axes[i].output;
    axis.taps = table.taps;
    EDGEC_TRY(keep(ctx, table.indices, &axis.indices));
    if (options.mode != ResizeMode::kNearest) EDGEC_TRY(keep(ctx, table.weights, &axis.weights));
    if (std::find(table.outside.begin(), table.outside.end(), 1) != table.outside.end())
      EDGEC_TRY(keep(ctx, table.outside, &axis.outside));
    changed.push_back(axis);
  }
  const double extrapolation = ctx.attr("extrapolation").f;
  if (options.mode == ResizeMode::kNearest) {
    alignas(8) std::byte element[8];
    extrapolation_element(x.excess128 ? DType::kI8 : x.dtype, extrapolation, element);
    if (x.excess128) element[0] ^= std::byte{0x80};
    const NearestCopy copy(x.shape, std::move(changed), dtype_size(x.dtype), element);
    ctx.set_step(make_step("resize_nearest", [copy](const StepArgs& args) {
      copy.run(*args.inputs[0], *args.outputs[0], args.pool);
      return ok_status();
    }));
    return ok_status();
  }
  // Axis by axis: between two axes a tensor may be larger than both the input and the output.
  Shape between = x.shape;
  for (int d = 0; d < between.rank(); ++d) between[d] = std::max(between[d], ctx.output(0).shape[d]);
  EDGEC_TRY(check_shape(x.dtype, between));
  const Interpolation resize(resize_kernels(ctx.isa()), x.shape, std::move(changed),
                             static_cast<float>(extrapolation), ctx.threads());
  ctx.request_scratch(resize.scratch_bytes());
  ctx.set_step(make_step(options.mode == ResizeMode::kLinear ? "resize_linear" : "resize_cubic",
                         [resize](const StepArgs& args) {
                           resize.run(*args.inputs[0], *args.outputs[0], args.scratch, args.pool);
                           return ok_status();
                         }));
  return ok_status();
}

Status prepare_quantized(PrepareContext& ctx) {
  const TensorType& x = ctx.input(0);
  ResizeAxis axes[kMaxRank];
  EDGEC_TRY(resolve_axes(ctx, axes));
  std::vector<ResizedAxis> changed;
  for (int i = 0; i < x.shape.rank(); ++i) {
    if (!interpolated(axes[i])) continue;
    const ResizeTable table = make_resize_table(options_of(ctx), axes[i]);
    ResizedAxis axis;
    axis.dim = i;
    EDGEC_TRY(keep(ctx, table.indices, &axis.indices));
    EDGEC_TRY(keep(ctx, table.weights, &axis.weights));
    changed.push_back(axis);
  }
  QuantizedLerp lerp;
  lerp.form = stored_form(x, zero_point_of(ctx, "x"));
  lerp.rounding = output_rounding(ctx);
  EDGEC_TRY(round_multiplier(ctx, scale_of(ctx, "x") / scale_of(ctx, "y"), &lerp.multiplier));
  const QuantizedInterpolation resize(quantized_kernels(ctx.isa()), x.shape, changed, lerp);
  ctx.set_step(make_step("resize_quantized", [resize](const StepArgs& args) {
    resize.run(*args.inputs[0], *args.outputs[0], args.pool);
    return ok_status();
  }));
  return ok_status();
}

void add_resize(Registry& registry, bool quantized) {
  OpBuilder op = registry.add(quantized ? "QuantizedResize" : "Resize");
  op.doc(quantized ? "Resize (linear, along up to two axes) of i8 numbers with a scale and a zero point."
                   : "Resamples any axes, with the semantics of ONNX. One of sizes and scales gives the "
                     "output shape; "
                     "sizes win, and scales beside them only map coordinates.")
      .input("x", quantized ? "i8" : "nearest: any type; linear and cubic: f32")
      .optional("sizes", "i64 [rank or axes], known before the run")
      .optional("scales", "f32 [rank or axes], known before the run")
      .optional("roi", "f32 [2 * that], starts and ends, known before the run")
      .output("y")
      .attr("mode", quantized ? "linear" : "nearest", "", kModes)
      .attr("coordinate", "half_pixel", "how an output index maps to a place on the input axis", kCoordinates)
      .attr("nearest_mode", "round_prefer_floor", "", kNearestModes)
      .attr("cubic_coeff", -0.75)
      .attr("exclude_outside", 0, "1: taps outside the input weigh 0 and the others are scaled up")
      .attr("extrapolation", 0.0, "tf_crop_and_resize: value outside the input")
      .attr("antialias", 0, "1: when shrinking, the filter covers all input pixels under an output pixel")
      .attr("scales", std::vector<double>{}, "used when the input is absent")
      .attr("sizes", std::vector<int64_t>{}, "used when the input is absent")
      .attr("axes", std::vector<int64_t>{},
            "the inputs sizes, scales and roi speak of these axes only; empty: all")
      .attr("keep_aspect", "stretch",
            "one scale for all axes, so that the result fits into or covers the sizes",
            "stretch|not_larger|not_smaller")
      .attr("roi", std::vector<double>{},
            "tf_crop_and_resize: starts, then ends of all axes, relative to the input")
      .flags(kPitchedInputs | kPitchedOutputs | (quantized ? kRequantizes : kSignAgnostic))
      .infer(quantized ? infer_quantized : infer)
      .prepare(quantized ? prepare_quantized : prepare);
  if (!quantized) return;
  quantization_attrs(op, "x");
  quantization_attrs(op, "y");
}

}  // namespace

EDGEC_REGISTER(resize) {
  add_resize(registry, false);
  add_resize(registry, true);
}

}  // namespace edgec
