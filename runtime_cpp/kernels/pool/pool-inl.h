// Compiled once per ISA.
#include <algorithm>
#include <limits>

#include "kernels/pool/pool.h"
#include "kernels/simd/simd.h"

namespace edgec {
namespace EDGEC_ISA_NS {
namespace {

struct MaxF32 {
  using T = float;
  EDGEC_INLINE static f32v start() { return f32v(-std::numeric_limits<float>::infinity()); }
  EDGEC_INLINE static f32v step(f32v sum, f32v x) { return select((x > sum) | (x != x), x, sum); }
  EDGEC_INLINE static f32v finish(f32v sum, f32v) { return sum; }
};

template <class Integer>
struct MaxInteger {
  using T = Integer;
  using V = vec<T, lanes<T>>;
  EDGEC_INLINE static V start() { return V(std::numeric_limits<T>::lowest()); }
  EDGEC_INLINE static V step(V sum, V x) { return max(sum, x); }
  EDGEC_INLINE static V finish(V sum, V) { return sum; }
};

struct AverageF32 {
  using T = float;
  EDGEC_INLINE static f32v start() { return f32v(0.0f); }
  EDGEC_INLINE static f32v step(f32v sum, f32v x) { return sum + x; }
  EDGEC_INLINE static f32v finish(f32v sum, f32v count) { return sum / count; }
};

template <class Op>
void pool_rows(const PoolRun& run, int64_t begin, int64_t end) {
  using T = typename Op::T;
  constexpr int kLanes = lanes<T>;
  using V = vec<T, kLanes>;
  constexpr int kChunk = 4;  // vectors of channels that share one walk over the window
  const PoolGeometry& g = *run.geometry;
  const int64_t x_step = g.dilation_width * run.input_pitch;
  const int64_t y_step = g.dilation_height * g.input_width * run.input_pitch;
  for (int64_t y = begin; y < end; ++y) {
    const int64_t iy = y * g.stride_height - g.pad_top;
    const PoolTaps wy =
        pool_taps(iy, g.kernel_height, g.dilation_height, g.input_height, g.pad_bottom, g.count_include_pad);
    for (int64_t x = 0; x < g.output_width; ++x) {
      const int64_t ix = x * g.stride_width - g.pad_left;
      const PoolTaps wx =
          pool_taps(ix, g.kernel_width, g.dilation_width, g.input_width, g.pad_right, g.count_include_pad);
      const int64_t first_y = iy + wy.begin * g.dilation_height, first_x = ix + wx.begin * g.dilation_width;
      const T* in = static_cast<const T*>(run.input) + (first_y * g.input_width + first_x) * run.input_pitch;
      T* out = static_cast<T*>(run.output) + (y * g.output_width + x) * run.output_pitch;
      const V count(static_cast<T>(std::max<int64_t>(wy.counted * wx.counted, 1)));
      const int64_t rows = wy.end - wy.begin, columns = wx.end - wx.begin;
      int64_t c = 0;
      for (; c + kChunk * kLanes <= g.channels; c += kChunk * kLanes) {
        V sum[kChunk];
        for (int k = 0; k < kChunk; ++k) sum[k] = Op::start();
        for (int64_t ky = 0; ky < rows; ++ky)
          for (int64_t kx = 0; kx < columns; ++kx) {
            const T* p = in + c + ky * y_step + kx * x_step;
            for (int k = 0; k < kChunk; ++k) sum[k] = Op::step(sum[k], load<T>(p + k * kLanes));
          }
        for (int k = 0; k < kChunk; ++k) store(out + c + k * kLanes, Op::finish(sum[k], count));
      }
      for_lanes<kLanes>(g.channels - c, [&](int64_t i, auto n) {
        V sum = Op::start();
        for (int64_t ky = 0; ky < rows; ++ky)
          for (int64_t kx = 0; kx < columns; ++kx)
            sum = Op::step(sum, load(in + c + i + ky * y_step + kx * x_step, n));
        store(out + c + i, Op::finish(sum, count), n);
      });
    }
  }
}

}  // namespace

extern const PoolKernels kPool;
const PoolKernels kPool = {pool_rows<MaxF32>, pool_rows<MaxInteger<int8_t>>, pool_rows<MaxInteger<uint8_t>>,
                           pool_rows<AverageF32>};

}  // namespace EDGEC_ISA_NS
}  // namespace edgec
