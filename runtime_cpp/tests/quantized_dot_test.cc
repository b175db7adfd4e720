// Every row of quantized_dot.def on every ISA of this CPU against a naive loop: integers, so equal. Sizes are
// derived from the tile; memory is exactly as long as the contract says, so that AddressSanitizer sees a read
// or write beyond it.
#include "kernels/quantized_dot/quantized_dot.h"

#include <algorithm>
#include <memory>

#include "harness.h"
#include "support/op_runner.h"

using namespace edgec;
using namespace edgec::test;

namespace {

struct Case {
  int64_t m = 1, n = 1, k = 1, taps = 1;
  ProductResult result = ProductResult::kBytes;
  bool residual = false, extreme = false, bounded = true;
  int32_t b_zero = 0;
  int64_t extra_pitch = 0, m_block = 0, n_block = 1;
  std::string text(const char* kernel) const {
    return format_string("%s m %d n %d k %d taps %d result %d residual %d extreme %d b_zero %d pitch+%d",
                         kernel, int(m), int(n), int(k), int(taps), int(result), residual, extreme,
                         int(b_zero), int(extra_pitch));
  }
};

int8_t value(Random& random, bool extreme) {
  if (extreme) return random.integer(0, 1) ? 127 : -128;
  return static_cast<int8_t>(random.integer(-128, 127));
}

// One allocation per row and tap.
struct Rows final : QuantizedDotRows {
  std::vector<std::unique_ptr<uint8_t[]>> memory;
  int64_t taps = 1, length = 0;
  int64_t fill(int64_t m, int count, int64_t, int64_t, const uint8_t** pointers, uint8_t*,
               int64_t* k) const override {
    for (int64_t t = 0; t < taps; ++t)
      for (int i = 0; i < count; ++i) *pointers++ = memory[static_cast<size_t>((m + i) * taps + t)].get();
    *k = length;
    return taps;
  }
};

float requantized(const Case& t, int32_t acc, float multiplier, const QuantizedFinish& f, uint8_t residual) {
  float v = static_cast<float>(acc) * multiplier;
  if (t.result == ProductResult::kF32) return v;
  if (t.residual)
    v += static_cast<float>((residual ^ f.residual.flip) - f.residual.zero) * f.residual_multiplier;
  return std::nearbyint(std::min(std::max(v, f.rounding.low), f.rounding.high)) +
         static_cast<float>(f.rounding.zero);
}

void check(const QuantizedDotKernels& kernels, const Case& t, Random& random) {
  if (failures() >= 5) return;
  const int64_t total = t.k * t.taps;
  std::vector<int8_t> a(static_cast<size_t>(t.m * total)), b(static_cast<size_t>(total * t.n));
  for (int8_t& v : a) v = value(random, t.extreme);
  for (int8_t& v : b) v = value(random, t.extreme);
  std::vector<int32_t> bias(static_cast<size_t>(t.n));
  std::vector<float> multipliers;
  for (int64_t j = 0; j < t.n; ++j) {
    bias[static_cast<size_t>(j)] = static_cast<int32_t>(random.next());
    if (!t.extreme) bias[static_cast<size_t>(j)] /= 1 << 16;
    multipliers.push_back(t.bounded ? random.uniform(0.1f, 2.0f) / static_cast<float>(1 + total) / 64.0f
                                    : 0x1p60f);
  }
  const int32_t a_zero = static_cast<int32_t>(random.integer(-128, 127));
  QuantizedProduct p;
  p.kernels = &kernels;
  p.m = t.m;
  p.packing = quantized_packing(kernels, t.n, t.k, t.taps);
  p.max_taps = t.taps;
  p.finish.result = t.result;
  p.finish.bounded = t.bounded;
  p.finish.rounding.low = -100;
  p.finish.rounding.high = 90;
  p.finish.rounding.zero = static_cast<int32_t>(random.integer(100, 160)) - (kernels.excess != 0 ? 0 : 128);
  p.finish.output_flip = random.integer(0, 1) ? 0x80 : 0;
  p.finish.residual.flip = random.integer(0, 1) ? 0x80 : 0;
  p.finish.residual.zero = static_cast<int32_t>(random.integer(0, 255));
  p.finish.residual_multiplier = 0.37f;
  quantized_plan(&p, 1);
  if (t.m_block > 0) p.m_block = t.m_block, p.n_block = t.n_block;
  QuantizedColumns columns;
  columns.b = reinterpret_cast<const uint8_t*>(b.data());
  columns.k_step = t.n;
  columns.n_step = 1;
  columns.a_zero = a_zero + kernels.excess;
  columns.b_zero = t.b_zero;
  columns.bias = bias.data();
  columns.multiplier = multipliers.data();
  std::unique_ptr<uint8_t[]> packed(new uint8_t[static_cast<size_t>(p.packing.bytes())]);
  quantized_pack(p.packing, columns, packed.get());
  Rows rows;
  rows.taps = t.taps;
  rows.length = t.k;
  std::vector<int32_t> starts;
  for (int64_t i = 0; i < t.m; ++i) {
    int32_t start = 0;
    for (int64_t tap = 0; tap < t.taps; ++tap) {
      rows.memory.emplace_back(new uint8_t[static_cast<size_t>(t.k)]);
      for (int64_t k = 0; k < t.k; ++k)
        rows.memory.back()[static_cast<size_t>(k)] =
            static_cast<uint8_t>(a[static_cast<size_t>(i * total + tap * t.k + k)] + kernels.excess);
      start += quantized_row_start(kernels, rows.memory.back().get(), t.k, t.b_zero);
    }
    starts.push_back(start);
  }
  const int64_t pitch = t.n + t.extra_pitch;
  const size_t elements = static_cast<size_t>((t.m - 1) * pitch + t.n),
               element = t.result == ProductResult::kBytes ? 1 : 4;
  std::vector<uint8_t> c(elements * element, 0xA5), residual(elements);
  for (uint8_t& v : residual) v = static_cast<uint8_t>(random.next());
  QuantizedOperands o;
  o.rows = &rows;
  o.packed = packed.get();
  o.c = c.data();
  o.c_pitch = pitch;
  if (t.residual) {
    o.residual = residual.data();
    o.residual_pitch = pitch;
    if (t.extra_pitch == 0) c = residual, o.c = c.data(), o.residual = c.data();  // in place
  }
  if (t.b_zero != 0) o.row_start = starts.data();
  std::unique_ptr<std::byte[]> scratch(new std::byte[p.scratch_bytes()]);
  quantized_run(p, o, 0, p.tasks(), scratch.get());
  for (int64_t i = 0; i < t.m; ++i)
    for (int64_t j = 0; j < pitch && static_cast<size_t>(i * pitch + j) < elements; ++j) {
      const size_t at = static_cast<size_t>(i * pitch + j);
      uint32_t sum = j < t.n ? static_cast<uint32_t>(bias[static_cast<size_t>(j)]) : 0;
      for (int64_t k = 0; k < total && j < t.n; ++k)
        sum += static_cast<uint32_t>((a[static_cast<size_t>(i * total + k)] - a_zero) *
                                     (b[static_cast<size_t>(k * t.n + j)] - t.b_zero));
      const auto acc = static_cast<int32_t>(sum);
      bool same = true;
      if (j >= t.n) {
        for (size_t l = 0; l < element; ++l)
          same = same && c[at * element + l] == (t.residual && t.extra_pitch == 0 ? residual[at] : 0xA5);
      } else if (t.result == ProductResult::kI32) {
        same = std::memcmp(&c[at * 4], &acc, 4) == 0;
      } else {
        const float v = requantized(t, acc, multipliers[static_cast<size_t>(j)], p.finish, residual[at]);
        same = t.result == ProductResult::kF32
                   ? std::memcmp(&c[at * 4], &v, 4) == 0
                   : c[at] == (static_cast<uint8_t>(static_cast<int32_t>(v)) ^ p.finish.output_flip);
      }
      if (same) continue;
      fail(__FILE__, __LINE__, "%s: row %d column %d differs", t.text(kernels.name).c_str(), int(i), int(j));
      return;
    }
}

template <class Body>
void for_each_kernel(const Body& body) {
  const QuantizedDotKernels* last = nullptr;
  for (Isa isa : supported_isas()) {
    const QuantizedDotKernels& kernels = quantized_dot_kernels(isa);
    if (&kernels != last && failures() < 5) body(kernels);
    last = &kernels;
  }
}

constexpr ProductResult kResults[] = {ProductResult::kBytes, ProductResult::kF32, ProductResult::kI32};

}  // namespace

