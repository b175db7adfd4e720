#include <algorithm>

#include "ops/quantized_bytes.h"

namespace edgec {
namespace {

constexpr int64_t kBlock = 8192;  // elements that one task takes

Status infer(InferContext& ctx) {
  for (int i = 0; i < 2; ++i) EDGEC_TRY(ctx.want_dtype(i, {DType::kI8}));
  const Shape &x = ctx.input(0).shape, &table = ctx.input(1).shape;
  const bool one = table == Shape{256};
  if (!one && !(x.rank() > 0 && table == Shape{x.back(), 256}))
    return ctx.fail(StatusCode::kShape,
                    "input 'table' is %s, expected [256] or [last dimension of x %s, 256]",
                    table.to_string().c_str(), x.to_string().c_str());
  return ctx.set_output(0, DType::kI8, x);
}

// table[q + 128] as a table over stored bytes.
void store_table(const int8_t* table, int64_t count, uint8_t flip, bool excess128, uint8_t* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = static_cast<uint8_t>(table[i ^ flip] + (excess128 ? 128 : 0));
}

Status prepare(PrepareContext& ctx) {
  const int64_t entries = ctx.input(1).shape.elements(), channels = entries / 256;
  const bool per_channel = ctx.input(1).shape.rank() == 2;
  // Index q + 128 of an i8 byte is byte ^ 0x80; of a stored u8 it is the byte.
  const uint8_t flip = ctx.input(0).excess128 ? 0 : 0x80;
  const bool excess128 = ctx.output(0).excess128;
  const int8_t* known = ctx.value_as<int8_t>(1);
  if (known == nullptr)
    return ctx.fail(StatusCode::kUnsupported, "input 'table' must be known before the run");
  auto* table =
      static_cast<uint8_t*>(ctx.allocate_packed(static_cast<size_t>(std::max<int64_t>(entries, 1))));
  if (table == nullptr) return ctx.out_of_memory(static_cast<size_t>(entries));
  store_table(known, entries, flip, excess128, table);
  ctx.release_constant(1);
  const int64_t count = ctx.output(0).shape.elements(), rows = per_channel && channels ? count / channels : 1;
  const QuantizedKernels& kernels = quantized_kernels(ctx.isa());
  ctx.set_step(make_step("lookup", [=, &kernels](const StepArgs& args) {
    const uint8_t* x = args.inputs[0]->as<uint8_t>();
    uint8_t* y = args.outputs[0]->as<uint8_t>();
    if (per_channel) {
      args.pool.parallel_for(rows, static_cast<double>(channels), [&](int64_t begin, int64_t end, int) {
        kernels.lookup_channels(table, x + begin * channels, end - begin, channels, y + begin * channels);
      });
      return ok_status();
    }
    args.pool.parallel_for((count + kBlock - 1) / kBlock, kBlock / 2, [&](int64_t begin, int64_t end, int) {
      const int64_t first = begin * kBlock;
      kernels.lookup(table, x + first, std::min(count, end * kBlock) - first, y + first);
    });
    return ok_status();
  }));
  return ok_status();
}

}  // namespace

EDGEC_REGISTER(lookup) {
  registry.add("Lookup")
      .doc("table[x + 128]: any function of one 8-bit number, with another table per channel if need be.")
      .input("x", "i8")
      .input("table", "i8 [256], or [C, 256] for the last dimension C of x; known before the run")
      .output("y", "i8")
      .flags(kRequantizes)
      .inplace(0)
      .infer(infer)
      .prepare(prepare);
}

}  // namespace edgec
