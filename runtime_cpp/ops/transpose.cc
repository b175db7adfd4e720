#include "core/op.h"
#include "kernels/layout/strided_copy.h"
#include "kernels/layout/strides.h"

namespace edgec {
namespace {

Status infer(InferContext& ctx) {
  const Shape& shape = ctx.input(0).shape;
  const std::vector<int64_t>& perm = ctx.attr_ints("perm");
  if (static_cast<int>(perm.size()) != shape.rank())
    return ctx.fail(StatusCode::kShape, "attribute 'perm' has %zu entries, input 'x' %s needs %d",
                    perm.size(), shape.to_string().c_str(), shape.rank());
  bool seen[kMaxRank] = {};
  Shape out;
  for (int64_t p : perm) {
    if (p < 0 || p >= shape.rank() || seen[p])
      return ctx.fail(StatusCode::kInvalidArgument,
                      "attribute 'perm' must hold each of 0..%d once; %lld is outside or repeated",
                      shape.rank() - 1, static_cast<long long>(p));
    seen[p] = true;
    out.push_back(shape[static_cast<int>(p)]);
  }
  return ctx.set_output(0, ctx.input(0).dtype, out);
}

Status prepare(PrepareContext& ctx) {
  const Shape &in = ctx.input(0).shape, &out = ctx.output(0).shape;
  const std::vector<int64_t>& perm = ctx.attr_ints("perm");
  int64_t from[kMaxRank], to[kMaxRank];
  strides_of(in, ctx.input_pitch(0), from);
  strides_of(out, ctx.output_pitch(0), to);
  CopyDim dims[kMaxRank];
  for (int i = 0; i < out.rank(); ++i) dims[i] = {out[i], from[perm[static_cast<size_t>(i)]], to[i]};
  const StridedCopy copy(dtype_size(ctx.input(0).dtype), dims, out.rank(), ctx.isa());
  ctx.set_step(make_step(copy.kernel_name(), [copy](const StepArgs& args) {
    copy.run(args.pool, args.inputs[0]->data, args.outputs[0]->data);
    return ok_status();
  }));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(transpose) {
  registry.add("Transpose")
      .doc("Dimension i of the output is dimension perm[i] of the input.")
      .input("x")
      .output("y")
      .required("perm", AttrType::kInts, "a permutation of 0..rank-1")
      .flags(kPitchedInputs | kPitchedOutputs | kSignAgnostic)
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
