// Attributes, shapes and activations of LSTM, GRU and RNN.
#include <algorithm>
#include <cmath>

#include "kernels/recurrent/recurrent.h"

namespace edgec {

OpBuilder& add_recurrent_schema(OpBuilder& op, const char* default_activations) {
  return op.required("hidden_size", AttrType::kInt)
      .attr("direction", "forward", "", "forward|reverse|bidirectional")
      .attr("layout", 0, "1: x is [batch, steps, inputs] and Y [batch, steps, directions, hidden]")
      .attr("clip", 0.0, "limit of the magnitude of what activations of gates get; 0: none")
      .attr("activations", default_activations,
            "comma-separated, for each direction; one direction's list serves both")
      .attr("activation_alpha", std::vector<double>{}, "parameters of the activations, in their order")
      .attr("activation_beta", std::vector<double>{});
}

Status read_recurrent_shape(const NodeContext& ctx, int gates, RecurrentShape* shape) {
  const Shape& x = ctx.input(kX).shape;
  if (x.rank() != 3)
    return ctx.fail(StatusCode::kShape, "input 'x' is %s, expected three dimensions", x.to_string().c_str());
  const int64_t layout = ctx.attr_int("layout");
  if (layout != 0 && layout != 1)
    return ctx.fail(StatusCode::kInvalidArgument, "attribute 'layout' is %lld, expected 0 or 1",
                    static_cast<long long>(layout));
  shape->batch_major = layout == 1;
  shape->steps = x[shape->batch_major ? 1 : 0];
  shape->batch = x[shape->batch_major ? 0 : 1];
  shape->inputs = x[2];
  shape->hidden = ctx.attr_int("hidden_size");
  shape->gates = gates;
  shape->directions = ctx.attr_string("direction") == "bidirectional" ? 2 : 1;
  shape->reverse_only = ctx.attr_string("direction") == "reverse";
  // 2^40: no weight matrix of that size exists, and the products below stay far from overflow.
  if (shape->hidden <= 0 || shape->hidden > (int64_t{1} << 40))
    return ctx.fail(StatusCode::kInvalidArgument, "attribute 'hidden_size' is %lld, expected a positive size",
                    static_cast<long long>(shape->hidden));
  // What prepare lays out: products of all steps, and packed weights whose columns are padded to tiles. The
  // factor keeps the sum of all regions in range.
  constexpr int64_t kReserve = 64;
  EDGEC_TRY(check_shape(DType::kF32, Shape{kReserve, shape->steps, shape->batch, shape->width()}));
  return check_shape(DType::kF32,
                     Shape{kReserve, shape->width() + kReserve, std::max(shape->inputs, shape->hidden) + 1});
}

Shape recurrent_state_shape(const RecurrentShape& s) {
  return s.batch_major ? Shape{s.batch, s.directions, s.hidden} : Shape{s.directions, s.batch, s.hidden};
}

Status check_recurrent_input(const InferContext& ctx, int input, const char* name, const Shape& expected) {
  if (!ctx.has_input(input)) return ok_status();
  EDGEC_TRY(ctx.want_dtype(input, {DType::kF32}));
  if (ctx.input(input).shape == expected) return ok_status();
  return ctx.fail(StatusCode::kShape, "input '%s' is %s, expected %s", name,
                  ctx.input(input).shape.to_string().c_str(), expected.to_string().c_str());
}

Status infer_recurrent(InferContext& ctx, int gates, RecurrentShape* shape) {
  RecurrentShape& s = *shape;
  EDGEC_TRY(ctx.want_dtype(kX, {DType::kF32}));
  EDGEC_TRY(read_recurrent_shape(ctx, gates, shape));
  EDGEC_TRY(check_recurrent_input(ctx, kW, "W", Shape{s.directions, s.width(), s.inputs}));
  EDGEC_TRY(check_recurrent_input(ctx, kR, "R", Shape{s.directions, s.width(), s.hidden}));
  EDGEC_TRY(check_recurrent_input(ctx, kB, "B", Shape{s.directions, 2 * s.width()}));
  EDGEC_TRY(check_recurrent_input(ctx, kInitialH, "initial_h", recurrent_state_shape(s)));
  if (ctx.has_input(kSequenceLens)) {
    EDGEC_TRY(ctx.want_dtype(kSequenceLens, {DType::kI32}));
    if (ctx.input(kSequenceLens).shape != Shape{s.batch})
      return ctx.fail(StatusCode::kShape, "input 'sequence_lens' is %s, expected [%lld]",
                      ctx.input(kSequenceLens).shape.to_string().c_str(), static_cast<long long>(s.batch));
  }
  const Shape y = s.batch_major ? Shape{s.batch, s.steps, s.directions, s.hidden}
                                : Shape{s.steps, s.directions, s.batch, s.hidden};
  EDGEC_TRY(ctx.set_output(0, DType::kF32, y));
  return ctx.set_output(1, DType::kF32, recurrent_state_shape(s));
}

namespace {

// ONNX's names with the defaults of their parameters; NaN: has no such parameter.
struct ActivationName {
  const char* name;
  double alpha, beta;
};
constexpr double kNoParameter = __builtin_nan("");
constexpr ActivationName kActivations[] = {
    {"relu", kNoParameter, kNoParameter},
    {"tanh", kNoParameter, kNoParameter},
    {"sigmoid", kNoParameter, kNoParameter},
    {"softsign", kNoParameter, kNoParameter},
    {"softplus", kNoParameter, kNoParameter},
    {"affine", 1, 0},
    {"leakyrelu", 0.01, kNoParameter},
    {"thresholdedrelu", 1, kNoParameter},
    {"scaledtanh", 1, 1},
    {"hardsigmoid", 0.2, 0.5},
    {"elu", 1, kNoParameter},
};

std::vector<std::string> split_names(const std::string& text) {
  std::vector<std::string> names(1);
  for (char c : text) {
    if (c == ',')
      names.emplace_back();
    else if (c != ' ')
      names.back() += static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  }
  return names;
}

}  // namespace

Status read_activations(const NodeContext& ctx, Isa isa, int per_direction, int directions,
                        std::vector<RowActivation>* out) {
  const std::string& text = ctx.attr_string("activations");
  std::vector<std::string> names = split_names(text);
  const auto wanted = static_cast<size_t>(per_direction * directions);
  if (names.size() != wanted && names.size() != static_cast<size_t>(per_direction))
    return ctx.fail(StatusCode::kInvalidArgument,
                    "attribute 'activations' is '%s', expected %d names for each direction", text.c_str(),
                    per_direction);
  const std::vector<double>&alphas = ctx.attr_floats("activation_alpha"),
        &betas = ctx.attr_floats("activation_beta");
  size_t alpha_next = 0, beta_next = 0;
  out->clear();
  const ElementwiseKernels& k = elementwise_kernels(DType::kF32, isa);
  const auto unary = [&](UnaryFunction f) { return k.unary[static_cast<int>(f)]; };
  for (const std::string& name : names) {
    const ActivationName* known = nullptr;
    for (const ActivationName& a : kActivations)
      if (name == a.name) known = &a;
    if (known == nullptr)
      return ctx.fail(StatusCode::kUnsupported, "activation '%s' in attribute 'activations' is unknown",
                      name.c_str());
    double alpha = known->alpha, beta = known->beta;
    // Parameters are listed only for the functions that take them.
    if (!std::isnan(alpha) && alpha_next < alphas.size()) alpha = alphas[alpha_next++];
    if (!std::isnan(beta) && beta_next < betas.size()) beta = betas[beta_next++];
    RowActivation r;
    const auto add_unary = [&](UnaryFunction f) {
      r.stages_[r.count_++] = {unary(f), false, 0, alpha, beta};
    };
    const auto add_binary = [&](BinaryFunction f, double c) {
      r.stages_[r.count_++] = {k.binary[static_cast<int>(f)], true, static_cast<float>(c), 0, 0};
    };
    if (name == "relu") add_unary(UnaryFunction::kRelu);
    if (name == "tanh") add_unary(UnaryFunction::kTanh);
    if (name == "sigmoid") add_unary(UnaryFunction::kSigmoid);
    if (name == "softsign") add_unary(UnaryFunction::kSoftsign);
    if (name == "softplus") add_unary(UnaryFunction::kSoftplus);
    if (name == "leakyrelu") add_unary(UnaryFunction::kLeakyRelu);
    if (name == "thresholdedrelu") add_unary(UnaryFunction::kThresholdedRelu);
    if (name == "hardsigmoid") add_unary(UnaryFunction::kHardSigmoid);
    if (name == "elu") add_unary(UnaryFunction::kElu);
    if (name == "affine") {
      add_binary(BinaryFunction::kMul, alpha);
      add_binary(BinaryFunction::kAdd, beta);
    }
    if (name == "scaledtanh") {
      add_binary(BinaryFunction::kMul, beta);
      add_unary(UnaryFunction::kTanh);
      add_binary(BinaryFunction::kMul, alpha);
    }
    out->push_back(r);
  }
  // One direction's list serves both.
  for (size_t i = 0; out->size() < wanted; ++i) out->push_back(RowActivation((*out)[i]));
  return ok_status();
}

void RowActivation::apply(float* x, int64_t n) const {
  for (int i = 0; i < count_; ++i) {
    ElementwiseArgs args;
    args.a = x;
    args.y = x;
    args.columns = n;
    if (stages_[i].binary) {
      args.b = &stages_[i].constant;
      args.b_step = 0;
    }
    args.alpha = stages_[i].alpha;
    args.beta = stages_[i].beta;
    stages_[i].kernel(args);
  }
}

RowArithmetic::RowArithmetic(Isa isa) {
  const ElementwiseKernels& k = elementwise_kernels(DType::kF32, isa);
  add = k.binary[static_cast<int>(BinaryFunction::kAdd)];
  mul = k.binary[static_cast<int>(BinaryFunction::kMul)];
  sub = k.binary[static_cast<int>(BinaryFunction::kSub)];
  clip = k.unary[static_cast<int>(UnaryFunction::kClip)];
}

void RowArithmetic::apply(ElementwiseKernel kernel, const float* a, const float* b, float* y, int64_t n) {
  ElementwiseArgs args;
  args.a = a;
  args.b = b;
  args.y = y;
  args.columns = n;
  kernel(args);
}

void RowArithmetic::limit(float* x, float magnitude, int64_t n) const {
  if (magnitude <= 0) return;
  ElementwiseArgs args;
  args.a = x;
  args.y = x;
  args.columns = n;
  args.alpha = -magnitude;
  args.beta = magnitude;
  clip(args);
}

}  // namespace edgec
