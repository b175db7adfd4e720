// Activations, and what is left to do for a tile of results that a kernel has just stored: adding a
// residual and activations that do not fit the clamp in the kernel's registers. One function per kind,
// chosen once at prepare; the tile is still in L1.
#pragma once
#include <cstdint>
#include <limits>

#include "core/cpu.h"

namespace edgec {

// Row: enumerator, name in the attribute `activation`.
#define EDGEC_ACTIVATIONS(row)                                                                              \
  row(kNone, "none") row(kRelu, "relu") row(kClip, "clip") row(kLeakyRelu, "leaky_relu")                    \
      row(kPRelu, "prelu") row(kHardSwish, "hardswish") row(kHardSigmoid, "hardsigmoid") row(kSilu, "silu") \
          row(kGelu, "gelu") row(kGeluTanh, "gelu_tanh") row(kSigmoid, "sigmoid") row(kTanh, "tanh")        \
              row(kElu, "elu") row(kSoftplus, "softplus") row(kMish, "mish")

enum class Activation : uint8_t {
#define EDGEC_ACTIVATION_ROW(enumerator, name) enumerator,
  EDGEC_ACTIVATIONS(EDGEC_ACTIVATION_ROW)
#undef EDGEC_ACTIVATION_ROW
};
inline constexpr int kActivationCount = 0
#define EDGEC_ACTIVATION_ROW(enumerator, name) +1
    EDGEC_ACTIVATIONS(EDGEC_ACTIVATION_ROW)
#undef EDGEC_ACTIVATION_ROW
    ;
// The choices of the attribute, in the form AttrSpec wants.
inline constexpr const char* kActivationChoices =
    "none|relu|clip|leaky_relu|prelu|hardswish|hardsigmoid|silu|gelu|gelu_tanh|sigmoid|tanh|elu|softplus|"
    "mish";

const char* activation_name(Activation activation);
bool activation_from_name(const char* name, Activation* out);

// The range that a kernel clamps to in its registers; infinite unless the activation is just a clamp.
struct ClampRange {
  float minimum = -std::numeric_limits<float>::infinity();
  float maximum = std::numeric_limits<float>::infinity();
};
inline bool activation_is_clamp(Activation activation) { return activation <= Activation::kClip; }
ClampRange activation_clamp(Activation activation, float alpha, float beta);

// c[i][j] = activation(c[i][j] + before[i][j]) + after[i][j] for rows x columns of f32.
struct FinishTile {
  float* c = nullptr;
  int64_t c_pitch = 0;
  int64_t rows = 0, columns = 0;
  const float* before = nullptr;  // may be null
  const float* after = nullptr;   // may be null
  int64_t residual_pitch = 0;     // of both
  const float* slope = nullptr;   // prelu: one per column
  float alpha = 0, beta = 0;
};

struct ActivationKernels {
  void (*finish[kActivationCount])(const FinishTile&);
};
const ActivationKernels& activation_kernels(Isa isa);

}  // namespace edgec
