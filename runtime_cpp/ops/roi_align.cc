#include <algorithm>
#include <cmath>

#include "core/op.h"

namespace edgec {
namespace {

struct RoiAlign {
  Shape x;
  int64_t rois, height, width, sampling_ratio;
  float scale;
  bool half_pixel, maximum;

  // One bilinear sample as its four weighted neighbours; false outside the image.
  bool neighbours(float y, float px, int64_t* index, float* weight) const {
    const int64_t h = x[2], w = x[3];
    if (!(y >= -1 && y <= static_cast<float>(h) && px >= -1 && px <= static_cast<float>(w))) return false;
    y = std::max(y, 0.0f);
    px = std::max(px, 0.0f);
    const int64_t y0 = std::min(static_cast<int64_t>(y), h - 1),
                  x0 = std::min(static_cast<int64_t>(px), w - 1);
    const int64_t y1 = std::min(y0 + 1, h - 1), x1 = std::min(x0 + 1, w - 1);
    const float fy = y0 == h - 1 ? 0 : y - static_cast<float>(y0),
                fx = x0 == w - 1 ? 0 : px - static_cast<float>(x0);
    const int64_t at[4] = {y0 * w + x0, y0 * w + x1, y1 * w + x0, y1 * w + x1};
    const float by[4] = {(1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx};
    std::copy(at, at + 4, index);
    std::copy(by, by + 4, weight);
    return true;
  }

  void one(const float* image, const float* roi, float* out) const {
    const float offset = half_pixel ? 0.5f : 0.0f;
    const float left = roi[0] * scale - offset, top = roi[1] * scale - offset;
    float w = roi[2] * scale - offset - left, h = roi[3] * scale - offset - top;
    if (!half_pixel) {
      w = std::max(w, 1.0f);
      h = std::max(h, 1.0f);
    }
    const float bin_h = h / static_cast<float>(height), bin_w = w / static_cast<float>(width);
    // A box from hostile data may be huge: more samples per bin than this add nothing but time.
    const auto samples = [this](float bin) {
      return sampling_ratio > 0
                 ? sampling_ratio
                 : std::clamp<int64_t>(bin == bin ? static_cast<int64_t>(std::ceil(std::min(bin, 1e6f))) : 1,
                                       1, 4096);
    };
    const int64_t ny = samples(bin_h), nx = samples(bin_w);
    for (int64_t py = 0; py < height; ++py) {
      for (int64_t px = 0; px < width; ++px) {
        double sum = 0;
        float best = -INFINITY;
        for (int64_t sy = 0; sy < ny; ++sy) {
          const float y = top + static_cast<float>(py) * bin_h +
                          (static_cast<float>(sy) + 0.5f) * bin_h / static_cast<float>(ny);
          for (int64_t sx = 0; sx < nx; ++sx) {
            const float xx = left + static_cast<float>(px) * bin_w +
                             (static_cast<float>(sx) + 0.5f) * bin_w / static_cast<float>(nx);
            int64_t index[4];
            float weight[4];
            if (!neighbours(y, xx, index, weight)) {
              best = std::max(best, 0.0f);
              continue;
            }
            for (int k = 0; k < 4; ++k) {
              const float value = weight[k] * image[index[k]];
              sum += static_cast<double>(value);
              best = std::max(best, value);  // ONNX: the maximum of the weighted neighbours
            }
          }
        }
        *out++ = maximum ? best : static_cast<float>(sum / static_cast<double>(ny * nx));
      }
    }
  }

  Status operator()(const StepArgs& args) const {
    const float *image = args.inputs[0]->as<const float>(), *boxes = args.inputs[1]->as<const float>();
    const int64_t* batch = args.inputs[2]->as<const int64_t>();
    for (int64_t r = 0; r < rois; ++r)
      if (batch[r] < 0 || batch[r] >= x[0])
        return error(StatusCode::kInvalidArgument, "batch_indices[%lld] is %lld, expected 0 to %lld",
                     static_cast<long long>(r), static_cast<long long>(batch[r]),
                     static_cast<long long>(x[0] - 1));
    float* y = args.outputs[0]->as<float>();
    const int64_t area = height * width, plane = x[2] * x[3];
    args.pool.parallel_for(rois * x[1], 40.0 * static_cast<double>(area),
                           [&](int64_t begin, int64_t end, int) {
                             for (int64_t task = begin; task < end; ++task) {
                               const int64_t r = task / x[1], c = task % x[1];
                               one(image + (batch[r] * x[1] + c) * plane, boxes + r * 4, y + task * area);
                             }
                           });
    return ok_status();
  }
};

Status infer(InferContext& ctx) {
  EDGEC_TRY(ctx.want_dtype(0, {DType::kF32}));
  EDGEC_TRY(ctx.want_dtype(1, {DType::kF32}));
  EDGEC_TRY(ctx.want_dtype(2, {DType::kI64}));
  EDGEC_TRY(ctx.want_rank(0, 4));
  EDGEC_TRY(ctx.want_rank(1, 2));
  EDGEC_TRY(ctx.want_rank(2, 1));
  const Shape &x = ctx.input(0).shape, &rois = ctx.input(1).shape;
  if (rois[1] != 4 || ctx.input(2).shape[0] != rois[0])
    return ctx.fail(StatusCode::kShape, "rois %s and batch_indices %s do not fit [n, 4] and [n]",
                    rois.to_string().c_str(), ctx.input(2).shape.to_string().c_str());
  const int64_t h = ctx.attr_int("output_height"), w = ctx.attr_int("output_width");
  if (h < 1 || w < 1 || x[2] < 1 || x[3] < 1)
    return ctx.fail(StatusCode::kInvalidArgument, "output %lldx%lld of an image %s",
                    static_cast<long long>(h), static_cast<long long>(w), x.to_string().c_str());
  return ctx.set_output(0, DType::kF32, Shape{rois[0], x[1], h, w});
}

Status prepare(PrepareContext& ctx) {
  RoiAlign align{};
  align.x = ctx.input(0).shape;
  align.rois = ctx.input(1).shape[0];
  align.height = ctx.attr_int("output_height");
  align.width = ctx.attr_int("output_width");
  align.sampling_ratio = std::min<int64_t>(ctx.attr_int("sampling_ratio"), 4096);
  align.scale = ctx.attr_float("spatial_scale");
  align.half_pixel = ctx.attr_string("coordinate") == "half_pixel";
  align.maximum = ctx.attr_string("mode") == "max";
  ctx.set_step(make_step("roi_align", align));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(roi_align) {
  registry.add("RoiAlign")
      .doc("Pools every box of an NCHW feature map to a fixed size by bilinear samples.")
      .input("x", "f32[N, C, H, W]")
      .input("rois", "f32[n, 4]: x1 y1 x2 y2")
      .input("batch_indices", "i64[n]")
      .output("y", "f32[n, C, output_height, output_width]")
      .attr("mode", "avg", "", "avg|max")
      .attr("output_height", 1)
      .attr("output_width", 1)
      .attr("sampling_ratio", 0, "samples per bin and direction; 0: as many as the bin has pixels")
      .attr("spatial_scale", 1.0)
      .attr("coordinate", "half_pixel", "", "half_pixel|output_half_pixel")
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
