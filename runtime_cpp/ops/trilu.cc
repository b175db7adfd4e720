#include <algorithm>
#include <cstring>

#include "core/op.h"
#include "kernels/layout/strides.h"

namespace edgec {
namespace {

Status infer(InferContext& ctx) {
  const TensorType& x = ctx.input(0);
  if (x.shape.rank() < 2)
    return ctx.fail(StatusCode::kShape, "input 'x' is %s, expected at least two dimensions",
                    x.to_string().c_str());
  if (ctx.has_input(1)) {
    EDGEC_TRY(ctx.want_dtype(1, {DType::kI64, DType::kI32}));
    if (ctx.input(1).shape.elements() != 1)
      return ctx.fail(StatusCode::kShape, "input 'k' is %s, expected one element",
                      ctx.input(1).to_string().c_str());
  }
  return ctx.set_output(0, x.dtype, x.shape);
}

Status prepare(PrepareContext& ctx) {
  const Shape& shape = ctx.input(0).shape;
  const int64_t rows = shape[shape.rank() - 2], columns = shape.back(),
                matrices = shape.product(0, shape.rank() - 2);
  const size_t element = dtype_size(ctx.input(0).dtype);
  const bool upper = ctx.attr_bool("upper"), has_k = ctx.has_input(1);
  const DType k_type = has_k ? ctx.input(1).dtype : DType::kI64;
  ctx.set_step(make_step("trilu", [=](const StepArgs& args) {
    // Limited so that row + k does not overflow; beyond the matrix it makes no difference.
    const int64_t k =
        has_k ? std::clamp(index_at(k_type, args.inputs[1]->data, 0), -rows - columns, rows + columns) : 0;
    const size_t bytes = static_cast<size_t>(columns) * element;
    args.pool.parallel_for(
        matrices * rows, static_cast<double>(bytes) + 8, [&](int64_t begin, int64_t end, int) {
          for (int64_t i = begin; i < end; ++i) {
            const char* x = args.inputs[0]->as<char>() + static_cast<size_t>(i) * bytes;
            char* y = args.outputs[0]->as<char>() + static_cast<size_t>(i) * bytes;
            const int64_t row = i % rows;
            // Upper keeps columns >= row + k, lower columns <= row + k.
            const size_t cut =
                static_cast<size_t>(std::clamp<int64_t>(row + k + (upper ? 0 : 1), 0, columns)) * element;
            const size_t keep = upper ? cut : 0, kept = upper ? bytes - cut : cut;
            if (x != y) std::memcpy(y + keep, x + keep, kept);
            std::memset(upper ? y : y + cut, 0, bytes - kept);
          }
        });
    return ok_status();
  }));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(trilu) {
  registry.add("Trilu")
      .doc("The upper or lower triangle of the matrices in the last two dimensions; zero elsewhere.")
      .input("x")
      .optional("k", "one i64: which diagonal bounds the triangle; 0 = the main one, positive = above")
      .output("y")
      .attr("upper", 1, "0: the lower triangle")
      .inplace(0)
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
