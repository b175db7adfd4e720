// Part of reduce-inl.h: normalisations over rows.
namespace edgec {
namespace EDGEC_ISA_NS {
namespace {

void layer_norm_rows(const RowsRun& run, float epsilon, bool rms, const float* scale, const float* bias) {
  const double count = static_cast<double>(run.n);
  for (int64_t r = 0; r < run.rows; ++r) {
    const float* x = run.x + r * run.x_pitch;
    float* y = run.y + r * run.y_pitch;
    // Two passes: the one-pass formula loses everything when the mean is large against the deviation.
    const float mean = rms ? 0.0f : static_cast<float>(reduce_row<Sum>(x, run.n, 0) / count);
    const double variance =
        (rms ? reduce_row<SumSquare>(x, run.n, 0) : reduce_row<SumCenteredSquare>(x, run.n, mean)) / count;
    const f32v factor(static_cast<float>(1.0 / std::sqrt(variance + static_cast<double>(epsilon)))),
        shift(mean);
    for_lanes<kF32>(run.n, [&](int64_t i, auto n) {
      f32v v = (load(x + i, n) - shift) * factor;
      if (scale != nullptr) v = v * load(scale + i, n);
      if (bias != nullptr) v = v + load(bias + i, n);
      store(y + i, v, n);
    });
  }
}

void affine_rows(const RowsRun& run, const float* mean, const float* scale, const float* bias) {
  for (int64_t r = 0; r < run.rows; ++r) {
    const float* x = run.x + r * run.x_pitch;
    float* y = run.y + r * run.y_pitch;
    for_lanes<kF32>(run.n, [&](int64_t i, auto n) {
      store(y + i, fma(load(x + i, n) - load(mean + i, n), load(scale + i, n), load(bias + i, n)), n);
    });
  }
}

void local_response_rows(const RowsRun& run, int64_t size, float alpha, float beta, float bias,
                         float* scratch) {
  const int64_t before = (size - 1) / 2;
  const f32v factor(alpha / static_cast<float>(size)), offset(bias), power(-beta);
  // Squares with zeros around them, so that the window needs no bounds.
  std::fill(scratch, scratch + before, 0.0f);
  std::fill(scratch + before + run.n, scratch + run.n + size, 0.0f);
  for (int64_t r = 0; r < run.rows; ++r) {
    const float* x = run.x + r * run.x_pitch;
    float* y = run.y + r * run.y_pitch;
    for_lanes<kF32>(run.n, [&](int64_t i, auto n) {
      const f32v v = load(x + i, n);
      store(scratch + before + i, v * v, n);
    });
    for_lanes<kF32>(run.n, [&](int64_t i, auto n) {
      f32v sum(0.0f);
      for (int64_t k = 0; k < size; ++k) sum = sum + load(scratch + i + k, n);
      const f32v base = fma(sum, factor, offset);
      store(y + i, load(x + i, n) * exp(log(base) * power), n);
    });
  }
}

}  // namespace
}  // namespace EDGEC_ISA_NS
}  // namespace edgec
