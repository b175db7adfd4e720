#include "core/op.h"
#include "kernels/layout/copy.h"

namespace edgec {
namespace {

Status infer(InferContext& ctx) {
  const Shape& shape = ctx.input(0).shape;
  std::vector<int64_t> axes;
  EDGEC_TRY(ctx.ints_of("axes", 1, &axes));
  if (axes.size() > static_cast<size_t>(kMaxRank - shape.rank()))
    return ctx.fail(StatusCode::kUnsupported, "input 'x' %s and %zu new axes make more than %d dimensions",
                    shape.to_string().c_str(), axes.size(), kMaxRank);
  const int rank = shape.rank() + static_cast<int>(axes.size());
  bool inserted[kMaxRank] = {};
  for (int64_t a : axes) {
    int axis = 0;
    EDGEC_TRY(ctx.normalize_axis(a, rank, &axis));
    if (inserted[axis])
      return ctx.fail(StatusCode::kShape, "list 'axes' names axis %lld twice", static_cast<long long>(a));
    inserted[axis] = true;
  }
  Shape out;
  for (int i = 0, next = 0; i < rank; ++i) out.push_back(inserted[i] ? 1 : shape[next++]);
  return ctx.set_output(0, ctx.input(0).dtype, out);
}

}  // namespace

EDGEC_REGISTER(unsqueeze) {
  registry.add("Unsqueeze")
      .doc("Inserts dimensions of size 1 at `axes` of the output.")
      .input("x")
      .optional("axes", "i64; in place of the attribute")
      .output("y")
      .attr("axes", std::vector<int64_t>{}, "positions in the output; negative ones count from its end")
      .flags(kViewOfInput0 | kSignAgnostic)
      .infer(infer)
      .prepare(prepare_view);
}

}  // namespace edgec
