#include "core/op.h"
#include "kernels/layout/copy.h"

namespace edgec {
namespace {

Status infer(InferContext& ctx) {
  std::vector<int64_t> wanted;
  EDGEC_TRY(ctx.value_ints(1, &wanted));
  const Shape& from = ctx.input(0).shape;
  if (wanted.size() > static_cast<size_t>(kMaxRank))
    return ctx.fail(StatusCode::kUnsupported, "'shape' asks for %zu dimensions, at most %d are supported",
                    wanted.size(), kMaxRank);
  const bool zero_is_zero = ctx.attr_bool("allowzero");
  Shape to;
  int free_axis = -1;
  int64_t known = 1;
  for (size_t i = 0; i < wanted.size(); ++i) {
    int64_t d = wanted[i];
    if (d == 0 && !zero_is_zero) {
      if (static_cast<int>(i) >= from.rank())
        return ctx.fail(StatusCode::kShape,
                        "'shape'[%zu] is 0 (keep the input's dimension), but input 'x' %s has only %d", i,
                        from.to_string().c_str(), from.rank());
      d = from[static_cast<int>(i)];
    } else if (d == -1) {
      if (free_axis >= 0)
        return ctx.fail(StatusCode::kShape, "'shape' has -1 at both %d and %zu, at most one is possible",
                        free_axis, i);
      free_axis = static_cast<int>(i);
      d = 1;
    } else if (d < 0) {
      return ctx.fail(StatusCode::kShape, "'shape'[%zu] is %lld, expected -1, 0 or a positive size", i,
                      static_cast<long long>(d));
    }
    if (__builtin_mul_overflow(known, d, &known))
      return ctx.fail(StatusCode::kShape, "'shape' asks for more than 2^63 elements");
    to.push_back(d);
  }
  const int64_t elements = from.elements();
  if (free_axis >= 0) {
    if (known == 0 || elements % known != 0)
      return ctx.fail(StatusCode::kShape,
                      "input 'x' %s has %lld elements, which the -1 in %s cannot make fit",
                      from.to_string().c_str(), static_cast<long long>(elements),
                      Shape(wanted.data(), static_cast<int>(wanted.size())).to_string().c_str());
    to[free_axis] = elements / known;
  } else if (known != elements) {
    return ctx.fail(StatusCode::kShape, "input 'x' %s has %lld elements, 'shape' %s wants %lld",
                    from.to_string().c_str(), static_cast<long long>(elements), to.to_string().c_str(),
                    static_cast<long long>(known));
  }
  return ctx.set_output(0, ctx.input(0).dtype, to);
}

}  // namespace

EDGEC_REGISTER(reshape) {
  registry.add("Reshape")
      .doc("The same elements in the same order under another shape.")
      .input("x")
      .input("shape", "i64[rank]: one -1 is computed; 0 keeps the input's dimension unless allowzero")
      .output("y")
      .attr("allowzero", 0, "1: a 0 in 'shape' means an empty dimension")
      .flags(kViewOfInput0 | kSignAgnostic)
      .infer(infer)
      .prepare(prepare_view);
}

}  // namespace edgec
