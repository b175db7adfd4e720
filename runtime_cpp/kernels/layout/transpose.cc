#include "kernels/layout/transpose.h"

#include <algorithm>
#include <cstring>

#define EDGEC_FAMILY_TYPE TransposeKernels
#define EDGEC_FAMILY_TABLE transpose_table
#define EDGEC_FAMILY_ISAS "layout_isas.inc"
#define EDGEC_FAMILY_FIND transpose_kernels
#include "kernels/family_table.inc"

namespace edgec {

namespace {

struct Bytes16 {
  uint64_t low, high;
};

// Small squares, so that every cache line that is touched is used up before it is evicted.
template <class T>
void transpose_any(const char* source, int64_t source_stride, char* destination, int64_t destination_stride,
                   int64_t rows, int64_t columns) {
  constexpr int64_t kSquare = 8;
  constexpr auto size = static_cast<int64_t>(sizeof(T));
  for (int64_t i0 = 0; i0 < rows; i0 += kSquare) {
    const int64_t i1 = std::min(rows, i0 + kSquare);
    for (int64_t j = 0; j < columns; ++j) {
      const char* from = source + j * source_stride;
      for (int64_t i = i0; i < i1; ++i) {
        T value;
        std::memcpy(&value, from + i * size, sizeof value);
        std::memcpy(destination + i * destination_stride + j * size, &value, sizeof value);
      }
    }
  }
}

}  // namespace

void transpose_block(Isa isa, size_t element_bytes, const char* source, int64_t source_stride,
                     char* destination, int64_t destination_stride, int64_t rows, int64_t columns) {
  const TransposeKernels& kernels = transpose_kernels(isa);
  const auto run = [&](TransposeKernels::Function kernel, auto tag) {
    if (kernel == nullptr || !kernel(source, source_stride, destination, destination_stride, rows, columns))
      transpose_any<decltype(tag)>(source, source_stride, destination, destination_stride, rows, columns);
  };
  switch (element_bytes) {
    case 1:
      return run(kernels.bytes1, uint8_t());
    case 2:
      return run(kernels.bytes2, uint16_t());
    case 4:
      return run(kernels.bytes4, uint32_t());
    case 8:
      return run(kernels.bytes8, uint64_t());
    default:
      return run(nullptr, Bytes16());
  }
}

}  // namespace edgec
