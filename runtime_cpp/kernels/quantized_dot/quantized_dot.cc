#include "kernels/quantized_dot/quantized_dot.h"

#include <algorithm>
#include <cstring>

#define EDGEC_FAMILY_TYPE QuantizedDotKernels
#define EDGEC_FAMILY_TABLE kQuantizedDot
#define EDGEC_FAMILY_ISAS "quantized_dot_isas.inc"
#define EDGEC_FAMILY_FIND quantized_dot_kernels
#include "kernels/family_table.inc"

namespace edgec {

namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

size_t pointer_bytes(const QuantizedProduct& p) {
  return (static_cast<size_t>(p.max_taps * p.kernels->mr) * sizeof(const uint8_t*) + 63) / 64 * 64;
}

}  // namespace

QuantizedPacking quantized_packing(const QuantizedDotKernels& kernels, int64_t n, int64_t k, int64_t taps) {
  QuantizedPacking packing;
  packing.nr = kernels.nr;
  packing.kr = kernels.kr;
  packing.lanes = kernels.lanes;
  packing.n = n;
  packing.k = k;
  packing.taps = taps;
  return packing;
}

void quantized_pack(const QuantizedPacking& packing, const QuantizedColumns& columns, uint8_t* packed) {
  const int64_t total = packing.k * packing.taps, tap_groups = ceil_div(packing.k, packing.kr);
  for (int64_t i = 0; i < packing.blocks(); ++i) {
    const int64_t width = packing.width(i), first = i * packing.nr;
    auto* bias = reinterpret_cast<int32_t*>(packed + packing.offset(i));
    auto* multiplier = reinterpret_cast<float*>(bias + width);
    auto* bytes = reinterpret_cast<uint8_t*>(multiplier + width);
    std::memset(bytes, 0, static_cast<size_t>(width * packing.groups() * packing.kr));
    for (int64_t j = 0; j < width; ++j) {
      bias[j] = 0;
      multiplier[j] = 0;
      if (first + j >= packing.n) continue;
      const uint8_t* b = columns.b + (first + j) * columns.n_step;
      uint32_t sum = 0;
      for (int64_t tap = 0; tap < packing.taps; ++tap) {
        uint8_t* out = bytes + (tap * tap_groups * width + j) * packing.kr;
        for (int64_t k = 0; k < packing.k; k += packing.kr, out += width * packing.kr)
          for (int64_t l = 0; l < std::min<int64_t>(packing.kr, packing.k - k); ++l, b += columns.k_step) {
            out[l] = *b ^ columns.flip;
            sum += static_cast<uint32_t>(static_cast<int8_t>(out[l]));
          }
      }
      const uint32_t start = columns.bias != nullptr ? static_cast<uint32_t>(columns.bias[first + j]) : 0;
      // sum (a - a_zero) (b - b_zero); what depends on the row of A is left to row_start.
      const uint32_t centered = sum - static_cast<uint32_t>(columns.b_zero) * static_cast<uint32_t>(total);
      bias[j] = static_cast<int32_t>(start - static_cast<uint32_t>(columns.a_zero) * centered);
      multiplier[j] = columns.multiplier[first + j];
    }
  }
}

int32_t quantized_row_start(const QuantizedDotKernels& kernels, const uint8_t* row, int64_t k,
                            int32_t b_zero) {
  return static_cast<int32_t>(0u -
                              static_cast<uint32_t>(kernels.sum(row, k)) * static_cast<uint32_t>(b_zero));
}

void quantized_plan(QuantizedProduct* product, int threads) {
  const QuantizedPacking& p = product->packing;
  const int64_t mr = product->kernels->mr;
  const int64_t l2 = static_cast<int64_t>(std::max<size_t>(cache_sizes().l2, 256 << 10));
  const int64_t blocks = std::max<int64_t>(p.blocks(), 1);
  // A quarter of L2: the columns of the next task arrive beside them (quantized_run).
  product->n_block = std::clamp<int64_t>(l2 / 4 / (p.column_bytes() * p.nr), 1, blocks);
  const int64_t wanted_tasks = threads > 1 ? 4 * threads : 1;
  while (ceil_div(blocks, product->n_block) * ceil_div(product->m, mr) < wanted_tasks && product->n_block > 1)
    product->n_block = ceil_div(product->n_block, 2);
  const int64_t n_tasks = ceil_div(blocks, product->n_block);
  const int64_t rows = ceil_div(product->m, ceil_div(wanted_tasks, n_tasks));
  product->m_block = std::max<int64_t>(ceil_div(rows, mr), 1) * mr;
}

