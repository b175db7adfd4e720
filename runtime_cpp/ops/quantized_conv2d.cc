#include <memory>

#include "kernels/quantized_depthwise/quantized_depthwise.h"
#include "ops/conv2d_rows.h"
#include "ops/quantized_dot.h"

namespace edgec {
namespace {

Status infer(InferContext& ctx) {
  ConvGeometry g;
  EDGEC_TRY(conv2d_geometry(ctx, &g, true));
  return infer_quantized_product(ctx, "x", g.out_channels,
                                 {g.batch, g.out_height, g.out_width, g.out_channels});
}

// -- depthwise, bytes out
// ------------------------------------------------------------------------------------

struct DepthwiseStep final : Step {
  DepthwiseGeometry geometry;
  int64_t batch = 1;
  const QuantizedDepthwiseKernels* kernels = nullptr;
  const QuantizedDotKernels* dot = nullptr;
  FlippedImage flipped;
  QuantizedFinish finish;
  const uint8_t *packed = nullptr, *padding = nullptr;
  size_t thread_offset = 0, thread_bytes = 0;  // in scratch

  Status run(const StepArgs& args) override {
    const TensorView x = flipped.view(*dot, args);
    const TensorView& y = *args.outputs[0];
    const TensorView* residual = args.inputs[kQuantizedResidual];
    const DepthwiseGeometry& g = geometry;
    args.pool.parallel_for(
        batch * g.output_height, depthwise_row_cost(g) / 2, [&](int64_t begin, int64_t end, int thread) {
          while (begin < end) {
            const int64_t image = begin / g.output_height, first = begin % g.output_height;
            const int64_t stop = std::min(g.output_height, first + end - begin);
            const int64_t pixels = image * g.output_height * g.output_width;
            QuantizedDepthwiseRun run;
            run.geometry = &geometry;
            run.input = x.as<uint8_t>() + image * g.input_height * g.input_width * x.pitch;
            run.input_pitch = x.pitch;
            run.output = y.as<uint8_t>() + pixels * y.pitch;
            run.output_pitch = y.pitch;
            run.packed = packed;
            run.padding = padding;
            run.rounding = finish.rounding;
            run.output_flip = finish.output_flip;
            run.bounded = finish.bounded;
            if (residual != nullptr) {
              run.residual = residual->as<uint8_t>() + pixels * residual->pitch;
              run.residual_pitch = residual->pitch;
              run.residual_form = finish.residual;
              run.residual_multiplier = finish.residual_multiplier;
            }
            kernels->run(run, first, stop,
                         args.scratch + thread_offset + static_cast<size_t>(thread) * thread_bytes);
            begin += stop - first;
          }
        });
    return ok_status();
  }
  const char* kernel_name() const override { return kernels->name; }
};

Status prepare_depthwise(PrepareContext& ctx, const ConvGeometry& g, const QuantizedDotKernels& dot,
                         const std::vector<float>& multipliers, const QuantizedFinish& finish) {
  auto step = std::make_unique<DepthwiseStep>();
  DepthwiseGeometry& d = step->geometry;
  d = depthwise_geometry(g);
  step->batch = g.batch;
  step->kernels = &quantized_depthwise_kernels(ctx.isa());
  step->dot = &dot;
  step->finish = finish;
  const int block = step->kernels->block;
  const int32_t zero = zero_point_of(ctx, "x") + dot.excess;
  const auto bytes = static_cast<size_t>(quantized_depthwise_packed_bytes(d, block));
  bool fresh = false;
  auto* packed = static_cast<uint8_t*>(ctx.allocate_packed_weights(
      kQuantizedWeight, "depthwise " + packed_layout(ctx, dot, QuantizedPacking(), block, zero), bytes,
      &fresh));
  if (packed == nullptr) return ctx.out_of_memory(bytes);
  if (fresh)
    quantized_depthwise_pack(d, block, static_cast<const int8_t*>(ctx.constant(kQuantizedWeight)), zero,
                             static_cast<const int32_t*>(ctx.constant(kQuantizedBias)), multipliers.data(),
                             packed);
  auto* padding = static_cast<uint8_t*>(ctx.allocate_packed(static_cast<size_t>(block)));
  if (padding == nullptr) return ctx.out_of_memory(static_cast<size_t>(block));
  std::memset(padding, zero, static_cast<size_t>(block));
  step->packed = packed;
  step->padding = padding;
  ctx.release_constant(kQuantizedWeight);
  step->thread_offset = step->flipped.set(ctx, dot);
  step->thread_bytes = (quantized_depthwise_scratch(d, block) + 63) / 64 * 64;
  ctx.request_scratch(step->thread_offset + step->thread_bytes * static_cast<size_t>(ctx.threads()));
  ctx.set_step(std::move(step));
  return ok_status();
}

// -- everything else: a product of image rows and packed weights, group by group ----------------------------

struct ConvStep final : Step {
  ConvGeometry g;
  ImageRows<uint8_t, QuantizedDotRows> rows;
  QuantizedProduct product;
  FlippedImage flipped;
  int64_t merged = 1;    // groups computed as one, with zeros between their weights
  int64_t products = 1;  // group / merged
  bool plain = false;    // 1x1, stride 1, unpadded: the image is the matrix
  const uint8_t* packed = nullptr;
  size_t thread_offset = 0, thread_bytes = 0;  // in scratch

