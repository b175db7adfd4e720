#include "kernels/math_table/math_table.h"
#include "kernels/simd/math.h"

namespace edgec {
namespace EDGEC_ISA_NS {
namespace {
#define EDGEC_MATH_FUNCTION(name)                                             \
  void apply_##name(const float* x, float* y, size_t count) {                 \
    for (size_t i = 0; i < count; i += kF32) store(y + i, name(load(x + i))); \
  }
EDGEC_MATH_FUNCTION(exp)
EDGEC_MATH_FUNCTION(expm1)
EDGEC_MATH_FUNCTION(log)
EDGEC_MATH_FUNCTION(log1p)
EDGEC_MATH_FUNCTION(tanh)
EDGEC_MATH_FUNCTION(sigmoid)
EDGEC_MATH_FUNCTION(erf)
EDGEC_MATH_FUNCTION(softplus)
#undef EDGEC_MATH_FUNCTION
}  // namespace
extern const MathTable kMathTable;
const MathTable kMathTable = {{{"exp", apply_exp},
                               {"expm1", apply_expm1},
                               {"log", apply_log},
                               {"log1p", apply_log1p},
                               {"tanh", apply_tanh},
                               {"sigmoid", apply_sigmoid},
                               {"erf", apply_erf},
                               {"softplus", apply_softplus}}};
}  // namespace EDGEC_ISA_NS
}  // namespace edgec
