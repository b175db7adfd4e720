#include "kernels/activation/activation.h"

#include <cstring>

namespace edgec {

#define EDGEC_ISA_ROW(name, parent, cpu_test) \
  namespace name {                            \
  extern const ActivationKernels kActivation; \
  }
#include "isa_list.inc"
#undef EDGEC_ISA_ROW

const ActivationKernels& activation_kernels(Isa isa) {
  static const ActivationKernels* const tables[kIsaCount] = {
#define EDGEC_ISA_ROW(name, parent, cpu_test) &name::kActivation,
#include "isa_list.inc"
#undef EDGEC_ISA_ROW
  };
  return *find_kernels(tables, isa);
}

static const char* const kNames[kActivationCount] = {
#define EDGEC_ACTIVATION_ROW(enumerator, name) name,
    EDGEC_ACTIVATIONS(EDGEC_ACTIVATION_ROW)
#undef EDGEC_ACTIVATION_ROW
};

const char* activation_name(Activation activation) { return kNames[static_cast<int>(activation)]; }

bool activation_from_name(const char* name, Activation* out) {
  for (int i = 0; i < kActivationCount; ++i) {
    if (std::strcmp(kNames[i], name) != 0) continue;
    *out = static_cast<Activation>(i);
    return true;
  }
  return false;
}

ClampRange activation_clamp(Activation activation, float alpha, float beta) {
  ClampRange range;
  if (activation == Activation::kRelu) range.minimum = 0.0f;
  if (activation == Activation::kClip) range = {alpha, beta};
  return range;
}

}  // namespace edgec
