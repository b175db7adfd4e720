#include "kernels/layout/pad.h"

#include <algorithm>
#include <cstring>

namespace edgec {
namespace {

void fill_pattern(char* to, const void* value, size_t value_bytes, size_t bytes) {
  if (bytes == 0) return;
  std::memcpy(to, value, value_bytes);
  for (size_t done = value_bytes; done < bytes;) {
    const size_t n = std::min(done, bytes - done);
    std::memcpy(to + done, to, n);
    done += n;
  }
}

}  // namespace

int64_t pad_source(PadMode mode, int64_t i, int64_t size) {
  if (i >= 0 && i < size) return i;
  switch (mode) {
    case PadMode::kConstant:
      return -1;
    case PadMode::kEdge:
      return i < 0 ? 0 : size - 1;
    case PadMode::kWrap:
      return (i % size + size) % size;
    case PadMode::kReflect: {
      if (size == 1) return 0;
      const int64_t period = 2 * (size - 1);
      const int64_t k = (i % period + period) % period;
      return k < size ? k : period - k;
    }
  }
  return -1;
}

PadPlan::PadPlan(const Shape& shape, const int64_t* pads_before, const int64_t* pads_after,
                 size_t element_bytes, PadMode pad_mode)
    : mode(pad_mode), element(element_bytes), fill(element_bytes) {
  int last = shape.rank();
  while (last > 0 && pads_before[last - 1] == 0 && pads_after[last - 1] == 0)
    element *= static_cast<size_t>(shape[--last]);
  for (int i = 0; i < last; ++i) {
    // Neighbours without padding are one dimension.
    const bool plain = pads_before[i] == 0 && pads_after[i] == 0;
    if (plain && rank > 0 && before[rank - 1] == 0 && out[rank - 1] == in[rank - 1]) {
      in[rank - 1] *= shape[i];
      out[rank - 1] *= shape[i];
      continue;
    }
    in[rank] = shape[i];
    out[rank] = pads_before[i] + shape[i] + pads_after[i];
    before[rank] = pads_before[i];
    ++rank;
  }
  if (rank == 0) {
    in[0] = out[0] = 1;
    before[0] = 0;
    rank = 1;
  }
}

int64_t PadPlan::table_entries() const {
  int64_t n = 0;
  for (int i = 0; i < rank; ++i) n += out[i];
  return n;
}

void PadPlan::fill_tables(int64_t* memory) {
  for (int d = 0; d < rank; ++d) {
    table[d] = memory;
    for (int64_t i = 0; i < out[d]; ++i) *memory++ = pad_source(mode, i - before[d], in[d]);
  }
}

void PadPlan::run(ThreadPool& pool, const void* source, const void* value, void* destination) const {
  int64_t rows = 1;
  for (int i = 0; i + 1 < rank; ++i) rows *= out[i];
  const int64_t columns = out[rank - 1], size = in[rank - 1];
  // Columns [first, last) of a row are a run of the source row.
  const int64_t first = std::clamp<int64_t>(before[rank - 1], 0, columns);
  const int64_t last = std::clamp<int64_t>(before[rank - 1] + size, first, columns);
  const int64_t skipped = std::max<int64_t>(-before[rank - 1], 0);
  const size_t row_bytes = static_cast<size_t>(columns) * element;
  if (row_bytes == 0) return;
  pool.parallel_for(rows, static_cast<double>(row_bytes) + 32, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      int64_t left = r, offset = 0, stride = 1;
      bool constant = false;
      for (int d = rank - 2; d >= 0; --d) {
        const int64_t from = table[d][left % out[d]];
        left /= out[d];
        constant = constant || from < 0;
        offset += from * stride;
        stride *= in[d];
      }
      char* to = static_cast<char*>(destination) + static_cast<size_t>(r) * row_bytes;
      if (constant) {
        fill_pattern(to, value, fill, row_bytes);
        continue;
      }
      const char* from = static_cast<const char*>(source) + static_cast<size_t>(offset * size) * element;
      if (mode == PadMode::kConstant) {
        fill_pattern(to, value, fill, static_cast<size_t>(first) * element);
        fill_pattern(to + static_cast<size_t>(last) * element, value, fill,
                     static_cast<size_t>(columns - last) * element);
      } else {
        const auto gather = [&](int64_t i) {
          std::memcpy(to + static_cast<size_t>(i) * element,
                      from + static_cast<size_t>(table[rank - 1][i]) * element, element);
        };
        for (int64_t i = 0; i < first; ++i) gather(i);
        for (int64_t i = last; i < columns; ++i) gather(i);
      }
      if (last > first)
        std::memcpy(to + static_cast<size_t>(first) * element, from + static_cast<size_t>(skipped) * element,
                    static_cast<size_t>(last - first) * element);
    }
  });
}

}  // namespace edgec
