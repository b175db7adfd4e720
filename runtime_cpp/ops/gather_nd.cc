#include <cstring>

#include "core/op.h"
#include "kernels/layout/tuples.h"

namespace edgec {
namespace {

Status infer(InferContext& ctx) {
  EDGEC_TRY(ctx.want_dtype(1, {DType::kI32, DType::kI64}));
  const Shape &data = ctx.input(0).shape, &indices = ctx.input(1).shape;
  const int64_t batch = ctx.attr_int("batch_dims");
  if (indices.rank() == 0 || batch < 0 || batch >= indices.rank() || batch > data.rank())
    return ctx.fail(StatusCode::kShape, "batch_dims %lld does not fit input 'x' %s and 'indices' %s",
                    static_cast<long long>(batch), data.to_string().c_str(), indices.to_string().c_str());
  const int b = static_cast<int>(batch);
  if (indices.back() > data.rank() - b)
    return ctx.fail(StatusCode::kShape,
                    "the last dimension of 'indices' %s addresses more than the %d dimensions of "
                    "input 'x' %s behind batch_dims",
                    indices.to_string().c_str(), data.rank() - b, data.to_string().c_str());
  for (int i = 0; i < b; ++i)
    if (indices[i] != data[i])
      return ctx.fail(StatusCode::kShape, "batch dimension %d of input 'x' %s and 'indices' %s differs", i,
                      data.to_string().c_str(), indices.to_string().c_str());
  const int depth = static_cast<int>(indices.back());
  if (indices.rank() - 1 + data.rank() - b - depth > kMaxRank)
    return ctx.fail(StatusCode::kUnsupported, "the output would have more than %d dimensions", kMaxRank);
  Shape out;
  for (int i = 0; i + 1 < indices.rank(); ++i) out.push_back(indices[i]);
  for (int i = b + depth; i < data.rank(); ++i) out.push_back(data[i]);
  return ctx.set_output(0, ctx.input(0).dtype, out);
}

Status prepare(PrepareContext& ctx) {
  const IndexTuples tuples(ctx, static_cast<int>(ctx.attr_int("batch_dims")));
  const size_t element = dtype_size(ctx.input(0).dtype);
  const size_t bytes = static_cast<size_t>(tuples.slice) * element;
  ctx.set_step(make_step("gather nd", [=](const StepArgs& args) -> Status {
    const void* indices = args.inputs[1]->data;
    EDGEC_TRY(tuples.check(indices));
    const char* x = args.inputs[0]->as<char>();
    char* y = args.outputs[0]->as<char>();
    args.pool.parallel_for(
        tuples.count, static_cast<double>(bytes) + 40, [&](int64_t begin, int64_t end, int) {
          for (int64_t t = begin; t < end; ++t)
            std::memcpy(y + static_cast<size_t>(t) * bytes,
                        x + static_cast<size_t>(tuples.offset(indices, t)) * element, bytes);
        });
    return ok_status();
  }));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(gather_nd) {
  registry.add("GatherND")
      .doc("The slices x[batch..., i0, i1, ...] that the rows (i0, i1, ...) of indices address.")
      .input("x")
      .input("indices", "i32 or i64 [batch..., n..., k]; negative ones count from the end")
      .output("y")
      .attr("batch_dims", 0, "leading dimensions that x and indices share")
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
