#include "kernels/recurrent/recurrent.h"

#include <algorithm>
#include <cstring>

namespace edgec {
namespace {

// Regions of scratch begin on cache lines.
size_t place(size_t* total, int64_t floats) {
  const size_t at = *total;
  *total += (static_cast<size_t>(floats) * sizeof(float) + 63) / 64 * 64;
  return at;
}

}  // namespace

Status RecurrentStep::prepare(PrepareContext& ctx, const RecurrentShape& shape, bool split,
                              bool recurrent_bias_apart, int rows_of_scratch) {
  s_ = shape;
  split_ = split;
  bias_apart_ = recurrent_bias_apart;
  rows_of_scratch_ = rows_of_scratch;
  rows_ = RowArithmetic(ctx.isa());
  kernels_ = &dot_kernels(ctx.isa());
  node_ = ctx.node_name();
  const auto plan = [&](DotProduct* product, int64_t m, int64_t n, int64_t k) {
    product->m = m;
    product->row = &dot_choose(ctx.isa(), m, n);
    product->activations = &activation_kernels(ctx.isa());
    product->packing = dot_packing(*product->row, n, k);
    dot_plan(product, 0, ctx.threads());
    thread_bytes_ = std::max(thread_bytes_, product->scratch_bytes());
  };
  const int64_t state_width = split ? s_.width() - s_.hidden : s_.width();
  plan(&input_, s_.steps * s_.batch, s_.width(), s_.inputs);
  plan(&state_, s_.batch, state_width, s_.hidden);
  if (split) plan(&last_, s_.batch, s_.hidden, s_.hidden);

  size_t total = 0;
  xw_ = place(&total, s_.steps * s_.batch * s_.width());
  z_ = place(&total, s_.batch * s_.width());
  h_ = place(&total, s_.batch * s_.hidden);
  extra_ = place(&total, s_.batch * s_.hidden * rows_of_scratch);

  const int64_t w_floats = input_.packing.floats();
  const int64_t r_floats = state_.packing.floats() + (split ? last_.packing.floats() : 0);
  const auto* w = static_cast<const float*>(ctx.constant(kW));
  const auto* r = static_cast<const float*>(ctx.constant(kR));
  const auto* b = static_cast<const float*>(ctx.constant(kB));
  if (w != nullptr && r != nullptr && (!ctx.has_input(kB) || b != nullptr)) {
    const std::string layout =
        format_string("%s %s %s recurrent %p %d %d", input_.row->name, state_.row->name,
                      split ? last_.row->name : "", static_cast<const void*>(b), split, recurrent_bias_apart);
    bool w_fresh = false, r_fresh = false;
    const size_t w_bytes = static_cast<size_t>(w_floats * s_.directions) * sizeof(float);
    const size_t r_bytes = static_cast<size_t>(r_floats * s_.directions) * sizeof(float);
    auto* w_packed = static_cast<float*>(ctx.allocate_packed_weights(kW, layout, w_bytes, &w_fresh));
    auto* r_packed = static_cast<float*>(ctx.allocate_packed_weights(kR, layout, r_bytes, &r_fresh));
    if (w_packed == nullptr || r_packed == nullptr) return ctx.out_of_memory(w_bytes + r_bytes);
    std::vector<float> bias(static_cast<size_t>(2 * s_.width()));
    for (int d = 0; (w_fresh || r_fresh) && d < s_.directions; ++d)
      pack(d, w, r, b, bias.data(), w_packed + d * w_floats, r_packed + d * r_floats);
    w_packed_ = w_packed;
    r_packed_ = r_packed;
    ctx.release_constant(kW);
    ctx.release_constant(kR);
  } else {
    bias_ = place(&total, 2 * s_.width());
    w_run_ = place(&total, w_floats);
    r_run_ = place(&total, r_floats);
  }
  thread_bytes_ = (thread_bytes_ + 63) / 64 * 64;
  thread_ = total;
  ctx.request_scratch(total + thread_bytes_ * static_cast<size_t>(ctx.threads()));
  return ok_status();
}

void RecurrentStep::pack(int direction, const float* w, const float* r, const float* b, float* bias,
                         float* w_packed, float* r_packed) const {
  const int64_t width = s_.width(), hidden = s_.hidden, last = width - hidden;
  // Both biases of a gate are added to the product of the input, but for a gate whose recurrent part
  // is scaled before they meet.
  std::fill(bias, bias + 2 * width, 0.0f);
  if (b != nullptr) {
    const float* wb = b + direction * 2 * width;
    const float* rb = wb + width;
    for (int64_t i = 0; i < width; ++i) {
      const bool apart = bias_apart_ && i >= last;
      bias[i] = apart ? wb[i] : wb[i] + rb[i];
      bias[width + i] = apart ? rb[i] : 0.0f;
    }
  }
  w += direction * width * s_.inputs;
  r += direction * width * hidden;
  dot_pack(*kernels_, input_.packing, w, 1, s_.inputs, bias, w_packed);
  dot_pack(*kernels_, state_.packing, r, 1, hidden, bias + width, r_packed);
  if (split_)
    dot_pack(*kernels_, last_.packing, r + last * hidden, 1, hidden, bias + width + last,
             r_packed + state_.packing.floats());
}

void RecurrentStep::multiply(const StepArgs& args, const DotProduct& product, const float* a, int64_t a_pitch,
                             const float* packed, float* c, int64_t c_pitch) const {
  DotOperands o;
  o.a = a;
  o.a_pitch = a_pitch;
  o.packed = packed;
  o.c = c;
  o.c_pitch = c_pitch;
  args.pool.parallel_for(
      product.tasks(), product.cost_per_task(), [&](int64_t begin, int64_t end, int thread) {
        dot_run(product, o, begin, end, args.scratch + thread_ + static_cast<size_t>(thread) * thread_bytes_);
      });
}

int64_t RecurrentStep::length(const StepArgs& args, int64_t batch) const {
  const TensorView* lengths = args.inputs[kSequenceLens];
  return lengths != nullptr ? lengths->as<int32_t>()[batch] : s_.steps;
}

RecurrentStep::Row RecurrentStep::row_at(const StepArgs& args, int direction, int64_t batch, int64_t step,
                                         int64_t* time) const {
  const int64_t count = length(args, batch);
  *time = s_.reversed(direction) && step < count ? count - 1 - step : step;
  const int64_t x_row = s_.batch_major ? batch * s_.steps + *time : *time * s_.batch + batch;
  return {direction,
          batch,
          region<float>(args, z_) + batch * s_.width(),
          region<float>(args, xw_) + x_row * s_.width(),
          region<float>(args, h_) + batch * s_.hidden,
          region<float>(args, extra_) + batch * s_.hidden * rows_of_scratch_};
}

Status RecurrentStep::run(const StepArgs& args) {
  const int64_t width = s_.width(), hidden = s_.hidden;
  for (int64_t b = 0; b < s_.batch; ++b)
    if (length(args, b) < 0 || length(args, b) > s_.steps)
      return error(StatusCode::kInvalidArgument, "'%s': sequence_lens[%lld] is %lld, expected 0 to %lld",
                   node_.c_str(), static_cast<long long>(b), static_cast<long long>(length(args, b)),
                   static_cast<long long>(s_.steps));
  if (s_.batch == 0) return ok_status();
  float* xw = region<float>(args, xw_);
  float* z = region<float>(args, z_);
  float* h = region<float>(args, h_);
  // Activations cost about 30 multiply-adds each, and every gate has one or two.
  const double row_cost = 60.0 * static_cast<double>(width);
  for (int d = 0; d < s_.directions; ++d) {
    const float *w_packed, *r_packed;
    if (w_packed_ != nullptr) {
      w_packed = w_packed_ + d * input_.packing.floats();
      r_packed = r_packed_ + d * (state_.packing.floats() + (split_ ? last_.packing.floats() : 0));
    } else {
      const TensorView* b = args.inputs[kB];
      pack(d, args.inputs[kW]->as<float>(), args.inputs[kR]->as<float>(),
           b != nullptr ? b->as<float>() : nullptr, region<float>(args, bias_), region<float>(args, w_run_),
           region<float>(args, r_run_));
      w_packed = region<float>(args, w_run_);
      r_packed = region<float>(args, r_run_);
    }
    if (s_.steps > 0) multiply(args, input_, args.inputs[kX]->as<float>(), s_.inputs, w_packed, xw, width);
    const TensorView* initial = args.inputs[kInitialH];
    for (int64_t b = 0; b < s_.batch; ++b) {
      if (initial != nullptr)
        std::memcpy(h + b * hidden, initial->as<float>() + state_offset(d, b),
                    static_cast<size_t>(hidden) * sizeof(float));
      else
        std::fill(h + b * hidden, h + (b + 1) * hidden, 0.0f);
      int64_t time;
      start_row(args, row_at(args, d, b, 0, &time));
    }
    for (int64_t step = 0; step < s_.steps; ++step) {
      multiply(args, state_, h, hidden, r_packed, z, width);
      const auto for_rows = [&](auto body) {
        args.pool.parallel_for(s_.batch, row_cost, [&](int64_t begin, int64_t end, int) {
          for (int64_t b = begin; b < end; ++b) body(b);
        });
      };
      const auto emit = [&](int64_t b, int64_t time, const float* value) {
        if (args.outputs[0] == nullptr) return;
        const int64_t row = s_.batch_major ? (b * s_.steps + time) * s_.directions + d
                                           : (time * s_.directions + d) * s_.batch + b;
        float* y = args.outputs[0]->as<float>() + row * hidden;
        if (value != nullptr)
          std::memcpy(y, value, static_cast<size_t>(hidden) * sizeof(float));
        else
          std::fill(y, y + hidden, 0.0f);
      };
      if (split_) {
        for_rows([&](int64_t b) {
          int64_t time;
          const Row row = row_at(args, d, b, step, &time);
          if (step < length(args, b)) cell(args, row);
          // A sequence that has ended takes part in the product below with what its row last held.
        });
        multiply(args, last_, region<float>(args, extra_), hidden * rows_of_scratch_,
                 r_packed + state_.packing.floats(), z + (width - hidden), width);
      }
      for_rows([&](int64_t b) {
        int64_t time;
        const Row row = row_at(args, d, b, step, &time);
        if (step >= length(args, b)) return emit(b, time, nullptr);
        if (split_)
          finish_cell(args, row);
        else
          cell(args, row);
        emit(b, time, row.h);
      });
    }
    for (int64_t b = 0; b < s_.batch; ++b) {
      if (args.outputs[1] != nullptr)
        std::memcpy(args.outputs[1]->as<float>() + state_offset(d, b), h + b * hidden,
                    static_cast<size_t>(hidden) * sizeof(float));
      int64_t time;
      end_row(args, row_at(args, d, b, 0, &time));
    }
  }
  return ok_status();
}

}  // namespace edgec
