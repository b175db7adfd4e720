// The attributes and inputs that Conv2d, ConvTranspose2d and MatMul share: bias, residual, activation.
#pragma once
#include <string>

#include "core/op.h"
#include "kernels/dot/dot.h"

namespace edgec {

inline void declare_activation(OpBuilder& op) {
  op.attr("activation", "none", "applied to every element of the result", kActivationChoices)
      .attr("activation_alpha", 0.0,
            "clip: minimum; leaky_relu, elu: slope; hardsigmoid: factor in clamp(alpha x + beta, 0, 1)")
      .attr("activation_beta", 0.0, "clip: maximum; hardsigmoid: summand");
}

inline void declare_residual_mode(OpBuilder& op) {
  op.attr("residual_mode", "before", "residual is added before or after the activation", "before|after");
}

struct Epilogue {
  Activation activation = Activation::kNone;
  float alpha = 0, beta = 0;
  bool residual_after = false;
  ClampRange clamp() const {
    return activation_is_clamp(activation) ? activation_clamp(activation, alpha, beta) : ClampRange{};
  }
};

// has_residual_mode: the operator declares it.
inline Status parse_epilogue(const NodeContext& ctx, bool has_residual_mode, Epilogue* e) {
  const std::string& name = ctx.attr_string("activation");
  if (!activation_from_name(name.c_str(), &e->activation))
    return ctx.fail(StatusCode::kInvalidArgument, "unknown activation '%s', expected one of %s", name.c_str(),
                    kActivationChoices);
  e->alpha = ctx.attr_float("activation_alpha");
  e->beta = ctx.attr_float("activation_beta");
  e->residual_after = has_residual_mode && ctx.attr_string("residual_mode") == "after";
  return ok_status();
}

// Optional per-channel vector: bias or slope.
inline Status check_channel_vector(const NodeContext& ctx, int i, const char* name, int64_t channels) {
  if (!ctx.has_input(i)) return ok_status();
  const TensorType& t = ctx.input(i);
  if (t.dtype != DType::kF32 || t.shape.rank() != 1 || t.shape[0] != channels)
    return ctx.fail(StatusCode::kShape, "input '%s' must be f32[%lld], one value per output channel; got %s",
                    name, static_cast<long long>(channels), t.to_string().c_str());
  return ok_status();
}

inline Status check_slope(const NodeContext& ctx, int i, const Epilogue& e, int64_t channels) {
  if ((e.activation == Activation::kPRelu) != ctx.has_input(i))
    return ctx.fail(StatusCode::kInvalidArgument, "input 'slope' and activation 'prelu' go together");
  return check_channel_vector(ctx, i, "slope", channels);
}

inline void apply_epilogue(const Epilogue& e, DotProduct* product) {
  product->activation = e.activation;
  product->alpha = e.alpha;
  product->beta = e.beta;
  product->residual_after = e.residual_after;
}

}  // namespace edgec
