#include "kernels/winograd/winograd.h"

#include <algorithm>
#include <cstring>
#include <vector>

#define EDGEC_FAMILY_TYPE WinogradKernels
#define EDGEC_FAMILY_TABLE kWinograd
#define EDGEC_FAMILY_ISAS "winograd_isas.inc"
#define EDGEC_FAMILY_FIND winograd_kernels
#include "kernels/family_table.inc"

namespace edgec {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
size_t align_bytes(size_t bytes) { return (bytes + 63) / 64 * 64; }

struct Scratch {
  size_t v, m, patch, kept, dot, total;  // offsets in bytes
};
Scratch scratch_of(const WinogradConvolution& w) {
  Scratch s;
  s.v = 0;
  s.m = align_bytes(static_cast<size_t>(kWinogradPoints * w.block * w.channels) * sizeof(float));
  s.patch =
      s.m + align_bytes(static_cast<size_t>(kWinogradPoints * w.block * w.out_channels) * sizeof(float));
  s.kept = s.patch + align_bytes(static_cast<size_t>(kWinogradPoints * w.channels) * sizeof(float));
  s.dot = s.kept;
  if (w.residual_after)
    s.dot += align_bytes(static_cast<size_t>(kWinogradTile * kWinogradTile * w.out_channels) * sizeof(float));
  s.total = s.dot + w.product.scratch_bytes();
  return s;
}

// One tile's place in the images.
struct Tile {
  int64_t image, y, x;  // of its first output pixel
};
Tile tile_at(const WinogradConvolution& w, int64_t t) {
  const int64_t columns = w.tile_columns(), per_image = w.tile_rows() * columns;
  const int64_t rest = t % per_image;
  return {t / per_image, rest / columns * kWinogradTile, rest % columns * kWinogradTile};
}

void transform_input(const WinogradConvolution& w, const WinogradOperands& o, const Tile& tile, float* patch,
                     float* v, int64_t point) {
  const int64_t top = tile.y - w.pad_top, left = tile.x - w.pad_left;
  const float* image = o.x + tile.image * w.height * w.width * o.x_pitch;
  WinogradInput in;
  in.channels = w.channels;
  in.v = v;
  in.point = point;
  if (top >= 0 && left >= 0 && top + kWinogradPatch <= w.height && left + kWinogradPatch <= w.width) {
    in.pixels = image + (top * w.width + left) * o.x_pitch;
    in.row = w.width * o.x_pitch;
    in.pixel = o.x_pitch;
  } else {
    for (int64_t i = 0; i < kWinogradPatch; ++i)
      for (int64_t j = 0; j < kWinogradPatch; ++j) {
        const int64_t y = top + i, x = left + j;
        float* to = patch + (i * kWinogradPatch + j) * w.channels;
        if (y >= 0 && y < w.height && x >= 0 && x < w.width)
          std::memcpy(to, image + (y * w.width + x) * o.x_pitch,
                      static_cast<size_t>(w.channels) * sizeof(float));
        else
          std::fill(to, to + w.channels, 0.0f);
      }
    in.pixels = patch;
    in.row = kWinogradPatch * w.channels;
    in.pixel = w.channels;
  }
  w.kernels->input(in);
}

void transform_output(const WinogradConvolution& w, const WinogradOperands& o, const Tile& tile,
                      const float* m, int64_t point, float* kept) {
  const bool in_registers = activation_is_clamp(w.activation) && !w.residual_after;
  const int64_t pixel = (tile.image * w.out_height + tile.y) * w.out_width + tile.x;
  WinogradOutput out;
  out.m = m;
  out.point = point;
  out.channels = w.out_channels;
  out.bias = o.bias;
  const float* residual = o.residual != nullptr ? o.residual + pixel * o.residual_pitch : nullptr;
  if (!w.residual_after) out.residual = residual;
  out.residual_pixel = o.residual_pitch;
  out.residual_row = w.out_width * o.residual_pitch;
  out.c = o.y + pixel * o.y_pitch;
  out.pixel = o.y_pitch;
  out.row = w.out_width * o.y_pitch;
  out.rows = std::min<int64_t>(kWinogradTile, w.out_height - tile.y);
  out.columns = std::min<int64_t>(kWinogradTile, w.out_width - tile.x);
  if (in_registers) {
    const ClampRange range = activation_clamp(w.activation, w.alpha, w.beta);
    out.minimum = range.minimum;
    out.maximum = range.maximum;
  }
  if (w.residual_after && residual != nullptr) {
    // The results may overwrite it before it is added.
    for (int64_t i = 0; i < out.rows; ++i)
      for (int64_t j = 0; j < out.columns; ++j)
        std::memcpy(kept + (i * kWinogradTile + j) * w.out_channels,
                    residual + i * out.residual_row + j * out.residual_pixel,
                    static_cast<size_t>(w.out_channels) * sizeof(float));
  }
  w.kernels->output(out);
  if (in_registers) return;
  FinishTile finish;
  finish.c_pitch = o.y_pitch;
  finish.rows = out.columns;
  finish.columns = w.out_channels;
  finish.residual_pitch = w.out_channels;
  finish.slope = o.slope;
  finish.alpha = w.alpha;
  finish.beta = w.beta;
  for (int64_t i = 0; i < out.rows; ++i) {
    finish.c = out.c + i * out.row;
    if (w.residual_after && residual != nullptr) finish.after = kept + i * kWinogradTile * w.out_channels;
    w.activations->finish[static_cast<int>(w.activation)](finish);
  }
}

// V and M of a block take half of L2; the filters of a point stream through the rest.
int64_t tiles_per_block(Isa isa, const WinogradConvolution& w) {
  const auto l2 = static_cast<int64_t>(std::max<size_t>(cache_sizes().l2, 256 << 10));
  const int64_t bytes = kWinogradPoints * (w.channels + w.out_channels) * static_cast<int64_t>(sizeof(float));
  return std::max<int64_t>(l2 / 2 / bytes, dot_choose(isa, w.tiles(), w.out_channels).mr);
}

}  // namespace

