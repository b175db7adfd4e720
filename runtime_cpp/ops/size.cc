#include "core/op.h"

namespace edgec {
namespace {

Status infer(InferContext& ctx) { return ctx.set_output(0, DType::kI64, Shape{}); }

Status prepare(PrepareContext& ctx) {
  const int64_t elements = ctx.input(0).shape.elements();
  ctx.set_step(make_step("size", [elements](const StepArgs& args) {
    *args.outputs[0]->as<int64_t>() = elements;
    return ok_status();
  }));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(size) {
  registry.add("Size")
      .doc("The number of elements of its input as an i64 scalar.")
      .input("x")
      .output("size")
      .flags(kShapeOnly)
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
