#include "core/op.h"
#include "kernels/layout/strided_copy.h"
#include "kernels/layout/strides.h"

namespace edgec {
namespace {

Status infer(InferContext& ctx) {
  std::vector<int64_t> repeats;
  EDGEC_TRY(ctx.value_ints(1, &repeats));
  Shape out = ctx.input(0).shape;
  if (static_cast<int>(repeats.size()) != out.rank())
    return ctx.fail(StatusCode::kShape, "'repeats' has %zu entries, input 'x' %s needs %d", repeats.size(),
                    out.to_string().c_str(), out.rank());
  for (int i = 0; i < out.rank(); ++i) {
    const int64_t r = repeats[static_cast<size_t>(i)];
    if (r < 0 || __builtin_mul_overflow(out[i], r, &out[i]))
      return ctx.fail(StatusCode::kShape,
                      "'repeats'[%d] is %lld for a dimension of %lld: negative or too large", i,
                      static_cast<long long>(r), static_cast<long long>(ctx.input(0).shape[i]));
  }
  return ctx.set_output(0, ctx.input(0).dtype, out);
}

Status prepare(PrepareContext& ctx) {
  const Shape &in = ctx.input(0).shape, &out = ctx.output(0).shape;
  int64_t from[kMaxRank], to[kMaxRank];
  strides_of(in, ctx.input_pitch(0), from);
  strides_of(out, ctx.output_pitch(0), to);
  CopyDim dims[2 * kMaxRank];
  for (int i = 0; i < in.rank(); ++i) {
    dims[2 * i] = {in[i] > 0 ? out[i] / in[i] : 0, 0, in[i] * to[i]};
    dims[2 * i + 1] = {in[i], from[i], to[i]};
  }
  const StridedCopy copy(dtype_size(ctx.input(0).dtype), dims, 2 * in.rank(), ctx.isa());
  ctx.set_step(make_step(copy.kernel_name(), [copy](const StepArgs& args) {
    copy.run(args.pool, args.inputs[0]->data, args.outputs[0]->data);
    return ok_status();
  }));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(tile) {
  registry.add("Tile")
      .doc("Its input repeated repeats[i] times along dimension i.")
      .input("x")
      .input("repeats", "i64[rank]")
      .output("y")
      .flags(kPitchedInputs | kPitchedOutputs | kSignAgnostic)
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
