#include "kernels/quantized_depthwise/quantized_depthwise.h"

#include <algorithm>
#include <cstring>

#define EDGEC_FAMILY_TYPE QuantizedDepthwiseKernels
#define EDGEC_FAMILY_TABLE kQuantizedDepthwise
#define EDGEC_FAMILY_ISAS "quantized_depthwise_isas.inc"
#define EDGEC_FAMILY_FIND quantized_depthwise_kernels
#include "kernels/family_table.inc"

namespace edgec {

namespace {

int64_t quads(const DepthwiseGeometry& g) { return (g.kernel_height + 3) / 4; }

}  // namespace

int64_t quantized_depthwise_packed_bytes(const DepthwiseGeometry& g, int block) {
  return (g.channels + block - 1) / block * block * (8 + 4 * quads(g) * g.kernel_width);
}

size_t quantized_depthwise_scratch(const DepthwiseGeometry& g, int block) {
  const int64_t column_bytes = 4 * block * quads(g), segment = quantized_depthwise_segment(g, column_bytes);
  const int64_t columns = (segment - 1) * g.stride_width + (g.kernel_width - 1) * g.dilation_width + 1;
  // Behind the columns the pointers of a row: one for each kernel row.
  return static_cast<size_t>(columns * column_bytes) +
         (static_cast<size_t>(4 * quads(g)) * sizeof(const uint8_t*) + 63) / 64 * 64;
}

void quantized_depthwise_pack(const DepthwiseGeometry& g, int block, const int8_t* weight, int32_t zero,
                              const int32_t* bias, const float* multiplier, uint8_t* packed) {
  const int64_t taps = g.kernel_height * g.kernel_width;
  for (int64_t first = 0; first < g.channels; first += block) {
    auto* biases = reinterpret_cast<int32_t*>(packed);
    auto* multipliers = reinterpret_cast<float*>(biases + block);
    auto* weights = reinterpret_cast<uint8_t*>(multipliers + block);
    packed = weights + 4 * block * quads(g) * g.kernel_width;
    std::memset(biases, 0, static_cast<size_t>(packed - reinterpret_cast<uint8_t*>(biases)));
    for (int64_t i = 0; i < block && first + i < g.channels; ++i) {
      // Channel i lies in byte i % 16 of a lane; vector i % 16 / 4 of the four holds it.
      const int64_t at = i % 16 / 4 * (block / 4) + i / 16 * 4 + i % 4, c = first + i;
      uint32_t sum = 0;
      for (int64_t t = 0; t < taps; ++t) {
        const int64_t ky = t / g.kernel_width, kx = t % g.kernel_width;
        weights[((kx * quads(g) + ky / 4) * block + at) * 4 + ky % 4] =
            static_cast<uint8_t>(weight[c * taps + t]);
        sum += static_cast<uint32_t>(weight[c * taps + t]);
      }
      const uint32_t start = bias != nullptr ? static_cast<uint32_t>(bias[c]) : 0;
      biases[at] = static_cast<int32_t>(start - static_cast<uint32_t>(zero) * sum);
      multipliers[at] = multiplier[c];
    }
  }
}

}  // namespace edgec
