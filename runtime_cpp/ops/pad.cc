#include "kernels/layout/pad.h"

#include <algorithm>

#include "core/op.h"

namespace edgec {
namespace {

Status read_pads(const NodeContext& ctx, int64_t* before, int64_t* after) {
  const Shape& shape = ctx.input(0).shape;
  std::vector<int64_t> pads, axes;
  EDGEC_TRY(ctx.value_ints(1, &pads));
  if (ctx.has_input(3)) {
    EDGEC_TRY(ctx.value_ints(3, &axes));
  } else {
    for (int i = 0; i < shape.rank(); ++i) axes.push_back(i);
  }
  if (pads.size() != 2 * axes.size())
    return ctx.fail(StatusCode::kShape,
                    "'pads' has %zu entries, expected two for each of %zu axes of input 'x' %s", pads.size(),
                    axes.size(), shape.to_string().c_str());
  for (int i = 0; i < shape.rank(); ++i) before[i] = after[i] = 0;
  bool seen[kMaxRank] = {};
  for (size_t k = 0; k < axes.size(); ++k) {
    const int64_t axis = axes[k] < 0 ? axes[k] + shape.rank() : axes[k];
    if (axis < 0 || axis >= shape.rank() || seen[axis])
      return ctx.fail(StatusCode::kInvalidArgument, "axis %lld is repeated or outside input 'x' %s",
                      static_cast<long long>(axes[k]), shape.to_string().c_str());
    seen[axis] = true;
    before[axis] = pads[k];
    after[axis] = pads[k + axes.size()];
  }
  return ok_status();
}

PadMode mode_of(const NodeContext& ctx) {
  const std::string& mode = ctx.attr_string("mode");
  return mode == "reflect" ? PadMode::kReflect
         : mode == "edge"  ? PadMode::kEdge
         : mode == "wrap"  ? PadMode::kWrap
                           : PadMode::kConstant;
}

Status infer(InferContext& ctx) {
  const TensorType& x = ctx.input(0);
  int64_t before[kMaxRank], after[kMaxRank];
  EDGEC_TRY(read_pads(ctx, before, after));
  Shape out = x.shape;
  for (int i = 0; i < out.rank(); ++i) {
    if (__builtin_add_overflow(out[i], before[i], &out[i]) ||
        __builtin_add_overflow(out[i], after[i], &out[i]) || out[i] < 0)
      return ctx.fail(StatusCode::kShape,
                      "pads %lld and %lld leave no valid size of dimension %d of input 'x' %s",
                      static_cast<long long>(before[i]), static_cast<long long>(after[i]), i,
                      x.shape.to_string().c_str());
    if (mode_of(ctx) != PadMode::kConstant && x.shape[i] == 0 && out[i] > 0)
      return ctx.fail(StatusCode::kShape, "mode '%s' has nothing to repeat in dimension %d of input 'x' %s",
                      ctx.attr_string("mode").c_str(), i, x.shape.to_string().c_str());
  }
  if (ctx.has_input(2)) {
    const TensorType& value = ctx.input(2);
    if (value.dtype != x.dtype || value.shape.elements() != 1)
      return ctx.fail(StatusCode::kInvalidArgument, "input 'value' is %s, expected one %s element",
                      value.to_string().c_str(), dtype_name(x.dtype));
  }
  return ctx.set_output(0, x.dtype, out);
}

Status prepare(PrepareContext& ctx) {
  int64_t before[kMaxRank], after[kMaxRank];
  EDGEC_TRY(read_pads(ctx, before, after));
  PadPlan plan(ctx.input(0).shape, before, after, dtype_size(ctx.input(0).dtype), mode_of(ctx));
  const size_t bytes = static_cast<size_t>(plan.table_entries()) * sizeof(int64_t);
  auto* tables = static_cast<int64_t*>(ctx.allocate_packed(std::max(bytes, sizeof(int64_t))));
  if (tables == nullptr) return ctx.out_of_memory(bytes);
  plan.fill_tables(tables);
  const bool has_value = ctx.has_input(2);
  const int64_t count = ctx.output(0).shape.elements();
  // i8 tensors stored as u8 = i8 + 128: padded as x is stored, then changed where y is stored otherwise.
  const bool from = ctx.input(0).excess128, to = ctx.output(0).excess128;
  const bool value_flips = from != (has_value && ctx.input(2).excess128);
  ctx.set_step(make_step("pad", [=](const StepArgs& args) {
    uint64_t zero = 0;  // of every data type
    const void* value = has_value ? args.inputs[2]->data : &zero;
    if (value_flips) {
      zero = *static_cast<const uint8_t*>(value) ^ 0x80u;
      value = &zero;
    }
    if (count != 0) plan.run(args.pool, args.inputs[0]->data, value, args.outputs[0]->data);
    if (from != to)
      for (int64_t i = 0; i < count; ++i) args.outputs[0]->as<uint8_t>()[i] ^= 0x80;
    return ok_status();
  }));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(pad) {
  registry.add("Pad")
      .doc("Adds elements before and after each dimension, or takes them away where a pad is negative.")
      .input("x")
      .input("pads", "i64[2 n]: before each of the n axes, then after each")
      .optional("value", "one element of x's type for mode constant; default 0")
      .optional("axes", "i64[n]; default: all")
      .output("y")
      .attr("mode", "constant",
            "what the new elements are: a constant, the mirrored inside, the nearest, the other end",
            "constant|reflect|edge|wrap")
      .flags(kRequantizes)
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
