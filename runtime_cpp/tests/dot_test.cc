// Every row of dot.def on every ISA of this CPU: sizes derived from the tile.
#include "kernels/dot/dot.h"

#include <memory>

#include "harness.h"

using namespace edgec;
using namespace edgec::test;

namespace {

template <class Body>
void for_each_row(const Body& body) {
  for (int i = 0; i < kIsaCount; ++i) {
    const Isa isa = static_cast<Isa>(i);
    if (!isa_supported(isa)) continue;
    const DotKernels& kernels = dot_kernels(isa);
    for (int r = 0; r < kernels.count; ++r) body(isa, kernels, kernels.rows[r]);
  }
}

// One call of one kernel against sums in double precision. All memory is exactly as long as the contract
// says, so that AddressSanitizer sees a read or write beyond it.
struct TileCase {
  int rows = 1;
  int64_t n = 1, k = 1, taps = 1;
  bool bias = true, accumulate = false, residual = false, clamp = false;
  int64_t extra_pitch = 0;
};

void check_tile(const DotRow& row, const TileCase& t, Random& random) {
  const int vectors = static_cast<int>((t.n + row.lanes - 1) / row.lanes);
  const int64_t width = vectors * row.lanes, pitch = t.n + t.extra_pitch;
  const std::vector<float> b = random.floats(static_cast<size_t>(width * t.k * t.taps));
  const std::vector<float> bias = random.floats(static_cast<size_t>(width));
  std::vector<std::vector<float>> a;
  std::vector<const float*> pointers;
  for (int64_t i = 0; i < t.taps * t.rows; ++i) {
    a.push_back(random.floats(static_cast<size_t>(t.k)));
    pointers.push_back(a.back().data());
  }
  const size_t c_size = static_cast<size_t>((t.rows - 1) * pitch + t.n);
  std::vector<float> c = random.floats(c_size), residual = random.floats(c_size);
  const std::vector<float> before = c;
  DotTile tile;
  tile.a = pointers.data();
  tile.taps = t.taps;
  tile.k = t.k;
  tile.b = b.data();
  tile.b_step = width;
  tile.bias = t.bias ? bias.data() : nullptr;
  tile.accumulate = t.accumulate;
  tile.c = c.data();
  tile.c_pitch = pitch;
  tile.n = t.n;
  tile.residual = t.residual ? residual.data() : nullptr;
  tile.residual_pitch = pitch;
  if (t.clamp) tile.minimum = -0.5f, tile.maximum = 0.75f;
  row.kernels[t.rows - 1][vectors - 1](tile);
  char what[160];
  std::snprintf(what, sizeof what,
                "%s rows %d n %d k %d taps %d bias%d accumulate%d residual%d clamp%d pitch+%d", row.name,
                t.rows, int(t.n), int(t.k), int(t.taps), t.bias, t.accumulate, t.residual, t.clamp,
                int(t.extra_pitch));
  const double tolerance =
      (static_cast<double>(t.k * t.taps) + 1) * std::numeric_limits<float>::epsilon() * 2;
  std::vector<float> expected = before;
  for (int i = 0; i < t.rows; ++i)
    for (int64_t j = 0; j < t.n; ++j) {
      const size_t at = static_cast<size_t>(i * pitch + j);
      double sum = t.accumulate ? before[at] : t.bias ? bias[static_cast<size_t>(j)] : 0;
      for (int64_t tap = 0; tap < t.taps; ++tap)
        for (int64_t k = 0; k < t.k; ++k)
          sum += double(pointers[static_cast<size_t>(tap * t.rows + i)][k]) *
                 b[static_cast<size_t>((tap * t.k + k) * width + j)];
      if (t.residual) sum += residual[at];
      if (t.clamp) sum = std::min(std::max(sum, -0.5), 0.75);
      expected[at] = static_cast<float>(sum);
    }
  // Between the rows nothing may change: those elements are compared too.
  expect_close(c.data(), expected.data(), c.size(), tolerance, what, __FILE__, __LINE__);
}

}  // namespace

TEST(every_tile_height_and_width) {
  Random random(1);
  for_each_row([&](Isa, const DotKernels&, const DotRow& row) {
    for (int rows = 1; rows <= row.mr; ++rows)
      for (int64_t n = 1; n <= row.nr && failures() < 5; ++n) {
        TileCase t;
        t.rows = rows;
        t.n = n;
        t.k = 5;
        t.extra_pitch = n % 3;
        check_tile(row, t, random);
      }
  });
}

