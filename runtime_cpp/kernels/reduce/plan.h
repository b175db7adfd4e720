// Any set of reduced axes over a (possibly pitched) tensor as: tasks, each an odometer of reduced levels
// around one contiguous row or one block of rows with contiguous columns.
#pragma once
#include <cstdint>

#include "core/tensor.h"

namespace edgec {

struct ReducePlan {
  struct Level {
    int64_t size = 1, x_stride = 0, y_stride = 0;
  };
  Level kept[kMaxRank], reduced[kMaxRank];
  int kept_count = 0, reduced_count = 0;
  int64_t kept_total = 1, reduced_total = 1;  // products of the sizes above
  // Innermost part: `columns` neighbours kept, each reduced over `rows` that lie row_stride apart
  // (by_columns), or one row of `rows` contiguous elements reduced to one.
  bool by_columns = false;
  int64_t columns = 1, rows = 1, row_stride = 1;
  int64_t count = 1;  // elements behind one output element

  // x_pitch, y_pitch: elements between rows of the last dimension of x and of y.
  static ReducePlan make(const Shape& x, int64_t x_pitch, uint32_t reduced_axes, bool keep_dims,
                         int64_t y_pitch);

  void kept_offsets(int64_t task, int64_t* x, int64_t* y) const {
    *x = *y = 0;
    for (int i = kept_count - 1; i >= 0; --i) {
      const int64_t index = task % kept[i].size;
      task /= kept[i].size;
      *x += index * kept[i].x_stride;
      *y += index * kept[i].y_stride;
    }
  }

  // body(offset into x) for every combination of the outer reduced levels, in order.
  template <class Body>
  void for_reduced(const Body& body) const {
    if (reduced_total == 0) return;
    int64_t index[kMaxRank] = {}, offset = 0;
    for (;;) {
      body(offset);
      int i = reduced_count - 1;
      for (; i >= 0; --i) {
        offset += reduced[i].x_stride;
        if (++index[i] < reduced[i].size) break;
        offset -= index[i] * reduced[i].x_stride;
        index[i] = 0;
      }
      if (i < 0) return;
    }
  }
};

}  // namespace edgec
