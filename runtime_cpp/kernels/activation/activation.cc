#include "kernels/activation/activation.h"

#include <cstring>

#define EDGEC_FAMILY_TYPE ActivationKernels
#define EDGEC_FAMILY_TABLE kActivation
#define EDGEC_FAMILY_ISAS "activation_isas.inc"
#define EDGEC_FAMILY_FIND activation_kernels
#include "kernels/family_table.inc"

namespace edgec {

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