TEST(depths_and_taps) {
  Random random(2);
  for_each_row([&](Isa, const DotKernels&, const DotRow& row) {
    for (int64_t k : {0, 1, 2, 3, 7, 8, 9, 31, 32, 33, 127, 509})
      for (int64_t taps : {1, 2, 9}) {
        TileCase t;
        t.rows = row.mr;
        t.n = row.nr - 1;
        t.k = k;
        t.taps = taps;
        check_tile(row, t, random);
      }
  });
}

TEST(every_epilogue_of_the_registers) {
  Random random(3);
  for_each_row([&](Isa, const DotKernels&, const DotRow& row) {
    for (int flags = 0; flags < 16; ++flags)
      for (int64_t n : {int64_t{1}, int64_t{row.lanes} + 1, int64_t{row.nr}}) {
        if (n > row.nr) continue;
        TileCase t;
        t.rows = (row.mr + 1) / 2;
        t.n = n;
        t.k = 13;
        t.bias = flags & 1;
        t.accumulate = flags & 2;
        t.residual = flags & 4;
        t.clamp = flags & 8;
        t.extra_pitch = 3;
        check_tile(row, t, random);
      }
  });
}

TEST(clamp_keeps_nan) {
  for_each_row([&](Isa, const DotKernels&, const DotRow& row) {
    const float a = NAN;
    const float* pointer = &a;
    const std::vector<float> b(static_cast<size_t>(row.lanes), 1.0f);
    std::vector<float> c(static_cast<size_t>(row.lanes));
    DotTile t;
    t.a = &pointer;
    t.k = 1;
    t.b = b.data();
    t.b_step = row.lanes;
    t.c = c.data();
    t.n = row.lanes;
    t.minimum = 0;
    t.maximum = 6;
    row.kernels[0][0](t);
    for (float v : c) EXPECT(std::isnan(v));
  });
}

// Every kernel of an ISA adds in the same order, so that a result does not depend on which one computed it.
TEST(all_tiles_of_an_isa_agree_bit_for_bit) {
  Random random(4);
  const int64_t k = 300, n = 37;
  const std::vector<float> a = random.floats(static_cast<size_t>(k)),
                           b = random.floats(static_cast<size_t>(k * n));
  for (int i = 0; i < kIsaCount; ++i) {
    if (!isa_supported(static_cast<Isa>(i))) continue;
    const DotKernels& kernels = dot_kernels(static_cast<Isa>(i));
    std::vector<float> first;
    for (int r = 0; r < kernels.count; ++r) {
      const DotRow& row = kernels.rows[r];
      const DotPacking packing = dot_packing(row, n, k);
      std::vector<float> packed(static_cast<size_t>(packing.floats()));
      dot_pack(kernels, packing, b.data(), n, 1, nullptr, packed.data());
      for (int rows = 1; rows <= row.mr; ++rows) {
        std::vector<const float*> pointers(static_cast<size_t>(rows), a.data());
        std::vector<float> c(static_cast<size_t>(rows * n));
        for (int64_t block = 0; block < packing.blocks(); ++block) {
          DotTile t;
          t.a = pointers.data();
          t.k = k;
          t.b_step = packing.width(block);
          t.b = packed.data() + packing.offset(block) + t.b_step;
          t.c = c.data() + block * row.nr;
          t.c_pitch = n;
          t.n = std::min<int64_t>(n - block * row.nr, t.b_step);
          row.kernels[rows - 1][t.b_step / row.lanes - 1](t);
        }
        if (first.empty()) first.assign(c.begin(), c.begin() + n);
        for (int j = 0; j < rows; ++j) EXPECT_SAME(c.data() + j * n, first.data(), static_cast<size_t>(n));
      }
    }
  }
}

