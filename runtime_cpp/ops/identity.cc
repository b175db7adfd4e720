#include "core/op.h"
#include "kernels/layout/copy.h"

namespace edgec {
namespace {

Status infer(InferContext& ctx) { return ctx.set_output(0, ctx.input(0).dtype, ctx.input(0).shape); }

}  // namespace

EDGEC_REGISTER(identity) {
  registry.add("Identity")
      .doc("Its input, unchanged.")
      .input("x")
      .output("y")
      .flags(kViewOfInput0 | kSignAgnostic)
      .infer(infer)
      .prepare(prepare_view);
}

}  // namespace edgec