TEST(every_height_and_width) {
  Random random(1);
  for_each_kernel([&](const QuantizedDotKernels& kernels) {
    for (int64_t m = 1; m <= 2 * kernels.mr + 1; ++m)
      for (int64_t n = 1; n <= kernels.nr + 1 && failures() < 5; ++n) {
        Case t;
        t.m = m;
        t.n = n;
        t.k = 4 + m % 5;
        t.extra_pitch = n % 3;
        check(kernels, t, random);
      }
  });
}

TEST(depths_and_taps) {
  Random random(2);
  for_each_kernel([&](const QuantizedDotKernels& kernels) {
    for (int64_t k : {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 127, 509})
      for (int64_t taps : {1, 2, 9})
        for (int64_t m : {1, 2, kernels.mr})
          for (int64_t n : {kernels.nr - 1, kernels.lanes}) {
            if (k == 0 && taps > 1) continue;
            Case t;
            t.m = m;
            t.n = n;
            t.k = k;
            t.taps = taps;
            check(kernels, t, random);
          }
  });
}

TEST(results_and_residuals) {
  Random random(3);
  for_each_kernel([&](const QuantizedDotKernels& kernels) {
    for (ProductResult result : kResults)
      for (int64_t n : {1, kernels.lanes + 1, kernels.nr, 2 * kernels.nr + 3})
        for (int64_t extra : {0, 3})
          for (int32_t b_zero : {0, -128, 77})
            for (bool residual : {false, true}) {
              if (residual && result != ProductResult::kBytes) continue;
              Case t;
              t.m = kernels.mr + 1;
              t.n = n;
              t.k = 13;
              t.bounded = extra == 0;
              t.result = result;
              t.residual = residual;
              t.b_zero = b_zero;
              t.extra_pitch = extra;
              check(kernels, t, random);
            }
  });
}

// -128 and 127 everywhere: what saturates in 16 bits, and sums that wrap in 32.
TEST(extremes) {
  Random random(4);
  for_each_kernel([&](const QuantizedDotKernels& kernels) {
    for (ProductResult result : kResults)
      for (int64_t k : {4, 259, 4096})
        for (int32_t b_zero : {0, -128, 127}) {
          Case t;
          t.m = 3;
          t.n = kernels.nr + 1;
          t.k = k;
          t.result = result;
          t.extreme = true;
          t.b_zero = b_zero;
          check(kernels, t, random);
        }
  });
}

TEST(blocking_changes_nothing) {
  Random random(5);
  for_each_kernel([&](const QuantizedDotKernels& kernels) {
    for (int64_t m : {1, kernels.mr, kernels.mr + 1, 3 * kernels.mr - 1, 49})
      for (int64_t m_block : {kernels.mr, 2 * kernels.mr})
        for (int64_t n_block : {1, 2, 3}) {
          Case t;
          t.m = m;
          t.n = 2 * kernels.nr + 5;
          t.k = 37;
          t.m_block = m_block;
          t.n_block = n_block;
          t.residual = true;
          check(kernels, t, random);
        }
  });
}
