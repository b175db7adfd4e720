#include "core/op.h"
#include "kernels/elementwise/convert.h"
#include "kernels/elementwise/loop.h"

namespace edgec {
namespace {

Status infer(InferContext& ctx) {
  const std::string& name = ctx.attr_string("to");
  const DType to = dtype_from_name(name.c_str());
  if (to == DType::kNone)
    return ctx.fail(StatusCode::kInvalidArgument,
                    "attribute 'to' is '%s', expected a data type such as f32 or i64", name.c_str());
  return ctx.set_output(0, to, ctx.input(0).shape);
}

Status prepare(PrepareContext& ctx) {
  const BroadcastOperand operands[] = {{ctx.output(0).shape, ctx.output_pitch(0)},
                                       {ctx.input(0).shape, ctx.input_pitch(0)}};
  const BroadcastLoop loop(operands, 2);
  const DType from = ctx.input(0).dtype, to = ctx.output(0).dtype;
  const size_t from_size = dtype_size(from), to_size = dtype_size(to);
  // Conversions run at about a nanosecond per element; those that search a table at ten.
  const bool slow = is_small_float(to);
  SmallFloatRules rules;
  rules.saturate = ctx.attr_bool("saturate");
  const std::string& round = ctx.attr_string("round_mode");
  rules.round = round == "up"     ? SmallFloatRules::Round::kUp
                : round == "down" ? SmallFloatRules::Round::kDown
                                  : SmallFloatRules::Round::kNearest;
  ctx.set_step(make_step("cast", [=](const StepArgs& step) {
    loop.run(step.pool, slow ? 400.0 : 40.0,
             [&](const int64_t* offsets, int64_t planes, int64_t rows, int64_t columns) {
               const char* x = step.inputs[0]->as<char>() + static_cast<size_t>(offsets[1]) * from_size;
               char* y = step.outputs[0]->as<char>() + static_cast<size_t>(offsets[0]) * to_size;
               for (int64_t p = 0; p < planes; ++p) {
                 for (int64_t r = 0; r < rows; ++r) {
                   const int64_t from_offset = p * loop.plane_stride(1) + r * loop.row_stride(1);
                   const int64_t to_offset = p * loop.plane_stride(0) + r * loop.row_stride(0);
                   convert_elements(from, x + static_cast<size_t>(from_offset) * from_size, to,
                                    y + static_cast<size_t>(to_offset) * to_size, columns, rules);
                 }
               }
             });
    return ok_status();
  }));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(cast) {
  registry.add("Cast")
      .doc(
          "Converts the data type. Floats become integers by truncation towards zero, saturating, NaN as 0; "
          "integers narrow modulo 2^bits; bool is x != 0.")
      .input("x")
      .output("y")
      .required("to", AttrType::kString,
                "a data type: f32 f16 bf16 f64 i8 i16 i32 i64 u8 u16 u32 u64 bool, f8* f4e2m1 i4 u4 i2 u2")
      .attr("saturate", 1, "8-bit and smaller floats: too large values become the largest finite one")
      .attr("round_mode", "up", "f8e8m0 only", "up|down|nearest")
      .flags(kElementwise | kPitchedInputs | kPitchedOutputs)
      .inplace(0)
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
