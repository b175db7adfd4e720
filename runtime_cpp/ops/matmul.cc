#include <algorithm>
#include <memory>
#include <vector>

#include "ops/conv.h"
#include "ops/epilogue.h"
#include "ops/matmul_shapes.h"

namespace edgec {
namespace {

enum Input { kA, kB, kBias, kResidual };

// PrepareContext has no broadcast(): the result's shape is known then, and inference has checked it.
struct Broadcaster : InferContext {
  explicit Broadcaster(const NodeContext& ctx) : InferContext({}, 0, nullptr, nullptr, 0, nullptr) {
    static_cast<NodeContext&>(*this) = ctx;
  }
};

Status shapes_of(const NodeContext& ctx, MatMulShapes* s) {
  return matmul_shapes(Broadcaster(ctx), ctx.input(kA).shape, ctx.input(kB).shape, s);
}

Status infer(InferContext& ctx) {
  EDGEC_TRY(ctx.want_dtype(kA, {DType::kF32, DType::kI32, DType::kI64}));
  const DType dtype = ctx.input(kA).dtype;
  if (ctx.input(kB).dtype != dtype)
    return ctx.fail(StatusCode::kUnsupported, "operands have different types: a %s, b %s",
                    ctx.input(kA).to_string().c_str(), ctx.input(kB).to_string().c_str());
  MatMulShapes s;
  EDGEC_TRY(shapes_of(ctx, &s));
  Epilogue e;
  EDGEC_TRY(parse_epilogue(ctx, true, &e));
  if (e.activation == Activation::kPRelu)
    return ctx.fail(StatusCode::kUnsupported,
                    "activation 'prelu' has no slope input here; use the operator PRelu");
  if (dtype != DType::kF32 &&
      (ctx.has_input(kBias) || ctx.has_input(kResidual) || e.activation != Activation::kNone))
    return ctx.fail(StatusCode::kUnsupported, "bias, residual and activation need f32 operands, got %s",
                    dtype_name(dtype));
  EDGEC_TRY(check_channel_vector(ctx, kBias, "bias", s.n));
  if (ctx.has_input(kResidual) &&
      (ctx.input(kResidual).dtype != dtype || ctx.input(kResidual).shape != s.out))
    return ctx.fail(StatusCode::kShape, "input 'residual' must be %s%s like the output, got %s",
                    dtype_name(dtype), s.out.to_string().c_str(), ctx.input(kResidual).to_string().c_str());
  return ctx.set_output(0, dtype, s.out);
}

// -- integers: exact, wrapping, not fast -------------------------------------------------------------------

template <class T>
struct IntegerStep final : Step {
  MatMulShapes s;
  std::vector<int64_t> a_index, b_index;

