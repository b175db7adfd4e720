#include "kernels/dot/dot.h"

#include <algorithm>
#include <cstring>

#define EDGEC_FAMILY_TYPE DotKernels
#define EDGEC_FAMILY_TABLE kDot
#define EDGEC_FAMILY_ISAS "dot_isas.inc"
#define EDGEC_FAMILY_FIND dot_kernels
#include "kernels/family_table.inc"

namespace edgec {

namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Cycles per k of a tile, for two fma ports of latency 4 and two load ports. A column vector of B comes
// from L2 when few rows share it: about 2 cycles each. Half a cycle is the loop's own.
double tile_cycles(int64_t rows, int64_t vectors) {
  const double fma = 0.5 * static_cast<double>(rows * vectors);
  const double loads = 0.5 * static_cast<double>(rows + vectors);
  const double stream = 2.0 * static_cast<double>(vectors);
  return std::max({fma, loads, stream, 4.0}) + 0.5;
}

double product_cycles(const DotRow& row, int64_t m, int64_t n) {
  if (m <= 0 || n <= 0) return 0;
  const int64_t tiles = ceil_div(m, row.mr), rows = ceil_div(m, tiles);
  const int64_t vectors = ceil_div(n, row.lanes), full = row.nr / row.lanes;
  double cycles = static_cast<double>(vectors / full) * tile_cycles(rows, full);
  if (vectors % full != 0) cycles += tile_cycles(rows, vectors % full);
  return cycles * static_cast<double>(tiles);
}

}  // namespace

const DotRow& dot_choose(Isa isa, int64_t m, int64_t n) {
  const DotKernels& kernels = dot_kernels(isa);
  const DotRow* best = &kernels.rows[0];
  double best_cycles = product_cycles(*best, m, n);
  for (int i = 1; i < kernels.count; ++i) {
    const double cycles = product_cycles(kernels.rows[i], m, n);
    if (cycles < best_cycles) best = &kernels.rows[i], best_cycles = cycles;
  }
  return *best;
}

DotPacking dot_packing(const DotRow& row, int64_t n, int64_t k) {
  DotPacking packing;
  packing.nr = row.nr;
  packing.lanes = row.lanes;
  packing.n = n;
  packing.k = k;
  return packing;
}

void dot_pack_block(const DotKernels& kernels, const DotPacking& packing, int64_t i, const float* b,
                    int64_t k_step, int64_t n_step, const float* bias, float* packed) {
  const int64_t width = packing.width(i), j = i * packing.nr, n = std::min(width, packing.n - j);
  float* out = packed + packing.offset(i);
  for (int64_t l = 0; l < width; ++l) out[l] = bias != nullptr && l < n ? bias[j + l] : 0.0f;
  out += width;
  b += j * n_step;
  if (k_step == 1) {
    kernels.transpose(b, n_step, packing.k, n, width, out);
    return;
  }
  for (int64_t k = 0; k < packing.k; ++k, out += width) {
    const float* row = b + k * k_step;
    if (n_step == 1)
      std::memcpy(out, row, static_cast<size_t>(n) * sizeof(float));
    else
      for (int64_t l = 0; l < n; ++l) out[l] = row[l * n_step];
    std::fill(out + n, out + width, 0.0f);
  }
}

void dot_pack(const DotKernels& kernels, const DotPacking& packing, const float* b, int64_t k_step,
              int64_t n_step, const float* bias, float* packed) {
  for (int64_t i = 0; i < packing.blocks(); ++i)
    dot_pack_block(kernels, packing, i, b, k_step, n_step, bias, packed);
}