size_t WinogradConvolution::scratch_bytes() const { return scratch_of(*this).total; }

void winograd_plan(Isa isa, int threads, WinogradConvolution* w) {
  w->kernels = &winograd_kernels(isa);
  w->dot = &dot_kernels(isa);
  w->activations = &activation_kernels(isa);
  // Equal blocks, at least one per thread.
  const int64_t tiles = std::max<int64_t>(w->tiles(), 1);
  const int64_t blocks =
      std::max<int64_t>(ceil_div(tiles, tiles_per_block(isa, *w)), std::min<int64_t>(threads, tiles));
  w->block = ceil_div(tiles, blocks);
  w->product.row = &dot_choose(isa, tiles, w->out_channels);
  w->product.m = w->block;
  w->product.packing = dot_packing(*w->product.row, w->out_channels, w->channels);
  w->product.activations = w->activations;
  dot_plan(&w->product, 0, 1);
}

void winograd_pack(const WinogradConvolution& w, const float* weight, float* packed) {
  const DotPacking& packing = w.product.packing;
  const int64_t c = w.channels, point = packing.nr * c;
  std::vector<float> u(static_cast<size_t>(kWinogradPoints * point));
  for (int64_t i = 0; i < packing.blocks(); ++i) {
    DotPacking part = packing;
    part.n = std::min<int64_t>(packing.nr, packing.n - i * packing.nr);
    for (int64_t o = 0; o < part.n; ++o)
      w.kernels->filter(weight + (i * packing.nr + o) * 9 * c, c, u.data() + o * c, point);
    for (int64_t p = 0; p < kWinogradPoints; ++p)
      dot_pack_block(*w.dot, part, 0, u.data() + p * point, 1, c, nullptr,
                     packed + p * packing.floats() + packing.offset(i));
  }
}

void winograd_run(const WinogradConvolution& w, const WinogradOperands& operands, int64_t begin, int64_t end,
                  void* scratch) {
  const Scratch s = scratch_of(w);
  char* base = static_cast<char*>(scratch);
  auto* v = reinterpret_cast<float*>(base + s.v);
  auto* m = reinterpret_cast<float*>(base + s.m);
  auto* patch = reinterpret_cast<float*>(base + s.patch);
  auto* kept = reinterpret_cast<float*>(base + s.kept);
  DotProduct product = w.product;
  for (int64_t task = begin; task < end; ++task) {
    const int64_t first = task * w.block, count = std::min(w.block, w.tiles() - first);
    for (int64_t t = 0; t < count; ++t)
      transform_input(w, operands, tile_at(w, first + t), patch, v + t * w.channels, count * w.channels);
    product.m = count;
    DotOperands dot;
    dot.a_pitch = w.channels;
    dot.c_pitch = w.out_channels;
    for (int64_t p = 0; p < kWinogradPoints; ++p) {
      dot.a = v + p * count * w.channels;
      dot.c = m + p * count * w.out_channels;
      dot.packed = operands.packed + p * product.packing.floats();
      dot_run(product, dot, 0, product.tasks(), base + s.dot);
    }
    for (int64_t t = 0; t < count; ++t)
      transform_output(w, operands, tile_at(w, first + t), m + t * w.out_channels, count * w.out_channels,
                       kept);
  }
}

// Cycles per input x output channel of either way, for two fma ports of the kernel's lanes. Measured on Zen
// 5, one thread, AVX2 and AVX-512, 16 to 512 channels, 7x7 to 112x112: benchmarks/data/winograd.csv.
bool winograd_pays(Isa isa, const WinogradConvolution& w) {
  constexpr int64_t kFewChannels = 16;  // below, transforms cost more than the products they save
  if (w.channels < kFewChannels || w.out_channels < kFewChannels) return false;
  const auto c = static_cast<double>(w.channels), o = static_cast<double>(w.out_channels);
  const auto tiles = static_cast<double>(w.tiles());
  const double lanes = dot_kernels(isa).lanes;
  const auto l2 = static_cast<double>(cache_sizes().l2);
  // Filters that L2 cannot hold come from memory in every run of a whole network.
  const auto stream = [&](double floats) {
    const double bytes = floats * sizeof(float);
    return bytes / (bytes * c * o < l2 / 2 ? 32.0 : 6.0);
  };
  const double blocks = static_cast<double>(ceil_div(w.tiles(), tiles_per_block(isa, w)));
  const double pixels = static_cast<double>(w.batch * w.out_height * w.out_width);
  const double direct = pixels * 9 / (2 * lanes) + stream(9);
  const double transforms = tiles * 150 / lanes * (1 / o + 1 / c);
  const double calls = blocks * kWinogradPoints * 150 / (c * o);
  return tiles * kWinogradPoints / (2 * lanes) + stream(kWinogradPoints) + transforms + calls < direct;
}

}  // namespace edgec
