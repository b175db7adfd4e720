// Part of reduce-inl.h: softmax along rows and down columns.
namespace edgec {
namespace EDGEC_ISA_NS {
namespace {

// At most one vector: class scores of detectors and segmenters come in millions of such rows.
void softmax_short_row(const float* x, float* y, int64_t n, bool logarithm) {
  const f32v v = load<float, kF32>(x, n);
  const f32v shifted = v - f32v(reduce_max(keep(v, n, f32v(-kInfinity))));
  const f32v e = exp(shifted);
  const float sum = reduce_add(keep(e, n, f32v(0.0f)));
  store(y, logarithm ? shifted - log(f32v(sum)) : e * f32v(1.0f / sum), n);
}

void softmax_row(const float* x, float* y, int64_t n, bool logarithm) {
  if (n <= kF32) return softmax_short_row(x, y, n, logarithm);
  constexpr int kUnroll = 2;
  f32v top[kUnroll] = {f32v(-kInfinity), f32v(-kInfinity)};
  int64_t i = 0;
  for (; i + kUnroll * kF32 <= n; i += kUnroll * kF32)
    for (int k = 0; k < kUnroll; ++k) top[k] = max(top[k], load<float>(x + i + k * kF32));
  for_lanes<kF32>(
      n - i, [&](int64_t j, auto m) { top[0] = max(top[0], keep(load(x + i + j, m), m, f32v(-kInfinity))); });
  // A NaN may get lost here, but exp(NaN - max) puts it into the sum and so into the whole row.
  const float highest = reduce_max(max(top[0], top[1]));
  const f32v shift(highest);
  if (logarithm) {
    const f32v log_sum(static_cast<float>(std::log(reduce_row<SumExp>(x, n, highest))));
    for_lanes<kF32>(n, [&](int64_t j, auto m) { store(y + j, (load(x + j, m) - shift) - log_sum, m); });
    return;
  }
  f32v sum[kUnroll] = {f32v(0.0f), f32v(0.0f)};
  for (i = 0; i + kUnroll * kF32 <= n; i += kUnroll * kF32)
    for (int k = 0; k < kUnroll; ++k) {
      const f32v e = exp(load<float>(x + i + k * kF32) - shift);
      store(y + i + k * kF32, e);
      sum[k] = sum[k] + e;
    }
  for_lanes<kF32>(n - i, [&](int64_t j, auto m) {
    const f32v e = exp(load(x + i + j, m) - shift);
    store(y + i + j, e, m);
    sum[0] = sum[0] + keep(e, m, f32v(0.0f));
  });
  const f32v factor(1.0f / reduce_add(sum[0] + sum[1]));
  for_lanes<kF32>(n, [&](int64_t j, auto m) { store(y + j, load(y + j, m) * factor, m); });
}

void softmax_rows(const RowsRun& run, bool logarithm) {
  for (int64_t r = 0; r < run.rows; ++r)
    softmax_row(run.x + r * run.x_pitch, run.y + r * run.y_pitch, run.n, logarithm);
}

void softmax_columns(const RowsRun& run, int64_t begin, int64_t end, bool logarithm) {
  for_lanes<kF32>(end - begin, [&](int64_t j, auto m) {
    const float* x = run.x + begin + j;
    float* y = run.y + begin + j;
    f32v top(-kInfinity);
    for (int64_t r = 0; r < run.rows; ++r) top = max(top, load(x + r * run.x_pitch, m));
    f32v sum(0.0f);
    for (int64_t r = 0; r < run.rows; ++r) {
      const f32v e = exp(load(x + r * run.x_pitch, m) - top);
      if (!logarithm) store(y + r * run.y_pitch, e, m);
      sum = sum + e;
    }
    const f32v last = logarithm ? log(sum) : f32v(1.0f) / sum;
    for (int64_t r = 0; r < run.rows; ++r) {
      float* p = y + r * run.y_pitch;
      store(p, logarithm ? (load(x + r * run.x_pitch, m) - top) - last : load(p, m) * last, m);
    }
  });
}

}  // namespace
}  // namespace EDGEC_ISA_NS
}  // namespace edgec
