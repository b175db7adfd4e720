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

struct TransposeKernels {
  void (*bytes1)(const char*, int64_t, char*, int64_t, int64_t, int64_t);
  void (*bytes4)(const char*, int64_t, char*, int64_t, int64_t, int64_t);
};

}  // namespace edgec
