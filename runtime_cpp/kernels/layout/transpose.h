// Transposition of a block of elements of 1, 2, 4, 8 or 16 bytes.
#pragma once
#include <cstddef>
#include <cstdint>

#include "core/cpu.h"

namespace edgec {

// destination[i][j] = source[j][i] for i < rows, j < columns. Elements are adjacent along i in the
// source and along j in the destination; strides in bytes between the others.
void transpose_block(Isa isa, size_t element_bytes, const char* source, int64_t source_stride,
                     char* destination, int64_t destination_stride, int64_t rows, int64_t columns);

// Kernels of one instruction set by element size. False: did nothing, the block is too small for them.
struct TransposeKernels {
  using Function = bool (*)(const char* source, int64_t source_stride, char* destination,
                            int64_t destination_stride, int64_t rows, int64_t columns);
  Function bytes1, bytes2, bytes4, bytes8;
  // destination[i] = source[i * step]: [log2 of the element size, 1 to 8 bytes][step - 2, for steps 2 to 4].
  using Every = void (*)(const char* source, char* destination, int64_t count);
  Every every[4][3];
};
const TransposeKernels& transpose_kernels(Isa isa);

}  // namespace edgec
