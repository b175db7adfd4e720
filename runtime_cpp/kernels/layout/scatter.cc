#include "kernels/layout/scatter.h"

#include <cstring>

#include "kernels/elementwise/elementwise.h"

namespace edgec {

Status Combine::make(const NodeContext& ctx, const std::string& reduction, DType dtype, Isa isa,
                     Combine* out) {
  out->dtype_ = dtype;
  out->compute_ = compute_type(dtype);
  out->size_ = dtype_size(dtype);
  if (reduction == "none") return ok_status();
  if (dtype == DType::kBool)
    return ctx.fail(StatusCode::kUnsupported, "reduction '%s' is not defined for bool", reduction.c_str());
  const BinaryFunction function = reduction == "add"   ? BinaryFunction::kAdd
                                  : reduction == "mul" ? BinaryFunction::kMul
                                  : reduction == "min" ? BinaryFunction::kMin
                                                       : BinaryFunction::kMax;
  out->kernel_ = elementwise_kernels(out->compute_, isa).binary[static_cast<int>(function)];
  return ok_status();
}

void Combine::apply(void* target, const void* updates, int64_t elements) const {
  if (kernel_ == nullptr) {
    std::memcpy(target, updates, static_cast<size_t>(elements) * size_);
    return;
  }
  ElementwiseArgs args;
  args.a = target;
  args.b = updates;
  args.y = target;
  args.columns = elements;
  run_elementwise(kernel_, {compute_, dtype_, dtype_, dtype_}, args);
}

}  // namespace edgec
