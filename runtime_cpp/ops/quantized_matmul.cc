#include <memory>

#include "ops/conv.h"
#include "ops/matmul_shapes.h"
#include "ops/quantized_dot.h"

namespace edgec {
namespace {

// PrepareContext has no broadcast(): the result's shape is known then, and inference has checked it.
struct Broadcaster : InferContext {
  explicit Broadcaster(const NodeContext& ctx) : InferContext({}, 0, nullptr, nullptr, 0, nullptr) {
    static_cast<NodeContext&>(*this) = ctx;
  }
};

Status infer(InferContext& ctx) {
  MatMulShapes s;
  EDGEC_TRY(matmul_shapes(ctx, ctx.input(kQuantizedX).shape, ctx.input(kQuantizedWeight).shape, &s));
  const int64_t zero = ctx.attr_int("b_zero_point");
  if (zero < -128 || zero > 127)
    return ctx.fail(StatusCode::kInvalidArgument, "attribute 'b_zero_point' is %lld, expected -128 to 127",
                    static_cast<long long>(zero));
  return infer_quantized_product(ctx, "a", s.n, s.out);
}

struct MatMulStep final : Step {
  MatMulShapes s;
  QuantizedProduct product;
  FlippedImage flipped;
  std::vector<int64_t> a_index, b_index;
  const uint8_t* packed = nullptr;  // null: b is an activation, packed when run
  QuantizedColumns columns;         // of an activation
  std::vector<float> multipliers;   // of an activation
  int64_t round = 1;                // batches between two barriers
  size_t packed_offset = 0, start_offset = 0, thread_offset = 0, thread_bytes = 0;  // in scratch

  // Slots of one round that hold b: one if all batches share it.
  bool shared_b() const { return s.b_batches() == 1; }

  Status run(const StepArgs& args) override {
    const TensorView a = flipped.view(*product.kernels, args);
    const int64_t batches = s.batches();
    for (int64_t begin = 0; begin < batches; begin += round) {
      const int64_t end = std::min(batches, begin + round);
      if (packed == nullptr && (begin == 0 || !shared_b()))
        pack_columns(args, begin, shared_b() ? begin + 1 : end);
      if (columns.b_zero != 0) sum_rows(a, args, begin, end);
      multiply(a, args, begin, end);
    }
    return ok_status();
  }
  const char* kernel_name() const override { return product.kernels->name; }

  const uint8_t* row_of(const TensorView& a, int64_t batch) const {
    return a.as<uint8_t>() + (s.a_vector ? 0 : a_index[static_cast<size_t>(batch)] * s.m * a.pitch);
  }
  int32_t* row_starts(const StepArgs& args, int64_t slot) const {
    return reinterpret_cast<int32_t*>(args.scratch + start_offset) + slot * s.m;
  }

  void pack_columns(const StepArgs& args, int64_t begin, int64_t end) const {
    const TensorView& b = *args.inputs[kQuantizedWeight];
    const int64_t matrix = s.b_vector ? 0 : (s.transpose_b ? s.n : s.k) * b.pitch;
    const auto cost = static_cast<double>(s.k * s.n);
    args.pool.parallel_for(end - begin, cost, [&](int64_t first, int64_t last, int) {
      for (int64_t i = first; i < last; ++i) {
        QuantizedColumns c = columns;
        c.b = b.as<uint8_t>() + b_index[static_cast<size_t>(begin + i)] * matrix;
        c.k_step = s.b_vector || s.transpose_b ? 1 : b.pitch;
        c.n_step = s.transpose_b ? b.pitch : 1;
        c.multiplier = multipliers.data();
        quantized_pack(
            product.packing, c,
            reinterpret_cast<uint8_t*>(args.scratch + packed_offset) + i * product.packing.bytes());
      }
    });
  }

  void sum_rows(const TensorView& a, const StepArgs& args, int64_t begin, int64_t end) const {
    args.pool.parallel_for(
        (end - begin) * s.m, static_cast<double>(s.k) / 16, [&](int64_t first, int64_t last, int) {
          for (int64_t i = first; i < last; ++i)
            row_starts(args, 0)[i] = quantized_row_start(
                *product.kernels, row_of(a, begin + i / s.m) + i % s.m * a.pitch, s.k, columns.b_zero);
        });
  }