size_t QuantizedProduct::scratch_bytes() const {
  return pointer_bytes(*this) + (static_cast<size_t>(patch_bytes) + 63) / 64 * 64;
}

namespace {

// The next tile of rows [m, end): which kernel, the first row it computes, and how many from m on it stores.
struct Height {
  int index, rows;
  int64_t first;
};

Height height_for(const QuantizedProduct& product, int64_t m, int64_t end) {
  // Tiles of equal height: 49 rows in tiles of 12 are 10 10 10 10 9, not 12 12 12 12 1.
  const int64_t tiles = ceil_div(end - m, product.kernels->mr);
  Height h{0, static_cast<int>(ceil_div(end - m, tiles)), m};
  while (kQuantizedHeights[h.index] < h.rows) ++h.index;
  // A kernel that is too high computes rows behind, or at the end of the matrix before, once more.
  if (m + kQuantizedHeights[h.index] > product.m) h.first = product.m - kQuantizedHeights[h.index];
  if (h.first >= 0) return h;
  --h.index;
  h.rows = kQuantizedHeights[h.index];
  h.first = m;
  return h;
}

}  // namespace

void quantized_run(const QuantizedProduct& product, const QuantizedOperands& o, int64_t begin, int64_t end,
                   void* scratch) {
  const QuantizedPacking& packing = product.packing;
  const int64_t m_tasks = product.m_tasks(), groups = packing.groups();
  auto** pointers = static_cast<const uint8_t**>(scratch);
  auto* patches = static_cast<uint8_t*>(scratch) + pointer_bytes(product);
  const int64_t element = product.finish.result == ProductResult::kBytes ? 1 : 4;
  QuantizedTile tile;
  tile.a_end = o.a_end;
  tile.c_pitch = o.c_pitch;
  tile.residual_pitch = o.residual_pitch;
  tile.finish = &product.finish;
  for (int64_t task = begin; task < end; ++task) {
    const int64_t m_end = std::min(product.m, (task % m_tasks + 1) * product.m_block);
    const int64_t block_begin = task / m_tasks * product.n_block;
    const int64_t block_end = std::min(packing.blocks(), block_begin + product.n_block);
    const int64_t next_begin = (task + 1) / m_tasks * product.n_block;
    const int64_t next_end =
        next_begin == block_begin ? 0 : std::min(packing.blocks(), next_begin + product.n_block);
    int64_t m = task % m_tasks * product.m_block;
    for (int t = 0; m < m_end; ++t) {
      const Height height = height_for(product, m, m_end);
      const int rows = kQuantizedHeights[height.index];
      if (o.rows != nullptr) {
        tile.taps = o.rows->fill(height.first, rows, 0, packing.k * packing.taps, pointers, patches, &tile.k);
      } else {
        tile.taps = 1;
        tile.k = packing.k;
        for (int i = 0; i < rows; ++i) pointers[i] = o.a + (height.first + i) * o.a_pitch;
      }
      // Where the bytes behind every row may be read, whole groups spare the kernels the partial ones.
      const int64_t padded = ceil_div(tile.k, packing.kr) * packing.kr;
      if (padded != tile.k && *std::max_element(pointers, pointers + tile.taps * rows) + padded <= o.a_end)
        tile.k = padded;
      tile.height = rows;
      tile.skip = static_cast<int>(m - height.first);
      tile.rows = height.rows;
      tile.a = pointers;
      tile.row_start = o.row_start != nullptr ? o.row_start + m : nullptr;
      for (int64_t block = block_begin; block < block_end; ++block) {
        const int64_t width = packing.width(block), n = block * packing.nr;
        tile.bias = reinterpret_cast<const int32_t*>(o.packed + packing.offset(block));
        tile.multiplier = reinterpret_cast<const float*>(tile.bias + width);
        tile.b = reinterpret_cast<const uint8_t*>(tile.multiplier + width);
        // While the columns of this task are in L2, its second and later tiles fetch those of the next, a
        // piece each: weights that no cache holds otherwise stop the first tile of every task.
        tile.prefetch = nullptr;
        const int64_t ahead = next_begin + (block - block_begin);
        if (t > 0 && ahead < next_end && t <= packing.width(ahead) * packing.kr / 64)
          tile.prefetch = o.packed + packing.offset(ahead) + packing.width(ahead) * 8 + (t - 1) * groups * 64;
        tile.c = static_cast<char*>(o.c) + (m * o.c_pitch + n) * element;
        tile.n = std::min(width, packing.n - n);
        tile.residual = o.residual != nullptr ? o.residual + m * o.residual_pitch + n : nullptr;
        product.kernels->kernels[height.index][width / packing.lanes - 1](tile);
      }
      m += height.rows;
    }
  }
}

}  // namespace edgec
