// Tensors seen as rows of the last dimension or as [outer, axis, inner], for the operators that reduce.
#pragma once
#include "core/op.h"
#include "kernels/reduce/reduce.h"

namespace edgec {

struct AxisSplit {
  int64_t outer = 1, size = 1, inner = 1;
};
// axis in [-rank, rank), already checked by inference.
inline AxisSplit split_at(const Shape& shape, int64_t axis) {
  const int rank = shape.rank(), a = static_cast<int>(axis < 0 ? axis + rank : axis);
  if (rank == 0) return AxisSplit{};
  return AxisSplit{shape.product(0, a), shape[a], shape.product(a + 1, rank)};
}

// Calls body(RowsRun, thread) on ranges of the rows that x and y have in common.
template <class Body>
void for_rows(ThreadPool& pool, const TensorView& x, TensorView& y, int64_t rows, int64_t n, int64_t x_pitch,
              int64_t y_pitch, double cost_per_element, const Body& body) {
  pool.parallel_for(rows, static_cast<double>(n) * cost_per_element,
                    [&](int64_t begin, int64_t end, int thread) {
                      RowsRun run;
                      run.x = x.as<const float>() + begin * x_pitch;
                      run.y = y.as<float>() + begin * y_pitch;
                      run.rows = end - begin;
                      run.n = n;
                      run.x_pitch = x_pitch;
                      run.y_pitch = y_pitch;
                      body(run, thread);
                    });
}

// An optional f32 input that scales or shifts rows of n elements.
inline Status want_row_parameter(const InferContext& ctx, int input, int64_t n) {
  if (!ctx.has_input(input)) return ok_status();
  EDGEC_TRY(ctx.want_dtype(input, {DType::kF32}));
  if (ctx.input(input).shape.elements() == n) return ok_status();
  return ctx.fail(StatusCode::kShape, "input %d ('%s') has shape %s, expected %lld elements", input,
                  ctx.op().inputs[static_cast<size_t>(input)].name.c_str(),
                  ctx.input(input).shape.to_string().c_str(), static_cast<long long>(n));
}

inline const float* optional_floats(const StepArgs& args, bool present, int input) {
  return present ? args.inputs[input]->as<const float>() : nullptr;
}

}  // namespace edgec