  Status run(const StepArgs& args) override {
    const TensorView x = flipped.view(*product.kernels, args);
    const TensorView& y = *args.outputs[0];
    const TensorView* residual = args.inputs[kQuantizedResidual];
    const int64_t tasks = product.tasks();
    const auto element = static_cast<int64_t>(dtype_size(y.dtype()));
    args.pool.parallel_for(
        products * tasks, product.cost_per_task(), [&](int64_t begin, int64_t end, int thread) {
          std::byte* scratch = args.scratch + thread_offset + static_cast<size_t>(thread) * thread_bytes;
          while (begin < end) {
            const int64_t p = begin / tasks, first = begin % tasks,
                          stop = std::min(tasks, first + end - begin);
            const int64_t channel = p * product.packing.n;
            ImageRows<uint8_t, QuantizedDotRows> source = rows;
            source.image = x.as<uint8_t>() + p * merged * g.group_channels;
            QuantizedOperands o;
            if (plain) {
              o.a = source.image;
              o.a_pitch = x.pitch;
            } else {
              o.rows = &source;
            }
            o.a_end = end_of_bytes(x);
            o.packed = packed + p * product.packing.bytes();
            o.c = y.as<char>() + channel * element;
            o.c_pitch = y.pitch;
            if (residual != nullptr) {
              o.residual = residual->as<uint8_t>() + channel;
              o.residual_pitch = residual->pitch;
            }
            quantized_run(product, o, first, stop, scratch);
            begin += stop - first;
          }
        });
    return ok_status();
  }
  const char* kernel_name() const override { return product.kernels->name; }
};

// Few channels per group leave lanes idle: merging r groups fills them at the price of multiplying zeros.
int64_t choose_merge(const QuantizedDotKernels& kernels, const ConvGeometry& g) {
  int64_t best = 1;
  double best_cost = 0;
  for (int64_t r = 1; r <= g.group && r <= 16; ++r) {
    if (g.group % r != 0) continue;
    const int64_t vectors = (r * g.out_group_channels() + kernels.lanes - 1) / kernels.lanes;
    const int64_t groups = (r * g.group_channels + kernels.kr - 1) / kernels.kr * g.taps();
    // 8 groups stand for what a tile costs besides its multiply-adds, one per tap for its pointers.
    const double cost = static_cast<double>(g.group / r * vectors * (groups + 8 + g.taps()));
    if (r > 1 && cost >= best_cost) continue;
    best = r;
    best_cost = cost;
  }
  return best;
}

Status prepare(PrepareContext& ctx) {
  ConvGeometry g;
  EDGEC_TRY(conv2d_geometry(ctx, &g, true));
  EDGEC_TRY(want_constants(ctx, true));
  const QuantizedDotKernels& kernels = quantized_dot_kernels(ctx.isa());
  std::vector<float> multipliers;
  QuantizedFinish finish;
  EDGEC_TRY(prepare_finish(ctx, kernels, "x", g.out_channels, &multipliers, &finish));
  if (g.depthwise() && finish.result == ProductResult::kBytes)
    return prepare_depthwise(ctx, g, kernels, multipliers, finish);
  auto step = std::make_unique<ConvStep>();
  step->g = g;
  step->merged = g.group == 1 ? 1 : choose_merge(kernels, g);
  step->products = g.group / step->merged;
  const int64_t channels = step->merged * g.group_channels, n = step->merged * g.out_group_channels();
  QuantizedProduct& product = step->product;
  product.kernels = &kernels;
  product.m = g.batch * g.out_height * g.out_width;
  product.finish = finish;
  step->plain = g.taps() == 1 && g.stride_height == 1 && g.stride_width == 1 && g.pad_top == 0 &&
                g.pad_left == 0 && g.pad_bottom == 0 && g.pad_right == 0;
  size_t scratch = step->flipped.set(ctx, kernels);
  const int32_t zero = zero_point_of(ctx, "x") + kernels.excess;
  product.packing = quantized_packing(kernels, n, channels, g.taps());
  if (!step->plain) {
    step->rows.set(g, channels, step->flipped.needed ? g.channels : ctx.input_pitch(kQuantizedX), true,
                   kernels.kr);
    if (step->rows.contiguous)
      product.packing = quantized_packing(kernels, n, channels * g.kernel_width, g.kernel_height);
    // A group may be read whole where the row ends within it.
    const auto bytes = static_cast<size_t>(step->rows.padding_size() + kernels.kr);
    auto* padding = static_cast<uint8_t*>(ctx.allocate_packed(bytes));
    if (padding == nullptr) return ctx.out_of_memory(bytes);
    std::memset(padding, zero, bytes);
    step->rows.padding = padding;
    product.max_taps = g.taps();
    product.patch_bytes = step->rows.patch_size(kernels.mr) + kernels.kr;
  }
  quantized_plan(&product, static_cast<int>((ctx.threads() + step->products - 1) / step->products));

  const size_t bytes = static_cast<size_t>(step->products * product.packing.bytes());
  bool fresh = false;
  auto* packed = static_cast<uint8_t*>(ctx.allocate_packed_weights(
      kQuantizedWeight, packed_layout(ctx, kernels, product.packing, step->merged, zero), bytes, &fresh));
  if (packed == nullptr) return ctx.out_of_memory(bytes);
  if (fresh) {
    const auto* weight = static_cast<const uint8_t*>(ctx.constant(kQuantizedWeight));
    const auto* bias = static_cast<const int32_t*>(ctx.constant(kQuantizedBias));
    const int64_t o = g.out_group_channels(), c = g.group_channels, taps = g.taps();
    std::vector<uint8_t> expanded(step->merged > 1 ? static_cast<size_t>(n * channels * taps) : 0);
    for (int64_t p = 0; p < step->products; ++p) {
      QuantizedColumns columns;
      columns.b = weight + p * n * taps * c;
      if (step->merged > 1) {
        // [merged O/g][taps][merged C/g] with zeros off the diagonal.
        std::fill(expanded.begin(), expanded.end(), uint8_t{0});
        for (int64_t r = 0; r < n * taps; ++r)
          std::memcpy(expanded.data() + r * channels + r / taps / o * c, columns.b + r * c,
                      static_cast<size_t>(c));
        columns.b = expanded.data();
      }
      columns.n_step = channels * taps;
      columns.a_zero = zero;
      if (bias != nullptr) columns.bias = bias + p * n;
      columns.multiplier = multipliers.data() + p * n;
      quantized_pack(product.packing, columns, packed + static_cast<size_t>(p * product.packing.bytes()));
    }
  }
  step->packed = packed;
  ctx.release_constant(kQuantizedWeight);
  step->thread_offset = scratch;
  step->thread_bytes = product.scratch_bytes();
  ctx.request_scratch(scratch + step->thread_bytes * static_cast<size_t>(ctx.threads()));
  ctx.set_step(std::move(step));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(quantized_conv2d) {
  OpBuilder op = registry.add("QuantizedConv2d");
  op.doc(
        "Conv2d of integers with 32-bit sums, requantised in the same pass (docs/numerics.md). Padding has "
        "the value "
        "of x's zero point.")
      .input("x", "i8 [N,H,W,C]")
      .input("weight", "i8 [O,kh,kw,C/group], zero point 0; a constant")
      .input("weight_scale", "f32 [O] or [1]; a constant")
      .optional("bias", "i32 [O], scale x_scale * weight_scale; a constant")
      .optional("residual", "i8 like the output, added before the limits")
      .output("y", "[N,OH,OW,O]")
      .attr("strides", std::vector<int64_t>{1, 1}, "height, width")
      .attr("dilations", std::vector<int64_t>{1, 1}, "height, width")
      .attr("pads", std::vector<int64_t>{0, 0, 0, 0}, "top, left, bottom, right")
      .attr("group", 1, "groups of channels that do not see each other");
  declare_quantized_product(op, "x", true);
  op.flags(kPitchedInputs | kPitchedOutputs | kRequantizes)
      .inplace(kQuantizedResidual)
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
