#include "core/op.h"
#include "kernels/layout/copy.h"

namespace edgec {
namespace {

Status infer(InferContext& ctx) {
  const DType to = dtype_from_name(ctx.attr_string("to").c_str());
  if (to == DType::kNone || dtype_size(to) != dtype_size(ctx.input(0).dtype))
    return ctx.fail(StatusCode::kInvalidArgument, "attribute 'to' is '%s', expected a type of %zu bytes",
                    ctx.attr_string("to").c_str(), dtype_size(ctx.input(0).dtype));
  return ctx.set_output(0, to, ctx.input(0).shape);
}

}  // namespace

EDGEC_REGISTER(bit_cast) {
  registry.add("BitCast")
      .doc("The same bits as another type of the same size.")
      .input("x")
      .output("y")
      .required("to", AttrType::kString, "a data type")
      .flags(kViewOfInput0)
      .infer(infer)
      .prepare(prepare_view);
}

}  // namespace edgec
