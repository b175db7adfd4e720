#include "kernels/reduce/reduce.h"

#include <algorithm>
#include <limits>

namespace edgec {

#define EDGEC_ISA_ROW(name, parent, cpu_test) \
  namespace name {                            \
  extern const ReduceKernels kReduce;         \
  }
#include "isa_list.inc"
#undef EDGEC_ISA_ROW

const ReduceKernels& reduce_kernels(Isa isa) {
  static const ReduceKernels* const kTables[kIsaCount] = {
#define EDGEC_ISA_ROW(name, parent, cpu_test) &name::kReduce,
#include "isa_list.inc"
#undef EDGEC_ISA_ROW
  };
  return *find_kernels(kTables, isa);
}

double reduction_start(Reduction reduction) {
  switch (reduction) {
    case Reduction::kProduct:
      return 1;
    case Reduction::kMax:
      return -std::numeric_limits<double>::infinity();
    case Reduction::kMin:
      return std::numeric_limits<double>::infinity();
    default:
      return 0;
  }
}

double reduction_combine(Reduction reduction, double a, double b) {
  switch (reduction) {
    case Reduction::kProduct:
      return a * b;
    case Reduction::kMax:
      return b > a || b != b ? b : a;
    case Reduction::kMin:
      return b < a || b != b ? b : a;
    default:
      return a + b;
  }
}

}  // namespace edgec