  Status run(const StepArgs& args) override {
    using Wrapping = std::make_unsigned_t<T>;
    const TensorView &a = *args.inputs[kA], &b = *args.inputs[kB], &y = *args.outputs[0];
    // Steps of a along m and k, of b along k and n, of y along m and n.
    const int64_t am = s.transpose_a ? 1 : a.pitch, ak = s.transpose_a ? a.pitch : 1;
    const int64_t bk = s.b_vector ? 1 : s.transpose_b ? 1 : b.pitch, bn = s.transpose_b ? b.pitch : 1;
    const int64_t a_matrix = s.a_vector ? 0 : (s.transpose_a ? s.k : s.m) * a.pitch;
    const int64_t b_matrix = s.b_vector ? 0 : (s.transpose_b ? s.n : s.k) * b.pitch;
    const int64_t y_row = s.b_vector ? 1 : y.pitch, y_matrix = s.b_vector ? y.pitch : s.m * y.pitch;
    args.pool.parallel_for(
        s.batches() * s.m, static_cast<double>(s.k * s.n), [&](int64_t begin, int64_t end, int) {
          for (int64_t i = begin; i < end; ++i) {
            const int64_t batch = i / s.m, m = i % s.m;
            const T* row = a.as<T>() + a_index[static_cast<size_t>(batch)] * a_matrix + m * am;
            const T* columns = b.as<T>() + b_index[static_cast<size_t>(batch)] * b_matrix;
            for (int64_t n = 0; n < s.n; ++n) {
              Wrapping sum = 0;
              for (int64_t k = 0; k < s.k; ++k)
                sum += static_cast<Wrapping>(row[k * ak]) * static_cast<Wrapping>(columns[k * bk + n * bn]);
              y.as<T>()[batch * y_matrix + m * y_row + n] = static_cast<T>(sum);
            }
          }
        });
    return ok_status();
  }
  const char* kernel_name() const override { return "matmul_integer"; }
};

template <class T>
std::unique_ptr<Step> integer_step(const MatMulShapes& s) {
  auto step = std::make_unique<IntegerStep<T>>();
  step->s = s;
  step->a_index = batch_indices(s.batch, s.a_batch);
  step->b_index = batch_indices(s.batch, s.b_batch);
  return step;
}

// -- f32 ---------------------------------------------------------------------------------------------------

// Where B comes from when the step runs.
enum class Columns {
  kPacked,   // packed at prepare
  kRepack,   // packed at each run, some batches at a time
  kDirect,   // read as it is: few rows, B by rows
  kReduced,  // read as it is: few rows, B by columns
  kSwapped,  // the same for a result of one column: A takes the place of B
};

struct MatMulStep final : Step {
  MatMulShapes s;
  DotProduct product;
  const DotKernels* kernels = nullptr;
  Columns columns = Columns::kPacked;
  std::vector<int64_t> a_index, b_index;
  const float* packed = nullptr;
  int64_t round = 1;  // batches between two barriers
  size_t transposed_offset = 0, thread_offset = 0, thread_bytes = 0;

  Status run(const StepArgs& args) override {
    const int64_t batches = s.batches();
    for (int64_t begin = 0; begin < batches; begin += round) {
      const int64_t end = std::min(batches, begin + round);
      if (s.transpose_a) transpose_a(args, begin, end);
      if (columns == Columns::kRepack || columns == Columns::kDirect) repack(args, begin, end);
      if (columns == Columns::kReduced || columns == Columns::kSwapped)
        reduce(args, begin, end);
      else
        multiply(args, begin, end);
    }
    return ok_status();
  }
  const char* kernel_name() const override {
    return columns == Columns::kReduced || columns == Columns::kSwapped ? "dot_f32_columns"
                                                                        : product.row->name;
  }

  const float* a_of(const StepArgs& args, int64_t batch, int64_t slot, int64_t* pitch) const {
    if (s.transpose_a) {
      *pitch = transposed_width();
      return reinterpret_cast<const float*>(args.scratch + transposed_offset) + slot * s.m * *pitch;
    }
    const TensorView& a = *args.inputs[kA];
    *pitch = a.pitch;
    return a.as<float>() + (s.a_vector ? 0 : a_index[static_cast<size_t>(batch)] * s.m * a.pitch);
  }
  const float* b_of(const StepArgs& args, int64_t batch) const {
    const TensorView& b = *args.inputs[kB];
    const int64_t rows = s.b_vector ? 0 : s.transpose_b ? s.n : s.k;
    return b.as<float>() + b_index[static_cast<size_t>(batch)] * rows * b.pitch;
  }
  const float* bias_of(const StepArgs& args) const {
    return args.inputs[kBias] != nullptr ? args.inputs[kBias]->as<float>() : nullptr;
  }
  // The transposing kernel writes whole vectors.
  int64_t transposed_width() const { return (s.k + kernels->lanes - 1) / kernels->lanes * kernels->lanes; }
  // Slots of one round that hold B: one if all batches share it.
  bool shared_b() const { return s.b_batches() == 1; }

