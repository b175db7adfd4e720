#include "kernels/reduce/reduce.h"

#include <algorithm>
#include <limits>

#define EDGEC_FAMILY_TYPE ReduceKernels
#define EDGEC_FAMILY_TABLE kReduce
#define EDGEC_FAMILY_ISAS "reduce_isas.inc"
#define EDGEC_FAMILY_FIND reduce_kernels
#include "kernels/family_table.inc"

namespace edgec {

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
