#include "kernels/layout/copy.h"

#include <algorithm>
#include <cstring>

namespace edgec {

void copy_bytes(ThreadPool& pool, void* destination, const void* source, size_t bytes) {
  if (destination == source || bytes == 0) return;
  // Large enough that a block amortises the hand-over to another thread, small enough to balance.
  constexpr size_t kBlock = 64 * 1024;
  const int64_t blocks = static_cast<int64_t>((bytes + kBlock - 1) / kBlock);
  pool.parallel_for(blocks, static_cast<double>(std::min(bytes, kBlock)),
                    [&](int64_t begin, int64_t end, int) {
                      const size_t first = static_cast<size_t>(begin) * kBlock;
                      const size_t last = std::min(bytes, static_cast<size_t>(end) * kBlock);
                      std::memcpy(static_cast<char*>(destination) + first,
                                  static_cast<const char*>(source) + first, last - first);
                    });
}

void copy_rows(ThreadPool& pool, const TensorView& destination, const TensorView& source) {
  const size_t element = dtype_size(source.dtype());
  if (source.dense() && destination.dense()) {
    copy_bytes(pool, destination.data, source.data, source.type.bytes());
    return;
  }
  if (destination.data == source.data && destination.pitch == source.pitch) return;
  const size_t row = static_cast<size_t>(source.row_length()) * element;
  if (row == 0) return;
  pool.parallel_for(source.rows(), static_cast<double>(row) + 16, [&](int64_t begin, int64_t end, int) {
    const char* from = source.as<char>() + static_cast<size_t>(begin * source.pitch) * element;
    char* to = destination.as<char>() + static_cast<size_t>(begin * destination.pitch) * element;
    for (int64_t i = begin; i < end; ++i) {
      std::memcpy(to, from, row);
      from += static_cast<size_t>(source.pitch) * element;
      to += static_cast<size_t>(destination.pitch) * element;
    }
  });
}

Status prepare_view(PrepareContext& ctx) {
  const size_t bytes = ctx.output(0).bytes();
  if (ctx.aliased(0)) {
    ctx.set_step(make_step("view", [](const StepArgs&) { return ok_status(); }));
    return ok_status();
  }
  ctx.set_step(make_step("copy", [bytes](const StepArgs& args) {
    copy_bytes(args.pool, args.outputs[0]->data, args.inputs[0]->data, bytes);
    return ok_status();
  }));
  return ok_status();
}

}  // namespace edgec
