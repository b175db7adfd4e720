#include <algorithm>
#include <cstring>

#include "core/op.h"
#include "kernels/elementwise/convert.h"

namespace edgec {
namespace {

Status infer(InferContext& ctx) {
  std::vector<int64_t> dims;
  EDGEC_TRY(ctx.value_ints(0, &dims));
  const std::string& name = ctx.attr_string("dtype");
  const DType dtype = dtype_from_name(name.c_str());
  if (dtype == DType::kNone)
    return ctx.fail(StatusCode::kInvalidArgument,
                    "attribute 'dtype' is '%s', expected a data type such as f32 or i64", name.c_str());
  if (dims.size() > static_cast<size_t>(kMaxRank))
    return ctx.fail(StatusCode::kUnsupported, "'shape' asks for %zu dimensions, at most %d are supported",
                    dims.size(), kMaxRank);
  return ctx.set_output(0, dtype, Shape(dims.data(), static_cast<int>(dims.size())));
}

Status prepare(PrepareContext& ctx) {
  const double value = ctx.attr("value").f;
  const DType dtype = ctx.output(0).dtype;
  const size_t element = dtype_size(dtype), bytes = ctx.output(0).bytes();
  uint64_t pattern = 0;
  convert_elements(DType::kF64, &value, dtype, &pattern, 1);
  ctx.set_step(make_step("fill", [=](const StepArgs& args) {
    char* y = args.outputs[0]->as<char>();
    if (bytes == 0) return ok_status();
    std::memcpy(y, &pattern, element);
    for (size_t done = element; done < bytes; done *= 2)
      std::memcpy(y + done, y, std::min(done, bytes - done));
    return ok_status();
  }));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(constant_of_shape) {
  registry.add("ConstantOfShape")
      .doc("A tensor of the given shape with one value everywhere.")
      .input("shape", "i64[rank]")
      .output("y")
      .attr("value", 0.0)
      .attr("dtype", "f32", "data type of the result")
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
