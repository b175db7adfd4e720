// Writing and combining elements at computed places: ScatterElements and ScatterND.
#pragma once
#include <cstdint>
#include <string>

#include "core/op.h"

namespace edgec {

// Runs of elements at an address become, or are combined with, runs of updates.
class Combine {
 public:
  Combine() = default;
  // reduction: none add mul min max. Fails for a data type without arithmetic (bool takes only none).
  static Status make(const NodeContext& ctx, const std::string& reduction, DType dtype, Isa isa,
                     Combine* out);
  void apply(void* target, const void* updates, int64_t elements) const;
  size_t element_bytes() const { return size_; }

 private:
  void (*kernel_)(const struct ElementwiseArgs&) = nullptr;  // null: plain copy
  DType dtype_ = DType::kF32;
  DType compute_ = DType::kF32;
  size_t size_ = 4;
};

inline constexpr char kReductions[] = "none|add|mul|min|max";

}  // namespace edgec
