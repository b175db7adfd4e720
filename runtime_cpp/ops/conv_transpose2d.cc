#include <cstring>
#include <memory>
#include <vector>

#include "ops/conv.h"
#include "ops/conv_transpose2d_phases.h"
#include "ops/conv_transpose2d_scatter.h"
#include "ops/epilogue.h"

namespace edgec {
namespace {

enum Input { kX, kWeight, kBias, kSlope };

Status infer(InferContext& ctx) {
  ConvGeometry g;
  EDGEC_TRY(conv_transpose2d_geometry(ctx, &g));
  Epilogue e;
  EDGEC_TRY(parse_epilogue(ctx, false, &e));
  EDGEC_TRY(check_channel_vector(ctx, kBias, "bias", g.out_channels));
  EDGEC_TRY(check_slope(ctx, kSlope, e, g.out_channels));
  return ctx.set_output(0, DType::kF32, Shape{g.batch, g.out_height, g.out_width, g.out_channels});
}

// One phase of each axis: an ordinary convolution of stride 1 whose results lie a stride apart.
struct Phase {
  const AxisPhase *y = nullptr, *x = nullptr;
  DotProduct product;  // of one row of outputs
  int64_t packed_offset = 0;
};

// Row m of A is output column m of one row of the phase.
struct PhaseRows final : DotRows {
  const Phase* phase = nullptr;
  const float* image = nullptr;
  const float* zeros = nullptr;
  int64_t row = 0, pitch = 0, height = 0, width = 0, channels = 0;

  int64_t fill(int64_t m, int count, int64_t k_begin, int64_t k_end, const float** pointers, float*,
               int64_t* k) const override {
    const int64_t columns = static_cast<int64_t>(phase->x->tap.size());
    const int64_t tap_begin = k_begin / channels, tap_end = k_end / channels;
    for (int64_t t = tap_begin; t < tap_end; ++t, pointers += count) {
      const int64_t iy = row + phase->y->offset[static_cast<size_t>(t / columns)];
      const int64_t ix = m + phase->x->offset[static_cast<size_t>(t % columns)];
      const bool row_inside = static_cast<uint64_t>(iy) < static_cast<uint64_t>(height);
      for (int i = 0; i < count; ++i) {
        const bool inside = row_inside && static_cast<uint64_t>(ix + i) < static_cast<uint64_t>(width);
        pointers[i] = inside ? image + (iy * width + ix + i) * pitch : zeros;
      }
    }
    *k = channels;
    return tap_end - tap_begin;
  }
};

struct TransposeStep final : Step {
  ConvGeometry g;
  std::vector<AxisPhase> rows, columns;
  std::vector<Phase> phases;
  const DotKernels* kernels = nullptr;
  const float* packed = nullptr;  // null: pack when run
  const float* zeros = nullptr;
  int64_t packed_floats = 0, gathered_floats = 0;
  size_t gathered_offset = 0, thread_offset = 0, thread_bytes = 0;  // in scratch

  // Gathers the taps of each phase, [O/g][taps][C/g], and packs them.
  void pack(const float* weight, const float* bias, float* gathered, float* out) const {
    const int64_t o = g.out_group_channels(), c = g.group_channels;
    for (const Phase& p : phases)
      for (int64_t group = 0; group < g.group; ++group) {
        float* target = gathered;
        for (int64_t r = group * o; r < (group + 1) * o; ++r)
          for (int64_t ky : p.y->tap)
            for (int64_t kx : p.x->tap) {
              std::memcpy(target, weight + ((r * g.kernel_height + ky) * g.kernel_width + kx) * c,
                          static_cast<size_t>(c) * sizeof(float));
              target += c;
            }
        dot_pack(*kernels, p.product.packing, gathered, 1, p.product.packing.k,
                 bias != nullptr ? bias + group * o : nullptr,
                 out + p.packed_offset + group * p.product.packing.floats());
      }
  }

  Status run(const StepArgs& args) override {
    const TensorView &x = *args.inputs[kX], &y = *args.outputs[0];
    const float* weights = packed;
    if (weights == nullptr) {
      auto* target = reinterpret_cast<float*>(args.scratch);
      pack(args.inputs[kWeight]->as<float>(),
           args.inputs[kBias] != nullptr ? args.inputs[kBias]->as<float>() : nullptr,
           reinterpret_cast<float*>(args.scratch + gathered_offset), target);
      weights = target;
    }
    const float* slope = args.inputs[kSlope] != nullptr ? args.inputs[kSlope]->as<float>() : nullptr;
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
          source.image = x.as<float>() + image * g.height * g.width * x.pitch + group * g.group_channels;
          source.zeros = zeros;
          source.row = row;
          source.pitch = x.pitch;
          source.height = g.height;
          source.width = g.width;
          source.channels = g.group_channels;
          DotOperands o;
          o.rows = &source;
          o.packed = weights + p.packed_offset + group * p.product.packing.floats();
          const int64_t out_row = image * g.out_height + p.y->phase + row * g.stride_height;
          const int64_t channel = group * g.out_group_channels();
          o.c = y.as<float>() + (out_row * g.out_width + p.x->phase) * y.pitch + channel;
          o.c_pitch = g.stride_width * y.pitch;
          if (slope != nullptr) o.slope = slope + channel;
          dot_run(p.product, o, task, task + 1, scratch);
        }
      });
    }
    return ok_status();
  }
  const char* kernel_name() const override { return phases[0].product.row->name; }
};

