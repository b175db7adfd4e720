// Conv2d 3x3 with stride 1 by Winograd's algorithm, where it pays.
#pragma once
#include <memory>

#include "kernels/winograd/winograd.h"
#include "ops/conv.h"
#include "ops/epilogue.h"

namespace edgec {

struct WinogradStep final : Step {
  WinogradConvolution w;
  const float* packed = nullptr;
  size_t thread_bytes = 0;

  Status run(const StepArgs& args) override {
    enum Input { kX, kWeight, kBias, kResidual, kSlope };
    WinogradOperands o;
    o.x = args.inputs[kX]->as<float>();
    o.x_pitch = args.inputs[kX]->pitch;
    o.packed = packed;
    if (args.inputs[kBias] != nullptr) o.bias = args.inputs[kBias]->as<float>();
    if (args.inputs[kResidual] != nullptr) {
      o.residual = args.inputs[kResidual]->as<float>();
      o.residual_pitch = args.inputs[kResidual]->pitch;
    }
    if (args.inputs[kSlope] != nullptr) o.slope = args.inputs[kSlope]->as<float>();
    o.y = args.outputs[0]->as<float>();
    o.y_pitch = args.outputs[0]->pitch;
    args.pool.parallel_for(w.tasks(), w.cost_per_task(), [&](int64_t begin, int64_t end, int thread) {
      winograd_run(w, o, begin, end, args.scratch + static_cast<size_t>(thread) * thread_bytes);
    });
    return ok_status();
  }
  const char* kernel_name() const override { return w.kernels->name; }
};

// Sets a step and true, or leaves everything as it was and says false.
inline Status prepare_winograd(PrepareContext& ctx, const ConvGeometry& g, const Epilogue& epilogue,
                               bool* done) {
  *done = false;
  if (g.kernel_height != 3 || g.kernel_width != 3 || g.stride_height != 1 || g.stride_width != 1 ||
      g.dilation_height != 1 || g.dilation_width != 1 || g.group != 1 || ctx.constant(1) == nullptr)
    return ok_status();
  auto step = std::make_unique<WinogradStep>();
  WinogradConvolution& w = step->w;
  w.batch = g.batch;
  w.height = g.height;
  w.width = g.width;
  w.channels = g.channels;
  w.out_height = g.out_height;
  w.out_width = g.out_width;
  w.out_channels = g.out_channels;
  w.pad_top = g.pad_top;
  w.pad_left = g.pad_left;
  w.activation = epilogue.activation;
  w.alpha = epilogue.alpha;
  w.beta = epilogue.beta;
  w.residual_after = epilogue.residual_after;
  if (!winograd_pays(ctx.isa(), w)) return ok_status();
  winograd_plan(ctx.isa(), ctx.threads(), &w);
  const size_t bytes = w.packed_floats() * sizeof(float);
  bool fresh = false;
  auto* packed = static_cast<float*>(ctx.allocate_packed_weights(
      1, format_string("%s %s", w.kernels->name, w.product.row->name), bytes, &fresh));
  if (packed == nullptr) return ctx.out_of_memory(bytes);
  if (fresh) winograd_pack(w, static_cast<const float*>(ctx.constant(1)), packed);
  step->packed = packed;
  ctx.release_constant(1);
  step->thread_bytes = w.scratch_bytes();
  ctx.request_scratch(step->thread_bytes * static_cast<size_t>(ctx.threads()));
  ctx.set_step(std::move(step));
  *done = true;
  return ok_status();
}

}  // namespace edgec
