// Transposed convolution to few channels: one product computes what an input pixel adds to every output it
// reaches, kernel_height x kernel_width x O columns side by side, and the results are added where they
// belong. Fills vectors that phases of O columns would leave nearly empty (FSRCNN: 9x9, stride 3, one
// channel).
#pragma once
#include <algorithm>
#include <cstring>

#include "kernels/dot/dot.h"
#include "ops/conv.h"

namespace edgec {

struct ScatterStep final : Step {
  enum Input { kX, kWeight, kBias, kSlope };

  ConvGeometry g;
  DotProduct product;  // of `segment` pixels of a row; columns (ky, kx, o); epilogue none
  const DotKernels* kernels = nullptr;
  const ActivationKernels* activations = nullptr;
  Activation activation = Activation::kNone;
  float alpha = 0, beta = 0;
  const float* packed = nullptr;  // null: pack when run
  int64_t segment = 0, bands = 1;
  size_t gathered_offset = 0, thread_offset = 0, thread_bytes = 0, sums_bytes = 0;  // in scratch

  int64_t columns() const { return g.taps() * g.out_group_channels(); }
  int64_t packed_floats() const { return g.group * product.packing.floats(); }
  int64_t gathered_floats() const { return columns() * g.group_channels; }

  void pack(const float* weight, float* gathered, float* out) const {
    const int64_t o = g.out_group_channels(), c = g.group_channels, taps = g.taps();
    for (int64_t group = 0; group < g.group; ++group) {
      for (int64_t t = 0; t < taps; ++t)
        for (int64_t r = 0; r < o; ++r)
          std::memcpy(gathered + (t * o + r) * c, weight + ((group * o + r) * taps + t) * c,
                      static_cast<size_t>(c) * sizeof(float));
      dot_pack(*kernels, product.packing, gathered, 1, c, nullptr, out + group * product.packing.floats());
    }
  }

  Status run(const StepArgs& args) override {
    const float* weights = packed;
    if (weights == nullptr) {
      auto* target = reinterpret_cast<float*>(args.scratch);
      pack(args.inputs[kWeight]->as<float>(), reinterpret_cast<float*>(args.scratch + gathered_offset),
           target);
      weights = target;
    }
    const double cost = static_cast<double>(g.height * g.width * g.channels) *
                        static_cast<double>(columns()) / static_cast<double>(bands);
    // A band of output rows gathers from all input rows that reach it, so that no two threads add to one
    // element and every element is summed in the same order: input rows, then input columns.
    args.pool.parallel_for(g.batch * bands, cost, [&](int64_t begin, int64_t end, int thread) {
      std::byte* scratch = args.scratch + thread_offset + static_cast<size_t>(thread) * thread_bytes;
      for (int64_t i = begin; i < end; ++i)
        band(args, weights, i / bands, i % bands * g.out_height / bands,
             (i % bands + 1) * g.out_height / bands, scratch);
    });
    return ok_status();
  }
  const char* kernel_name() const override { return product.row->name; }

  // Output rows [begin, end) of one image.
  void band(const StepArgs& args, const float* weights, int64_t image, int64_t begin, int64_t end,
            std::byte* scratch) const {
    const TensorView &x = *args.inputs[kX], &y = *args.outputs[0];
    const float* bias = args.inputs[kBias] != nullptr ? args.inputs[kBias]->as<float>() : nullptr;
    float* out = y.as<float>() + image * g.out_height * g.out_width * y.pitch;
    for (int64_t i = begin * g.out_width; i < end * g.out_width; ++i)
      for (int64_t o = 0; o < g.out_channels; ++o) out[i * y.pitch + o] = bias != nullptr ? bias[o] : 0.0f;
    const int64_t reach = (g.kernel_height - 1) * g.dilation_height;
    const int64_t first = std::max<int64_t>(0, (begin + g.pad_top - reach) / g.stride_height);
    const int64_t last = std::min(g.height, (end - 1 + g.pad_top) / g.stride_height + 1);
    auto* sums = reinterpret_cast<float*>(scratch);
    for (int64_t group = 0; group < g.group; ++group)
      for (int64_t iy = first; iy < last; ++iy)
        for (int64_t ix = 0; ix < g.width; ix += segment) {
          DotProduct part = product;
          part.m = std::min(segment, g.width - ix);
          DotOperands o;
          o.a = x.as<float>() + ((image * g.height + iy) * g.width + ix) * x.pitch + group * g.group_channels;
          o.a_pitch = x.pitch;
          o.packed = weights + group * product.packing.floats();
          o.c = sums;
          o.c_pitch = columns();
          dot_run(part, o, 0, part.tasks(), scratch + sums_bytes);
          for (int64_t ky = 0; ky < g.kernel_height; ++ky) {
            const int64_t oy = iy * g.stride_height - g.pad_top + ky * g.dilation_height;
            if (oy >= begin && oy < end)
              add(sums + ky * g.kernel_width * g.out_group_channels(), part.m, ix,
                  out + oy * g.out_width * y.pitch + group * g.out_group_channels(), y.pitch);
          }
        }
    FinishTile finish;
    finish.c = out + begin * g.out_width * y.pitch;
    finish.c_pitch = y.pitch;
    finish.rows = (end - begin) * g.out_width;
    finish.columns = g.out_channels;
    finish.slope = args.inputs[kSlope] != nullptr ? args.inputs[kSlope]->as<float>() : nullptr;
    finish.alpha = alpha;
    finish.beta = beta;
    if (activation != Activation::kNone) activations->finish[static_cast<int>(activation)](finish);
  }

  // One kernel row of `count` pixels from column ix on, into one output row.
  void add(const float* sums, int64_t count, int64_t ix, float* row, int64_t pitch) const {
    const int64_t o = g.out_group_channels(), run = g.kernel_width * o;
    const bool contiguous = g.dilation_width == 1 && pitch == o;
    for (int64_t i = 0; i < count; ++i, sums += columns()) {
      const int64_t left = (ix + i) * g.stride_width - g.pad_left;
      if (contiguous && left >= 0 && left + g.kernel_width <= g.out_width) {
        float* out = row + left * o;
        for (int64_t l = 0; l < run; ++l) out[l] += sums[l];
        continue;
      }
      for (int64_t kx = 0; kx < g.kernel_width; ++kx) {
        const int64_t ox = left + kx * g.dilation_width;
        if (ox < 0 || ox >= g.out_width) continue;
        for (int64_t l = 0; l < o; ++l) row[ox * pitch + l] += sums[kx * o + l];
      }
    }
  }
};

}  // namespace edgec
