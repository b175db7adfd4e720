#include "kernels/attention/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "ops/conv.h"
#include "ops/epilogue.h"

namespace edgec {
namespace {

enum Input { kQ, kK, kV, kMask };

Status infer(InferContext& ctx) {
  for (int i : {kQ, kK, kV, kMask}) EDGEC_TRY(ctx.want_dtype(i, {DType::kF32}));
  for (int i : {kQ, kK, kV}) EDGEC_TRY(ctx.want_rank(i, 4));
  const Shape &q = ctx.input(kQ).shape, &k = ctx.input(kK).shape, &v = ctx.input(kV).shape;
  if (q[0] != k[0] || q[0] != v[0] || k[1] != v[1] || k[2] != v[2] || q[3] != k[3])
    return ctx.fail(StatusCode::kShape,
                    "q [B,H,S,D], k [B,Hk,T,D] and v [B,Hk,T,Dv] do not fit: got %s, %s, %s",
                    q.to_string().c_str(), k.to_string().c_str(), v.to_string().c_str());
  if (k[1] < 1 || q[1] % k[1] != 0)
    return ctx.fail(StatusCode::kShape, "the %lld key heads must divide the %lld query heads",
                    static_cast<long long>(k[1]), static_cast<long long>(q[1]));
  const Shape scores{q[0], q[1], q[2], k[2]};
  if (ctx.has_input(kMask)) {
    Shape joined;
    EDGEC_TRY(ctx.broadcast(scores, ctx.input(kMask).shape, &joined));
    if (joined != scores)
      return ctx.fail(StatusCode::kShape, "mask %s does not broadcast to the scores %s",
                      ctx.input(kMask).shape.to_string().c_str(), scores.to_string().c_str());
  }
  return ctx.set_output(0, DType::kF32, Shape{q[0], q[1], q[2], v[3]});
}

struct AttentionStep final : Step {
  // Per key head, the queries of all heads that use it are rows of one matrix: row r is query r % queries of
  // head r / queries of the group.
  int64_t batch = 0, heads = 0, key_heads = 0, queries = 0, keys = 0, depth = 0, value_depth = 0;
  float scale = 1;
  bool causal = false, zero_masked_rows = false;
  Shape mask;  // left-padded to four dimensions
  const DotKernels* dot = nullptr;
  const AttentionKernels* attention = nullptr;
  const DotRow* row = nullptr;
  DotPacking key_packing, value_packing;
  bool pack_keys = false, pack_values = false;
  int64_t row_block = 0, key_block = 0, round = 1;
  size_t value_offset = 0, thread_offset = 0, thread_bytes = 0;  // in scratch

  int64_t rows() const { return heads / key_heads * queries; }

  Status run(const StepArgs& args) override {
    const int64_t count = batch * key_heads, blocks = (rows() + row_block - 1) / row_block;
    for (int64_t begin = 0; begin < count; begin += round) {
      const int64_t end = std::min(count, begin + round);
      if (pack_keys || pack_values) {
        args.pool.parallel_for(end - begin, static_cast<double>(keys * (depth + value_depth)),
                               [&](int64_t first, int64_t last, int) {
                                 for (int64_t i = first; i < last; ++i) pack(args, begin + i, i);
                               });
      }
      const double cost = static_cast<double>(row_block * keys) * static_cast<double>(depth + value_depth);
      args.pool.parallel_for((end - begin) * blocks, cost, [&](int64_t first, int64_t last, int thread) {
        for (int64_t i = first; i < last; ++i)
          attend(args, begin + i / blocks, i / blocks, i % blocks * row_block,
                 args.scratch + thread_offset + static_cast<size_t>(thread) * thread_bytes);
      });
    }
    return ok_status();
  }
  const char* kernel_name() const override { return row->name; }

  void pack(const StepArgs& args, int64_t head, int64_t slot) const {
    if (pack_keys) {
      const TensorView& k = *args.inputs[kK];
      dot_pack(*dot, key_packing, k.as<float>() + head * keys * k.pitch, 1, k.pitch, nullptr,
               reinterpret_cast<float*>(args.scratch) + slot * key_packing.floats());
    }
    if (pack_values) {
      const TensorView& v = *args.inputs[kV];
      dot_pack(*dot, value_packing, v.as<float>() + head * keys * v.pitch, v.pitch, 1, nullptr,
               reinterpret_cast<float*>(args.scratch + value_offset) + slot * value_packing.floats());
    }
  }

  const float* mask_row(const float* data, int64_t pitch, int64_t b, int64_t head, int64_t query) const {
    auto at = [&](int d, int64_t i) { return mask[d] == 1 ? 0 : i; };
    return data + ((at(0, b) * mask[1] + at(1, head)) * mask[2] + at(2, query)) * pitch;
  }

