// .npy files of NumPy, versions 1 to 3, C order, little-endian.
#pragma once
#include <string>
#include <vector>

#include "core/tensor.h"

namespace edgec::tools {

struct NpyArray {
  DType dtype = DType::kNone;
  Shape shape;
  std::vector<std::byte> data;
};

// kIo: cannot be read. kBadFile: damaged. kUnsupported: Fortran order, big-endian or a type that edgec lacks.
Status read_npy(const char* path, NpyArray* out);
// Writes beside the target and renames, so that a failure leaves no half file. bf16, which NumPy lacks, is
// stored as two-byte void ("<V2"), as the ml_dtypes package does.
Status write_npy(const char* path, const TensorType& type, const void* data);

// The parts of read_npy that need no file; for tests.
Status parse_npy(const std::byte* data, size_t size, NpyArray* out);
std::string npy_header(const TensorType& type);

}  // namespace edgec::tools