// Vectors of multiply-adds per input pixel and group: phases leave lanes empty when O / group is small;
// scattering costs about one vector for each of the sums it moves.
bool scatter_pays(const ConvGeometry& g, int lanes) {
  const int64_t o = g.out_group_channels(), columns = g.taps() * o;
  const int64_t by_phases = g.taps() * g.group_channels * ((o + lanes - 1) / lanes);
  const int64_t by_scatter = g.group_channels * ((columns + lanes - 1) / lanes) + columns;
  return by_scatter < by_phases;
}

Status prepare_scatter(PrepareContext& ctx, const ConvGeometry& g, const Epilogue& epilogue) {
  auto step = std::make_unique<ScatterStep>();
  step->g = g;
  step->kernels = &dot_kernels(ctx.isa());
  step->activations = &activation_kernels(ctx.isa());
  step->activation = epilogue.activation;
  step->alpha = epilogue.alpha;
  step->beta = epilogue.beta;
  const int64_t n = step->columns();
  DotProduct& product = step->product;
  product.row = &dot_choose(ctx.isa(), g.width, n);
  product.activations = step->activations;
  product.packing = dot_packing(*product.row, n, g.group_channels);
  // The sums of a segment, 64 KiB, are added from L2 at the latest.
  const int64_t mr = product.row->mr;
  step->segment = std::min(g.width, std::max<int64_t>(mr, (int64_t{16} << 10) / n / mr * mr));
  product.m = step->segment;
  dot_plan(&product, 0, 1);
  // Neighbouring bands both compute the input rows at their border: no more bands than threads can use.
  if (ctx.threads() > 1)
    step->bands = std::clamp<int64_t>(2 * ctx.threads() / std::max<int64_t>(g.batch, 1), 1, g.out_height);
  step->sums_bytes = round_up_bytes(static_cast<size_t>(step->segment * n) * sizeof(float));
  step->thread_bytes = step->sums_bytes + product.scratch_bytes();
  const size_t bytes = static_cast<size_t>(step->packed_floats()) * sizeof(float);
  size_t scratch = 0;
  if (ctx.constant(kWeight) != nullptr) {
    bool fresh = false;
    auto* packed = static_cast<float*>(
        ctx.allocate_packed_weights(kWeight, format_string("%s scatter", product.row->name), bytes, &fresh));
    if (packed == nullptr) return ctx.out_of_memory(bytes);
    if (fresh) {
      std::vector<float> gathered(static_cast<size_t>(step->gathered_floats()));
      step->pack(static_cast<const float*>(ctx.constant(kWeight)), gathered.data(), packed);
    }
    step->packed = packed;
    ctx.release_constant(kWeight);
  } else {
    step->gathered_offset = round_up_bytes(bytes);
    scratch =
        step->gathered_offset + round_up_bytes(static_cast<size_t>(step->gathered_floats()) * sizeof(float));
  }
  step->thread_offset = scratch;
  ctx.request_scratch(scratch + step->thread_bytes * static_cast<size_t>(ctx.threads()));
  ctx.set_step(std::move(step));
  return ok_status();
}

