// Where the rows of A lie when A is the unrolled image of a convolution that nobody unrolls.
#pragma once
#include <algorithm>

#include "kernels/dot/dot.h"
#include "ops/conv.h"

namespace edgec {

// Row m of A is output pixel m; its k runs over (kernel row, kernel column, channel). In a dense NHWC image
// the columns of a kernel row are contiguous, so that inside the image one pointer per kernel row serves
// kernel_width x channels floats. Tiles that touch the padding at the left or right either take one pointer
// per tap, padding outside, or, when channels are so few that short taps would cost more than a copy,
// assemble the row.
//
// T float and Base DotRows, or bytes and QuantizedDotRows: then `padding` is the zero point.
template <class T, class Base>
struct ImageRows final : Base {
  // A tap of this many elements pays for its pointers.
  static constexpr int64_t kLongTap = 33;

  const T* image = nullptr;    // first channel of the product, pixel (0, 0) of the first image
  const T* padding = nullptr;  // padding_size() elements
  int64_t channels = 0, pitch = 0, kernel_height = 0, kernel_width = 0;
  int64_t height = 0, width = 0, out_height = 0, out_width = 0;
  int64_t stride_height = 1, stride_width = 1, dilation_height = 1, dilation_width = 1, pad_top = 0,
          pad_left = 0;
  bool contiguous = false;                   // a kernel row is one run of elements inside the image
  bool patch = false;                        // assemble rows at the left and right border
  int64_t inside_begin = 0, inside_end = 0;  // output columns whose windows stay inside the image

  // unit: a kernel takes k in groups of so many elements, that of taps read one by one must not differ.
  void set(const ConvGeometry& g, int64_t product_channels, int64_t image_pitch, bool whole_k,
           int64_t unit = 1) {
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
    const bool same_groups = channels % unit == 0 || channels < kLongTap || kernel_width == 1;
    contiguous = whole_k && pitch == channels && dilation_width == 1 && same_groups;
    inside_begin = (pad_left + stride_width - 1) / stride_width;
    const int64_t reach = width - kernel_width + pad_left;
    inside_end = reach < 0 ? 0 : reach / stride_width + 1;
    patch = contiguous && channels < kLongTap && kernel_width > 1;
  }
  int64_t padding_size() const { return contiguous ? kernel_width * channels : channels; }
  int64_t patch_size(int rows) const { return patch ? rows * kernel_height * kernel_width * channels : 0; }

  int64_t fill(int64_t m, int count, int64_t k_begin, int64_t k_end, const T** pointers, T* patches,
               int64_t* k) const override {
    int64_t n = m / (out_height * out_width);
    const int64_t rest = m - n * out_height * out_width;
    int64_t y = rest / out_width, x = rest - y * out_width;
    bool merged = contiguous;
    if (contiguous && !patch) {
      // Any pixel at the border: the whole tile by single taps.
      int64_t column = x;
      for (int i = 0; i < count && merged; column = 0) {
        const int run = static_cast<int>(std::min<int64_t>(count - i, out_width - column));
        merged = column >= inside_begin && column + run <= inside_end;
        i += run;
      }
    }
    const int64_t tap_begin = merged ? 0 : k_begin / channels, tap_end = merged ? 0 : k_end / channels;
    // Runs of pixels of the same output row.
    for (int i = 0; i < count;) {
      const int run = static_cast<int>(std::min<int64_t>(count - i, out_width - x));
      const T* base = image + n * height * width * pitch;
      const int64_t top = y * stride_height - pad_top, left = x * stride_width - pad_left;
      if (!merged)
        fill_taps(base, top, left, run, tap_begin, tap_end, count, pointers + i);
      else if (x >= inside_begin && x + run <= inside_end)
        fill_rows(base + left * pitch, top, run, count, pointers + i);
      else
        patches = fill_border(base, top, x, run, count, pointers + i, patches);
      i += run;
      x = 0;
      if (++y == out_height) y = 0, ++n;
    }
    *k = merged ? kernel_width * channels : channels;
    return merged ? kernel_height : tap_end - tap_begin;
  }

 private:
  // One pointer per kernel row, all columns inside.
  void fill_rows(const T* corner, int64_t top, int run, int count, const T** pointers) const {
    const int64_t step = stride_width * pitch;
    for (int64_t ky = 0; ky < kernel_height; ++ky, pointers += count) {
      const int64_t iy = top + ky * dilation_height;
      const bool inside = static_cast<uint64_t>(iy) < static_cast<uint64_t>(height);
      const T* p = inside ? corner + iy * width * pitch : padding;
      const int64_t stride = inside ? step : 0;
      for (int i = 0; i < run; ++i, p += stride) pointers[i] = p;
    }
  }

  // One pointer per tap, padding outside.
  void fill_taps(const T* base, int64_t top, int64_t left, int run, int64_t tap_begin, int64_t tap_end,
                 int count, const T** pointers) const {
    const int64_t step = stride_width * pitch;
    int64_t ky = tap_begin / kernel_width, kx = tap_begin - ky * kernel_width;
    for (int64_t t = tap_begin; t < tap_end; ++t, pointers += count) {
      const int64_t iy = top + ky * dilation_height;
      int64_t ix = left + kx * dilation_width;
      if (static_cast<uint64_t>(iy) >= static_cast<uint64_t>(height)) {
        for (int i = 0; i < run; ++i) pointers[i] = padding;
      } else {
        const T* p = base + (iy * width + ix) * pitch;
        for (int i = 0; i < run; ++i, ix += stride_width, p += step)
          pointers[i] = static_cast<uint64_t>(ix) < static_cast<uint64_t>(width) ? p : padding;
      }
      if (++kx == kernel_width) kx = 0, ++ky;
    }
  }

  // One pointer per kernel row; rows that stick out at the left or right are assembled. Returns the end of
  // patches.
  T* fill_border(const T* base, int64_t top, int64_t x, int run, int count, const T** pointers,
                 T* patches) const {
    for (int i = 0; i < run; ++i) {
      const int64_t left = (x + i) * stride_width - pad_left;
      if (x + i >= inside_begin && x + i < inside_end) {
        fill_rows(base + left * pitch, top, 1, count, pointers + i);
        continue;
      }
      for (int64_t ky = 0; ky < kernel_height; ++ky) {
        const int64_t iy = top + ky * dilation_height;
        if (static_cast<uint64_t>(iy) < static_cast<uint64_t>(height)) {
          pointers[ky * count + i] = patches;
          patches = assemble(base + iy * width * pitch, left, patches);
        } else {
          pointers[ky * count + i] = padding;
        }
      }
    }
    return patches;
  }

  // Columns [left, left + kernel_width) of an image row, padding outside. Returns the end.
  T* assemble(const T* row, int64_t left, T* out) const {
    const int64_t begin = std::clamp<int64_t>(-left, 0, kernel_width);
    const int64_t end = std::clamp<int64_t>(width - left, begin, kernel_width);
    std::fill(out, out + begin * channels, *padding);
    std::copy(row + (left + begin) * channels, row + (left + end) * channels, out + begin * channels);
    std::fill(out + end * channels, out + kernel_width * channels, *padding);
    return out + kernel_width * channels;
  }
};

using ConvRows = ImageRows<float, DotRows>;

}  // namespace edgec
