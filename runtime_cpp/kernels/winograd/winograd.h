// Winograd's minimal filtering F(4x4, 3x3) for f32 convolutions with stride 1: 36 multiplications where
// direct convolution needs 144, at the price of two transforms (S. Winograd, 1980; A. Lavin and S. Gray,
// "Fast algorithms for convolutional neural networks", 2015).
//
// Interpolation points 0, +-sqrt(2), +-1/sqrt(2), infinity: their transforms grow rounding errors less than
// the usual 0, +-1, +-2 do. Against a product in double the error of one layer is 1.6 to 2.6 times that of
// direct convolution (docs/numerics.md).
//
// A block of tiles goes through three stages while it stays in L2: image -> V[point][tile][channel],
// M[point] = V[point] U[point] by the dot kernels, M -> image.
#pragma once
#include "kernels/activation/activation.h"
#include "kernels/dot/dot.h"

namespace edgec {

inline constexpr int kWinogradTile = 4;                   // outputs per side of a tile
inline constexpr int kWinogradPatch = kWinogradTile + 2;  // inputs per side
inline constexpr int kWinogradPoints = kWinogradPatch * kWinogradPatch;

struct WinogradInput {
  const float* pixels = nullptr;  // pixel (0, 0) of the 6x6 patch
  int64_t row = 0, pixel = 0;     // floats from one row, one pixel to the next
  int64_t channels = 0;
  float* v = nullptr;  // this tile's row of V[0]
  int64_t point = 0;   // floats from one point to the next
};

struct WinogradOutput {
  const float* m = nullptr;  // this tile's row of M[0]
  int64_t point = 0;
  int64_t channels = 0;
  const float* bias = nullptr;      // may be null
  const float* residual = nullptr;  // added before the clamp, may be null; laid out by its own pitches
  int64_t residual_row = 0, residual_pixel = 0;
  float* c = nullptr;  // output pixel (0, 0) of the tile
  int64_t row = 0, pixel = 0;
  int64_t rows = kWinogradTile, columns = kWinogradTile;  // pixels that exist
  float minimum = -std::numeric_limits<float>::infinity();
  float maximum = std::numeric_limits<float>::infinity();
};

struct WinogradKernels {
  const char* name;
  void (*input)(const WinogradInput&);
  void (*output)(const WinogradOutput&);
  // One filter [3][3][channels] to u[point][channels], points `point` floats apart.
  void (*filter)(const float* weight, int64_t channels, float* u, int64_t point);
};
const WinogradKernels& winograd_kernels(Isa isa);

struct WinogradConvolution {
  int64_t batch = 0, height = 0, width = 0, channels = 0;
  int64_t out_height = 0, out_width = 0, out_channels = 0;
  int64_t pad_top = 0, pad_left = 0;
  Activation activation = Activation::kNone;
  float alpha = 0, beta = 0;
  bool residual_after = false;

  const WinogradKernels* kernels = nullptr;
  const DotKernels* dot = nullptr;
  const ActivationKernels* activations = nullptr;
  DotProduct product;  // of one point and one block of tiles
  int64_t block = 0;   // tiles that go through the stages together

  int64_t tile_rows() const { return (out_height + kWinogradTile - 1) / kWinogradTile; }
  int64_t tile_columns() const { return (out_width + kWinogradTile - 1) / kWinogradTile; }
  int64_t tiles() const { return batch * tile_rows() * tile_columns(); }
  int64_t tasks() const { return block == 0 ? 0 : (tiles() + block - 1) / block; }
  double cost_per_task() const {
    return static_cast<double>(block * kWinogradPoints) * static_cast<double>(channels * out_channels);
  }
  size_t packed_floats() const { return static_cast<size_t>(kWinogradPoints * product.packing.floats()); }
  size_t scratch_bytes() const;  // per thread
};

// Whether it is expected to beat direct convolution; the geometry must be set.
bool winograd_pays(Isa isa, const WinogradConvolution& w);
// Chooses kernels and blocks; the geometry and activation must be set.
void winograd_plan(Isa isa, int threads, WinogradConvolution* w);
// weight [O][3][3][C] -> packed_floats().
void winograd_pack(const WinogradConvolution& w, const float* weight, float* packed);

struct WinogradOperands {
  const float* x = nullptr;
  int64_t x_pitch = 0;
  const float* packed = nullptr;
  const float* bias = nullptr;
  const float* residual = nullptr;
  int64_t residual_pitch = 0;
  const float* slope = nullptr;
  float* y = nullptr;
  int64_t y_pitch = 0;
};
// Tasks [begin, end); scratch is the thread's own. Residual and y may be the same memory.
void winograd_run(const WinogradConvolution& w, const WinogradOperands& operands, int64_t begin, int64_t end,
                  void* scratch);

}  // namespace edgec
