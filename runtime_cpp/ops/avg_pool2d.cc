#include "ops/pool2d.h"

namespace edgec {
namespace {

Status infer(InferContext& ctx) {
  EDGEC_TRY(ctx.want_dtype(0, {DType::kF32}));
  return infer_pool2d(ctx, true);
}

Status prepare(PrepareContext& ctx) {
  PoolGeometry g;
  EDGEC_TRY(pool_geometry(ctx, true, &g));
  return prepare_pool2d(ctx, g, pool_kernels(ctx.isa()).average_f32, "average_f32");
}

}  // namespace

EDGEC_REGISTER(avg_pool2d) {
  registry.add("AvgPool2d")
      .doc(
          "Average over windows of an NHWC image. The divisor is the number of taps inside the image, or "
          "with "
          "count_include_pad inside the padded image.")
      .input("x", "f32 [N,H,W,C]")
      .output("y", "[N,OH,OW,C]")
      .required("kernel", AttrType::kInts, "height, width")
      .attr("strides", std::vector<int64_t>{1, 1}, "height, width")
      .attr("pads", std::vector<int64_t>{0, 0, 0, 0}, "top, left, bottom, right")
      .attr("dilations", std::vector<int64_t>{1, 1}, "height, width")
      .attr("ceil_mode", 0,
            "1: a last, partial window counts if it starts inside the image or its leading padding")
      .attr("count_include_pad", 0)
      .flags(kPitchedInputs | kPitchedOutputs)
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
