#include <cstring>
#include <memory>
#include <vector>

#include "kernels/depthwise/depthwise.h"
#include "ops/conv.h"
#include "ops/conv2d_rows.h"
#include "ops/conv2d_winograd.h"
#include "ops/epilogue.h"

namespace edgec {
namespace {

enum Input { kX, kWeight, kBias, kResidual, kSlope };

Status infer(InferContext& ctx) {
  ConvGeometry g;
  EDGEC_TRY(conv2d_geometry(ctx, &g));
  Epilogue e;
  EDGEC_TRY(parse_epilogue(ctx, true, &e));
  EDGEC_TRY(check_channel_vector(ctx, kBias, "bias", g.out_channels));
  EDGEC_TRY(check_slope(ctx, kSlope, e, g.out_channels));
  const Shape out{g.batch, g.out_height, g.out_width, g.out_channels};
  if (ctx.has_input(kResidual) &&
      (ctx.input(kResidual).dtype != DType::kF32 || ctx.input(kResidual).shape != out))
    return ctx.fail(StatusCode::kShape, "input 'residual' must be f32%s like the output, got %s",
                    out.to_string().c_str(), ctx.input(kResidual).to_string().c_str());
  return ctx.set_output(0, DType::kF32, out);
}

// -- depthwise ---------------------------------------------------------------------------------------------

struct DepthwiseStep final : Step {
  ConvGeometry g;
  DepthwiseGeometry geometry;
  const DepthwiseKernels* kernels = nullptr;
  const ActivationKernels* activations = nullptr;
  Isa isa = Isa::scalar;
  Epilogue epilogue;
  const float* packed = nullptr;  // null: weights or bias are computed by the graph, pack when run
  size_t residual_offset = 0;     // in scratch, behind packed weights
  size_t residual_bytes = 0;      // not 0: residual and output are the same memory
  const char* name = "";

  struct Finish {
    const DepthwiseStep* step;
    FinishTile tile;
    const float* residual;  // pixel (0, 0) of the image, may be null
  };

  static void finish_row(const void* context, int64_t y, float* row) {
    const Finish& f = *static_cast<const Finish*>(context);
    FinishTile tile = f.tile;
    tile.c = row;
    if (f.residual != nullptr) {
      const float* residual = f.residual + y * tile.rows * tile.residual_pitch;
      (f.step->epilogue.residual_after ? tile.after : tile.before) = residual;
    }
    f.step->activations->finish[static_cast<int>(f.step->epilogue.activation)](tile);
  }

