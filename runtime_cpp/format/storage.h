// What holds the bytes of a model: a read-only mapping, an aligned copy, or memory that the caller keeps.
#pragma once
#include <cstddef>
#include <memory>

#include "format/model.h"

namespace edgec {

// Weights start at multiples of 64 in the file, so this alignment of the block makes them aligned in memory.
inline constexpr size_t kStorageAlignment = 64;

struct Model::Storage {
  enum class Kind { kBorrowed, kCopied, kMapped };

  Storage() = default;
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  // kIo names the path and what the system said. Maps where the system can, else reads the whole file.
  static Status open(const char* path, size_t max_file_size, std::unique_ptr<Storage>* out);
  static Status copy(const void* data, size_t size, std::unique_ptr<Storage>* out);
  static Status borrow(const void* data, size_t size, std::unique_ptr<Storage>* out);

  const std::byte* data = nullptr;
  size_t size = 0;
  Kind kind = Kind::kBorrowed;
};

}  // namespace edgec
