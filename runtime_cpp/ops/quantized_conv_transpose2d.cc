#include <memory>

#include "ops/conv_transpose2d_phases.h"
#include "ops/quantized_dot.h"

namespace edgec {
namespace {

Status infer(InferContext& ctx) {
  ConvGeometry g;
  EDGEC_TRY(conv_transpose2d_geometry(ctx, &g, true));
  return infer_quantized_product(ctx, "x", g.out_channels,
                                 {g.batch, g.out_height, g.out_width, g.out_channels});
}

// One phase of each axis: an ordinary convolution of stride 1 whose results lie a stride apart.
struct Phase {
  const AxisPhase *y = nullptr, *x = nullptr;
  QuantizedProduct product;  // of one row of outputs
  int64_t packed_offset = 0;
  int64_t taps() const { return static_cast<int64_t>(y->tap.size() * x->tap.size()); }
};

// Row m of A is output column m of one row of the phase.
struct PhaseRows final : QuantizedDotRows {
  const Phase* phase = nullptr;
  const uint8_t *image = nullptr, *padding = nullptr;
  int64_t row = 0, pitch = 0, height = 0, width = 0, channels = 0;

  int64_t fill(int64_t m, int count, int64_t, int64_t, const uint8_t** pointers, uint8_t*,
               int64_t* k) const override {
    for (int64_t y : phase->y->offset)
      for (int64_t x : phase->x->offset) {
        const int64_t iy = row + y, ix = m + x;
        const bool row_inside = static_cast<uint64_t>(iy) < static_cast<uint64_t>(height);
        for (int i = 0; i < count; ++i) {
          const bool inside = row_inside && static_cast<uint64_t>(ix + i) < static_cast<uint64_t>(width);
          *pointers++ = inside ? image + (iy * width + ix + i) * pitch : padding;
        }
      }
    *k = phase->taps() > 0 ? channels : 0;
    return phase->taps();
  }
};

struct TransposeStep final : Step {
  ConvGeometry g;
  std::vector<AxisPhase> rows, columns;
  std::vector<Phase> phases;
  FlippedImage flipped;
  const uint8_t *packed = nullptr, *padding = nullptr;
  size_t thread_offset = 0, thread_bytes = 0;  // in scratch

  // Gathers the taps of each phase, [O/g][taps][C/g], and packs them.
  void pack(const uint8_t* weight, const int32_t* bias, const float* multipliers, int32_t zero,
            uint8_t* out) const {
    const int64_t o = g.out_group_channels(), c = g.group_channels;
    std::vector<uint8_t> gathered(static_cast<size_t>(o * g.taps() * c));
    for (const Phase& p : phases)
      for (int64_t group = 0; group < g.group; ++group) {
        uint8_t* target = gathered.data();
        for (int64_t r = group * o; r < (group + 1) * o; ++r)
          for (int64_t ky : p.y->tap)
            for (int64_t kx : p.x->tap) {
              std::memcpy(target, weight + ((r * g.kernel_height + ky) * g.kernel_width + kx) * c,
                          static_cast<size_t>(c));
              target += c;
            }
        QuantizedColumns columns_of_phase;
        columns_of_phase.b = gathered.data();
        columns_of_phase.n_step = p.taps() * c;
        columns_of_phase.a_zero = zero;
        if (bias != nullptr) columns_of_phase.bias = bias + group * o;
        columns_of_phase.multiplier = multipliers + group * o;
        quantized_pack(p.product.packing, columns_of_phase,
                       out + p.packed_offset + group * p.product.packing.bytes());
      }
  }

