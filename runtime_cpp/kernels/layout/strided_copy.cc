#include "kernels/layout/strided_copy.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "kernels/layout/transpose.h"

namespace edgec {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

template <class T>
void copy_strided(const char* source, int64_t source_stride, char* destination, int64_t destination_stride,
                  int64_t n) {
  T value;
  if (source_stride == 0) {
    std::memcpy(&value, source, sizeof value);
    for (int64_t i = 0; i < n; ++i) std::memcpy(destination + i * destination_stride, &value, sizeof value);
    return;
  }
  for (int64_t i = 0; i < n; ++i) {
    std::memcpy(&value, source + i * source_stride, sizeof value);
    std::memcpy(destination + i * destination_stride, &value, sizeof value);
  }
}

struct Bytes16 {
  uint64_t low, high;
};

}  // namespace

StridedCopy::StridedCopy(size_t element_bytes, const CopyDim* dims, int count, Isa isa)
    : isa_(isa), element_(element_bytes) {
  const auto bytes = static_cast<int64_t>(element_bytes);
  int n = 0;
  for (int i = 0; i < count; ++i) {
    if (dims[i].size == 0) return;
    if (dims[i].size == 1) continue;
    const Dim dim = {dims[i].size, dims[i].source * bytes, dims[i].destination * bytes};
    same_strides_ = same_strides_ && dim.source == dim.destination;
    Dim& outside = dims_[n - (n > 0)];
    if (n > 0 && outside.source == dim.source * dim.size && outside.destination == dim.destination * dim.size)
      outside = {outside.size * dim.size, dim.source, dim.destination};
    else
      dims_[n++] = dim;
  }
  // A short run that is contiguous on both sides is one wider element.
  if (n > 0 && dims_[n - 1].source == bytes && dims_[n - 1].destination == bytes) {
    const int64_t run = dims_[n - 1].size * bytes;
    if (run == 2 || run == 4 || run == 8 || run == 16) {
      element_ = static_cast<size_t>(run);
      --n;
    }
  }
  const auto element = static_cast<int64_t>(element_);
  if (n == 0) dims_[n++] = {1, element, element};

  column_ = dims_[--n];
  kind_ = Kind::kStrided;
  if (column_.source == element && column_.destination == element) {
    kind_ = Kind::kRows;
  } else if (column_.destination == element && column_.source != 0) {
    for (int i = n - 1; i >= 0; --i) {
      if (dims_[i].source != element) continue;
      kind_ = Kind::kTranspose;
      row_ = dims_[i];
      for (int j = i; j + 1 < n; ++j) dims_[j] = dims_[j + 1];
      --n;
      break;
    }
  }
  if (kind_ != Kind::kTranspose && n > 0) row_ = dims_[--n];
  outer_ = n;

  // A task moves about 16 KiB: enough to be worth a hand-over, and both sides fit the L1 cache.
  const int64_t task_elements = std::max<int64_t>(1, 16384 / element);
  if (kind_ == Kind::kTranspose) {
    const int64_t side = element >= 4 ? 64 : 128;
    column_block_ = std::min(column_.size, side);
    row_block_ = std::min(row_.size, std::max(side, task_elements / std::max<int64_t>(column_block_, 1)));
  } else {
    column_block_ = std::min(column_.size, task_elements);
    row_block_ = std::min(row_.size, std::max<int64_t>(1, task_elements / column_block_));
  }
  tasks_ = ceil_div(row_.size, row_block_) * ceil_div(column_.size, column_block_);
  for (int i = 0; i < outer_; ++i) tasks_ *= dims_[i].size;
}

void StridedCopy::run_task(int64_t task, const char* source, char* destination) const {
  const int64_t column_blocks = ceil_div(column_.size, column_block_);
  const int64_t row_blocks = ceil_div(row_.size, row_block_);
  const int64_t column = task % column_blocks * column_block_;
  task /= column_blocks;
  const int64_t row = task % row_blocks * row_block_;
  task /= row_blocks;
  source += row * row_.source + column * column_.source;
  destination += row * row_.destination + column * column_.destination;
  for (int i = outer_ - 1; i >= 0; --i) {
    const int64_t index = task % dims_[i].size;
    task /= dims_[i].size;
    source += index * dims_[i].source;
    destination += index * dims_[i].destination;
  }
  const auto element = static_cast<int64_t>(element_);
  const int64_t rows = std::min(row_block_, row_.size - row);
  const int64_t columns = std::min(column_block_, column_.size - column);
  if (kind_ == Kind::kTranspose) {
    transpose_block(isa_, element_, source, column_.source, destination, row_.destination, rows, columns);
    return;
  }
  // Every second, third or fourth element: channels of a shuffle, halves of a rotary embedding.
  TransposeKernels::Every every = nullptr;
  if (kind_ == Kind::kStrided && column_.destination == element && element <= 8)
    for (int step = 2; step <= 4; ++step)
      if (column_.source == step * element)
        every = transpose_kernels(isa_).every[__builtin_ctz(element_)][step - 2];
  for (int64_t r = 0; r < rows; ++r) {
    if (every != nullptr) {
      every(source, destination, columns);
    } else if (kind_ == Kind::kRows) {
      std::memcpy(destination, source, static_cast<size_t>(columns) * element_);
    } else {
      switch (element_) {
        case 1:
          copy_strided<uint8_t>(source, column_.source, destination, column_.destination, columns);
          break;
        case 2:
          copy_strided<uint16_t>(source, column_.source, destination, column_.destination, columns);
          break;
        case 4:
          copy_strided<uint32_t>(source, column_.source, destination, column_.destination, columns);
          break;
        case 8:
          copy_strided<uint64_t>(source, column_.source, destination, column_.destination, columns);
          break;
        default:
          copy_strided<Bytes16>(source, column_.source, destination, column_.destination, columns);
      }
    }
    source += row_.source;
    destination += row_.destination;
  }
}

void StridedCopy::run(ThreadPool& pool, const void* source, void* destination) const {
  if (tasks_ == 0 || (same_strides_ && source == destination)) return;
  const double bytes = static_cast<double>(row_block_ * column_block_) * static_cast<double>(element_);
  // Strided access moves whole cache lines for parts of them.
  const double cost = kind_ == Kind::kRows ? bytes : 4 * bytes;
  pool.parallel_for(tasks_, cost, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t)
      run_task(t, static_cast<const char*>(source), static_cast<char*>(destination));
  });
}

const char* StridedCopy::kernel_name() const {
  switch (kind_) {
    case Kind::kNothing:
      return "nothing";
    case Kind::kRows:
      return "copy rows";
    case Kind::kTranspose:
      return "transpose blocks";
    case Kind::kStrided:
      return "copy strided";
  }
  return "";
}

}  // namespace edgec
