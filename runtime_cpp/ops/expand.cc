#include "core/op.h"
#include "kernels/layout/strided_copy.h"
#include "kernels/layout/strides.h"

namespace edgec {
namespace {

Status infer(InferContext& ctx) {
  std::vector<int64_t> wanted;
  EDGEC_TRY(ctx.value_ints(1, &wanted));
  if (wanted.size() > static_cast<size_t>(kMaxRank))
    return ctx.fail(StatusCode::kUnsupported, "'shape' asks for %zu dimensions, at most %d are supported",
                    wanted.size(), kMaxRank);
  Shape out;
  EDGEC_TRY(ctx.broadcast(ctx.input(0).shape, Shape(wanted.data(), static_cast<int>(wanted.size())), &out));
  return ctx.set_output(0, ctx.input(0).dtype, out);
}

Status prepare(PrepareContext& ctx) {
  const Shape &in = ctx.input(0).shape, &out = ctx.output(0).shape;
  int64_t from[kMaxRank], to[kMaxRank];
  strides_of(in, ctx.input_pitch(0), from);
  strides_of(out, ctx.output_pitch(0), to);
  CopyDim dims[kMaxRank];
  for (int i = 0; i < out.rank(); ++i) {
    const int k = i - (out.rank() - in.rank());
    dims[i] = {out[i], k < 0 || in[k] == 1 ? 0 : from[k], to[i]};
  }
  const StridedCopy copy(dtype_size(ctx.input(0).dtype), dims, out.rank(), ctx.isa());
  ctx.set_step(make_step(copy.kernel_name(), [copy](const StepArgs& args) {
    copy.run(args.pool, args.inputs[0]->data, args.outputs[0]->data);
    return ok_status();
  }));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(expand) {
  registry.add("Expand")
      .doc("Repeats dimensions of size 1 until the shape is the broadcast of x's and the given one.")
      .input("x")
      .input("shape", "i64[n]; a 1 keeps the input's dimension")
      .output("y")
      .flags(kPitchedInputs | kPitchedOutputs | kSignAgnostic)
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