void dot_plan(DotProduct* product, int64_t tap_k, int threads) {
  const DotPacking& p = product->packing;
  const int64_t mr = product->row->mr;
  const int64_t l2 = static_cast<int64_t>(std::max<size_t>(cache_sizes().l2, 256 << 10));
  // The rows of A of a tile stay in L1 while the columns of a stage pass: mr x kKBlock floats are half of
  // it at 12 rows. Rarely matters below twice that.
  constexpr int64_t kKBlock = 512;
  product->k_block = std::max<int64_t>(p.k, 1);
  if (p.k > 2 * kKBlock && product->m > mr) {
    const int64_t unit = std::max<int64_t>(tap_k, 1);
    const int64_t wanted = ceil_div(p.k, ceil_div(p.k, kKBlock));
    product->k_block = std::min(p.k, std::max(unit, ceil_div(wanted, unit) * unit));
  }
  const int64_t block_bytes = product->k_block * p.nr * static_cast<int64_t>(sizeof(float));
  const int64_t blocks = std::max<int64_t>(p.blocks(), 1);
  // A quarter of L2: the columns of the next stage arrive beside them (run_stage).
  product->n_block = std::clamp<int64_t>(l2 / 4 / std::max<int64_t>(block_bytes, 1), 1, blocks);
  // Unfinished sums of a stage stay in L2 beside the columns.
  const int64_t columns = product->n_block * p.nr;
  int64_t rows = std::max<int64_t>(mr, l2 / 4 / (columns * static_cast<int64_t>(sizeof(float))));
  const int64_t wanted_tasks = threads > 1 ? 4 * threads : 1;
  if (product->m_block == 0) product->m_block = mr;
  while (ceil_div(blocks, product->n_block) * ceil_div(product->m, mr) < wanted_tasks && product->n_block > 1)
    product->n_block = ceil_div(product->n_block, 2);
  const int64_t n_tasks = ceil_div(blocks, product->n_block);
  rows = std::min(rows, ceil_div(product->m, ceil_div(wanted_tasks, n_tasks)));
  product->m_block = std::max<int64_t>(ceil_div(rows, mr), 1) * mr;
}

namespace {

size_t pointer_bytes(const DotProduct& p) {
  return (static_cast<size_t>(p.max_taps * p.row->mr) * sizeof(const float*) + 63) / 64 * 64;
}

size_t patch_bytes(const DotProduct& p) {
  return (static_cast<size_t>(p.patch_floats) * sizeof(float) + 63) / 64 * 64;
}

}  // namespace

size_t DotProduct::scratch_bytes() const {
  const size_t copy =
      copies_residual() ? static_cast<size_t>(m_block * n_block * packing.nr) * sizeof(float) : 0;
  return pointer_bytes(*this) + patch_bytes(*this) + (copy + 63) / 64 * 64;
}