  Status run(const StepArgs& args) override {
    const TensorView &x = *args.inputs[kX], &y = *args.outputs[0];
    const TensorView* residual = args.inputs[kResidual];
    const float* weights = packed;
    if (weights == nullptr) {
      float* target = reinterpret_cast<float*>(args.scratch);
      depthwise_pack_f32(geometry, isa, args.inputs[kWeight]->as<float>(),
                         args.inputs[kBias] != nullptr ? args.inputs[kBias]->as<float>() : nullptr, target);
      weights = target;
    }
    TensorView kept;
    if (residual_bytes > 0) {
      // Rows are finished after more of them have been written: the residual needs a place of its own.
      std::memcpy(args.scratch + residual_offset, residual->data, residual_bytes);
      kept = *residual;
      kept.data = args.scratch + residual_offset;
      residual = &kept;
    }
    const bool in_registers = activation_is_clamp(epilogue.activation) && residual == nullptr;
    args.pool.parallel_for(
        g.batch * g.out_height, depthwise_row_cost(geometry), [&](int64_t begin, int64_t end, int) {
          while (begin < end) {
            const int64_t image = begin / g.out_height, first = begin % g.out_height;
            const int64_t stop = std::min(g.out_height, first + end - begin);
            DepthwiseRun run;
            run.geometry = &geometry;
            run.input = x.as<float>() + image * g.height * g.width * x.pitch;
            run.input_pitch = x.pitch;
            run.output = y.as<float>() + image * g.out_height * g.out_width * y.pitch;
            run.output_pitch = y.pitch;
            run.packed = weights;
            Finish finish;
            if (in_registers) {
              run.minimum = epilogue.clamp().minimum;
              run.maximum = epilogue.clamp().maximum;
            } else {
              finish.step = this;
              finish.tile.c_pitch = y.pitch;
              finish.tile.rows = g.out_width;
              finish.tile.columns = g.channels;
              finish.tile.alpha = epilogue.alpha;
              finish.tile.beta = epilogue.beta;
              finish.tile.slope = args.inputs[kSlope] != nullptr ? args.inputs[kSlope]->as<float>() : nullptr;
              finish.residual = nullptr;
              if (residual != nullptr) {
                finish.residual =
                    residual->as<float>() + image * g.out_height * g.out_width * residual->pitch;
                finish.tile.residual_pitch = residual->pitch;
              }
              run.finish_row = finish_row;
              run.finish_context = &finish;
            }
            kernels->run_f32(run, first, stop);
            begin += stop - first;
          }
        });
    return ok_status();
  }
  const char* kernel_name() const override { return name; }
};

std::string packed_layout(PrepareContext& ctx, const char* kernel, int64_t merged) {
  // The bias is part of the packed block, so its address is part of the identity.
  return format_string("%s merged %lld bias %p", kernel, static_cast<long long>(merged), ctx.constant(kBias));
}

Status prepare_depthwise(PrepareContext& ctx, const ConvGeometry& g, const Epilogue& epilogue) {
  auto step = std::make_unique<DepthwiseStep>();
  DepthwiseGeometry& d = step->geometry;
  d = depthwise_geometry(g);
  step->g = g;
  step->isa = ctx.isa();
  step->kernels = &depthwise_kernels(ctx.isa());
  step->activations = &activation_kernels(ctx.isa());
  step->epilogue = epilogue;
  step->name = step->kernels->name;
  const size_t bytes = depthwise_packed_floats(d, ctx.isa()) * sizeof(float);
  if (ctx.constant(kWeight) != nullptr && (!ctx.has_input(kBias) || ctx.constant(kBias) != nullptr)) {
    bool fresh = false;
    auto* packed = static_cast<float*>(ctx.allocate_packed_weights(
        kWeight, packed_layout(ctx, format_string("%s %d", step->name, step->kernels->tile).c_str(), 1),
        bytes, &fresh));
    if (packed == nullptr) return ctx.out_of_memory(bytes);
    if (fresh)
      depthwise_pack_f32(d, ctx.isa(), static_cast<const float*>(ctx.constant(kWeight)),
                         static_cast<const float*>(ctx.constant(kBias)), packed);
    step->packed = packed;
    ctx.release_constant(kWeight);
  } else {
    step->residual_offset = round_up_bytes(bytes);
  }
  if (ctx.aliased(kResidual)) {
    // To the end of the last row: a pitched tensor need not own what lies behind it.
    const int64_t rows = g.batch * g.out_height * g.out_width;
    if (rows > 0)
      step->residual_bytes =
          static_cast<size_t>((rows - 1) * ctx.input_pitch(kResidual) + g.out_channels) * sizeof(float);
  }
  ctx.request_scratch(step->residual_offset + step->residual_bytes);
  ctx.set_step(std::move(step));
  return ok_status();
}

// -- everything else: a product of image rows and packed weights, group by group
// --------------------------------

struct ConvStep final : Step {
  ConvGeometry g;
  ConvRows rows;
  DotProduct product;
  const DotKernels* kernels = nullptr;
  int64_t merged = 1;    // groups computed as one, with zeros between their weights
  int64_t products = 1;  // group / merged
  bool plain = false;    // 1x1, stride 1, unpadded: the image is the matrix
  const float* packed = nullptr;
  size_t packed_floats = 0;                                        // of all products
  size_t weights_offset = 0, thread_offset = 0, thread_bytes = 0;  // in scratch

