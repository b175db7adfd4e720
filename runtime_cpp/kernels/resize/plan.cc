#include "kernels/resize/plan.h"

namespace edgec {
namespace {

// 16 floats: rows of different threads do not share a cache line.
size_t round_up(size_t floats) { return (floats + 15) / 16 * 16; }

}  // namespace

// A dense tensor whose rows of the last dimension are `pitch` apart.
struct Interpolation::Layout {
  Shape shape;
  int64_t pitch;
  bool dense() const { return pitch == shape.back(); }
};

namespace {

// Steps of a pass along `dim` from x to y. Returns the elements of x behind one index before `dim`.
template <class Layout>
void set_steps(const Layout& x, const Layout& y, int dim, ResizePass* pass, int64_t* x_outer,
               int64_t* y_outer) {
  const int rank = x.shape.rank();
  if (dim == rank - 1) {
    pass->n = 1;
    pass->x_step = pass->y_step = 1;
    *x_outer = x.pitch;
    *y_outer = y.pitch;
    return;
  }
  const int64_t inner = x.shape.product(dim + 1, rank);
  if (x.dense() && y.dense()) {
    pass->n = inner;
    pass->x_step = pass->y_step = inner;
  } else {
    pass->n = x.shape.back();
    pass->blocks = inner / std::max<int64_t>(pass->n, 1);
    pass->x_block = x.pitch;
    pass->y_block = y.pitch;
    pass->x_step = pass->blocks * x.pitch;
    pass->y_step = pass->blocks * y.pitch;
  }
  *x_outer = x.shape[dim] * pass->x_step;
  *y_outer = y.shape[dim] * pass->y_step;
}

void set_table(const ResizedAxis& axis, int64_t first, ResizePass* pass) {
  pass->taps = axis.taps;
  pass->indices = axis.indices + first * axis.taps;
  pass->weights = axis.weights + first * axis.taps;
  pass->outside = axis.outside == nullptr ? nullptr : axis.outside + first;
}

// The index whose input this output simply is, or -1.
int64_t single_tap(const ResizedAxis& axis, int64_t o) {
  if (axis.outside != nullptr && axis.outside[o] != 0) return -1;
  int64_t found = -1;
  for (int t = 0; t < axis.taps; ++t) {
    const float w = axis.weights[o * axis.taps + t];
    if (w == 0.0f) continue;
    if (w != 1.0f || found >= 0) return -1;
    found = axis.indices[o * axis.taps + t];
  }
  return found;
}

}  // namespace

Interpolation::Interpolation(const ResizeKernels& kernels, const Shape& x, std::vector<ResizedAxis> axes,
                             float extrapolation, int threads)
    : kernels_(kernels),
      x_shape_(x),
      axes_(std::move(axes)),
      extrapolation_(extrapolation),
      threads_(static_cast<size_t>(threads)) {
  Shape shape = x;
  for (size_t i = 0; i + 2 < axes_.size(); ++i) {
    shape[axes_[i].dim] = axes_[i].output;
    stage_floats_[i % 2] = std::max(stage_floats_[i % 2], round_up(static_cast<size_t>(shape.elements())));
  }
  if (axes_.size() >= 2)
    row_floats_ = round_up(static_cast<size_t>(shape.product(axes_[axes_.size() - 2].dim + 1, shape.rank())));
}

void Interpolation::one_axis(const float* x, const Layout& x_layout, float* y, const Layout& y_layout,
                             const ResizedAxis& axis, ThreadPool& pool) const {
  ResizePass pass;
  int64_t x_outer = 0, y_outer = 0;
  set_steps(x_layout, y_layout, axis.dim, &pass, &x_outer, &y_outer);
  set_table(axis, 0, &pass);
  pass.extrapolation = extrapolation_;
  const int64_t outer = x_layout.shape.product(0, axis.dim);
  const double cost = static_cast<double>(pass.n * pass.blocks * axis.taps) + 4;
  pool.parallel_for(outer * axis.output, cost, [&](int64_t begin, int64_t end, int) {
    while (begin < end) {
      const int64_t index = begin / axis.output, first = begin % axis.output;
      const int64_t stop = std::min(axis.output, first + end - begin);
      ResizePass mine = pass;
      mine.x = x + index * x_outer;
      mine.y = y + index * y_outer;
      kernels_.interpolate(mine, first, stop);
      begin += stop - first;
    }
  });
}

void Interpolation::two_axes(const float* x, const Layout& x_layout, float* y, const Layout& y_layout,
                             const ResizedAxis& outer, const ResizedAxis& inner, float* rows,
                             ThreadPool& pool) const {
  const int rank = x_layout.shape.rank();
  // The row: what is left of x when the outer axis and all before it are fixed, dense.
  const Layout row_layout{x_layout.shape, x_layout.shape.back()};
  ResizePass down, across;
  int64_t x_outer = 0, unused = 0, row_outer = 0, y_outer = 0;
  set_steps(x_layout, row_layout, outer.dim, &down, &x_outer, &unused);
  set_steps(row_layout, y_layout, inner.dim, &across, &row_outer, &y_outer);
  set_table(inner, 0, &across);
  down.extrapolation = across.extrapolation = extrapolation_;
  const int64_t between = x_layout.shape.product(outer.dim + 1, inner.dim);
  const int64_t images = x_layout.shape.product(0, outer.dim);
  const double row = static_cast<double>(x_layout.shape.product(outer.dim + 1, rank));
  const double out = static_cast<double>(y_layout.shape.product(outer.dim + 1, rank));
  pool.parallel_for(images * outer.output, row * outer.taps + out * inner.taps,
                    [&](int64_t begin, int64_t end, int thread) {
                      float* buffer = rows + static_cast<size_t>(thread) * row_floats_;
                      for (int64_t task = begin; task < end; ++task) {
                        const int64_t image = task / outer.output, o = task % outer.output;
                        const float* source = x + image * x_outer;
                        const int64_t tap = down.blocks == 1 ? single_tap(outer, o) : -1;
                        if (tap >= 0) {
                          source += tap * down.x_step;
                        } else {
                          ResizePass mine = down;
                          set_table(outer, o, &mine);
                          mine.x = source;
                          mine.y = buffer;
                          kernels_.interpolate(mine, 0, 1);
                          source = buffer;
                        }
                        for (int64_t b = 0; b < between; ++b) {
                          ResizePass mine = across;
                          mine.x = source + b * row_outer;
                          mine.y = y + (task * between + b) * y_outer;
                          kernels_.interpolate(mine, 0, inner.output);
                        }
                      }
                    });
}

void Interpolation::run(const TensorView& x_view, const TensorView& y_view, std::byte* scratch,
                        ThreadPool& pool) const {
  float* stages[2] = {reinterpret_cast<float*>(scratch),
                      reinterpret_cast<float*>(scratch) + stage_floats_[0]};
  float* rows = stages[1] + stage_floats_[1];
  const float* x = x_view.as<const float>();
  float* y = y_view.as<float>();
  Layout from{x_shape_, x_view.pitch};
  const Layout to{y_view.shape(), y_view.pitch};
  if (axes_.empty()) {
    const int64_t n = x_view.row_length();
    for (int64_t r = 0; r < x_view.rows(); ++r)
      std::memcpy(y + r * to.pitch, x + r * from.pitch, static_cast<size_t>(n) * sizeof(float));
    return;
  }
  size_t i = 0;
  for (; i + 2 < axes_.size(); ++i) {
    Layout next{from.shape, 0};
    next.shape[axes_[i].dim] = axes_[i].output;
    next.pitch = next.shape.back();
    one_axis(x, from, stages[i % 2], next, axes_[i], pool);
    x = stages[i % 2];
    from = next;
  }
  if (i + 2 == axes_.size())
    two_axes(x, from, y, to, axes_[i], axes_[i + 1], rows, pool);
  else
    one_axis(x, from, y, to, axes_[i], pool);
}

NearestCopy::NearestCopy(const Shape& x, std::vector<ResizedAxis> axes, size_t element,
                         const void* extrapolation)
    : x_shape_(x), axes_(std::move(axes)), element_(element) {
  std::memcpy(extrapolation_, extrapolation, element);
}

void NearestCopy::fill(std::byte* y, int64_t count) const {
  for (int64_t i = 0; i < count; ++i)
    std::memcpy(y + static_cast<size_t>(i) * element_, extrapolation_, element_);
}

void NearestCopy::run(const TensorView& x, const TensorView& y, ThreadPool& pool) const {
  const int rank = x_shape_.rank();
  // The copy runs along the last axis that changes; everything before it is one task each.
  const int along = axes_.empty() ? rank - 1 : axes_.back().dim;
  const ResizedAxis* last = axes_.empty() ? nullptr : &axes_.back();
  const bool innermost = along == rank - 1;
  const int64_t outputs = y.shape()[along];
  // Runs of `n` elements: one when dense, else one per row of the last dimension.
  const int64_t inner = x_shape_.product(along + 1, rank);
  const bool dense = x.dense() && y.dense();
  const int64_t n = innermost ? 1 : dense ? inner : x.row_length();
  const int64_t runs = innermost || dense ? 1 : inner / n;
  const int64_t x_step = innermost ? 1 : dense ? inner : runs * x.pitch;
  const int64_t y_step = innermost ? 1 : dense ? inner : runs * y.pitch;
  const int64_t x_outer = innermost ? x.pitch : x_shape_[along] * x_step;
  const int64_t y_outer = innermost ? y.pitch : outputs * y_step;
  const ResizedAxis* changed[kMaxRank] = {};
  for (const ResizedAxis& axis : axes_) changed[axis.dim] = &axis;

  const size_t bytes = static_cast<size_t>(n) * element_;
  const double cost = static_cast<double>(outputs * inner) * static_cast<double>(element_) + 16;
  pool.parallel_for(y.shape().product(0, along), cost, [&](int64_t begin, int64_t end, int) {
    int64_t previous = -1;
    for (int64_t task = begin; task < end; ++task) {
      int64_t rest = task, source = 0, stride = 1;
      bool outside = false;
      for (int d = along - 1; d >= 0; --d) {
        const int64_t size = y.shape()[d], index = rest % size;
        rest /= size;
        const ResizedAxis* axis = changed[d];
        outside = outside || (axis != nullptr && axis->outside != nullptr && axis->outside[index] != 0);
        source += (axis == nullptr ? index : axis->indices[index]) * stride;
        stride *= x_shape_[d];
      }
      std::byte* out = y.as<std::byte>() + static_cast<size_t>(task * y_outer) * element_;
      if (source == previous && dense && !outside) {
        const size_t row = static_cast<size_t>(y_outer) * element_;
        std::memcpy(out, out - row, row);
        continue;
      }
      const std::byte* in = x.as<const std::byte>() + static_cast<size_t>(source * x_outer) * element_;
      for (int64_t o = 0; o < outputs; ++o) {
        const bool here = outside || (last != nullptr && last->outside != nullptr && last->outside[o] != 0);
        const std::byte* from =
            in + static_cast<size_t>((last == nullptr ? o : last->indices[o]) * x_step) * element_;
        std::byte* to = out + static_cast<size_t>(o * y_step) * element_;
        for (int64_t r = 0; r < runs; ++r) {
          if (here)
            fill(to, n);
          else if (bytes == 4)
            std::memcpy(to, from, 4);
          else
            std::memcpy(to, from, bytes);
          from += static_cast<size_t>(x.pitch) * element_;
          to += static_cast<size_t>(y.pitch) * element_;
        }
      }
      previous = outside ? -1 : source;
    }
  });
}

void QuantizedInterpolation::run(const TensorView& x, const TensorView& y, ThreadPool& pool) const {
  const int rank = x_shape_.rank();
  const Shape& out = y.shape();
  const ResizedAxis* inner = axes_.empty() ? nullptr : &axes_.back();
  const ResizedAxis* outer = axes_.size() == 2 ? &axes_.front() : nullptr;
  const int inner_dim = inner == nullptr ? rank - 1 : inner->dim;
  const bool innermost = inner_dim == rank - 1;
  // Runs of n elements: a row of the last dimension, or single ones when that is what changes.
  const int64_t n = rank == 0 || innermost ? 1 : out.back();
  int64_t x_strides[kMaxRank], x_stride = 1;
  for (int d = rank - 1; d >= 0; --d) {
    x_strides[d] = x_stride;
    x_stride *= d == rank - 1 ? x.pitch : x_shape_[d];
  }
  const int64_t rows = y.rows(), row_length = y.row_length();
  pool.parallel_for(rows, static_cast<double>(row_length) * 4, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      QuantizedLerp lerp = prepared_;
      int64_t rest = r, source = 0, down[2] = {0, 0}, across[2] = {0, 0};
      const auto taps = [](const ResizedAxis& axis, int64_t index, int64_t stride, int64_t* offsets,
                           float* weight) {
        for (int t = 0; t < 2; ++t) offsets[t] = axis.indices[index * 2 + t] * stride;
        *weight = axis.weights[index * 2 + 1];
      };
      for (int d = rank - 2; d >= 0; --d) {
        const int64_t index = rest % out[d];
        rest /= out[d];
        if (inner != nullptr && d == inner->dim)
          taps(*inner, index, x_strides[d], across, &lerp.across);
        else if (outer != nullptr && d == outer->dim)
          taps(*outer, index, x_strides[d], down, &lerp.down);
        else
          source += index * x_strides[d];
      }
      const uint8_t* p = x.as<const uint8_t>() + source;
      lerp.count = outer != nullptr ? 4 : 2;
      lerp.n = n;
      for (int64_t i = 0; i < row_length; i += n) {
        if (innermost && inner != nullptr) taps(*inner, i, 1, across, &lerp.across);
        const int64_t same = innermost && inner == nullptr ? i : 0;
        for (int t = 0; t < 4; ++t) lerp.rows[t] = p + down[t / 2] + across[t % 2] + same;
        lerp.y = y.as<uint8_t>() + r * y.pitch + i;
        kernels_.lerp(lerp);
      }
    }
  });
}

}  // namespace edgec
