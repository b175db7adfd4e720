// Index tuples of GatherND and ScatterND.
#pragma once
#include <string>

#include "core/op.h"
#include "kernels/layout/strides.h"

namespace edgec {

// `indices` [..., k]: each row addresses x[batch..., i0, ..., i(k-1)], a slice of x.
struct IndexTuples {
  const char* op;
  std::string node;
  Shape data;
  DType type;
  int batch_dims, depth;  // depth = k
  int64_t count;          // number of tuples
  int64_t tuples_per_batch;
  int64_t slice;  // elements that a tuple addresses
  int64_t strides[kMaxRank];

  IndexTuples(const NodeContext& ctx, int batch)
      : op(ctx.op().name.c_str()),
        node(ctx.node_name()),
        data(ctx.input(0).shape),
        type(ctx.input(1).dtype),
        batch_dims(batch),
        depth(static_cast<int>(ctx.input(1).shape.back())) {
    const Shape& indices = ctx.input(1).shape;
    count = indices.product(0, indices.rank() - 1);
    tuples_per_batch = indices.product(batch, indices.rank() - 1);
    slice = data.product(batch + depth, data.rank());
    strides_of(data, strides);
  }
  Status check(const void* indices) const {
    for (int64_t t = 0; t < count; ++t) {
      for (int d = 0; d < depth; ++d) {
        const int64_t index = index_at(type, indices, t * depth + d), size = data[batch_dims + d];
        if (index < -size || index >= size)
          return error(
              StatusCode::kInvalidArgument,
              "%s '%s': indices[%lld][%d] is %lld, expected at least %lld and below %lld (dimension %d of "
              "input 'x' %s)",
              op, node.c_str(), static_cast<long long>(t), d, static_cast<long long>(index),
              static_cast<long long>(-size), static_cast<long long>(size), batch_dims + d,
              data.to_string().c_str());
      }
    }
    return ok_status();
  }
  // Offset in elements of the slice of tuple t.
  int64_t offset(const void* indices, int64_t t) const {
    int64_t at = batch_dims == 0 ? 0 : t / tuples_per_batch * strides[batch_dims - 1];
    for (int d = 0; d < depth; ++d) {
      const int64_t index = index_at(type, indices, t * depth + d);
      at += (index < 0 ? index + data[batch_dims + d] : index) * strides[batch_dims + d];
    }
    return at;
  }
};

}  // namespace edgec