namespace {

constexpr int64_t kLineFloats = 64 / sizeof(float);

struct Stage {
  int64_t m_begin, m_end, block_begin, block_end, k_begin, k_end;
  int64_t residual_m = 0, residual_n = 0;  // the element that operands.residual points to
};

// The columns that the stage after `s` begins with, null at the end.
struct NextColumns {
  int64_t block_begin = 0, block_end = 0, k_begin = 0;
};

void run_stage(const DotProduct& product, const DotOperands& o, const Stage& s, const NextColumns& next,
               const float** pointers, float* patches) {
  const DotPacking& packing = product.packing;
  const bool last = s.k_end == packing.k;
  const bool in_registers = activation_is_clamp(product.activation) && !product.residual_after;
  const int64_t n_begin = s.block_begin * packing.nr;
  const int64_t n_end = std::min(packing.n, s.block_end * packing.nr);
  DotTile tile;
  tile.c_pitch = o.c_pitch;
  tile.residual_pitch = o.residual_pitch;
  tile.accumulate = s.k_begin > 0;
  if (last && in_registers) {
    const ClampRange range = activation_clamp(product.activation, product.alpha, product.beta);
    tile.minimum = range.minimum;
    tile.maximum = range.maximum;
  }
  const float* residual = last && !product.residual_after ? o.residual : nullptr;
  // Tiles of equal height: 49 rows in tiles of 12 are 10 10 10 10 9, not 12 12 12 12 1.
  const int64_t tiles = ceil_div(s.m_end - s.m_begin, product.row->mr);
  int64_t m = s.m_begin;
  for (int64_t t = 0; t < tiles; ++t) {
    const int count = static_cast<int>(ceil_div(s.m_end - m, tiles - t));
    if (o.rows != nullptr) {
      tile.taps = o.rows->fill(m, count, s.k_begin, s.k_end, pointers, patches, &tile.k);
    } else {
      tile.taps = 1;
      tile.k = s.k_end - s.k_begin;
      for (int i = 0; i < count; ++i) pointers[i] = o.a + (m + i) * o.a_pitch + s.k_begin;
    }
    tile.a = pointers;
    const DotKernel* kernels = product.row->kernels[count - 1];
    for (int64_t block = s.block_begin; block < s.block_end; ++block) {
      const int64_t width = packing.width(block), n = block * packing.nr;
      if (o.direct_b != nullptr && n + width <= packing.n) {
        tile.bias = o.direct_bias != nullptr ? o.direct_bias + n : nullptr;
        tile.b = o.direct_b + s.k_begin * o.direct_step + n;
        tile.b_step = o.direct_step;
      } else {
        tile.bias = o.packed + packing.offset(block);
        tile.b = tile.bias + width * (1 + s.k_begin);
        tile.b_step = width;
      }
      // While the columns of this stage are in L2, its second and later tiles fetch those of the next, a
      // piece each: weights that no cache holds otherwise stop the first tile of every stage.
      tile.prefetch = nullptr;
      const int64_t ahead = next.block_begin + (block - s.block_begin);
      if (o.direct_b == nullptr && t > 0 && ahead < next.block_end && t <= packing.width(ahead) / kLineFloats)
        tile.prefetch = o.packed + packing.offset(ahead) + packing.width(ahead) * (1 + next.k_begin) +
                        (t - 1) * (s.k_end - s.k_begin) * kLineFloats;
      tile.c = o.c + m * o.c_pitch + n;
      tile.n = std::min(width, packing.n - n);
      tile.residual =
          residual != nullptr ? residual + (m - s.residual_m) * o.residual_pitch + n - s.residual_n : nullptr;
      kernels[width / packing.lanes - 1](tile);
    }
    if (last && !in_registers) {
      FinishTile finish;
      finish.c = o.c + m * o.c_pitch + n_begin;
      finish.c_pitch = o.c_pitch;
      finish.rows = count;
      finish.columns = n_end - n_begin;
      if (product.residual_after && o.residual != nullptr)
        finish.after = o.residual + (m - s.residual_m) * o.residual_pitch + n_begin - s.residual_n;
      finish.residual_pitch = o.residual_pitch;
      if (o.slope != nullptr) finish.slope = o.slope + n_begin;
      finish.alpha = product.alpha;
      finish.beta = product.beta;
      product.activations->finish[static_cast<int>(product.activation)](finish);
    }
    m += count;
  }
}

}  // namespace

void dot_run(const DotProduct& product, const DotOperands& operands, int64_t begin, int64_t end,
             void* scratch) {
  const float** pointers = static_cast<const float**>(scratch);
  float* patches = reinterpret_cast<float*>(static_cast<char*>(scratch) + pointer_bytes(product));
  float* copy = reinterpret_cast<float*>(reinterpret_cast<char*>(patches) + patch_bytes(product));
  const int64_t m_tasks = product.m_tasks();
  for (int64_t task = begin; task < end; ++task) {
    Stage s;
    s.m_begin = task % m_tasks * product.m_block;
    s.m_end = std::min(product.m, s.m_begin + product.m_block);
    s.block_begin = task / m_tasks * product.n_block;
    s.block_end = std::min(product.packing.blocks(), s.block_begin + product.n_block);
    s.k_begin = 0;
    DotOperands o = operands;
    if (o.residual != nullptr && product.copies_residual()) {
      const int64_t n_begin = s.block_begin * product.packing.nr;
      const int64_t columns = std::min(product.packing.n, s.block_end * product.packing.nr) - n_begin;
      for (int64_t m = s.m_begin; m < s.m_end; ++m)
        std::memcpy(copy + (m - s.m_begin) * columns, o.residual + m * o.residual_pitch + n_begin,
                    static_cast<size_t>(columns) * sizeof(float));
      o.residual = copy;
      o.residual_pitch = columns;
      s.residual_m = s.m_begin;
      s.residual_n = n_begin;
    }
    do {
      s.k_end = std::min(product.packing.k, s.k_begin + product.k_block);
      NextColumns next;
      if (s.k_end < product.packing.k) {
        next = {s.block_begin, s.block_end, s.k_end};
      } else {
        next.block_begin = (task + 1) / m_tasks * product.n_block;
        next.block_end = std::min(product.packing.blocks(), next.block_begin + product.n_block);
      }
      run_stage(product, o, s, next, pointers, patches);
      s.k_begin = s.k_end;
    } while (s.k_begin < product.packing.k);
  }
}

}  // namespace edgec
