#include "ops/pool2d.h"

namespace edgec {
namespace {

Status infer(InferContext& ctx) {
  EDGEC_TRY(ctx.want_dtype(0, {DType::kF32, DType::kI8, DType::kU8}));
  return infer_pool2d(ctx, false);
}

Status prepare(PrepareContext& ctx) {
  PoolGeometry g;
  EDGEC_TRY(pool_geometry(ctx, false, &g));
  const PoolKernels& kernels = pool_kernels(ctx.isa());
  switch (ctx.input(0).dtype) {
    case DType::kI8:
      return prepare_pool2d(ctx, g, kernels.max_i8, "max_i8");
    case DType::kU8:
      return prepare_pool2d(ctx, g, kernels.max_u8, "max_u8");
    default:
      return prepare_pool2d(ctx, g, kernels.max_f32, "max_f32");
  }
}

}  // namespace

EDGEC_REGISTER(max_pool2d) {
  registry.add("MaxPool2d")
      .doc("Maximum over windows of an NHWC image; NaN in a window gives NaN. Padding never wins.")
      .input("x", "f32, i8 or u8 [N,H,W,C]")
      .output("y", "[N,OH,OW,C]")
      .required("kernel", AttrType::kInts, "height, width")
      .attr("strides", std::vector<int64_t>{1, 1}, "height, width")
      .attr("pads", std::vector<int64_t>{0, 0, 0, 0}, "top, left, bottom, right")
      .attr("dilations", std::vector<int64_t>{1, 1}, "height, width")
      .attr("ceil_mode", 0,
            "1: a last, partial window counts if it starts inside the image or its leading padding")
      .flags(kPitchedInputs | kPitchedOutputs | kSignAgnostic)
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
