// Compiled once per ISA.
#include <algorithm>

#include "kernels/attention/attention.h"
#include "kernels/simd/math.h"

namespace edgec {
namespace EDGEC_ISA_NS {
namespace {

constexpr float kInfinity = __builtin_inff();

void softmax_block(const SoftmaxBlock& b) {
  const f32v scale(b.scale);
  for (int64_t r = 0; r < b.rows; ++r) {
    float* row = b.scores + r * b.pitch;
    const int64_t keys = b.visible != nullptr ? std::clamp<int64_t>(b.visible[r], 0, b.keys) : b.keys;
    const float* mask = b.mask != nullptr ? b.mask[r] : nullptr;
    const f32v everywhere(mask != nullptr && b.mask_step == 0 ? mask[0] : 0.0f);
    f32v largest(-kInfinity);
    float tail_largest = -kInfinity;
    for_lanes<kF32>(keys, [&](int64_t j, auto n) {
      const f32v m = mask != nullptr && b.mask_step == 1 ? load<float, kF32>(mask + j, n) : everywhere;
      const f32v s = fma(load<float, kF32>(row + j, n), scale, m);
      store(row + j, s, n);
      // The accumulator second: a NaN score becomes the maximum only through the exponential, not here.
      if constexpr (std::is_same_v<decltype(n), std::integral_constant<int, kF32>>) {
        largest = max(s, largest);
      } else {
        for (int64_t l = 0; l < n; ++l) tail_largest = std::max(tail_largest, row[j + l]);
      }
    });
    const float before = b.maximum[r];
    const float now = std::max(before, std::max(tail_largest, reduce_max(largest)));
    // All keys hidden so far: any finite value does, exp(-infinity - 0) is 0.
    const f32v shift(now == -kInfinity ? 0.0f : now);
    f32v sum(0.0f);
    float tail_sum = 0.0f;
    for_lanes<kF32>(keys, [&](int64_t j, auto n) {
      const f32v p = exp(load<float, kF32>(row + j, n) - shift);
      store(row + j, p, n);
      if constexpr (std::is_same_v<decltype(n), std::integral_constant<int, kF32>>) {
        sum = sum + p;
      } else {
        for (int64_t l = 0; l < n; ++l) tail_sum += p[static_cast<int>(l)];
      }
    });
    std::fill(row + keys, row + b.keys, 0.0f);
    const float correction = now == -kInfinity ? 1.0f : exp(f32v(before - now))[0];
    b.maximum[r] = now;
    b.sum[r] = b.sum[r] * correction + (reduce_add(sum) + tail_sum);
    b.correction[r] = correction;
  }
}

void scale_rows(float* y, int64_t pitch, int64_t rows, int64_t columns, const float* factor) {
  for (int64_t r = 0; r < rows; ++r) {
    float* row = y + r * pitch;
    const f32v f(factor[r]);
    for_lanes<kF32>(columns,
                    [&](int64_t j, auto n) { store(row + j, load<float, kF32>(row + j, n) * f, n); });
  }
}

}  // namespace

extern const AttentionKernels kAttention;
const AttentionKernels kAttention = {softmax_block, scale_rows};

}  // namespace EDGEC_ISA_NS
}  // namespace edgec