  void transpose_a(const StepArgs& args, int64_t begin, int64_t end) const {
    const TensorView& a = *args.inputs[kA];
    auto* target = reinterpret_cast<float*>(args.scratch + transposed_offset);
    args.pool.parallel_for(
        end - begin, static_cast<double>(s.m * s.k), [&](int64_t first, int64_t last, int) {
          for (int64_t i = first; i < last; ++i)
            kernels->transpose(a.as<float>() + a_index[static_cast<size_t>(begin + i)] * s.k * a.pitch,
                               a.pitch, s.m, s.k, transposed_width(), target + i * s.m * transposed_width());
        });
  }

  void repack(const StepArgs& args, int64_t begin, int64_t end) const {
    const int64_t blocks = product.packing.blocks(), count = shared_b() ? (begin == 0 ? 1 : 0) : end - begin;
    const int64_t b_pitch = s.b_vector ? 1 : args.inputs[kB]->pitch;
    auto* target = reinterpret_cast<float*>(args.scratch);
    // kDirect reads only a last block with padding columns from here.
    const int64_t first_block = columns == Columns::kDirect ? s.n / product.packing.nr : 0,
                  todo = blocks - first_block;
    if (todo == 0) return;
    args.pool.parallel_for(
        count * todo, static_cast<double>(s.k * product.packing.nr), [&](int64_t first, int64_t last, int) {
          for (int64_t i = first; i < last; ++i)
            dot_pack_block(*kernels, product.packing, first_block + i % todo, b_of(args, begin + i / todo),
                           s.transpose_b ? 1 : b_pitch, s.transpose_b ? b_pitch : 1, bias_of(args),
                           target + i / todo * product.packing.floats());
        });
  }

  void multiply(const StepArgs& args, int64_t begin, int64_t end) const {
    const TensorView& y = *args.outputs[0];
    const TensorView* residual = args.inputs[kResidual];
    const int64_t tasks = product.tasks();
    args.pool.parallel_for(
        (end - begin) * tasks, product.cost_per_task(), [&](int64_t from, int64_t to, int thread) {
          while (from < to) {
            const int64_t slot = from / tasks, first = from % tasks,
                          stop = std::min(tasks, first + to - from);
            const int64_t batch = begin + slot;
            DotOperands o;
            o.a = a_of(args, batch, slot, &o.a_pitch);
            const int64_t b_slot = shared_b()                    ? 0
                                   : columns == Columns::kPacked ? b_index[static_cast<size_t>(batch)]
                                                                 : slot;
            const float* base =
                columns == Columns::kPacked ? packed : reinterpret_cast<const float*>(args.scratch);
            o.packed = base + b_slot * product.packing.floats();
            if (columns == Columns::kDirect) {
              o.direct_b = b_of(args, batch);
              o.direct_step = args.inputs[kB]->pitch;
              o.direct_bias = bias_of(args);
            }
            o.c_pitch = s.b_vector ? 1 : y.pitch;
            o.c = y.as<float>() + batch * (s.b_vector ? y.pitch : product.m * y.pitch);
            if (residual != nullptr) {
              o.residual_pitch = s.b_vector ? 1 : residual->pitch;
              o.residual = residual->as<float>() +
                           batch * (s.b_vector ? residual->pitch : product.m * residual->pitch);
            }
            dot_run(product, o, first, stop,
                    args.scratch + thread_offset + static_cast<size_t>(thread) * thread_bytes);
            from += stop - first;
          }
        });
  }