  void multiply(const TensorView& a, const StepArgs& args, int64_t begin, int64_t end) const {
    const TensorView& y = *args.outputs[0];
    const TensorView* residual = args.inputs[kQuantizedResidual];
    const int64_t tasks = product.tasks();
    const auto element = static_cast<int64_t>(dtype_size(y.dtype()));
    // The matrix of one batch begins so many elements behind that of the one before.
    const auto matrix = [&](const TensorView& t) { return s.b_vector ? t.pitch : s.m * t.pitch; };
    args.pool.parallel_for(
        (end - begin) * tasks, product.cost_per_task(), [&](int64_t from, int64_t to, int thread) {
          while (from < to) {
            const int64_t slot = from / tasks, first = from % tasks,
                          stop = std::min(tasks, first + to - from);
            const int64_t batch = begin + slot;
            QuantizedOperands o;
            o.a = row_of(a, batch);
            o.a_pitch = a.pitch;
            o.a_end = end_of_bytes(a);
            if (packed != nullptr)
              o.packed = packed + b_index[static_cast<size_t>(batch)] * product.packing.bytes();
            else
              o.packed = reinterpret_cast<const uint8_t*>(args.scratch + packed_offset) +
                         (shared_b() ? 0 : slot) * product.packing.bytes();
            if (columns.b_zero != 0) o.row_start = row_starts(args, slot);
            o.c = y.as<char>() + batch * matrix(y) * element;
            o.c_pitch = s.b_vector ? 1 : y.pitch;
            if (residual != nullptr) {
              o.residual = residual->as<uint8_t>() + batch * matrix(*residual);
              o.residual_pitch = s.b_vector ? 1 : residual->pitch;
            }
            quantized_run(product, o, first, stop,
                          args.scratch + thread_offset + static_cast<size_t>(thread) * thread_bytes);
            from += stop - first;
          }
        });
  }
};

Status prepare(PrepareContext& ctx) {
  auto step = std::make_unique<MatMulStep>();
  MatMulShapes& s = step->s;
  EDGEC_TRY(
      matmul_shapes(Broadcaster(ctx), ctx.input(kQuantizedX).shape, ctx.input(kQuantizedWeight).shape, &s));
  EDGEC_TRY(want_constants(ctx, false));
  // One b for all batches and rows of a evenly spaced: the batches are just more rows.
  if (s.b_batches() == 1 && !s.b_vector && s.a_batches() == s.batches()) {
    s.m *= s.batches();
    s.batch = s.a_batch = s.b_batch = Shape();
  }
  step->a_index = batch_indices(s.batch, s.a_batch);
  step->b_index = batch_indices(s.batch, s.b_batch);
  const QuantizedDotKernels& kernels = quantized_dot_kernels(ctx.isa());
  QuantizedProduct& product = step->product;
  product.kernels = &kernels;
  product.m = s.m;
  product.packing = quantized_packing(kernels, s.n, s.k, 1);
  EDGEC_TRY(prepare_finish(ctx, kernels, "a", s.n, &step->multipliers, &product.finish));
  const int64_t batches = std::max<int64_t>(s.batches(), 1);
  quantized_plan(&product, static_cast<int>((ctx.threads() + batches - 1) / batches));

  size_t scratch = step->flipped.set(ctx, kernels);
  QuantizedColumns& columns = step->columns;
  columns.a_zero = zero_point_of(ctx, "a") + kernels.excess;
  columns.b_zero = zero_point_of(ctx, "b");
  columns.flip = ctx.input(kQuantizedWeight).excess128 ? 0x80 : 0;
  columns.bias = static_cast<const int32_t*>(ctx.constant(kQuantizedBias));
  const auto packed_bytes = static_cast<size_t>(product.packing.bytes());
  step->round = batches;
  if (ctx.constant(kQuantizedWeight) != nullptr) {
    const size_t bytes = packed_bytes * static_cast<size_t>(s.b_batches());
    bool fresh = false;
    auto* packed = static_cast<uint8_t*>(ctx.allocate_packed_weights(
        kQuantizedWeight,
        packed_layout(ctx, kernels, product.packing, s.transpose_b ? -1 : 1, columns.a_zero), bytes, &fresh));
    if (packed == nullptr) return ctx.out_of_memory(bytes);
    const int64_t n = s.b_vector ? 1 : s.n;
    for (int64_t i = 0; fresh && i < s.b_batches(); ++i) {
      QuantizedColumns c = columns;
      c.b = static_cast<const uint8_t*>(ctx.constant(kQuantizedWeight)) + i * s.k * n;
      c.k_step = s.transpose_b ? 1 : n;
      c.n_step = s.transpose_b ? s.k : 1;
      c.multiplier = step->multipliers.data();
      quantized_pack(product.packing, c, packed + i * product.packing.bytes());
    }
    step->packed = packed;
    ctx.release_constant(kQuantizedWeight);
  } else {
    // What a round packs stays in L2 and L3 until it is read.
    constexpr size_t kRoundBytes = size_t{2} << 20;
    if (!step->shared_b())
      step->round = std::min<int64_t>(
          batches, std::max<int64_t>(static_cast<int64_t>(kRoundBytes / std::max<size_t>(packed_bytes, 1)),
                                     ctx.threads()));
    step->packed_offset = scratch;
    scratch += round_up_bytes(packed_bytes * static_cast<size_t>(step->shared_b() ? 1 : step->round));
  }
  if (columns.b_zero != 0) {
    step->start_offset = scratch;
    scratch += round_up_bytes(static_cast<size_t>(step->round * s.m) * sizeof(int32_t));
  }
  step->thread_offset = scratch;
  step->thread_bytes = product.scratch_bytes();
  ctx.request_scratch(scratch + step->thread_bytes * static_cast<size_t>(ctx.threads()));
  ctx.set_step(std::move(step));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(quantized_matmul) {
  OpBuilder op = registry.add("QuantizedMatMul");
  op.doc(
        "MatMul of integers with 32-bit sums, requantised in the same pass (docs/numerics.md). b is a weight "
        "or "
        "another activation.")
      .input("a", "i8 [...,M,K]")
      .input("b", "i8 [...,K,N] ([...,N,K] with transpose_b)")
      .input("b_scale", "f32 [N] or [1]; a constant")
      .optional("bias", "i32 [N], scale a_scale * b_scale; a constant")
      .optional("residual", "i8 like the output, added before the limits")
      .output("y", "[...,M,N]")
      .attr("transpose_b", 0, "1: swap the last two dimensions of b first")
      .attr("b_zero_point", 0, "not 0: b is an activation");
  declare_quantized_product(op, "a", true);
  op.flags(kPitchedInputs | kPitchedOutputs | kRequantizes)
      .inplace(kQuantizedResidual)
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
