#include "kernels/depthwise/depthwise.h"

#define EDGEC_FAMILY_TYPE DepthwiseKernels
#define EDGEC_FAMILY_TABLE kDepthwise
#define EDGEC_FAMILY_ISAS "depthwise_isas.inc"
#define EDGEC_FAMILY_FIND depthwise_kernels
#include "kernels/family_table.inc"

namespace edgec {

size_t depthwise_packed_floats(const DepthwiseGeometry& g, Isa isa) {
  const int64_t tile = depthwise_kernels(isa).tile;
  const int64_t blocks = (g.channels + tile - 1) / tile;
  return static_cast<size_t>(blocks * tile * (1 + g.kernel_height * g.kernel_width));
}

void depthwise_pack_f32(const DepthwiseGeometry& g, Isa isa, const float* weight, const float* bias,
                        float* packed) {
  const int64_t tile = depthwise_kernels(isa).tile;
  const int64_t taps = g.kernel_height * g.kernel_width;
  for (int64_t c0 = 0; c0 < g.channels; c0 += tile) {
    for (int64_t j = 0; j < tile; ++j, ++packed) {
      const int64_t c = c0 + j;
      const bool inside = c < g.channels;
      *packed = inside && bias != nullptr ? bias[c] : 0.0f;
      for (int64_t t = 0; t < taps; ++t) packed[(1 + t) * tile] = inside ? weight[c * taps + t] : 0.0f;
    }
    packed += taps * tile;
  }
}

double depthwise_row_cost(const DepthwiseGeometry& g) {
  return static_cast<double>(g.output_width * g.channels) *
         static_cast<double>(g.kernel_height * g.kernel_width);
}

}  // namespace edgec
