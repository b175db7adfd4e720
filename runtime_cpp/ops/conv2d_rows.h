// Where the rows of A lie when A is the unrolled image of a convolution that nobody unrolls.
#pragma once
#include <algorithm>

#include "kernels/dot/dot.h"
#include "ops/conv.h"

namespace edgec {

// Row m of A is output pixel m; its k runs over (kernel row, kernel column, channel). In a dense NHWC image
// the columns of a kernel row are contiguous, so that inside the image one pointer per kernel row serves
// kernel_width x channels floats. Tiles that touch the padding at the left or right either take one pointer per
// tap, zeros outside, or, when channels are so few that short taps would cost more than a copy, assemble the row.
struct ConvRows final : DotRows {
  // A tap of this many floats pays for its pointers.
  static constexpr int64_t kLongTap = 16;

  const float* image = nullptr;  // first channel of the product, pixel (0, 0) of the first image
  const float* zeros = nullptr;  // zero_floats()
  int64_t channels = 0, pitch = 0, kernel_height = 0, kernel_width = 0;
  int64_t height = 0, width = 0, out_height = 0, out_width = 0;
  int64_t stride_height = 1, stride_width = 1, dilation_height = 1, dilation_width = 1, pad_top = 0, pad_left = 0;
  bool contiguous = false;  // a kernel row is one run of floats inside the image
  bool patch = false;       // assemble rows at the left and right border

  void set(const ConvGeometry& g, int64_t product_channels, int64_t image_pitch, bool whole_k) {
    channels = product_channels;
    pitch = image_pitch;
    kernel_height = g.kernel_height;
    kernel_width = g.kernel_width;
    height = g.height;
    width = g.width;
    out_height = g.out_height;
    out_width = g.out_width;
    stride_height = g.stride_height;
    stride_width = g.stride_width;
    dilation_height = g.dilation_height;
    dilation_width = g.dilation_width;
    pad_top = g.pad_top;
    pad_left = g.pad_left;
    contiguous = whole_k && pitch == channels && dilation_width == 1;
    patch = contiguous && channels < kLongTap && kernel_width > 1;
  }
  int64_t zero_floats() const { return contiguous ? kernel_width * channels : channels; }
  int64_t patch_floats(int rows) const { return patch ? rows * kernel_height * kernel_width * channels : 0; }

  int64_t fill(int64_t m, int count, int64_t k_begin, int64_t k_end, const float** pointers, float* patches,
               int64_t* k) const override {
    int64_t n = m / (out_height * out_width), rest = m % (out_height * out_width);
    int64_t y = rest / out_width, x = rest % out_width;
    bool merged = contiguous;
    if (contiguous && !patch) {
      // Any pixel at the border: the whole tile by single taps.
      int64_t column = x;
      for (int i = 0; i < count && merged; ++i) {
        const int64_t left = column * stride_width - pad_left;
        merged = left >= 0 && left + kernel_width <= width;
        if (++column == out_width) column = 0;
      }
    }
    const int64_t tap_begin = merged ? 0 : k_begin / channels, tap_end = merged ? 0 : k_end / channels;
    for (int i = 0; i < count; ++i) {
      const float* base = image + n * height * width * pitch;
      const int64_t top = y * stride_height - pad_top, left = x * stride_width - pad_left;
      if (merged) {
        const bool inside = left >= 0 && left + kernel_width <= width;
        for (int64_t ky = 0; ky < kernel_height; ++ky) {
          const int64_t iy = top + ky * dilation_height;
          const float*& p = pointers[ky * count + i];
          if (static_cast<uint64_t>(iy) >= static_cast<uint64_t>(height)) {
            p = zeros;
          } else if (inside) {
            p = base + (iy * width + left) * pitch;
          } else {
            p = patches;
            patches = assemble(base + iy * width * pitch, left, patches);
          }
        }
      } else {
        int64_t ky = tap_begin / kernel_width, kx = tap_begin % kernel_width;
        for (int64_t t = tap_begin; t < tap_end; ++t) {
          const int64_t iy = top + ky * dilation_height, ix = left + kx * dilation_width;
          const bool inside = static_cast<uint64_t>(iy) < static_cast<uint64_t>(height) &&
                              static_cast<uint64_t>(ix) < static_cast<uint64_t>(width);
          pointers[(t - tap_begin) * count + i] = inside ? base + (iy * width + ix) * pitch : zeros;
          if (++kx == kernel_width) kx = 0, ++ky;
        }
      }
      if (++x == out_width) {
        x = 0;
        if (++y == out_height) y = 0, ++n;
      }
    }
    *k = merged ? kernel_width * channels : channels;
    return merged ? kernel_height : tap_end - tap_begin;
  }

 private:
  // Columns [left, left + kernel_width) of an image row, zeros outside. Returns the end.
  float* assemble(const float* row, int64_t left, float* out) const {
    const int64_t begin = std::clamp<int64_t>(-left, 0, kernel_width);
    const int64_t end = std::clamp<int64_t>(width - left, begin, kernel_width);
    std::fill(out, out + begin * channels, 0.0f);
    std::copy(row + (left + begin) * channels, row + (left + end) * channels, out + begin * channels);
    std::fill(out + end * channels, out + kernel_width * channels, 0.0f);
    return out + kernel_width * channels;
  }
};

}  // namespace edgec