  // Rows [r, r + row_block) of one key head.
  void attend(const StepArgs& args, int64_t head, int64_t slot, int64_t r, std::byte* scratch) const {
    const TensorView &q = *args.inputs[kQ], &k = *args.inputs[kK], &v = *args.inputs[kV],
                     &y = *args.outputs[0];
    const int64_t count = std::min(row_block, rows() - r);
    float* scores = reinterpret_cast<float*>(scratch);
    float* maximum = scores + row_block * key_block;
    float *sum = maximum + row_block, *correction = sum + row_block;
    auto** pointers = reinterpret_cast<const float**>(correction + row_block);
    const float** mask_rows = pointers + row_block;
    auto* visible = reinterpret_cast<int64_t*>(mask_rows + row_block);
    std::fill(maximum, maximum + count, -std::numeric_limits<float>::infinity());
    std::fill(sum, sum + count, 0.0f);
    const float* query = q.as<float>() + (head * rows() + r) * q.pitch;
    float* out = y.as<float>() + (head * rows() + r) * y.pitch;

    SoftmaxBlock block;
    block.scores = scores;
    block.pitch = key_block;
    block.rows = count;
    block.scale = scale;
    block.maximum = maximum;
    block.sum = sum;
    block.correction = correction;
    int64_t last_key = keys;
    if (causal) {
      last_key = 0;
      for (int64_t i = 0; i < count; ++i) last_key = std::max(last_key, (r + i) % queries + 1);
      last_key = std::min(last_key, keys);
    }
    for (int64_t t = 0; t < last_key || t == 0; t += key_block) {
      block.keys = std::min(key_block, last_key - t);
      for (int64_t i = 0; i < count; ++i) pointers[i] = query + i * q.pitch;
      score(pointers, count, t, block.keys, k.as<float>() + head * keys * k.pitch, k.pitch,
            reinterpret_cast<const float*>(args.scratch) + slot * key_packing.floats(), scores);
      if (causal) {
        for (int64_t i = 0; i < count; ++i) visible[i] = (r + i) % queries + 1 - t;
        block.visible = visible;
      }
      if (args.inputs[kMask] != nullptr) {
        const TensorView& m = *args.inputs[kMask];
        block.mask_step = mask[3] == 1 ? 0 : 1;
        for (int64_t i = 0; i < count; ++i) {
          const int64_t h = head % key_heads * (heads / key_heads) + (r + i) / queries;
          mask_rows[i] =
              mask_row(m.as<float>(), m.pitch, head / key_heads, h, (r + i) % queries) + t * block.mask_step;
        }
        block.mask = mask_rows;
      }
      attention->softmax_block(block);
      if (t > 0) attention->scale_rows(out, y.pitch, count, value_depth, correction);
      for (int64_t i = 0; i < count; ++i) pointers[i] = scores + i * key_block;
      const float* values = v.as<float>() + head * keys * v.pitch;
      const float* packed =
          reinterpret_cast<const float*>(args.scratch + value_offset) + slot * value_packing.floats();
      weigh(pointers, count, t, block.keys, values, v.pitch, packed, out, y.pitch);
    }
    for (int64_t i = 0; i < count; ++i)
      correction[i] = zero_masked_rows && sum[i] == 0.0f ? 0.0f : 1.0f / sum[i];
    attention->scale_rows(out, y.pitch, count, value_depth, correction);
  }

  // Runs `tile` over rows in groups that the kernels take.
  template <class Body>
  void by_tiles(int64_t count, const Body& body) const {
    const int64_t tiles = (count + row->mr - 1) / row->mr;
    int64_t i = 0;
    for (int64_t t = 0; t < tiles; ++t) {
      const int64_t n = (count - i + tiles - t - 1) / (tiles - t);
      body(i, n);
      i += n;
    }
  }

  // scores[i][j] = q[i] . k[t + j]
  void score(const float* const* q, int64_t count, int64_t t, int64_t n, const float* k, int64_t k_pitch,
             const float* packed, float* scores) const {
    DotTile tile;
    tile.k = depth;
    tile.c_pitch = key_block;
    if (!pack_keys) {
      tile.a = q;
      tile.b = k + t * k_pitch;
      tile.n = n;
      tile.c = scores;
      dot->columns(tile, count, k_pitch);
      return;
    }
    by_tiles(count, [&](int64_t i, int64_t rows_here) {
      tile.a = q + i;
      for (int64_t j = 0; j < n; j += key_packing.nr) {
        const int64_t b = (t + j) / key_packing.nr, width = key_packing.width(b);
        tile.b = packed + key_packing.offset(b) + width;
        tile.b_step = width;
        tile.c = scores + i * key_block + j;
        // Keys that causality hides from the whole block need no score.
        tile.n = std::min(n - j, width);
        const int64_t vectors = (tile.n + row->lanes - 1) / row->lanes;
        row->kernels[rows_here - 1][vectors - 1](tile);
      }
    });
  }