TEST(packing_both_orders_and_padding) {
  Random random(5);
  for_each_row([&](Isa, const DotKernels& kernels, const DotRow& row) {
    for (int64_t n : {int64_t{1}, int64_t{row.lanes}, int64_t{row.nr} - 1, int64_t{row.nr},
                      int64_t{row.nr} + 1, int64_t{2 * row.nr + 3}})
      for (int64_t k : {1, 15, 16, 17, 50}) {
        const std::vector<float> by_rows = random.floats(static_cast<size_t>(n * k)),
                                 bias = random.floats(static_cast<size_t>(n));
        std::vector<float> by_columns(by_rows.size());
        for (int64_t i = 0; i < k; ++i)
          for (int64_t j = 0; j < n; ++j)
            by_columns[static_cast<size_t>(j * k + i)] = by_rows[static_cast<size_t>(i * n + j)];
        const DotPacking packing = dot_packing(row, n, k);
        std::vector<float> one(static_cast<size_t>(packing.floats()), NAN), two = one;
        dot_pack(kernels, packing, by_rows.data(), n, 1, bias.data(), one.data());
        dot_pack(kernels, packing, by_columns.data(), 1, k, bias.data(), two.data());
        EXPECT_SAME(one.data(), two.data(), one.size());
        for (int64_t block = 0; block < packing.blocks(); ++block)
          for (int64_t i = -1; i < k; ++i)
            for (int64_t j = 0; j < packing.width(block); ++j) {
              const int64_t column = block * row.nr + j;
              const float want = column >= n ? 0.0f
                                 : i < 0     ? bias[static_cast<size_t>(column)]
                                             : by_rows[static_cast<size_t>(i * n + column)];
              EXPECT_EQ(one[static_cast<size_t>(packing.offset(block) + (i + 1) * packing.width(block) + j)],
                        want);
            }
      }
  });
}

// Whole products: blocking over k, n and m leaves every bit as it is, and matches sums in double precision.
TEST(blocking_does_not_change_a_bit) {
  Random random(6);
  for_each_row([&](Isa isa, const DotKernels& kernels, const DotRow& row) {
    for (int64_t m : {int64_t{1}, int64_t{row.mr}, int64_t{row.mr} + 1, int64_t{3 * row.mr - 1}}) {
      const int64_t k = 97, n = 2 * row.nr + 5;
      const std::vector<float> a = random.floats(static_cast<size_t>(m * k)),
                               b = random.floats(static_cast<size_t>(k * n));
      const std::vector<float> bias = random.floats(static_cast<size_t>(n)),
                               residual = random.floats(static_cast<size_t>(m * n));
      DotProduct p;
      p.row = &row;
      p.activations = &activation_kernels(isa);
      p.packing = dot_packing(row, n, k);
      p.m = m;
      std::vector<float> packed(static_cast<size_t>(p.packing.floats()));
      dot_pack(kernels, p.packing, b.data(), n, 1, bias.data(), packed.data());
      for (Activation activation : {Activation::kRelu, Activation::kTanh}) {
        std::vector<float> first;
        for (int64_t k_block : {k, int64_t{13}, int64_t{1}})
          for (int64_t n_block : {1, 2, 3})
            for (int64_t m_block : {row.mr, 2 * row.mr}) {
              p.k_block = k_block;
              p.n_block = n_block;
              p.m_block = m_block;
              p.activation = activation;
              std::vector<float> c(static_cast<size_t>(m * n), NAN);
              std::unique_ptr<std::byte[]> scratch(new std::byte[p.scratch_bytes()]);
              DotOperands o;
              o.a = a.data();
              o.a_pitch = k;
              o.packed = packed.data();
              o.c = c.data();
              o.c_pitch = n;
              o.residual = residual.data();
              o.residual_pitch = n;
              dot_run(p, o, 0, p.tasks(), scratch.get());
              if (first.empty()) {
                first = c;
                std::vector<float> expected;
                for (int64_t i = 0; i < m; ++i)
                  for (int64_t j = 0; j < n; ++j) {
                    double sum =
                        double(bias[static_cast<size_t>(j)]) + residual[static_cast<size_t>(i * n + j)];
                    for (int64_t l = 0; l < k; ++l)
                      sum += double(a[static_cast<size_t>(i * k + l)]) * b[static_cast<size_t>(l * n + j)];
                    expected.push_back(static_cast<float>(activation == Activation::kRelu ? std::max(sum, 0.0)
                                                                                          : std::tanh(sum)));
                  }
                expect_close(c.data(), expected.data(), c.size(),
                             (static_cast<double>(k) + 3) * std::numeric_limits<float>::epsilon() * 2,
                             row.name, __FILE__, __LINE__);
              }
              EXPECT_SAME(c.data(), first.data(), c.size());
            }
      }
    }
  });
}

TEST(choice_fits_the_product) {
  for (int i = 0; i < kIsaCount; ++i) {
    if (!isa_supported(static_cast<Isa>(i))) continue;
    for (int64_t m : {0, 1, 2, 3, 100})
      for (int64_t n : {0, 1, 16, 100}) {
        const DotRow& row = dot_choose(static_cast<Isa>(i), m, n);
        EXPECT(row.mr >= 1 && row.nr >= row.lanes);
      }
  }
}
