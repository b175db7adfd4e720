#include "kernels/reduce/plan.h"

namespace edgec {

ReducePlan ReducePlan::make(const Shape& x, int64_t x_pitch, uint32_t reduced_axes, bool keep_dims,
                            int64_t y_pitch) {
  struct Dim {
    Level level;
    bool reduced;
  };
  Dim dims[kMaxRank];
  int count = 0;
  // From the last axis to the first: strides, with neighbours of one kind merged.
  int64_t x_stride = 1, y_stride = 1;
  bool x_last = true, y_last = true;
  for (int axis = x.rank() - 1; axis >= 0; --axis) {
    const bool is_reduced = (reduced_axes >> axis) & 1;
    const Level level{x[axis], x_stride, is_reduced ? 0 : y_stride};
    x_stride = x_last ? x_pitch : x_stride * x[axis];
    x_last = false;
    if (!is_reduced || keep_dims) {
      y_stride = y_last ? y_pitch : y_stride * (is_reduced ? 1 : x[axis]);
      y_last = false;
    }
    if (level.size == 1) continue;
    if (count > 0) {
      Dim& inner = dims[count - 1];
      const bool merges = inner.reduced == is_reduced &&
                          level.x_stride == inner.level.size * inner.level.x_stride &&
                          (is_reduced || level.y_stride == inner.level.size * inner.level.y_stride);
      if (merges) {
        inner.level.size *= level.size;
        continue;
      }
    }
    dims[count++] = Dim{level, is_reduced};
  }

  ReducePlan plan;
  int first = 0;  // dims[0] is the innermost
  int rows_level = -1;
  if (count > 0 && dims[0].level.x_stride == 1) {
    if (dims[0].reduced) {
      plan.rows = dims[0].level.size;
      first = 1;
    } else if (dims[0].level.y_stride == 1) {
      plan.by_columns = true;
      plan.columns = dims[0].level.size;
      first = 1;
      for (int i = 1; i < count && rows_level < 0; ++i)
        if (dims[i].reduced) rows_level = i;
      if (rows_level > 0) {
        plan.rows = dims[rows_level].level.size;
        plan.row_stride = dims[rows_level].level.x_stride;
      }
    }
  }
  plan.count = plan.rows;
  for (int i = count - 1; i >= first; --i) {
    if (i == rows_level) continue;
    const Level& level = dims[i].level;
    if (dims[i].reduced) {
      plan.reduced[plan.reduced_count++] = level;
      plan.reduced_total *= level.size;
      plan.count *= level.size;
    } else {
      plan.kept[plan.kept_count++] = level;
      plan.kept_total *= level.size;
    }
  }
  return plan;
}

}  // namespace edgec