  // out[i] (+)= sum over j of p[i][j] v[t + j]
  void weigh(const float* const* p, int64_t count, int64_t t, int64_t n, const float* v, int64_t v_pitch,
             const float* packed, float* out, int64_t pitch) const {
    DotTile tile;
    tile.k = n;
    tile.c_pitch = pitch;
    tile.accumulate = t > 0;
    by_tiles(count, [&](int64_t i, int64_t rows_here) {
      tile.a = p + i;
      for (int64_t b = 0; b < value_packing.blocks(); ++b) {
        const int64_t width = value_packing.width(b), j = b * value_packing.nr;
        tile.b = pack_values ? packed + value_packing.offset(b) + width * (1 + t) : v + t * v_pitch + j;
        tile.b_step = pack_values ? width : v_pitch;
        tile.c = out + i * pitch + j;
        tile.n = std::min(width, value_depth - j);
        row->kernels[rows_here - 1][width / row->lanes - 1](tile);
      }
    });
  }
};

Status prepare(PrepareContext& ctx) {
  const Shape &q = ctx.input(kQ).shape, &k = ctx.input(kK).shape, &v = ctx.input(kV).shape;
  auto step = std::make_unique<AttentionStep>();
  AttentionStep& s = *step;
  s.batch = q[0];
  s.heads = q[1];
  s.key_heads = k[1];
  s.queries = q[2];
  s.keys = k[2];
  s.depth = q[3];
  s.value_depth = v[3];
  s.causal = ctx.attr_bool("causal");
  s.zero_masked_rows = ctx.attr_bool("zero_masked_rows");
  s.scale = ctx.attr_float("scale");
  if (s.scale == 0.0f) s.scale = 1.0f / std::sqrt(static_cast<float>(std::max<int64_t>(s.depth, 1)));
  if (ctx.has_input(kMask)) {
    const Shape& mask = ctx.input(kMask).shape;
    for (int i = mask.rank(); i < 4; ++i) s.mask.push_back(1);
    for (int64_t d : mask) s.mask.push_back(d);
  }
  s.dot = &dot_kernels(ctx.isa());
  s.attention = &attention_kernels(ctx.isa());
  s.row = &dot_choose(ctx.isa(), std::max<int64_t>(s.rows(), 1), std::max<int64_t>(s.keys, 1));
  s.key_packing = dot_packing(*s.row, s.keys, s.depth);
  s.value_packing = dot_packing(*s.row, s.value_depth, s.keys);
  // Few queries: keys and values are read once, so packing them would only cost.
  s.pack_keys = s.rows() > 4;
  s.pack_values = s.value_depth % s.row->lanes != 0;
  // A block's scores stay in L1 and L2: 4 tiles of rows by 512 keys are 96 KiB at 12 rows. Blocks of keys
  // begin at packed blocks.
  s.row_block = 4 * s.row->mr;
  const int64_t nr = s.row->nr;
  s.key_block =
      std::min<int64_t>((512 + nr - 1) / nr * nr, (std::max<int64_t>(s.keys, 1) + nr - 1) / nr * nr);
  const size_t key_bytes = s.pack_keys ? static_cast<size_t>(s.key_packing.floats()) * sizeof(float) : 0;
  const size_t value_bytes =
      s.pack_values ? static_cast<size_t>(s.value_packing.floats()) * sizeof(float) : 0;
  constexpr size_t kRoundBytes = size_t{4} << 20;
  const int64_t fit = static_cast<int64_t>(kRoundBytes / std::max<size_t>(key_bytes + value_bytes, 1));
  s.round = std::max<int64_t>(1, std::min(s.batch * s.key_heads, std::max<int64_t>(fit, ctx.threads())));
  s.value_offset = round_up_bytes(key_bytes * static_cast<size_t>(s.round));
  s.thread_offset = s.value_offset + round_up_bytes(value_bytes * static_cast<size_t>(s.round));
  const size_t rows = static_cast<size_t>(s.row_block);
  s.thread_bytes =
      round_up_bytes(rows * static_cast<size_t>(s.key_block) * sizeof(float) + rows * 3 * sizeof(float) +
                     rows * 2 * sizeof(const float*) + rows * sizeof(int64_t));
  ctx.request_scratch(s.thread_offset + s.thread_bytes * static_cast<size_t>(ctx.threads()));
  ctx.set_step(std::move(step));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(attention) {
  registry.add("Attention")
      .doc(
          "softmax(q k^T scale + mask) v per head, by blocks: the scores of all queries and keys never exist "
          "at once.")
      .input("q", "f32 [B,H,S,D]")
      .input("k", "f32 [B,Hk,T,D]; Hk divides H: query head h uses key head h / (H / Hk)")
      .input("v", "f32 [B,Hk,T,Dv]")
      .optional("mask", "f32, added to the scores, broadcastable to [B,H,S,T]")
      .output("y", "[B,H,S,Dv]")
      .attr("scale", 0.0, "0: 1 / sqrt(D)")
      .attr("causal", 0, "1: query i sees keys 0..i")
      .attr("zero_masked_rows", 0, "1: a query whose keys are all hidden gives 0 instead of NaN")
      .flags(kPitchedInputs | kPitchedOutputs)
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
