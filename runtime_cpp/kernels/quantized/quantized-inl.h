// Compiled once per ISA.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/quantized/quantized.h"
#include "kernels/simd/bytes.h"

namespace edgec {
namespace EDGEC_ISA_NS {
namespace {

// body(i, n) for blocks of at most one register; full blocks and tails share the code, because most of it
// would be spent on tails otherwise.
template <class Body>
EDGEC_INLINE void for_blocks(int64_t count, const Body& body) {
  for (int64_t i = 0; i < count; i += kF32) body(i, std::min<int64_t>(kF32, count - i));
}
EDGEC_INLINE i32v integers(const uint8_t* p, int64_t n, uint8_t flip) {
  return convert<int32_t>(load_bytes(p, n) ^ bytes(flip));
}
EDGEC_INLINE i32v centered(const uint8_t* p, int64_t n, StoredBytes form) {
  return integers(p, n, form.flip) - i32v(form.zero);
}
EDGEC_INLINE void store_rounded(uint8_t* y, f32v v, const ByteRounding& r, int64_t n) {
  // 1.5 * 2^23: its units are ones, so that the sum is rounded to nearest even and the low byte is the
  // integer's.
  const f32v rounded = min(max(v, f32v(r.low)), f32v(r.high)) + f32v(12582912.0f);
  store_bytes(y, low_bytes(bit_cast<int32_t>(rounded) + i32v(r.zero)), n);
}

struct Sum {
  EDGEC_INLINE static f32v apply(i32v a, i32v b, const QuantizedBinaryRun& run) {
    return convert<float>(a) * f32v(run.a_multiplier) + convert<float>(b) * f32v(run.b_multiplier);
  }
};
struct Product {
  EDGEC_INLINE static f32v apply(i32v a, i32v b, const QuantizedBinaryRun& run) {
    return convert<float>(a * b) * f32v(run.a_multiplier);
  }
};

template <class Op>
void binary(const QuantizedBinaryRun& args) {
  const QuantizedBinaryRun run = args;  // y may not alias it
  for (int64_t p = 0; p < run.planes; ++p)
    for (int64_t r = 0; r < run.rows; ++r) {
      const uint8_t* a = run.a + p * run.a_plane + r * run.a_row;
      const uint8_t* b = run.b + p * run.b_plane + r * run.b_row;
      uint8_t* y = run.y + p * run.y_plane + r * run.y_row;
      // One element for the whole row: a register full of it.
      uint8_t repeated_a[kF32], repeated_b[kF32];
      if (run.a_step == 0) a = static_cast<const uint8_t*>(std::memset(repeated_a, *a, sizeof repeated_a));
      if (run.b_step == 0) b = static_cast<const uint8_t*>(std::memset(repeated_b, *b, sizeof repeated_b));
      for_blocks(run.columns, [&](int64_t i, int64_t n) {
        const i32v va = centered(a + i * run.a_step, n, run.a_form),
                   vb = centered(b + i * run.b_step, n, run.b_form);
        store_rounded(y + i, Op::apply(va, vb, run), run.rounding, n);
      });
    }
}

void requantize(const uint8_t* x, int64_t count, StoredBytes form, float multiplier, ByteRounding rounding,
                uint8_t* y) {
  for_blocks(count, [&](int64_t i, int64_t n) {
    store_rounded(y + i, convert<float>(centered(x + i, n, form)) * f32v(multiplier), rounding, n);
  });
}

void quantize(const float* x, int64_t count, float scale, ByteRounding rounding, uint8_t* y) {
  for_blocks(count, [&](int64_t i, int64_t n) {
    const f32v v = load(x + i, n) / f32v(scale);
    store_rounded(y + i, select(v == v, v, f32v(0.0f)), rounding, n);
  });
}

void dequantize(const uint8_t* x, int64_t count, StoredBytes form, float scale, float* y) {
  for_blocks(count, [&](int64_t i, int64_t n) {
    store(y + i, convert<float>(centered(x + i, n, form)) * f32v(scale), n);
  });
}

void accumulate(const uint8_t* x, int64_t outer, int64_t outer_stride, int64_t inner, int64_t inner_stride,
                int64_t n, uint8_t flip, int32_t* sums) {
  constexpr int kVectors = 4;
  const auto walk = [&](int64_t c, auto vectors, int64_t m) {
    constexpr int kCount = decltype(vectors)::value;
    i32v sum[kCount];
    for (int k = 0; k < kCount; ++k) sum[k] = load<int32_t, kF32>(sums + c + k * kF32, m);
    for (int64_t o = 0; o < outer; ++o)
      for (int64_t i = 0; i < inner; ++i)
        for (int k = 0; k < kCount; ++k)
          sum[k] = sum[k] + integers(x + o * outer_stride + i * inner_stride + c + k * kF32, m, flip);
    for (int k = 0; k < kCount; ++k) store(sums + c + k * kF32, sum[k], m);
  };
  int64_t c = 0;
  for (; c + kVectors * kF32 <= n; c += kVectors * kF32)
    walk(c, std::integral_constant<int, kVectors>{}, kF32);
  for (; c < n; c += kF32) walk(c, std::integral_constant<int, 1>{}, std::min<int64_t>(kF32, n - c));
}

void finish_sums(const int32_t* sums, int64_t count, int32_t subtract, float multiplier,
                 ByteRounding rounding, uint8_t* y) {
  for_blocks(count, [&](int64_t i, int64_t n) {
    const f32v v = convert<float>(load<int32_t, kF32>(sums + i, n) - i32v(subtract));
    store_rounded(y + i, v * f32v(multiplier), rounding, n);
  });
}

uint8_t row_maximum(const uint8_t* x, int64_t n, uint8_t flip) {
  constexpr int kBytes = lanes<uint8_t>;
  using V = vec<uint8_t, kBytes>;
  V best(uint8_t{0});
  int64_t i = 0;
  for (; i + kBytes <= n; i += kBytes) best = max(best, load<uint8_t>(x + i) ^ V(flip));
  uint8_t result = reduce_max(best);
  for (; i < n; ++i) result = std::max<uint8_t>(result, x[i] ^ flip);
  return result;
}

void softmax_rows(const QuantizedRowsRun& run, const int32_t* table) {
  for (int64_t r = 0; r < run.rows; ++r) {
    const uint8_t* x = run.x + r * run.x_pitch;
    uint8_t* y = run.y + r * run.y_pitch;
    const uint8_t greatest = row_maximum(x, run.n, run.flip);
    // A block's sum fits 32 bits (64 * 2^23; a hostile table's wraps); the first blocks are kept for the
    // second walk.
    constexpr int64_t kBlock = 64, kKept = 16 * kBlock;
    int32_t kept[kKept];
    const auto gather = [&](int64_t begin, int64_t count, int32_t* e) {
      uint32_t part = 0;
      for (int64_t i = 0; i < count; ++i) {
        e[i] = table[greatest - (x[begin + i] ^ run.flip)];
        part += static_cast<uint32_t>(e[i]);
      }
      return static_cast<int32_t>(part);
    };
    int64_t sum = 0;
    for (int64_t i = 0; i < run.n; i += kBlock)
      sum += gather(i, std::min(kBlock, run.n - i), kept + (i < kKept ? i : 0));
    if (run.n > kKept) gather(0, kBlock, kept);
    const f32v divisor(static_cast<float>(sum));
    for (int64_t begin = 0; begin < run.n; begin += kBlock) {
      const int64_t count = std::min<int64_t>(kBlock, run.n - begin);
      const int32_t* e = kept + begin;
      if (begin >= kKept) {
        gather(begin, count, kept);
        e = kept;
      }
      for_blocks(count, [&](int64_t i, int64_t n) {
        const f32v v = convert<float>(load<int32_t, kF32>(e + i, n)) / divisor;
        store_rounded(y + begin + i, v / f32v(run.y_scale), run.rounding, n);
      });
    }
  }
}

void lookup(const uint8_t* table, const uint8_t* x, int64_t n, uint8_t* y) { lookup_bytes(table, x, n, y); }

void lookup_channels(const uint8_t* table, const uint8_t* x, int64_t rows, int64_t channels, uint8_t* y) {
  for (int64_t r = 0; r < rows; ++r, x += channels, y += channels) {
    int64_t c = 0;
    for (; c + 8 <= channels; c += 8) lookup_eight(table + 256 * c, 256, x + c, y + c);
    for (; c < channels; ++c) y[c] = table[256 * c + x[c]];
  }
}

void layer_norm_rows(const QuantizedRowsRun& run, double offset, const float* scale, const float* bias) {
  const StoredBytes form{run.flip, 128};
  for (int64_t r = 0; r < run.rows; ++r) {
    const uint8_t* x = run.x + r * run.x_pitch;
    uint8_t* y = run.y + r * run.y_pitch;
    int64_t sum = 0, squares = 0;
    constexpr int64_t kBlock = 65536;  // 128^2 times as many fit into 31 bits
    for (int64_t begin = 0; begin < run.n; begin += kBlock) {
      i32v s(0), s2(0);
      for_blocks(std::min(kBlock, run.n - begin), [&](int64_t i, int64_t n) {
        i32v v = centered(x + begin + i, n, form);
        if (n < kF32) {
          int32_t lane[kF32] = {};
          store(lane, v, n);  // what lies beyond counts as 0
          v = load<int32_t>(lane);
        }
        s = s + v;
        s2 = s2 + v * v;
      });
      for (int k = 0; k < kF32; ++k) {
        sum += s[k];
        squares += s2[k];
      }
    }
    const double count = static_cast<double>(run.n);
    const double mean = static_cast<double>(sum) / count;
    const double variance = std::max(0.0, static_cast<double>(squares) / count - mean * mean);
    const f32v factor(static_cast<float>(1.0 / std::sqrt(variance + offset))),
        shift(static_cast<float>(mean));
    for_blocks(run.n, [&](int64_t i, int64_t n) {
      f32v v = (convert<float>(centered(x + i, n, form)) - shift) * factor;
      if (scale != nullptr) v = v * load(scale + i, n);
      if (bias != nullptr) v = v + load(bias + i, n);
      store_rounded(y + i, v / f32v(run.y_scale), run.rounding, n);
    });
  }
}

void lerp(const QuantizedLerp& run) {
  const f32v across(run.across), down(run.down), multiplier(run.multiplier);
  for_blocks(run.n, [&](int64_t i, int64_t n) {
    const auto between = [&](const uint8_t* p, const uint8_t* q) {
      const f32v a = convert<float>(centered(p + i, n, run.form)),
                 b = convert<float>(centered(q + i, n, run.form));
      return a + (b - a) * across;
    };
    f32v v = between(run.rows[0], run.rows[1]);
    if (run.count == 4) v = v + (between(run.rows[2], run.rows[3]) - v) * down;
    store_rounded(run.y + i, v * multiplier, run.rounding, n);
  });
}

}  // namespace

extern const QuantizedKernels kQuantized;
const QuantizedKernels kQuantized = {binary<Sum>,     binary<Product>, requantize,      quantize,
                                     dequantize,      accumulate,      finish_sums,     lookup,
                                     lookup_channels, softmax_rows,    layer_norm_rows, lerp};

}  // namespace EDGEC_ISA_NS
}  // namespace edgec