  // Expanded weights of one product: [merged O/g][taps][merged C/g] with zeros off the diagonal.
  void pack(const float* weight, const float* bias, float* expanded, float* out) const {
    const int64_t o = g.out_group_channels(), c = g.group_channels, taps = g.taps();
    for (int64_t p = 0; p < products; ++p) {
      const float* w = weight + p * merged * o * taps * c;
      if (merged > 1) {
        std::fill(expanded, expanded + merged * o * taps * merged * c, 0.0f);
        for (int64_t r = 0; r < merged * o; ++r)
          for (int64_t t = 0; t < taps; ++t)
            std::memcpy(expanded + (r * taps + t) * merged * c + r / o * c, w + (r * taps + t) * c,
                        static_cast<size_t>(c) * sizeof(float));
        w = expanded;
      }
      dot_pack(*kernels, product.packing, w, 1, product.packing.k,
               bias != nullptr ? bias + p * merged * o : nullptr, out + p * product.packing.floats());
    }
  }
  size_t expanded_floats() const {
    return merged == 1 ? 0 : static_cast<size_t>(product.packing.n * product.packing.k);
  }

  Status run(const StepArgs& args) override {
    const TensorView &x = *args.inputs[kX], &y = *args.outputs[0];
    const float* weights = packed;
    if (weights == nullptr) {
      float* target = reinterpret_cast<float*>(args.scratch);
      pack(args.inputs[kWeight]->as<float>(),
           args.inputs[kBias] != nullptr ? args.inputs[kBias]->as<float>() : nullptr,
           reinterpret_cast<float*>(args.scratch + weights_offset), target);
      weights = target;
    }
    const int64_t tasks = product.tasks();
    args.pool.parallel_for(
        products * tasks, product.cost_per_task(), [&](int64_t begin, int64_t end, int thread) {
          std::byte* scratch = args.scratch + thread_offset + static_cast<size_t>(thread) * thread_bytes;
          while (begin < end) {
            const int64_t p = begin / tasks, first = begin % tasks,
                          stop = std::min(tasks, first + end - begin);
            DotOperands o;
            const int64_t channel = p * product.packing.n;
            ConvRows source = rows;
            source.image = x.as<float>() + p * merged * g.group_channels;
            if (plain) {
              o.a = source.image;
              o.a_pitch = x.pitch;
            } else {
              o.rows = &source;
            }
            o.packed = weights + p * product.packing.floats();
            o.c = y.as<float>() + channel;
            o.c_pitch = y.pitch;
            if (args.inputs[kResidual] != nullptr) {
              o.residual = args.inputs[kResidual]->as<float>() + channel;
              o.residual_pitch = args.inputs[kResidual]->pitch;
            }
            if (args.inputs[kSlope] != nullptr) o.slope = args.inputs[kSlope]->as<float>() + channel;
            dot_run(product, o, first, stop, scratch);
            begin += stop - first;
          }
        });
    return ok_status();
  }
  const char* kernel_name() const override { return product.row->name; }
};

// Few channels per group leave lanes idle: merging r groups fills them at the price of multiplying zeros.
int64_t choose_merge(Isa isa, const ConvGeometry& g) {
  int64_t best = 1;
  double best_cost = 0;
  for (int64_t r = 1; r <= g.group && r <= 16; ++r) {
    if (g.group % r != 0) continue;
    const int64_t m = g.batch * g.out_height * g.out_width;
    const int64_t n = r * g.out_group_channels(), k = r * g.group_channels * g.taps();
    const DotRow& row = dot_choose(isa, std::max<int64_t>(m, 1), n);
    const double vectors = static_cast<double>((n + row.lanes - 1) / row.lanes);
    // 8 k-steps stand for what a tile costs besides its multiply-adds.
    const double cost =
        static_cast<double>(g.group / r) * vectors * static_cast<double>(k + 8 + 4 * g.taps());
    if (r > 1 && cost >= best_cost) continue;
    best = r;
    best_cost = cost;
  }
  return best;
}

Status prepare(PrepareContext& ctx) {
  ConvGeometry g;
  EDGEC_TRY(conv2d_geometry(ctx, &g));
  Epilogue epilogue;
  EDGEC_TRY(parse_epilogue(ctx, true, &epilogue));
  if (g.depthwise()) return prepare_depthwise(ctx, g, epilogue);
  bool done = false;
  EDGEC_TRY(prepare_winograd(ctx, g, epilogue, &done));
  if (done) return ok_status();

  auto step = std::make_unique<ConvStep>();
  step->g = g;
  step->kernels = &dot_kernels(ctx.isa());
  step->merged = g.group == 1 ? 1 : choose_merge(ctx.isa(), g);
  step->products = g.group / step->merged;
  const int64_t channels = step->merged * g.group_channels;
  DotProduct& product = step->product;
  product.m = g.batch * g.out_height * g.out_width;
  const int64_t n = step->merged * g.out_group_channels(), k = channels * g.taps();
  product.row = &dot_choose(ctx.isa(), std::max<int64_t>(product.m, 1), n);
  product.activations = &activation_kernels(ctx.isa());
  product.packing = dot_packing(*product.row, n, k);
  apply_epilogue(epilogue, &product);
  product.residual_is_c = ctx.aliased(kResidual);
  step->plain = g.taps() == 1 && g.stride_height == 1 && g.stride_width == 1 && g.pad_top == 0 &&
                g.pad_left == 0 && g.pad_bottom == 0 && g.pad_right == 0;
  const int products_threads = static_cast<int>((ctx.threads() + step->products - 1) / step->products);
  dot_plan(&product, step->plain ? 0 : channels, products_threads);
  if (!step->plain) {
    const int64_t pitch = ctx.input_pitch(kX);
    step->rows.set(g, channels, pitch, product.k_block == k);
    auto* zeros = static_cast<float*>(
        ctx.allocate_packed(static_cast<size_t>(step->rows.padding_size()) * sizeof(float)));
    if (zeros == nullptr)
      return ctx.out_of_memory(static_cast<size_t>(step->rows.padding_size()) * sizeof(float));
    std::fill(zeros, zeros + step->rows.padding_size(), 0.0f);
    step->rows.padding = zeros;
    // Pointers of one stage: kernel rows, or single taps.
    product.max_taps = std::max(step->rows.contiguous ? g.kernel_height : 0, product.k_block / channels);
    product.patch_floats = step->rows.patch_size(product.row->mr);
  }
  step->packed_floats = static_cast<size_t>(step->products * product.packing.floats());
  size_t scratch = 0;
  if (ctx.constant(kWeight) != nullptr && (!ctx.has_input(kBias) || ctx.constant(kBias) != nullptr)) {
    const size_t bytes = step->packed_floats * sizeof(float);
    bool fresh = false;
    auto* packed = static_cast<float*>(ctx.allocate_packed_weights(
        kWeight, packed_layout(ctx, product.row->name, step->merged), bytes, &fresh));
    if (packed == nullptr) return ctx.out_of_memory(bytes);
    if (fresh) {
      std::vector<float> expanded(step->expanded_floats());
      step->pack(static_cast<const float*>(ctx.constant(kWeight)),
                 static_cast<const float*>(ctx.constant(kBias)), expanded.data(), packed);
    }
    step->packed = packed;
    ctx.release_constant(kWeight);
  } else {
    step->weights_offset = round_up_bytes(step->packed_floats * sizeof(float));
    scratch = step->weights_offset + round_up_bytes(step->expanded_floats() * sizeof(float));
  }
  step->thread_offset = scratch;
  step->thread_bytes = product.scratch_bytes();
  ctx.request_scratch(scratch + step->thread_bytes * static_cast<size_t>(ctx.threads()));
  ctx.set_step(std::move(step));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(conv2d) {
  OpBuilder op = registry.add("Conv2d");
  op.doc(
        "2-D convolution (cross-correlation) of an NHWC image, with bias, residual and activation in the "
        "same pass. "
        "group == C with one filter per channel is a depthwise convolution.")
      .input("x", "f32 [N,H,W,C]")
      .input("weight", "f32 [O,kh,kw,C/group]")
      .optional("bias", "f32 [O]")
      .optional("residual", "f32 like the output, added before or after the activation")
      .optional("slope", "f32 [O], of activation prelu")
      .output("y", "f32 [N,OH,OW,O]")
      .attr("strides", std::vector<int64_t>{1, 1}, "height, width")
      .attr("dilations", std::vector<int64_t>{1, 1}, "height, width")
      .attr("pads", std::vector<int64_t>{0, 0, 0, 0}, "top, left, bottom, right; zeros")
      .attr("group", 1, "groups of channels that do not see each other");
  declare_residual_mode(op);
  declare_activation(op);
  op.flags(kPitchedInputs | kPitchedOutputs).inplace(kResidual).infer(infer).prepare(prepare);
}

}  // namespace edgec
