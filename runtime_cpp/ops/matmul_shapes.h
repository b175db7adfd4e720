// NumPy's matmul on shapes: 1-D operands, transposed operands, broadcast batches.
#pragma once
#include <vector>

#include "core/op.h"

namespace edgec {

struct MatMulShapes {
  int64_t m = 1, k = 1, n = 1;
  bool a_vector = false, b_vector = false;  // 1-D operands: the result has no such dimension
  bool transpose_a = false, transpose_b = false;
  Shape batch, a_batch, b_batch;
  Shape out;
  int64_t batches() const { return batch.elements(); }
  int64_t a_batches() const { return a_batch.elements(); }
  int64_t b_batches() const { return b_batch.elements(); }
};

inline Status matmul_shapes(const InferContext& broadcaster, const Shape& a, const Shape& b,
                            MatMulShapes* s) {
  const NodeContext& ctx = broadcaster;
  if (a.rank() == 0 || b.rank() == 0)
    return ctx.fail(StatusCode::kShape, "operands must have at least one dimension, got a %s and b %s",
                    a.to_string().c_str(), b.to_string().c_str());
  s->transpose_a =
      ctx.op().find_attr("transpose_a") != nullptr && ctx.attr_bool("transpose_a") && a.rank() > 1;
  s->transpose_b = ctx.attr_bool("transpose_b") && b.rank() > 1;
  s->a_vector = a.rank() == 1;
  s->b_vector = b.rank() == 1;
  if (s->a_vector) {
    s->k = a[0];
  } else {
    s->m = a[a.rank() - (s->transpose_a ? 1 : 2)];
    s->k = a[a.rank() - (s->transpose_a ? 2 : 1)];
    s->a_batch = Shape(a.data(), a.rank() - 2);
  }
  int64_t b_k = b[0];
  if (!s->b_vector) {
    b_k = b[b.rank() - (s->transpose_b ? 1 : 2)];
    s->n = b[b.rank() - (s->transpose_b ? 2 : 1)];
    s->b_batch = Shape(b.data(), b.rank() - 2);
  }
  if (b_k != s->k)
    return ctx.fail(StatusCode::kShape, "inner dimensions differ: a %s%s has %lld, b %s%s has %lld",
                    a.to_string().c_str(), s->transpose_a ? " transposed" : "", static_cast<long long>(s->k),
                    b.to_string().c_str(), s->transpose_b ? " transposed" : "", static_cast<long long>(b_k));
  EDGEC_TRY(broadcaster.broadcast(s->a_batch, s->b_batch, &s->batch));
  s->out = s->batch;
  if (!s->a_vector) s->out.push_back(s->m);
  if (!s->b_vector) s->out.push_back(s->n);
  return ok_status();
}

// For each batch of the result the index of the operand's matrix.
inline std::vector<int64_t> batch_indices(const Shape& batch, const Shape& operand) {
  std::vector<int64_t> indices(static_cast<size_t>(batch.elements()));
  for (size_t i = 0; i < indices.size(); ++i) {
    int64_t rest = static_cast<int64_t>(i), step = 1, index = 0;
    for (int d = batch.rank() - 1; d >= 0; --d) {
      const int od = d - (batch.rank() - operand.rank());
      const int64_t at = rest % batch[d];
      rest /= batch[d];
      if (od < 0) continue;
      if (operand[od] != 1) index += at * step;
      step *= operand[od];
    }
    indices[i] = index;
  }
  return indices;
}

}  // namespace edgec
