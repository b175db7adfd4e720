#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "core/op.h"

namespace edgec {
namespace {

struct Box {
  float y1, x1, y2, x2;
  float area() const { return (y2 - y1) * (x2 - x1); }
};

float overlap(const Box& a, const Box& b) {
  const float height = std::min(a.y2, b.y2) - std::max(a.y1, b.y1);
  const float width = std::min(a.x2, b.x2) - std::max(a.x1, b.x1);
  // !(x > 0) is also true for NaN: such boxes overlap nothing.
  if (!(height > 0) || !(width > 0)) return 0;
  const float both = height * width, all = a.area() + b.area() - both;
  return all > 0 ? both / all : 0;
}

struct Selection {
  int64_t per_class = 0;
  float iou = 0, score = -INFINITY;
  bool has_score = false, center = false;

  Box box(const float* p) const {
    if (center) return {p[1] - p[3] / 2, p[0] - p[2] / 2, p[1] + p[3] / 2, p[0] + p[2] / 2};
    return {std::min(p[0], p[2]), std::min(p[1], p[3]), std::max(p[0], p[2]), std::max(p[1], p[3])};
  }

  // Triples (batch, class, box), best scores first within a class; equal scores in the order of boxes.
  std::vector<std::array<int64_t, 3>> select(const Shape& boxes, const Shape& scores, const float* box_data,
                                             const float* score_data) const {
    std::vector<std::array<int64_t, 3>> found;
    const int64_t batches = scores[0], classes = scores[1], count = boxes[1];
    std::vector<int64_t> order, kept;
    for (int64_t b = 0; b < batches; ++b) {
      for (int64_t c = 0; c < classes && per_class > 0; ++c) {
        const float* s = score_data + (b * classes + c) * count;
        order.clear();
        kept.clear();
        for (int64_t i = 0; i < count; ++i)
          if (s[i] == s[i] && (!has_score || s[i] > score)) order.push_back(i);
        std::stable_sort(order.begin(), order.end(), [s](int64_t i, int64_t k) { return s[i] > s[k]; });
        for (int64_t i : order) {
          if (static_cast<int64_t>(kept.size()) >= per_class) break;
          const Box candidate = box(box_data + (b * count + i) * 4);
          const bool free = std::none_of(kept.begin(), kept.end(), [&](int64_t k) {
            return overlap(candidate, box(box_data + (b * count + k) * 4)) > iou;
          });
          if (!free) continue;
          kept.push_back(i);
          found.push_back({b, c, i});
        }
      }
    }
    return found;
  }
};

Status read_selection(const NodeContext& ctx, Selection* out) {
  const auto scalar = [&](int i, float otherwise) {
    return ctx.has_input(i) && ctx.input(i).shape.elements() > 0 ? *ctx.value_as<float>(i) : otherwise;
  };
  if (ctx.has_input(2) && ctx.input(2).shape.elements() > 0) {
    std::vector<int64_t> limit;
    EDGEC_TRY(ctx.value_ints(2, &limit));
    out->per_class = limit[0];
  }
  out->iou = scalar(3, 0);
  out->has_score = ctx.has_input(4) && ctx.input(4).shape.elements() > 0;
  out->score = scalar(4, -INFINITY);
  out->center = ctx.attr_bool("center_point_box");
  return ok_status();
}

Status infer(InferContext& ctx) {
  EDGEC_TRY(ctx.want_dtype(0, {DType::kF32}));
  EDGEC_TRY(ctx.want_dtype(1, {DType::kF32}));
  EDGEC_TRY(ctx.want_rank(0, 3));
  EDGEC_TRY(ctx.want_rank(1, 3));
  const Shape &boxes = ctx.input(0).shape, &scores = ctx.input(1).shape;
  if (boxes[2] != 4 || boxes[0] != scores[0] || boxes[1] != scores[2])
    return ctx.fail(StatusCode::kShape,
                    "boxes %s and scores %s do not fit [batch, n, 4] and [batch, classes, n]",
                    boxes.to_string().c_str(), scores.to_string().c_str());
  for (int i = 0; i < ctx.input_count(); ++i)
    if (ctx.has_input(i) && ctx.value(i) == nullptr)
      return ctx.fail(StatusCode::kNeedsValue, "the number of boxes depends on the data");
  for (int i = 3; i <= 4; ++i) EDGEC_TRY(ctx.want_dtype(i, {DType::kF32}));
  Selection selection;
  EDGEC_TRY(read_selection(ctx, &selection));
  const auto found = selection.select(boxes, scores, ctx.value_as<float>(0), ctx.value_as<float>(1));
  return ctx.set_output(0, DType::kI64, Shape{static_cast<int64_t>(found.size()), 3});
}

Status prepare(PrepareContext& ctx) {
  Selection selection;
  EDGEC_TRY(read_selection(ctx, &selection));
  ctx.set_step(make_step("non_max_suppression", [selection](const StepArgs& args) {
    const auto found = selection.select(args.inputs[0]->shape(), args.inputs[1]->shape(),
                                        args.inputs[0]->as<const float>(), args.inputs[1]->as<const float>());
    int64_t* y = args.outputs[0]->as<int64_t>();
    const auto rows = std::min(found.size(), static_cast<size_t>(args.outputs[0]->shape()[0]));
    for (size_t i = 0; i < rows; ++i) std::copy(found[i].begin(), found[i].end(), y + 3 * i);
    return ok_status();
  }));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(non_max_suppression) {
  registry.add("NonMaxSuppression")
      .doc(
          "Greedy selection of boxes per class; NaN scores are never selected. The output's length depends "
          "on the data.")
      .input("boxes", "f32[batch, n, 4]")
      .input("scores", "f32[batch, classes, n]")
      .optional("max_output_boxes_per_class", "i64, default 0")
      .optional("iou_threshold", "f32, default 0")
      .optional("score_threshold", "f32, default none")
      .output("selected", "i64[m, 3]: batch, class, box")
      .attr("center_point_box", 0, "0: corners y1 x1 y2 x2; 1: centre x y, width, height")
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
