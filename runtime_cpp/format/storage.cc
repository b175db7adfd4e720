// 64-bit file offsets on 32-bit boards; has to stand before the first system header.
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64
#endif
#include "format/storage.h"

#include <cerrno>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#if defined(__unix__) || defined(__APPLE__)
#define EDGEC_POSIX_FILES 1
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#else
#define EDGEC_POSIX_FILES 0
#endif

namespace edgec {
namespace {

// One byte at least, so that an empty file still has an address.
std::byte* allocate_aligned(size_t size) {
  return static_cast<std::byte*>(
      ::operator new(size == 0 ? 1 : size, std::align_val_t(kStorageAlignment), std::nothrow));
}

void free_aligned(const std::byte* data) {
  ::operator delete(const_cast<std::byte*>(data), std::align_val_t(kStorageAlignment));
}

Status no_memory(size_t size) {
  return error(StatusCode::kOutOfMemory, "no memory for a model of %zu bytes", size);
}

Status check_size(const char* path, uint64_t size, size_t max_file_size) {
  if (max_file_size != 0 && size > max_file_size) {
    return error(StatusCode::kBadFile,
                 "'%s' has %" PRIu64 " bytes, more than the limit of %zu (max_file_size)", path, size,
                 max_file_size);
  }
  if (size > SIZE_MAX / 2) {
    return error(StatusCode::kBadFile, "'%s' has %" PRIu64 " bytes, more than this machine can address", path,
                 size);
  }
  return ok_status();
}

#if EDGEC_POSIX_FILES

struct Descriptor {
  explicit Descriptor(int d) : value(d) {}
  ~Descriptor() {
    if (value >= 0) ::close(value);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int value;
};

Status read_all(int descriptor, const char* path, std::byte* data, size_t size) {
  size_t done = 0;
  while (done < size) {
    const ssize_t got = ::read(descriptor, data + done, size - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return error(StatusCode::kIo, "cannot read '%s': %s", path, std::strerror(errno));
    if (got == 0) return error(StatusCode::kIo, "'%s' became shorter while it was read", path);
    done += static_cast<size_t>(got);
  }
  return ok_status();
}

#endif

}  // namespace

Model::Storage::~Storage() {
  if (data == nullptr) return;
  if (kind == Kind::kCopied) free_aligned(data);
#if EDGEC_POSIX_FILES
  if (kind == Kind::kMapped) ::munmap(const_cast<std::byte*>(data), size);
#endif
}

#if EDGEC_POSIX_FILES

Status Model::Storage::open(const char* path, size_t max_file_size, std::unique_ptr<Storage>* out) {
  // O_NONBLOCK: opening a FIFO that nobody writes would wait for ever; it is refused below.
  Descriptor file(::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.value < 0) return error(StatusCode::kIo, "cannot open '%s': %s", path, std::strerror(errno));
  struct stat info;
  if (::fstat(file.value, &info) != 0) {
    return error(StatusCode::kIo, "cannot look at '%s': %s", path, std::strerror(errno));
  }
  if (!S_ISREG(info.st_mode)) return error(StatusCode::kIo, "'%s' is not a regular file", path);
  EDGEC_TRY(check_size(path, static_cast<uint64_t>(info.st_size), max_file_size));

  auto storage = std::make_unique<Storage>();
  storage->size = static_cast<size_t>(info.st_size);
  if (storage->size > 0) {
    void* mapping = ::mmap(nullptr, storage->size, PROT_READ, MAP_PRIVATE, file.value, 0);
    if (mapping != MAP_FAILED) {
      storage->kind = Kind::kMapped;
      storage->data = static_cast<const std::byte*>(mapping);
      *out = std::move(storage);
      return ok_status();
    }
  }
  // Some file systems (FUSE, 9p) cannot map.
  std::byte* data = allocate_aligned(storage->size);
  if (data == nullptr) return no_memory(storage->size);
  storage->kind = Kind::kCopied;
  storage->data = data;
  EDGEC_TRY(read_all(file.value, path, data, storage->size));
  *out = std::move(storage);
  return ok_status();
}

#else

Status Model::Storage::open(const char* path, size_t max_file_size, std::unique_ptr<Storage>* out) {
  struct Closer {
    void operator()(FILE* f) const { std::fclose(f); }
  };
  std::unique_ptr<FILE, Closer> file(std::fopen(path, "rb"));
  if (!file) return error(StatusCode::kIo, "cannot open '%s': %s", path, std::strerror(errno));
  if (std::fseek(file.get(), 0, SEEK_END) != 0)
    return error(StatusCode::kIo, "'%s' is not a regular file", path);
  const long size = std::ftell(file.get());
  if (size < 0) return error(StatusCode::kIo, "'%s' is not a regular file", path);
  EDGEC_TRY(check_size(path, static_cast<uint64_t>(size), max_file_size));
  std::rewind(file.get());

  auto storage = std::make_unique<Storage>();
  storage->size = static_cast<size_t>(size);
  std::byte* data = allocate_aligned(storage->size);
  if (data == nullptr) return no_memory(storage->size);
  storage->kind = Kind::kCopied;
  storage->data = data;
  if (std::fread(data, 1, storage->size, file.get()) != storage->size) {
    return error(StatusCode::kIo, "cannot read '%s'", path);
  }
  *out = std::move(storage);
  return ok_status();
}

#endif

Status Model::Storage::copy(const void* data, size_t size, std::unique_ptr<Storage>* out) {
  auto storage = std::make_unique<Storage>();
  std::byte* memory = allocate_aligned(size);
  if (memory == nullptr) return no_memory(size);
  storage->kind = Kind::kCopied;
  storage->data = memory;
  storage->size = size;
  if (size > 0) std::memcpy(memory, data, size);
  *out = std::move(storage);
  return ok_status();
}

Status Model::Storage::borrow(const void* data, size_t size, std::unique_ptr<Storage>* out) {
  if (reinterpret_cast<uintptr_t>(data) % kStorageAlignment != 0) {
    return error(StatusCode::kInvalidArgument,
                 "model memory at %p is not aligned to %zu bytes; align it or let the library copy it", data,
                 kStorageAlignment);
  }
  auto storage = std::make_unique<Storage>();
  storage->data = static_cast<const std::byte*>(data);
  storage->size = size;
  *out = std::move(storage);
  return ok_status();
}

void Model::drop_pages(const void* data, size_t bytes) const {
#if EDGEC_POSIX_FILES && defined(MADV_DONTNEED)
  if (storage == nullptr || storage->kind != Storage::Kind::kMapped || bytes == 0) return;
  const uintptr_t start = reinterpret_cast<uintptr_t>(storage->data);
  const uintptr_t first = reinterpret_cast<uintptr_t>(data);
  if (first < start || first - start > storage->size || bytes > storage->size - (first - start)) return;
  static const uintptr_t page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  // Only whole pages inside the range: the neighbours may still be in use. A page that is read again after
  // all comes back from the file, so this can cost time but never correctness.
  const uintptr_t begin = (first + page - 1) / page * page;
  const uintptr_t end = (first + bytes) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
#else
  (void)data;
  (void)bytes;
#endif
}

}  // namespace edgec