Status prepare(PrepareContext& ctx) {
  ConvGeometry g;
  EDGEC_TRY(conv_transpose2d_geometry(ctx, &g));
  Epilogue epilogue;
  EDGEC_TRY(parse_epilogue(ctx, false, &epilogue));
  if (scatter_pays(g, dot_kernels(ctx.isa()).lanes)) return prepare_scatter(ctx, g, epilogue);
  auto step = std::make_unique<TransposeStep>();
  step->g = g;
  step->kernels = &dot_kernels(ctx.isa());
  step->rows = axis_phases(g.out_height, g.kernel_height, g.stride_height, g.dilation_height, g.pad_top);
  step->columns = axis_phases(g.out_width, g.kernel_width, g.stride_width, g.dilation_width, g.pad_left);
  const int64_t n = g.out_group_channels();
  // One row for all phases: the packed layouts then share a name.
  const DotRow& row = dot_choose(ctx.isa(), (g.out_width + g.stride_width - 1) / g.stride_width, n);
  for (const AxisPhase& y : step->rows)
    for (const AxisPhase& x : step->columns) {
      Phase p;
      p.y = &y;
      p.x = &x;
      const int64_t taps = static_cast<int64_t>(y.tap.size() * x.tap.size()), k = taps * g.group_channels;
      p.product.row = &row;
      p.product.activations = &activation_kernels(ctx.isa());
      p.product.packing = dot_packing(row, n, k);
      p.product.m = x.count;
      p.product.max_taps = std::max<int64_t>(taps, 1);
      apply_epilogue(epilogue, &p.product);
      // Threads share rows of outputs where there are enough.
      const int64_t units = g.group * g.batch * y.count;
      dot_plan(&p.product, g.group_channels, units >= 4 * ctx.threads() ? 1 : ctx.threads());
      p.packed_offset = step->packed_floats;
      step->packed_floats += g.group * p.product.packing.floats();
      step->gathered_floats = std::max(step->gathered_floats, n * k);
      step->thread_bytes = std::max(step->thread_bytes, p.product.scratch_bytes());
      step->phases.push_back(std::move(p));
    }
  const size_t zero_bytes = static_cast<size_t>(g.group_channels) * sizeof(float);
  auto* zeros = static_cast<float*>(ctx.allocate_packed(zero_bytes));
  if (zeros == nullptr) return ctx.out_of_memory(zero_bytes);
  std::memset(zeros, 0, zero_bytes);
  step->zeros = zeros;
  size_t scratch = 0;
  const size_t bytes = static_cast<size_t>(step->packed_floats) * sizeof(float);
  if (ctx.constant(kWeight) != nullptr && (!ctx.has_input(kBias) || ctx.constant(kBias) != nullptr)) {
    bool fresh = false;
    // Which taps form a phase, and in what order phases follow, depends on these.
    const std::string layout = format_string(
        "%s transposed strides %lld %lld dilations %lld %lld pads %lld %lld phases %zu %zu bias %p", row.name,
        static_cast<long long>(g.stride_height), static_cast<long long>(g.stride_width),
        static_cast<long long>(g.dilation_height), static_cast<long long>(g.dilation_width),
        static_cast<long long>(g.pad_top), static_cast<long long>(g.pad_left), step->rows.size(),
        step->columns.size(), ctx.constant(kBias));
    auto* packed = static_cast<float*>(ctx.allocate_packed_weights(kWeight, layout, bytes, &fresh));
    if (packed == nullptr) return ctx.out_of_memory(bytes);
    if (fresh) {
      std::vector<float> gathered(static_cast<size_t>(step->gathered_floats));
      step->pack(static_cast<const float*>(ctx.constant(kWeight)),
                 static_cast<const float*>(ctx.constant(kBias)), gathered.data(), packed);
    }
    step->packed = packed;
    ctx.release_constant(kWeight);
  } else {
    step->gathered_offset = round_up_bytes(bytes);
    scratch =
        step->gathered_offset + round_up_bytes(static_cast<size_t>(step->gathered_floats) * sizeof(float));
  }
  step->thread_offset = scratch;
  ctx.request_scratch(scratch + step->thread_bytes * static_cast<size_t>(ctx.threads()));
  ctx.set_step(std::move(step));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(conv_transpose2d) {
  OpBuilder op = registry.add("ConvTranspose2d");
  op.doc(
        "Transposed 2-D convolution of an NHWC image (the gradient of Conv2d with respect to its input), "
        "with bias "
        "and activation in the same pass. Output size: (size - 1) stride - pads + (kernel - 1) dilation + 1 "
        "+ "
        "output_padding.")
      .input("x", "f32 [N,H,W,C]")
      .input("weight", "f32 [O,kh,kw,C/group]")
      .optional("bias", "f32 [O]")
      .optional("slope", "f32 [O], of activation prelu")
      .output("y", "f32 [N,OH,OW,O]")
      .attr("strides", std::vector<int64_t>{1, 1}, "height, width")
      .attr("dilations", std::vector<int64_t>{1, 1}, "height, width")
      .attr("pads", std::vector<int64_t>{0, 0, 0, 0}, "top, left, bottom, right; taken from the output")
      .attr("output_padding", std::vector<int64_t>{0, 0},
            "rows and columns added at the bottom and the right")
      .attr("group", 1, "groups of channels that do not see each other");
  declare_activation(op);
  op.flags(kPitchedInputs | kPitchedOutputs).infer(infer).prepare(prepare);
}

}  // namespace edgec