  Status run(const StepArgs& args) override {
    const TensorView x = flipped.view(*phases[0].product.kernels, args);
    const TensorView& y = *args.outputs[0];
    const auto element = static_cast<int64_t>(dtype_size(y.dtype()));
    for (const Phase& p : phases) {
      const int64_t tasks = p.product.tasks(), height = p.y->count;
      // Groups outermost, so that their weights stay in the cache.
      const int64_t units = g.group * g.batch * height * tasks;
      args.pool.parallel_for(units, p.product.cost_per_task(), [&](int64_t begin, int64_t end, int thread) {
        std::byte* scratch = args.scratch + thread_offset + static_cast<size_t>(thread) * thread_bytes;
        for (int64_t unit = begin; unit < end; ++unit) {
          const int64_t task = unit % tasks, row = unit / tasks % height;
          const int64_t image = unit / tasks / height % g.batch, group = unit / tasks / height / g.batch;
          PhaseRows source;
          source.phase = &p;
          source.image = x.as<uint8_t>() + image * g.height * g.width * x.pitch + group * g.group_channels;
          source.padding = padding;
          source.row = row;
          source.pitch = x.pitch;
          source.height = g.height;
          source.width = g.width;
          source.channels = g.group_channels;
          QuantizedOperands o;
          o.rows = &source;
          o.a_end = end_of_bytes(x);
          o.packed = packed + p.packed_offset + group * p.product.packing.bytes();
          const int64_t out_row = image * g.out_height + p.y->phase + row * g.stride_height;
          o.c = y.as<char>() +
                ((out_row * g.out_width + p.x->phase) * y.pitch + group * g.out_group_channels()) * element;
          o.c_pitch = g.stride_width * y.pitch;
          quantized_run(p.product, o, task, task + 1, scratch);
        }
      });
    }
    return ok_status();
  }
  const char* kernel_name() const override { return phases[0].product.kernels->name; }
};

Status prepare(PrepareContext& ctx) {
  auto step = std::make_unique<TransposeStep>();
  ConvGeometry& g = step->g;
  EDGEC_TRY(conv_transpose2d_geometry(ctx, &g, true));
  EDGEC_TRY(want_constants(ctx, true));
  const QuantizedDotKernels& kernels = quantized_dot_kernels(ctx.isa());
  std::vector<float> multipliers;
  QuantizedFinish finish;
  EDGEC_TRY(prepare_finish(ctx, kernels, "x", g.out_channels, &multipliers, &finish));
  step->rows = axis_phases(g.out_height, g.kernel_height, g.stride_height, g.dilation_height, g.pad_top);
  step->columns = axis_phases(g.out_width, g.kernel_width, g.stride_width, g.dilation_width, g.pad_left);
  int64_t bytes = 0;
  for (const AxisPhase& y : step->rows)
    for (const AxisPhase& x : step->columns) {
      Phase p;
      p.y = &y;
      p.x = &x;
      p.product.kernels = &kernels;
      p.product.finish = finish;
      p.product.m = x.count;
      p.product.packing = quantized_packing(kernels, g.out_group_channels(), g.group_channels, p.taps());
      p.product.max_taps = std::max<int64_t>(p.taps(), 1);
      quantized_plan(&p.product, 1);
      p.packed_offset = bytes;
      bytes += (g.group * p.product.packing.bytes() + 63) / 64 * 64;
      step->thread_bytes = std::max(step->thread_bytes, p.product.scratch_bytes());
      step->phases.push_back(std::move(p));
    }
  const int32_t zero = zero_point_of(ctx, "x") + kernels.excess;
  // A group may be read whole where the channels end within it.
  const auto padding_bytes = static_cast<size_t>(g.group_channels + kernels.kr);
  auto* padding = static_cast<uint8_t*>(ctx.allocate_packed(padding_bytes));
  if (padding == nullptr) return ctx.out_of_memory(padding_bytes);
  std::memset(padding, zero, padding_bytes);
  step->padding = padding;
  bool fresh = false;
  // The phases follow from these.
  const std::string layout =
      packed_layout(ctx, kernels, step->phases[0].product.packing, 1, zero) +
      format_string(" phases %zu x %zu dilation %lld,%lld pad %lld,%lld", step->rows.size(),
                    step->columns.size(), static_cast<long long>(g.dilation_height),
                    static_cast<long long>(g.dilation_width), static_cast<long long>(g.pad_top),
                    static_cast<long long>(g.pad_left));
  auto* packed = static_cast<uint8_t*>(
      ctx.allocate_packed_weights(kQuantizedWeight, layout, static_cast<size_t>(bytes), &fresh));
  if (packed == nullptr) return ctx.out_of_memory(static_cast<size_t>(bytes));
  if (fresh)
    step->pack(static_cast<const uint8_t*>(ctx.constant(kQuantizedWeight)),
               static_cast<const int32_t*>(ctx.constant(kQuantizedBias)), multipliers.data(), zero, packed);
  step->packed = packed;
  ctx.release_constant(kQuantizedWeight);
  step->thread_offset = step->flipped.set(ctx, kernels);
  ctx.request_scratch(step->thread_offset + step->thread_bytes * static_cast<size_t>(ctx.threads()));
  ctx.set_step(std::move(step));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(quantized_conv_transpose2d) {
  OpBuilder op = registry.add("QuantizedConvTranspose2d");
  op.doc("ConvTranspose2d of integers with 32-bit sums, requantised in the same pass (docs/numerics.md).")
      .input("x", "i8 [N,H,W,C]")
      .input("weight", "i8 [O,kh,kw,C/group], zero point 0; a constant")
      .input("weight_scale", "f32 [O] or [1]; a constant")
      .optional("bias", "i32 [O], scale x_scale * weight_scale; a constant")
      .output("y", "[N,OH,OW,O]")
      .attr("strides", std::vector<int64_t>{1, 1}, "height, width")
      .attr("dilations", std::vector<int64_t>{1, 1}, "height, width")
      .attr("pads", std::vector<int64_t>{0, 0, 0, 0}, "top, left, bottom, right; taken from the output")
      .attr("output_padding", std::vector<int64_t>{0, 0},
            "rows and columns added at the bottom and the right")
      .attr("group", 1, "groups of channels that do not see each other");
  declare_quantized_product(op, "x", false);
  op.flags(kPitchedInputs | kPitchedOutputs | kRequantizes).infer(infer).prepare(prepare);
}

}  // namespace edgec