  // Sums over k by lanes; tasks are groups of columns.
  void reduce(const StepArgs& args, int64_t begin, int64_t end) const {
    const TensorView &y = *args.outputs[0], &b = *args.inputs[kB];
    const TensorView* residual = args.inputs[kResidual];
    const bool swap = columns == Columns::kSwapped;
    const int64_t rows = swap ? 1 : s.m, n = swap ? s.m : s.n;
    constexpr int64_t kGroup = 64;
    const int64_t groups = (n + kGroup - 1) / kGroup;
    const double cost = static_cast<double>(rows * s.k) * static_cast<double>(std::min(n, kGroup));
    const ClampRange clamp = activation_clamp(product.activation, product.alpha, product.beta);
    args.pool.parallel_for((end - begin) * groups, cost, [&](int64_t from, int64_t to, int) {
      for (int64_t i = from; i < to; ++i) {
        const int64_t batch = begin + i / groups, j = i % groups * kGroup;
        int64_t a_pitch = 0;
        const float* a = a_of(args, batch, batch - begin, &a_pitch);
        const float* columns_b = b_of(args, batch);
        int64_t b_pitch = b.pitch;
        if (swap) {
          std::swap(a, columns_b);
          b_pitch = a_pitch;
          a_pitch = 0;
        }
        const float* pointers[kDotMaxRows];
        for (int64_t r = 0; r < rows; ++r) pointers[r] = a + r * a_pitch;
        DotTile t;
        t.a = pointers;
        t.k = s.k;
        t.b = columns_b + j * b_pitch;
        t.n = std::min(kGroup, n - j);
        t.bias = bias_of(args) != nullptr ? bias_of(args) + j : nullptr;
        t.c_pitch = y.pitch;
        t.c = y.as<float>() + batch * (s.b_vector ? y.pitch : s.m * y.pitch) + j;
        if (residual != nullptr) {
          t.residual_pitch = residual->pitch;
          t.residual =
              residual->as<float>() + batch * (s.b_vector ? residual->pitch : s.m * residual->pitch) + j;
        }
        t.minimum = clamp.minimum;
        t.maximum = clamp.maximum;
        kernels->columns(t, rows, b_pitch);
      }
    });
  }
};

Columns choose_columns(PrepareContext& ctx, const MatMulShapes& s, const Epilogue& e, bool packable) {
  // The reducing kernel: activations in registers only, results of one column contiguous and without bias.
  const bool reducible = activation_is_clamp(e.activation) && !e.residual_after && s.k > 0;
  const bool column_dense = s.b_vector || (ctx.output_pitch(0) == 1 &&
                                           (!ctx.has_input(kResidual) || ctx.input_pitch(kResidual) == 1));
  if (reducible && s.n == 1 && !s.transpose_a && column_dense && !ctx.has_input(kBias) &&
      (s.b_vector || s.transpose_b || ctx.input_pitch(kB) == 1))
    return Columns::kSwapped;
  if (packable) return Columns::kPacked;
  if (s.b_vector) return Columns::kRepack;
  // Packing reads and writes B once: it pays from about 8 rows on.
  constexpr int64_t kFewRows = 4;
  if (s.m > kFewRows) return Columns::kRepack;
  if (!s.transpose_b) return Columns::kDirect;
  return reducible ? Columns::kReduced : Columns::kRepack;
}

Status prepare(PrepareContext& ctx) {
  MatMulShapes s;
  EDGEC_TRY(shapes_of(ctx, &s));
  if (ctx.input(kA).dtype == DType::kI32) return ctx.set_step(integer_step<int32_t>(s)), ok_status();
  if (ctx.input(kA).dtype == DType::kI64) return ctx.set_step(integer_step<int64_t>(s)), ok_status();
  Epilogue epilogue;
  EDGEC_TRY(parse_epilogue(ctx, true, &epilogue));
  auto step = std::make_unique<MatMulStep>();
  // One B for all batches and rows of A evenly spaced: the batches are just more rows.
  if (s.b_batches() == 1 && !s.transpose_a && !s.b_vector && s.a_batches() == s.batches()) {
    s.m *= s.batches();
    s.batch = s.a_batch = s.b_batch = Shape();
  }
  step->s = s;
  step->kernels = &dot_kernels(ctx.isa());
  step->a_index = batch_indices(s.batch, s.a_batch);
  step->b_index = batch_indices(s.batch, s.b_batch);
  const bool packable =
      ctx.constant(kB) != nullptr && (!ctx.has_input(kBias) || ctx.constant(kBias) != nullptr);
  step->columns = choose_columns(ctx, s, epilogue, packable);
  DotProduct& product = step->product;
  product.m = s.m;
  product.row = &dot_choose(ctx.isa(), s.m, s.n);
  product.activations = &activation_kernels(ctx.isa());
  product.packing = dot_packing(*product.row, s.n, s.k);
  apply_epilogue(epilogue, &product);
  product.residual_is_c = ctx.aliased(kResidual);
  const int64_t batches = std::max<int64_t>(s.batches(), 1);
  dot_plan(&product, 0, static_cast<int>((ctx.threads() + batches - 1) / batches));

  const size_t packed_bytes = static_cast<size_t>(product.packing.floats()) * sizeof(float);
  size_t scratch = 0;
  step->round = batches;
  // What a round packs stays in L2 and L3 until it is read.
  constexpr size_t kRoundBytes = size_t{4} << 20;
  if (step->columns == Columns::kPacked) {
    const size_t bytes = packed_bytes * static_cast<size_t>(s.b_batches());
    bool fresh = false;
    const std::string layout =
        format_string("%s matmul %d bias %p", product.row->name, s.transpose_b, ctx.constant(kBias));
    auto* packed = static_cast<float*>(ctx.allocate_packed_weights(kB, layout, bytes, &fresh));
    if (packed == nullptr) return ctx.out_of_memory(bytes);
    if (fresh) {
      const int64_t n = s.b_vector ? 1 : s.n;
      for (int64_t i = 0; i < s.b_batches(); ++i)
        dot_pack(*step->kernels, product.packing, static_cast<const float*>(ctx.constant(kB)) + i * s.k * n,
                 s.transpose_b ? 1 : n, s.transpose_b ? s.k : 1,
                 static_cast<const float*>(ctx.constant(kBias)), packed + i * product.packing.floats());
    }
    step->packed = packed;
    ctx.release_constant(kB);
  } else if (step->columns == Columns::kRepack || step->columns == Columns::kDirect) {
    if (!step->shared_b()) {
      const size_t fit = kRoundBytes / std::max<size_t>(packed_bytes, 1);
      step->round = std::min<int64_t>(batches, std::max<int64_t>(static_cast<int64_t>(fit), ctx.threads()));
    }
    scratch = round_up_bytes(packed_bytes * static_cast<size_t>(step->shared_b() ? 1 : step->round));
  }
  if (s.transpose_a) {
    const size_t bytes = static_cast<size_t>(s.m * step->transposed_width()) * sizeof(float);
    const size_t fit = kRoundBytes / std::max<size_t>(bytes, 1);
    step->round = std::min<int64_t>(step->round, std::max<int64_t>(static_cast<int64_t>(fit), ctx.threads()));
    step->transposed_offset = scratch;
    scratch += round_up_bytes(bytes * static_cast<size_t>(step->round));
  }
  step->thread_offset = scratch;
  step->thread_bytes = product.scratch_bytes();
  ctx.request_scratch(scratch + step->thread_bytes * static_cast<size_t>(ctx.threads()));
  ctx.set_step(std::move(step));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(matmul) {
  OpBuilder op = registry.add("MatMul");
  op.doc(
        "Matrix product with NumPy's rules for batches and 1-D operands, and bias, residual and activation "
        "in the "
        "same pass. Integers wrap.")
      .input("a", "f32, i32 or i64 [...,M,K] ([...,K,M] with transpose_a)")
      .input("b", "[...,K,N] ([...,N,K] with transpose_b), same type")
      .optional("bias", "f32 [N]")
      .optional("residual", "f32 like the output")
      .output("y", "[...,M,N]")
      .attr("transpose_a", 0, "1: swap the last two dimensions of a first")
      .attr("transpose_b", 0, "1: swap the last two dimensions of b first");
  declare_residual_mode(op);
  declare_activation(op);
  op.flags(kPitchedInputs | kPitchedOutputs).inplace(kResidual).infer(infer).prepare(prepare);
}

}  // namespace edgec
