#include <algorithm>
#include <cmath>

#include "ops/rows.h"

namespace edgec {
namespace {

Status infer(InferContext& ctx) {
  EDGEC_TRY(ctx.want_dtype(0, {DType::kF32}));
  const Shape& x = ctx.input(0).shape;
  if (x.rank() < 2)
    return ctx.fail(StatusCode::kShape, "input 'x' wants at least 2 dimensions [N,...,C], got %s",
                    ctx.input(0).to_string().c_str());
  const int64_t groups = ctx.attr_int("groups");
  if (groups < 1 || x.back() % groups != 0)
    return ctx.fail(StatusCode::kShape, "%lld groups do not divide the %lld channels of input 'x' %s",
                    static_cast<long long>(groups), static_cast<long long>(x.back()), x.to_string().c_str());
  for (int i = 1; i < ctx.input_count(); ++i) EDGEC_TRY(want_row_parameter(ctx, i, x.back()));
  return ctx.set_output(0, DType::kF32, x);
}

// Statistics go down columns in blocks of rows; every block's sums stand in scratch, so that threads
// share the work of a single image and the order of addition stays fixed.
struct GroupNorm {
  const ReduceKernels& kernels;
  int64_t images, pixels, channels, groups, blocks;
  float epsilon;
  bool scaled, biased;

  int64_t chunks() const { return (channels + kColumnChunk - 1) / kColumnChunk; }
  size_t scratch_bytes() const {
    return static_cast<size_t>(images * channels * (blocks + 3)) * sizeof(float);
  }

  // sums[image][block][channel]
  void sum_blocks(const StepArgs& args, Reduction reduction, const float* mean, float* sums) const {
    const float* x = args.inputs[0]->as<const float>();
    const int64_t pitch = args.inputs[0]->pitch;
    args.pool.parallel_for(images * blocks * chunks(),
                           static_cast<double>(kRowBlock * std::min<int64_t>(channels, kColumnChunk)),
                           [&](int64_t begin, int64_t end, int) {
                             for (int64_t task = begin; task < end; ++task) {
                               const int64_t c = task % chunks() * kColumnChunk,
                                             block = task / chunks() % blocks;
                               const int64_t image = task / chunks() / blocks, row = block * kRowBlock;
                               kernels.columns(reduction, x + (image * pixels + row) * pitch + c,
                                               std::min<int64_t>(kRowBlock, pixels - row), pitch,
                                               std::min<int64_t>(kColumnChunk, channels - c),
                                               mean == nullptr ? nullptr : mean + image * channels + c,
                                               sums + (image * blocks + block) * channels + c);
                             }
                           });
  }

  double group_mean(const float* sums, int64_t image, int64_t group) const {
    const int64_t width = channels / groups;
    double total = 0;
    for (int64_t b = 0; b < blocks; ++b) {
      const float* p = sums + (image * blocks + b) * channels + group * width;
      for (int64_t c = 0; c < width; ++c) total += static_cast<double>(p[c]);
    }
    return total / static_cast<double>(pixels * width);
  }

  Status operator()(const StepArgs& args) const {
    const float* gamma = optional_floats(args, scaled, 1);
    const float* beta = optional_floats(args, biased, 2);
    float* mean = reinterpret_cast<float*>(args.scratch);
    float *scale = mean + images * channels, *shift = scale + images * channels,
          *sums = shift + images * channels;
    const int64_t width = channels / groups;
    sum_blocks(args, Reduction::kSum, nullptr, sums);
    for (int64_t i = 0; i < images; ++i)
      for (int64_t g = 0; g < groups; ++g)
        std::fill_n(mean + i * channels + g * width, width, static_cast<float>(group_mean(sums, i, g)));
    sum_blocks(args, Reduction::kSumCenteredSquare, mean, sums);
    for (int64_t i = 0; i < images; ++i)
      for (int64_t g = 0; g < groups; ++g) {
        const double factor = 1.0 / std::sqrt(group_mean(sums, i, g) + static_cast<double>(epsilon));
        for (int64_t c = g * width; c < (g + 1) * width; ++c) {
          scale[i * channels + c] =
              static_cast<float>(gamma == nullptr ? factor : factor * static_cast<double>(gamma[c]));
          shift[i * channels + c] = beta == nullptr ? 0.0f : beta[c];
        }
      }
    const TensorView &x = *args.inputs[0], &y = *args.outputs[0];
    args.pool.parallel_for(images * pixels, static_cast<double>(channels) * 2,
                           [&](int64_t begin, int64_t end, int) {
                             while (begin < end) {
                               const int64_t image = begin / pixels;
                               RowsRun run;
                               run.x = x.as<const float>() + begin * x.pitch;
                               run.y = y.as<float>() + begin * y.pitch;
                               run.rows = std::min(end, (image + 1) * pixels) - begin;
                               run.n = channels;
                               run.x_pitch = x.pitch;
                               run.y_pitch = y.pitch;
                               kernels.affine_rows(run, mean + image * channels, scale + image * channels,
                                                   shift + image * channels);
                               begin += run.rows;
                             }
                           });
    return ok_status();
  }
};

Status prepare(PrepareContext& ctx) {
  const Shape& x = ctx.input(0).shape;
  if (x.elements() == 0) {
    ctx.set_step(make_step("nothing", [](const StepArgs&) { return ok_status(); }));
    return ok_status();
  }
  const int64_t pixels = x.product(1, x.rank() - 1);
  const GroupNorm step{reduce_kernels(ctx.isa()),
                       x[0],
                       pixels,
                       x.back(),
                       ctx.attr_int("groups"),
                       (pixels + kRowBlock - 1) / kRowBlock,
                       ctx.attr_float("epsilon"),
                       ctx.has_input(1),
                       ctx.has_input(2)};
  ctx.request_scratch(step.scratch_bytes());
  ctx.set_step(make_step("group_norm", step));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(group_norm) {
  registry.add("GroupNorm")
      .doc(
          "Normalises each image and group of neighbouring channels to mean 0 and variance 1, then scales "
          "and "
          "shifts channels. InstanceNorm is groups = C.")
      .input("x", "f32 [N,...,C]")
      .optional("scale", "f32 [C]")
      .optional("bias", "f32 [C]")
      .output("y")
      .required("groups", AttrType::kInt)
      .attr("epsilon", 1e-5)
      .flags(kPitchedInputs | kPitchedOutputs)
      .inplace(0)
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
